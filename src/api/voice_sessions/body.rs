//! A session as the voice-sessions dialect writes it.

use serde::Serialize;
use serde_json::Value;

use crate::api::cost::Estimate;
use crate::api::format;
use crate::domain::items::{Evaluation, ToolCall};
use crate::domain::record::Record;
use crate::domain::turn::Turn;

#[derive(Serialize)]
pub struct VoiceSession {
    pub(super) id: String,
    pub(super) stream_id: Option<String>,
    pub(super) call_sid: Option<String>,
    pub(super) agent_key: Option<String>,
    pub(super) status: &'static str,
    pub(super) reviewed: bool,
    pub(super) started_at: String,
    pub(super) ended_at: Option<String>,
    pub(super) duration_seconds: Option<f64>,
    pub(super) transcript: Vec<Line>,
    pub(super) function_calls: Vec<FunctionCall>,
    pub(super) summary: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) model: Model,
    pub(super) voice: Option<String>,
    pub(super) evaluations: Vec<EvaluationBody>,
    pub(super) cost_usd: Option<f64>,
    #[serde(flatten)]
    estimate: Estimate,
    pub(super) metadata: Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) content_withheld: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_deleted_at: Option<String>,
}

#[derive(Serialize)]
pub(in crate::api) struct Line {
    index: i32,
    speaker: &'static str,
    text: Option<String>,
    start_ms: Option<i32>,
    end_ms: Option<i32>,
}

#[derive(Serialize)]
pub(in crate::api) struct FunctionCall {
    id: String,
    name: Option<String>,
    arguments: Option<Value>,
    result: Option<Value>,
    error: Option<Value>,
    status: &'static str,
    turn: Option<i32>,
    start_ms: Option<i32>,
    duration_ms: Option<i32>,
}

#[derive(Serialize)]
pub(super) struct Model {
    pub(super) stt: Value,
    pub(super) llm: Value,
    pub(super) tts: Value,
}

#[derive(Serialize)]
pub struct EvaluationBody {
    id: String,
    reviewer: Option<String>,
    score: Option<f64>,
    verdict: Option<String>,
    labels: Vec<String>,
    notes: Option<String>,
    turn: Option<i32>,
    created_at: String,
    updated_at: String,
    /// Of one that stands alone; within a session the session says so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    content_withheld: bool,
}

impl From<Record> for VoiceSession {
    fn from(record: Record) -> Self {
        let mut session = record.session;
        let duration_ms = session.duration_ms();
        let is_over = session.status.is_final();
        let model = |name: &str| {
            session
                .extra
                .get("models")
                .and_then(|m| m.get(name))
                .cloned()
                .unwrap_or_default()
        };
        let model = Model {
            stt: model("stt"),
            llm: model("llm"),
            tts: model("tts"),
        };
        Self {
            id: record.id.to_string(),
            estimate: Estimate::of(&session),
            stream_id: session.stream_id,
            call_sid: session.call_sid,
            agent_key: session.agent_key,
            status: session.status.as_str(),
            reviewed: record.counters.evaluations > 0,
            started_at: format::time(session.started_at),
            ended_at: session.ended_at.map(format::time),
            duration_seconds: duration_ms.map(|ms| ms as f64 / 1000.0),
            transcript: record.turns.into_iter().map(Line::from).collect(),
            function_calls: record
                .tool_calls
                .into_iter()
                .map(|tool| FunctionCall::of(tool, is_over))
                .collect(),
            summary: session.summary,
            tags: session.tags,
            model,
            voice: session.voice,
            evaluations: record
                .evaluations
                .into_iter()
                .map(EvaluationBody::from)
                .collect(),
            cost_usd: session.cost_micro_usd.map(format::usd),
            metadata: session.extra.remove("metadata").unwrap_or_default(),
            content_withheld: record.content_withheld,
            content_deleted_at: record.closed_at.map(format::time),
        }
    }
}

impl From<Turn> for Line {
    fn from(turn: Turn) -> Self {
        Self {
            index: turn.index,
            speaker: turn.speaker.as_str(),
            text: turn.text,
            start_ms: turn.start_ms,
            end_ms: turn.end_ms,
        }
    }
}

impl FunctionCall {
    /// A call that has neither result nor end is still running, unless its session is over.
    pub fn of(tool: ToolCall, session_is_over: bool) -> Self {
        let status = if tool.failed() {
            "error"
        } else if tool.is_over() || session_is_over {
            "ok"
        } else {
            "pending"
        };
        Self {
            status,
            duration_ms: tool.interval().map(|(start, end)| end - start),
            id: tool.id,
            name: tool.name,
            arguments: tool.arguments,
            result: tool.result,
            error: tool.error,
            turn: tool.turn,
            start_ms: tool.start_ms,
        }
    }
}

impl From<Evaluation> for EvaluationBody {
    fn from(evaluation: Evaluation) -> Self {
        Self {
            id: evaluation.id,
            reviewer: evaluation.reviewer,
            score: evaluation.score,
            verdict: evaluation.verdict,
            labels: evaluation.labels,
            notes: evaluation.notes,
            turn: evaluation.turn,
            created_at: format::time(evaluation.created_at),
            updated_at: format::time(evaluation.updated_at),
            content_withheld: false,
        }
    }
}

impl EvaluationBody {
    /// One that stands alone.
    pub fn alone(evaluation: Evaluation, is_withheld: bool) -> Self {
        Self {
            content_withheld: is_withheld,
            ..Self::from(evaluation)
        }
    }
}
