//! OTLP/JSON as clients really write it: nulls, names of enums, numbers as texts, underscores. The
//! decoder of the types knows the standard's one way.

use serde_json::Value;

/// Words for numbers: of kinds of span, of a status, of severities.
const ENUMS: [(&str, i64); 15] = [
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
    ("SEVERITY_NUMBER_DEBUG", 5),
    ("SEVERITY_NUMBER_INFO", 9),
    ("SEVERITY_NUMBER_WARN", 13),
    ("SEVERITY_NUMBER_ERROR", 17),
    ("SEVERITY_NUMBER_FATAL", 21),
];
const ENUM_FIELDS: [&str; 3] = ["kind", "code", "severityNumber"];

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
        (_, value) => repaired(value),
    };
    Some((name, value))
}

fn number(word: &str) -> Option<Value> {
    let named = ENUMS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(word));
    let number = named.map(|(_, number)| *number);
    number.or_else(|| word.parse().ok()).map(Value::from)
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
