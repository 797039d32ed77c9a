//! Sessions that are going on: which of them have been silent for too long. A worker's view, over all
//! tenants; the partial index on open sessions keeps it small whatever the history.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::event::SessionRef;
use crate::domain::ids::{SessionId, TenantId};
use crate::store::failure::read;
use crate::store::scope::{Scope, Store};

/// Sessions that are told at once.
const PAGE: i64 = 500;

/// An open session of which nothing has been heard since `last_at`.
pub struct Silent {
    pub scope: Scope,
    pub session: SessionRef,
    pub last_at: DateTime<Utc>,
    /// Where the next page starts.
    pub place: Place,
}

/// What the pages are ordered by.
pub type Place = (DateTime<Utc>, Uuid);

/// Before all sessions.
pub const START: Place = (DateTime::UNIX_EPOCH, Uuid::nil());

/// The first page behind a place of the sessions without a fact since `active_before` (or, not yet answered, since `ringing_before`).
pub async fn silent(
    store: &Store,
    active_before: DateTime<Utc>,
    ringing_before: DateTime<Utc>,
    after: Place,
) -> Result<Vec<Silent>> {
    let rows = read(&store.analytics, || {
        sqlx::query!(
            "select tenant_id, id, external_id, last_at, touched_at
               from sessions
              where status in ('queued', 'ringing', 'active')
                and touched_at < case when status = 'active' then $1::timestamptz else $2::timestamptz end
                and (touched_at, id) > ($3, $4)
              order by touched_at, id
              limit $5",
            active_before,
            ringing_before,
            after.0,
            after.1,
            PAGE,
        )
        .fetch_all(&store.analytics)
    })
    .await?;
    let silent = rows.into_iter().map(|row| Silent {
        scope: Scope::for_worker(store, TenantId(row.tenant_id)),
        session: SessionRef::known(SessionId(row.id), row.external_id),
        last_at: row.last_at,
        place: (row.touched_at, row.id),
    });
    Ok(silent.collect())
}
