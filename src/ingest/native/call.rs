//! One whole native call: a document that is one report, made of the same items as events.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::domain::Fault;
use crate::domain::event;
use crate::domain::event::{Event, Kind, Report, Source, Submission};
use crate::domain::fact::IMPLIED;
use crate::domain::fields;
use crate::domain::fields::Findings;
use crate::domain::ids::TenantId;
use crate::domain::items::OCCURRED_AT;
use crate::domain::span::identity_of;
use crate::services::ingest::Item;

use super::body;
use super::event as native;

/// The lists of a call, what they hold, and how much of it.
const LISTS: [(&str, Kind, usize); 8] = [
    ("turns", Kind::Turn, 2_000),
    ("toolCalls", Kind::ToolCall, 5_000),
    ("interruptions", Kind::Interruption, 5_000),
    ("errors", Kind::Error, 5_000),
    ("spans", Kind::Span, 5_000),
    ("speech", Kind::Speech, 5_000),
    ("network", Kind::Network, 5_000),
    ("evaluations", Kind::Evaluation, 1_000),
];

/// All that a call may have.
const PARTS: [&str; 12] = [
    "at",
    "errors",
    "evaluations",
    "id",
    "interruptions",
    "network",
    "recording",
    "session",
    "spans",
    "speech",
    "toolCalls",
    "turns",
];

/// An item of `POST /v1/ingest/calls`, and how many items it holds itself.
pub fn item(tenant: TenantId, raw: &[u8], now: DateTime<Utc>) -> (Item, usize) {
    match body::parse(raw) {
        Ok(Value::Object(call)) => read(tenant, call, now),
        Ok(_) => (
            native::refused(None, vec![Fault::body("", "must be an object")]),
            1,
        ),
        Err(fault) => (native::refused(None, vec![fault]), 1),
    }
}

fn read(tenant: TenantId, mut call: Map<String, Value>, now: DateTime<Utc>) -> (Item, usize) {
    let hash = event::short_hash(event::canonical_hash(&call));
    let mut findings = Findings::default();
    native::text(&mut call, "id", &mut findings.faults);
    let at = native::time(&mut call, "at", now, &mut findings.faults);
    let (session, mut fields) = session(tenant, &mut call, now, &mut findings);
    let mut events = Vec::new();
    for (list, kind, max) in LISTS {
        read_list(
            call.remove(list),
            (list, kind, max),
            now,
            &mut events,
            &mut findings,
        );
    }
    let unknown = call.keys().map(|name| fields::Unknown {
        name: name.clone(),
        known: fields::Known::Names(&PARTS),
        is_kept: false,
    });
    let unknown = unknown.take(fields::UNKNOWN_TOLD_MAX);
    findings.unknown.extend(unknown);
    complete(&mut fields, &mut events, &mut findings);
    let held = events.len() + 1;
    let id = session.as_ref().map(|session| session.external_id.clone());
    let (Some(session), true) = (session, findings.faults.is_empty()) else {
        return (native::refused(id, findings.faults), held);
    };
    events.push(Event {
        kind: Kind::Session,
        id: Report::SESSION_ID.to_owned(),
        at: now,
        fields: fields.into(),
    });
    let report = Submission::Report(Source::Call, Report { at, hash, events });
    (
        Item {
            id,
            content: Ok((session, report)),
            unknown: findings.unknown,
        },
        held,
    )
}

fn session(
    tenant: TenantId,
    call: &mut Map<String, Value>,
    now: DateTime<Utc>,
    findings: &mut Findings,
) -> (Option<event::SessionRef>, Map<String, Value>) {
    let mut fields = match call.remove("session") {
        Some(Value::Object(fields)) => fields,
        Some(_) => {
            findings
                .faults
                .push(Fault::body("session", "must be an object"));
            return (None, Map::new());
        }
        None => {
            findings.faults.push(Fault::body("session", "is required"));
            return (None, Map::new());
        }
    };
    // In a whole document, nothing said and null are the same.
    fields.retain(|_, value| !value.is_null());
    let mut own = Vec::new();
    let session = native::session(tenant, &mut fields, &mut own);
    let reserved = native::reserved(&mut fields);
    if let Some(recording) = call.remove("recording") {
        fields.insert("recording".to_owned(), recording);
    }
    let found = fields::check(Kind::Session, &fields, now);
    findings.faults.extend(
        own.into_iter()
            .chain(found.faults)
            .map(|fault| within("session", fault)),
    );
    findings.unknown.extend(
        found
            .unknown
            .into_iter()
            .chain(reserved)
            .map(|u| fields::Unknown {
                name: format!("session.{}", u.name),
                ..u
            }),
    );
    (session, fields)
}

fn read_list(
    given: Option<Value>,
    (list, kind, max): (&str, Kind, usize),
    now: DateTime<Utc>,
    events: &mut Vec<Event>,
    findings: &mut Findings,
) {
    let items = match given {
        None | Some(Value::Null) => return,
        Some(Value::Array(items)) => items,
        Some(_) => return findings.faults.push(Fault::body(list, "must be a list")),
    };
    if items.len() > max {
        let message = format!(
            "must have at most {max} items, got {}: send more as events",
            items.len()
        );
        return findings.faults.push(Fault::body(list, message));
    }
    let mut names = Names::default();
    for (position, item) in items.into_iter().enumerate() {
        let place = format!("{list}[{position}]");
        let Value::Object(mut fields) = item else {
            findings
                .faults
                .push(Fault::body(place, "must be an object"));
            continue;
        };
        let mut own = Vec::new();
        let given_id = native::text(&mut fields, "id", &mut own);
        let at = native::time(&mut fields, "at", now, &mut own);
        if kind == Kind::Turn {
            fields
                .entry("index")
                .or_insert_with(|| Value::from(position));
        }
        native::accept_spelling(kind, &mut fields);
        let id = match kind {
            Kind::Span => identity_of(&fields),
            _ => given_id.unwrap_or_else(|| format!("{list}/{position}")),
        };
        own.extend(names.faults((list, kind, position), &id, &fields));
        let reserved = native::reserved(&mut fields);
        let found = fields::check(kind, &fields, now);
        findings.faults.extend(
            own.into_iter()
                .chain(found.faults)
                .map(|fault| within(&place, fault)),
        );
        findings
            .unknown
            .extend(
                found
                    .unknown
                    .into_iter()
                    .chain(reserved)
                    .map(|u| fields::Unknown {
                        name: format!("{place}.{}", u.name),
                        ..u
                    }),
            );
        if let Some(at) = at {
            fields.insert(OCCURRED_AT.to_owned(), Value::from(at.to_rfc3339()));
        }
        events.push(Event {
            kind,
            id,
            at: now,
            fields: fields.into(),
        });
    }
}

/// What the items of one list are known by, and where: two under one name would be one.
#[derive(Default)]
struct Names(BTreeMap<(&'static str, String), usize>);

impl Names {
    fn faults(
        &mut self,
        (list, kind, position): (&str, Kind, usize),
        id: &str,
        fields: &Map<String, Value>,
    ) -> Vec<Fault> {
        let text = |name: &str| Some(fields.get(name)?.as_str()?.to_owned());
        let names = match kind {
            // Of two spans under one id the better one counts.
            Kind::Span => vec![],
            Kind::Turn => vec![
                ("id", Some(id.to_owned())),
                ("index", whole(fields, "index")),
            ],
            Kind::ToolCall => vec![("id", Some(id.to_owned())), ("callId", text("callId"))],
            _ => vec![("id", Some(id.to_owned()))],
        };
        let mut faults = Vec::new();
        for (name, value) in names {
            let Some(value) = value else { continue };
            let first = *self.0.entry((name, value)).or_insert(position);
            if first != position {
                let message = format!("is the {name} of {list}[{first}] too");
                faults.push(Fault::body(name, message));
            }
        }
        faults
    }
}

/// A whole number as text, however it is written.
fn whole(fields: &Map<String, Value>, name: &str) -> Option<String> {
    fields
        .get(name)?
        .as_f64()
        .map(|number| (number as i64).to_string())
}

/// What a whole call says without words: that it is over, when it ended, when its errors happened.
fn complete(session: &mut Map<String, Value>, events: &mut [Event], findings: &mut Findings) {
    let earliest = ["startedAt", "connectedAt", "answeredAt", "endedAt"]
        .iter()
        .filter_map(|name| native::stated(session, name))
        .chain(
            events
                .iter()
                .filter_map(|event| native::stated(&event.fields, "startedAt")),
        )
        .min();
    let Some(start) = earliest else {
        if !findings
            .faults
            .iter()
            .any(|fault| fault.name.starts_with("session"))
        {
            findings.faults.push(Fault::body(
                "session.startedAt",
                "is required where no other time is given",
            ));
        }
        return;
    };
    let start = native::stated(session, "startedAt").unwrap_or(start);
    let mut implied = Map::new();
    if !session.contains_key("startedAt") {
        implied.insert("startedAt".to_owned(), Value::from(start.to_rfc3339()));
    }
    if !session.contains_key("status") {
        implied.insert("status".to_owned(), Value::from("completed"));
    }
    let is_over = !matches!(
        session.get("status").and_then(Value::as_str),
        Some("queued" | "ringing" | "active")
    );
    let last_ms = events
        .iter()
        .filter_map(|event| event.fields.get("endMs")?.as_f64())
        .reduce(f64::max);
    if let Some(last_ms) = last_ms
        && is_over
        && !session.contains_key("endedAt")
    {
        let end = start + TimeDelta::milliseconds(last_ms as i64);
        implied.insert("endedAt".to_owned(), Value::from(end.to_rfc3339()));
    }
    imply(session, implied);
    let end = native::stated(session, "endedAt").unwrap_or(start);
    for event in events
        .iter_mut()
        .filter(|event| matches!(event.kind, Kind::Error | Kind::Evaluation))
    {
        let offset_ms = event.fields.get("atMs").and_then(Value::as_f64);
        let at = offset_ms.map_or(end, |ms| start + TimeDelta::milliseconds(ms as i64));
        let mut fields = event.fields.fields().clone();
        fields
            .entry(OCCURRED_AT)
            .or_insert_with(|| Value::from(at.to_rfc3339()));
        event.fields = fields.into();
    }
}

/// Adds what follows from what a call leaves out, by names that tell it from what the call states.
fn imply(session: &mut Map<String, Value>, implied: Map<String, Value>) {
    if implied.is_empty() {
        return;
    }
    let names = implied.keys().map(|name| Value::from(name.as_str()));
    session.insert(IMPLIED.to_owned(), names.collect());
    session.extend(implied);
}

fn within(place: &str, fault: Fault) -> Fault {
    let name = if fault.name.is_empty() {
        place.to_owned()
    } else {
        format!("{place}.{}", fault.name)
    };
    Fault { name, ..fault }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(lists: Value) -> Vec<String> {
        let mut call = json!({"session": {"sessionId": "s", "startedAt": "2025-06-11T10:00:00Z"}});
        for (name, list) in lists.as_object().unwrap() {
            call[name] = list.clone();
        }
        let now = "2025-06-11T12:00:00Z".parse().unwrap();
        let (item, _) = item(
            TenantId(uuid::Uuid::nil()),
            call.to_string().as_bytes(),
            now,
        );
        let faults = item.content.err().unwrap_or_default();
        let told = faults.iter().map(|f| format!("{} {}", f.name, f.message));
        told.collect()
    }

    #[test]
    fn two_items_under_one_name_are_refused_and_both_named() {
        assert_eq!(
            faults(json!({
                "turns": [{}, {"index": 1.0}, {"index": 7}, {"index": 1}],
                "toolCalls": [{"callId": "a"}, {"callId": "b"}, {"callId": "a"}],
                "errors": [{"id": "errors/1", "message": "x"}, {"message": "y"}],
                "interruptions": [{"id": "i"}, {"id": "i"}],
            })),
            [
                "turns[3].index is the index of turns[1] too",
                "toolCalls[2].callId is the callId of toolCalls[0] too",
                "interruptions[1].id is the id of interruptions[0] too",
                "errors[1].id is the id of errors[0] too",
            ]
        );
    }

    #[test]
    fn an_index_by_position_meets_one_that_is_given() {
        assert_eq!(
            faults(json!({"turns": [{"index": 1}, {}]})),
            ["turns[1].index is the index of turns[0] too"]
        );
        assert_eq!(
            faults(json!({"turns": [{"index": 1}, {"index": 0}]})),
            [""; 0]
        );
    }
}
