//! Why a call felt slow: what each turn's silence was made of, what went wrong and what it cost, and how
//! well interruptions went. Pure: the same input and targets always give the same bytes.

pub mod distribution;
pub mod gate;
pub mod input;
pub mod interruption;
pub mod issue;
pub mod latency;
mod lost;
mod overlap;
mod path;
mod provided;
mod rules;
pub mod score;
mod silence;
mod stop;
pub mod targets;
mod text;
pub mod usual;
mod view;
mod wait;
pub mod whatif;

use serde::{Deserialize, Serialize};

pub use distribution::Distribution;
pub use input::{Input, NetworkSample, Speech};
pub use interruption::InterruptionCounts;
pub use issue::{Issue, IssueType, Severity, Stage};
pub use latency::{Clock, Coverage, Part, Segment, TurnLatency};
pub use targets::Targets;
pub use text::words;
pub use usual::{Usual, UsualKey, UsualValue};

/// Rises whenever the same input may give another analysis.
pub const RULES_VERSION: i32 = 12;

/// What a session's analysis amounts to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    pub rules_version: i32,
    /// Worst first.
    pub issues: Vec<Issue>,
    /// What the caller waited beyond targets because of them, each moment once.
    pub lost_ms: i64,
    /// The agent's turns that were made by a model or answer somebody, in order.
    pub turns: Vec<TurnLatency>,
    pub coverage: Coverage,
    pub interruptions: InterruptionCounts,
    /// Turn-taking, 0 to 1; none where no turn can be judged.
    pub score: Option<f64>,
    pub score_turns: u32,
    pub score_passed: Option<bool>,
    /// Silences that are too long: how many, and how long together.
    pub dead_air_count: u32,
    pub dead_air_ms: i64,
}

/// Looks at a whole session.
pub fn analyse(input: &Input, targets: &Targets) -> Analysis {
    let view = view::View::of(input, targets);
    let mut issues = rules::issues(&view);
    issues.sort_by_cached_key(Issue::rank);
    let score = score::of_session(&view);
    Analysis {
        rules_version: RULES_VERSION,
        lost_ms: lost::lost_ms(&issues),
        issues,
        coverage: Coverage::of(&view.latencies),
        interruptions: view.interruptions.counts.clone(),
        score: score.as_ref().map(|score| score.mean),
        score_turns: score.as_ref().map_or(0, |score| score.turns),
        score_passed: score.map(|score| score.mean >= score::PASS),
        dead_air_count: view.silences.len() as u32,
        dead_air_ms: view.silences.iter().map(silence::Silence::ms).sum::<f64>() as i64,
        turns: view.latencies,
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
