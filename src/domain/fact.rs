//! Facts: statements as they came. The same set of facts always gives the same state, whatever the
//! order, the split and the repetition in which they arrived.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::{Map, Value};

use crate::domain::body::Body;
use crate::domain::event::{Kind, Report, Source, normalised};
use crate::domain::partial;
use crate::domain::precedence;

#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub source: Source,
    pub kind: Kind,
    pub id: String,
    pub at: DateTime<Utc>,
    /// Tells two contents under one identity apart.
    pub hash: i64,
    pub fields: Body,
}

/// Under which name a fact is kept, within its session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub source: Source,
    pub kind: Kind,
    pub id: String,
}

/// What a fact speaks of, within its session: several facts may speak of one turn.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    pub kind: Kind,
    pub key: String,
}

impl Entity {
    /// What a statement speaks of.
    pub fn of(source: Source, kind: Kind, id: &str, fields: &Map<String, Value>) -> Self {
        let own_key = || match source {
            Source::Call => format!("{CALL_KEY}{id}"),
            Source::Event | Source::Timeout => given_key(id),
            other => format!("{VIA_KEY}{}:{id}", other.as_str()),
        };
        let key = match kind {
            Kind::Session => String::new(),
            Kind::Turn => turn_index(fields).to_string(),
            Kind::ToolCall => match fields.get("callId").and_then(Value::as_str) {
                Some(call_id) => given_key(call_id),
                None if source == Source::Event => format!("{EVENT_KEY}{id}"),
                None => own_key(),
            },
            // Its own ids are all that a span is known by, whichever door it came through.
            Kind::Span => id.to_owned(),
            _ => own_key(),
        };
        Self { kind, key }
    }

    pub fn session() -> Self {
        Self {
            kind: Kind::Session,
            key: String::new(),
        }
    }

    pub fn turn(index: i32) -> Self {
        Self {
            kind: Kind::Turn,
            key: index.to_string(),
        }
    }
}

/// Keys that we make begin with these, keys that sources give do not.
const CALL_KEY: &str = "call:";
const EVENT_KEY: &str = "event:";
const VIA_KEY: &str = "via:";
const GIVEN_KEY: &str = "id:";

/// The key that a source's own id is, or stands in where it looks like one of ours.
fn given_key(id: &str) -> String {
    let is_taken = [CALL_KEY, EVENT_KEY, VIA_KEY, GIVEN_KEY]
        .iter()
        .any(|ours| id.starts_with(ours));
    let prefix = if is_taken { GIVEN_KEY } else { "" };
    format!("{prefix}{id}")
}

/// What a fact is to one that is known under the same identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Same,
    Older,
    Newer,
    Conflict,
}

/// Fields whose members are merged one by one; any other value is taken whole.
const MERGED_BY_MEMBER: [&str; 7] = [
    "providers",
    "models",
    "usage",
    "workflow",
    "metadata",
    "extracted",
    "recording",
];

impl Fact {
    pub fn identity(&self) -> Identity {
        Identity {
            source: self.source,
            kind: self.kind,
            id: self.id.clone(),
        }
    }

    /// What keeping it takes: its id, and its fields as text.
    pub fn bytes(&self) -> i64 {
        (self.id.len() + self.fields.text().len()) as i64
    }

    pub fn entity(&self) -> Entity {
        Entity::of(self.source, self.kind, &self.id, &self.fields)
    }

    /// Whether facts under other ids may speak of the same entity.
    pub fn is_shared(kind: Kind) -> bool {
        matches!(kind, Kind::Session | Kind::Turn | Kind::ToolCall)
    }

    pub fn turn_index(&self) -> i32 {
        turn_index(&self.fields)
    }

    /// Which part of a session it tells of, where each tells of itself alone: of jobs in one room of LiveKit's, each
    /// reports what it used. Their names are behind what is told.
    fn part(&self) -> Option<&str> {
        let is_of_job = self.source == Source::LivekitReport && self.kind == Kind::Session;
        let (_, job) = self.id.rsplit_once(':').filter(|_| is_of_job)?;
        Some(job)
    }

    /// Whether it is out of a document about the whole call, written when that was over.
    pub fn tells_afterwards(&self) -> bool {
        let is_vendors = matches!(
            self.source,
            Source::Vapi | Source::Retell | Source::Elevenlabs
        );
        self.source == Source::Call || is_vendors && self.id == Report::SESSION_ID
    }

    /// Whether a field of it is no word of its source, but follows from what a whole call leaves out.
    pub fn implies(&self, name: &str) -> bool {
        let names = match self.source {
            Source::Call => self.fields.get(IMPLIED).and_then(Value::as_array),
            _ => None,
        };
        names.is_some_and(|names| names.iter().any(|implied| implied == name))
    }

    /// The earliest and latest moment this fact speaks of.
    pub fn span(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        self.times()
            .fold((self.at, self.at), |(first, last), time| {
                (first.min(time), last.max(time))
            })
    }

    /// The moments that its fields tell, of the kinds whose times are checked at the door.
    pub fn times(&self) -> impl Iterator<Item = DateTime<Utc>> {
        let names: &[&str] = match self.kind {
            Kind::Session => &["startedAt", "connectedAt", "answeredAt", "endedAt"],
            Kind::Span => &["startedAt", "endedAt"],
            _ => &[],
        };
        names.iter().filter_map(|name| time(&self.fields, name))
    }

    /// How this fact stands to a known one of the same identity.
    pub fn standing(&self, known: &Self) -> Standing {
        if self.hash == known.hash && self.at == known.at {
            return Standing::Same;
        }
        if self.kind == Kind::Span {
            return if self.span_rank() > known.span_rank() {
                Standing::Newer
            } else {
                Standing::Older
            };
        }
        match self.at.cmp(&known.at) {
            std::cmp::Ordering::Less => Standing::Older,
            std::cmp::Ordering::Equal if self.source.is_own() => Standing::Conflict,
            std::cmp::Ordering::Equal if self.hash > known.hash => Standing::Newer,
            std::cmp::Ordering::Equal => Standing::Older,
            std::cmp::Ordering::Greater => Standing::Newer,
        }
    }

    /// Of two spans under one id one that was told whole wins, then the one that ended later, then the one
    /// that says more. The time comes last: it places a span that says no time itself.
    pub fn span_rank(&self) -> (bool, Option<DateTime<Utc>>, usize, i64, DateTime<Utc>) {
        let attributes = self
            .fields
            .get("attributes")
            .and_then(Value::as_object)
            .map_or(0, Map::len);
        (
            !partial::is_piece(self),
            time(&self.fields, "endedAt"),
            attributes,
            self.hash,
            self.at,
        )
    }
}

fn turn_index(fields: &Map<String, Value>) -> i32 {
    fields
        .get("index")
        .and_then(Value::as_f64)
        .unwrap_or_default() as i32
}

/// The order in which facts overrule each other: the best source last, of one source the newest, ties by
/// the bytes of the id.
pub fn order(facts: &mut [&Fact]) {
    let rank = |fact: &Fact| precedence::session_rank(fact.source);
    facts.sort_by(|a, b| (rank(a), a.at, &a.id, a.source).cmp(&(rank(b), b.at, &b.id, b.source)));
}

/// In the session's fact of a whole call the names of its fields that the call does not state: they follow from what it
/// leaves out, and count where nobody states them.
pub const IMPLIED: &str = "impliedFields";

/// Each field from the newest fact that gives it: absent says nothing, null takes it back. What parts of a session
/// used adds up, and so do their tags. What a whole call implies gives way to what native ingest states.
pub fn merge(ordered: &[&Fact]) -> Map<String, Value> {
    let mut merged = Map::new();
    let mut parts: BTreeMap<(&str, &str), Map<String, Value>> = BTreeMap::new();
    let mut stated = Stated::default();
    for fact in ordered {
        let counting = fact
            .fields
            .iter()
            .filter(|field| stated.admits(fact, *field));
        for (name, value) in counting {
            let is_by_member = MERGED_BY_MEMBER.contains(&name.as_str());
            let sum = match name.as_str() {
                "usage" => used_by,
                "tags" => tagged_by,
                _ => {
                    overlay(&mut merged, name, value, is_by_member);
                    continue;
                }
            };
            match fact.part() {
                Some(part) => {
                    let part = parts.entry((name, part)).or_default();
                    overlay(part, name, value, is_by_member);
                    let told = parts.iter().filter(|((of, _), _)| *of == name);
                    let told: Vec<&Value> = told.filter_map(|(_, part)| part.get(name)).collect();
                    overlay(&mut merged, name, &sum(&told), is_by_member);
                }
                None => overlay(&mut merged, name, value, is_by_member),
            }
        }
    }
    merged
}

/// What native ingest itself states of a session: nothing that a whole call only implies overrules it.
#[derive(Default)]
struct Stated<'a>(BTreeSet<&'a str>);

impl<'a> Stated<'a> {
    /// Whether a field of the next fact counts.
    fn admits(&mut self, fact: &Fact, (name, value): (&'a String, &Value)) -> bool {
        if fact.kind != Kind::Session || !precedence::is_first_hand(fact.source) {
            return true;
        }
        if name == IMPLIED {
            return false;
        }
        if fact.implies(name) {
            return !self.0.contains(name.as_str());
        }
        match value.is_null() {
            true => self.0.remove(name.as_str()),
            false => self.0.insert(name),
        };
        true
    }
}

/// What all parts used together.
fn used_by(parts: &[&Value]) -> Value {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, count) in parts.iter().filter_map(|part| part.as_object()).flatten() {
        let Some(count) = count.as_f64() else {
            continue;
        };
        *sums.entry(name).or_default() += count;
    }
    let sums = sums.into_iter();
    let rounded = sums.map(|(name, sum)| (name.to_owned(), Value::from((sum * 1e6).round() / 1e6)));
    normalised(rounded.collect())
}

/// The tags of all parts, each once.
fn tagged_by(parts: &[&Value]) -> Value {
    let mut tags: Vec<Value> = Vec::new();
    for tag in parts.iter().filter_map(|part| part.as_array()).flatten() {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    tags.into()
}

fn overlay(merged: &mut Map<String, Value>, name: &str, value: &Value, by_member: bool) {
    match value {
        Value::Null => {
            merged.remove(name);
        }
        Value::Object(members) if by_member => {
            let slot = merged
                .entry(name)
                .or_insert_with(|| Value::Object(Map::new()));
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            if let Value::Object(known) = slot {
                for (member, value) in members {
                    overlay(known, member, value, false);
                }
            }
        }
        _ => {
            merged.insert(name.to_owned(), value.clone());
        }
    }
}

/// A time that has been checked at the door.
pub fn time(fields: &Map<String, Value>, name: &str) -> Option<DateTime<Utc>> {
    parse_time(fields.get(name)?.as_str()?)
}

/// The same, of its text.
pub fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| kept(time.to_utc()))
}

/// A time as the store keeps it, which is whole microseconds: memory must not know more than the store,
/// or what a batch makes of a fact would depend on whether it was stored in between.
pub fn kept(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// Takes fields out of a merged map one by one; what is left has no column of its own.
pub struct Taker(pub Map<String, Value>);

impl Taker {
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn number(&mut self, name: &str) -> Option<f64> {
        self.0.remove(name)?.as_f64()
    }

    pub fn whole(&mut self, name: &str) -> Option<i32> {
        self.number(name).map(|number| number.round() as i32)
    }

    pub fn flag(&mut self, name: &str) -> bool {
        self.maybe_flag(name).unwrap_or_default()
    }

    pub fn maybe_flag(&mut self, name: &str) -> Option<bool> {
        self.0.remove(name)?.as_bool()
    }

    pub fn time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let time = time(&self.0, name);
        self.0.remove(name);
        time
    }

    pub fn texts(&mut self, name: &str) -> Vec<String> {
        let Some(Value::Array(items)) = self.0.remove(name) else {
            return Vec::new();
        };
        let mut texts: Vec<String> = Vec::with_capacity(items.len());
        for item in items {
            if let Value::String(text) = item
                && !texts.contains(&text)
            {
                texts.push(text);
            }
        }
        texts
    }

    /// A member of an object that stays where it is.
    pub fn member(&self, object: &str, name: &str) -> Option<String> {
        Some(self.0.get(object)?.get(name)?.as_str()?.to_owned())
    }

    pub fn member_number(&self, object: &str, name: &str) -> Option<f64> {
        self.0.get(object)?.get(name)?.as_f64()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fact(source: Source, kind: Kind, id: &str, fields: Value) -> Fact {
        Fact {
            source,
            kind,
            id: id.to_owned(),
            at: DateTime::UNIX_EPOCH,
            hash: 0,
            fields: fields.as_object().cloned().unwrap().into(),
        }
    }

    #[test]
    fn no_two_things_share_a_key() {
        let facts = [
            (Source::Event, "a", json!({"callId": "x"})),
            (Source::Event, "b", json!({"callId": "call:x"})),
            (Source::Event, "c", json!({"callId": "event:x"})),
            (Source::Event, "d", json!({"callId": "id:call:x"})),
            (Source::Event, "x", json!({})),
            (Source::Call, "x", json!({})),
        ];
        let keys = facts.map(|(source, id, fields)| fact(source, Kind::ToolCall, id, fields));
        let keys: BTreeSet<String> = keys.iter().map(|fact| fact.entity().key).collect();
        assert_eq!(keys.len(), 6, "{keys:?}");
        let error = |source, id| fact(source, Kind::Error, id, json!({})).entity().key;
        assert_eq!(error(Source::Event, "e"), "e");
        assert_ne!(error(Source::Event, "call:e"), error(Source::Call, "e"));
    }

    #[test]
    fn what_several_jobs_used_adds_up_and_so_do_their_tags() {
        let report = |id: &str, usage: Value| {
            fact(
                Source::LivekitReport,
                Kind::Session,
                id,
                json!({"agentId": "desk", "usage": usage, "tags": [&id[7..], "lk.success"]}),
            )
        };
        let facts = [
            report(
                "report:AJ_1",
                json!({"promptTokens": 24, "sttSeconds": 1.3}),
            ),
            report(
                "upload:AJ_1",
                json!({"promptTokens": 24, "sttSeconds": 1.3}),
            ),
            report(
                "report:AJ_2",
                json!({"promptTokens": 36, "sttSeconds": 1.4, "ttsCharacters": 5}),
            ),
        ];
        let facts: Vec<&Fact> = facts.iter().collect();
        let expected = json!({"promptTokens": 60, "sttSeconds": 2.7, "ttsCharacters": 5});
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let merged = merge(&order.map(|n| facts[n]));
            assert_eq!(merged["usage"], expected, "{order:?}");
            let tags = json!(["AJ_1", "lk.success", "AJ_2"]);
            assert_eq!(merged["tags"], tags, "{order:?}");
        }
        // Who saw all of them knows better.
        let spans = fact(
            Source::Trace,
            Kind::Session,
            "trace",
            json!({"usage": {"promptTokens": 61}}),
        );
        let mut all = facts;
        all.push(&spans);
        assert_eq!(merge(&all)["usage"]["promptTokens"], 61);
        assert_eq!(merge(&all)["usage"]["sttSeconds"], 2.7);
    }

    #[test]
    fn only_times_that_were_checked_are_believed() {
        let far = json!({"startedAt": "0001-01-01T00:00:00Z", "endedAt": "9999-01-01T00:00:00Z"});
        let turn = fact(Source::Event, Kind::Turn, "t", far.clone());
        assert_eq!(turn.span(), (turn.at, turn.at));
        let session = fact(Source::Event, Kind::Session, "t", far);
        assert!(session.span().0 < session.at && session.at < session.span().1);
    }
}
