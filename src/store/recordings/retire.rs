//! What becomes of recordings whose calls are closed or deleted, in the transaction in which that happens.
//! The audio itself is noted as a leftover, and removed by whoever removes those.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{AVAILABLE, DELETED, early_id, usage};
use crate::domain::Result;
use crate::domain::ids::ClaimKind;
use crate::domain::recording::Recording;
use crate::store::columns::column;
use crate::store::failure::failure;
use crate::store::retention::{Asked, buried};
use crate::store::scope::Scope;

/// The recordings of closed sessions: their rows stay and say that they were deleted.
pub(in crate::store) async fn retire(
    connection: &mut PgConnection,
    scope: &Scope,
    sessions: &[Uuid],
    now: DateTime<Utc>,
) -> Result<Vec<String>> {
    let places = places(connection, scope, sessions).await?;
    stop_fetching(connection, scope, &places).await?;
    let gone = sqlx::query!(
        "update recordings
            set status = $3, deleted_at = $4, is_early = false, peaks = null
          where tenant_id = $1 and id = any ($2) and status <> $3
         returning object_path, size_bytes",
        scope.tenant.0,
        &places,
        DELETED,
        now,
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    usage::take(connection, scope, &column(&gone, |row| row.size_bytes)).await?;
    let objects = column(&gone, |row| row.object_path.clone());
    note(connection, scope, &objects, now).await?;
    Ok(objects)
}

/// The recordings of sessions that are deleted: nothing of them stays. Answers the audio that is to go.
pub(in crate::store) async fn forget_of(
    connection: &mut PgConnection,
    scope: &Scope,
    sessions: &[Uuid],
    now: DateTime<Utc>,
) -> Result<Vec<String>> {
    let places = places(connection, scope, sessions).await?;
    stop_fetching(connection, scope, &places).await?;
    let gone = sqlx::query!(
        "delete from recordings where tenant_id = $1 and id = any ($2) returning object_path, status, size_bytes",
        scope.tenant.0,
        &places,
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let there = gone.into_iter().filter(|row| row.status == AVAILABLE);
    let (objects, sizes_bytes): (Vec<String>, Vec<i64>) =
        there.map(|row| (row.object_path, row.size_bytes)).unzip();
    usage::take(connection, scope, &sizes_bytes).await?;
    note(connection, scope, &objects, now).await?;
    Ok(objects)
}

/// Under which ids the recordings of these sessions may be. What came under a call's SID is left alone where
/// another session is of the same call.
async fn places(
    connection: &mut PgConnection,
    scope: &Scope,
    sessions: &[Uuid],
) -> Result<Vec<Uuid>> {
    let sids = sqlx::query_scalar!(
        r#"select s.call_sid as "call_sid!"
             from sessions s
            where s.tenant_id = $1 and s.id = any ($2) and s.call_sid is not null
              and not exists (select 1
                                from sessions o
                               where o.tenant_id = $1 and o.call_sid = s.call_sid and o.id <> all ($2))"#,
        scope.tenant.0,
        sessions,
    )
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let early = sids.iter().map(|sid| early_id(scope, sid).0);
    Ok(sessions.iter().copied().chain(early).collect())
}

async fn stop_fetching(
    connection: &mut PgConnection,
    scope: &Scope,
    places: &[Uuid],
) -> Result<()> {
    sqlx::query!(
        "delete from recording_fetches where tenant_id = $1 and id = any ($2)",
        scope.tenant.0,
        places,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

async fn note(
    connection: &mut PgConnection,
    scope: &Scope,
    objects: &[String],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into recording_leftovers (tenant_id, object_path, due_at)
         select $1, object_path, $3 from unnest($2::text[]) as o (object_path)
             on conflict (tenant_id, object_path) do update set due_at = excluded.due_at",
        scope.tenant.0,
        objects,
        now,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Whether a recording's call was closed or deleted while it was sent; else it is neither before the end of this
/// transaction.
pub(super) async fn is_over(
    connection: &mut PgConnection,
    scope: &Scope,
    recording: &Recording,
) -> Result<bool> {
    let is_closed = sqlx::query_scalar!(
        r#"select closed_at is not null as "is_closed!" from sessions where tenant_id = $1 and id = $2 for share"#,
        scope.tenant.0,
        recording.id.0,
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(failure)?;
    if let Some(is_closed) = is_closed {
        return Ok(is_closed);
    }
    let sid = recording.call_sid.iter();
    let asked = Asked {
        tenant: scope.tenant.0,
        id: recording.id.0,
        kind: None,
        names: sid.map(|sid| (ClaimKind::CallSid, sid.clone())).collect(),
    };
    let buried = buried(connection, &[asked], recording.created_at).await;
    Ok(!buried.map_err(failure)?.is_empty())
}
