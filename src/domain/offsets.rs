//! Offsets from a session's start: which fields are some, and what becomes of them where the session starts
//! earlier than the source knew that counted them.

use std::borrow::Cow;

use chrono::TimeDelta;
use serde_json::{Map, Value};

use crate::domain::event::{Kind, normalised};
use crate::domain::fact::Fact;
use crate::domain::fields::OFFSET_MAX_MS;
use crate::domain::precedence;

/// Fields that are offsets from the session's start.
pub const OFFSETS: [&str; 10] = [
    "startMs",
    "endMs",
    "firstTokenMs",
    "firstByteMs",
    "firstAudioMs",
    "atMs",
    "decidedAtMs",
    "audioStoppedMs",
    "resumedAtMs",
    "startOffsetMs",
];
/// Lists whose items have such fields too.
pub const LISTS: [&str; 4] = ["llmCalls", "ttsCalls", "segments", "words"];

/// A fact with its offsets counted from a start that is so much earlier than the one that its source knew.
/// Native ingest names the start itself and counts from it.
pub fn from_start<'a>(fact: &'a Fact, late_by: TimeDelta) -> Cow<'a, Fact> {
    let is_placed = !matches!(
        fact.kind,
        Kind::Session | Kind::Span | Kind::Report | Kind::Evaluation
    );
    if late_by.is_zero() || !is_placed || precedence::is_first_hand(fact.source) {
        return Cow::Borrowed(fact);
    }
    let fields = shifted(fact.fields.fields(), late_by);
    Cow::Owned(Fact {
        fields: fields.into(),
        ..fact.clone()
    })
}

/// Fields with their offsets so much later.
pub fn shifted(fields: &Map<String, Value>, by: TimeDelta) -> Map<String, Value> {
    let each = fields.iter().map(|(name, value)| {
        let value = match value {
            Value::Number(ms) if OFFSETS.contains(&name.as_str()) => ms.as_f64().map_or_else(
                || value.clone(),
                |ms| normalised(Value::from(later(ms, by))),
            ),
            Value::Array(items) if LISTS.contains(&name.as_str()) => {
                let items = items.iter().map(|item| match item {
                    Value::Object(members) => Value::Object(shifted(members, by)),
                    other => other.clone(),
                });
                items.collect()
            }
            _ => value.clone(),
        };
        (name.clone(), value)
    });
    each.collect()
}

/// To the microsecond.
fn later(ms: f64, by: TimeDelta) -> f64 {
    let by_micros = by.num_microseconds().unwrap_or(i64::MAX) as f64;
    let ms = ((ms * 1e3).round() + by_micros) / 1e3;
    ms.min(OFFSET_MAX_MS)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::domain::event::Source;

    #[test]
    fn all_offsets_of_a_turn_move_alike_and_durations_stay() {
        let turn = |source| Fact {
            source,
            kind: Kind::Turn,
            id: "t".to_owned(),
            at: DateTime::UNIX_EPOCH,
            hash: 0,
            fields: json!({
                "index": 3, "startMs": 100, "endMs": 200.5, "llmMs": 40, "text": "Hi",
                "llmCalls": [{"startMs": 10, "firstTokenMs": 50, "promptTokens": 7}],
                "words": [{"word": "Hi", "startMs": 100, "endMs": 150}],
            })
            .as_object()
            .cloned()
            .unwrap()
            .into(),
        };
        let by = TimeDelta::milliseconds(9_000);
        let of_trace = turn(Source::Trace);
        let placed = from_start(&of_trace, by);
        let expected = json!({
            "index": 3, "startMs": 9100, "endMs": 9200.5, "llmMs": 40, "text": "Hi",
            "llmCalls": [{"startMs": 9010, "firstTokenMs": 9050, "promptTokens": 7}],
            "words": [{"word": "Hi", "startMs": 9100, "endMs": 9150}],
        });
        assert_eq!(Value::Object(placed.fields.fields().clone()), expected);
        let native = turn(Source::Event);
        assert_eq!(*from_start(&native, by), native);
    }
}
