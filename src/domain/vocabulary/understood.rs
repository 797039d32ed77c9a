//! What one vocabulary makes of a session's spans, and how that becomes the session's events: turns are
//! numbered, moments become offsets from the session's start, and what is not sound is left out.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use crate::domain::event::{Event, Kind, normalised};
use crate::domain::fact;
use crate::domain::fields;
use crate::domain::fields::OFFSET_MAX_MS;
use crate::domain::items::OCCURRED_AT;
use crate::domain::offsets::{LISTS, OFFSETS};
use crate::domain::turn::Speaker;

use super::{Gist, Part, Vocabulary, claims};

/// What a session's spans amount to, in one vocabulary. All fields have the names of native ones; a field
/// that is an offset from the session's start (`startMs`, ...) may hold a [`moment`] instead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Understood {
    /// What it says of the session besides its times and how it ended: `agentId`, `models`, `usage`, ...
    pub session: Map<String, Value>,
    /// Where it is not the start of the first span.
    pub started_at: Option<DateTime<Utc>>,
    /// None as long as the session may go on.
    pub end: Option<End>,
    /// In any order.
    pub turns: Vec<Turn>,
    /// Tool calls, interruptions and errors.
    pub besides: Vec<Beside>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub at: DateTime<Utc>,
    /// `completed`, `failed`, ...
    pub status: &'static str,
    pub reason: Option<String>,
}

/// What one side said. Its index follows from its place in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Unique in the session and the same whenever the same spans are understood: a span's id, say.
    pub id: String,
    pub speaker: Speaker,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub fields: Map<String, Value>,
}

/// What happened beside the turns.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    pub kind: Kind,
    pub id: String,
    pub at: DateTime<Utc>,
    /// The id of the turn that it belongs to.
    pub turn: Option<String>,
    pub fields: Map<String, Value>,
}

/// A moment, where a field is an offset from a start that is not known yet.
pub fn moment(at: DateTime<Utc>) -> Value {
    Value::from(at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// What a session says part by part, so that one vocabulary may add to another's word.
const BY_MEMBER: [&str; 5] = ["models", "providers", "usage", "metadata", "workflow"];
/// An error that two vocabularies tell of is one, if they place it so close.
const SAME_ERROR_MS: i64 = 2_000;

/// The events of a session: turns and tools of the first that knows turns, what else the others add.
pub fn events(gists: &[&Gist], mut understood: Vec<Understood>) -> Vec<Event> {
    let stated = understood.iter().find_map(|u| u.started_at);
    let placing = placing(gists);
    let first = placing.iter().map(|gist| gist.started_at).min();
    let Some(start) = stated.or(first) else {
        return Vec::new();
    };
    let last = placing
        .iter()
        .map(|gist| gist.ended_at.unwrap_or(gist.started_at));
    let last = last.max().unwrap_or(start);
    // A stable sort: of equals the better vocabulary stays first.
    understood.sort_by_key(|u| u.turns.is_empty());
    let mut end = understood.iter_mut().find_map(|u| u.end.take());
    if let Some(end) = &mut end {
        end.at = end.at.min(last);
    }
    let mut understood = understood.into_iter();
    let mut best = understood.next().unwrap_or_default();
    for other in understood {
        for (name, value) in other.session {
            complete(&mut best.session, name, value);
        }
        let is_bare = best.turns.is_empty();
        for beside in other.besides {
            let is_new = match beside.kind {
                Kind::Error => !is_told(&best.besides, &beside),
                _ => is_bare,
            };
            if is_new {
                best.besides.push(beside);
            }
        }
    }
    for gist in gists {
        for (name, value) in &gist.session {
            complete(&mut best.session, name.clone(), value.clone());
        }
    }
    let mut session = best.session;
    for name in [claims::AGENT_LABEL, claims::SERVICE] {
        if let Some(agent) = session.remove(name) {
            session.entry("agentId").or_insert(agent);
        }
    }
    session.insert("startedAt".to_owned(), moment(start));
    let at = end.as_ref().map_or(last, |end| end.at);
    if let Some(end) = end {
        session.insert("endedAt".to_owned(), moment(end.at.max(start)));
        session.insert("status".to_owned(), Value::from(end.status));
        if let Some(reason) = end.reason {
            session.insert("endReason".to_owned(), Value::from(reason));
        }
    }
    let mut events = vec![sound(Kind::Session, "trace".to_owned(), at, session)];
    let indexes = turns(best.turns, start, &mut events);
    for beside in best.besides {
        let mut fields = placed(beside.fields, start);
        if let Some(index) = beside.turn.and_then(|turn| indexes.get(&turn)) {
            fields.insert("turn".to_owned(), Value::from(*index));
        }
        if beside.kind == Kind::Error {
            fields.insert("atMs".to_owned(), Value::from(offset_ms(beside.at, start)));
            fields.insert(OCCURRED_AT.to_owned(), moment(beside.at));
        }
        events.push(sound(beside.kind, beside.id, beside.at, fields));
    }
    events
}

/// The spans that tell when the conversation was. Where its own root has come these are the ones that the
/// root's vocabulary understands: what else ran meanwhile, before or after it, or by another clock, was no
/// conversation.
fn placing<'a>(gists: &[&'a Gist]) -> Vec<&'a Gist> {
    let tracer = |gist: &Gist| match gist.vocabulary {
        Vocabulary::Livekit => 0,
        Vocabulary::Pipecat => 1,
        _ => 2,
    };
    let roots = gists.iter().filter(|gist| gist.part == Part::Root);
    let Some(best) = roots.map(|root| tracer(root)).min() else {
        return gists.to_vec();
    };
    let known = |gist: &&Gist| gist.part != Part::Other && tracer(gist) == best;
    gists.iter().copied().filter(known).collect()
}

/// Adds the turns in the order of time, and answers the place of each in it, by its id.
fn turns(
    mut turns: Vec<Turn>,
    start: DateTime<Utc>,
    events: &mut Vec<Event>,
) -> BTreeMap<String, usize> {
    turns.sort_by(|a, b| {
        // What is asked and answered at one moment was asked first.
        let is_agent = |turn: &Turn| turn.speaker == Speaker::Agent;
        let rank = |turn: &Turn| (turn.started_at, turn.ended_at, is_agent(turn));
        rank(a).cmp(&rank(b)).then_with(|| a.id.cmp(&b.id))
    });
    let mut indexes = BTreeMap::new();
    let mut open_ms: Option<f64> = None;
    for (index, turn) in turns.into_iter().enumerate() {
        let mut fields = placed(turn.fields, start);
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        set("index", Value::from(index));
        set("speaker", Value::from(turn.speaker.as_str()));
        let stated_ms = offset_ms(turn.started_at, start);
        // Turns stand by their whole milliseconds, and of those of one the last whose end nobody knows: what was answered
        // within it is still behind what was asked.
        let behind = open_ms.filter(|open| turn.ended_at.is_some() && stated_ms.round() <= *open);
        let start_ms = behind.map_or(stated_ms, |open| open + 1.0);
        set("startMs", Value::from(start_ms));
        if let Some(end) = turn.ended_at {
            set("endMs", Value::from(offset_ms(end, start).max(start_ms)));
        }
        open_ms = turn.ended_at.is_none().then_some(start_ms.round());
        let at = turn.ended_at.unwrap_or(turn.started_at);
        events.push(sound(Kind::Turn, turn.id.clone(), at, fields));
        indexes.entry(turn.id).or_insert(index);
    }
    indexes
}

/// Adds what is not said yet.
fn complete(known: &mut Map<String, Value>, name: String, value: Value) {
    let slot = known.entry(name.as_str()).or_insert(Value::Null);
    match (slot, value) {
        (Value::Object(known), Value::Object(more)) if BY_MEMBER.contains(&name.as_str()) => {
            for (member, value) in more {
                known.entry(member).or_insert(value);
            }
        }
        (Value::Array(known), Value::Array(more)) => {
            for item in more {
                if !known.contains(&item) {
                    known.push(item);
                }
            }
        }
        (slot @ Value::Null, value) => *slot = value,
        _ => {}
    }
}

fn is_told(besides: &[Beside], error: &Beside) -> bool {
    besides.iter().any(|told| {
        told.kind == Kind::Error
            && told.fields.get("service") == error.fields.get("service")
            && (told.at - error.at).num_milliseconds().abs() <= SAME_ERROR_MS
    })
}

/// Milliseconds since the start of the session, to the microsecond.
fn offset_ms(at: DateTime<Utc>, start: DateTime<Utc>) -> f64 {
    let micros = (at - start).num_microseconds().unwrap_or(i64::MAX);
    (micros as f64 / 1000.0).clamp(0.0, OFFSET_MAX_MS)
}

/// Fields with their moments as offsets.
fn placed(mut fields: Map<String, Value>, start: DateTime<Utc>) -> Map<String, Value> {
    for (name, value) in &mut fields {
        match value {
            Value::String(text) if OFFSETS.contains(&name.as_str()) => {
                if let Some(at) = fact::parse_time(text) {
                    *value = Value::from(offset_ms(at, start));
                }
            }
            Value::Array(items) if LISTS.contains(&name.as_str()) => {
                for item in items.iter_mut() {
                    if let Value::Object(members) = item.take() {
                        *item = Value::Object(placed(members, start));
                    }
                }
            }
            _ => {}
        }
    }
    fields
}

/// An event without what no door would let in.
fn sound(kind: Kind, id: String, at: DateTime<Utc>, mut fields: Map<String, Value>) -> Event {
    fields.retain(|_, value| !value.is_null());
    for (name, max) in texts(kind) {
        if let Some(Value::String(text)) = fields.get_mut(*name)
            && let Some((cut, _)) = text.char_indices().nth(*max)
        {
            text.truncate(cut);
        }
    }
    // Times were checked at the door: none of them is ahead of its own day.
    for fault in fields::check(kind, &fields, DateTime::<Utc>::MAX_UTC - fields::FUTURE_MAX).faults
    {
        let name = fault.name.split(['.', '[']).next().unwrap_or_default();
        fields.remove(name);
    }
    let fields = match normalised(Value::Object(fields)) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    Event {
        kind,
        id,
        at,
        fields: fields.into(),
    }
}

/// Texts that are cut rather than left out.
fn texts(kind: Kind) -> &'static [(&'static str, usize)] {
    match kind {
        Kind::Turn => &[
            ("text", fields::TEXT_MAX_CHARS),
            ("sttText", fields::TEXT_MAX_CHARS),
        ],
        Kind::Error => &[("message", 10_000)],
        Kind::Session => &[("endReason", 1_000)],
        _ => &[],
    }
}
