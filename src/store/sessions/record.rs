//! Whole sessions by id: one statement a table for all of them, none for tables they have no rows in.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::assemble::Counters;
use crate::domain::ids::SessionId;
use crate::domain::items::{Evaluation, Interruption, ServiceError, ToolCall};
use crate::domain::record::Record;
use crate::domain::review::Edits;
use crate::domain::session::{Providers, Session, Status, Workflow};
use crate::domain::turn::{LatencySource, Speaker, Turn};
use crate::store::columns::json;
use crate::store::columns::object;
use crate::store::columns::unreadable;
use crate::store::failure::read;
use crate::store::pool::Pool;
use crate::store::scope::{ContentScope, Scope};

use super::withhold::withhold;

/// The sessions with these ids, in their order; those that are not there, or another tenant's, are left
/// out. What was said comes only with proof that it may.
pub async fn records(
    scope: &Scope,
    content: Option<&ContentScope>,
    ids: &[SessionId],
) -> Result<Vec<Record>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let (mut records, edited) = heads(scope, &ids).await?;
    let having = |count: fn(&Counters) -> i32| -> Vec<Uuid> {
        records
            .values()
            .filter(|r| count(&r.counters) > 0)
            .map(|r| r.id.0)
            .collect()
    };
    let turned = having(|c| c.turns);
    let tooled = having(|c| c.tool_calls);
    let interrupted = having(|c| c.interruptions);
    let failed = having(|c| c.errors);
    let evaluated = having(|c| c.evaluations);
    let pool = &scope.pool;
    turns(scope, pool, &turned, &mut records).await?;
    tool_calls(scope, pool, &tooled, &mut records).await?;
    interruptions(scope, pool, &interrupted, &mut records).await?;
    errors(scope, pool, &failed, &mut records).await?;
    evaluations(scope, pool, &evaluated, &mut records).await?;
    edits(scope, pool, &edited, &mut records).await?;
    if content.is_none() {
        records.values_mut().for_each(withhold);
    }
    Ok(ids.iter().filter_map(|id| records.remove(id)).collect())
}

/// When what was said in a session was deleted, because its time was over.
pub async fn content_deleted_at(scope: &Scope, id: SessionId) -> Result<Option<DateTime<Utc>>> {
    let found = read(&scope.pool, || {
        sqlx::query_scalar!(
            "select closed_at from sessions where tenant_id = $1 and id = $2",
            scope.tenant.0,
            id.0,
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    Ok(found.flatten())
}

/// The sessions' own rows, and which of them somebody has edited.
async fn heads(scope: &Scope, ids: &[Uuid]) -> Result<(Records, Vec<Uuid>)> {
    let rows = read(&scope.pool, || {
        sqlx::query_as!(
            HeadRow,
            "select id, external_id, status, agent_key, agent_version, channel, started_at, answered_at, ended_at,
                    end_reason, ended_by, answered_by, call_sid, stream_id, from_number, to_number,
                    workflow_id, workflow_slug, workflow_name, campaign, language, voice, summary, tags,
                    stt_provider, llm_provider, tts_provider, cost_micro_usd, extra,
                    turn_count, tool_call_count, interruption_count, error_count, evaluation_count, fact_count,
                    turn_tokens, turn_prompt_tokens, total_tokens, has_edits, has_issues, closed_at
               from sessions
              where tenant_id = $1
                and id = any ($2)",
            scope.tenant.0,
            ids,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    let edited = rows.iter().filter(|row| row.has_edits).map(|row| row.id);
    let edited = edited.collect();
    let records: Result<Records> = rows
        .into_iter()
        .map(|row| Ok((row.id, row.into_record()?)))
        .collect();
    Ok((records?, edited))
}

struct HeadRow {
    id: Uuid,
    external_id: String,
    status: String,
    agent_key: Option<String>,
    agent_version: Option<String>,
    channel: Option<String>,
    started_at: DateTime<Utc>,
    answered_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    end_reason: Option<String>,
    ended_by: Option<String>,
    answered_by: Option<String>,
    call_sid: Option<String>,
    stream_id: Option<String>,
    from_number: Option<String>,
    to_number: Option<String>,
    workflow_id: Option<String>,
    workflow_slug: Option<String>,
    workflow_name: Option<String>,
    campaign: Option<String>,
    language: Option<String>,
    voice: Option<String>,
    summary: Option<String>,
    tags: Vec<String>,
    stt_provider: Option<String>,
    llm_provider: Option<String>,
    tts_provider: Option<String>,
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
    has_edits: bool,
    has_issues: bool,
    closed_at: Option<DateTime<Utc>>,
}

impl HeadRow {
    fn into_record(self) -> Result<Record> {
        let session = Session {
            status: Status::parse(&self.status)
                .ok_or_else(|| unreadable("sessions.status", &self.status))?,
            agent_key: self.agent_key,
            agent_version: self.agent_version,
            channel: self.channel,
            started_at: self.started_at,
            answered_at: self.answered_at,
            ended_at: self.ended_at,
            end_reason: self.end_reason,
            ended_by: self.ended_by,
            answered_by: self.answered_by,
            call_sid: self.call_sid,
            stream_id: self.stream_id,
            from_number: self.from_number,
            to_number: self.to_number,
            workflow: Workflow {
                id: self.workflow_id,
                slug: self.workflow_slug,
                name: self.workflow_name,
            },
            campaign: self.campaign,
            language: self.language,
            voice: self.voice,
            summary: self.summary,
            tags: self.tags,
            providers: Providers {
                stt: self.stt_provider,
                llm: self.llm_provider,
                tts: self.tts_provider,
            },
            cost_micro_usd: self.cost_micro_usd,
            extra: object("sessions.extra", &self.extra)?,
        };
        let counters = Counters {
            turns: self.turn_count,
            tool_calls: self.tool_call_count,
            interruptions: self.interruption_count,
            errors: self.error_count,
            evaluations: self.evaluation_count,
            facts: self.fact_count,
            turn_tokens: self.turn_tokens,
            turn_prompt_tokens: self.turn_prompt_tokens,
            // Of no use to readers.
            ..Counters::default()
        };
        Ok(Record {
            id: SessionId(self.id),
            external_id: self.external_id,
            session,
            counters,
            total_tokens: self.total_tokens,
            turns: Vec::new(),
            tool_calls: Vec::new(),
            interruptions: Vec::new(),
            errors: Vec::new(),
            evaluations: Vec::new(),
            has_issues: self.has_issues,
            content_withheld: false,
            closed_at: self.closed_at,
        })
    }
}

type Records = BTreeMap<Uuid, Record>;

fn of(records: &mut Records, id: Uuid) -> Result<&mut Record> {
    records
        .get_mut(&id)
        .ok_or_else(|| Error::Internal(format!("a row of session `{id}`, which was not asked for")))
}

async fn turns(scope: &Scope, pool: &Pool, ids: &[Uuid], records: &mut Records) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let rows = read(pool, || {
        sqlx::query!(
            "select session_id, index, speaker, text, start_ms, end_ms, stt_ms, endpointing_ms, llm_ms, llm_total_ms,
                    tts_ms, tts_total_ms, latency_ms, latency_source, answers_user, confidence, interrupted, failed,
                    cancelled, extra, tokens, prompt_tokens
               from turns
              where tenant_id = $1
                and session_id = any ($2)",
            scope.tenant.0,
            ids,
        )
        .fetch_all(pool)
    })
    .await?;
    for row in rows {
        let turn = Turn {
            index: row.index,
            speaker: Speaker::parse(&row.speaker)
                .ok_or_else(|| unreadable("turns.speaker", &row.speaker))?,
            text: row.text,
            start_ms: row.start_ms,
            end_ms: row.end_ms,
            stt_ms: row.stt_ms,
            endpointing_ms: row.endpointing_ms,
            llm_ms: row.llm_ms,
            llm_total_ms: row.llm_total_ms,
            tts_ms: row.tts_ms,
            tts_total_ms: row.tts_total_ms,
            latency_ms: row.latency_ms,
            latency_source: row.latency_source.as_deref().and_then(LatencySource::parse),
            answers_user: row.answers_user,
            confidence: row.confidence,
            interrupted: row.interrupted,
            failed: row.failed,
            cancelled: row.cancelled,
            extra: object("turns.extra", &row.extra)?,
            tokens: row.tokens,
            prompt_tokens: row.prompt_tokens,
        };
        of(records, row.session_id)?.turns.push(turn);
    }
    records
        .values_mut()
        .for_each(|record| record.turns.sort_by_key(Turn::position));
    Ok(())
}

async fn tool_calls(scope: &Scope, pool: &Pool, ids: &[Uuid], records: &mut Records) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let rows = read(pool, || {
        sqlx::query!(
            "select session_id, id, turn, name, arguments, result, error, start_ms, end_ms, extra
               from tool_calls
              where tenant_id = $1
                and session_id = any ($2)
              order by session_id, start_ms, id",
            scope.tenant.0,
            ids,
        )
        .fetch_all(pool)
    })
    .await?;
    for row in rows {
        let tool_call = ToolCall {
            id: row.id,
            turn: row.turn,
            name: row.name,
            arguments: json("tool_calls.arguments", row.arguments)?,
            result: json("tool_calls.result", row.result)?,
            error: json("tool_calls.error", row.error)?,
            result_withheld: false,
            error_withheld: false,
            start_ms: row.start_ms,
            end_ms: row.end_ms,
            extra: object("tool_calls.extra", &row.extra)?,
        };
        of(records, row.session_id)?.tool_calls.push(tool_call);
    }
    Ok(())
}

async fn interruptions(
    scope: &Scope,
    pool: &Pool,
    ids: &[Uuid],
    records: &mut Records,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let rows = read(pool, || {
        sqlx::query!(
            "select session_id, id, turn, at_ms, detection_ms, stop_ms, bleed_through_words, is_false, extra
               from interruptions
              where tenant_id = $1
                and session_id = any ($2)
              order by session_id, at_ms, id",
            scope.tenant.0,
            ids,
        )
        .fetch_all(pool)
    })
    .await?;
    for row in rows {
        let interruption = Interruption {
            id: row.id,
            turn: row.turn,
            at_ms: row.at_ms,
            detection_ms: row.detection_ms,
            stop_ms: row.stop_ms,
            bleed_through_words: row.bleed_through_words,
            is_false: row.is_false,
            extra: object("interruptions.extra", &row.extra)?,
        };
        of(records, row.session_id)?
            .interruptions
            .push(interruption);
    }
    Ok(())
}

async fn errors(scope: &Scope, pool: &Pool, ids: &[Uuid], records: &mut Records) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let rows = read(pool, || {
        sqlx::query!(
            "select session_id, id, at, service, level, code, message, details, turn, agent, extra
               from errors
              where tenant_id = $1
                and session_id = any ($2)
              order by session_id, at, id",
            scope.tenant.0,
            ids,
        )
        .fetch_all(pool)
    })
    .await?;
    for row in rows {
        let error = ServiceError {
            id: row.id,
            at: row.at,
            service: row.service,
            level: row.level,
            code: row.code,
            message: row.message,
            details: json("errors.details", row.details)?,
            turn: row.turn,
            agent: row.agent,
            extra: object("errors.extra", &row.extra)?,
        };
        of(records, row.session_id)?.errors.push(error);
    }
    Ok(())
}

async fn evaluations(
    scope: &Scope,
    pool: &Pool,
    ids: &[Uuid],
    records: &mut Records,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let rows = read(pool, || {
        sqlx::query!(
            r#"select session_id, id, created_at, coalesce(updated_at, created_at) as "updated_at!", reviewer, score, verdict, labels, notes, turn
               from evaluations
              where tenant_id = $1
                and session_id = any ($2)
              order by session_id, created_at, id, by_person"#,
            scope.tenant.0,
            ids,
        )
        .fetch_all(pool)
    })
    .await?;
    for row in rows {
        let evaluation = Evaluation {
            id: row.id,
            created_at: row.created_at,
            updated_at: row.updated_at,
            reviewer: row.reviewer,
            score: row.score,
            verdict: row.verdict,
            labels: row.labels,
            notes: row.notes,
            turn: row.turn,
        };
        of(records, row.session_id)?.evaluations.push(evaluation);
    }
    Ok(())
}

/// Lays what people have written over what the facts amount to.
async fn edits(scope: &Scope, pool: &Pool, ids: &[Uuid], records: &mut Records) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let rows = read(pool, || {
        sqlx::query!(
            "select session_id, summary_edited, summary, tags
               from session_edits
              where tenant_id = $1
                and session_id = any ($2)",
            scope.tenant.0,
            ids,
        )
        .fetch_all(pool)
    })
    .await?;
    for row in rows {
        let edits = Edits {
            summary: row.summary_edited.then_some(row.summary),
            tags: row.tags,
        };
        edits.lay_over(&mut of(records, row.session_id)?.session);
    }
    Ok(())
}
