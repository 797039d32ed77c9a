//! What people write about calls. Each change is one transaction: the session's row is locked first, as
//! the writer of facts does, and the audit log is appended to last.

mod edits;
mod evaluations;

use chrono::{DateTime, Utc};

use crate::domain::ids::SessionId;
use crate::domain::{Error, Result};
use crate::store::failure::read;
use crate::store::pool::Transaction;
use crate::store::scope::Scope;

pub use edits::edit;
pub use evaluations::{create, delete, list, one, update};

/// Who changes something, and when.
pub struct Author {
    /// The public id of the key.
    pub key_id: String,
    pub at: DateTime<Utc>,
}

/// A session's row, locked until the end of the transaction.
struct Locked {
    transaction: Transaction,
    started_at: DateTime<Utc>,
    derived_tags: Vec<String>,
    evaluation_count: i32,
}

async fn lock(scope: &Scope, session: SessionId) -> Result<Locked> {
    // Nothing is changed yet, so that this may be tried again on another connection.
    let locked = read(&scope.pool, || async {
        let mut transaction = scope.pool.begin().await?;
        let row = sqlx::query!(
            "select started_at, tags, evaluation_count
               from sessions
              where tenant_id = $1 and id = $2
                for no key update",
            scope.tenant.0,
            session.0,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        Ok(row.map(|row| Locked {
            transaction,
            started_at: row.started_at,
            derived_tags: row.tags,
            evaluation_count: row.evaluation_count,
        }))
    })
    .await?;
    locked.ok_or(Error::NotFound("session"))
}
