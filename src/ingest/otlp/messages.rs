//! Log records that tell what a generation was given and wrote: OpenTelemetry's conventions for generative AI have
//! messages as events, which are records of a log. Those of one span become one thing below it, told in pieces, so that
//! neither the order nor the split in which they come matters.

use chrono::{DateTime, Utc};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Of;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Map, Value, json};

use crate::domain::body::json_bytes;
use crate::domain::event;
use crate::domain::event::{Event, Kind, normalised};
use crate::domain::partial;
use crate::domain::span::identity;
use crate::domain::vocabulary::logged;

use super::logs;
use super::span;
use super::span::Origin;
use super::value;
use super::value::Notes;

const NAME: &str = "event.name";

/// Whether a record tells of messages, of a span that it names.
pub fn is_told(record: &LogRecord) -> bool {
    let names_span = logs::names_trace(record)
        && span::fault_of_id(&record.span_id, span::SPAN_ID_BYTES).is_none();
    names_span && logged::is_of_messages(name_of(record))
}

/// What a record is called: by a field of its own today, by an attribute before.
fn name_of(record: &LogRecord) -> &str {
    if !record.event_name.is_empty() {
        return &record.event_name;
    }
    let named = record.attributes.iter().find(|pair| pair.key == NAME);
    let value = named.and_then(|pair| pair.value.as_ref()?.value.as_ref());
    match value {
        Some(Of::StringValue(name)) => name,
        _ => "",
    }
}

/// The piece that a record tells; none where it says nothing, or not when.
pub fn piece(record: LogRecord, origin: &Origin, now: DateTime<Utc>) -> Option<Event> {
    let name = name_of(&record).to_owned();
    let (nanos, at) = logs::moment(&record, now)?;
    let attributes = attributes(&name, nanos, record.attributes, record.body)?;
    let (trace_id, span_id) = (hex::encode(&record.trace_id), hex::encode(&record.span_id));
    let id = logged::id_of(&span_id);
    let fields = json!({
        "traceId": trace_id, "spanId": id, "parentSpanId": span_id, "name": "gen_ai.messages",
        "kind": "event", "attributes": attributes, "scope": origin.scope(), "resource": origin.resource(),
    });
    let Value::Object(mut fields) = normalised(fields) else {
        return None;
    };
    partial::mark(&mut fields, at);
    partial::presume(&mut fields, "startedAt", at);
    Some(Event {
        kind: Kind::Span,
        id: identity(&trace_id, &id),
        at,
        fields: fields.into(),
    })
}

/// What a record says: one message under a name by which they are in order, or all of them as a span would say them.
fn attributes(
    name: &str,
    nanos: u64,
    attributes: Vec<KeyValue>,
    body: Option<AnyValue>,
) -> Option<Map<String, Value>> {
    let notes = &mut Notes::default();
    let mut told = value::attributes(attributes, value::ATTRIBUTES_BYTES, notes);
    told.remove(NAME);
    if name == logged::DETAILS {
        return Some(told);
    }
    let body = body.and_then(|body| value::json(body, 0));
    let message = body.unwrap_or_else(|| Value::from(std::mem::take(&mut told)));
    let record = json!({ "name": name, "message": value::with_short_texts(message) });
    if json_bytes(&record) > value::ATTRIBUTES_BYTES {
        return None;
    }
    let hash = event::fields_hash(record.as_object()?);
    told.insert(format!("{}{nanos:020}.{hash:016x}", logged::LOGGED), record);
    Some(told)
}
