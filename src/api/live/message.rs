//! Messages as they are sent: one shape for all, the same on both ways.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::command::ACTIVE_COUNT;
use crate::api::format;
use crate::domain::live::{Call, Detail, Event, Failure, Utterance};
use crate::services::live::Item;

/// Longest complaint that a client is told, in characters: it may hold what the client sent.
const COMPLAINT_MAX_CHARS: usize = 500;

/// One message. `seq` is an event's own number, and of other messages that of the last event before it.
#[derive(Serialize)]
pub struct Message {
    r#type: &'static str,
    call_id: Option<String>,
    timestamp: String,
    seq: i64,
    data: Data,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data {
    Count {
        active_count: i64,
    },
    Call(CallData),
    Transcript(Line),
    Failure(FailureData),
    Gap {
        code: &'static str,
        message: &'static str,
        after: i64,
        oldest: i64,
    },
    Complaint {
        code: &'static str,
        message: String,
    },
    Nothing {},
}

#[derive(Serialize)]
struct CallData {
    status: &'static str,
    agent_key: Option<String>,
    channel: Option<String>,
    campaign: Option<String>,
    workflow: Option<String>,
    call_sid: Option<String>,
    started_at: String,
    answered_at: Option<String>,
    ended_at: Option<String>,
    duration_seconds: Option<f64>,
    end_reason: Option<String>,
    turns: i32,
    tool_calls: i32,
    interruptions: i32,
    errors: i32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    merged_from: Vec<String>,
}

#[derive(Serialize)]
struct Line {
    index: i32,
    speaker: String,
    text: String,
    start_ms: Option<i32>,
    end_ms: Option<i32>,
}

#[derive(Serialize)]
struct FailureData {
    id: String,
    service: Option<String>,
    level: String,
    code: Option<String>,
    message: Option<String>,
    turn: Option<i32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    content_withheld: bool,
}

impl Message {
    pub fn connected(active_count: i64, seq: i64, now: DateTime<Utc>) -> Self {
        Self::of("connected", Data::Count { active_count }, seq, now)
    }

    pub fn ping(seq: i64, now: DateTime<Utc>) -> Self {
        Self::of("ping", Data::Nothing {}, seq, now)
    }

    pub fn pong(seq: i64, now: DateTime<Utc>) -> Self {
        Self::of("pong", Data::Nothing {}, seq, now)
    }

    /// A message of the client that was not followed, or why no more messages come.
    pub fn complaint(code: &'static str, message: &str, seq: i64, now: DateTime<Utc>) -> Self {
        let message = message.chars().take(COMPLAINT_MAX_CHARS).collect();
        Self::of("error", Data::Complaint { code, message }, seq, now)
    }

    /// Nothing for an event of which nothing is left to tell.
    pub fn item(item: &Item, seq: i64, now: DateTime<Utc>) -> Option<Self> {
        match item {
            Item::Event(event) => Self::event(event),
            Item::Count(active_count) => {
                let data = Data::Count {
                    active_count: *active_count,
                };
                Some(Self::of(ACTIVE_COUNT, data, seq, now))
            }
            Item::Gap { after, oldest } => {
                let data = Data::Gap {
                    code: "gap",
                    // Whoever names an event that is still to come has heard of it from another store.
                    message: match after < oldest {
                        true => {
                            "events after `after` and before `oldest` are kept no more: read the calls again, \
                             as from /api/v1/voice-sessions"
                        }
                        false => {
                            "there has been no event `after` here; the next is `oldest`: read the calls again, \
                             as from /api/v1/voice-sessions"
                        }
                    },
                    after: *after,
                    oldest: *oldest,
                };
                // Whoever comes back from here has missed no more than this tells.
                Some(Self::of("error", data, oldest - 1, now))
            }
        }
    }

    fn event(event: &Event) -> Option<Self> {
        let data = match &event.detail {
            Detail::Call(call) => Data::Call(CallData::from(call.clone())),
            Detail::Transcript(said) => Data::Transcript(Line::from(said.clone())),
            Detail::Error(failure) => Data::Failure(FailureData::from(failure.clone())),
            Detail::Deleted => Data::Nothing {},
            Detail::Gone => return None,
        };
        Some(Self {
            call_id: Some(event.session.to_string()),
            ..Self::of(event.kind.as_str(), data, event.seq, event.at)
        })
    }

    fn of(r#type: &'static str, data: Data, seq: i64, at: DateTime<Utc>) -> Self {
        Self {
            r#type,
            call_id: None,
            timestamp: format::time(at),
            seq,
            data,
        }
    }

    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// As JSON, on one line.
    pub fn text(&self) -> String {
        // Plain structs always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl From<Call> for CallData {
    fn from(call: Call) -> Self {
        Self {
            status: call.status.as_str(),
            agent_key: call.agent_key,
            channel: call.channel,
            campaign: call.campaign,
            workflow: call.workflow,
            call_sid: call.call_sid,
            started_at: format::time(call.started_at),
            answered_at: call.answered_at.map(format::time),
            ended_at: call.ended_at.map(format::time),
            duration_seconds: call.duration_ms.map(|ms| ms as f64 / 1000.0),
            end_reason: call.end_reason,
            turns: call.turns,
            tool_calls: call.tool_calls,
            interruptions: call.interruptions,
            errors: call.errors,
            merged_from: call.merged_from.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<Utterance> for Line {
    fn from(said: Utterance) -> Self {
        Self {
            index: said.index,
            speaker: said.speaker,
            text: said.text,
            start_ms: said.start_ms,
            end_ms: said.end_ms,
        }
    }
}

impl From<Failure> for FailureData {
    fn from(failure: Failure) -> Self {
        Self {
            id: failure.id,
            service: failure.service,
            level: failure.level,
            code: failure.code,
            message: failure.message,
            turn: failure.turn,
            content_withheld: failure.content_withheld,
        }
    }
}
