//! What every ingest door produces: one statement of a source about one session.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::domain::body::Body;
use crate::domain::ids::{Claim, ClaimKind, SessionId, TenantId};

/// What a fact speaks of. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Kind {
    Session = 1,
    Turn = 2,
    Speech = 3,
    Network = 4,
    ToolCall = 5,
    Interruption = 6,
    Span = 7,
    Error = 8,
    Evaluation = 9,
    /// That a whole document was received; what it says are facts of their own.
    Report = 10,
}

/// The kinds that a native event may have, by the name it gives them.
pub const NATIVE_KINDS: [(&str, Kind); 8] = [
    ("session", Kind::Session),
    ("turn", Kind::Turn),
    ("speech", Kind::Speech),
    ("network", Kind::Network),
    ("tool_call", Kind::ToolCall),
    ("interruption", Kind::Interruption),
    ("span", Kind::Span),
    ("error", Kind::Error),
];

/// Which door a fact came through. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Source {
    Event = 1,
    Call = 2,
    /// Not a source at all: a worker noticed that a session has been silent for long.
    Timeout = 3,
    /// Spans of a tracer, whichever vocabulary they speak, and what they amount to together.
    Trace = 4,
    /// What LiveKit's SDK uploads besides traces: logs, chat history, evaluations.
    LivekitReport = 5,
    /// Langfuse's own events and scores, other than spans.
    Langfuse = 6,
    Twilio = 7,
    LivekitWebhook = 8,
    Vapi = 9,
    Retell = 10,
    Elevenlabs = 11,
}

/// Which session, and what the source calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRef {
    pub id: SessionId,
    pub external_id: String,
    /// What kind of name `external_id` is; none where the session is known to be there.
    pub kind: Option<ClaimKind>,
    /// Every name that tells this session from all others, its own among them.
    pub claims: Vec<Claim>,
}

impl SessionRef {
    /// A session that its source names itself, in the native way.
    pub fn native(tenant: TenantId, external_id: String) -> Self {
        Self {
            id: SessionId::from_reference(tenant, &external_id),
            external_id,
            kind: Some(ClaimKind::Native),
            claims: Vec::new(),
        }
    }

    /// A session that is known by these names, none where there is no name: the best of them is its own.
    /// Names that are empty, too long or hold a NUL are no names.
    pub fn claimed(tenant: TenantId, claims: impl IntoIterator<Item = Claim>) -> Option<Self> {
        let mut claims: Vec<Claim> = claims.into_iter().filter(Claim::is_sound).collect();
        claims.sort();
        claims.dedup();
        let own = claims.first()?;
        Some(Self {
            id: own.session(tenant),
            external_id: own.value.clone(),
            kind: Some(own.kind),
            claims,
        })
    }

    /// A session that is there.
    pub fn known(id: SessionId, external_id: String) -> Self {
        Self {
            id,
            external_id,
            kind: None,
            claims: Vec::new(),
        }
    }
}

/// One statement. Its fields have been checked against `domain::fields`.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub kind: Kind,
    pub id: String,
    pub at: DateTime<Utc>,
    pub fields: Body,
}

/// A whole document about a session: a later version replaces it whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// When the source wrote it; none means "when it was received".
    pub at: Option<DateTime<Utc>>,
    pub hash: i64,
    pub events: Vec<Event>,
}

impl Report {
    /// What a report's word on the session as a whole is known by. Single events have other ids.
    pub const SESSION_ID: &str = "session";
}

/// What a door hands to the writer, item by item.
#[derive(Clone, Debug, PartialEq)]
pub enum Submission {
    Event(Source, Event),
    /// A statement that says no time itself, so that it cannot be told from itself sent again: it counts
    /// unless something is known under its id.
    Undated(Source, Event),
    /// One a source and session.
    Report(Source, Report),
    /// Nothing has been heard of the session since this moment, for so long that it must be over.
    Silence(DateTime<Utc>),
}

impl Submission {
    pub fn undated(self) -> Self {
        match self {
            Self::Event(source, event) => Self::Undated(source, event),
            other => other,
        }
    }
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// Known already.
    Duplicate,
    /// Something newer is known.
    Overtaken,
    /// Another content under the same id and time.
    Conflict,
    /// The session holds as much as a session may.
    Full(Bound),
    /// What was said in the session was deleted, or all of it: it takes no more.
    Closed,
}

/// What a session has as much of as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Turns,
    Facts,
    /// Facts that speak of one thing.
    EntityFacts,
    FactBytes,
    SpanBytes,
}

impl Kind {
    pub fn from_stored(number: i16) -> Option<Self> {
        use Kind::*;
        [
            Session,
            Turn,
            Speech,
            Network,
            ToolCall,
            Interruption,
            Span,
            Error,
            Evaluation,
            Report,
        ]
        .into_iter()
        .find(|kind| *kind as i16 == number)
    }
}

impl Source {
    /// Whose doors take spans. A span has the same id in all of them.
    pub const OF_SPANS: [Self; 3] = [Self::Event, Self::Call, Self::Trace];

    /// Whether its sender may correct what it says: then two contents of one moment contradict each other.
    /// Of what others say so, one counts, whichever comes first.
    pub fn is_own(self) -> bool {
        matches!(self, Self::Event | Self::Call)
    }

    /// Whether it tells how a call stands while the call runs, and in a report what the whole of it was.
    pub fn tells_events_and_reports(self) -> bool {
        matches!(self, Self::Vapi | Self::Retell)
    }

    /// What answers call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Call => "call",
            Self::Timeout => "timeout",
            Self::Trace => "trace",
            Self::LivekitReport => "livekit",
            Self::Langfuse => "langfuse",
            Self::Twilio => "twilio",
            Self::LivekitWebhook => "livekit_webhook",
            Self::Vapi => "vapi",
            Self::Retell => "retell",
            Self::Elevenlabs => "elevenlabs",
        }
    }

    pub fn from_stored(number: i16) -> Option<Self> {
        use Source::*;
        [
            Event,
            Call,
            Timeout,
            Trace,
            LivekitReport,
            Langfuse,
            Twilio,
            LivekitWebhook,
            Vapi,
            Retell,
            Elevenlabs,
        ]
        .into_iter()
        .find(|source| *source as i16 == number)
    }
}

/// Whole numbers up to this are the same as floats and as integers: 2^53.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A number as an integer where it is one but is not written so: `5.0` is `5`.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_number().filter(|number| number.is_f64())?;
    let number = number.as_f64()?;
    (number.fract() == 0.0 && number.abs() <= WHOLE_MAX).then_some(number as i64)
}

/// Whether a value is written as [`normalised`] writes it.
fn is_normal(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(is_normal),
        Value::Object(members) => members.values().all(is_normal),
        _ => whole(value).is_none(),
    }
}

/// The one way of writing a value: whole numbers without a fraction, at any depth.
pub fn normalised(value: Value) -> Value {
    if is_normal(&value) {
        value
    } else {
        rewritten(value)
    }
}

fn rewritten(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(rewritten).collect(),
        Value::Object(members) => Value::Object(normalised_members(members)),
        value => whole(&value).map_or(value, Value::from),
    }
}

fn normalised_members(members: Map<String, Value>) -> Map<String, Value> {
    let each = members.into_iter();
    each.map(|(name, value)| (name, rewritten(value))).collect()
}

/// An object in its canonical form: keys sorted, no white space, one way of writing each number.
pub fn canonical_text(object: &Map<String, Value>) -> String {
    // serde_json's map is sorted by key, so that its text is canonical; writing it cannot fail.
    let text = if object.values().all(is_normal) {
        serde_json::to_string(object)
    } else {
        serde_json::to_string(&normalised_members(object.clone()))
    };
    text.unwrap_or_default()
}

/// The SHA-256 of an object in its canonical form.
pub fn canonical_hash(object: &Map<String, Value>) -> [u8; 32] {
    Sha256::digest(canonical_text(object).as_bytes()).into()
}

/// Tells two contents apart.
pub fn fields_hash(fields: &Map<String, Value>) -> i64 {
    short_hash(canonical_hash(fields))
}

/// The same, of a canonical text.
pub fn text_hash(text: &str) -> i64 {
    short_hash(Sha256::digest(text.as_bytes()).into())
}

/// The first eight bytes of a hash, as the store keeps it.
pub fn short_hash(hash: [u8; 32]) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    i64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_content_has_one_hash_however_its_numbers_are_written() {
        let hash = |text: &str| fields_hash(&serde_json::from_str(text).unwrap());
        let one = hash(r#"{"a": 5, "b": [{"c": 0}], "d": 1000}"#);
        assert_eq!(hash(r#"{"d": 1e3, "b": [{"c": -0.0}], "a": 5.0}"#), one);
        assert_ne!(hash(r#"{"a": 5.5, "b": [{"c": 0}], "d": 1000}"#), one);
    }

    #[test]
    fn only_whole_numbers_are_written_anew() {
        let given = json!({"a": [5.0, 5.5, 9_007_199_254_740_992.0, 1e300], "b": "5.0", "c": true});
        let normal =
            json!({"a": [5, 5.5, 9_007_199_254_740_992_i64, 1e300], "b": "5.0", "c": true});
        assert_eq!(normalised(given), normal);
        assert!(is_normal(&normal));
    }
}
