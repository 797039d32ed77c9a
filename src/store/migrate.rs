//! The schema's history, and whether the database has all of it.

use std::sync::atomic::Ordering;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{Connection, PgConnection};

use super::failure::failure;
use super::{ConnectOptions, Store};
use crate::domain::{Error, Result};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// How much of the schema's history a database has.
pub struct Schema {
    pub applied: usize,
    pub known: usize,
    pub newest: Option<i64>,
}

impl Store {
    /// Applies what is missing. Servers that start together wait for each other: an advisory lock.
    pub async fn migrate(&self) -> Result<()> {
        self.holds_every_script().await?;
        // An own connection, since the lock may be waited for longer than the pool's patience.
        let mut connection = PgConnection::connect_with(&self.options)
            .await
            .map_err(failure)?;
        MIGRATIONS
            .run_direct(None, &mut connection, false)
            .await
            .map_err(refused)?;
        self.migrated.store(true, Ordering::Release);
        connection.close().await.map_err(failure)
    }

    /// Whether [`Store::migrate`] has ended well in this process.
    pub fn is_migrated(&self) -> bool {
        self.migrated.load(Ordering::Acquire)
    }

    pub async fn schema(&self) -> Result<Schema> {
        let mut connection = self.pool.acquire().await.map_err(failure)?;
        let applied = match connection
            .list_applied_migrations(&MIGRATIONS.table_name)
            .await
        {
            Ok(applied) => applied,
            Err(MigrateError::Execute(error)) if is_unknown_table(&error) => Vec::new(),
            Err(error) => return Err(refused(error)),
        };
        Ok(Schema {
            applied: applied.len(),
            known: MIGRATIONS.iter().count(),
            newest: applied.iter().map(|migration| migration.version).max(),
        })
    }
}

fn is_unknown_table(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.code().as_deref() == Some("42P01"))
}

fn refused(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) => failure(error),
        MigrateError::VersionMissing(version) => Error::Internal(format!(
            "the database has migration {version}, which this version of voxray does not know: it was \
             migrated by a newer one"
        )),
        other => Error::Internal(other.to_string()),
    }
}

/// Reads a database URL.
pub fn parse_url(url: &str) -> std::result::Result<ConnectOptions, String> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err("must start with `postgres://`".to_owned());
    }
    url.parse().map_err(|error: sqlx::Error| error.to_string())
}
