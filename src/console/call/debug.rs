//! The tab Debug logs: where the time of each answer went, what tools were given and gave back, who talked over whom,
//! and what went wrong.

use std::collections::{HashMap, HashSet};

use askama::Template;
use serde_json::Value;

use super::Head;
use super::issues::IssueLine;
use super::stages::{self, Wait};
use crate::auth::Viewer;
use crate::console::format;
use crate::console::page::Frame;
use crate::domain::Error;
use crate::domain::analysis::TurnLatency;
use crate::domain::items::{Interruption, ServiceError, ToolCall};
use crate::domain::page::Limit;
use crate::domain::record::Record;
use crate::domain::trace::Trace;
use crate::domain::turn::{LatencySource, Speaker, Turn};
use crate::services::analysis::RootCause;
use crate::services::traces;

/// Traces named on the page; of more, the newest.
const TRACES: u32 = 50;
/// Characters shown of one value.
const VALUE_MAX_CHARS: usize = 4_000;

#[derive(Template)]
#[template(path = "console/debug.html")]
pub struct Page {
    frame: Frame,
    head: Head,
    /// What the longest bar stands for.
    scale: Option<String>,
    has_waits: bool,
    lines: Vec<Line>,
    /// What was found wrong that is at no turn.
    issues: Vec<IssueLine>,
    /// What belongs to no turn.
    loose: Happened,
    traces: Vec<TraceLink>,
    traces_total: i64,
}

pub struct TraceLink {
    name: String,
    link: String,
    lasts: Option<String>,
}

/// A turn, and what happened around it.
struct Line {
    index: i32,
    who: &'static str,
    at: String,
    text: Option<String>,
    wait: Option<Bar>,
    issues: Vec<IssueLine>,
    happened: Happened,
}

/// The wait for an answer, drawn.
struct Bar {
    total: Option<String>,
    source: &'static str,
    parts: Vec<Part>,
    /// Other lengths that the turn has.
    others: Vec<(&'static str, String)>,
}

struct Part {
    kind: &'static str,
    label: &'static str,
    ms: String,
    /// As long as it ran, where some of it was beside another stage.
    whole: Option<String>,
    left: String,
    width: String,
}

#[derive(Default)]
struct Happened {
    tools: Vec<Tool>,
    events: Vec<String>,
    errors: Vec<(String, Option<String>)>,
}

struct Tool {
    name: String,
    at: Option<String>,
    lasts: Option<String>,
    failed: bool,
    values: Vec<(&'static str, String)>,
}

/// The newest traces, and how many there are.
pub async fn traces(viewer: &Viewer, record: &Record) -> Result<(Vec<TraceLink>, i64), Error> {
    let id = record.id.to_string();
    let (found, total) = traces::page(
        &viewer.scope,
        viewer.content.as_ref(),
        &id,
        0,
        Limit::checked(TRACES),
    )
    .await?;
    let link = |trace: Trace| TraceLink {
        link: trace.page_path(),
        lasts: trace
            .ended_at
            .map(|end| format::span_of_time(format::delta_ms(end - trace.started_at))),
        name: trace.name.unwrap_or(trace.id),
    };
    Ok((found.into_iter().map(link).collect(), total))
}

impl Page {
    pub fn of(
        frame: Frame,
        head: Head,
        (traces, traces_total): (Vec<TraceLink>, i64),
        record: &Record,
        found: &RootCause,
        with_content: bool,
    ) -> Self {
        let mut around: HashMap<Option<i32>, Around> = HashMap::new();
        let known: HashSet<i32> = record.turns.iter().map(|turn| turn.index).collect();
        let place = |turn: Option<i32>| turn.filter(|turn| known.contains(turn));
        for tool in &record.tool_calls {
            around.entry(place(tool.turn)).or_default().tools.push(tool);
        }
        for one in &record.interruptions {
            let one_of = around.entry(place(one.turn)).or_default();
            one_of.interruptions.push(one);
        }
        for error in &record.errors {
            around
                .entry(place(error.turn))
                .or_default()
                .errors
                .push(error);
        }
        let none = Around::default();
        let around_of = |turn: Option<i32>| around.get(&turn).unwrap_or(&none);
        let mut issues: HashMap<Option<i32>, Vec<IssueLine>> = HashMap::new();
        for issue in &found.issues {
            let line = IssueLine::of(issue, found, with_content);
            issues.entry(place(issue.turn)).or_default().push(line);
        }
        let latencies = found.analysis.turns.iter();
        let waits: HashMap<i32, Wait> = latencies
            .map(|latency: &TurnLatency| (latency.turn, Wait::of(latency)))
            .collect();
        let lengths = waits.values().map(Wait::length_ms);
        let scale_ms = lengths.max().unwrap_or_default() as f64;
        let line = |turn: &Turn| Line {
            index: turn.index,
            who: match turn.speaker {
                Speaker::Agent => "Agent",
                Speaker::User => "User",
            },
            at: turn
                .start_ms
                .map_or_else(|| "–".to_owned(), |ms| format::clock(i64::from(ms))),
            text: turn
                .text
                .as_deref()
                .map(|text| format::shortened(text, 200)),
            wait: Bar::of(turn, waits.get(&turn.index), scale_ms),
            issues: issues.remove(&Some(turn.index)).unwrap_or_default(),
            happened: Happened::of(around_of(Some(turn.index))),
        };
        let lines = record.turns.iter().map(line).collect();
        Self {
            frame,
            head,
            has_waits: scale_ms > 0.0,
            scale: (scale_ms > 0.0).then(|| format::ms(scale_ms)),
            lines,
            issues: issues.remove(&None).unwrap_or_default(),
            loose: Happened::of(around_of(None)),
            traces,
            traces_total,
        }
    }
}

/// What a turn's number stands at.
#[derive(Default)]
struct Around<'a> {
    tools: Vec<&'a ToolCall>,
    interruptions: Vec<&'a Interruption>,
    errors: Vec<&'a ServiceError>,
}

impl Bar {
    /// None where nothing was measured.
    fn of(turn: &Turn, wait: Option<&Wait>, scale_ms: f64) -> Option<Self> {
        if turn.speaker != Speaker::Agent {
            return None;
        }
        let mut at_ms = 0;
        let share = |ms: i64| format!("{:.3}%", (ms as f64 / scale_ms * 100.0).clamp(0.0, 100.0));
        let stages = wait.map(|wait| wait.stages.as_slice()).unwrap_or_default();
        let parts = stages.iter().map(|stage| {
            let part = Part {
                kind: stage.kind,
                label: stage.label,
                ms: format::ms(stage.ms as f64),
                whole: stage.whole_ms.map(|ms| format::ms(ms as f64)),
                left: share(at_ms),
                width: share(stage.ms),
            };
            at_ms += stage.ms;
            part
        });
        let parts: Vec<Part> = parts.collect();
        let mut others = match wait {
            Some(_) => Vec::new(),
            None => stages::measured(turn),
        };
        let rest = [
            ("last generation, whole", turn.llm_total_ms),
            ("audio, whole", turn.tts_total_ms),
        ];
        let rest = rest.into_iter();
        others.extend(rest.filter_map(|(name, ms)| Some((name, ms.filter(|ms| *ms > 0.0)?))));
        let others = others.into_iter();
        let bar = Self {
            parts,
            total: wait.and_then(|wait| wait.total_ms.map(|ms| format::ms(ms as f64))),
            source: match turn.latency_source {
                Some(LatencySource::Measured) => "as its source measured it",
                Some(LatencySource::Derived) => "from the times of the turns",
                Some(LatencySource::Summed) => "the sum of its stages",
                None => "",
            },
            others: others.map(|(name, ms)| (name, format::ms(ms))).collect(),
        };
        (!bar.parts.is_empty() || !bar.others.is_empty()).then_some(bar)
    }
}

impl Happened {
    fn of(around: &Around) -> Self {
        let mut errors: Vec<(String, Option<String>)> = Vec::new();
        for error in &around.errors {
            let service = error.service.as_deref().unwrap_or("call");
            let text = error.message.as_deref().or(error.code.as_deref());
            let told = format!(
                "{} {}: {}",
                service,
                error.level,
                text.unwrap_or("no message")
            );
            errors.push((told, error.details.as_ref().and_then(format::json)));
        }
        Self {
            tools: around.tools.iter().map(|tool| Tool::of(tool)).collect(),
            events: around
                .interruptions
                .iter()
                .map(|one| interruption(one))
                .collect(),
            errors,
        }
    }

    fn is_empty(&self) -> bool {
        self.tools.is_empty() && self.events.is_empty() && self.errors.is_empty()
    }
}

impl Tool {
    fn of(tool: &ToolCall) -> Self {
        let lasts = tool
            .interval()
            .map(|(start, end)| f64::from(end) - f64::from(start));
        let failed = tool.failed();
        let withheld = tool.error_withheld.then(|| Value::from("withheld"));
        let values = [
            ("Input", tool.arguments.clone()),
            ("Result", tool.result.clone()),
            ("Error", tool.error.clone().filter(|_| failed).or(withheld)),
        ];
        Self {
            name: tool.name.clone().unwrap_or_else(|| "tool".to_owned()),
            at: tool.start_ms.map(|ms| format::clock(i64::from(ms))),
            lasts: lasts.map(format::ms),
            failed,
            values: values
                .into_iter()
                .filter_map(|(name, value)| Some((name, format::written(&value?, VALUE_MAX_CHARS))))
                .collect(),
        }
    }
}

/// An interruption, and how it was handled, in a sentence.
fn interruption(one: &Interruption) -> String {
    let text = |name: &str| one.extra.get(name).and_then(Value::as_str);
    let at = one
        .at_ms
        .map(|ms| format!(" at {}", format::clock(i64::from(ms))));
    let who = match text("source") {
        Some("programmatic") => "Interrupted by the program",
        Some("dtmf") => "Interrupted by a key",
        _ if one.is_false == Some(true) => "False interruption: nothing was said",
        _ => "The user barged in",
    };
    let number = |name: &str| one.extra.get(name).and_then(Value::as_f64);
    let parts = [
        one.detection_ms
            .map(|ms| format!("noticed after {}", format::ms(ms))),
        one.stop_ms
            .map(|ms| format!("silent after {}", format::ms(ms))),
        one.bleed_through_words.map(|words| match words {
            1 => "1 more word was heard".to_owned(),
            words => format!("{words} more words were heard"),
        }),
        number("resumedAtMs").map(|ms| format!("resumed at {}", format::clock(ms as i64))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let told = if parts.is_empty() {
        String::new()
    } else {
        format!(": {}", parts.join(", "))
    };
    format!("{who}{}{told}", at.unwrap_or_default())
}
