//! What the spans of voice-agent frameworks say about a conversation. First each span by itself, as it
//! comes (its gist); then all of a session's gists together, whatever the order and the split in which
//! they came. One file a vocabulary.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::event::Event;
use crate::domain::ids::Claim;

/// What one span says, read from it alone. Kept beside the span, so that a session can be understood
/// again without reading its spans' attributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gist {
    #[serde(rename = "v")]
    pub vocabulary: Vocabulary,
    #[serde(rename = "p")]
    pub part: Part,
    #[serde(rename = "t")]
    pub trace_id: String,
    #[serde(rename = "s")]
    pub span_id: String,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    #[serde(rename = "b")]
    pub started_at: DateTime<Utc>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// What it says of itself, in the names of the native fields (`text`, `sttMs`, `llmMs`, ...).
    #[serde(rename = "f", default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    /// What it says of the session as a whole, in the names of the native session's fields.
    #[serde(rename = "c", default, skip_serializing_if = "Map::is_empty")]
    pub session: Map<String, Value>,
}

/// How a span speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Vocabulary {
    Livekit,
    Pipecat,
    Openinference,
    Genai,
    Langfuse,
    Generic,
}

/// What a span is in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Part {
    /// The conversation as a whole.
    Root,
    /// What the user said and what was answered.
    Exchange,
    UserTurn,
    AgentTurn,
    UserSpeech,
    AgentSpeech,
    Stt,
    Endpointing,
    Llm,
    LlmAttempt,
    Tts,
    TtsAttempt,
    Tool,
    Other,
}

/// The gist of a span fact's fields; none where it says nothing about a conversation.
pub fn gist(_fields: &Map<String, Value>) -> Option<Gist> {
    None
}

/// The names of the session that a span fact's fields tell, its trace not among them.
pub fn claims(_fields: &Map<String, Value>) -> Vec<Claim> {
    Vec::new()
}

/// What all gists of one session amount to: session, turns, tool calls, interruptions and errors. The same
/// gists give the same events, whatever their order.
pub fn interpret(_gists: &[Gist]) -> Vec<Event> {
    Vec::new()
}
