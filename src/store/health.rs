//! What the database says about itself: for readiness and for `voxray doctor`.

use chrono::{DateTime, Utc};

use super::Store;
use super::failure::read;
use crate::domain::{Error, Result};

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

    /// Other encodings than this one lack characters, or know no characters but only bytes: then calls are refused for
    /// a quotation mark, and words of many scripts are never found.
    pub async fn holds_every_script(&self) -> Result<()> {
        let encoding = read(&self.pool, || {
            sqlx::query_scalar!(r#"select current_setting('server_encoding') as "encoding!""#)
                .fetch_one(&self.pool)
        })
        .await?;
        if encoding == "UTF8" {
            return Ok(());
        }
        Err(Error::Internal(format!(
            "the database's encoding is {encoding}, which cannot hold what is said: make another with \
             `create database voxray encoding 'UTF8' template template0`"
        )))
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
