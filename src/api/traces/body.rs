//! A trace as this dialect writes it.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::format;
use crate::domain::span::Span;
use crate::domain::trace;
use crate::domain::trace::Detail;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Headline {
    trace_id: String,
    name: Option<String>,
    session_id: String,
    timestamp: String,
    latency_seconds: Option<f64>,
    total_cost_usd: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cost_incomplete: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cost_estimated: bool,
    observation_count: i64,
    html_path: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    #[serde(flatten)]
    headline: Headline,
    observations: Vec<Observation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scores: Vec<Score>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    content_withheld: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_deleted_at: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Score {
    id: String,
    trace_id: Value,
    observation_id: Value,
    name: Value,
    value: Value,
    data_type: Value,
    comment: Value,
    timestamp: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Observation {
    id: String,
    trace_id: String,
    parent_observation_id: Option<String>,
    r#type: String,
    name: Option<String>,
    level: String,
    start_time: String,
    end_time: Option<String>,
    completion_start_time: Option<String>,
    status_message: Option<String>,
    model: Option<String>,
    model_parameters: Map<String, Value>,
    input: Option<Value>,
    output: Option<Value>,
    metadata: Option<Map<String, Value>>,
    usage_details: Map<String, Value>,
    cost_details: Map<String, Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cost_estimated: bool,
    environment: Option<String>,
}

/// US dollars out of billionths of them.
pub fn usd(nanos: i64) -> f64 {
    format::usd((nanos as f64 / 1e3).round() as i64)
}

/// Costs as a source or a price list states them, as exact as all others.
fn rounded(mut costs: Map<String, Value>) -> Map<String, Value> {
    for cost in costs.values_mut() {
        if let Some(stated) = cost.as_f64().filter(|_| cost.is_f64()) {
            *cost = Value::from(format::millionth(stated));
        }
    }
    costs
}

impl From<trace::Trace> for Headline {
    fn from(trace: trace::Trace) -> Self {
        let latency_ms = trace
            .ended_at
            .map(|end| (end - trace.started_at).num_milliseconds());
        Self {
            html_path: trace.page_path(),
            trace_id: trace.id,
            name: trace.name,
            session_id: trace.session.to_string(),
            timestamp: format::time(trace.started_at),
            latency_seconds: latency_ms.map(|ms| ms as f64 / 1e3),
            total_cost_usd: trace.cost_nano_usd.map(usd),
            cost_incomplete: trace.cost_incomplete,
            cost_estimated: trace.cost_estimated,
            observation_count: trace.observations,
        }
    }
}

impl From<Detail> for Trace {
    fn from(detail: Detail) -> Self {
        let withheld = detail.content_withheld;
        let observations = detail.observations.into_iter();
        Self {
            headline: Headline::from(detail.trace),
            observations: observations
                .map(|(_, span)| Observation::of(span, withheld))
                .collect(),
            scores: detail.scores.into_iter().map(Score::from).collect(),
            truncated: detail.truncated,
            content_withheld: withheld,
            content_deleted_at: detail.content_deleted_at.map(format::time),
        }
    }
}

impl From<trace::Score> for Score {
    fn from(mut score: trace::Score) -> Self {
        let mut take = |name: &str| score.fields.remove(name).unwrap_or_default();
        Self {
            trace_id: take("traceId"),
            observation_id: take("observationId"),
            name: take("name"),
            value: take("value"),
            data_type: take("dataType"),
            comment: take("comment"),
            id: score.id,
            timestamp: format::time(score.at),
        }
    }
}

impl Observation {
    fn of(span: Span, withheld: bool) -> Self {
        Self {
            id: span.span_id,
            trace_id: span.trace_id,
            parent_observation_id: span.parent,
            r#type: span.r#type,
            name: span.name,
            level: span.level,
            start_time: format::time(span.started_at),
            end_time: span.ended_at.map(format::time),
            completion_start_time: span.completion_start.map(format::time),
            status_message: span.status_message,
            model: span.model,
            model_parameters: span.parameters,
            input: span.input,
            output: span.output,
            // What remains of it says only that the trace was made here, and of what.
            metadata: Some(span.metadata).filter(|left| !withheld || !left.is_empty()),
            usage_details: span.usage,
            cost_details: rounded(span.costs),
            cost_estimated: span.cost_estimated,
            environment: span.environment,
        }
    }
}
