//! Tickets: each opens, once and for a short time, what the key opens that it was made with. The key is named
//! in the ticket, so that its tenant and rights are those of now, and a revoked key's tickets open nothing.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::access::KeyHash;
use crate::store::api_keys;
use crate::store::failure::failure;
use crate::store::scope::{Grant, Scope, Store};

/// Unused tickets of one tenant at a time.
const TICKETS_MAX: i64 = 1_000;

/// Stores a ticket. The tenant's expired ones go.
pub async fn issue(
    scope: &Scope,
    key_id: &str,
    hash: &KeyHash,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "delete from live_tickets where tenant_id = $1 and expires_at <= $2",
        scope.tenant.0,
        now,
    )
    .execute(&scope.pool)
    .await
    .map_err(failure)?;
    let stored = sqlx::query!(
        "insert into live_tickets (tenant_id, hash, key_id, expires_at)
         select $1::uuid, $2::bytea, $3::text, $4::timestamptz
          where (select count(*) from live_tickets where tenant_id = $1) < $5",
        scope.tenant.0,
        hash.as_slice(),
        key_id,
        expires_at,
        TICKETS_MAX,
    )
    .execute(&scope.pool)
    .await
    .map_err(failure)?;
    if stored.rows_affected() > 0 {
        return Ok(());
    }
    let retry_after = (expires_at - now).max(TimeDelta::seconds(1));
    Err(Error::Throttled {
        limit: TICKETS_MAX.unsigned_abs(),
        retry_after: retry_after.to_std().unwrap_or_default(),
    })
}

/// What a ticket opens; it is used up by this. Nothing if it is unknown, used, expired, or its key is no more.
pub async fn redeem(
    store: &Store,
    key_id: &str,
    hash: &KeyHash,
    now: DateTime<Utc>,
) -> Result<Option<Grant>> {
    let Some(grant) = api_keys::current(store, key_id, now).await? else {
        return Ok(None);
    };
    let used = sqlx::query!(
        "delete from live_tickets
          where tenant_id = $1
            and hash = $2
            and key_id = $3
            and expires_at > $4",
        grant.scope().tenant.0,
        hash.as_slice(),
        key_id,
        now,
    )
    .execute(&store.pool)
    .await
    .map_err(failure)?;
    Ok((used.rows_affected() == 1).then_some(grant))
}
