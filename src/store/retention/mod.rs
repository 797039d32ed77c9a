//! For how long calls are kept: what a tenant has set, which calls are due, closing them, deleting them, and
//! the tombstones that deleted ones leave.

mod bury;
mod close;
mod due;
mod tombstones;

use chrono::{DateTime, Utc};

use crate::domain::Result;
use crate::domain::audit::{Action, Deed};
use crate::domain::retention::{Period, Retention};
use crate::store::audit;
use crate::store::failure::{failure, read};
use crate::store::scope::Scope;

pub use bury::{bury_due, erase};
pub use close::close_due;
pub use due::{Due, Waiting, due, waiting};
pub use tombstones::{forget_due, is_buried};

pub(in crate::store) use tombstones::{Asked, buried};

/// What a tenant has set, and when.
pub struct Settings {
    pub retention: Retention,
    /// When, and by which key.
    pub updated: Option<(DateTime<Utc>, String)>,
}

pub async fn get(scope: &Scope) -> Result<Settings> {
    let row = read(&scope.pool, || {
        sqlx::query!(
            "select content_days, metrics_days, updated_at, updated_by
               from retention_settings
              where tenant_id = $1",
            scope.tenant.0,
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    Ok(match row {
        None => Settings {
            retention: Retention::default(),
            updated: None,
        },
        Some(row) => Settings {
            retention: of_columns(row.content_days, row.metrics_days),
            updated: Some((row.updated_at, row.updated_by)),
        },
    })
}

/// Puts what is given in the place of what was set. What changes nothing is not noted.
pub async fn put(
    scope: &Scope,
    retention: Retention,
    key_id: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let before = get(scope).await?;
    let fields = retention.changed(before.retention);
    if fields.is_empty() && before.updated.is_some() {
        return Ok(());
    }
    let mut transaction = scope.pool.begin().await.map_err(failure)?;
    sqlx::query!(
        "insert into retention_settings (tenant_id, content_days, metrics_days, updated_at, updated_by)
         values ($1, $2, $3, $4, $5)
             on conflict (tenant_id)
             do update set content_days = excluded.content_days, metrics_days = excluded.metrics_days,
                updated_at = excluded.updated_at, updated_by = excluded.updated_by",
        scope.tenant.0,
        retention.content.map(Period::stored),
        retention.metrics.map(Period::stored),
        now,
        key_id,
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    let deed = Deed {
        at: now,
        actor: key_id.to_owned(),
        action: Action::RetentionUpdate,
        object_id: scope.tenant.to_string(),
        fields,
    };
    audit::append(&mut transaction, scope.tenant, deed).await?;
    transaction.commit().await.map_err(failure)
}

fn of_columns(content_days: Option<i32>, metrics_days: Option<i32>) -> Retention {
    Retention {
        content: content_days.map(Period::from_stored),
        metrics: metrics_days.map(Period::from_stored),
    }
}
