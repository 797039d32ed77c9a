//! One span of OTLP as a fact.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Event as SpanEvent;
use serde_json::{Map, Value, json};

use crate::domain::Fault;
use crate::domain::attributes;
use crate::domain::body::json_bytes;
use crate::domain::event::{Event, Kind, normalised};
use crate::domain::fields;
use crate::domain::span::identity_of;
use crate::domain::vocabulary;

use super::value;
use super::value::Notes;

pub const TRACE_ID_BYTES: usize = 16;
pub const SPAN_ID_BYTES: usize = 8;
const NAME_MAX_CHARS: usize = 1_000;
const EVENTS_MAX: usize = 128;
const EVENTS_BYTES: usize = 64 << 10;
const MESSAGE_MAX_CHARS: usize = 10_000;

/// What spans of one tracer have in common.
pub struct Origin {
    resource: Value,
    scope: Value,
}

impl Origin {
    pub fn new(resource: Resource, scope: InstrumentationScope) -> Arc<Self> {
        // What a process says of itself too much of is no span's concern.
        let notes = &mut Notes::default();
        let read = |_: &Map<String, Value>| vocabulary::OF_PROCESS.map(str::to_owned).into();
        let attributes =
            value::attributes_with(resource.attributes, value::RESOURCE_BYTES, read, notes);
        Arc::new(Self {
            resource: json!({ "attributes": attributes }),
            scope: json!({
                "name": short(scope.name, fields::ID_MAX_CHARS),
                "version": short(scope.version, fields::ID_MAX_CHARS),
            }),
        })
    }

    /// Those of its attributes that say something of a conversation.
    pub fn resource(&self) -> &Value {
        &self.resource
    }

    /// Who made them.
    pub fn scope(&self) -> &Value {
        &self.scope
    }
}

/// A span's fact, or what is wrong with it.
pub fn event(span: Span, origin: &Origin, now: DateTime<Utc>) -> Result<Event, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut check = |name: &str, id: &[u8], bytes: usize| {
        fault_of_id(id, bytes).map(|message| faults.push(Fault::body(name, message)))
    };
    check("traceId", &span.trace_id, TRACE_ID_BYTES);
    check("spanId", &span.span_id, SPAN_ID_BYTES);
    let mut moment = |name: &str, nanos: u64| match time(nanos, now) {
        Ok(time) => time,
        Err(message) => {
            faults.push(Fault::body(name, message));
            None
        }
    };
    let start = moment("startTimeUnixNano", span.start_time_unix_nano);
    let end = moment("endTimeUnixNano", span.end_time_unix_nano);
    let mut notes = Notes::default();
    let (start, end) = sane(start, end, &mut notes);
    let Some(start) = start.or(end).filter(|_| faults.is_empty()) else {
        if faults.is_empty() {
            let message =
                "is required, after 1999: a span without a time has no place in its conversation";
            faults.push(Fault::body("startTimeUnixNano", message));
        }
        return Err(faults);
    };
    let end = end.map(|end| {
        if end < start {
            notes.add("it ended before it started: its end is taken for its start".to_owned());
        }
        end.max(start)
    });
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("traceId", Value::from(hex::encode(&span.trace_id)));
    set("spanId", Value::from(hex::encode(&span.span_id)));
    match fault_of_id(&span.parent_span_id, SPAN_ID_BYTES) {
        None => drop(set(
            "parentSpanId",
            Value::from(hex::encode(&span.parent_span_id)),
        )),
        Some(_) if span.parent_span_id.iter().all(|byte| *byte == 0) => {}
        Some(message) => notes.add(format!("its parent's id {message}: left out")),
    }
    set("name", Value::from(short(span.name, NAME_MAX_CHARS)));
    if let Some(kind) = kind(span.kind) {
        set("kind", Value::from(kind));
    }
    set("startedAt", written(start));
    if let Some(end) = end {
        set("endedAt", written(end));
    }
    if let Some(status) = span.status.filter(|s| s.code != 0 || !s.message.is_empty()) {
        let message = short(status.message, MESSAGE_MAX_CHARS);
        set("status", json!({"code": status.code, "message": message}));
    }
    if !span.events.is_empty() {
        set("events", events(span.events, now, &mut notes));
    }
    set("scope", origin.scope.clone());
    set("resource", origin.resource.clone());
    let read = |all: &Map<String, Value>| read_of(&fields, all);
    let attributes =
        value::attributes_with(span.attributes, value::ATTRIBUTES_BYTES, read, &mut notes);
    fields.insert("attributes".to_owned(), Value::Object(attributes));
    if let Some(notes) = notes.into_value() {
        fields.insert("notes".to_owned(), notes);
    }
    let Value::Object(fields) = normalised(Value::Object(fields)) else {
        return Err(Vec::new());
    };
    let found = fields::check(Kind::Span, &fields, now);
    if !found.faults.is_empty() {
        return Err(found.faults);
    }
    Ok(Event {
        kind: Kind::Span,
        id: identity_of(&fields),
        at: end.unwrap_or(start),
        fields: fields.into(),
    })
}

/// Which of its attributes a span's conversation and its observation are read from.
fn read_of(fields: &Map<String, Value>, attributes: &Map<String, Value>) -> BTreeSet<String> {
    let mut whole = fields.clone();
    whole.insert("attributes".to_owned(), attributes.clone().into());
    let read = vocabulary::attributes_read(&whole).into_iter();
    let read = read.map(str::to_owned);
    read.chain(attributes::names().map(str::to_owned)).collect()
}

fn events(events: Vec<SpanEvent>, now: DateTime<Utc>, notes: &mut Notes) -> Value {
    let (mut kept, mut bytes) = (Vec::new(), 0);
    let count = events.len();
    for event in events.into_iter().take(EVENTS_MAX) {
        let mut item = Map::new();
        let name = short(event.name, fields::ID_MAX_CHARS);
        item.insert("name".to_owned(), Value::from(name));
        if let Ok(Some(at)) = time(event.time_unix_nano, now) {
            item.insert("at".to_owned(), written(at));
        }
        let attributes = value::attributes(event.attributes, EVENTS_BYTES, notes);
        if !attributes.is_empty() {
            item.insert("attributes".to_owned(), Value::Object(attributes));
        }
        let item = Value::Object(item);
        bytes += json_bytes(&item);
        if bytes > EVENTS_BYTES {
            break;
        }
        kept.push(item);
    }
    if kept.len() < count {
        notes.add(format!(
            "{} of {count} events were left out",
            count - kept.len()
        ));
    }
    kept.into()
}

/// What is wrong with an id of so many bytes.
pub fn fault_of_id(id: &[u8], bytes: usize) -> Option<String> {
    if id.len() != bytes {
        Some(format!("must have {bytes} bytes, got {}", id.len()))
    } else if id.iter().all(|byte| *byte == 0) {
        Some("must not be all zeros".to_owned())
    } else {
        None
    }
}

/// No span is longer: one that seems to be started before its clock was set.
const SPAN_MAX: TimeDelta = TimeDelta::days(366);

/// What is to be believed of a span's start and end. A clock that was not set must not move a session; a span
/// is told when it ends, so that its end is the better one.
fn sane(
    start: Option<DateTime<Utc>>,
    end: Option<DateTime<Utc>>,
    notes: &mut Notes,
) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    let mut set = |name: &str, time: Option<DateTime<Utc>>| {
        let is_set = |time: &DateTime<Utc>| time.timestamp() >= fields::CLOCK_MIN_S;
        if let Some(unset) = time.filter(|time| !is_set(time)) {
            notes.add(format!("its {name}, {unset}, is before 2000: left out"));
        }
        time.filter(is_set)
    };
    let (start, end) = (set("start", start), set("end", end));
    match (start, end) {
        (Some(begun), Some(ended)) if ended - begun > SPAN_MAX => {
            notes.add(format!(
                "its start, {begun}, is more than a year before its end: left out"
            ));
            (None, end)
        }
        times => times,
    }
}

/// A moment; none where there is none.
pub fn time(nanos: u64, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, String> {
    if nanos == 0 {
        return Ok(None);
    }
    let time = i64::try_from(nanos)
        .ok()
        .map(DateTime::from_timestamp_nanos);
    match time.filter(|time| *time <= now + fields::FUTURE_MAX) {
        Some(time) => Ok(Some(time)),
        None => Err(format!("must not be more than a day ahead, got `{nanos}`")),
    }
}

/// To the microsecond, as the store keeps it.
pub fn written(time: DateTime<Utc>) -> Value {
    Value::from(time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

pub fn short(text: String, max_chars: usize) -> String {
    let mut text = value::plain(text);
    if let Some((cut, _)) = text.char_indices().nth(max_chars) {
        text.truncate(cut);
    }
    text
}

fn kind(number: i32) -> Option<&'static str> {
    match number {
        1 => Some("internal"),
        2 => Some("server"),
        3 => Some("client"),
        4 => Some("producer"),
        5 => Some("consumer"),
        _ => None,
    }
}
