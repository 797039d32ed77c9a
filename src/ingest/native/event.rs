//! One native event: its envelope, and its fields as the one table in `domain::fields` has them.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::Fault;
use crate::domain::event;
use crate::domain::event::{Event, Kind, NATIVE_KINDS, SessionRef, Source, Submission};
use crate::domain::fact::IMPLIED;
use crate::domain::fields;
use crate::domain::fields::{Known, Unknown};
use crate::domain::ids::{SessionId, TenantId, is_reserved};
use crate::domain::items::OCCURRED_AT;
use crate::domain::span::identity_of;
use crate::services::ingest::Item;

use super::body;

/// An item of `POST /v1/ingest/events`.
pub fn item(tenant: TenantId, raw: &[u8], now: DateTime<Utc>) -> Item {
    match body::parse(raw) {
        Ok(Value::Object(fields)) => read(tenant, fields, now),
        Ok(_) => refused(None, vec![Fault::body("", "must be an object")]),
        Err(fault) => refused(None, vec![fault]),
    }
}

pub fn refused(id: Option<String>, faults: Vec<Fault>) -> Item {
    Item {
        id,
        content: Err(faults),
        unknown: Vec::new(),
    }
}

fn read(tenant: TenantId, mut fields: Map<String, Value>, now: DateTime<Utc>) -> Item {
    let mut faults = Vec::new();
    // Before anything is taken out: who gives no id is known by the whole.
    let whole = fields
        .get("id")
        .is_none_or(Value::is_null)
        .then(|| event::canonical_hash(&fields));
    let kind = kind(fields.remove("type"), &mut faults);
    let id = text(&mut fields, "id", &mut faults);
    let session = session(tenant, &mut fields, &mut faults);
    let mut at = time(&mut fields, "at", now, &mut faults);
    let Some(kind) = kind else {
        return refused(id, faults);
    };
    accept_spelling(kind, &mut fields);
    let reserved = reserved(&mut fields);
    let findings = fields::check(kind, &fields, now);
    faults.extend(findings.faults);
    if kind == Kind::Span {
        at = at
            .or_else(|| stated(&fields, "endedAt"))
            .or_else(|| stated(&fields, "startedAt"));
    }
    if at.is_none() && !faults.iter().any(|fault| fault.name == "at") {
        faults.push(Fault::body("at", "is required"));
    }
    let (Some(session), Some(at), true) = (session, at, faults.is_empty()) else {
        return refused(id, faults);
    };
    let identity = match kind {
        Kind::Span => identity_of(&fields),
        _ => id.clone().or(whole.map(hex::encode)).unwrap_or_default(),
    };
    let event = Event {
        kind,
        id: identity,
        at,
        fields: fields.into(),
    };
    Item {
        id,
        content: Ok((session, Submission::Event(Source::Event, event))),
        unknown: findings.unknown.into_iter().chain(reserved).collect(),
    }
}

/// Takes out fields that only our own doors may set, and that a source cannot have meant.
pub fn reserved(fields: &mut Map<String, Value>) -> Vec<Unknown> {
    let taken = [OCCURRED_AT, IMPLIED].map(|name| {
        fields.remove(name)?;
        Some(Unknown {
            name: name.to_owned(),
            known: Known::Names(&[]),
            is_kept: false,
        })
    });
    taken.into_iter().flatten().collect()
}

/// Both spellings of a field whose name is a word of many languages.
pub fn accept_spelling(kind: Kind, fields: &mut Map<String, Value>) {
    if kind == Kind::Interruption
        && let Some(value) = fields.remove("false")
    {
        fields.entry("isFalse").or_insert(value);
    }
}

/// The session that an item speaks of.
pub fn session(
    tenant: TenantId,
    fields: &mut Map<String, Value>,
    faults: &mut Vec<Fault>,
) -> Option<SessionRef> {
    let missing = fields.get("sessionId").is_none_or(Value::is_null);
    let external_id = text(fields, "sessionId", faults);
    if missing {
        faults.push(Fault::body("sessionId", "is required"));
    }
    let external_id = external_id?;
    let nil = uuid::Uuid::try_parse(&external_id).is_ok_and(|uuid| uuid.is_nil() || uuid.is_max());
    if nil || is_reserved(&external_id) {
        let message = format!("must not be a nil id or a reserved word, got `{external_id}`");
        faults.push(Fault::body("sessionId", message));
        return None;
    }
    let id = SessionId::from_reference(tenant, &external_id);
    if id.0.is_nil() || id.0.is_max() {
        let message = format!("must not be a nil id, got `{external_id}`");
        faults.push(Fault::body("sessionId", message));
        return None;
    }
    Some(SessionRef::native(tenant, external_id))
}

/// An id: text, not empty, not long, without NUL.
pub fn text(
    fields: &mut Map<String, Value>,
    name: &str,
    faults: &mut Vec<Fault>,
) -> Option<String> {
    let message = match fields.remove(name) {
        None | Some(Value::Null) => return None,
        Some(Value::String(text)) if text.trim().is_empty() => "must not be empty".to_owned(),
        Some(Value::String(text)) if text.contains('\0') => {
            "must not contain the NUL character".to_owned()
        }
        Some(Value::String(text)) if text.chars().count() > fields::ID_MAX_CHARS => {
            format!(
                "must have at most {} characters, got {}",
                fields::ID_MAX_CHARS,
                text.chars().count()
            )
        }
        Some(Value::String(text)) => return Some(text),
        Some(_) => "must be a text".to_owned(),
    };
    faults.push(Fault::body(name, message));
    None
}

pub fn time(
    fields: &mut Map<String, Value>,
    name: &str,
    now: DateTime<Utc>,
    faults: &mut Vec<Fault>,
) -> Option<DateTime<Utc>> {
    let read = match fields.remove(name) {
        None | Some(Value::Null) => return None,
        Some(Value::String(text)) => fields::time(&text, now),
        Some(_) => Err("must be an RFC 3339 time".to_owned()),
    };
    read.map_err(|message| faults.push(Fault::body(name, message)))
        .ok()
}

/// A time that the check has found sound.
pub fn stated(fields: &Map<String, Value>, name: &str) -> Option<DateTime<Utc>> {
    crate::domain::fact::time(fields, name)
}

fn kind(given: Option<Value>, faults: &mut Vec<Fault>) -> Option<Kind> {
    let names: Vec<&'static str> = NATIVE_KINDS.iter().map(|(name, _)| *name).collect();
    let message = match given {
        None | Some(Value::Null) => format!("is required: one of {}", fields::quoted(&names)),
        Some(Value::String(given)) => match NATIVE_KINDS.iter().find(|(name, _)| *name == given) {
            Some((_, kind)) => return Some(*kind),
            None => format!(
                "must be one of {}, got `{}`",
                fields::quoted(&names),
                given.escape_debug()
            ),
        },
        Some(_) => format!("must be one of {}", fields::quoted(&names)),
    };
    faults.push(Fault::body("type", message));
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_of_two_traces_never_share_an_identity() {
        let of = |trace: &str, span: &str| {
            let fields = json!({"traceId": trace, "spanId": span});
            identity_of(fields.as_object().unwrap())
        };
        assert_ne!(of("a/b", "c"), of("a", "b/c"));
        assert_eq!(of("a", "b"), of("a", "b"));
    }

    #[test]
    fn nobody_says_when_an_error_occurred_but_by_its_own_time() {
        let raw = json!({"type": "error", "id": "e", "sessionId": "s", "at": "2025-06-11T10:00:00Z",
            "message": "x", "occurredAt": "9999-01-01T00:00:00Z"});
        let now = "2025-06-11T12:00:00Z".parse().unwrap();
        let item = item(TenantId(uuid::Uuid::nil()), raw.to_string().as_bytes(), now);
        assert_eq!(item.unknown[0].name, "occurredAt");
        assert!(!item.unknown[0].is_kept);
        let Ok((_, Submission::Event(_, event))) = item.content else {
            panic!("an event")
        };
        assert!(!event.fields.contains_key(OCCURRED_AT));
    }
}
