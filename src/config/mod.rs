//! Settings: one table, three sources. Flags win over the environment, which wins over the TOML file.
//! A wrong setting names itself, its source and the accepted form; all wrong ones are told at once.

mod args;
mod read;
mod table;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;
use url::Url;

use crate::objects::{Location, Rules};

pub use args::{ServerSettings, StoreSettings};
pub use table::{SETTINGS, Setting};

/// Every setting, read and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    /// Where the private Postgres and recordings live.
    pub data_dir: PathBuf,
    /// An own Postgres; none means the private one.
    pub database_url: Option<String>,
    pub metrics_listen: Option<SocketAddr>,
    pub log_format: LogFormat,
    pub log_level: String,
    pub pool_size: u32,
    pub body_limit_bytes: usize,
    pub request_timeout: Duration,
    pub concurrency_limit: usize,
    pub cors_origins: Vec<HeaderValue>,
    /// What a proxy says of the address that was called is believed.
    pub trust_proxy: bool,
    /// Where browsers reach the server, if somebody said so.
    pub public_url: Option<Url>,
    pub ingest_queue_bytes: usize,
    pub session_timeout: Duration,
    pub ring_timeout: Duration,
    pub shutdown_grace: Duration,
    pub cache_ttl: Duration,
    /// Live connections of one tenant at once.
    pub live_connections: usize,
    /// How long a live connection may take nothing.
    pub live_send_timeout: Duration,
    /// None means below the data directory.
    pub recordings_url: Option<Location>,
    pub recordings_limit_bytes: usize,
    /// What each tenant may have; none is without a bound.
    pub recordings_quota_bytes: Option<u64>,
    pub recordings_timeout: Duration,
    /// Whom recordings are fetched from.
    pub recordings_rules: Rules,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

/// What is wrong with the settings, a line each.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct SettingsError(pub Vec<String>);

impl Settings {
    /// Where recordings are kept.
    pub fn recordings_location(&self) -> Location {
        let given = self.recordings_url.clone();
        given.unwrap_or_else(|| Location::below(&self.data_dir))
    }

    /// Where recordings lie that are on their way.
    pub fn spool_dir(&self) -> PathBuf {
        self.data_dir.join("spool")
    }
}

impl Default for Settings {
    /// Every default, as the table says it.
    fn default() -> Self {
        match read::Sources::default().read() {
            Ok(settings) => settings,
            Err(error) => unreachable!("the table's defaults are wrong: {error}"),
        }
    }
}
