//! Attributes as JSON, within the bounds of a fact: what is too long is cut and what is too much is left
//! out, and a note says so. A span is worth keeping without its longest text.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Of;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde_json::{Map, Value};

use crate::domain::body::json_bytes;
use crate::domain::json;

/// Attributes of one span, of its resource, of one event: their number, and bytes of JSON.
pub const ATTRIBUTES_MAX: usize = 2_000;
pub const ATTRIBUTES_BYTES: usize = 224 << 10;
pub const RESOURCE_BYTES: usize = 16 << 10;
/// One text.
const TEXT_MAX_BYTES: usize = 64 << 10;
const NAME_MAX_BYTES: usize = 255;
const DEPTH_MAX: usize = 16;
/// So many things are noted of one span.
const NOTES_MAX: usize = 20;
/// What grows with a conversation, and repeats what its earlier spans say: left out first.
const HISTORIES: [&str; 5] = [
    "llm.input_messages.",
    "gen_ai.prompt.",
    "lk.pii.chat_ctx",
    "lk.chat_ctx",
    "llm.tools.",
];

/// What was cut and left out.
#[derive(Default)]
pub struct Notes(Vec<String>);

impl Notes {
    pub fn add(&mut self, note: String) {
        if self.0.len() < NOTES_MAX {
            self.0.push(note);
        }
    }

    pub fn into_value(self) -> Option<Value> {
        (!self.0.is_empty()).then(|| self.0.into())
    }
}

/// Attributes within so many bytes of JSON. Of two of one name the last counts.
pub fn attributes(pairs: Vec<KeyValue>, max_bytes: usize, notes: &mut Notes) -> Map<String, Value> {
    attributes_with(pairs, max_bytes, |_| BTreeSet::new(), notes)
}

/// The same. Where there are too many, `read` is asked which of all of them somebody reads: these stay first.
pub fn attributes_with(
    pairs: Vec<KeyValue>,
    max_bytes: usize,
    read: impl FnOnce(&Map<String, Value>) -> BTreeSet<String>,
    notes: &mut Notes,
) -> Map<String, Value> {
    let mut all = Map::new();
    for pair in pairs {
        if let Some(value) = pair.value.and_then(|value| json(value, 0)) {
            let name = named(pair.key);
            let value = shortened(&name, value, notes);
            all.insert(name, value);
        }
    }
    let size = |(name, value): (&String, &Value)| name.len() + json_bytes(value) + 4;
    let total: usize = all.iter().map(size).sum();
    if all.len() <= ATTRIBUTES_MAX && total <= max_bytes {
        return all;
    }
    let read = read(&all);
    let mut ranked: Vec<_> = all
        .into_iter()
        .map(|(name, value)| {
            let rank = (!read.contains(&name), is_history(&name));
            (rank, size((&name, &value)), name, value)
        })
        .collect();
    // Then what is small; a stable order keeps it the same every time.
    ranked.sort_by_key(|(rank, size, ..)| (*rank, *size));
    let (mut kept, mut bytes, mut dropped) = (Map::new(), 0, 0);
    for (_, size, name, value) in ranked {
        if kept.len() >= ATTRIBUTES_MAX || bytes + size > max_bytes {
            dropped += 1;
            if dropped <= 3 {
                notes.add(format!("attribute `{name}` ({size} bytes) was left out"));
            }
            continue;
        }
        bytes += size;
        kept.insert(name, value);
    }
    if dropped > 3 {
        notes.add(format!("{dropped} attributes were left out: a span holds {ATTRIBUTES_MAX}, and {max_bytes} bytes"));
    }
    kept
}

fn is_history(name: &str) -> bool {
    HISTORIES.iter().any(|prefix| name.starts_with(prefix))
}

fn named(mut name: String) -> String {
    if name.len() > NAME_MAX_BYTES {
        name.truncate(floor(&name, NAME_MAX_BYTES));
    }
    plain(name)
}

/// A value as JSON; none where it says nothing.
pub fn json(value: AnyValue, depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return Some(Value::from("…"));
    }
    Some(match value.value? {
        Of::StringValue(text) => Value::from(plain(text)),
        Of::BoolValue(flag) => Value::from(flag),
        Of::IntValue(number) => Value::from(number),
        Of::DoubleValue(number) if number.is_finite() => Value::from(number),
        Of::DoubleValue(number) => Value::from(number.to_string()),
        Of::ArrayValue(list) => {
            let items = list.values.into_iter();
            items
                .map(|item| json(item, depth + 1).unwrap_or(Value::Null))
                .collect()
        }
        Of::KvlistValue(list) => {
            let pairs = list.values.into_iter();
            let members =
                pairs.filter_map(|pair| Some((named(pair.key), json(pair.value?, depth + 1)?)));
            Value::Object(members.collect())
        }
        Of::BytesValue(bytes) => Value::from(STANDARD.encode(bytes)),
        // Only profiles have a table of strings.
        Of::StringValueStrindex(_) => return None,
    })
}

/// Postgres cannot keep a NUL.
pub fn plain(text: String) -> String {
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}"),
        false => text,
    }
}

/// A long text is cut; of a long list of messages the newest are kept, since they say what is new.
fn shortened(name: &str, value: Value, notes: &mut Notes) -> Value {
    let bytes = match &value {
        Value::String(text) => text.len(),
        Value::Array(_) | Value::Object(_) => json_bytes(&value),
        _ => return value,
    };
    if bytes <= TEXT_MAX_BYTES {
        return value;
    }
    notes.add(format!("attribute `{name}` was cut from {bytes} bytes"));
    match value {
        Value::String(text) => Value::from(newest(&text).unwrap_or_else(|| cut(text))),
        Value::Array(items) => last(items),
        other => Value::from(cut(other.to_string())),
    }
}

/// A value whose texts are each no longer than an attribute's.
pub fn with_short_texts(value: Value) -> Value {
    match value {
        Value::String(text) if text.len() > TEXT_MAX_BYTES => Value::from(cut(text)),
        Value::Array(items) => items.into_iter().map(with_short_texts).collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            let members = members.map(|(name, value)| (name, with_short_texts(value)));
            Value::Object(members.collect())
        }
        other => other,
    }
}

fn newest(text: &str) -> Option<String> {
    if !text.starts_with('[') {
        return None;
    }
    match json::unpacked(text)? {
        Value::Array(items) => Some(last(items).to_string()),
        _ => None,
    }
}

/// As many of the last items as there is room for.
fn last(items: Vec<Value>) -> Value {
    let mut bytes = 2;
    let mut kept: Vec<Value> = Vec::new();
    for item in items.into_iter().rev() {
        bytes += json_bytes(&item) + 1;
        if bytes > TEXT_MAX_BYTES {
            break;
        }
        kept.push(item);
    }
    kept.reverse();
    kept.into()
}

fn cut(mut text: String) -> String {
    text.truncate(floor(&text, TEXT_MAX_BYTES - 4));
    text.push('…');
    text
}

/// The last boundary of characters up to here.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or_default()
}
