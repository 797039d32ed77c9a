//! What the database says about itself: for readiness and for `voxray doctor`.

use chrono::{DateTime, Utc};

use super::Store;
use super::failure::read;
use crate::domain::Result;

/// A database server's own account.
pub struct Server {
    pub version: String,
    /// The settings on which durability rests, by name.
    pub settings: Vec<(String, String)>,
    pub now: DateTime<Utc>,
}

impl Store {
    /// Whether the database answers at all.
    pub async fn ping(&self) -> Result<()> {
        read(&self.pool, || {
            sqlx::query_scalar!("select 1").fetch_one(&self.pool)
        })
        .await
        .map(|_| ())
    }

    pub async fn server(&self) -> Result<Server> {
        let row = read(&self.pool, || {
            sqlx::query!(
                r#"select current_setting('server_version') as "version!",
                          current_setting('fsync') as "fsync!",
                          current_setting('full_page_writes') as "full_page_writes!",
                          current_setting('synchronous_commit') as "synchronous_commit!",
                          clock_timestamp() as "now!""#
            )
            .fetch_one(&self.pool)
        })
        .await?;
        Ok(Server {
            version: row.version,
            settings: vec![
                ("fsync".to_owned(), row.fsync),
                ("full_page_writes".to_owned(), row.full_page_writes),
                ("synchronous_commit".to_owned(), row.synchronous_commit),
            ],
            now: row.now,
        })
    }
}
