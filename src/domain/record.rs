//! What readers are shown of a session: its state as stored, with or without what was said.

use chrono::{DateTime, Utc};

use crate::domain::analysis::IssueType;
use crate::domain::assemble::Counters;
use crate::domain::ids::SessionId;
use crate::domain::items::{Evaluation, Interruption, ServiceError, ToolCall};
use crate::domain::page::Slice;
use crate::domain::session::{Session, Status, Workflow};
use crate::domain::turn::Turn;
use crate::domain::words::Question;

/// A line of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Headline {
    pub id: SessionId,
    pub agent_key: Option<String>,
    pub status: Status,
    pub channel: Option<String>,
    pub campaign: Option<String>,
    pub workflow: Workflow,
    pub started_at: DateTime<Utc>,
    pub answered_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub duration_ms: Option<i64>,
    pub cost_micro_usd: Option<i64>,
    pub turns: i32,
    pub tags: Vec<String>,
    pub reviewed: bool,
    /// Whether its analysis found anything.
    pub has_issues: bool,
    /// Text of what sources said, in bytes: what showing the whole session will need.
    pub fact_bytes: i64,
}

/// What lists are ordered by, newest first; no two sessions share it.
pub type Key = (DateTime<Utc>, SessionId);

impl Headline {
    pub fn key(&self) -> Key {
        (self.started_at, self.id)
    }
}

/// No door takes a time before the one, or a lifetime before the other.
pub const EARLIEST: DateTime<Utc> = DateTime::UNIX_EPOCH;
pub const LATEST: DateTime<Utc> = match DateTime::from_timestamp(7_258_118_400, 0) {
    Some(time) => time,
    None => EARLIEST,
};

/// Which sessions a list shows. Absent means any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub agent_key: Option<String>,
    pub status: Option<Status>,
    /// Only sessions that somebody has evaluated; or, if false, that nobody has.
    pub reviewed: Option<bool>,
    /// Half-open, on the session's start.
    pub started_after: Option<DateTime<Utc>>,
    pub started_before: Option<DateTime<Utc>>,
    pub channel: Option<String>,
    pub campaign: Option<String>,
    /// A workflow's slug or id.
    pub workflow: Option<String>,
    pub tag: Option<String>,
    pub call_sid: Option<String>,
    pub stream_id: Option<String>,
    /// What is looked for in turns: content.
    pub words: Option<Question>,
    /// At least one measured answer to a user took so long.
    pub min_latency_ms: Option<i64>,
    /// Whether the analysis found anything.
    pub has_issues: Option<bool>,
    pub issue_type: Option<IssueType>,
}

/// A whole session.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub id: SessionId,
    pub external_id: String,
    pub session: Session,
    pub counters: Counters,
    pub total_tokens: i64,
    /// In the order in which they answer each other.
    pub turns: Vec<Turn>,
    pub tool_calls: Vec<ToolCall>,
    pub interruptions: Vec<Interruption>,
    pub errors: Vec<ServiceError>,
    pub evaluations: Vec<Evaluation>,
    /// Whether the analysis, as last kept, found anything.
    pub has_issues: bool,
    /// Whether what was said has been left out.
    pub content_withheld: bool,
    /// When what was said was deleted.
    pub closed_at: Option<DateTime<Utc>>,
}

/// Which errors a list shows. Absent means any.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ErrorFilter {
    pub service: Option<&'static str>,
    pub level: Option<&'static str>,
}

/// An error with the call that it happened in.
#[derive(Clone, Debug, PartialEq)]
pub struct CallError {
    pub call: SessionId,
    /// Its place among the errors of its call by time, from 0.
    pub place: i64,
    /// Its agent is the call's where it names none.
    pub error: ServiceError,
}

impl Record {
    /// From the first attempt to connect to the end, in ms.
    pub fn total_duration_ms(&self) -> Option<i64> {
        let start = self.session.started_at;
        let first = self.session.answered_at.map_or(start, |at| at.min(start));
        Some((self.session.ended_at? - first).num_milliseconds()).filter(|ms| *ms >= 0)
    }

    /// Answers to a user that were measured, in ms.
    pub fn measured_latencies_ms(&self) -> impl Iterator<Item = f64> {
        let counted = self
            .turns
            .iter()
            .filter(|turn| turn.answers_user && !turn.cancelled);
        counted.filter_map(|turn| turn.latency_ms)
    }

    /// The mean over the measured answers; none over nothing.
    pub fn avg_turn_latency_ms(&self) -> Option<f64> {
        let count = self.measured_latencies_ms().count();
        (count > 0).then(|| self.measured_latencies_ms().sum::<f64>() / count as f64)
    }
}

impl Slice<Headline> {
    /// Where the next page starts; none where this is the last one.
    pub fn next(&self) -> Option<Key> {
        let last = || self.items.last().filter(|_| self.more).map(Headline::key);
        self.resume.or_else(last)
    }
}
