//! A span's state, and what a trace's spans amount to.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::attributes;
use crate::domain::attributes::{DEFAULT, ERROR, GENERATION};
use crate::domain::fact::Fact;
use crate::domain::fact::Taker;
use crate::domain::items::OCCURRED_AT;
use crate::domain::partial;
use crate::domain::price;
use crate::domain::price::Prices;

/// What the span of these fields is known by.
pub fn identity_of(fields: &Map<String, Value>) -> String {
    let part = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    identity(part("traceId"), part("spanId"))
}

/// One observation of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace_id: String,
    pub span_id: String,
    pub parent: Option<String>,
    pub name: Option<String>,
    pub r#type: String,
    pub level: String,
    pub environment: Option<String>,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// When the first part of the output was there.
    pub completion_start: Option<DateTime<Utc>>,
    pub model: Option<String>,
    pub usage: Map<String, Value>,
    pub costs: Map<String, Value>,
    pub cost_nano_usd: Option<i64>,
    /// Whether the cost was computed by prices, for who asks: it is not stored.
    pub cost_estimated: bool,
    pub parameters: Map<String, Value>,
    pub status_message: Option<String>,
    pub input: Option<Value>,
    pub output: Option<Value>,
    pub metadata: Map<String, Value>,
    /// What its source calls the trace; stays with the first span of a trace as its name.
    pub trace_name: Option<String>,
}

/// Under this id a trace itself is kept among its spans: a source that tells of traces by themselves says
/// there what they are called and about. It is no observation, and not shown as one.
pub const TRACE_ITSELF: &str = "voxray:trace";

/// How the fact of a span is known within its session. The length tells where the trace's id ends,
/// whatever is in it.
pub fn identity(trace_id: &str, span_id: &str) -> String {
    format!("{}:{trace_id}/{span_id}", trace_id.len())
}

/// (trace, span): what a span is known by within its session.
pub type SpanKey = (String, String);

/// What spans add to their trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub observations: i32,
    /// Observations that say what they cost.
    pub priced: i32,
    /// Generations that say what they used and not what that cost.
    pub unpriced: i32,
    pub cost_nano_usd: i64,
}

pub type Tallies = BTreeMap<String, Tally>;

impl Span {
    /// Of several facts about one span the one that says most; none where there is no fact.
    pub fn derive(facts: &[&Fact]) -> Option<Self> {
        let fact = facts.iter().max_by_key(|fact| fact.span_rank())?;
        let mut fields = Taker(fact.fields.fields().clone());
        // A null says nothing here: there is no earlier word to take back.
        fields.0.retain(|_, value| !value.is_null());
        if partial::is_piece(fact) {
            fields.0.remove(partial::SAID_AT);
        }
        let ended_at = fields.time("endedAt");
        let occurred_at = fields.time(OCCURRED_AT);
        let started_at = fields
            .time("startedAt")
            .or(occurred_at)
            .or(ended_at)
            .unwrap_or(fact.at);
        let attributes = match fields.0.remove("attributes") {
            Some(Value::Object(attributes)) => attributes,
            _ => Map::new(),
        };
        let said = attributes::read(attributes, started_at);
        let cost_nano_usd = said.cost_nano_usd();
        let status = Status::read(fields.0.remove("status"));
        let mut span = Self {
            trace_id: fields.text("traceId").unwrap_or_default(),
            span_id: fields.text("spanId").unwrap_or_default(),
            parent: fields.text("parentSpanId"),
            name: fields.text("name"),
            r#type: String::new(),
            level: said.level.unwrap_or(status.level).to_owned(),
            environment: said.environment,
            started_at,
            ended_at: ended_at.map(|end| end.max(started_at)),
            completion_start: said.completion_start,
            model: said.model,
            usage: said.usage,
            costs: said.costs,
            cost_nano_usd,
            cost_estimated: false,
            parameters: said.parameters,
            status_message: said.status_message.or(status.message),
            input: said.input,
            output: said.output,
            metadata: said.metadata,
            trace_name: said.trace_name,
        };
        span.r#type = span.sort(said.r#type, fields.text("kind")).to_owned();
        // What stands beside the attributes and nobody knows, and a status that makes no sense.
        for (name, value) in fields.0.into_iter().chain(status.odd) {
            span.metadata.entry(name).or_insert(value);
        }
        Some(span)
    }

    /// Gives a generation that only says what it used the cost of that, where it has a price.
    pub fn estimate(&mut self, prices: &Prices) {
        let Some(model) = self.model.as_deref() else {
            return;
        };
        if self.r#type != GENERATION || self.cost_nano_usd.is_some() || !self.costs.is_empty() {
            return;
        }
        if let Some(nanos) = price::of_observation(&self.usage, model, prices) {
            self.cost_nano_usd = Some(nanos);
            self.cost_estimated = true;
            let usd = nanos as f64 / 1e9;
            self.costs.insert("total".to_owned(), Value::from(usd));
        }
    }

    /// Whether its trace cannot end earlier with this in place of what was known of the same span.
    pub fn reaches(&self, before: &Self) -> bool {
        self.trace_id == before.trace_id
            && self.started_at >= before.started_at
            && self.ended_at >= before.ended_at
    }

    pub fn key(&self) -> SpanKey {
        (self.trace_id.clone(), self.span_id.clone())
    }

    /// What sort of observation it is: as stated, else by its kind; who names a model generates.
    fn sort(&mut self, stated: Option<&'static str>, kind: Option<String>) -> &'static str {
        if let Some(stated) = stated {
            if let Some(kind) = kind {
                self.metadata
                    .entry("kind")
                    .or_insert_with(|| Value::from(kind));
            }
            return stated;
        }
        if let Some(kind) = kind {
            if let Some(known) = attributes::type_of(&kind) {
                return known;
            }
            self.metadata
                .entry("kind")
                .or_insert_with(|| Value::from(kind));
        }
        if self.model.is_some() && !self.usage.is_empty() {
            GENERATION
        } else {
            attributes::SPAN
        }
    }

    fn tally(&self) -> Tally {
        if self.span_id == TRACE_ITSELF {
            return Tally::default();
        }
        let is_unpriced =
            self.cost_nano_usd.is_none() && self.r#type == GENERATION && !self.usage.is_empty();
        Tally {
            observations: 1,
            priced: i32::from(self.cost_nano_usd.is_some()),
            unpriced: i32::from(is_unpriced),
            cost_nano_usd: self.cost_nano_usd.unwrap_or_default(),
        }
    }

    /// Counts this span in its trace.
    pub fn add_to(&self, tallies: &mut Tallies) {
        self.change(tallies, 1);
    }

    /// Takes this span out of its trace.
    pub fn remove_from(&self, tallies: &mut Tallies) {
        self.change(tallies, -1);
    }

    fn change(&self, tallies: &mut Tallies, sign: i32) {
        let tally = tallies.entry(self.trace_id.clone()).or_default();
        tally.and(self.tally(), sign);
    }
}

impl Tally {
    pub fn and(&mut self, other: Self, sign: i32) {
        self.observations += sign * other.observations;
        self.priced += sign * other.priced;
        self.unpriced += sign * other.unpriced;
        // A session's spans are bounded, and so is what one may cost.
        self.cost_nano_usd = self
            .cost_nano_usd
            .saturating_add(i64::from(sign).saturating_mul(other.cost_nano_usd));
    }
}

/// How a span ended.
struct Status {
    level: &'static str,
    message: Option<String>,
    /// What could not be read, under its name.
    odd: Option<(String, Value)>,
}

impl Status {
    /// A word, OpenTelemetry's number, or an object with a code and a message.
    fn read(stated: Option<Value>) -> Self {
        let mut status = Self {
            level: DEFAULT,
            message: None,
            odd: None,
        };
        let Some(stated) = stated else { return status };
        let code = match &stated {
            Value::Object(members) => {
                let message = members.get("message").or(members.get("description"));
                status.message = message.and_then(Value::as_str).map(str::to_owned);
                members.get("code").or(members.get("status_code"))
            }
            other => Some(other),
        };
        let is_error = match code {
            None | Some(Value::Null) => Some(false),
            Some(Value::Number(number)) => match number.as_i64() {
                Some(0 | 1) => Some(false),
                Some(2) => Some(true),
                _ => None,
            },
            Some(Value::String(word)) => match word.to_ascii_lowercase().as_str() {
                "" | "ok" | "unset" | "success" | "status_code_ok" | "status_code_unset" => {
                    Some(false)
                }
                "error" | "failed" | "status_code_error" => Some(true),
                _ => None,
            },
            Some(_) => None,
        };
        match is_error {
            Some(true) => status.level = ERROR,
            Some(false) => {}
            None => status.odd = Some(("status".to_owned(), stated)),
        }
        status.message = status.message.filter(|text| !text.is_empty());
        status
    }
}
