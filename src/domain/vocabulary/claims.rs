//! The names that a span has for its session, whichever vocabulary it speaks.

use serde_json::{Map, Value, json};

use crate::domain::ids::{Claim, ClaimKind, is_call_sid, is_room_sid};

use super::Said;
use super::span::{SERVICE_NAME, said};

/// Attributes that tell a conversation from all others, the most trusted first.
const CONVERSATIONS: [&str; 14] = [
    "session.id",
    "langfuse.session.id",
    "conversation.id",
    "gen_ai.conversation.id",
    "traceloop.association.properties.session_id",
    "traceloop.association.properties.conversation_id",
    "ai.telemetry.metadata.sessionId",
    "ai.settings.context.sessionId",
    "gcp.vertex.agent.session_id",
    "mastra.metadata.sessionId",
    // Any of which makes a thread of LangSmith's.
    "langsmith.metadata.session_id",
    "langsmith.metadata.thread_id",
    "langsmith.metadata.conversation_id",
    GROUP,
];
/// What links traces of OpenAI's Agents SDK, as Logfire tells it of each of them.
const GROUP: &str = "group_id";
const OF_GROUP: &str = "agent_trace_id";
const ROOMS: [&str; 3] = ["lk.room_sid", "room_id", "gen_ai.conversation.id"];
const CALLS: [&str; 5] = [
    "telephony.call_sid",
    "call_sid",
    "twilio.call_sid",
    "lk.sip.twilio.callSid",
    "sip.twilio.callSid",
];
const STREAMS: [&str; 3] = ["telephony.stream_sid", "stream_sid", "twilio.stream_sid"];
/// Names that others may have too: they show, and join nothing.
const LABELS: [(&str, &str); 8] = [
    ("lk.job_id", "livekit_job_id"),
    ("job_id", "livekit_job_id"),
    ("lk.room_name", "livekit_room_name"),
    ("lk.pii.room_name", "livekit_room_name"),
    ("lk.sip.callID", "sip_call_id"),
    ("lk.sip.phoneNumber", "phone_number"),
    ("user.id", "user_id"),
    ("traceloop.association.properties.user_id", "user_id"),
];
const AGENTS: [&str; 4] = [
    "lk.agent_name",
    "agent.name",
    "agent.id",
    "langfuse.trace.metadata.agent",
];
const AGENT_LABELS: [&str; 2] = ["gen_ai.agent.name", "lk.agent_label"];
/// Who the agent is where nobody says so: what its class or its process is called. No fields of a session:
/// they are looked at when all is known.
pub const AGENT_LABEL: &str = "agentLabel";
pub const SERVICE: &str = "service";
const TRANSPORTS: [&str; 2] = ["transport", "langfuse.trace.metadata.transport"];
const TAGS: &str = "langfuse.trace.tags";

/// The names of the session that a span fact's fields tell, its trace not among them.
pub fn claims(fields: &Map<String, Value>) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (_, claim) in named_claims(fields) {
        if !claims.contains(&claim) {
            claims.push(claim);
        }
    }
    claims
}

/// The same, each with the attribute that gives it, the most trusted first.
pub fn named_claims(fields: &Map<String, Value>) -> Vec<(&'static str, Claim)> {
    let attributes = fields.get("attributes").and_then(Value::as_object);
    match attributes {
        // Every span of a request is asked several times: its times were checked at the door.
        Some(attributes) if Said::has_place(fields) => of(|name| attributes.get(name)),
        _ => Vec::new(),
    }
}

fn of<'a>(attribute: impl Fn(&str) -> Option<&'a Value>) -> Vec<(&'static str, Claim)> {
    let mut claims = Vec::new();
    let value = |name: &str| match attribute(name) {
        Some(Value::String(text)) => text.trim().to_owned(),
        // Some count their conversations.
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let mut add = |claim: Claim, name: &'static str| {
        if claim.is_sound() {
            claims.push((name, claim));
        }
    };
    let text = |name: &str| attribute(name).and_then(said);
    let is_room = |name: &str| text(name).is_some_and(is_room_sid);
    for name in ROOMS.into_iter().filter(|name| is_room(name)) {
        add(Claim::new(ClaimKind::LivekitRoomSid, value(name)), name);
    }
    let is_call = |name: &str| text(name).is_some_and(is_call_sid);
    for name in CALLS.into_iter().filter(|name| is_call(name)) {
        add(Claim::new(ClaimKind::CallSid, value(name)), name);
    }
    let is_there = |name: &&str| {
        attribute(name).is_some() && (*name != GROUP || attribute(OF_GROUP).is_some())
    };
    for name in STREAMS.into_iter().filter(is_there) {
        add(Claim::new(ClaimKind::StreamSid, value(name)), name);
    }
    // LiveKit's own name for its room is that and no more.
    let is_told = |name: &&str| !(ROOMS.contains(name) && is_room(name));
    for name in CONVERSATIONS.into_iter().filter(is_there).filter(is_told) {
        for claim in Claim::of_conversation(&value(name)) {
            add(claim, name);
        }
    }
    claims
}

/// What any span may say of its session, in the names of the native session's fields.
pub fn session_fields(span: &Said<'_>) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    let mut ids: Vec<Value> = Vec::new();
    for (_, claim) in of(|name| span.value(name)) {
        match claim.kind {
            ClaimKind::CallSid => set("callSid", Some(claim.value.clone().into())),
            ClaimKind::StreamSid => set("streamId", Some(claim.value.clone().into())),
            _ => {}
        }
        let id = json!({"kind": claim.kind.as_str(), "id": claim.value});
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    for (name, kind) in LABELS {
        if let Some(id) = span.text(name) {
            let label = json!({"kind": kind, "id": id});
            if !ids.contains(&label) {
                ids.push(label);
            }
        }
    }
    set("externalIds", (!ids.is_empty()).then(|| ids.into()));
    // Langfuse's processor has them on the spans of all tracers.
    set("tags", span.json(TAGS).filter(Value::is_array));
    let metadata = span.json("metadata");
    let told = |name: &str| {
        let value = metadata.as_ref()?.get(name)?.as_str()?;
        Some(value.to_owned())
    };
    let plain = |name: &str| {
        span.text(name)
            .map(|text| text.trim_matches('"').to_owned())
    };
    let agent = AGENTS.iter().find_map(|name| plain(name));
    set("agentId", agent.or_else(|| told("agent")).map(Value::from));
    let label = AGENT_LABELS.iter().find_map(|name| plain(name));
    set(
        AGENT_LABEL,
        label
            .filter(|name| name != "default_agent")
            .map(Value::from),
    );
    let service = span
        .resource(SERVICE_NAME)
        .filter(|name| !name.starts_with("unknown_service"));
    set(SERVICE, service.map(Value::from));
    let transport = TRANSPORTS.iter().find_map(|name| plain(name));
    set(
        "transport",
        transport.or_else(|| told("transport")).map(Value::from),
    );
    fields
}
