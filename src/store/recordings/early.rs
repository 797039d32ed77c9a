//! Recordings that came before their calls: a worker's view, over all tenants; a partial index keeps it
//! small whatever the history.

use chrono::{DateTime, Utc};

use super::{leftovers, usage};
use crate::domain::Result;
use crate::domain::ids::{SessionId, TenantId};
use crate::store::failure::{failure, read};
use crate::store::scope::{Scope, Store};

/// Handled in one round.
const ROUND_MAX: i64 = 500;

/// A recording that has waited long enough.
pub struct Early {
    pub scope: Scope,
    pub id: SessionId,
    pub object: String,
    /// Its call has come meanwhile.
    pub has_call: bool,
}

/// Recordings without a call when they came, which was before this time.
pub async fn early(store: &Store, before: DateTime<Utc>) -> Result<Vec<Early>> {
    let rows = read(&store.analytics, || {
        sqlx::query!(
            r#"select r.tenant_id, r.id, r.object_path,
                      exists (select 1 from sessions s where s.tenant_id = r.tenant_id and s.id = r.id)
                      or exists (select 1 from sessions s where s.tenant_id = r.tenant_id and s.call_sid = r.call_sid)
                         as "has_call!"
                 from recordings r
                where r.is_early and r.created_at < $1
                order by r.created_at
                limit $2"#,
            before,
            ROUND_MAX,
        )
        .fetch_all(&store.analytics)
    })
    .await?;
    let early = rows.into_iter().map(|row| Early {
        scope: Scope::for_worker(store, TenantId(row.tenant_id)),
        id: SessionId(row.id),
        object: row.object_path,
        has_call: row.has_call,
    });
    Ok(early.collect())
}

/// Its call has come: it waits no more.
pub async fn settle(scope: &Scope, id: SessionId) -> Result<()> {
    sqlx::query!(
        "update recordings set is_early = false where tenant_id = $1 and id = $2",
        scope.tenant.0,
        id.0,
    )
    .execute(&scope.pool)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Its call never came: drops the row, unless another recording has taken its place or the call has come
/// after all. Answers whether it did; the object is to go then.
pub async fn forget(
    scope: &Scope,
    id: SessionId,
    object: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let mut transaction = scope.pool.begin().await.map_err(failure)?;
    let dropped = sqlx::query_scalar!(
        "delete from recordings where tenant_id = $1 and id = $2 and object_path = $3 and is_early
            and not exists (select 1 from sessions s where s.tenant_id = $1 and s.id = $2)
         returning size_bytes",
        scope.tenant.0,
        id.0,
        object,
    )
    .fetch_optional(&mut *transaction)
    .await
    .map_err(failure)?;
    if let Some(size_bytes) = dropped {
        usage::take(&mut transaction, scope, &[size_bytes]).await?;
        leftovers::note(&mut *transaction, scope, object, now).await?;
    }
    transaction.commit().await.map_err(failure)?;
    Ok(dropped.is_some())
}
