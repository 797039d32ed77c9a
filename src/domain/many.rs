//! What the analyses of many calls amount to, as it is told: how agents went on, what went wrong, and what would have
//! been otherwise.

use std::collections::BTreeMap;

use crate::domain::analysis::whatif::percentile;
use crate::domain::analysis::{Clock, InterruptionCounts};

/// How the calls of some agents went on: their interruptions and their turn-taking.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conduct {
    pub counts: InterruptionCounts,
    /// Calls with a turn-taking score, and the mean of it.
    pub scored: u64,
    pub score: Option<f64>,
}

impl Conduct {
    pub fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        let sum = |one: &Self| one.score.unwrap_or_default() * one.scored as f64;
        let (sum, scored) = (sum(self) + sum(other), self.scored + other.scored);
        self.scored = scored;
        self.score = (scored > 0).then(|| sum / scored as f64);
    }
}

/// What went wrong in some calls, put together by something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cause {
    pub kind: Option<String>,
    pub stage: Option<String>,
    pub provider: Option<String>,
    pub agent_key: Option<String>,
    /// Calls with such an issue, and those of them where it is critical.
    pub calls: i64,
    pub critical_calls: i64,
    pub occurrences: i64,
    pub impact_ms: i64,
}

/// What went wrong in a range of calls. What cost callers most comes first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Causes {
    /// Calls that were analysed.
    pub calls: i64,
    pub all: Cause,
    pub by_type: Vec<Cause>,
    pub by_stage: Vec<Cause>,
    pub by_provider: Vec<Cause>,
    pub by_agent: Vec<Cause>,
}

impl Causes {
    pub fn sort(&mut self) {
        for list in [
            &mut self.by_type,
            &mut self.by_stage,
            &mut self.by_provider,
            &mut self.by_agent,
        ] {
            list.sort_by(|a, b| {
                let weight = |cause: &Cause| (cause.impact_ms, cause.calls);
                let name = |cause: &Cause| {
                    let Cause {
                        kind,
                        stage,
                        provider,
                        agent_key,
                        ..
                    } = cause.clone();
                    (kind, stage, provider, agent_key)
                };
                weight(b)
                    .cmp(&weight(a))
                    .then_with(|| name(a).cmp(&name(b)))
            });
        }
    }
}

/// What the answers of some calls would have been, had one stage taken another time.
#[derive(Clone, Debug, PartialEq)]
pub struct WhatIf {
    /// Measured answers, and those of them in which the stage would have been quicker.
    pub turns: usize,
    pub replaced: usize,
    pub p50_ms: [f64; 2],
    pub p95_ms: [f64; 2],
    /// By how much callers would have waited less, all together.
    pub saved_ms: f64,
}

impl WhatIf {
    /// Takes a stage's time for the given one wherever it was longer; none without a measured answer. Of
    /// each answer: how long it took, and of that the stage.
    pub fn of(answers: &[(f64, f64)], instead_ms: f64) -> Option<Self> {
        let (mut before, mut after, mut replaced, mut saved_ms) = (Vec::new(), Vec::new(), 0, 0.0);
        for (gap_ms, was_ms) in answers {
            let saved = (was_ms - instead_ms).max(0.0);
            replaced += usize::from(saved > 0.0);
            saved_ms += saved;
            before.push(*gap_ms);
            after.push((gap_ms - saved).max(0.0));
        }
        let mut both = |rank| {
            Some([
                percentile(&mut before, rank)?,
                percentile(&mut after, rank)?,
            ])
        };
        Some(Self {
            turns: answers.len(),
            replaced,
            p50_ms: both(0.5)?,
            p95_ms: both(0.95)?,
            saved_ms,
        })
    }
}

/// Measurements apart by the clock that they are by.
#[derive(Clone, Debug, PartialEq)]
pub struct ByClock<T>(BTreeMap<Clock, Vec<T>>);

impl<T> Default for ByClock<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> ByClock<T> {
    pub fn add(&mut self, clock: Clock, value: T) {
        self.0.entry(clock).or_default().push(value);
    }

    pub fn of(&self, clock: Clock) -> &[T] {
        self.0.get(&clock).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// The clock with most measurements; of equals the one nearer to the source.
    pub fn most_used(&self) -> Option<Clock> {
        let counted = self.0.iter().map(|(clock, values)| (values.len(), clock));
        let most = counted.max_by_key(|(count, clock)| (*count, std::cmp::Reverse(**clock)));
        most.map(|(_, clock)| *clock)
    }

    /// How many by each clock, none left out.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        Clock::ALL
            .into_iter()
            .map(|clock| (clock.as_str(), self.of(clock).len()))
            .collect()
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Vec<T>> {
        self.0.values_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Clock, &[T])> {
        self.0
            .iter()
            .map(|(clock, values)| (*clock, values.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quicker_stage_saves_what_it_was_slower_by() {
        let answers = [(1000.0, 300.0), (3000.0, 2300.0), (900.0, 100.0)];
        let what_if = WhatIf::of(&answers, 300.0).unwrap();
        assert_eq!((what_if.turns, what_if.replaced), (3, 1));
        assert_eq!(
            (what_if.p50_ms, what_if.p95_ms),
            ([1000.0, 1000.0], [3000.0, 1000.0])
        );
        assert_eq!(what_if.saved_ms, 2000.0);
        // A stage that is not measured cannot save anything.
        assert_eq!(WhatIf::of(&[(900.0, 0.0)], 0.0).unwrap().replaced, 0);
        assert_eq!(WhatIf::of(&[], 1.0), None);
    }

    #[test]
    fn clocks_are_kept_apart_and_the_most_used_is_taken() {
        let mut times = ByClock::default();
        assert_eq!(times.most_used(), None);
        times.add(Clock::Stages, 1);
        assert_eq!(times.most_used(), Some(Clock::Stages));
        times.add(Clock::Source, 2);
        assert_eq!(times.most_used(), Some(Clock::Source));
        times.add(Clock::Stages, 3);
        assert_eq!(times.most_used(), Some(Clock::Stages));
        assert_eq!((times.of(Clock::Stages), times.count()), (&[1, 3][..], 3));
        let counts = BTreeMap::from([("source", 1), ("stages", 2), ("timestamps", 0)]);
        assert_eq!(times.counts(), counts);
        assert_eq!(times.of(Clock::Timestamps), [0; 0]);
    }
}
