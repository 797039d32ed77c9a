//! Reading events: a page of numbered rows, and what they speak of as it is now.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::ids::SessionId;
use crate::domain::live::{Call, Detail, Event, Failure, Kind, Utterance};
use crate::domain::session::Status;
use crate::store::columns::column;
use crate::store::columns::unreadable;
use crate::store::failure::read;
use crate::store::scope::{ContentScope, Scope};

use super::sequence::KEPT_MAX;

/// Texts that one page brings into memory; a single event may have more.
const TEXT_MAX_BYTES: i64 = 1024 * 1024;

/// Events in the order of their numbers.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<Event>,
    /// Nothing is beyond this page for now.
    pub is_last: bool,
}

/// The number of the oldest event that is kept (one past the last where none is), and of the last one.
pub async fn bounds(scope: &Scope) -> Result<(i64, i64)> {
    let row = read(&scope.pool, || {
        sqlx::query!(
            r#"select h.seq as head,
                      (select min(e.seq) from live_events e
                        where e.tenant_id = $1 and e.seq > h.seq - $2) as oldest
                 from live_heads h
                where h.tenant_id = $1"#,
            scope.tenant.0,
            KEPT_MAX,
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    Ok(row.map_or((1, 0), |row| (row.oldest.unwrap_or(row.head + 1), row.head)))
}

struct Row {
    seq: i64,
    session_id: Uuid,
    at: DateTime<Utc>,
    kind: i16,
    status: String,
    turn: Option<i32>,
    error_id: Option<String>,
    merged_from: Option<String>,
    /// What of it can be long.
    text_bytes: i64,
}

/// The events after a number. What was said is left out without the right to it.
pub async fn page(
    scope: &Scope,
    content: Option<&ContentScope>,
    after: i64,
    limit: i64,
) -> Result<Page> {
    let mut rows = read(&scope.pool, || {
        sqlx::query_as!(
            Row,
            r#"select e.seq, e.session_id, e.at, e.kind, e.status, e.turn, e.error_id, e.merged_from,
                      -- How long a text is shows without reading it.
                      (coalesce((select octet_length(t.text) from turns t
                                  where $4 and t.tenant_id = $1 and t.session_id = e.session_id and t.index = e.turn), 0)
                       + coalesce((select octet_length(f.message) from errors f
                                    where f.tenant_id = $1 and f.session_id = e.session_id and f.id = e.error_id), 0)
                      )::bigint as "text_bytes!"
                 from live_events e
                where e.tenant_id = $1
                  and e.seq > $2
                order by e.seq
                limit $3"#,
            scope.tenant.0,
            after,
            limit,
            content.is_some(),
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    let fitting = fitting(&rows);
    let is_last = (rows.len() as i64) < limit && fitting == rows.len();
    rows.truncate(fitting);
    let calls = calls(scope, &rows).await?;
    let said = match content {
        Some(content) => utterances(scope, content, &rows).await?,
        None => HashMap::new(),
    };
    let failures = failures(scope, &rows).await?;
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        let kind =
            Kind::from_stored(row.kind).ok_or_else(|| unreadable("live_events.kind", row.kind))?;
        let detail = match kind {
            Kind::Transcript => {
                let key = (row.session_id, row.turn.unwrap_or_default());
                said.get(&key).cloned().map(Detail::Transcript)
            }
            Kind::Error => {
                let key = (row.session_id, row.error_id.unwrap_or_default());
                let failure = failures.get(&key).cloned();
                failure.map(|failure| match content {
                    Some(_) => Detail::Error(failure),
                    None => Detail::Error(failure.withheld()),
                })
            }
            Kind::Deleted => Some(Detail::Deleted),
            Kind::Started | Kind::Updated | Kind::Ended | Kind::Failed => {
                let status = Status::parse(&row.status)
                    .ok_or_else(|| unreadable("live_events.status", &row.status))?;
                let call = calls.get(&row.session_id).cloned();
                let merged_from = row.merged_from.as_deref().map(serde_json::from_str);
                let merged_from = merged_from
                    .transpose()
                    .map_err(|_| unreadable("live_events.merged_from", row.seq))?
                    .unwrap_or_default();
                let call = call.map(|call| Call {
                    status,
                    merged_from,
                    ..call
                });
                call.map(|call| match content {
                    Some(_) => Detail::Call(call),
                    None => Detail::Call(call.withheld()),
                })
            }
        };
        events.push(Event {
            seq: row.seq,
            at: row.at,
            session: SessionId(row.session_id),
            kind,
            detail: detail.unwrap_or(Detail::Gone),
        });
    }
    Ok(Page { events, is_last })
}

/// How many of the rows go together into one page: at least one, so that it always goes on.
fn fitting(rows: &[Row]) -> usize {
    let mut bytes = 0;
    let fits = rows.iter().take_while(|row| {
        bytes += row.text_bytes;
        bytes <= TEXT_MAX_BYTES
    });
    fits.count().max(1).min(rows.len())
}

async fn calls(scope: &Scope, rows: &[Row]) -> Result<HashMap<Uuid, Call>> {
    let said_or_failed = [Kind::Transcript as i16, Kind::Error as i16];
    let mut ids: Vec<Uuid> = rows
        .iter()
        .filter(|row| !said_or_failed.contains(&row.kind))
        .map(|row| row.session_id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = read(&scope.pool, || {
        sqlx::query!(
            "select id, status, agent_key, channel, campaign, coalesce(workflow_slug, workflow_id) as workflow, call_sid,
                    started_at, answered_at, ended_at, duration_ms, end_reason,
                    turn_count, tool_call_count, interruption_count, error_count
               from sessions
              where tenant_id = $1
                and id = any ($2)",
            scope.tenant.0,
            &ids,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    let call = |row_status: &str| {
        Status::parse(row_status).ok_or_else(|| unreadable("sessions.status", row_status))
    };
    rows.into_iter()
        .map(|row| {
            let call = Call {
                status: call(&row.status)?,
                agent_key: row.agent_key,
                channel: row.channel,
                campaign: row.campaign,
                workflow: row.workflow,
                call_sid: row.call_sid,
                started_at: row.started_at,
                answered_at: row.answered_at,
                ended_at: row.ended_at,
                duration_ms: row.duration_ms,
                end_reason: row.end_reason,
                turns: row.turn_count,
                tool_calls: row.tool_call_count,
                interruptions: row.interruption_count,
                errors: row.error_count,
                merged_from: Vec::new(),
            };
            Ok((row.id, call))
        })
        .collect()
}

async fn utterances(
    scope: &Scope,
    _: &ContentScope,
    rows: &[Row],
) -> Result<HashMap<(Uuid, i32), Utterance>> {
    let keys: Vec<(Uuid, i32)> = rows
        .iter()
        .filter(|row| row.kind == Kind::Transcript as i16)
        .map(|row| (row.session_id, row.turn.unwrap_or_default()))
        .collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (sessions, indexes) = (column(&keys, |key| key.0), column(&keys, |key| key.1));
    let rows = read(&scope.pool, || {
        sqlx::query!(
            r#"select distinct t.session_id, t.index, t.speaker, t.text as "text!", t.start_ms, t.end_ms
                 from unnest($2::uuid[], $3::integer[]) as k (session_id, index)
                 join turns t on t.tenant_id = $1 and t.session_id = k.session_id and t.index = k.index
                where t.tenant_id = $1
                  and t.text is not null"#,
            scope.tenant.0,
            &sessions,
            &indexes,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    let said = rows.into_iter().map(|row| {
        let utterance = Utterance {
            index: row.index,
            speaker: row.speaker,
            text: row.text,
            start_ms: row.start_ms,
            end_ms: row.end_ms,
        };
        ((row.session_id, row.index), utterance)
    });
    Ok(said.collect())
}

async fn failures(scope: &Scope, rows: &[Row]) -> Result<HashMap<(Uuid, String), Failure>> {
    let keys: Vec<(Uuid, String)> = rows
        .iter()
        .filter_map(|row| Some((row.session_id, row.error_id.clone()?)))
        .collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (sessions, ids) = (
        column(&keys, |key| key.0),
        column(&keys, |key| key.1.clone()),
    );
    let rows = read(&scope.pool, || {
        sqlx::query!(
            "select e.session_id, e.id, e.service, e.level, e.code, e.message, e.turn
               from unnest($2::uuid[], $3::text[]) as k (session_id, id)
               join errors e on e.tenant_id = $1 and e.session_id = k.session_id and e.id = k.id
              where e.tenant_id = $1",
            scope.tenant.0,
            &sessions,
            &ids,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    let failures = rows.into_iter().map(|row| {
        let failure = Failure {
            id: row.id.clone(),
            service: row.service,
            level: row.level,
            code: row.code,
            message: row.message,
            turn: row.turn,
            content_withheld: false,
        };
        ((row.session_id, row.id), failure)
    });
    Ok(failures.collect())
}
