//! What the rules read: a session's state, and what is only kept as facts.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::assemble::Conversation;
use crate::domain::items::{Interruption, ServiceError, ToolCall};
use crate::domain::session::Session;
use crate::domain::turn::{Speaker, Turn};

/// A session as far as it is analysed. Nothing needs to be in order.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub session: &'a Session,
    /// As `Turn::resolve` left them, texts included.
    pub turns: &'a [Turn],
    pub tool_calls: &'a [ToolCall],
    pub interruptions: &'a [Interruption],
    pub errors: &'a [ServiceError],
    pub speech: &'a [Speech],
    pub network: &'a [NetworkSample],
}

impl<'a> Input<'a> {
    pub fn of(
        conversation: &'a Conversation,
        speech: &'a [Speech],
        network: &'a [NetworkSample],
    ) -> Self {
        Self {
            session: &conversation.session,
            turns: &conversation.turns,
            tool_calls: &conversation.tool_calls,
            interruptions: &conversation.interruptions,
            errors: &conversation.errors,
            speech,
            network,
        }
    }
}

/// Speech that was heard, with or without a transcript.
#[derive(Clone, Debug, PartialEq)]
pub struct Speech {
    pub speaker: Speaker,
    pub start_ms: f64,
    pub end_ms: f64,
    pub probability: Option<f64>,
}

impl Speech {
    /// From the fields of a `speech` fact.
    pub fn of(fields: &Map<String, Value>) -> Option<Self> {
        let number = |name: &str| fields.get(name).and_then(Value::as_f64);
        Some(Self {
            speaker: Speaker::parse(fields.get("speaker")?.as_str()?)?,
            start_ms: number("startMs")?,
            end_ms: number("endMs")?,
            probability: number("probability"),
        })
    }
}

/// How the network was at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkSample {
    pub at_ms: f64,
    pub rtt_ms: Option<f64>,
    pub jitter_ms: Option<f64>,
    pub loss_percent: Option<f64>,
    pub mos: Option<f64>,
    pub direction: Option<String>,
}

impl NetworkSample {
    /// From the fields of a `network` fact.
    pub fn of(fields: &Map<String, Value>) -> Option<Self> {
        let number = |name: &str| fields.get(name).and_then(Value::as_f64);
        Some(Self {
            at_ms: number("atMs")?,
            rtt_ms: number("rttMs"),
            jitter_ms: number("jitterMs"),
            loss_percent: number("lossPercent"),
            mos: number("mos"),
            direction: fields
                .get("direction")
                .and_then(Value::as_str)
                .map(str::to_owned),
        })
    }
}
