//! What is kept of a session's analysis: enough for lists, sums and gates, and not a word of what was
//! said. The issues one by one come from analysing the session again, which is done whenever it is read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::analysis::{
    Analysis, Clock, InterruptionCounts, Issue, IssueType, Severity, Stage, TurnLatency,
};
use crate::domain::found::{self, CauseSums, ConductSums};
use crate::domain::ids::SessionId;
use crate::domain::record::Record;

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
    /// What the caller waited because of all of them, each moment once.
    pub lost_ms: i64,
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
            agent_turns: count(interruptions.agent_turns as usize),
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
            lost_ms: analysis.lost_ms,
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
        CauseSums::of_call(&issues, Some(self.lost_ms))
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
