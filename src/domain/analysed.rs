//! What is kept of a session's analysis: enough for lists, sums and gates, and not a word of what was
//! said. The issues one by one come from analysing the session again, which is done whenever it is read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::analysis::whatif::percentile;
use crate::domain::analysis::{
    Analysis, Clock, InterruptionCounts, Issue, IssueType, Severity, Stage, TurnLatency,
};
use crate::domain::found::{self, CauseSums, ConductSums};
use crate::domain::ids::SessionId;
use crate::domain::record::Record;
use crate::domain::turn::Speaker;

/// One session, analysed.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysed {
    pub session: SessionId,
    pub rules_version: i32,
    pub targets_version: i64,
    pub agent_turns: i32,
    /// Turns that answer a user.
    pub answers: i32,
    /// Those of them that were measured.
    pub latencies: Vec<AnswerTime>,
    pub score: Option<f64>,
    /// None where nobody spoke over the other.
    pub interruptions: Option<InterruptionCounts>,
    pub dead_air_ms: i64,
    pub issues: Vec<IssueSum>,
}

/// How long one answer took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerTime {
    #[serde(rename = "g")]
    pub gap_ms: f64,
    /// What each stage took of it.
    #[serde(rename = "s")]
    pub stages: BTreeMap<Stage, f64>,
    /// Whose clock that is by; none of what was kept before clocks were.
    #[serde(rename = "c", default)]
    pub clock: Option<Clock>,
}

/// All issues of a session that have one type, stage and provider.
#[derive(Clone, Debug, PartialEq)]
pub struct IssueSum {
    pub kind: IssueType,
    pub stage: Option<Stage>,
    pub provider: Option<String>,
    /// The worst of them.
    pub severity: Severity,
    pub occurrences: i32,
    /// What the caller waited because of them.
    pub impact_ms: i64,
    /// True of one sum a type.
    pub is_first: bool,
}

impl Analysed {
    pub fn of(record: &Record, analysis: &Analysis, targets_version: i64) -> Self {
        let agent = record
            .turns
            .iter()
            .filter(|turn| turn.speaker == Speaker::Agent);
        let answers = record.turns.iter().filter(|turn| turn.answers_user);
        let interruptions = &analysis.interruptions;
        let has_overlaps = *interruptions
            != InterruptionCounts {
                sessions: interruptions.sessions,
                agent_turns: interruptions.agent_turns,
                ..InterruptionCounts::default()
            };
        Self {
            session: record.id,
            rules_version: analysis.rules_version,
            targets_version,
            agent_turns: count(agent.count()),
            answers: count(answers.count()),
            latencies: analysis.turns.iter().filter_map(AnswerTime::of).collect(),
            score: analysis.score,
            interruptions: has_overlaps.then(|| InterruptionCounts {
                // Kept for every session, with or without an overlap.
                sessions: 0,
                agent_turns: 0,
                ..interruptions.clone()
            }),
            dead_air_ms: analysis.dead_air_ms,
            issues: sums(&analysis.issues),
        }
    }
}

impl Analysed {
    /// What it adds to the sums of its hour.
    pub fn causes(&self) -> CauseSums {
        let issue = |sum: &IssueSum| found::Issue {
            kind: sum.kind.as_str().to_owned(),
            stage: sum.stage.map_or("", Stage::as_str).to_owned(),
            provider: sum.provider.clone().unwrap_or_default(),
            is_critical: sum.severity == Severity::Critical,
            occurrences: i64::from(sum.occurrences),
            impact_ms: sum.impact_ms,
        };
        let issues: Vec<found::Issue> = self.issues.iter().map(issue).collect();
        CauseSums::of_call(&issues)
    }

    pub fn conduct(&self) -> ConductSums {
        ConductSums::of_call(&found::Share {
            agent_turns: i64::from(self.agent_turns),
            score: self.score,
            interruptions: self.interruptions.clone(),
        })
    }
}

impl AnswerTime {
    fn of(turn: &TurnLatency) -> Option<Self> {
        let gap_ms = turn.gap_ms.filter(|_| turn.answers_user)?;
        let known = |stage| Some((stage, tenth(turn.stage_ms(stage)?)));
        Some(Self {
            gap_ms: tenth(gap_ms),
            stages: Stage::ALL.into_iter().filter_map(known).collect(),
            clock: turn.clock,
        })
    }
}

fn tenth(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn sums(issues: &[Issue]) -> Vec<IssueSum> {
    let mut sums: BTreeMap<_, IssueSum> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for issue in issues {
        let key = (issue.kind, issue.stage, issue.provider.clone());
        let sum = sums.entry(key).or_insert_with(|| IssueSum {
            kind: issue.kind,
            stage: issue.stage,
            provider: issue.provider.clone(),
            severity: issue.severity,
            occurrences: 0,
            impact_ms: 0,
            is_first: seen.insert(issue.kind),
        });
        sum.severity = sum.severity.min(issue.severity);
        sum.occurrences = sum.occurrences.saturating_add(1);
        let impact_ms = issue.impact_ms.unwrap_or_default();
        sum.impact_ms = sum.impact_ms.saturating_add(impact_ms);
    }
    sums.into_values().collect()
}

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
