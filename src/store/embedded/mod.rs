//! The private Postgres.

use std::path::PathBuf;

use super::ConnectOptions;

pub struct Options {
    pub data_dir: PathBuf,
    pub hold: Hold,
    pub durable: bool,
    pub extra: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Server,
    Command,
}

#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("in use")]
    InUse { folder: PathBuf, holder: String },
    #[error("set DATABASE_URL: no private Postgres in `{0}` yet")]
    Missing(PathBuf),
}

pub struct Embedded(ConnectOptions);

pub async fn open(options: Options) -> Result<Embedded, EmbeddedError> {
    Err(EmbeddedError::Missing(options.data_dir))
}

impl Embedded {
    pub fn connect_options(&self) -> ConnectOptions {
        self.0.clone()
    }

    pub async fn stop(self) {}
}
