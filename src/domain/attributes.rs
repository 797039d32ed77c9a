//! Which attribute of a span says what: the names that Langfuse, OpenTelemetry's GenAI conventions and
//! OpenInference give to the same things, in one table.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::domain::json;
use crate::domain::tokens;

/// What an attribute fills.
#[derive(Clone, Copy)]
enum To {
    Type,
    Level,
    StatusMessage,
    Model,
    Environment,
    TraceName,
    Input,
    Output,
    /// A time.
    CompletionStart,
    /// Seconds from the span's start to the first output.
    FirstOutputSeconds,
    /// An object of them, or one of them by its name.
    Parameters,
    Usage(&'static str),
    UsageDetails,
    Cost(&'static str),
    CostDetails,
}

/// Of several attributes that fill the same, the first in this table does, of counts the first of theirs; the others
/// stay metadata.
const TABLE: &[(&str, To)] = &[
    ("langfuse.observation.type", To::Type),
    ("openinference.span.kind", To::Type),
    ("langsmith.span.kind", To::Type),
    ("genkit:metadata:subtype", To::Type),
    ("gen_ai.operation.name", To::Type),
    ("langfuse.observation.level", To::Level),
    ("langfuse.observation.status_message", To::StatusMessage),
    ("langfuse.observation.model.name", To::Model),
    ("gen_ai.response.model", To::Model),
    ("gen_ai.request.model", To::Model),
    ("llm.model_name", To::Model),
    ("embedding.model_name", To::Model),
    ("langfuse.environment", To::Environment),
    ("deployment.environment.name", To::Environment),
    ("langfuse.trace.name", To::TraceName),
    ("langfuse.observation.input", To::Input),
    ("gen_ai.input.messages", To::Input),
    ("gen_ai.tool.call.arguments", To::Input),
    ("input.value", To::Input),
    ("gen_ai.prompt", To::Input),
    ("genkit:input", To::Input),
    ("langfuse.observation.output", To::Output),
    ("gen_ai.output.messages", To::Output),
    ("gen_ai.tool.call.result", To::Output),
    ("output.value", To::Output),
    ("gen_ai.completion", To::Output),
    ("genkit:output", To::Output),
    (
        "langfuse.observation.completion_start_time",
        To::CompletionStart,
    ),
    ("mastra.completion_start_time", To::CompletionStart),
    (
        "gen_ai.response.time_to_first_chunk",
        To::FirstOutputSeconds,
    ),
    (
        "gen_ai.client.operation.time_to_first_chunk",
        To::FirstOutputSeconds,
    ),
    ("langfuse.observation.model.parameters", To::Parameters),
    ("llm.invocation_parameters", To::Parameters),
    ("langfuse.observation.usage_details", To::UsageDetails),
    ("langfuse.observation.cost_details", To::CostDetails),
    ("gen_ai.usage.cost", To::Cost("total")),
    ("llm.cost.total", To::Cost("total")),
    ("llm.cost.prompt", To::Cost("input")),
    ("llm.cost.completion", To::Cost("output")),
];

/// Attributes named so are parameters of the model, by the rest of their name.
const PARAMETER_PREFIX: &str = "gen_ai.request.";
/// Attributes named so are metadata by the rest of their name.
const METADATA_PREFIX: &str = "langfuse.observation.metadata.";
const METADATA: &str = "langfuse.observation.metadata";

/// The sorts of observation, and the other words that sources have for them.
const TYPES: &[(&str, &[&str])] = &[
    ("span", &["stt", "tts", "transcribe", "speech"]),
    (
        "generation",
        &[
            "llm",
            "model",
            "chat",
            "text_completion",
            "generate_content",
        ],
    ),
    ("event", &[]),
    ("agent", &["invoke_agent", "create_agent"]),
    ("tool", &["execute_tool", "function"]),
    ("chain", &["workflow"]),
    ("retriever", &["reranker"]),
    ("evaluator", &[]),
    ("embedding", &["embeddings"]),
    ("guardrail", &[]),
];

pub const SPAN: &str = "span";
pub const GENERATION: &str = "generation";
pub const TOOL: &str = "tool";
pub const DEFAULT: &str = "DEFAULT";
pub const ERROR: &str = "ERROR";
const LEVELS: [&str; 4] = ["DEBUG", DEFAULT, "WARNING", ERROR];

const COUNT_MAX: f64 = 1e12;
/// What one observation may cost; so much that a trace's sum cannot overflow.
const COST_MAX_USD: f64 = 100_000.0;

/// What a span's attributes say.
#[derive(Debug, Default)]
pub struct Said {
    pub r#type: Option<&'static str>,
    pub level: Option<&'static str>,
    pub status_message: Option<String>,
    pub model: Option<String>,
    pub environment: Option<String>,
    pub trace_name: Option<String>,
    pub input: Option<Value>,
    pub output: Option<Value>,
    pub completion_start: Option<DateTime<Utc>>,
    pub parameters: Map<String, Value>,
    pub usage: Map<String, Value>,
    pub costs: Map<String, Value>,
    /// All that fills nothing.
    pub metadata: Map<String, Value>,
}

/// The attributes that fill something.
pub fn names() -> impl Iterator<Item = &'static str> {
    fillers().map(|(name, _)| name)
}

/// The attributes of the table, and then those that tell how many tokens were used.
fn fillers() -> impl Iterator<Item = (&'static str, To)> {
    let counts = tokens::COUNTS.iter().flat_map(|count| {
        let place = count.observed.first().copied();
        let attributes = count.attributes.iter();
        attributes.filter_map(move |name| Some((*name, To::Usage(place?))))
    });
    TABLE.iter().copied().chain(counts)
}

/// What an attribute of a name fills, and its place among all: the first fills.
static FILLERS: LazyLock<HashMap<&'static str, (usize, To)>> = LazyLock::new(|| {
    let mut places = HashMap::new();
    for (place, (name, to)) in fillers().enumerate() {
        places.entry(name).or_insert((place, to));
    }
    places
});

/// Whether an attribute may say something besides what was said in the conversation: the others need not be read by
/// who does not tell that.
pub fn is_outline(name: &str, value: &Value) -> bool {
    match FILLERS.get(name) {
        Some((_, To::StatusMessage | To::Input | To::Output)) => false,
        Some(_) => true,
        None => name.starts_with(PARAMETER_PREFIX) && is_shown(value),
    }
}

/// A parameter may be a prompt; a number or a switch is none.
pub fn is_shown(parameter: &Value) -> bool {
    matches!(parameter, Value::Number(_) | Value::Bool(_))
}

/// Reads attributes. What does not make sense where it belongs stays metadata as it came.
pub fn read(mut attributes: Map<String, Value>, started_at: DateTime<Utc>) -> Said {
    let mut said = Said::default();
    attributes.retain(|_, value| !value.is_null());
    let named = attributes.keys();
    let mut known: Vec<_> = named
        .filter_map(|name| FILLERS.get_key_value(name.as_str()))
        .collect();
    known.sort_by_key(|(_, (place, _))| *place);
    for (name, (_, to)) in known {
        if let Some(value) = attributes.get(*name)
            && said.fill(*to, value, started_at)
        {
            attributes.remove(*name);
        }
    }
    if let Some(Value::Object(members)) = attributes.get(METADATA).map(unpacked) {
        attributes.remove(METADATA);
        said.metadata = members;
    }
    for (name, value) in attributes {
        let parameter = name.strip_prefix(PARAMETER_PREFIX);
        let member = name.strip_prefix(METADATA_PREFIX);
        let (into, short, value) = match (parameter, member) {
            (Some(short), _) => (&mut said.parameters, short, value),
            (_, Some(short)) => (&mut said.metadata, short, unpacked(&value)),
            _ => (&mut said.metadata, name.as_str(), value),
        };
        if short.is_empty() || into.contains_key(short) {
            said.metadata.insert(name, value);
        } else {
            into.insert(short.to_owned(), value);
        }
    }
    said
}

impl Said {
    /// Whether the value was taken.
    fn fill(&mut self, to: To, value: &Value, started_at: DateTime<Utc>) -> bool {
        match to {
            To::Type => set(&mut self.r#type, value.as_str().and_then(type_of)),
            To::Level => set(&mut self.level, value.as_str().and_then(level_of)),
            To::StatusMessage => set(&mut self.status_message, text(value)),
            To::Model => set(&mut self.model, text(value)),
            To::Environment => set(&mut self.environment, text(value)),
            To::TraceName => set(&mut self.trace_name, text(value)),
            To::Input => set(&mut self.input, Some(unpacked(value))),
            To::Output => set(&mut self.output, Some(unpacked(value))),
            To::CompletionStart => set(&mut self.completion_start, time(value)),
            To::FirstOutputSeconds => {
                let after = number(value, f64::from(i32::MAX) / 1e3);
                let after = after.map(|seconds| TimeDelta::microseconds((seconds * 1e6) as i64));
                let time = after.and_then(|after| started_at.checked_add_signed(after));
                set(&mut self.completion_start, time)
            }
            To::Parameters => {
                fill_members(&mut self.parameters, value, |value| Some(value.clone()))
            }
            To::Usage(name) => fill_member(&mut self.usage, name, count(value)),
            To::UsageDetails => fill_members(&mut self.usage, value, count),
            To::Cost(name) => fill_member(&mut self.costs, name, cost(value)),
            To::CostDetails => fill_members(&mut self.costs, value, cost),
        }
    }

    /// What the observation cost in billionths of a US dollar: the stated total, else the sum of the parts.
    pub fn cost_nano_usd(&self) -> Option<i64> {
        let usd = match self.costs.get("total") {
            Some(total) => total.as_f64()?,
            None if self.costs.is_empty() => return None,
            None => self.costs.values().filter_map(Value::as_f64).sum(),
        };
        (usd <= COST_MAX_USD).then(|| (usd * 1e9).round() as i64)
    }
}

/// The sort of observation that a source's word means.
pub fn type_of(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    TYPES
        .iter()
        .find(|(name, others)| *name == word || others.contains(&word.as_str()))
        .map(|(name, _)| *name)
}

fn level_of(word: &str) -> Option<&'static str> {
    LEVELS
        .into_iter()
        .find(|level| level.eq_ignore_ascii_case(word))
}

/// Fills a place that is still empty.
fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let fills = place.is_none() && value.is_some();
    if fills {
        *place = value;
    }
    fills
}

fn fill_member(into: &mut Map<String, Value>, name: &str, value: Option<Value>) -> bool {
    let Some(value) = value.filter(|_| !into.contains_key(name)) else {
        return false;
    };
    into.insert(name.to_owned(), value);
    true
}

/// Whether every member of an object found its place.
fn fill_members(
    into: &mut Map<String, Value>,
    value: &Value,
    read: impl Fn(&Value) -> Option<Value>,
) -> bool {
    let Value::Object(members) = unpacked(value) else {
        return false;
    };
    let mut all = true;
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        all &= fill_member(into, name, read(value));
    }
    all
}

/// Deeper JSON in a text stays a text: what it is put into must still be readable.
const DEPTH_MAX: usize = 64;

/// JSON that a source wrote into a text.
fn unpacked(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with(['{', '[', '"']) => json::unpacked(text)
            .filter(|inner| is_within(inner, DEPTH_MAX))
            .unwrap_or_else(|| value.clone()),
        _ => value.clone(),
    }
}

/// Whether a value is no deeper than that.
fn is_within(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_within(item, depth - 1)),
        Value::Object(members) => {
            depth > 0 && members.values().all(|value| is_within(value, depth - 1))
        }
        _ => true,
    }
}

fn text(value: &Value) -> Option<String> {
    match unpacked(value) {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(&text(value)?)
        .ok()
        .map(|time| time.to_utc())
        .filter(|time| (0..=253_402_300_799).contains(&time.timestamp()))
}

/// A number between 0 and a bound, or a text that is one.
fn number(value: &Value, max: f64) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok()?,
        _ => value.as_f64()?,
    };
    (0.0..=max).contains(&number).then_some(number)
}

fn count(value: &Value) -> Option<Value> {
    number(value, COUNT_MAX).map(|count| Value::from(count.round() as i64))
}

fn cost(value: &Value) -> Option<Value> {
    number(value, COST_MAX_USD).map(Value::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(attributes: Value) -> Said {
        let started_at = DateTime::UNIX_EPOCH + TimeDelta::seconds(1_700_000_000);
        read(attributes.as_object().cloned().unwrap(), started_at)
    }

    #[test]
    fn three_vocabularies_say_the_same() {
        let langfuse = said(json!({
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": "gpt-4o",
            "langfuse.observation.usage_details": "{\"input\": 90, \"output\": 10}",
            "langfuse.observation.input": "[{\"role\": \"user\"}]",
            "langfuse.observation.model.parameters": "{\"temperature\": 0.5}",
        }));
        let genai = said(json!({
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 90, "gen_ai.usage.output_tokens": "10",
            "gen_ai.input.messages": [{"role": "user"}],
            "gen_ai.request.temperature": 0.5,
        }));
        let openinference = said(json!({
            "openinference.span.kind": "LLM",
            "llm.model_name": "gpt-4o",
            "llm.token_count.prompt": 90, "llm.token_count.completion": 10,
            "input.value": "[{\"role\": \"user\"}]",
            "llm.invocation_parameters": "{\"temperature\": 0.5}",
        }));
        for said in [langfuse, genai, openinference] {
            assert_eq!(said.r#type, Some(GENERATION));
            assert_eq!(said.model.as_deref(), Some("gpt-4o"));
            assert_eq!(Value::from(said.usage), json!({"input": 90, "output": 10}));
            assert_eq!(said.input, Some(json!([{"role": "user"}])));
            assert_eq!(Value::from(said.parameters), json!({"temperature": 0.5}));
            assert!(said.metadata.is_empty(), "{:?}", said.metadata);
            assert_eq!(said.costs, Map::new());
        }
    }

    #[test]
    fn what_fills_nothing_stays() {
        let said = said(json!({
            "gen_ai.request.model": "asked", "gen_ai.response.model": "answered",
            "langfuse.observation.completion_start_time": "\"2023-11-14T22:13:21Z\"",
            "langfuse.observation.cost_details": {"input": 0.001, "output": "much"},
            "langfuse.observation.metadata.carrier": "\"twilio\"",
            "gen_ai.usage.input_tokens": -1,
            "carrier": "other", "own.thing": [1],
        }));
        assert_eq!(said.model.as_deref(), Some("answered"));
        assert_eq!(said.completion_start.unwrap().timestamp(), 1_700_000_001);
        assert_eq!(said.cost_nano_usd(), Some(1_000_000));
        assert_eq!(Value::from(said.parameters), json!({"model": "asked"}));
        assert_eq!(
            Value::from(said.metadata),
            json!({
                "carrier": "other", "langfuse.observation.metadata.carrier": "twilio", "own.thing": [1],
                "gen_ai.usage.input_tokens": -1,
                "langfuse.observation.cost_details": {"input": 0.001, "output": "much"},
            })
        );
    }
}
