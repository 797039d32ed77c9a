//! Rows as Postgres takes them: many in one array of a type that the migrations make. Their fields are in its order.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgHasArrayType, PgTypeInfo};
use sqlx::{Postgres, Type};
use uuid::Uuid;

use crate::domain::assemble::Change;
use crate::domain::fact::{Entity, Fact};
use crate::domain::ids::ClaimKind;
use crate::domain::session::Activity;
use crate::domain::span::Span;
use crate::domain::turn::{LatencySource, Turn};
use crate::domain::words;
use crate::store::columns::to_text;
use crate::store::sessions::show_parameters;

use super::load::Key;

/// Under which name Postgres knows a row, and arrays of it.
macro_rules! known_as {
    ($row:ident, $name:literal) => {
        impl Type<Postgres> for $row<'_> {
            fn type_info() -> PgTypeInfo {
                PgTypeInfo::with_name($name)
            }
        }

        impl PgHasArrayType for $row<'_> {
            fn array_type_info() -> PgTypeInfo {
                PgTypeInfo::array_of($name)
            }
        }
    };
}

known_as!(SessionRow, "session_row");
known_as!(FactRow, "fact_row");
known_as!(TurnRow, "turn_row");
known_as!(SpanRow, "span_row");

/// A session as the batch leaves it.
pub struct SessionAfter<'a> {
    pub key: Key,
    pub external_id: &'a str,
    pub name_kind: ClaimKind,
    pub turn_families: i16,
    pub change: &'a Change,
    pub activity: Activity,
    pub touched_at: DateTime<Utc>,
}

#[derive(sqlx::Encode)]
pub struct SessionRow<'a> {
    tenant_id: Uuid,
    id: Uuid,
    external_id: &'a str,
    status: &'static str,
    agent_key: Option<&'a str>,
    agent_version: Option<&'a str>,
    channel: Option<&'a str>,
    started_at: DateTime<Utc>,
    answered_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    duration_ms: Option<i64>,
    end_reason: Option<&'a str>,
    ended_by: Option<&'a str>,
    answered_by: Option<&'a str>,
    call_sid: Option<&'a str>,
    stream_id: Option<&'a str>,
    from_number: Option<&'a str>,
    to_number: Option<&'a str>,
    workflow_id: Option<&'a str>,
    workflow_slug: Option<&'a str>,
    workflow_name: Option<&'a str>,
    campaign: Option<&'a str>,
    language: Option<&'a str>,
    voice: Option<&'a str>,
    summary: Option<&'a str>,
    tags: &'a [String],
    stt_provider: Option<&'a str>,
    llm_provider: Option<&'a str>,
    tts_provider: Option<&'a str>,
    cost_micro_usd: Option<i64>,
    extra: String,
    turn_count: i32,
    tool_call_count: i32,
    interruption_count: i32,
    error_count: i32,
    evaluation_count: i32,
    fact_count: i32,
    turn_tokens: i64,
    turn_prompt_tokens: i64,
    total_tokens: i64,
    digest: Vec<u8>,
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
    touched_at: DateTime<Utc>,
    fact_bytes: i64,
    span_bytes: i64,
    name_kind: i16,
    turn_families: i16,
}

impl<'a> SessionAfter<'a> {
    pub fn row(&self) -> SessionRow<'a> {
        let (session, counters) = (&self.change.session, &self.change.counters);
        SessionRow {
            tenant_id: self.key.0,
            id: self.key.1,
            external_id: self.external_id,
            status: session.status.as_str(),
            agent_key: session.agent_key.as_deref(),
            agent_version: session.agent_version.as_deref(),
            channel: session.channel.as_deref(),
            started_at: session.started_at,
            answered_at: session.answered_at,
            ended_at: session.ended_at,
            duration_ms: session.duration_ms(),
            end_reason: session.end_reason.as_deref(),
            ended_by: session.ended_by.as_deref(),
            answered_by: session.answered_by.as_deref(),
            call_sid: session.call_sid.as_deref(),
            stream_id: session.stream_id.as_deref(),
            from_number: session.from_number.as_deref(),
            to_number: session.to_number.as_deref(),
            workflow_id: session.workflow.id.as_deref(),
            workflow_slug: session.workflow.slug.as_deref(),
            workflow_name: session.workflow.name.as_deref(),
            campaign: session.campaign.as_deref(),
            language: session.language.as_deref(),
            voice: session.voice.as_deref(),
            summary: session.summary.as_deref(),
            tags: &session.tags,
            stt_provider: session.providers.stt.as_deref(),
            llm_provider: session.providers.llm.as_deref(),
            tts_provider: session.providers.tts.as_deref(),
            cost_micro_usd: session.cost_micro_usd,
            extra: to_text(&session.extra),
            turn_count: counters.turns,
            tool_call_count: counters.tool_calls,
            interruption_count: counters.interruptions,
            error_count: counters.errors,
            evaluation_count: counters.evaluations,
            fact_count: counters.facts,
            turn_tokens: counters.turn_tokens,
            turn_prompt_tokens: counters.turn_prompt_tokens,
            total_tokens: session.total_tokens(counters),
            digest: self.change.digest.to_bytes(),
            first_at: self.activity.first_at,
            last_at: self.activity.last_at,
            touched_at: self.touched_at,
            fact_bytes: counters.fact_bytes,
            span_bytes: counters.span_bytes,
            name_kind: self.name_kind as i16,
            turn_families: self.turn_families,
        }
    }
}

#[derive(sqlx::Encode)]
pub struct FactRow<'a> {
    tenant_id: Uuid,
    session_id: Uuid,
    source: i16,
    kind: i16,
    id: &'a str,
    entity: Option<&'a str>,
    at: DateTime<Utc>,
    hash: i64,
    body: &'a str,
    gist: Option<&'a str>,
}

impl<'a> FactRow<'a> {
    /// A fact, and of a tracer's span what it says of its conversation.
    pub fn of(key: Key, entity: &'a Entity, fact: &'a Fact, gist: Option<&'a str>) -> Self {
        Self {
            tenant_id: key.0,
            session_id: key.1,
            source: fact.source as i16,
            kind: fact.kind as i16,
            id: &fact.id,
            entity: Fact::is_shared(fact.kind).then_some(entity.key.as_str()),
            at: fact.at,
            hash: fact.hash,
            body: fact.fields.text(),
            gist,
        }
    }
}

#[derive(sqlx::Encode)]
pub struct TurnRow<'a> {
    tenant_id: Uuid,
    session_id: Uuid,
    index: i32,
    speaker: &'static str,
    text: Option<&'a str>,
    words: Option<String>,
    start_ms: Option<i32>,
    end_ms: Option<i32>,
    stt_ms: Option<f64>,
    endpointing_ms: Option<f64>,
    llm_ms: Option<f64>,
    llm_total_ms: Option<f64>,
    tts_ms: Option<f64>,
    tts_total_ms: Option<f64>,
    latency_ms: Option<f64>,
    latency_source: Option<&'static str>,
    answers_user: bool,
    confidence: Option<f64>,
    interrupted: bool,
    failed: bool,
    cancelled: bool,
    extra: String,
    tokens: i64,
    prompt_tokens: i64,
    measures: Vec<u8>,
}

impl<'a> TurnRow<'a> {
    pub fn of(key: Key, turn: &'a Turn) -> Self {
        Self {
            tenant_id: key.0,
            session_id: key.1,
            index: turn.index,
            speaker: turn.speaker.as_str(),
            text: turn.text.as_deref(),
            words: turn.text.as_deref().and_then(words::beside),
            start_ms: turn.start_ms,
            end_ms: turn.end_ms,
            stt_ms: turn.stt_ms,
            endpointing_ms: turn.endpointing_ms,
            llm_ms: turn.llm_ms,
            llm_total_ms: turn.llm_total_ms,
            tts_ms: turn.tts_ms,
            tts_total_ms: turn.tts_total_ms,
            latency_ms: turn.latency_ms,
            latency_source: turn.latency_source.map(LatencySource::as_str),
            answers_user: turn.answers_user,
            confidence: turn.confidence,
            interrupted: turn.interrupted,
            failed: turn.failed,
            cancelled: turn.cancelled,
            extra: to_text(&turn.extra),
            tokens: turn.tokens,
            prompt_tokens: turn.prompt_tokens,
            measures: postcard::to_stdvec(&turn.measures()).unwrap_or_default(),
        }
    }
}

#[derive(sqlx::Encode)]
pub struct SpanRow<'a> {
    tenant_id: Uuid,
    session_id: Uuid,
    trace_id: &'a str,
    span_id: &'a str,
    parent: Option<&'a str>,
    trace_name: Option<&'a str>,
    name: Option<&'a str>,
    r#type: &'a str,
    level: &'a str,
    environment: Option<&'a str>,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    completion_start: Option<DateTime<Utc>>,
    model: Option<&'a str>,
    usage: String,
    costs: String,
    cost_nano_usd: Option<i64>,
    parameters: String,
}

impl<'a> SpanRow<'a> {
    pub fn of(key: Key, span: &'a Span) -> Self {
        Self {
            tenant_id: key.0,
            session_id: key.1,
            trace_id: &span.trace_id,
            span_id: &span.span_id,
            parent: span.parent.as_deref(),
            trace_name: span.trace_name.as_deref(),
            name: span.name.as_deref(),
            r#type: &span.r#type,
            level: &span.level,
            environment: span.environment.as_deref(),
            started_at: span.started_at,
            ended_at: span.ended_at,
            completion_start: span.completion_start,
            model: span.model.as_deref(),
            usage: to_text(&span.usage),
            costs: to_text(&span.costs),
            cost_nano_usd: span.cost_nano_usd,
            parameters: shown_parameters(span),
        }
    }
}

/// Those parameters that cannot be a prompt; what was said is told by the span's facts.
fn shown_parameters(span: &Span) -> String {
    let mut parameters = span.parameters.clone();
    show_parameters(&mut parameters);
    to_text(&parameters)
}
