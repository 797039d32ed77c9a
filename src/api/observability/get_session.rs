//! `GET /v1/observability/sessions/{sessionId}`

use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::cost::Cost;
use crate::api::format;
use crate::app::App;
use crate::auth::Reader;
use crate::domain::items::{Interruption, ServiceError, ToolCall};
use crate::domain::record::Record;
use crate::domain::turn::LatencySource;
use crate::domain::turn::Turn;
use crate::domain::turn::used;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::sessions;

pub async fn handle(
    State(_): State<App>,
    reader: Reader,
    Path(session_id): Path<String>,
    query: Query,
) -> Result<Json<Detail>, Problem> {
    query.params().finish()?;
    let record =
        sessions::by_reference(&reader.scope, reader.content.as_ref(), &session_id).await?;
    Ok(Json(Detail::from(record)))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    id: String,
    external_id: String,
    agent_id: Option<String>,
    agent_version: Option<String>,
    status: &'static str,
    channel: Option<String>,
    started_at: String,
    answered_at: Option<String>,
    ended_at: Option<String>,
    end_reason: Option<String>,
    ended_by: Option<String>,
    answered_by: Option<String>,
    call_id: Option<String>,
    stream_id: Option<String>,
    from: Option<String>,
    to: Option<String>,
    carrier_status: Value,
    sip_code: Value,
    workflow: Option<WorkflowBody>,
    campaign: Option<String>,
    language: Option<String>,
    summary: Option<String>,
    tags: Vec<String>,
    extracted: Value,
    metadata: Value,
    models: Value,
    providers: Value,
    voice: Option<String>,
    turns: Vec<TurnBody>,
    tool_calls: Vec<ToolCallBody>,
    interruptions: Vec<InterruptionBody>,
    errors: Vec<ErrorBody>,
    usage: Usage,
    cost: Option<Cost>,
    metrics: Metrics,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    content_withheld: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_deleted_at: Option<String>,
}

#[derive(Serialize)]
struct WorkflowBody {
    id: Option<String>,
    slug: Option<String>,
    name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TurnBody {
    index: i32,
    speaker: &'static str,
    text: Option<String>,
    start_ms: Option<i32>,
    end_ms: Option<i32>,
    stt_ms: Option<i64>,
    llm_ms: Option<i64>,
    tts_ms: Option<i64>,
    endpointing_ms: Option<i64>,
    llm_total_ms: Option<i64>,
    tts_total_ms: Option<i64>,
    latency_ms: Option<i64>,
    latency_source: Option<&'static str>,
    interrupted: bool,
    failed: bool,
    cancelled: bool,
    finish_reason: Value,
    retries: Value,
    played_ms: Option<i64>,
    eou_probability: Value,
    confidence: Option<f64>,
    stt_text: Value,
    words: Value,
    providers: Value,
    models: Value,
    usage: Value,
    metadata: Value,
    tool_calls: Vec<ToolCallBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolCallBody {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<i32>,
    name: Option<String>,
    arguments: Option<Value>,
    result: Option<Value>,
    error: Option<Value>,
    start_ms: Option<i32>,
    end_ms: Option<i32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InterruptionBody {
    id: String,
    turn: Option<i32>,
    at_ms: Option<i32>,
    detection_ms: Option<i64>,
    stop_ms: Option<i64>,
    bleed_through_words: Option<i32>,
    is_false: Option<bool>,
    end_ms: Option<i64>,
    decided_at_ms: Option<i64>,
    audio_stopped_ms: Option<i64>,
    resumed_at_ms: Option<i64>,
    source: Value,
    text: Value,
    backchannel: Value,
    estimated: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
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
    provider: Value,
    model: Value,
    status_code: Value,
    at_ms: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    prompt_tokens: Option<i64>,
    completion_tokens: Option<i64>,
    cached_tokens: Option<i64>,
    audio_tokens: Option<i64>,
    stt_seconds: Option<f64>,
    tts_characters: Option<i64>,
    total_tokens: Option<i64>,
    cache_write_tokens: Option<i64>,
    cached_audio_tokens: Option<i64>,
    audio_output_tokens: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    total_duration_ms: Option<i64>,
    avg_turn_latency_ms: Option<i64>,
    tool_executions: i32,
    /// Turns that the average stands on, of those that answer a user.
    measured_turns: usize,
    answered_turns: usize,
}

/// A field without a column of its own; null where it is not known.
fn take(extra: &mut Map<String, Value>, name: &str) -> Value {
    extra.remove(name).unwrap_or_default()
}

/// The same, of milliseconds: whole ones.
fn take_ms(extra: &mut Map<String, Value>, name: &str) -> Option<i64> {
    extra.remove(name)?.as_f64().map(format::whole_ms)
}

impl From<Record> for Detail {
    fn from(record: Record) -> Self {
        let metrics = Metrics::of(&record);
        let usage = Usage::of(&record);
        let id = record.id.prefixed();
        let agent = record.session.agent_key.clone();
        let (mut by_turn, mut loose): (Vec<ToolCall>, Vec<ToolCall>) =
            record.tool_calls.into_iter().partition(|tool| {
                record
                    .turns
                    .iter()
                    .any(|turn| Some(turn.index) == tool.turn)
            });
        let turns = record.turns.into_iter().map(|turn| {
            let mine = by_turn.extract_if(.., |tool| tool.turn == Some(turn.index));
            let tool_calls = mine
                .map(|tool| ToolCallBody {
                    turn: None,
                    ..ToolCallBody::from(tool)
                })
                .collect();
            TurnBody {
                tool_calls,
                ..TurnBody::from(turn)
            }
        });
        let turns = turns.collect();
        let session = record.session;
        let cost = Cost::of(&session);
        let mut extra = session.extra;
        Self {
            id,
            external_id: record.external_id,
            agent_version: session.agent_version,
            status: session.status.as_str(),
            channel: session.channel,
            started_at: format::time(session.started_at),
            answered_at: session.answered_at.map(format::time),
            ended_at: session.ended_at.map(format::time),
            end_reason: session.end_reason,
            ended_by: session.ended_by,
            answered_by: session.answered_by,
            call_id: session.call_sid,
            stream_id: session.stream_id,
            from: session.from_number,
            to: session.to_number,
            carrier_status: take(&mut extra, "carrierStatus"),
            sip_code: take(&mut extra, "sipCode"),
            workflow: (session.workflow != Default::default()).then_some(WorkflowBody {
                id: session.workflow.id,
                slug: session.workflow.slug,
                name: session.workflow.name,
            }),
            campaign: session.campaign,
            language: session.language,
            summary: session.summary,
            tags: session.tags,
            extracted: take(&mut extra, "extracted"),
            metadata: take(&mut extra, "metadata"),
            models: take(&mut extra, "models"),
            providers: take(&mut extra, "providers"),
            voice: session.voice,
            turns,
            tool_calls: loose.drain(..).map(ToolCallBody::from).collect(),
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
            agent_id: agent,
            usage,
            cost,
            metrics,
            content_withheld: record.content_withheld,
            content_deleted_at: record.closed_at.map(format::time),
        }
    }
}

impl From<Turn> for TurnBody {
    fn from(turn: Turn) -> Self {
        let mut extra = turn.extra;
        Self {
            index: turn.index,
            speaker: turn.speaker.as_str(),
            text: turn.text,
            start_ms: turn.start_ms,
            end_ms: turn.end_ms,
            stt_ms: turn.stt_ms.map(format::whole_ms),
            llm_ms: turn.llm_ms.map(format::whole_ms),
            tts_ms: turn.tts_ms.map(format::whole_ms),
            endpointing_ms: turn.endpointing_ms.map(format::whole_ms),
            llm_total_ms: turn.llm_total_ms.map(format::whole_ms),
            tts_total_ms: turn.tts_total_ms.map(format::whole_ms),
            latency_ms: turn.latency_ms.map(format::whole_ms),
            latency_source: turn.latency_source.map(LatencySource::as_str),
            interrupted: turn.interrupted,
            failed: turn.failed,
            cancelled: turn.cancelled,
            finish_reason: take(&mut extra, "finishReason"),
            retries: take(&mut extra, "retries"),
            played_ms: take_ms(&mut extra, "playedMs"),
            eou_probability: take(&mut extra, "eouProbability"),
            confidence: turn.confidence,
            stt_text: take(&mut extra, "sttText"),
            words: take(&mut extra, "words"),
            providers: take(&mut extra, "providers"),
            models: take(&mut extra, "models"),
            usage: take(&mut extra, "usage"),
            metadata: take(&mut extra, "metadata"),
            tool_calls: Vec::new(),
        }
    }
}

impl From<ToolCall> for ToolCallBody {
    fn from(tool: ToolCall) -> Self {
        Self {
            id: tool.id,
            turn: tool.turn,
            name: tool.name,
            arguments: tool.arguments,
            result: tool.result,
            error: tool.error,
            start_ms: tool.start_ms,
            end_ms: tool.end_ms,
        }
    }
}

impl From<Interruption> for InterruptionBody {
    fn from(interruption: Interruption) -> Self {
        let mut extra = interruption.extra;
        Self {
            id: interruption.id,
            turn: interruption.turn,
            at_ms: interruption.at_ms,
            detection_ms: interruption.detection_ms.map(format::whole_ms),
            stop_ms: interruption.stop_ms.map(format::whole_ms),
            bleed_through_words: interruption.bleed_through_words,
            is_false: interruption.is_false,
            end_ms: take_ms(&mut extra, "endMs"),
            decided_at_ms: take_ms(&mut extra, "decidedAtMs"),
            audio_stopped_ms: take_ms(&mut extra, "audioStoppedMs"),
            resumed_at_ms: take_ms(&mut extra, "resumedAtMs"),
            source: take(&mut extra, "source"),
            text: take(&mut extra, "text"),
            backchannel: take(&mut extra, "backchannel"),
            estimated: take(&mut extra, "estimated"),
        }
    }
}

impl ErrorBody {
    /// An error that names no agent is the session's agent's.
    fn of(error: ServiceError, agent: Option<&String>) -> Self {
        let mut extra = error.extra;
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
            provider: take(&mut extra, "provider"),
            model: take(&mut extra, "model"),
            status_code: take(&mut extra, "statusCode"),
            at_ms: take_ms(&mut extra, "atMs"),
        }
    }
}

impl Usage {
    /// As the session says, else the sum of what its turns and its generations beside them say; null where nobody says.
    fn of(record: &Record) -> Self {
        let session = &record.session;
        let of = |name: &str| {
            let turns = record.turns.iter().map(|turn| &turn.extra);
            let turns = turns.filter(|_| !session.states_use_of(name));
            let told = turns.chain([&session.extra]);
            told.filter_map(|told| used(told, name))
                .reduce(|a, b| a + b)
        };
        let whole = |name: &str| of(name).map(|number| number as i64);
        let (prompt, completion) = (whole("promptTokens"), whole("completionTokens"));
        let is_known = prompt.is_some() || completion.is_some();
        let total = prompt
            .unwrap_or_default()
            .saturating_add(completion.unwrap_or_default());
        Self {
            prompt_tokens: prompt,
            completion_tokens: completion,
            cached_tokens: whole("cachedTokens"),
            audio_tokens: whole("audioTokens"),
            stt_seconds: of("sttSeconds").map(|seconds| (seconds * 1e3).round() / 1e3),
            tts_characters: whole("ttsCharacters"),
            total_tokens: is_known.then_some(total),
            cache_write_tokens: whole("cacheWriteTokens"),
            cached_audio_tokens: whole("cachedAudioTokens"),
            audio_output_tokens: whole("audioOutputTokens"),
        }
    }
}

impl Metrics {
    fn of(record: &Record) -> Self {
        Self {
            total_duration_ms: record.total_duration_ms(),
            avg_turn_latency_ms: record.avg_turn_latency_ms().map(format::whole_ms),
            tool_executions: record.counters.tool_calls,
            measured_turns: record.measured_latencies_ms().count(),
            answered_turns: record.turns.iter().filter(|turn| turn.answers_user).count(),
        }
    }
}
