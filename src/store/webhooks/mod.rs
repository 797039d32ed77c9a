//! Webhook endpoints of a tenant, and their logs.

mod deliveries;
mod open;

use chrono::{DateTime, Utc};

use crate::domain::audit::{Action, Deed};
use crate::domain::webhook::{ENDPOINTS_MAX, Endpoint, Settings, Vendor};
use crate::domain::{Error, Result};
use crate::store::audit;
use crate::store::columns::unreadable;
use crate::store::failure::{failure, read};
use crate::store::scope::Scope;

pub use deliveries::{deliveries, note};
pub use open::open;

/// An endpoint as its row has it.
struct Row {
    id: String,
    vendor: String,
    name: String,
    secret: String,
    settings: String,
    created_at: DateTime<Utc>,
    disabled_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Endpoint {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let vendor: Vendor = row
            .vendor
            .parse()
            .map_err(|_| unreadable("webhook_endpoints.vendor", &row.vendor))?;
        // Not told what: it holds a password.
        let settings: Settings = serde_json::from_str(&row.settings)
            .map_err(|_| unreadable("webhook_endpoints.settings", &row.id))?;
        Ok(Self {
            id: row.id,
            vendor,
            name: row.name,
            secret: row.secret,
            settings,
            created_at: row.created_at,
            disabled_at: row.disabled_at,
        })
    }
}

/// Stores a new endpoint, and who made it.
pub async fn create(scope: &Scope, endpoint: &Endpoint, actor: &str) -> Result<()> {
    let settings = serde_json::to_string(&endpoint.settings)
        .map_err(|error| Error::Internal(error.to_string()))?;
    let mut transaction = scope.pool.begin().await.map_err(failure)?;
    let stored = sqlx::query!(
        "insert into webhook_endpoints (tenant_id, id, vendor, name, secret, settings, created_at)
         select $1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, $7::timestamptz
          where (select count(*) from webhook_endpoints where tenant_id = $1 and disabled_at is null) < $8",
        scope.tenant.0,
        endpoint.id,
        endpoint.vendor.as_str(),
        endpoint.name,
        endpoint.secret,
        settings,
        endpoint.created_at,
        ENDPOINTS_MAX,
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    if stored.rows_affected() == 0 {
        return Err(Error::Conflict(format!(
            "a tenant has at most {ENDPOINTS_MAX} webhook endpoints: remove one"
        )));
    }
    let deed = deed(
        Action::WebhookCreate,
        &endpoint.id,
        actor,
        endpoint.created_at,
    );
    audit::append(&mut transaction, scope.tenant, deed).await?;
    transaction.commit().await.map_err(failure)
}

/// Closes an endpoint for good and forgets its secrets. Closing it twice keeps the first time.
pub async fn disable(scope: &Scope, id: &str, actor: &str, now: DateTime<Utc>) -> Result<()> {
    let mut transaction = scope.pool.begin().await.map_err(failure)?;
    let known = sqlx::query!(
        "select disabled_at from webhook_endpoints where tenant_id = $1 and id = $2 for update",
        scope.tenant.0,
        id,
    )
    .fetch_optional(&mut *transaction)
    .await
    .map_err(failure)?
    .ok_or(Error::NotFound("webhook endpoint"))?;
    if known.disabled_at.is_some() {
        return Ok(());
    }
    sqlx::query!(
        "update webhook_endpoints
            set disabled_at = $3, secret = '', settings = '{}'
          where tenant_id = $1 and id = $2",
        scope.tenant.0,
        id,
        now,
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    let deed = deed(Action::WebhookDisable, id, actor, now);
    audit::append(&mut transaction, scope.tenant, deed).await?;
    transaction.commit().await.map_err(failure)
}

fn deed(action: Action, id: &str, actor: &str, at: DateTime<Utc>) -> Deed {
    Deed {
        at,
        actor: actor.to_owned(),
        action,
        object_id: id.to_owned(),
        fields: Vec::new(),
    }
}

/// The tenant's endpoints, oldest first; disabled ones too if wanted, the newest of them.
pub async fn list(scope: &Scope, with_disabled: bool) -> Result<Vec<Endpoint>> {
    let rows = read(&scope.pool, || {
        sqlx::query_as!(
            Row,
            "select id, vendor, name, secret, settings, created_at, disabled_at
               from webhook_endpoints
              where tenant_id = $1 and (disabled_at is null or $2)
              order by created_at desc, id
              limit $3",
            scope.tenant.0,
            with_disabled,
            2 * ENDPOINTS_MAX,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    rows.into_iter().rev().map(Endpoint::try_from).collect()
}

/// One of the tenant's endpoints, disabled or not.
pub async fn find(scope: &Scope, id: &str) -> Result<Endpoint> {
    let row = read(&scope.pool, || {
        sqlx::query_as!(
            Row,
            "select id, vendor, name, secret, settings, created_at, disabled_at
               from webhook_endpoints
              where tenant_id = $1 and id = $2",
            scope.tenant.0,
            id,
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    row.map(Endpoint::try_from)
        .ok_or(Error::NotFound("webhook endpoint"))?
}
