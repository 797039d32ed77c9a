//! Spans that a source tells of in pieces: one event says that it began, another how it ended, in any
//! order and as often as it likes. Each piece is a fact of one and the same identity, and two of them
//! are joined field by field: the later word counts, so that order and repetition do not matter.
//!
//! A whole span (as OTLP sends it) always beats what came in pieces.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use crate::domain::body::Body;
use crate::domain::event::{Kind, Source};
use crate::domain::fact::Fact;
use crate::domain::vocabulary::logged;

/// Where a piece keeps when each of its fields was said, in microseconds since 1970.
pub const SAID_AT: &str = "partial";
const ATTRIBUTES: &str = "attributes";

/// Makes fields of a span a piece: all of them were said at this moment.
pub fn mark(fields: &mut Map<String, Value>, said_at: DateTime<Utc>) {
    let said_at = Value::from(said_at.timestamp_micros());
    let stamps = places(fields).map(|place| (place, said_at.clone()));
    let stamps: Map<String, Value> = stamps.collect();
    fields.insert(SAID_AT.to_owned(), Value::Object(stamps));
}

/// Gives a piece a time that its source did not say. Any time that it does say counts more, and of several
/// that are presumed the earliest.
pub fn presume(fields: &mut Map<String, Value>, name: &str, time: DateTime<Utc>) {
    let text = time.to_rfc3339_opts(SecondsFormat::Micros, true);
    fields.insert(name.to_owned(), Value::from(text));
    if let Some(Value::Object(stamps)) = fields.get_mut(SAID_AT) {
        stamps.insert(name.to_owned(), Value::from(-time.timestamp_micros()));
    }
}

pub fn is_piece(fact: &Fact) -> bool {
    fact.kind == Kind::Span
        && fact.source == Source::Trace
        && fact.fields.get(SAID_AT).is_some_and(Value::is_object)
}

/// Both pieces as one. The same whichever comes first, and however they are grouped.
pub fn join(one: &Fact, other: &Fact) -> Fact {
    let mut joined = one.fields.fields().clone();
    let mut stamps = stamps(one).cloned().unwrap_or_default();
    for place in places(&other.fields) {
        let (Some(value), Some(stamp)) = (at(&other.fields, &place), stamp(other, &place)) else {
            continue;
        };
        let known = at(&joined, &place).map(|known| {
            let said = stamps.get(&place).and_then(Value::as_i64);
            rank(said.unwrap_or(i64::MIN), known)
        });
        if known.is_none_or(|known| rank(stamp, value) > known) {
            put(&mut joined, &place, value.clone());
            stamps.insert(place, Value::from(stamp));
        }
    }
    if let Some(Value::Object(attributes)) = joined.get_mut(ATTRIBUTES) {
        for name in logged::surplus(attributes) {
            attributes.remove(&name);
            stamps.remove(&format!("{ATTRIBUTES}.{name}"));
        }
    }
    joined.insert(SAID_AT.to_owned(), Value::Object(stamps));
    let fields = Body::from(joined);
    Fact {
        at: one.at.max(other.at),
        hash: fields.hash(),
        fields,
        ..one.clone()
    }
}

/// Of two words of one moment any will do, if only it is always the same.
fn rank(said_at: i64, value: &Value) -> (i64, String) {
    (said_at, value.to_string())
}

fn stamps(fact: &Fact) -> Option<&Map<String, Value>> {
    fact.fields.get(SAID_AT)?.as_object()
}

fn stamp(fact: &Fact, place: &str) -> Option<i64> {
    stamps(fact)?.get(place)?.as_i64()
}

/// What a span says, each field and each attribute by its place.
fn places(fields: &Map<String, Value>) -> impl Iterator<Item = String> {
    let attributes = fields.get(ATTRIBUTES).and_then(Value::as_object);
    let attributes = attributes.into_iter().flatten();
    let own = fields
        .keys()
        .filter(|name| *name != ATTRIBUTES && *name != SAID_AT);
    own.cloned()
        .chain(attributes.map(|(name, _)| format!("{ATTRIBUTES}.{name}")))
}

fn attribute(place: &str) -> Option<&str> {
    place.strip_prefix(ATTRIBUTES)?.strip_prefix('.')
}

fn at<'a>(fields: &'a Map<String, Value>, place: &str) -> Option<&'a Value> {
    match attribute(place) {
        Some(name) => fields.get(ATTRIBUTES)?.get(name),
        None => fields.get(place),
    }
}

fn put(fields: &mut Map<String, Value>, place: &str, value: Value) {
    let Some(name) = attribute(place) else {
        fields.insert(place.to_owned(), value);
        return;
    };
    let slot = fields
        .entry(ATTRIBUTES)
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(attributes) = slot {
        attributes.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::domain::event::{Event, Outcome, Submission};
    use crate::domain::fact::Entity;
    use crate::domain::ledger::Ledger;
    use crate::domain::span::Span;

    fn piece(second: i64, fields: Value) -> Submission {
        let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        let mut fields = fields.as_object().cloned().unwrap();
        mark(&mut fields, at);
        submission(at, fields)
    }

    fn submission(at: DateTime<Utc>, fields: Map<String, Value>) -> Submission {
        Submission::Event(
            Source::Trace,
            Event {
                kind: Kind::Span,
                id: "1:t/s".to_owned(),
                at,
                fields: fields.into(),
            },
        )
    }

    fn told(pieces: &[Submission]) -> Fact {
        let mut ledger = Ledger::default();
        for piece in pieces {
            ledger.submit(piece.clone(), DateTime::UNIX_EPOCH);
        }
        let entity = Entity {
            kind: Kind::Span,
            key: "1:t/s".to_owned(),
        };
        ledger.facts_of(&entity)[0].clone()
    }

    fn pieces() -> impl Strategy<Value = Vec<Submission>> {
        let one = (0..4i64, 0..3u8, prop::option::of(0..3u8), any::<bool>()).prop_map(
            |(second, name, output, ends)| {
                let mut fields = json!({"traceId": "t", "spanId": "s", "name": name.to_string(), "attributes": {}});
                if let Some(output) = output {
                    fields["attributes"]["output"] = json!(output);
                    fields["attributes"][format!("more.{output}")] = json!(second);
                }
                if ends {
                    fields["endedAt"] = json!(format!("1970-01-01T00:00:0{second}Z"));
                }
                piece(second, fields)
            },
        );
        let whole = (0..4i64).prop_map(|second| {
            let fields = json!({"traceId": "t", "spanId": "s", "name": "whole"});
            let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
            submission(at, fields.as_object().cloned().unwrap())
        });
        prop::collection::vec(prop_oneof![9 => one, 1 => whole], 1..8)
    }

    proptest! {
        #[test]
        fn pieces_amount_to_the_same_in_any_order(
            (given, mut shuffled) in pieces().prop_flat_map(|p| (Just(p.clone()), Just(p).prop_shuffle())),
            again in any::<prop::sample::Index>(),
        ) {
            shuffled.push(again.get(&given).clone());
            prop_assert_eq!(told(&shuffled), told(&given));
        }
    }

    #[test]
    fn of_more_messages_than_a_span_may_hold_the_first_are_kept_in_any_order() {
        let message = |n: i64| {
            let name = format!("{}{n:020}.0", logged::LOGGED);
            let attributes = json!({ name: "x".repeat(30_000) });
            piece(
                n % 7,
                json!({"traceId": "t", "spanId": "s", "attributes": attributes}),
            )
        };
        let mut pieces: Vec<_> = (0..20).map(message).collect();
        let kept = told(&pieces);
        assert_eq!(kept.fields["attributes"].as_object().unwrap().len(), 8);
        assert!(kept.bytes() < 300_000, "{}", kept.bytes());
        pieces.reverse();
        assert_eq!(told(&pieces), kept);
        pieces.rotate_left(7);
        pieces.extend(pieces.clone());
        assert_eq!(told(&pieces).fields, kept.fields);
    }

    #[test]
    fn a_create_and_its_update_are_one_span() {
        let create = piece(
            1,
            json!({"traceId": "t", "spanId": "s", "name": "llm",
            "startedAt": "1970-01-01T00:00:01Z", "attributes": {"a": 1, "b": 1}}),
        );
        let update = piece(
            2,
            json!({"traceId": "t", "spanId": "s",
            "endedAt": "1970-01-01T00:00:02Z", "attributes": {"b": 2}}),
        );
        let fact = told(&[update.clone(), create.clone()]);
        let span = Span::derive(&[&fact]).unwrap();
        assert_eq!(span.name.as_deref(), Some("llm"));
        assert!(span.started_at < span.ended_at.unwrap());
        assert_eq!(Value::from(span.metadata), json!({"a": 1, "b": 2}));

        let mut ledger = Ledger::default();
        let mut submit = |piece: &Submission| ledger.submit(piece.clone(), DateTime::UNIX_EPOCH);
        assert_eq!(submit(&create), Outcome::Accepted);
        assert_eq!(submit(&update), Outcome::Accepted);
        assert_eq!(submit(&create), Outcome::Duplicate);
    }
}
