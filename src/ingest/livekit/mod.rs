//! The doors for LiveKit. What an agent uploads by itself where `LIVEKIT_OBSERVABILITY_URL` names this
//! server: traces, logs, metrics, and at the end of a session its chat history and recording. And the
//! webhooks of a LiveKit server.

mod chat;
mod logs;
mod parts;
mod upload;
mod webhook;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::app::App;
use crate::app::Now;
use crate::auth::{Ingestor, LivekitAgent};
use crate::domain::event::{Event, Kind, SessionRef, Source, Submission};
use crate::domain::fields;
use crate::problem::Problem;
use crate::problem::Query;
use crate::problem::Upload;
use crate::services::ingest::Item;

use super::otlp;

pub use logs::logs;
pub use upload::recordings;
pub use webhook::{told, webhook};

/// `POST /observability/traces/otlp/v0`
pub async fn traces(
    app: State<App>,
    agent: LivekitAgent,
    now: Now,
    query: Query,
    headers: HeaderMap,
    upload: Upload,
) -> Result<Response, Problem> {
    otlp::traces(app, agent.into(), now, query, headers, upload).await
}

/// `POST /observability/metrics/otlp/v0`
pub async fn metrics(
    app: State<App>,
    agent: LivekitAgent,
    query: Query,
    headers: HeaderMap,
    upload: Upload,
) -> Result<Response, Problem> {
    otlp::metrics(app, agent.into(), query, headers, upload).await
}

impl From<LivekitAgent> for Ingestor {
    /// A key that may observe may write what it has observed.
    fn from(agent: LivekitAgent) -> Self {
        Self { scope: agent.scope }
    }
}

/// An event of LiveKit, without what no door would let in; none where nothing is left to say.
fn event(
    kind: Kind,
    id: String,
    at: DateTime<Utc>,
    mut fields: Map<String, Value>,
    now: DateTime<Utc>,
) -> Option<Event> {
    fields.retain(|_, value| !value.is_null());
    for fault in fields::check(kind, &fields, now).faults {
        let name = fault.name.split(['.', '[']).next().unwrap_or_default();
        fields.remove(name);
    }
    let (_, required) = fields::of(kind);
    let is_whole = required.iter().all(|name| fields.contains_key(*name));
    (is_whole && !fields.is_empty()).then_some(Event {
        kind,
        id,
        at: at.min(now + fields::FUTURE_MAX),
        fields: fields.into(),
    })
}

fn item(session: &SessionRef, source: Source, event: Event) -> Item {
    Item {
        id: Some(event.id.clone()),
        content: Ok((session.clone(), Submission::Event(source, event))),
        unknown: Vec::new(),
    }
}

fn put(fields: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), value.into());
    }
}

/// A text that says something.
fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    let text = value.get(name)?.as_str()?;
    (!text.trim().is_empty()).then_some(text)
}

/// A number however it is written: protobuf's JSON has 64-bit ones as texts.
fn number(value: &Value, name: &str) -> Option<f64> {
    let number = match value.get(name)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite())
}

/// A moment in seconds since 1970. Zero is how LiveKit writes that there is none.
fn moment(seconds: f64) -> Option<DateTime<Utc>> {
    let micros = (seconds > 0.0 && seconds < 1e11).then_some(seconds * 1e6)?;
    DateTime::from_timestamp_micros(micros as i64)
}

fn written(at: DateTime<Utc>) -> Value {
    Value::from(at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
}
