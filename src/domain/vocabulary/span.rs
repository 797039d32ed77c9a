//! A span fact's fields, as vocabularies read them: attributes whose types drift, JSON within texts,
//! durations in seconds.

use std::cell::RefCell;
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::event::normalised;
use crate::domain::fact;
use crate::domain::json;

use super::{Gist, Part, Vocabulary};

/// What frameworks write where they have no value, or were told not to tell it, in any field, and where a name should be.
const NO_VALUES: [&str; 3] = ["NOT_GIVEN", "__REDACTED__", "[REDACTED]"];
const NO_TERMS: [&str; 4] = ["None", "null", "unknown", "NotGiven"];
/// What is read of the process that made a span.
pub const SERVICE_NAME: &str = "service.name";
pub const LANGFUSE_RELEASE: &str = "langfuse.release";
pub const LANGFUSE_ENVIRONMENT: &str = "langfuse.environment";
pub const LANGUAGE: &str = "telemetry.sdk.language";
pub const OF_PROCESS: [&str; 4] = [
    SERVICE_NAME,
    LANGFUSE_RELEASE,
    LANGFUSE_ENVIRONMENT,
    LANGUAGE,
];
/// OTLP's number and both names of an error.
const STATUS_ERROR: i64 = 2;

/// One span as its tracer said it.
pub struct Said<'a> {
    pub trace_id: &'a str,
    pub span_id: &'a str,
    pub parent: Option<&'a str>,
    pub name: &'a str,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    fields: &'a Map<String, Value>,
    attributes: Option<&'a Map<String, Value>>,
    /// The attributes that were read so far, where somebody wants to know.
    noted: Option<RefCell<BTreeSet<&'a str>>>,
}

impl<'a> Said<'a> {
    /// None where it does not say when it was.
    pub fn read(fields: &'a Map<String, Value>) -> Option<Self> {
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let started_at = fact::time(fields, "startedAt").or(fact::time(fields, "endedAt"))?;
        Some(Self {
            trace_id: text("traceId")?,
            span_id: text("spanId")?,
            parent: text("parentSpanId").filter(|id| !id.is_empty()),
            name: text("name").unwrap_or_default(),
            started_at,
            ended_at: fact::time(fields, "endedAt").map(|end| end.max(started_at)),
            attributes: fields.get("attributes").and_then(Value::as_object),
            fields,
            noted: None,
        })
    }

    /// Whether it says what it is and when it was: whether it can be read.
    pub fn has_place(fields: &Map<String, Value>) -> bool {
        let is_said = |name: &str| fields.get(name).is_some_and(Value::is_string);
        is_said("traceId") && is_said("spanId") && (is_said("startedAt") || is_said("endedAt"))
    }

    /// The same, noting which of its attributes are read.
    pub fn noting(fields: &'a Map<String, Value>) -> Option<Self> {
        let noted = Some(RefCell::default());
        Self::read(fields).map(|said| Self { noted, ..said })
    }

    /// The attributes that were read.
    pub fn noted(self) -> BTreeSet<&'a str> {
        self.noted.map(RefCell::into_inner).unwrap_or_default()
    }

    fn note(&self, name: &'a str) {
        if let Some(noted) = &self.noted {
            noted.borrow_mut().insert(name);
        }
    }

    /// A gist that says nothing yet but where it stands.
    pub fn gist(&self, vocabulary: Vocabulary, part: Part) -> Gist {
        Gist {
            vocabulary,
            part,
            trace_id: self.trace_id.to_owned(),
            span_id: self.span_id.to_owned(),
            parent: self.parent.map(str::to_owned),
            started_at: self.started_at,
            ended_at: self.ended_at,
            fields: Map::new(),
            session: Map::new(),
        }
    }

    /// The name of the tracer that made it.
    pub fn scope(&self) -> &'a str {
        let scope = self.fields.get("scope");
        let name = scope.and_then(|scope| scope.get("name"));
        name.and_then(Value::as_str).unwrap_or_default()
    }

    pub fn attributes(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.attributes.into_iter().flatten()
    }

    pub fn value(&self, name: &str) -> Option<&'a Value> {
        let (name, value) = self.attributes?.get_key_value(name)?;
        self.note(name);
        (!value.is_null()).then_some(value)
    }

    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    pub fn has_prefix(&self, prefix: &str) -> bool {
        let found = self.attributes().find(|(name, _)| name.starts_with(prefix));
        found.inspect(|(name, _)| self.note(name)).is_some()
    }

    /// A text that is there.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        said(self.value(name)?)
    }

    /// A name or a word of a list, which frameworks also write where they have none.
    pub fn term(&self, names: &[&str]) -> Option<&'a str> {
        let mut terms = names.iter().filter_map(|name| self.text(name));
        terms.find(|term| !NO_TERMS.contains(term))
    }

    /// The first of several names that says something.
    pub fn first_text(&self, names: &[&str]) -> Option<&'a str> {
        names.iter().find_map(|name| self.text(name))
    }

    /// A number, also where it is written as a text; never one that stands for "not measured".
    pub fn number(&self, name: &str) -> Option<f64> {
        number(self.value(name)?)
    }

    /// A count, from any of several names.
    pub fn count(&self, names: &[&str]) -> Option<u64> {
        let counts = names.iter().filter_map(|name| self.number(name));
        let mut counts = counts.filter(|count| (0.0..=1e9).contains(count));
        counts.next().map(|count| count.round() as u64)
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => number.as_f64().map(|number| number != 0.0),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A duration that is told in seconds.
    pub fn seconds_as_ms(&self, name: &str) -> Option<f64> {
        let ms = self.number(name).filter(|seconds| *seconds >= 0.0)? * 1000.0;
        Some((ms * 1000.0).round() / 1000.0)
    }

    /// A value that may be JSON within a text.
    pub fn json(&self, name: &str) -> Option<Value> {
        let value = self.value(name)?;
        Some(match value {
            Value::String(text) => parsed(text),
            other => other.clone(),
        })
    }

    /// An attribute of whatever made it: a process, not a conversation.
    pub fn resource(&self, name: &str) -> Option<&'a str> {
        let attributes = self.fields.get("resource")?.get("attributes")?;
        said(attributes.get(name)?)
    }

    /// (name, when, attributes)
    pub fn events(&self) -> impl Iterator<Item = (&'a str, Option<DateTime<Utc>>, &'a Value)> {
        let events = self.fields.get("events").and_then(Value::as_array);
        events.into_iter().flatten().map(|event| {
            let text = |name: &str| event.get(name).and_then(Value::as_str);
            let at = text("at").and_then(fact::parse_time);
            let attributes = event.get("attributes").unwrap_or(&Value::Null);
            (text("name").unwrap_or_default(), at, attributes)
        })
    }

    /// What went wrong, where its status says that something did; empty where it does not say what.
    pub fn failure(&self) -> Option<String> {
        let status = self.fields.get("status")?;
        let code = status.get("code").unwrap_or(status);
        let is_error = match code {
            Value::Number(code) => code.as_i64() == Some(STATUS_ERROR),
            Value::String(code) => code
                .to_ascii_uppercase()
                .trim_start_matches("STATUS_CODE_")
                .eq("ERROR"),
            _ => false,
        };
        if !is_error {
            return None;
        }
        let message = status.get("message").and_then(said).map(str::to_owned);
        Some(
            message
                .or_else(|| self.exception("exception.message"))
                .or_else(|| self.text("error.message").map(str::to_owned))
                .unwrap_or_default(),
        )
    }

    /// What its exception says, as an attribute or in an event.
    pub fn exception(&self, name: &str) -> Option<String> {
        let own = self.text(name).map(str::to_owned);
        own.or_else(|| {
            let mut told = self.events().filter(|(event, ..)| *event == "exception");
            told.find_map(|(_, _, attributes)| said(attributes.get(name)?).map(str::to_owned))
        })
    }
}

/// A text that says something.
pub fn said(value: &Value) -> Option<&str> {
    let text = value.as_str()?;
    (!text.trim().is_empty() && !NO_VALUES.contains(&text)).then_some(text)
}

/// A number however it is written.
pub fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

/// What a text holds: JSON, also where it is quoted twice, else the text itself.
pub fn parsed(text: &str) -> Value {
    let Some(value) = json::unpacked(text) else {
        return Value::from(text);
    };
    match value {
        Value::String(inner) => match json::unpacked(&inner) {
            Some(value @ (Value::Object(_) | Value::Array(_))) => normalised(value),
            _ => Value::from(inner),
        },
        // A bare number or word was a text to whoever wrote it.
        Value::Object(_) | Value::Array(_) => normalised(value),
        _ => Value::from(text),
    }
}
