//! What a tenant pays for what its calls use.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::Result;
use crate::domain::price::Prices;
use crate::store::Scope;
use crate::store::Store;
use crate::store::prices;

pub use crate::store::prices::Overrides;

/// Computes costs again that were computed by other prices. Answers whether there is more to do at once.
pub async fn sweep(store: &Store, now: DateTime<Utc>) -> Result<bool> {
    prices::sweep(store, now).await
}

/// The tenant's own prices.
pub async fn own(scope: &Scope) -> Result<Overrides> {
    prices::get(scope).await
}

/// Puts what a tenant writes in the place of the prices that it had.
pub async fn replace(
    scope: &Scope,
    body: &Map<String, Value>,
    key_id: &str,
    now: DateTime<Utc>,
) -> Result<Overrides> {
    let own = Prices::read(body)?;
    prices::put(scope, &own, key_id, now).await?;
    prices::get(scope).await
}
