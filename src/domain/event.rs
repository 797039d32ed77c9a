//! What every ingest door produces: one statement of a source about one session.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::domain::ids::SessionId;

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
}

/// Which session, and what the source calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRef {
    pub id: SessionId,
    pub external_id: String,
}

/// One statement. Its fields have been checked against `domain::fields`.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub kind: Kind,
    pub id: String,
    pub at: DateTime<Utc>,
    pub fields: Map<String, Value>,
}

/// A whole document about a session: a later version replaces it whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// When the source wrote it; none means "when it was received".
    pub at: Option<DateTime<Utc>>,
    pub hash: i64,
    pub events: Vec<Event>,
}

/// What a door hands to the writer, item by item.
#[derive(Clone, Debug, PartialEq)]
pub enum Submission {
    Event(Event),
    Report(Report),
    /// Nothing has been heard of the session since this moment, for so long that it must be over.
    Silence(DateTime<Utc>),
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// Known already, or overtaken by a newer version.
    Duplicate,
    /// Another content under the same id and time.
    Conflict,
    /// The session holds as much as a session may.
    Full(Bound),
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
    pub fn from_stored(number: i16) -> Option<Self> {
        [Self::Event, Self::Call, Self::Timeout]
            .into_iter()
            .find(|source| *source as i16 == number)
    }
}

/// The SHA-256 of an object in its canonical form: keys sorted, no white space.
pub fn canonical_hash(object: &Map<String, Value>) -> [u8; 32] {
    // serde_json's map is sorted by key, so that its text is canonical; writing it cannot fail.
    let text = serde_json::to_string(object).unwrap_or_default();
    Sha256::digest(text.as_bytes()).into()
}

/// Tells two contents apart.
pub fn fields_hash(fields: &Map<String, Value>) -> i64 {
    short_hash(canonical_hash(fields))
}

/// The first eight bytes of a hash, as the store keeps it.
pub fn short_hash(hash: [u8; 32]) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    i64::from_be_bytes(first)
}
