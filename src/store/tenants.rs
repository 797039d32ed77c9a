//! Tenants. A reference table, asked for by an operator: these functions take the store, not a scope.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Store;
use super::api_keys;
use super::api_keys::NewKey;
use super::failure::{failure, read};
use crate::domain::access::Tenant;
use crate::domain::audit::Action;
use crate::domain::ids::TenantId;
use crate::domain::{Error, Result};

/// Creates a tenant together with its first key.
pub async fn create(store: &Store, tenant: &Tenant, key: &NewKey) -> Result<()> {
    let mut transaction = store.pool.begin().await.map_err(failure)?;
    sqlx::query!(
        "insert into tenants (id, name, created_at)
         values ($1, $2, $3)",
        tenant.id.0,
        tenant.name,
        tenant.created_at,
    )
    .execute(&mut *transaction)
    .await
    .map_err(|error| match error.as_database_error() {
        Some(database) if database.is_unique_violation() => {
            Error::Conflict(format!("there is a tenant `{}` already", tenant.name))
        }
        _ => failure(error),
    })?;
    api_keys::insert(&mut transaction, key).await?;
    api_keys::note(
        &mut transaction,
        tenant.id,
        Action::KeyCreate,
        &key.id,
        key.created_at,
    )
    .await?;
    transaction.commit().await.map_err(failure)
}

/// All of them, oldest first: an installation has few.
pub async fn list(store: &Store) -> Result<Vec<Tenant>> {
    let rows = read(&store.pool, || {
        sqlx::query_as!(
            Row,
            "select id, name, created_at
               from tenants
              order by created_at, id"
        )
        .fetch_all(&store.pool)
    })
    .await?;
    Ok(rows.into_iter().map(Tenant::from).collect())
}

/// The tenant with this id or name.
pub async fn find(store: &Store, reference: &str) -> Result<Tenant> {
    let id = Uuid::try_parse(reference).ok();
    let row = read(&store.pool, || {
        sqlx::query_as!(
            Row,
            "select id, name, created_at
               from tenants
              where id = $1 or name = $2",
            id,
            reference,
        )
        .fetch_optional(&store.pool)
    })
    .await?;
    row.map(Tenant::from).ok_or(Error::NotFound("tenant"))
}

struct Row {
    id: Uuid,
    name: String,
    created_at: DateTime<Utc>,
}

impl From<Row> for Tenant {
    fn from(row: Row) -> Self {
        Self {
            id: TenantId(row.id),
            name: row.name,
            created_at: row.created_at,
        }
    }
}
