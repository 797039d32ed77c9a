//! Deleting calls with all that belongs to them. A tombstone stays, so that no late word brings one back.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::audit::{Action, Deed};
use crate::domain::ids::SessionId;
use crate::domain::live::Changes;
use crate::domain::retention::TOMBSTONE_DAYS;
use crate::domain::{Error, Result};
use crate::store::audit;
use crate::store::columns::to_text;
use crate::store::failure::{failure, is_lost};
use crate::store::recordings;
use crate::store::scope::Scope;

use super::tombstones;

/// Deleted in one round: each takes its turns, spans and the like along.
const BURY_MAX: i64 = 50;

/// Deletes some closed calls from before a moment, those that nobody else is at. Answers how many.
pub async fn bury_due(scope: &Scope, before: DateTime<Utc>, now: DateTime<Utc>) -> Result<usize> {
    let mut transaction = scope.analytics.begin().await.map_err(failure)?;
    let due = sqlx::query_scalar!(
        "select id
           from sessions
          where tenant_id = $1 and closed_at is not null
            and greatest(ended_at, received_at) < $2
          order by greatest(ended_at, received_at)
          limit $3
            for update skip locked",
        scope.tenant.0,
        before,
        BURY_MAX,
    )
    .fetch_all(&mut *transaction)
    .await
    .map_err(failure)?;
    if due.is_empty() {
        return Ok(0);
    }
    bury(&mut transaction, scope, &due, now).await?;
    transaction.commit().await.map_err(failure)?;
    Ok(due.len())
}

/// Whoever writes about the call meanwhile takes its rows in other orders; then one of the two has to begin again.
const ERASE_TRIES: usize = 3;

/// Deletes one call, whatever its state, because somebody wants it gone. Answers the audio that is to go.
pub async fn erase(
    scope: &Scope,
    session: SessionId,
    key_id: &str,
    now: DateTime<Utc>,
) -> Result<Vec<String>> {
    for _ in 1..ERASE_TRIES {
        match try_to_erase(scope, session, key_id, now).await {
            Err(error) if is_lost(&error) => {
                tracing::debug!(%error, "trying again to delete a call");
            }
            done => return done,
        }
    }
    try_to_erase(scope, session, key_id, now).await
}

async fn try_to_erase(
    scope: &Scope,
    session: SessionId,
    key_id: &str,
    now: DateTime<Utc>,
) -> Result<Vec<String>> {
    let mut transaction = scope.pool.begin().await.map_err(failure)?;
    sqlx::query_scalar!(
        "select id from sessions where tenant_id = $1 and id = $2 for update",
        scope.tenant.0,
        session.0,
    )
    .fetch_optional(&mut *transaction)
    .await
    .map_err(failure)?
    .ok_or(Error::NotFound("session"))?;
    let objects = bury(&mut transaction, scope, &[session.0], now).await?;
    let deed = Deed {
        at: now,
        actor: key_id.to_owned(),
        action: Action::SessionDelete,
        object_id: session.to_string(),
        fields: Vec::new(),
    };
    audit::append(&mut transaction, scope.tenant, deed).await?;
    transaction.commit().await.map_err(failure)?;
    Ok(objects)
}

/// Deletes sessions that this transaction has locked. Their hours are counted anew.
async fn bury(
    connection: &mut PgConnection,
    scope: &Scope,
    ids: &[Uuid],
    now: DateTime<Utc>,
) -> Result<Vec<String>> {
    let until = now + TimeDelta::days(TOMBSTONE_DAYS);
    tombstones::leave(connection, scope, ids, now, until).await?;
    let objects = recordings::forget_of(connection, scope, ids, now).await?;
    sqlx::query!(
        "insert into dirty_hour (tenant_id, hour)
         select distinct tenant_id, date_trunc('hour', started_at, 'UTC')
           from sessions
          where tenant_id = $1 and id = any ($2)",
        scope.tenant.0,
        ids,
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    // No keys of theirs lead to the session. Of what waits to be told nothing is left but that it is gone.
    let deleted = Changes {
        is_deleted: true,
        ..Changes::default()
    };
    sqlx::query!(
        "with marks as (
            delete from analysis_marks where tenant_id = $1 and session_id = any ($2)
         ), waiting as (
            delete from live_outbox where tenant_id = $1 and session_id = any ($2)
         )
         insert into live_outbox (tenant_id, session_id, at, status, changes)
         select tenant_id, id, $3, status, $4
           from sessions
          where tenant_id = $1 and id = any ($2)",
        scope.tenant.0,
        ids,
        now,
        to_text(&deleted),
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    // All that hangs on it goes with it.
    sqlx::query!(
        "delete from sessions where tenant_id = $1 and id = any ($2)",
        scope.tenant.0,
        ids,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(objects)
}
