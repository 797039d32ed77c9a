//! What tenants pay where it is not what the shipped table says.

mod sweep;

use chrono::{DateTime, Utc};

use crate::domain::audit::{Action, Deed};
use crate::domain::price::{Price, Prices};
use crate::domain::{Error, Result};
use crate::store::audit;
use crate::store::failure::{failure, read};
use crate::store::scope::Scope;

pub use sweep::sweep;

/// A tenant's own prices, and when they were written.
pub struct Overrides {
    pub prices: Prices,
    pub updated_at: Option<DateTime<Utc>>,
}

pub async fn get(scope: &Scope) -> Result<Overrides> {
    let row = read(&scope.pool, || {
        sqlx::query!(
            "select version, prices, updated_at
               from price_overrides
              where tenant_id = $1",
            scope.tenant.0,
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    match row {
        None => Ok(Overrides {
            prices: Prices::default(),
            updated_at: None,
        }),
        Some(row) => Ok(Overrides {
            prices: parsed(row.version, &row.prices)?,
            updated_at: Some(row.updated_at),
        }),
    }
}

/// Puts a tenant's own prices in the place of those that it had.
pub async fn put(scope: &Scope, prices: &[Price], key_id: &str, now: DateTime<Utc>) -> Result<()> {
    let mut transaction = scope.pool.begin().await.map_err(failure)?;
    sqlx::query!(
        "insert into price_overrides (tenant_id, version, prices, updated_at, updated_by)
         values ($1, 1, $2, $3, $4)
             on conflict (tenant_id)
             do update set version = price_overrides.version + 1, prices = excluded.prices,
                updated_at = excluded.updated_at, updated_by = excluded.updated_by",
        scope.tenant.0,
        serde_json::to_string(prices).map_err(|error| Error::Internal(error.to_string()))?,
        now,
        key_id,
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    let deed = Deed {
        at: now,
        actor: key_id.to_owned(),
        action: Action::PricesUpdate,
        object_id: scope.tenant.to_string(),
        fields: vec!["prices".to_owned()],
    };
    audit::append(&mut transaction, scope.tenant, deed).await?;
    transaction.commit().await.map_err(failure)
}

/// Prices as they are stored.
pub(in crate::store) fn parsed(version: i64, prices: &str) -> Result<Prices> {
    let overrides: Vec<Price> = serde_json::from_str(prices)
        .map_err(|error| Error::Internal(format!("price_overrides.prices: {error}")))?;
    Ok(Prices { overrides, version })
}
