//! What the analysis of a call found, as both tabs tell it: what, how bad, what it cost, what to do, and where to hear
//! it.

use crate::console::format;
use crate::domain::analysis::{Issue, Severity};
use crate::services::analysis::RootCause;

/// Told of a call as a whole; the rest is in the debug logs.
const SHORT: usize = 5;

/// One thing that is wrong.
pub struct IssueLine {
    pub turn: Option<i32>,
    pub title: String,
    pub severity: &'static str,
    /// The style that it is drawn in.
    pub kind: &'static str,
    pub impact: Option<String>,
    /// With who provided the stage, where that is known.
    pub about: String,
    pub text: String,
    pub advice: String,
    pub turn_link: Option<String>,
    pub audio_link: Option<String>,
    /// Where it is on the call's clock.
    pub at: String,
}

/// Why the call felt slow, in short.
pub struct Short {
    /// What made the caller wait, worst first.
    pub lines: Vec<IssueLine>,
    /// How many issues there are in all, and where.
    pub total: usize,
    pub link: String,
    /// Whether the wait for any answer is known.
    pub is_measured: bool,
}

impl Short {
    pub fn of(found: &RootCause, with_content: bool) -> Self {
        let slow = found.issues.iter();
        let slow = slow.filter(|issue| issue.impact_ms.is_some_and(|ms| ms > 0));
        let lines = slow.map(|issue| IssueLine::of(issue, found, with_content));
        Self {
            lines: lines.take(SHORT).collect(),
            total: found.issues.len(),
            link: format!("{}?tab=debug", path(found)),
            is_measured: found.analysis.coverage.measured > 0,
        }
    }
}

impl IssueLine {
    pub fn of(issue: &Issue, found: &RootCause, with_content: bool) -> Self {
        let path = path(found);
        let named = [issue.provider.as_deref(), issue.model.as_deref()];
        let named: Vec<&str> = named.into_iter().flatten().collect();
        let turn_place = issue.turn.map(|turn| format!("turn-{turn}"));
        let audio_place = issue.at_ms.map(|ms| format!("at-{}", ms.max(0)));
        Self {
            turn: issue.turn,
            title: format::title(issue.kind.as_str()),
            severity: issue.severity.as_str(),
            kind: match issue.severity {
                Severity::Critical => "bad",
                Severity::Major => "warn",
                Severity::Minor => "",
            },
            impact: issue
                .impact_ms
                .filter(|ms| *ms > 0)
                .map(|ms| format!("{} lost", format::ms(ms as f64))),
            about: named.join(", "),
            text: issue.description_for(with_content),
            advice: issue.recommendation.clone(),
            turn_link: turn_place
                .as_ref()
                .map(|place| format!("{path}?tab=debug#{place}")),
            audio_link: audio_place
                .or(turn_place)
                .map(|place| format!("{path}?tab=media#{place}")),
            at: issue
                .at_ms
                .map(|ms| format!(" at {}", format::clock(ms)))
                .unwrap_or_default(),
        }
    }
}

fn path(found: &RootCause) -> String {
    format!("/console/conversations/{}", found.session)
}
