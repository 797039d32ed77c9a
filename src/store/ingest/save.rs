//! What a batch writes: one statement a table, rows in the order of their keys.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::assemble::Change;
use crate::domain::assemble::Changed;
use crate::domain::fact::Identity;
use crate::domain::items::{Evaluation, Interruption, ServiceError, ToolCall};
use crate::domain::turn::Turn;
use crate::store::columns::column;
use crate::store::columns::to_text;

use super::Result;
use super::Trouble;
use super::load::Key;
use super::rows::{FactRow, SessionAfter, TurnRow};

/// A session's tags as readers see them.
pub struct Tagged<'a> {
    pub key: Key,
    pub tags: &'a [String],
    pub started_at: DateTime<Utc>,
}

/// Inserts sessions that nobody had when the batch looked. Somebody else may have been faster.
pub async fn insert_sessions(
    connection: &mut PgConnection,
    rows: &[SessionAfter<'_>],
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let done = sqlx::query!(
        "insert into sessions
              (tenant_id, id, external_id, status, agent_key, agent_version, channel,
               started_at, answered_at, ended_at, duration_ms, end_reason,
               ended_by, answered_by, call_sid, stream_id, from_number, to_number, workflow_id,
               workflow_slug, workflow_name, campaign, language, voice, summary, tags,
               stt_provider, llm_provider, tts_provider, cost_micro_usd, extra, turn_count,
               tool_call_count, interruption_count, error_count, evaluation_count, fact_count, turn_tokens,
               turn_prompt_tokens, total_tokens, digest, first_at, last_at, touched_at, fact_bytes, span_bytes,
               name_kind, turn_families, received_at)
         select g.*, g.touched_at
           from unnest($1::session_row[]) as g
             on conflict (tenant_id, id) do nothing",
        column(rows, SessionAfter::row) as _,
    )
    .execute(connection)
    .await?;
    if done.rows_affected() < rows.len() as u64 {
        return Err(Trouble::Race);
    }
    Ok(())
}

/// Writes locked sessions again. What keeps its value costs no index entry.
pub async fn update_sessions(
    connection: &mut PgConnection,
    rows: &[SessionAfter<'_>],
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update sessions s
            set external_id = g.external_id, status = g.status, agent_key = g.agent_key,
                agent_version = g.agent_version, channel = g.channel, started_at = g.started_at,
                answered_at = g.answered_at, ended_at = g.ended_at, duration_ms = g.duration_ms,
                end_reason = g.end_reason, ended_by = g.ended_by, answered_by = g.answered_by,
                call_sid = g.call_sid, stream_id = g.stream_id, from_number = g.from_number,
                to_number = g.to_number, workflow_id = g.workflow_id, workflow_slug = g.workflow_slug,
                workflow_name = g.workflow_name, campaign = g.campaign, language = g.language,
                voice = g.voice, summary = g.summary, tags = g.tags,
                stt_provider = g.stt_provider, llm_provider = g.llm_provider, tts_provider = g.tts_provider,
                cost_micro_usd = g.cost_micro_usd, extra = g.extra, turn_count = g.turn_count,
                tool_call_count = g.tool_call_count, interruption_count = g.interruption_count,
                error_count = g.error_count, evaluation_count = g.evaluation_count, fact_count = g.fact_count,
                turn_tokens = g.turn_tokens, turn_prompt_tokens = g.turn_prompt_tokens,
                total_tokens = g.total_tokens, digest = g.digest, first_at = g.first_at, last_at = g.last_at,
                touched_at = g.touched_at, fact_bytes = g.fact_bytes, span_bytes = g.span_bytes,
                name_kind = g.name_kind, turn_families = g.turn_families
           from unnest($1::session_row[]) as g
          where s.tenant_id = g.tenant_id and s.id = g.id",
        column(rows, SessionAfter::row) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Replaces the tags of sessions, which lists by tag read in the order of the sessions' starts.
pub async fn replace_tags(connection: &mut PgConnection, rows: &[Tagged<'_>]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "delete from session_tags t
          using unnest($1::uuid[], $2::uuid[]) as k (tenant_id, session_id)
          where t.tenant_id = k.tenant_id and t.session_id = k.session_id",
        &column(rows, |r| r.key.0),
        &column(rows, |r| r.key.1),
    )
    .execute(&mut *connection)
    .await?;
    let tags: Vec<_> = rows
        .iter()
        .flat_map(|r| r.tags.iter().map(move |tag| (r, tag)))
        .collect();
    sqlx::query!(
        "insert into session_tags (tenant_id, session_id, tag, started_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[])",
        &column(&tags, |(r, _)| r.key.0),
        &column(&tags, |(r, _)| r.key.1),
        &column(&tags, |(_, tag)| (*tag).clone()),
        &column(&tags, |(r, _)| r.started_at),
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub async fn delete_facts(connection: &mut PgConnection, gone: &[(Key, &Identity)]) -> Result<()> {
    if gone.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "delete from facts f
          using unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::smallint[], $5::text[])
                as k (tenant_id, session_id, source, kind, id)
          where f.tenant_id = k.tenant_id and f.session_id = k.session_id
            and f.source = k.source and f.kind = k.kind and f.id = k.id",
        &column(gone, |(key, _)| key.0),
        &column(gone, |(key, _)| key.1),
        &column(gone, |(_, identity)| identity.source as i16),
        &column(gone, |(_, identity)| identity.kind as i16),
        &column(gone, |(_, identity)| identity.id.clone()),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Facts of which the store has none yet. Nobody can be faster, since their sessions are locked.
pub async fn insert_facts(connection: &mut PgConnection, facts: &[FactRow<'_>]) -> Result<()> {
    if facts.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into facts (tenant_id, session_id, source, kind, id, entity, at, hash, body, gist)
         select * from unnest($1::fact_row[])",
        facts as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Facts in place of what the store has under their names.
pub async fn replace_facts(connection: &mut PgConnection, facts: &[FactRow<'_>]) -> Result<()> {
    if facts.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into facts (tenant_id, session_id, source, kind, id, entity, at, hash, body, gist)
         select * from unnest($1::fact_row[])
             on conflict (tenant_id, session_id, source, kind, id)
             do update set entity = excluded.entity, at = excluded.at, hash = excluded.hash, body = excluded.body,
                gist = excluded.gist",
        facts as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Rows of one table, under their sessions.
pub struct Rows<'a, K, V> {
    pub gone: Vec<(Key, &'a K)>,
    /// Those that are known not to be there yet. Nobody can be faster, since their sessions are locked.
    pub new: Vec<(Key, &'a V)>,
    pub written: Vec<(Key, &'a V)>,
}

impl<'a, K, V> Rows<'a, K, V> {
    pub fn of(changes: impl Iterator<Item = (Key, &'a Changed<K, V>)>) -> Self {
        let mut rows = Self {
            gone: Vec::new(),
            new: Vec::new(),
            written: Vec::new(),
        };
        for (key, changed) in changes {
            rows.gone
                .extend(changed.gone.iter().map(|gone| (key, gone)));
            for (place, written) in changed.written.iter().enumerate() {
                let into = match changed.new.contains(&place) {
                    true => &mut rows.new,
                    false => &mut rows.written,
                };
                into.push((key, written));
            }
        }
        rows
    }
}

/// Runs one statement over turns.
macro_rules! over_turns {
    ($connection:expr, $turns:expr, $conflict:literal) => {{
        let rows = column($turns, |(key, turn)| TurnRow::of(*key, turn));
        sqlx::query!(
            "insert into turns
                  (tenant_id, session_id, index, speaker, text, words, start_ms, end_ms, stt_ms, endpointing_ms, llm_ms,
                   llm_total_ms, tts_ms, tts_total_ms, latency_ms, latency_source, answers_user, confidence, interrupted,
                   failed, cancelled, extra, tokens, prompt_tokens, measures)
             select * from unnest($1::turn_row[])" + $conflict,
            rows as _,
        )
        .execute(&mut *$connection)
        .await?
    }};
}

pub async fn turns(connection: &mut PgConnection, rows: Rows<'_, i32, Turn>) -> Result<()> {
    if !rows.gone.is_empty() {
        sqlx::query!(
            "delete from turns t
              using unnest($1::uuid[], $2::uuid[], $3::integer[]) as k (tenant_id, session_id, index)
              where t.tenant_id = k.tenant_id and t.session_id = k.session_id and t.index = k.index",
            &column(&rows.gone, |(key, _)| key.0),
            &column(&rows.gone, |(key, _)| key.1),
            &column(&rows.gone, |(_, index)| **index),
        )
        .execute(&mut *connection)
        .await?;
    }
    if !rows.new.is_empty() {
        over_turns!(connection, &rows.new, "");
    }
    if !rows.written.is_empty() {
        over_turns!(
            connection,
            &rows.written,
            " on conflict (tenant_id, session_id, index)
              do update set speaker = excluded.speaker, text = excluded.text, start_ms = excluded.start_ms,
                 end_ms = excluded.end_ms, stt_ms = excluded.stt_ms, endpointing_ms = excluded.endpointing_ms,
                 llm_ms = excluded.llm_ms, llm_total_ms = excluded.llm_total_ms, tts_ms = excluded.tts_ms,
                 tts_total_ms = excluded.tts_total_ms, latency_ms = excluded.latency_ms,
                 latency_source = excluded.latency_source, answers_user = excluded.answers_user,
                 confidence = excluded.confidence, interrupted = excluded.interrupted, failed = excluded.failed,
                 cancelled = excluded.cancelled, extra = excluded.extra, tokens = excluded.tokens,
                 measures = excluded.measures, prompt_tokens = excluded.prompt_tokens, words = excluded.words"
        );
    }
    Ok(())
}

/// Deletes rows of a table whose key is (tenant, session, id).
macro_rules! delete_by_id {
    ($connection:expr, $gone:expr, $statement:literal) => {
        if !$gone.is_empty() {
            sqlx::query!(
                $statement
                    + " using unnest($1::uuid[], $2::uuid[], $3::text[]) as k (tenant_id, session_id, id)
                        where t.tenant_id = k.tenant_id and t.session_id = k.session_id and t.id = k.id",
                &column(&$gone, |(key, _)| key.0),
                &column(&$gone, |(key, _)| key.1),
                &column(&$gone, |(_, id)| (*id).clone()),
            )
            .execute(&mut *$connection)
            .await?;
        }
    };
}

pub async fn tool_calls(
    connection: &mut PgConnection,
    rows: Rows<'_, String, ToolCall>,
) -> Result<()> {
    delete_by_id!(connection, rows.gone, "delete from tool_calls t");
    if rows.written.is_empty() {
        return Ok(());
    }
    let rows = &rows.written;
    sqlx::query!(
        "insert into tool_calls (tenant_id, session_id, id, turn, name, arguments, result, error, start_ms, end_ms, extra)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::text[],
                              $8::text[], $9::integer[], $10::integer[], $11::text[])
             on conflict (tenant_id, session_id, id)
             do update set turn = excluded.turn, name = excluded.name, arguments = excluded.arguments,
                result = excluded.result, error = excluded.error, start_ms = excluded.start_ms,
                end_ms = excluded.end_ms, extra = excluded.extra",
        &column(rows, |(key, _)| key.0),
        &column(rows, |(key, _)| key.1),
        &column(rows, |(_, t)| t.id.clone()),
        &column(rows, |(_, t)| t.turn) as _,
        &column(rows, |(_, t)| t.name.clone()) as _,
        &column(rows, |(_, t)| t.arguments.as_ref().map(to_text)) as _,
        &column(rows, |(_, t)| t.result.as_ref().map(to_text)) as _,
        &column(rows, |(_, t)| t.error.as_ref().map(to_text)) as _,
        &column(rows, |(_, t)| t.start_ms) as _,
        &column(rows, |(_, t)| t.end_ms) as _,
        &column(rows, |(_, t)| to_text(&t.extra)),
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub async fn interruptions(
    connection: &mut PgConnection,
    rows: Rows<'_, String, Interruption>,
) -> Result<()> {
    delete_by_id!(connection, rows.gone, "delete from interruptions t");
    if rows.written.is_empty() {
        return Ok(());
    }
    let rows = &rows.written;
    sqlx::query!(
        "insert into interruptions
              (tenant_id, session_id, id, turn, at_ms, detection_ms, stop_ms, bleed_through_words, is_false, extra)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[], $5::integer[], $6::float8[], $7::float8[],
                              $8::integer[], $9::boolean[], $10::text[])
             on conflict (tenant_id, session_id, id)
             do update set turn = excluded.turn, at_ms = excluded.at_ms, detection_ms = excluded.detection_ms,
                stop_ms = excluded.stop_ms, bleed_through_words = excluded.bleed_through_words,
                is_false = excluded.is_false, extra = excluded.extra",
        &column(rows, |(key, _)| key.0),
        &column(rows, |(key, _)| key.1),
        &column(rows, |(_, i)| i.id.clone()),
        &column(rows, |(_, i)| i.turn) as _,
        &column(rows, |(_, i)| i.at_ms) as _,
        &column(rows, |(_, i)| i.detection_ms) as _,
        &column(rows, |(_, i)| i.stop_ms) as _,
        &column(rows, |(_, i)| i.bleed_through_words) as _,
        &column(rows, |(_, i)| i.is_false) as _,
        &column(rows, |(_, i)| to_text(&i.extra)),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Errors carry their call's start, which analytics ask for them by.
pub async fn errors(
    connection: &mut PgConnection,
    rows: Rows<'_, String, ServiceError>,
    call_started_at: impl Fn(&Key) -> DateTime<Utc>,
) -> Result<()> {
    delete_by_id!(connection, rows.gone, "delete from errors t");
    if rows.written.is_empty() {
        return Ok(());
    }
    let rows = &rows.written;
    sqlx::query!(
        "insert into errors
              (tenant_id, session_id, id, at, service, level, code, message, details, turn, agent, extra, call_started_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
                              $8::text[], $9::text[], $10::integer[], $11::text[], $12::text[], $13::timestamptz[])
             on conflict (tenant_id, session_id, id)
             do update set at = excluded.at, service = excluded.service, level = excluded.level, code = excluded.code,
                message = excluded.message, details = excluded.details, turn = excluded.turn,
                agent = excluded.agent, extra = excluded.extra, call_started_at = excluded.call_started_at",
        &column(rows, |(key, _)| key.0),
        &column(rows, |(key, _)| key.1),
        &column(rows, |(_, e)| e.id.clone()),
        &column(rows, |(_, e)| e.at),
        &column(rows, |(_, e)| e.service.clone()) as _,
        &column(rows, |(_, e)| e.level.clone()),
        &column(rows, |(_, e)| e.code.clone()) as _,
        &column(rows, |(_, e)| e.message.clone()) as _,
        &column(rows, |(_, e)| e.details.as_ref().map(to_text)) as _,
        &column(rows, |(_, e)| e.turn) as _,
        &column(rows, |(_, e)| e.agent.clone()) as _,
        &column(rows, |(_, e)| to_text(&e.extra)),
        &column(rows, |(key, _)| call_started_at(key)),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Tells the errors of calls whose start moved.
pub async fn move_errors(connection: &mut PgConnection, rows: &[SessionAfter<'_>]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update errors e
            set call_started_at = k.started_at
           from unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) as k (tenant_id, session_id, started_at)
          where e.tenant_id = k.tenant_id and e.session_id = k.session_id and e.call_started_at <> k.started_at",
        &column(rows, |r| r.key.0),
        &column(rows, |r| r.key.1),
        &column(rows, |r| r.change.session.started_at),
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub async fn evaluations(
    connection: &mut PgConnection,
    rows: Rows<'_, String, Evaluation>,
) -> Result<()> {
    if !rows.gone.is_empty() {
        sqlx::query!(
            "delete from evaluations t
              using unnest($1::uuid[], $2::uuid[], $3::text[]) as k (tenant_id, session_id, id)
              where t.tenant_id = k.tenant_id and t.session_id = k.session_id and t.id = k.id and not t.by_person",
            &column(&rows.gone, |(key, _)| key.0),
            &column(&rows.gone, |(key, _)| key.1),
            &column(&rows.gone, |(_, id)| (*id).clone()),
        )
        .execute(&mut *connection)
        .await?;
    }
    if rows.written.is_empty() {
        return Ok(());
    }
    let rows = &rows.written;
    sqlx::query!(
        "insert into evaluations (tenant_id, session_id, id, created_at, reviewer, score, verdict, labels, notes, turn)
         select tenant_id, session_id, id, created_at, reviewer, score, verdict,
                array(select jsonb_array_elements_text(labels::jsonb)), notes, turn
           from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::text[], $6::float8[], $7::text[],
                       $8::text[], $9::text[], $10::integer[])
                as e (tenant_id, session_id, id, created_at, reviewer, score, verdict, labels, notes, turn)
             on conflict (tenant_id, session_id, id, by_person)
             do update set created_at = excluded.created_at, reviewer = excluded.reviewer, score = excluded.score,
                verdict = excluded.verdict, labels = excluded.labels, notes = excluded.notes, turn = excluded.turn",
        &column(rows, |(key, _)| key.0),
        &column(rows, |(key, _)| key.1),
        &column(rows, |(_, e)| e.id.clone()),
        &column(rows, |(_, e)| e.created_at),
        &column(rows, |(_, e)| e.reviewer.clone()) as _,
        &column(rows, |(_, e)| e.score) as _,
        &column(rows, |(_, e)| e.verdict.clone()) as _,
        &column(rows, |(_, e)| to_text(&e.labels)),
        &column(rows, |(_, e)| e.notes.clone()) as _,
        &column(rows, |(_, e)| e.turn) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks hours whose sums are to be made again. The last statement of its transaction.
pub async fn mark_hours(
    connection: &mut PgConnection,
    hours: &[(Uuid, DateTime<Utc>)],
) -> Result<()> {
    if hours.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into dirty_hour (tenant_id, hour) select * from unnest($1::uuid[], $2::timestamptz[])",
        &column(hours, |h| h.0),
        &column(hours, |h| h.1),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A call that goes on is analysed again after so long at the earliest, one that is over at once.
const ANALYSED_EVERY: TimeDelta = TimeDelta::seconds(5);

/// Has the calls that changed analysed.
pub async fn mark_analyses(
    connection: &mut PgConnection,
    changes: &BTreeMap<Key, Change>,
    now: DateTime<Utc>,
) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let rows: Vec<(&Key, &Change)> = changes.iter().collect();
    sqlx::query!(
        "insert into analysis_marks (tenant_id, session_id, due_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::timestamptz[])",
        &column(&rows, |(key, _)| key.0),
        &column(&rows, |(key, _)| key.1),
        &column(&rows, |(_, change)| if change.session.status.is_final() {
            now
        } else {
            now + ANALYSED_EVERY
        }),
    )
    .execute(connection)
    .await?;
    Ok(())
}
