//! `GET /traces/view/{traceId}`: a trace as a page to read. It works without a script.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value};

use super::format::{delta_ms as ms, dollars, precisely, shortened, span_of_time, when, written};
use super::page;
use super::page::Frame;
use crate::app::App;
use crate::auth::Viewer;
use crate::domain::attributes::{DEFAULT, ERROR};
use crate::domain::span::Span;
use crate::domain::trace::Detail;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::traces;

/// Rows of a page: more than anybody reads, and no more than a browser shows with ease.
const ROWS_MAX: i64 = 1_000;
/// Characters shown of one value.
const VALUE_MAX_CHARS: usize = 4_000;
/// Deeper rows are not moved further to the right.
const DEPTH_MAX: usize = 8;

pub async fn handle(
    State(_): State<App>,
    viewer: Viewer,
    Path(trace): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let session = params.text("session");
    params.finish()?;
    let (scope, content) = (&viewer.scope, viewer.content.as_ref());
    let detail = match session {
        Some(session) => traces::by_id(scope, content, &session, &trace, ROWS_MAX).await?,
        None => traces::anywhere(scope, content, &trace, ROWS_MAX).await?,
    };
    Ok(page::ok(&Page::of(&viewer, detail))?)
}

#[derive(Template)]
#[template(path = "console/trace.html")]
struct Page {
    frame: Frame,
    name: String,
    id: String,
    session: String,
    started_at: String,
    duration: Option<String>,
    cost: Option<String>,
    cost_incomplete: bool,
    observations: i64,
    errors: usize,
    ticks: Vec<Tick>,
    rows: Vec<Row>,
    truncated: bool,
    withheld: bool,
    content_deleted_at: Option<String>,
}

/// A mark on the time axis.
struct Tick {
    at: String,
    anchor: &'static str,
    label: String,
}

struct Row {
    depth: usize,
    name: String,
    r#type: String,
    /// Where it is no ordinary one.
    level: Option<String>,
    is_error: bool,
    left: String,
    width: String,
    /// Where the first output was there.
    first: Option<String>,
    start: String,
    duration: Option<String>,
    model: Option<String>,
    tokens: Option<String>,
    cost: Option<String>,
    message: Option<String>,
    details: Vec<(&'static str, String)>,
}

impl Page {
    fn of(viewer: &Viewer, detail: Detail) -> Self {
        let trace = detail.trace;
        let length_ms = trace.ended_at.map(|end| ms(end - trace.started_at));
        let axis = Axis {
            length_ms: length_ms.unwrap_or_default(),
        };
        let rows: Vec<Row> = detail
            .observations
            .into_iter()
            .map(|(depth, span)| Row::of(depth, span, trace.started_at, &axis))
            .collect();
        let name = trace.name.unwrap_or_else(|| trace.id.clone());
        Self {
            frame: Frame::of(viewer, "conversations", &name),
            name,
            id: trace.id,
            session: trace.session.to_string(),
            started_at: precisely(trace.started_at),
            duration: length_ms.map(span_of_time),
            cost: trace.cost_nano_usd.map(|nanos| dollars(nanos as f64 / 1e9)),
            cost_incomplete: trace.cost_incomplete,
            observations: trace.observations,
            errors: rows.iter().filter(|row| row.is_error).count(),
            ticks: axis.ticks(),
            rows,
            truncated: detail.truncated,
            withheld: detail.content_withheld,
            content_deleted_at: detail.content_deleted_at.map(when),
        }
    }
}

impl Row {
    fn of(depth: usize, span: Span, from: chrono::DateTime<chrono::Utc>, axis: &Axis) -> Self {
        let start_ms = ms(span.started_at - from);
        let lasts_ms = span.ended_at.map(|end| ms(end - span.started_at));
        let first_ms = span.completion_start.map(|first| ms(first - from));
        let tokens = |name: &str| span.usage.get(name).and_then(Value::as_i64);
        let tokens = match (tokens("input"), tokens("output"), tokens("total")) {
            (None, None, None) => None,
            (None, None, Some(total)) => Some(format!("{total} tokens")),
            (input, output, _) => Some(format!(
                "{} → {} tokens",
                input.unwrap_or_default(),
                output.unwrap_or_default()
            )),
        };
        Self {
            depth: depth.min(DEPTH_MAX),
            is_error: span.level == ERROR,
            left: axis.place(start_ms),
            width: axis.width(start_ms, lasts_ms.unwrap_or_default()),
            first: first_ms
                .filter(|ms| (0.0..=axis.length_ms).contains(ms))
                .map(|ms| axis.place(ms)),
            start: span_of_time(start_ms),
            duration: lasts_ms.map(span_of_time),
            tokens,
            cost: span.cost_nano_usd.map(|nanos| dollars(nanos as f64 / 1e9)),
            details: details(&span),
            name: span.name.unwrap_or(span.span_id),
            r#type: span.r#type,
            level: Some(span.level).filter(|level| level != DEFAULT),
            model: span.model,
            message: span
                .status_message
                .map(|text| shortened(&text, VALUE_MAX_CHARS)),
        }
    }
}

fn details(span: &Span) -> Vec<(&'static str, String)> {
    let object = |map: &Map<String, Value>| (!map.is_empty()).then(|| Value::Object(map.clone()));
    let text = |value: &str| Some(Value::from(value));
    [
        ("Input", span.input.clone()),
        ("Output", span.output.clone()),
        ("Model parameters", object(&span.parameters)),
        ("Usage", object(&span.usage)),
        ("Costs in US dollars", object(&span.costs)),
        ("Environment", span.environment.as_deref().and_then(text)),
        ("Attributes", object(&span.metadata)),
        ("Id", text(&span.span_id)),
        ("Parent", span.parent.as_deref().and_then(text)),
    ]
    .into_iter()
    .filter_map(|(label, value)| Some((label, written(&value?, VALUE_MAX_CHARS))))
    .collect()
}

/// From times to places along the page.
struct Axis {
    length_ms: f64,
}

impl Axis {
    fn share(&self, ms: f64) -> f64 {
        if self.length_ms > 0.0 {
            (ms / self.length_ms * 100.0).clamp(0.0, 100.0)
        } else {
            0.0
        }
    }

    fn place(&self, ms: f64) -> String {
        format!("{:.3}%", self.share(ms))
    }

    fn width(&self, start_ms: f64, lasts_ms: f64) -> String {
        let width = self.share(start_ms + lasts_ms) - self.share(start_ms);
        // Whatever happened can be seen.
        format!("{:.3}%", width.max(0.4))
    }

    /// About four round steps.
    fn ticks(&self) -> Vec<Tick> {
        let rough_ms = (self.length_ms / 4.0).max(1e-3);
        // What is told in minutes has steps of whole ones, or halves.
        let unit_ms = if rough_ms < 30_000.0 { 1.0 } else { 60_000.0 };
        let power = 10f64.powf((rough_ms / unit_ms).log10().floor());
        let step_ms = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * power * unit_ms)
            .find(|step| *step >= rough_ms)
            .unwrap_or(rough_ms);
        let count = (self.length_ms / step_ms).floor() as usize;
        (0..=count.min(10))
            .map(|n| {
                let at_ms = n as f64 * step_ms;
                Tick {
                    at: self.place(at_ms),
                    anchor: match self.share(at_ms) {
                        share if share < 5.0 => "start",
                        share if share > 95.0 => "end",
                        _ => "middle",
                    },
                    label: span_of_time(at_ms),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few_whatever_the_length() {
        for length_ms in [0.0, 0.7, 13.0, 1_250.0, 4_000.0, 3.6e6, 1e15] {
            let ticks = Axis { length_ms }.ticks();
            assert!((1..=5).contains(&ticks.len()), "{length_ms}");
        }
        let minutes = Axis {
            length_ms: 500_000.0,
        };
        let labels: Vec<String> = minutes.ticks().into_iter().map(|t| t.label).collect();
        assert_eq!(labels, ["0 ms", "5 min"]);
        let labels: Vec<String> = Axis { length_ms: 1_250.0 }
            .ticks()
            .into_iter()
            .map(|tick| format!("{} {}", tick.label, tick.at))
            .collect();
        assert_eq!(labels, ["0 ms 0.000%", "500 ms 40.000%", "1 s 80.000%"]);
    }
}
