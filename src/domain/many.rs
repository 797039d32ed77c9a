//! What the analyses of many calls amount to, as it is told: how agents went on, what went wrong, and what would have
//! been otherwise.

use std::collections::BTreeMap;

use crate::domain::analysis::whatif::percentile;
use crate::domain::analysis::{Clock, InterruptionCounts, UsualValue};
use crate::domain::digest::Entry;

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

/// What a stage is asked to have taken instead.
#[derive(Clone, Debug, PartialEq)]
pub enum Instead {
    Ms(i64),
    /// What it usually takes the agent that is asked about.
    Usual,
    /// What it takes the tenant's own calls with this provider, with all of its models or with one.
    Provider(String, Option<String>),
}

/// The time that is taken instead, whole ms so that asking for it by itself gives the same answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InsteadMs {
    /// None where it rests on too little to be said.
    pub ms: Option<i64>,
    /// Of calls, where it comes from them.
    pub measurements: Option<u64>,
}

impl InsteadMs {
    pub fn given(ms: i64) -> Self {
        Self {
            ms: Some(ms),
            measurements: None,
        }
    }

    /// Of a stage that is not measured in sums of calls.
    pub fn unmeasured() -> Self {
        Self {
            ms: None,
            measurements: Some(0),
        }
    }

    /// The median of what was measured.
    pub fn measured(measured: &Entry) -> Self {
        let value = UsualValue::of(measured).filter(UsualValue::is_enough);
        Self {
            ms: value.map(|value| value.ms.round() as i64),
            measurements: Some(measured.count),
        }
    }
}

/// What the answers of some calls would have been, had one stage taken another time.
#[derive(Clone, Debug, PartialEq)]
pub struct WhatIf {
    /// Those of the measured answers in which the stage would have been quicker.
    pub replaced: usize,
    pub p50_ms: f64,
    pub p95_ms: f64,
    /// By how much callers would have waited less, all together.
    pub saved_ms: f64,
}

/// How long the answers of some calls took.
#[derive(Clone, Debug, PartialEq)]
pub struct Now {
    pub turns: usize,
    pub p50_ms: f64,
    pub p95_ms: f64,
}

impl Now {
    /// None without a measured answer.
    pub fn of(answers: &[(f64, f64)]) -> Option<Self> {
        let mut gaps: Vec<f64> = answers.iter().map(|(gap_ms, _)| *gap_ms).collect();
        Some(Self {
            turns: answers.len(),
            p50_ms: percentile(&mut gaps, 0.5)?,
            p95_ms: percentile(&mut gaps, 0.95)?,
        })
    }
}

impl WhatIf {
    /// Takes a stage's time for the given one wherever it was longer; none without a measured answer. Of
    /// each answer: how long it took, and of that the stage.
    pub fn of(answers: &[(f64, f64)], instead_ms: f64) -> Option<Self> {
        let (mut after, mut replaced, mut saved_ms) = (Vec::new(), 0, 0.0);
        for (gap_ms, was_ms) in answers {
            let saved = (was_ms - instead_ms).max(0.0);
            replaced += usize::from(saved > 0.0);
            saved_ms += saved;
            after.push((gap_ms - saved).max(0.0));
        }
        Some(Self {
            replaced,
            p50_ms: percentile(&mut after, 0.5)?,
            p95_ms: percentile(&mut after, 0.95)?,
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
    use crate::domain::digest;
    use crate::domain::digest::{Digest, Measure};

    #[test]
    fn a_quicker_stage_saves_what_it_was_slower_by() {
        let answers = [(1000.0, 300.0), (3000.0, 2300.0), (900.0, 100.0)];
        let what_if = WhatIf::of(&answers, 300.0).unwrap();
        let now = Now::of(&answers).unwrap();
        assert_eq!((now.turns, what_if.replaced), (3, 1));
        assert_eq!((now.p50_ms, now.p95_ms), (1000.0, 3000.0));
        assert_eq!((what_if.p50_ms, what_if.p95_ms), (1000.0, 1000.0));
        assert_eq!(what_if.saved_ms, 2000.0);
        // A stage that is not measured cannot save anything.
        assert_eq!(WhatIf::of(&[(900.0, 0.0)], 0.0).unwrap().replaced, 0);
        assert_eq!((WhatIf::of(&[], 1.0), Now::of(&[])), (None, None));
    }

    #[test]
    fn what_rests_on_too_little_is_not_taken() {
        let mut digest = Digest::default();
        let measure = Measure::of(digest::Stage::Tts, Some("quick"), None, Some(300.0)).unwrap();
        let measured = |digest: &Digest| {
            InsteadMs::measured(&digest.of_provider(digest::Stage::Tts, "quick", |_| true))
        };
        assert_eq!(
            (measured(&digest).ms, measured(&digest).measurements),
            (None, Some(0))
        );
        (0..29).for_each(|_| digest.add(&measure));
        assert_eq!(
            (measured(&digest).ms, measured(&digest).measurements),
            (None, Some(29))
        );
        digest.add(&measure);
        let ms = measured(&digest).ms.unwrap();
        assert!((297..=303).contains(&ms), "{ms}");
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
