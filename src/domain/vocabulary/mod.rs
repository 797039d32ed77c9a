//! What the spans of voice-agent frameworks say about a conversation. First each span by itself, as it
//! comes (its gist); then all of a session's gists together, whatever the order and the split in which
//! they came. One file a vocabulary.

mod agents_sdk;
mod called;
mod calls;
mod claims;
mod exchange;
mod genai;
mod generic;
mod langfuse;
mod livekit;
pub mod logged;
mod mastra;
mod messages;
mod openinference;
mod parts;
mod pipecat;
mod raised;
mod span;
mod strands;
mod understood;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::event::Event;

pub use claims::{claims, named_claims};
pub use livekit::{in_python, python_value};
pub use span::{OF_PROCESS, Said};
pub use understood::{Beside, End, Turn, Understood, moment};

/// Two clocks that are further apart do not tell of one conversation.
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::days(366);

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

/// How a span speaks. The better one knows of turns, the earlier it stands.
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
    /// What was said in another part, where that is told beside its span.
    Messages,
    Other,
}

/// The gist of a span fact's fields; none where it says nothing about a conversation.
pub fn gist(fields: &Map<String, Value>) -> Option<Gist> {
    gist_of(&Said::read(fields)?)
}

/// The attributes of a span that tell what it says of its conversation: without any other it says the same.
pub fn attributes_read(fields: &Map<String, Value>) -> BTreeSet<&str> {
    let Some(span) = Said::noting(fields) else {
        return BTreeSet::new();
    };
    // What has no gist may still name its session.
    if gist_of(&span).is_none() {
        claims::session_fields(&span);
    }
    span.noted()
}

fn gist_of(span: &Said<'_>) -> Option<Gist> {
    let mut gist = match vocabulary(span) {
        Vocabulary::Livekit => livekit::gist(span),
        Vocabulary::Pipecat => pipecat::gist(span),
        Vocabulary::Openinference => openinference::gist(span),
        Vocabulary::Genai => genai::gist(span),
        Vocabulary::Langfuse => langfuse::gist(span),
        Vocabulary::Generic => generic::gist(span),
    }?;
    // What any vocabulary may say of the session; a vocabulary's own word stays.
    for (name, value) in claims::session_fields(span) {
        gist.session.entry(name).or_insert(value);
    }
    Some(gist)
}

/// Leaves out what is more than a year from most of it: its clock was another one, and must not move the
/// session. In the order of their starts.
fn drop_other_times(gists: &mut Vec<&Gist>) {
    let Some(usual) = gists.get(gists.len() / 2).map(|gist| gist.started_at) else {
        return;
    };
    gists.retain(|gist| (gist.started_at - usual).abs() <= CLOCKS_APART_MAX);
}

/// How a span speaks: by the scope of its tracer first, since that says who made it.
pub fn vocabulary(span: &Said<'_>) -> Vocabulary {
    let scope = span.scope().to_ascii_lowercase();
    if logged::is_messages(span.span_id) {
        Vocabulary::Genai
    } else if scope.starts_with("livekit") {
        Vocabulary::Livekit
    } else if scope.starts_with("pipecat") {
        Vocabulary::Pipecat
    } else if scope.starts_with("langfuse") || span.has_prefix("langfuse.observation.") {
        Vocabulary::Langfuse
    } else if span.has("openinference.span.kind") {
        Vocabulary::Openinference
    } else if span.has_prefix("lk.") {
        Vocabulary::Livekit
    } else if agents_sdk::is_of(span)
        || span.has_prefix("gen_ai.")
        || span.has("traceloop.span.kind")
        || span.has("ai.operationId")
        || span.has("genkit:type")
    {
        Vocabulary::Genai
    } else {
        Vocabulary::Generic
    }
}

/// What all gists of one session amount to: session, turns, tool calls, interruptions and errors. The same
/// gists give the same events, whatever their order.
///
/// Several vocabularies may tell of the same conversation. LiveKit's spans are understood by themselves, and so are
/// Pipecat's; all others only know exchanges and what is below them, so that they are understood together. The first of
/// these three that knows turns is believed; the others only add what it leaves out.
pub fn interpret(gists: &[Gist]) -> Vec<Event> {
    let gists = logged::joined(gists);
    let mut gists: Vec<&Gist> = gists.iter().collect();
    gists.sort_by(|a, b| {
        let rank = |gist: &Gist| (gist.started_at, gist.ended_at);
        let names = || (&a.trace_id, &a.span_id).cmp(&(&b.trace_id, &b.span_id));
        rank(a).cmp(&rank(b)).then_with(names)
    });
    gists.dedup_by(|a, b| (&a.trace_id, &a.span_id) == (&b.trace_id, &b.span_id));
    drop_other_times(&mut gists);
    let of = |wanted: fn(Vocabulary) -> bool| -> Vec<&Gist> {
        let gists = gists.iter().copied();
        gists.filter(|gist| wanted(gist.vocabulary)).collect()
    };
    let livekit = of(|v| v == Vocabulary::Livekit);
    let pipecat = of(|v| v == Vocabulary::Pipecat);
    let others = of(|v| !matches!(v, Vocabulary::Livekit | Vocabulary::Pipecat));
    let speaks_langfuse = others.iter().any(|g| g.vocabulary == Vocabulary::Langfuse);
    let mut understood = Vec::new();
    if !livekit.is_empty() {
        understood.push(livekit::interpret(&livekit));
    }
    if !pipecat.is_empty() {
        understood.push(pipecat::interpret(&pipecat));
    }
    if speaks_langfuse {
        understood.push(langfuse::interpret(&others));
    } else if !others.is_empty() {
        understood.push(exchange::interpret(&others));
    }
    if understood.iter().all(|told| told.turns.is_empty()) {
        understood.push(pipecat::without_words(&pipecat));
    }
    understood::events(&gists, understood)
}
