//! Fetches whose time has come: a worker's view, over all tenants; a partial index keeps it small whatever
//! the history.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::ids::{SessionId, TenantId};
use crate::domain::recording::Placement;
use crate::domain::webhook::Fetch;
use crate::store::failure::failure;
use crate::store::scope::{Scope, Store};

/// Takes one fetch that is due, so that nobody else does before `until`, or later if that is renewed: whoever dies over it has
/// had one try. Those of the tenants that are `busy` wait.
pub async fn claim(
    store: &Store,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    busy: &[TenantId],
) -> Result<Option<(Scope, Fetch)>> {
    let busy: Vec<Uuid> = busy.iter().map(|tenant| tenant.0).collect();
    let row = sqlx::query!(
        "update recording_fetches f
            set attempts = f.attempts + 1, due_at = $2
           from (select tenant_id, id
                   from recording_fetches
                  where status = 'pending' and due_at <= $1 and tenant_id <> all($3)
                  order by due_at
                  limit 1
                    for update skip locked) as due
          where f.tenant_id = due.tenant_id and f.id = due.id
         returning f.tenant_id, f.id, f.reference, f.url, f.endpoint_id, f.started_at, f.start_offset_ms,
                   f.attempts, f.created_at",
        now,
        until,
        &busy,
    )
    .fetch_optional(&store.pool)
    .await
    .map_err(failure)?;
    Ok(row.map(|row| {
        let fetch = Fetch {
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
            failure: None,
        };
        (Scope::for_worker(store, TenantId(row.tenant_id)), fetch)
    }))
}
