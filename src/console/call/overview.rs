//! The tab Overview: what is known of the call as a whole, and what people wrote about it.

use askama::Template;

use super::Head;
use super::issues::Short;
use crate::auth::Viewer;
use crate::console::filter::status_label;
use crate::console::format;
use crate::console::page::Frame;
use crate::domain::event::Source;
use crate::domain::history::Step;
use crate::domain::items::{Evaluation, ServiceError};
use crate::domain::record::Record;

#[derive(Template)]
#[template(path = "console/overview.html")]
pub struct Page {
    frame: Frame,
    head: Head,
    ids: Vec<(&'static str, String)>,
    facts: Vec<(&'static str, String)>,
    summary: Option<String>,
    tags: Vec<String>,
    extracted: Option<String>,
    metadata: Option<String>,
    steps: Vec<StepLine>,
    evaluations: Vec<Note>,
    errors: Vec<ErrorLine>,
    short: Short,
    may_review: bool,
    review: Review,
}

struct StepLine {
    status: &'static str,
    label: &'static str,
    at: String,
    source: &'static str,
}

struct ErrorLine {
    level: String,
    service: String,
    text: String,
    at: String,
}

/// What somebody wrote about the call.
pub struct Note {
    pub reviewer: String,
    pub at: String,
    pub score: Option<f64>,
    pub verdict: Option<String>,
    pub labels: Vec<String>,
    pub notes: Option<String>,
    pub turn: Option<i32>,
}

/// The forms for writing about a call.
pub struct Review {
    pub id: String,
    /// Where to go on afterwards.
    pub next: String,
}

impl Page {
    pub fn of(
        frame: Frame,
        head: Head,
        viewer: &Viewer,
        record: Record,
        history: Vec<Step>,
        short: Short,
    ) -> Self {
        let extra = |name: &str| record.session.extra.get(name);
        let review = Review {
            id: record.id.to_string(),
            next: format!("/console/conversations/{}", record.id),
        };
        Self {
            frame,
            head,
            ids: ids(&record),
            facts: facts(&record),
            summary: record.session.summary.clone(),
            tags: record.session.tags.clone(),
            extracted: extra("extracted").and_then(format::json),
            metadata: extra("metadata").and_then(format::json),
            steps: history.into_iter().map(StepLine::from).collect(),
            errors: errors(&record),
            short,
            evaluations: record.evaluations.into_iter().map(Note::from).collect(),
            may_review: viewer.may_review,
            review,
        }
    }
}

fn ids(record: &Record) -> Vec<(&'static str, String)> {
    let session = &record.session;
    let own = record.id.to_string();
    let external = Some(record.external_id.clone()).filter(|id| *id != own);
    [
        ("Session", Some(own)),
        ("Its source's id", external),
        ("Call SID", session.call_sid.clone()),
        ("Stream", session.stream_id.clone()),
    ]
    .into_iter()
    .filter_map(|(name, id)| Some((name, id?)))
    .collect()
}

fn facts(record: &Record) -> Vec<(&'static str, String)> {
    let session = &record.session;
    let number = |count: i32| Some(format::count(i64::from(count)));
    let seconds = |ms: i64| format!("{} s ({})", ms as f64 / 1000.0, format::clock(ms));
    let workflow = session.workflow.clone();
    let models = session.extra.get("models");
    let model = |stage: &str| models?.get(stage)?.as_str().map(str::to_owned);
    let with = |provider: &Option<String>, stage: &str| match (provider, model(stage)) {
        (Some(provider), Some(model)) => Some(format!("{provider}, {model}")),
        (provider, model) => provider.clone().or(model),
    };
    let providers = &session.providers;
    let cost = session.cost_micro_usd;
    let unknown = || "not known".to_owned();
    [
        (
            "Cost",
            Some(cost.map_or_else(unknown, |micro| format::dollars(micro as f64 / 1e6))),
        ),
        (
            "Duration",
            Some(session.duration_ms().map_or_else(unknown, seconds)),
        ),
        (
            "Mean answer after",
            record.avg_turn_latency_ms().map(format::ms),
        ),
        ("Turns", number(record.counters.turns)),
        ("Tool calls", number(record.counters.tool_calls)),
        ("Interruptions", number(record.counters.interruptions)),
        ("Errors", number(record.counters.errors)),
        (
            "Tokens",
            Some(record.total_tokens)
                .filter(|n| *n > 0)
                .map(format::count),
        ),
        ("Agent", session.agent_key.clone()),
        ("Agent version", session.agent_version.clone()),
        ("Workflow", workflow.name.or(workflow.slug).or(workflow.id)),
        ("Campaign", session.campaign.clone()),
        ("From", session.from_number.clone()),
        ("To", session.to_number.clone()),
        ("Language", session.language.clone()),
        ("Voice", session.voice.clone()),
        ("Speech to text", with(&providers.stt, "stt")),
        ("Language model", with(&providers.llm, "llm")),
        ("Text to speech", with(&providers.tts, "tts")),
        ("Started", Some(format::precisely(session.started_at))),
        ("Answered", session.answered_at.map(format::precisely)),
        ("Ended", session.ended_at.map(format::precisely)),
        ("Answered by", session.answered_by.clone()),
        ("Ended by", session.ended_by.clone()),
        ("End reason", session.end_reason.clone()),
    ]
    .into_iter()
    .filter_map(|(name, text)| Some((name, text?)))
    .collect()
}

fn errors(record: &Record) -> Vec<ErrorLine> {
    let line = |error: &ServiceError| ErrorLine {
        level: error.level.clone(),
        service: error.service.clone().unwrap_or_default(),
        text: error
            .message
            .clone()
            .or(error.code.clone())
            .unwrap_or_else(|| "no message".to_owned()),
        at: format::precisely(error.at),
    };
    record.errors.iter().map(line).collect()
}

impl From<Step> for StepLine {
    fn from(step: Step) -> Self {
        Self {
            status: step.status.as_str(),
            label: status_label(step.status),
            at: format::precisely(step.at),
            source: match step.source {
                Some(Source::Event) => "told by an event",
                Some(Source::Call) => "told by a report of the call",
                Some(Source::Timeout) => "nothing was heard any more",
                Some(Source::Trace) => "told by a tracer's spans",
                Some(Source::LivekitReport | Source::LivekitWebhook) => "told by LiveKit",
                Some(Source::Langfuse) => "told by Langfuse",
                Some(Source::Twilio) => "told by Twilio",
                Some(Source::Vapi) => "told by Vapi",
                Some(Source::Retell) => "told by Retell",
                Some(Source::Elevenlabs) => "told by ElevenLabs",
                None => "follows from what was told",
            },
        }
    }
}

impl From<Evaluation> for Note {
    fn from(evaluation: Evaluation) -> Self {
        Self {
            reviewer: evaluation.reviewer.unwrap_or_else(|| "somebody".to_owned()),
            at: format::when(evaluation.created_at),
            score: evaluation.score,
            verdict: evaluation.verdict,
            labels: evaluation.labels,
            notes: evaluation.notes,
            turn: evaluation.turn,
        }
    }
}
