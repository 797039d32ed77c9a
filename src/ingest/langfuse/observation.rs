//! Traces and observations as Langfuse's own events tell of them: pieces of spans, in the attributes that
//! its OpenTelemetry exporter uses, so that everything behind the door reads one vocabulary only.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::domain::Fault;
use crate::domain::body::json_bytes;
use crate::domain::event::{Event, Kind, SessionRef, Source, Submission};
use crate::domain::fact;
use crate::domain::fields;
use crate::domain::ids::{Claim, ClaimKind, TenantId};
use crate::domain::partial;
use crate::domain::span::{TRACE_ITSELF, identity};
use crate::services::ingest::Item;

use super::envelope::{Envelope, Relations};
use super::{item, refused, usage};

/// The scope that the spans of these events are given: who made them.
pub const SCOPE: &str = "langfuse-ingestion";

/// Sorts of observation that have a `-create` and an `-update` of their own.
const SORTS: [&str; 10] = [
    "span",
    "generation",
    "event",
    "agent",
    "tool",
    "chain",
    "retriever",
    "evaluator",
    "embedding",
    "guardrail",
];

/// Members of a body that are attributes under these names.
const OBSERVATION: &[(&str, &str)] = &[
    ("level", "langfuse.observation.level"),
    ("statusMessage", "langfuse.observation.status_message"),
    ("input", "langfuse.observation.input"),
    ("output", "langfuse.observation.output"),
    ("model", "langfuse.observation.model.name"),
    ("modelParameters", "langfuse.observation.model.parameters"),
    (
        "completionStartTime",
        "langfuse.observation.completion_start_time",
    ),
    ("promptName", "langfuse.observation.prompt.name"),
    ("promptVersion", "langfuse.observation.prompt.version"),
    ("environment", "langfuse.environment"),
    ("version", "langfuse.version"),
];
const TRACE: &[(&str, &str)] = &[
    ("name", "langfuse.trace.name"),
    ("userId", "user.id"),
    ("sessionId", "session.id"),
    ("tags", "langfuse.trace.tags"),
    ("public", "langfuse.trace.public"),
    ("input", "langfuse.trace.input"),
    ("output", "langfuse.trace.output"),
    ("release", "langfuse.release"),
    ("environment", "langfuse.environment"),
    ("version", "langfuse.version"),
];

/// What sort of thing an event tells of, and whether for the first time; none where nobody knows.
enum Tells {
    Trace,
    Created(&'static str),
    Updated(Option<&'static str>),
}

fn tells(event: &Envelope) -> Option<Tells> {
    let sort = |word: &str| {
        SORTS
            .into_iter()
            .find(|sort| sort.eq_ignore_ascii_case(word))
    };
    let (what, how) = event.r#type.rsplit_once('-')?;
    let stated = event.text("type").and_then(sort);
    match (what, how) {
        ("trace", "create") => Some(Tells::Trace),
        ("observation", "create") => Some(Tells::Created(stated.unwrap_or("span"))),
        ("observation", "update") => Some(Tells::Updated(stated)),
        // An SDK updates whatever it made by `span-update`.
        ("span", "update") => Some(Tells::Updated(None)),
        (what, "create") => sort(what).map(Tells::Created),
        (what, "update") => sort(what).map(|sort| Tells::Updated(Some(sort))),
        _ => None,
    }
}

/// A trace or an observation.
pub fn read(tenant: TenantId, event: &Envelope, relations: &Relations, now: DateTime<Utc>) -> Item {
    let refuse = |name: &str, message: &str| refused(&event.id, vec![Fault::body(name, message)]);
    let Some(tells) = tells(event) else {
        return refuse("type", "is no type of event that is known here");
    };
    let id = event.text("id");
    let (trace, span, session) = match &tells {
        Tells::Trace => (id, TRACE_ITSELF, event.text("sessionId")),
        Tells::Created(_) => {
            let id = id.unwrap_or(&event.id);
            let trace = event.text("traceId").or_else(|| relations.trace_of(id));
            (Some(trace.unwrap_or(id)), id, None)
        }
        Tells::Updated(_) => {
            let Some(id) = id else {
                return refuse("body.id", "is required");
            };
            let trace = event.text("traceId").or_else(|| relations.trace_of(id));
            if trace.is_none() {
                return refuse(
                    "body.traceId",
                    "is required where the same batch does not create the observation",
                );
            }
            (trace, id, None)
        }
    };
    let trace = trace.unwrap_or(&event.id);
    let session = session.or_else(|| relations.session_of(trace));
    let claims = session
        .into_iter()
        .flat_map(Claim::of_conversation)
        .chain([Claim::new(ClaimKind::Trace, trace)]);
    let Some(session) = SessionRef::claimed(tenant, claims) else {
        return refuse("body.traceId", "is no id that a trace can be known by");
    };
    match piece(event, &tells, (trace, span), now) {
        Ok(span) => item(&event.id, session, Submission::Event(Source::Trace, span)),
        Err(faults) => refused(&event.id, faults),
    }
}

/// The piece of a span that an event tells.
fn piece(
    event: &Envelope,
    tells: &Tells,
    (trace, span): (&str, &str),
    now: DateTime<Utc>,
) -> Result<Event, Vec<Fault>> {
    let mut fields = Map::new();
    for (name, value) in [("traceId", trace), ("spanId", span)] {
        fields.insert(name.to_owned(), Value::from(value));
    }
    let (start, more) = match tells {
        Tells::Trace => ("timestamp", &[][..]),
        _ => (
            "startTime",
            &[
                ("endTime", "endedAt"),
                ("parentObservationId", "parentSpanId"),
                ("name", "name"),
            ][..],
        ),
    };
    for (theirs, ours) in [(start, "startedAt")].iter().chain(more) {
        let given = event.body.get(*theirs).filter(|value| !value.is_null());
        if let Some(value) = given.filter(|value| value.as_str() != Some("")) {
            fields.insert((*ours).to_owned(), value.clone());
        }
    }
    if fact::time(&fields, "endedAt") < fact::time(&fields, "startedAt") {
        fields.remove("endedAt");
    }
    let attributes = match tells {
        Tells::Trace => attributes(&event.body, TRACE, "langfuse.trace.metadata"),
        Tells::Created(sort) => observation(&event.body, Some(sort)),
        Tells::Updated(sort) => observation(&event.body, *sort),
    };
    fields.insert("attributes".to_owned(), Value::Object(attributes));
    fields.insert("scope".to_owned(), json!({"name": SCOPE}));
    let mut faults = fields::check(Kind::Span, &fields, now).faults;
    if !faults.is_empty() {
        // As the sender knows the field.
        for fault in &mut faults {
            let mut names = [(start, "startedAt")]
                .into_iter()
                .chain(more.iter().copied());
            if let Some((theirs, _)) = names.find(|(_, ours)| *ours == fault.name) {
                fault.name = format!("body.{theirs}");
            }
        }
        return Err(faults);
    }
    partial::mark(&mut fields, event.said_at);
    if !matches!(tells, Tells::Updated(_)) && !fields.contains_key("startedAt") {
        partial::presume(&mut fields, "startedAt", event.said_at);
    }
    let time = |name: &str| fact::time(&fields, name);
    Ok(Event {
        kind: Kind::Span,
        id: identity(trace, span),
        at: time("endedAt")
            .or(time("startedAt"))
            .unwrap_or(event.said_at),
        fields: fields.into(),
    })
}

fn observation(body: &Map<String, Value>, sort: Option<&str>) -> Map<String, Value> {
    let mut attributes = attributes(body, OBSERVATION, "langfuse.observation.metadata");
    if let Some(sort) = sort {
        attributes.insert("langfuse.observation.type".to_owned(), Value::from(sort));
    }
    let (used, costs) = usage::read(body);
    for (name, members) in [("usage_details", used), ("cost_details", costs)] {
        if !members.is_empty() {
            attributes.insert(
                format!("langfuse.observation.{name}"),
                Value::Object(members),
            );
        }
    }
    attributes
}

fn attributes(
    body: &Map<String, Value>,
    names: &[(&str, &str)],
    metadata: &str,
) -> Map<String, Value> {
    let mut attributes = Map::new();
    let mut room = ATTRIBUTES_MAX_BYTES;
    let mut put = |name: String, value: &Value| {
        if !value.is_null() && attributes.len() < ATTRIBUTES_MAX {
            let value = cut(value, room.min(ATTRIBUTE_MAX_BYTES));
            room = room.saturating_sub(json_bytes(&value) + name.len());
            attributes.insert(name, value);
        }
    };
    // What is read as something comes before what is only kept.
    for (theirs, ours) in names {
        if let Some(value) = body.get(*theirs) {
            put((*ours).to_owned(), value);
        }
    }
    match body.get("metadata") {
        Some(Value::Object(members)) => {
            for (name, value) in members {
                put(format!("{metadata}.{name}"), value);
            }
        }
        Some(value) => put(metadata.to_owned(), value),
        None => {}
    }
    attributes
}

/// One event's attributes, and each of them: what is beyond is cut off. Together they stay within what
/// a fact may hold.
const ATTRIBUTES_MAX: usize = 500;
const ATTRIBUTE_MAX_BYTES: usize = 64 << 10;
const ATTRIBUTES_MAX_BYTES: usize = 200 << 10;

/// A value of at most so many bytes: a larger one becomes the beginning of its text.
fn cut(value: &Value, max: usize) -> Value {
    let text = value.to_string();
    if text.len() <= max {
        return value.clone();
    }
    let text = value.as_str().map_or(text, str::to_owned);
    // Quotes and escapes may take as much again.
    Value::from(format!("{}…", &text[..text.floor_char_boundary(max / 2)]))
}
