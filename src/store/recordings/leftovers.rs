//! Objects that are to be removed from object storage. Noted in the transaction that makes them so, and
//! struck off once they are gone.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::domain::Result;
use crate::domain::ids::TenantId;
use crate::store::failure::{failure, read};
use crate::store::scope::{Scope, Store};

/// Removed in one round.
const ROUND_MAX: i64 = 500;

/// An object whose time has come.
pub struct Leftover {
    pub scope: Scope,
    pub object: String,
}

/// Notes an object that is about to be stored: if no recording names it by then, it is to go.
pub async fn expect(scope: &Scope, object: &str, due_at: DateTime<Utc>) -> Result<()> {
    note(&scope.pool, scope, object, due_at).await
}

pub(super) async fn note(
    executor: impl PgExecutor<'_>,
    scope: &Scope,
    object: &str,
    due_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into recording_leftovers (tenant_id, object_path, due_at) values ($1, $2, $3)
             on conflict (tenant_id, object_path) do update set due_at = excluded.due_at",
        scope.tenant.0,
        object,
        due_at,
    )
    .execute(executor)
    .await
    .map_err(failure)?;
    Ok(())
}

/// A recording names it now, or it is gone.
pub async fn strike_off(scope: &Scope, object: &str) -> Result<()> {
    strike(&scope.pool, scope, object).await
}

pub(super) async fn strike(
    executor: impl PgExecutor<'_>,
    scope: &Scope,
    object: &str,
) -> Result<()> {
    sqlx::query!(
        "delete from recording_leftovers where tenant_id = $1 and object_path = $2",
        scope.tenant.0,
        object,
    )
    .execute(executor)
    .await
    .map_err(failure)?;
    Ok(())
}

/// A worker's view, over all tenants: the table is empty but for what was cut short.
pub async fn due(store: &Store, now: DateTime<Utc>) -> Result<Vec<Leftover>> {
    let rows = read(&store.analytics, || {
        sqlx::query!(
            "select tenant_id, object_path
               from recording_leftovers
              where due_at <= $1
              order by due_at
              limit $2",
            now,
            ROUND_MAX,
        )
        .fetch_all(&store.analytics)
    })
    .await?;
    let due = rows.into_iter().map(|row| Leftover {
        scope: Scope::for_worker(store, TenantId(row.tenant_id)),
        object: row.object_path,
    });
    Ok(due.collect())
}
