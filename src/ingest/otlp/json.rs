//! OTLP/JSON as clients really write it: nulls, names of enums, numbers as texts, underscores. The
//! decoder of the types knows the standard's one way.

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Words for numbers: of kinds of span, of a status, of severities. Of each severity there are four, as
/// `SEVERITY_NUMBER_ERROR3`.
const ENUMS: [(&str, i64); 16] = [
    ("SPAN_KIND_UNSPECIFIED", 0),
    ("SPAN_KIND_INTERNAL", 1),
    ("SPAN_KIND_SERVER", 2),
    ("SPAN_KIND_CLIENT", 3),
    ("SPAN_KIND_PRODUCER", 4),
    ("SPAN_KIND_CONSUMER", 5),
    ("STATUS_CODE_UNSET", 0),
    ("STATUS_CODE_OK", 1),
    ("STATUS_CODE_ERROR", 2),
    ("SEVERITY_NUMBER_UNSPECIFIED", 0),
    ("SEVERITY_NUMBER_TRACE", 1),
    ("SEVERITY_NUMBER_DEBUG", 5),
    ("SEVERITY_NUMBER_INFO", 9),
    ("SEVERITY_NUMBER_WARN", 13),
    ("SEVERITY_NUMBER_ERROR", 17),
    ("SEVERITY_NUMBER_FATAL", 21),
];
const ENUM_FIELDS: [&str; 3] = ["kind", "code", "severityNumber"];
/// What nobody reads, so that nothing is lost by what is wrong with it.
const UNREAD: [&str; 9] = [
    "links",
    "flags",
    "traceState",
    "droppedAttributesCount",
    "droppedEventsCount",
    "droppedLinksCount",
    "aggregationTemporality",
    "exemplars",
    "entityRefs",
];

/// A message in the one way in which the types are read.
pub fn repaired(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(members.into_iter().filter_map(member).collect()),
        Value::Array(items) => items.into_iter().map(repaired).collect(),
        other => other,
    }
}

fn member((name, value): (String, Value)) -> Option<(String, Value)> {
    let name = if name.contains('_') {
        camel(&name)
    } else {
        name
    };
    let value = match (name.as_str(), value) {
        // Nothing said.
        (_, Value::Null) => return None,
        (name, _) if UNREAD.contains(&name) => return None,
        ("doubleValue", Value::String(text)) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Value::from(number),
            _ => return Some(("stringValue".to_owned(), Value::from(text))),
        },
        ("intValue", Value::Number(number)) if !number.is_i64() => {
            return Some(("doubleValue".to_owned(), Value::Number(number)));
        }
        ("intValue", Value::String(text)) if text.parse::<i64>().is_err() => {
            return Some(("stringValue".to_owned(), Value::from(text)));
        }
        ("boolValue", Value::String(text)) => Value::from(text.eq_ignore_ascii_case("true")),
        ("stringValue", value @ (Value::Number(_) | Value::Bool(_))) => {
            Value::from(value.to_string())
        }
        (field, Value::String(word)) if ENUM_FIELDS.contains(&field) => number(&word)?,
        // A list of nothing is written without its member.
        ("arrayValue" | "kvlistValue", Value::Object(mut list)) => {
            list.entry("values")
                .or_insert_with(|| Value::Array(Vec::new()));
            repaired(Value::Object(list))
        }
        // One that says nothing keeps its place.
        ("values", Value::Array(items)) => items.into_iter().map(repaired_item).collect(),
        (_, value) => repaired(value),
    };
    Some((name, value))
}

fn repaired_item(item: Value) -> Value {
    match item {
        Value::Null => Map::new().into(),
        item => repaired(item),
    }
}

fn number(word: &str) -> Option<Value> {
    let named = |word: &str| {
        let mut known = ENUMS.iter();
        let found = known.find(|(name, _)| name.eq_ignore_ascii_case(word));
        found.map(|(_, number)| *number)
    };
    let of_four = || {
        let within = word.strip_suffix(['2', '3', '4'])?;
        let step = word[within.len()..].parse::<i64>().ok()? - 1;
        Some(named(within).filter(|_| is_severity(within))? + step)
    };
    let number = named(word).or_else(of_four);
    number.or_else(|| word.parse().ok()).map(Value::from)
}

fn is_severity(word: &str) -> bool {
    word.to_ascii_uppercase().starts_with("SEVERITY_NUMBER_")
}

/// What is left of a message that cannot be read as a whole. An attribute that makes no sense is kept as the text that
/// was written; one without a name is left out, and so is an event that makes no sense.
pub fn readable(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter();
            Value::Object(members.map(readable_member).collect())
        }
        Value::Array(items) => items.into_iter().map(readable).collect(),
        other => other,
    }
}

fn readable_member((name, value): (String, Value)) -> (String, Value) {
    let value = match (name.as_str(), value) {
        ("attributes", Value::Array(items)) => items.into_iter().filter_map(attribute).collect(),
        ("events", Value::Array(items)) => {
            let events = items.into_iter().map(readable);
            events
                .filter(|event| Event::deserialize(event).is_ok())
                .collect()
        }
        (_, value) => readable(value),
    };
    (name, value)
}

fn attribute(item: Value) -> Option<Value> {
    let Value::Object(mut members) = item else {
        return None;
    };
    let key = members.remove("key").filter(Value::is_string)?;
    let value = members.remove("value").unwrap_or_else(|| Map::new().into());
    let value = match (AnyValue::deserialize(&value), value) {
        (Ok(_), value) => value,
        (Err(_), Value::String(text)) => json!({ "stringValue": text }),
        (Err(_), value) => json!({ "stringValue": value.to_string() }),
    };
    Some(json!({"key": key, "value": value}))
}

/// `start_time_unix_nano` is `startTimeUnixNano`.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use opentelemetry_proto::tonic::trace::v1::Span;

    fn read(span: Value) -> Span {
        let span = repaired(span);
        let strictly = Span::deserialize(&span);
        strictly.unwrap_or_else(|_| Span::deserialize(readable(span)).expect("a span"))
    }

    #[test]
    fn what_nobody_reads_spoils_no_span() {
        let span = read(json!({
            "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174", "name": "turn", "flags": -1,
            "droppedAttributesCount": "2", "dropped_events_count": 1.0, "links": [{"traceId": "", "spanId": "zz"}],
        }));
        assert_eq!(
            (span.name.as_str(), span.flags, span.links.len()),
            ("turn", 0, 0)
        );
    }

    #[test]
    fn what_makes_no_sense_spoils_no_more_than_itself() {
        let span = read(json!({
            "name": "turn",
            "attributes": [
                {"key": "session.id", "value": {"stringValue": "call-1"}},
                {"key": "bare", "value": "words"},
                {"key": "sound", "value": {"bytesValue": "!!"}},
                {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}, null]}}},
                {"key": "nothing"},
                {"value": {"stringValue": "of no name"}},
                7,
            ],
            "events": [{"name": "first", "timeUnixNano": "soon"}, {"name": "second", "attributes": [{"key": "k", "value": 5}]}],
        }));
        let whole = json!({
            "name": "turn",
            "attributes": [
                {"key": "session.id", "value": {"stringValue": "call-1"}},
                {"key": "bare", "value": {"stringValue": "words"}},
                {"key": "sound", "value": {"stringValue": r#"{"bytesValue":"!!"}"#}},
                {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}, {}]}}},
                {"key": "nothing", "value": {}},
            ],
            "events": [{"name": "second", "attributes": [{"key": "k", "value": {"stringValue": "5"}}]}],
        });
        assert_eq!(span, Span::deserialize(whole).expect("a span"));
    }

    #[test]
    fn every_severity_has_its_number() {
        for (word, number) in [
            ("SEVERITY_NUMBER_TRACE", 1),
            ("SEVERITY_NUMBER_INFO2", 10),
            ("severity_number_error4", 20),
            ("17", 17),
            ("SEVERITY_NUMBER_ERROR5", 0),
            ("SPAN_KIND_SERVER2", 0),
        ] {
            let record = repaired(json!({ "severityNumber": word }));
            let record = LogRecord::deserialize(record).expect("a record");
            assert_eq!(record.severity_number, number, "{word}");
        }
    }
}
