//! The store as a command needs it: an own Postgres, or the private one, shared with a running server.

use crate::cli::Failure;
use crate::config::{LogFormat, Settings, StoreSettings};
use crate::store::embedded::{self, Embedded, Hold};
use crate::store::{ConnectOptions, Store, parse_url};
use crate::telemetry;

/// A short command does one thing at a time.
const COMMAND_CONNECTIONS: u32 = 2;
/// Writers, analytics, listeners and workers of the server, some commands, and what Postgres keeps for itself.
const OTHER_CONNECTIONS: u32 = 50;

/// How to reach the store, and the private Postgres if that is it.
pub struct Postgres {
    pub options: ConnectOptions,
    pub embedded: Option<Embedded>,
}

pub async fn postgres(settings: &Settings, hold: Hold) -> Result<Postgres, Failure> {
    if let Some(url) = &settings.database_url {
        return Ok(Postgres {
            options: parse_url(url).map_err(Failure::new)?,
            embedded: None,
        });
    }
    let data_dir = settings.data_dir.clone();
    // For this server's pools, and for commands beside it.
    let connections = settings.pool_size + OTHER_CONNECTIONS;
    let embedded = embedded::open(embedded::Options {
        data_dir,
        hold,
        durable: true,
        extra: vec![("max_connections".to_owned(), connections.to_string())],
    })
    .await?;
    Ok(Postgres {
        options: embedded.connect_options(),
        embedded: Some(embedded),
    })
}

/// Runs a command's work on the migrated store, and leaves everything as it was found.
pub async fn with_store<T>(
    settings: &StoreSettings,
    work: impl AsyncFnOnce(&Store) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let settings = settings.load()?;
    telemetry::log(LogFormat::Human, "warn");
    let postgres = postgres(&settings, Hold::Command).await?;
    let store = Store::connect(postgres.options, COMMAND_CONNECTIONS);
    let result = match store.migrate().await {
        Ok(()) => work(&store).await,
        Err(error) => Err(error.into()),
    };
    store.close().await;
    let stopped = stop(postgres.embedded).await;
    let done = result?;
    stopped.map(|()| done)
}

/// To be called once no connection is left.
pub async fn stop(embedded: Option<Embedded>) -> Result<(), Failure> {
    match embedded {
        Some(embedded) => Ok(embedded.stop().await?),
        None => Ok(()),
    }
}
