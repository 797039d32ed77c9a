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
                (tenant_id, endpoint_id, received_at, status, result, reason, event, session_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         returning id",
        scope.tenant.0,
        endpoint_id,
        delivery.received_at,
        delivery.status,
        delivery.result,
        delivery.reason,
        delivery.event,
        delivery.session.map(|session| session.0),
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
    });
    Ok(deliveries.collect())
}
