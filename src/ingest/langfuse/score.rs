//! A score: somebody's or something's judgement of a trace, an observation or a session. It becomes an
//! evaluation.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::Fault;
use crate::domain::event::{Event, Kind, SessionRef, Source, Submission};
use crate::domain::fields;
use crate::domain::ids::{Claim, ClaimKind, TenantId};
use crate::domain::items::LANGFUSE_REVIEWER;
use crate::services::ingest::Item;

use super::envelope::{Relations, text};
use super::{item, refused};

/// What is kept of a score as it came, beside what it means.
const KEPT: [&str; 8] = [
    "comment",
    "traceId",
    "observationId",
    "name",
    "value",
    "dataType",
    "environment",
    "configId",
];

/// A score under its own id, else the id of the event that carries it.
pub fn read(
    tenant: TenantId,
    event_id: &str,
    said_at: DateTime<Utc>,
    body: &Map<String, Value>,
    relations: &Relations,
    now: DateTime<Utc>,
) -> Item {
    let refuse = |name: &str, message: &str| refused(event_id, vec![Fault::body(name, message)]);
    let Some(name) = text(body, "name") else {
        return refuse("body.name", "must be a text");
    };
    let said_at = match body.get("timestamp") {
        None | Some(Value::Null) => Ok(said_at),
        Some(Value::String(given)) => fields::time(given, now),
        Some(_) => Err("must be an ISO 8601 time".to_owned()),
    };
    let said_at = match said_at {
        Ok(said_at) => said_at,
        Err(message) => return refuse("body.timestamp", &message),
    };
    let observation = text(body, "observationId");
    let trace = text(body, "traceId").or_else(|| relations.trace_of(observation?));
    let claims = match (trace, text(body, "sessionId")) {
        (Some(trace), _) => {
            let session = relations.session_of(trace);
            let session = session.into_iter().flat_map(Claim::of_conversation);
            session
                .chain([Claim::new(ClaimKind::Trace, trace)])
                .collect()
        }
        (None, Some(session)) => Claim::of_conversation(session),
        (None, None) => {
            return refuse(
                "body.traceId",
                "is required, or `sessionId`: a score is of a trace, an observation of one, or a session",
            );
        }
    };
    let Some(session) = SessionRef::claimed(tenant, claims) else {
        let named = trace.map_or("body.sessionId", |_| "body.traceId");
        return refuse(named, "is no id that a session can be known by");
    };
    let mut fields = match judged(name, body) {
        Ok(fields) => fields,
        Err(message) => return refuse("body.value", message),
    };
    for name in KEPT {
        if let Some(value) = body.get(name).filter(|value| !value.is_null()) {
            fields.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(trace) = trace {
        fields.insert("traceId".to_owned(), Value::from(trace));
    }
    let faults = fields::check(Kind::Evaluation, &fields, now).faults;
    if !faults.is_empty() {
        return refused(event_id, faults);
    }
    let event = Event {
        kind: Kind::Evaluation,
        id: text(body, "id").unwrap_or(event_id).to_owned(),
        at: said_at,
        fields: fields.into(),
    };
    if event.id.chars().count() > fields::ID_MAX_CHARS {
        return refuse("body.id", "must have at most 255 characters");
    }
    item(
        event_id,
        session,
        Submission::Event(Source::Langfuse, event),
    )
}

/// What a score means as an evaluation. Only what is between 0 and 1 is a score here; any other value
/// is kept as it is.
fn judged(name: &str, body: &Map<String, Value>) -> Result<Map<String, Value>, &'static str> {
    let mut fields = Map::new();
    let mut labels = vec![Value::from(name)];
    let mut notes: Vec<String> = Vec::new();
    let stated = text(body, "dataType").unwrap_or_default();
    match (stated, body.get("value")) {
        ("BOOLEAN", Some(value)) => {
            let passed = match value {
                Value::Bool(passed) => *passed,
                other if other.as_f64() == Some(1.0) => true,
                other if other.as_f64() == Some(0.0) => false,
                _ => return Err("must be 0 or 1 for a boolean score"),
            };
            let verdict = if passed { "pass" } else { "fail" };
            fields.insert("verdict".to_owned(), Value::from(verdict));
        }
        ("" | "NUMERIC", Some(Value::Number(number))) => match number.as_f64() {
            Some(score) if (0.0..=1.0).contains(&score) => {
                fields.insert("score".to_owned(), Value::Number(number.clone()));
            }
            _ => notes.push(format!("{name}: {number}")),
        },
        ("NUMERIC", _) => return Err("must be a number for a numeric score"),
        ("TEXT" | "CORRECTION", Some(Value::String(text))) => notes.push(text.clone()),
        ("" | "CATEGORICAL", Some(Value::String(value))) => {
            labels.push(Value::from(value.as_str()))
        }
        ("CATEGORICAL", Some(Value::Number(value))) => labels.push(Value::from(value.to_string())),
        _ => return Err("must be a number or a text, as `dataType` says"),
    }
    notes.extend(text(body, "comment").map(str::to_owned));
    fields.insert("labels".to_owned(), Value::Array(labels));
    fields.insert("reviewer".to_owned(), Value::from(LANGFUSE_REVIEWER));
    if !notes.is_empty() {
        fields.insert("notes".to_owned(), Value::from(notes.join("\n")));
    }
    Ok(fields)
}
