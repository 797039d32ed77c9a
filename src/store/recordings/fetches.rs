//! Recordings that are to be fetched, at most one a call: asked for by a tenant, claimed by workers.

use chrono::{DateTime, Utc};

use super::uuids;
use crate::domain::Result;
use crate::domain::ids::SessionId;
use crate::domain::recording::Placement;
use crate::domain::webhook::Fetch;
use crate::store::failure::{failure, read};
use crate::store::scope::Scope;

pub use super::claims::claim;

/// Wants a recording. The same address again changes nothing unless it was given up, nor does one that is signed anew of
/// what was fetched already; another one takes the place of what was wanted before, unless it began earlier. That there is none takes no
/// other's place. Answers whether anything is new.
pub async fn want(scope: &Scope, fetch: &Fetch) -> Result<bool> {
    let status = if fetch.failure.is_some() {
        "failed"
    } else {
        "pending"
    };
    let stored = sqlx::query!(
        "insert into recording_fetches (tenant_id, id, reference, url, endpoint_id, started_at,
                                        start_offset_ms, status, attempts, due_at, reason, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $9)
         on conflict (tenant_id, id) do update
            set reference = excluded.reference, url = excluded.url, endpoint_id = excluded.endpoint_id,
                started_at = excluded.started_at, start_offset_ms = excluded.start_offset_ms,
                status = excluded.status, attempts = 0, due_at = excluded.due_at, reason = excluded.reason, created_at = excluded.created_at
          where (recording_fetches.url <> excluded.url or recording_fetches.status = 'failed')
            and excluded.url <> ''
            and not ($11 and recording_fetches.status = 'done'
                     and split_part(recording_fetches.url, '?', 1) = split_part(excluded.url, '?', 1))
            and (recording_fetches.status = 'failed'
                 or coalesce(excluded.started_at >= recording_fetches.started_at, true))",
        scope.tenant.0,
        fetch.id.0,
        fetch.reference,
        fetch.url,
        fetch.endpoint_id,
        fetch.placement.started_at,
        fetch.placement.start_offset_ms,
        status,
        fetch.created_at,
        fetch.failure,
        fetch.is_signed(),
    )
    .execute(&scope.pool)
    .await
    .map_err(failure)?;
    Ok(stored.rows_affected() > 0)
}

/// The newest under any of these ids that is on its way or will not come.
pub async fn wanted(scope: &Scope, ids: &[SessionId]) -> Result<Option<Fetch>> {
    let ids = uuids(ids);
    let row = read(&scope.pool, || {
        sqlx::query!(
            "select id, reference, url, endpoint_id, started_at, start_offset_ms, attempts, created_at,
                    case when status = 'failed' then coalesce(reason, '') end as failure
               from recording_fetches
              where tenant_id = $1 and id = any($2) and status <> 'done'
              order by created_at desc
              limit 1",
            scope.tenant.0,
            &ids,
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    Ok(row.map(|row| Fetch {
        id: SessionId(row.id),
        reference: row.reference,
        url: row.url,
        endpoint_id: row.endpoint_id,
        placement: Placement {
            started_at: row.started_at,
            start_offset_ms: row.start_offset_ms,
        },
        attempts: row.attempts,
        created_at: row.created_at,
        failure: row.failure,
    }))
}

/// Keeps what was claimed from others until then, unless something else is wanted by now.
pub async fn renew(scope: &Scope, fetch: &Fetch, until: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update recording_fetches
            set due_at = $5
          where tenant_id = $1 and id = $2 and url = $3 and attempts = $4 and status = 'pending'
            -- Not where it has been put off meanwhile.
            and due_at < $5",
        scope.tenant.0,
        fetch.id.0,
        fetch.url,
        fetch.attempts,
        until,
    )
    .execute(&scope.pool)
    .await
    .map_err(failure)?;
    Ok(())
}

/// What came of trying.
pub enum Tried {
    Done,
    /// It may still come.
    Again {
        due_at: DateTime<Utc>,
        why: String,
    },
    Failed(String),
}

/// Notes what came of it, unless something else is wanted by now.
pub async fn settle(scope: &Scope, fetch: &Fetch, tried: Tried) -> Result<()> {
    let (status, due_at, reason) = match tried {
        Tried::Done => ("done", None, None),
        Tried::Again { due_at, why } => ("pending", Some(due_at), Some(why)),
        Tried::Failed(why) => ("failed", None, Some(why)),
    };
    sqlx::query!(
        "update recording_fetches
            set status = $5, due_at = coalesce($6, due_at), reason = $7
          where tenant_id = $1 and id = $2 and url = $3 and attempts = $4 and status = 'pending'",
        scope.tenant.0,
        fetch.id.0,
        fetch.url,
        fetch.attempts,
        status,
        due_at,
        reason,
    )
    .execute(&scope.pool)
    .await
    .map_err(failure)?;
    Ok(())
}
