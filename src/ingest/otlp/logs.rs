//! Log records. One that tells of an error in a trace belongs to the trace's conversation, and so does one that tells of
//! a generation's messages.

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Map, Value, json};

use crate::domain::event;
use crate::domain::event::{Event, Kind, Source, Submission};
use crate::domain::fields;
use crate::domain::ids::TenantId;
use crate::domain::items::LOGGER;
use crate::problem::Encoding;
use crate::problem::Problem;
use crate::services::ingest::Item;

use super::span;
use super::span::Origin;
use super::value;
use super::value::Notes;
use super::{item, messages, refuse_more_than, sessions, unreadable, wire};

/// From here on a record tells of an error: `SEVERITY_NUMBER_ERROR`.
const ERROR: i32 = 17;
const MESSAGE_MAX_CHARS: usize = 10_000;
pub const DETAILS_BYTES: usize = 32 << 10;

pub struct Read {
    pub items: Vec<Item>,
    /// Records that tell of neither an error nor messages, or of none that belong to a conversation.
    pub unused: usize,
}

/// The errors and the messages of a body.
pub fn items(
    tenant: TenantId,
    bytes: &Bytes,
    encoding: Encoding,
    now: DateTime<Utc>,
) -> Result<Read, Problem> {
    let groups = wire::split::<LogRecord>(bytes.clone(), encoding, &wire::LOGS)?;
    refuse_more_than(groups.iter().map(|group| group.items.len()).sum())?;
    let mut read = Read {
        items: Vec::new(),
        unused: 0,
    };
    let (mut errors, mut messages) = (Vec::new(), Vec::new());
    for group in groups {
        let scope = group.scope.name.clone();
        let origin = Origin::new(group.resource, group.scope);
        for record in group.items {
            match record {
                Err(error) => read.items.push(item(None, Err(vec![unreadable(error)]))),
                Ok(record) if names_trace(&record) && is_error(&record) => {
                    errors.push(error(record, &scope, &origin, now));
                }
                Ok(record) if messages::is_told(&record) => {
                    match messages::piece(record, &origin, now) {
                        Some(piece) => messages.push(piece),
                        None => read.unused += 1,
                    }
                }
                Ok(_) => read.unused += 1,
            }
        }
    }
    let places: Vec<&Map<String, Value>> = errors
        .iter()
        .map(|(place, _)| place)
        .chain(messages.iter().map(|piece| piece.fields.fields()))
        .collect();
    let sessions = sessions::of(tenant, &places);
    let errors = errors.into_iter().map(|(_, event)| (Source::Event, event));
    let messages = messages.into_iter().map(|piece| (Source::Trace, piece));
    for ((source, event), session) in errors.chain(messages).zip(sessions) {
        match session {
            Some(session) => {
                let content = Ok((session, Submission::Event(source, event)));
                read.items.push(item(None, content));
            }
            None => read.unused += 1,
        }
    }
    Ok(read)
}

/// Whether it tells that something failed.
pub fn is_error(record: &LogRecord) -> bool {
    let is_named = || {
        let text = record.severity_text.to_ascii_lowercase();
        record.severity_number == 0 && matches!(text.as_str(), "error" | "critical" | "fatal")
    };
    record.severity_number >= ERROR || is_named()
}

pub fn names_trace(record: &LogRecord) -> bool {
    span::fault_of_id(&record.trace_id, span::TRACE_ID_BYTES).is_none()
}

/// When it was: in nanoseconds as it says, and as it is kept.
pub fn moment(record: &LogRecord, now: DateTime<Utc>) -> Option<(u64, DateTime<Utc>)> {
    let times = [record.time_unix_nano, record.observed_time_unix_nano];
    times
        .into_iter()
        .find_map(|nanos| Some((nanos, span::time(nanos, now).ok()??)))
}

/// Where it belongs, as a span would say it, and the error's fact.
fn error(
    record: LogRecord,
    scope: &str,
    origin: &Origin,
    now: DateTime<Utc>,
) -> (Map<String, Value>, Event) {
    let (trace_id, span_id) = (hex::encode(&record.trace_id), hex::encode(&record.span_id));
    let attributes = value::attributes(
        record.attributes.clone(),
        DETAILS_BYTES,
        &mut Notes::default(),
    );
    let event = failure(record, scope, &attributes, now);
    let place = json!({
        "traceId": trace_id, "spanId": span_id, "name": "log",
        "startedAt": span::written(event.at), "attributes": attributes, "resource": origin.resource(),
    });
    (place.as_object().cloned().unwrap_or_default(), event)
}

/// What a record of a logger tells of an error, with these attributes of its own.
pub fn failure(
    record: LogRecord,
    logger: &str,
    attributes: &Map<String, Value>,
    now: DateTime<Utc>,
) -> Event {
    let stated = moment(&record, now).map(|(_, at)| at);
    let body = record.body.and_then(|body| value::json(body, 0));
    let message = match body {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => record.event_name,
    };
    let raised = attributes.get("exception.message").and_then(Value::as_str);
    let raised = raised.filter(|raised| !raised.is_empty() && !message.contains(raised));
    let message = match (message.trim(), raised) {
        ("", None) => "an error without words".to_owned(),
        ("", Some(raised)) => raised.to_owned(),
        (text, None) => text.to_owned(),
        // Of an exception the record says what could not be done, and it itself why.
        (text, Some(raised)) => format!("{text}: {raised}"),
    };
    let message = span::short(message, MESSAGE_MAX_CHARS);
    let mut details = attributes.clone();
    let trace_id = hex::encode(&record.trace_id);
    let ids = [
        ("traceId", trace_id.as_str()),
        ("spanId", &hex::encode(&record.span_id)),
    ];
    for (name, id) in ids.into_iter().filter(|(_, id)| !id.is_empty()) {
        details.insert(name.to_owned(), Value::from(id));
    }
    details.insert(
        LOGGER.to_owned(),
        Value::from(span::short(logger.to_owned(), 255)),
    );
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("message", Value::from(message));
    set("level", Value::from("error"));
    if let Some(code) = attributes.get("exception.type").and_then(Value::as_str) {
        set(
            "code",
            Value::from(span::short(code.to_owned(), fields::ID_MAX_CHARS)),
        );
    }
    set("details", Value::Object(details));
    // Without a time of its own it is known by what it says.
    let told = json!({"at": stated.map(span::written), "trace": trace_id, "fields": fields});
    let told = told.as_object().cloned().unwrap_or_default();
    Event {
        kind: Kind::Error,
        id: format!("log:{:016x}", event::fields_hash(&told)),
        at: stated.unwrap_or(now),
        fields: fields.into(),
    }
}
