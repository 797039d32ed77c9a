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

const ATTRIBUTES: &str = "attributes";
/// What stands beside the attributes and is told of a span whatever was said in it.
const OUTLINE: [&str; 9] = [
    "traceId",
    "spanId",
    "parentSpanId",
    "name",
    "kind",
    "status",
    "startedAt",
    "endedAt",
    OCCURRED_AT,
];

/// The fact that says most about a span.
fn telling<'a>(facts: &[&'a Fact]) -> Option<&'a Fact> {
    match facts {
        [only] => Some(only),
        facts => facts.iter().max_by_key(|fact| fact.span_rank()).copied(),
    }
}

impl Span {
    /// Of several facts about one span the one that says most; none where there is no fact.
    pub fn derive(facts: &[&Fact]) -> Option<Self> {
        let fact = telling(facts)?;
        Some(Self::read(fact, fact.fields.fields().clone()))
    }

    /// The same without what was said in it, which is long and not looked at: all that lists and sums are made of.
    pub fn outline(facts: &[&Fact]) -> Option<Self> {
        let fact = telling(facts)?;
        let members = OUTLINE.iter().filter_map(|name| {
            let (name, value) = fact.fields.get_key_value(*name)?;
            Some((name.clone(), value.clone()))
        });
        let mut fields: Map<String, Value> = members.collect();
        if let Some(Value::Object(attributes)) = fact.fields.get(ATTRIBUTES) {
            let read = attributes.iter();
            let read = read.filter(|(name, value)| attributes::is_outline(name, value));
            let read = read.map(|(name, value)| (name.clone(), value.clone()));
            fields.insert(ATTRIBUTES.to_owned(), Value::Object(read.collect()));
        }
        let mut outline = Self::read(fact, fields);
        outline.status_message = None;
        outline.metadata = Map::new();
        Some(outline)
    }

    fn read(fact: &Fact, fields: Map<String, Value>) -> Self {
        let mut fields = Taker(fields);
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
        let attributes = match fields.0.remove(ATTRIBUTES) {
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
        span
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Kind, Source};

    fn fact(fields: Value) -> Fact {
        let fields = fields.as_object().cloned().unwrap();
        Fact {
            source: Source::Trace,
            kind: Kind::Span,
            id: identity_of(&fields),
            at: DateTime::UNIX_EPOCH,
            hash: 0,
            fields: fields.into(),
        }
    }

    #[test]
    fn an_outline_is_the_span_without_what_was_said() {
        let generation = serde_json::json!({
            "traceId": "t", "spanId": "s", "parentSpanId": "p", "name": "llm", "kind": "client",
            "startedAt": "2026-01-11T10:00:00Z", "endedAt": "2026-01-11T10:00:02Z",
            "status": {"code": 2, "message": "no answer"}, "events": [{"name": "exception"}], "scope": {"name": "x"},
            "attributes": {
                "openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "llm.token_count.prompt": "90",
                "llm.invocation_parameters": "{\"temperature\": 0.5}", "gen_ai.request.top_p": 0.9,
                "gen_ai.request.prompt": "You are a waiter.", "input.value": "[{\"role\": \"user\"}]",
                "output.value": "Yes.", "llm.cost.total": 0.001, "langfuse.observation.status_message": "said",
                "langfuse.trace.name": "call", "langfuse.environment": "test", "own": [1],
                "langfuse.observation.completion_start_time": "2026-01-11T10:00:01Z",
            },
        });
        for fields in [
            generation,
            serde_json::json!({"traceId": "t", "spanId": "s", "kind": "tool", "status": "error"}),
            serde_json::json!({"traceId": "t", "spanId": "s", "name": null, "occurredAt": "2026-01-11T10:00:00Z"}),
        ] {
            let fact = fact(fields);
            let whole = Span::derive(&[&fact]).unwrap();
            let mut outline = Span::outline(&[&fact]).unwrap();
            let shown = |parameters: &Map<String, Value>| -> Map<String, Value> {
                let shown = parameters
                    .iter()
                    .filter(|(_, value)| attributes::is_shown(value));
                shown
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect()
            };
            outline.parameters = shown(&outline.parameters);
            let said_nothing = Span {
                parameters: shown(&whole.parameters),
                status_message: None,
                input: None,
                output: None,
                metadata: Map::new(),
                ..whole
            };
            assert_eq!(outline, said_nothing);
        }
    }
}
