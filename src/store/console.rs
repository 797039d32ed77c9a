//! Sessions of the console: each stands for the key that it was opened with, until it is closed, it expires, or
//! the key is no more. The key is named in the cookie, so that tenant and rights are those of now.

use chrono::{DateTime, Utc};

use super::api_keys;
use super::failure::{failure, read};
use super::{Grant, Scope, Store};
use crate::domain::Error;
use crate::domain::Result;
use crate::domain::access::KeyHash;

/// Open sessions of one tenant at a time.
const SESSIONS_MAX: i64 = 10_000;

/// Stores a session. The tenant's expired ones go.
pub async fn begin(
    scope: &Scope,
    key_id: &str,
    hash: &KeyHash,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "delete from console_sessions where tenant_id = $1 and expires_at <= $2",
        scope.tenant.0,
        now,
    )
    .execute(&scope.pool)
    .await
    .map_err(failure)?;
    let stored = sqlx::query!(
        "insert into console_sessions (tenant_id, hash, key_id, created_at, expires_at)
         select $1::uuid, $2::bytea, $3::text, $4::timestamptz, $5::timestamptz
          where (select count(*) from console_sessions where tenant_id = $1) < $6",
        scope.tenant.0,
        hash.as_slice(),
        key_id,
        now,
        expires_at,
        SESSIONS_MAX,
    )
    .execute(&scope.pool)
    .await
    .map_err(failure)?;
    if stored.rows_affected() > 0 {
        return Ok(());
    }
    let text = "this tenant has too many console sessions open: sign out of some";
    Err(Error::Conflict(text.to_owned()))
}

/// What a session opens; nothing if it is unknown, closed, expired, or its key is no more.
pub async fn open(
    store: &Store,
    key_id: &str,
    hash: &KeyHash,
    now: DateTime<Utc>,
) -> Result<Option<Grant>> {
    let Some(grant) = api_keys::current(store, key_id, now).await? else {
        return Ok(None);
    };
    let row = read(&store.pool, || {
        sqlx::query!(
            "select expires_at
               from console_sessions
              where tenant_id = $1
                and hash = $2
                and key_id = $3
                and expires_at > $4",
            grant.scope().tenant.0,
            hash.as_slice(),
            key_id,
            now,
        )
        .fetch_optional(&store.pool)
    })
    .await?;
    Ok(row.map(|row| grant.of_session(*hash, row.expires_at)))
}

/// Closes a session. Closing it twice changes nothing.
pub async fn end(scope: &Scope, hash: &KeyHash) -> Result<()> {
    sqlx::query!(
        "delete from console_sessions where tenant_id = $1 and hash = $2",
        scope.tenant.0,
        hash.as_slice(),
    )
    .execute(&scope.pool)
    .await
    .map_err(failure)?;
    Ok(())
}
