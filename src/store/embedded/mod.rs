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

pub struct Embedded(ConnectOptions);

pub async fn open(options: Options) -> Result<Embedded, String> {
    Err(format!(
        "set DATABASE_URL: no private Postgres in `{}` yet",
        options.data_dir.display()
    ))
}

impl Embedded {
    pub fn connect_options(&self) -> ConnectOptions {
        self.0.clone()
    }

    pub async fn stop(self) {}
}
