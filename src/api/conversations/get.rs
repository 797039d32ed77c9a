//! `GET /api/v1/conversations/{id}`

use std::collections::HashSet;

use axum::extract::State;
use serde::Serialize;
use serde_json::Value;

use super::item;
use super::item::Item;
use crate::api::cost::Estimate;
use crate::api::format;
use crate::api::voice_sessions::body::{EvaluationBody, FunctionCall, Line};
use crate::app::App;
use crate::auth::Reader;
use crate::domain::event::Source;
use crate::domain::history::Step;
use crate::domain::ids::SessionId;
use crate::domain::items::{Interruption, ServiceError};
use crate::domain::record::Record;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::recordings;
use crate::services::sessions;

pub async fn handle(
    State(_): State<App>,
    reader: Reader,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<Conversation>, Problem> {
    query.params().finish()?;
    let content = reader.content.as_ref();
    let (record, history) = sessions::with_history(&reader.scope, content, &id).await?;
    let recorded = recordings::has_recordings(&reader.scope, &[record.id]).await?;
    Ok(Json(Conversation::of(record, history, &recorded)))
}

#[derive(Serialize)]
pub struct Conversation {
    #[serde(flatten)]
    item: Item,
    #[serde(flatten)]
    estimate: Estimate,
    recording: Option<RecordingBody>,
    summary: Option<String>,
    extracted: Value,
    metadata: Value,
    transcript: Vec<Line>,
    tool_calls: Vec<FunctionCall>,
    interruptions: Vec<InterruptionBody>,
    errors: Vec<ErrorBody>,
    evaluations: Vec<EvaluationBody>,
    status_history: Vec<StepBody>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    content_withheld: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_deleted_at: Option<String>,
}

#[derive(Serialize)]
struct RecordingBody {
    url: String,
    audio_url: String,
}

#[derive(Serialize)]
struct InterruptionBody {
    id: String,
    turn: Option<i32>,
    at_ms: Option<i32>,
    detection_ms: Option<f64>,
    stop_ms: Option<f64>,
    bleed_through_words: Option<i32>,
    is_false: Option<bool>,
}

#[derive(Serialize)]
struct ErrorBody {
    id: String,
    timestamp: String,
    service: Option<String>,
    level: String,
    code: Option<String>,
    message: Option<String>,
    details: Option<Value>,
    turn: Option<i32>,
    agent: Option<String>,
}

#[derive(Serialize)]
struct StepBody {
    status: &'static str,
    at: String,
    /// Who said so; null where it follows from what was said.
    source: Option<&'static str>,
}

impl Conversation {
    fn of(record: Record, history: Vec<Step>, recorded: &HashSet<SessionId>) -> Self {
        let item = Item::of(item::headline(&record), recorded);
        let can_listen = recorded.contains(&record.id) && !record.content_withheld;
        let recording = can_listen.then(|| RecordingBody::of(record.id));
        let mut session = record.session;
        let is_over = session.status.is_final();
        let estimate = Estimate::of(&session);
        let agent = session.agent_key;
        Self {
            item,
            estimate,
            recording,
            summary: session.summary,
            extracted: session.extra.remove("extracted").unwrap_or_default(),
            metadata: session.extra.remove("metadata").unwrap_or_default(),
            transcript: record.turns.into_iter().map(Line::from).collect(),
            tool_calls: record
                .tool_calls
                .into_iter()
                .map(|tool| FunctionCall::of(tool, is_over))
                .collect(),
            interruptions: record
                .interruptions
                .into_iter()
                .map(InterruptionBody::from)
                .collect(),
            errors: record
                .errors
                .into_iter()
                .map(|error| ErrorBody::of(error, agent.as_ref()))
                .collect(),
            evaluations: record
                .evaluations
                .into_iter()
                .map(EvaluationBody::from)
                .collect(),
            status_history: history.into_iter().map(StepBody::from).collect(),
            content_withheld: record.content_withheld,
            content_deleted_at: record.closed_at.map(format::time),
        }
    }
}

impl RecordingBody {
    fn of(session: SessionId) -> Self {
        let url = format!("/v1/recordings/{}", session.prefixed());
        Self {
            audio_url: format!("{url}/audio"),
            url,
        }
    }
}

impl From<Interruption> for InterruptionBody {
    fn from(interruption: Interruption) -> Self {
        Self {
            id: interruption.id,
            turn: interruption.turn,
            at_ms: interruption.at_ms,
            detection_ms: interruption.detection_ms.map(format::tenth),
            stop_ms: interruption.stop_ms.map(format::tenth),
            bleed_through_words: interruption.bleed_through_words,
            is_false: interruption.is_false,
        }
    }
}

impl ErrorBody {
    /// An error that names no agent is the session's agent's.
    fn of(error: ServiceError, agent: Option<&String>) -> Self {
        Self {
            id: error.id,
            timestamp: format::time(error.at),
            service: error.service,
            level: error.level,
            code: error.code,
            message: error.message,
            details: error.details,
            turn: error.turn,
            agent: error.agent.or_else(|| agent.cloned()),
        }
    }
}

impl From<Step> for StepBody {
    fn from(step: Step) -> Self {
        Self {
            status: step.status.as_str(),
            at: format::time(step.at),
            source: step.source.map(Source::as_str),
        }
    }
}
