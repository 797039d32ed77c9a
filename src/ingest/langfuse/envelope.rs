//! A batch of Langfuse's own events: each with an envelope, so that one that is broken spoils no other.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::domain::Error;
use crate::domain::Fault;
use crate::domain::event;
use crate::domain::fields;
use crate::domain::json;
use crate::problem::Problem;

/// One event; what it says is in its body.
pub struct Envelope {
    pub id: String,
    pub r#type: String,
    pub said_at: DateTime<Utc>,
    pub body: Map<String, Value>,
}

/// An event that cannot be read, under the id that it gives or the place where it stands.
pub struct Broken {
    pub id: String,
    pub fault: Fault,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    batch: Vec<&'a RawValue>,
}

/// The events of a batch, still raw.
pub fn split(bytes: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("must be UTF-8"))?;
    let batch: Batch<'_> = serde_json::from_str(text)
        .map_err(|error| malformed(format!("must be an object with a list `batch`: {error}")))?;
    Ok(batch.batch)
}

pub fn malformed(message: impl Into<String>) -> Problem {
    Error::Invalid(vec![Fault::body("body", message)]).into()
}

impl Envelope {
    pub fn read(raw: &RawValue, place: usize, now: DateTime<Utc>) -> Result<Self, Broken> {
        let broken = |id: Option<&str>, name: &str, message: String| Broken {
            id: id.map_or_else(|| place.to_string(), str::to_owned),
            fault: Fault::body(name, message),
        };
        let value = json::parse(raw.get().as_bytes())
            .map_err(|error| broken(None, "", format!("must be JSON: {error}")))?;
        let Value::Object(mut event) = json::without_nul(event::normalised(value)) else {
            return Err(broken(None, "", "must be an object".to_owned()));
        };
        let id = match event.remove("id") {
            Some(Value::String(id)) if !id.trim().is_empty() => id,
            _ => return Err(broken(None, "id", "must be a text".to_owned())),
        };
        let said_at = match event.remove("timestamp") {
            None | Some(Value::Null) => Ok(now),
            Some(Value::String(text)) => fields::time(&text, now),
            Some(_) => Err("must be an ISO 8601 time".to_owned()),
        };
        let said_at = said_at.map_err(|message| broken(Some(&id), "timestamp", message))?;
        let Some(Value::String(r#type)) = event.remove("type") else {
            return Err(broken(Some(&id), "type", "must be a text".to_owned()));
        };
        let Some(Value::Object(body)) = event.remove("body") else {
            return Err(broken(Some(&id), "body", "must be an object".to_owned()));
        };
        Ok(Self {
            id,
            r#type,
            said_at,
            body,
        })
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        text(&self.body, name)
    }

    pub fn is_of_trace(&self) -> bool {
        self.r#type == "trace-create"
    }

    pub fn is_score(&self) -> bool {
        self.r#type == "score-create"
    }
}

/// A text that says something.
pub fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let text = body.get(name)?.as_str()?;
    (!text.trim().is_empty()).then_some(text)
}

/// What the events of one batch tell of each other: an update may leave out the trace that its create
/// names, and only the trace itself names its session.
#[derive(Default)]
pub struct Relations {
    traces: HashMap<String, String>,
    sessions: HashMap<String, String>,
}

impl Relations {
    pub fn add(&mut self, event: &Envelope) {
        let id = event.text("id");
        if event.is_of_trace() {
            if let (Some(id), Some(session)) = (id, event.text("sessionId")) {
                self.sessions.insert(id.to_owned(), session.to_owned());
            }
        } else if !event.is_score()
            && let (Some(id), Some(trace)) = (id, event.text("traceId"))
        {
            self.traces.insert(id.to_owned(), trace.to_owned());
        }
    }

    pub fn trace_of(&self, observation: &str) -> Option<&str> {
        self.traces.get(observation).map(String::as_str)
    }

    pub fn session_of(&self, trace: &str) -> Option<&str> {
        self.sessions.get(trace).map(String::as_str)
    }
}
