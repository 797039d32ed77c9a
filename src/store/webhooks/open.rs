//! The door that an address names. That it is known says which tenant it is; who knocks has to prove itself
//! by its signature before anything is done with what it sends.

use chrono::{DateTime, Utc};

use super::Row;
use crate::domain::Result;
use crate::domain::ids::TenantId;
use crate::domain::webhook::Endpoint;
use crate::store::failure::read;
use crate::store::scope::{Scope, Store};

/// An endpoint that is not disabled, and the scope that it writes into.
pub async fn open(store: &Store, id: &str) -> Result<Option<(Scope, Endpoint)>> {
    let row = read(&store.pool, || {
        sqlx::query!(
            r#"select tenant_id, id, vendor, name, secret, settings, created_at,
                      disabled_at as "disabled_at: DateTime<Utc>"
                 from webhook_endpoints
                where id = $1 and disabled_at is null"#,
            id,
        )
        .fetch_optional(&store.pool)
    })
    .await?;
    let Some(row) = row else { return Ok(None) };
    let scope = Scope::of(store, TenantId(row.tenant_id));
    let endpoint = Endpoint::try_from(Row {
        id: row.id,
        vendor: row.vendor,
        name: row.name,
        secret: row.secret,
        settings: row.settings,
        created_at: row.created_at,
        disabled_at: row.disabled_at,
    })?;
    Ok(Some((scope, endpoint)))
}
