//! An endpoint's log: its newest deliveries, what became of each, and never what it said.

use crate::domain::Result;
use crate::domain::ids::SessionId;
use crate::domain::webhook::{DELIVERIES_MAX, Delivery};
use crate::store::failure::{failure, read};
use crate::store::scope::Scope;

/// Appends a line, and lets the oldest go.
pub async fn note(scope: &Scope, endpoint_id: &str, delivery: &Delivery) -> Result<()> {
    let id = sqlx::query_scalar!(
        "insert into webhook_deliveries
                (tenant_id, endpoint_id, received_at, status, result, reason, event, session_id, digest)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         returning id",
        scope.tenant.0,
        endpoint_id,
        delivery.received_at,
        delivery.status,
        delivery.result,
        delivery.reason,
        delivery.event,
        delivery.session.map(|session| session.0),
        delivery.digest.as_ref().map(|digest| digest.as_slice()),
    )
    .fetch_one(&scope.pool)
    .await
    .map_err(failure)?;
    // Behind the oldest that stays there are few: whatever came since somebody last looked.
    sqlx::query!(
        "delete from webhook_deliveries
          where tenant_id = $1 and endpoint_id = $2
            and id <= (select id
                         from webhook_deliveries
                        where tenant_id = $1 and endpoint_id = $2 and id <= $3
                        order by id desc
                       offset $4
                        limit 1)",
        scope.tenant.0,
        endpoint_id,
        id,
        DELIVERIES_MAX,
    )
    .execute(&scope.pool)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Whether a body that is in the log was taken already.
pub async fn was_taken(scope: &Scope, endpoint_id: &str, digest: &[u8; 32]) -> Result<bool> {
    let found = read(&scope.pool, || {
        sqlx::query_scalar!(
            r#"select exists (select 1
                                from webhook_deliveries
                               where tenant_id = $1 and endpoint_id = $2 and digest = $3
                                 and result = 'accepted') as "found!""#,
            scope.tenant.0,
            endpoint_id,
            digest.as_slice(),
        )
        .fetch_one(&scope.pool)
    });
    found.await
}

/// What has come lately, newest first.
pub async fn deliveries(scope: &Scope, endpoint_id: &str) -> Result<Vec<Delivery>> {
    let rows = read(&scope.pool, || {
        sqlx::query!(
            "select received_at, status, result, reason, event, session_id
               from webhook_deliveries
              where tenant_id = $1 and endpoint_id = $2
              order by id desc
              limit $3",
            scope.tenant.0,
            endpoint_id,
            DELIVERIES_MAX,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    let deliveries = rows.into_iter().map(|row| Delivery {
        received_at: row.received_at,
        status: row.status,
        result: row.result,
        reason: row.reason,
        event: row.event,
        session: row.session_id.map(SessionId),
        digest: None,
    });
    Ok(deliveries.collect())
}
