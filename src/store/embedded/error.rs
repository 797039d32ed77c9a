//! What can go wrong with the private Postgres, said so that a person can mend it.

use std::path::{Path, PathBuf};

pub type Result<T, E = EmbeddedError> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Another server, or a command that does not end, holds the data directory.
    #[error(
        "the data directory `{folder}` is in use by process {holder}: stop that one first, or choose another directory"
    )]
    InUse { folder: PathBuf, holder: String },
    /// The data directory is held, but its Postgres cannot be reached.
    #[error(
        "the data directory `{folder}` is held by process {holder}, but its postgres does not answer: try again, or stop that process"
    )]
    NotAnswering { folder: PathBuf, holder: String },
    #[error(
        "`{folder}` cannot be entered by the user `{user}`, as which postgres has to run: choose a data directory \
         elsewhere (as root: below `/var/lib`), or open that folder with `chmod o+x`"
    )]
    Unreachable { folder: PathBuf, user: String },
    #[error(
        "`{folder}` belongs to uid {owner}: run as that user, or choose another data directory"
    )]
    ForeignOwner { folder: PathBuf, owner: u32 },
    #[error(
        "postgres does not run as root, and this machine has neither a user `postgres` nor `nobody`: create one, \
         run as another user, or set `DATABASE_URL`"
    )]
    NoAccount,
    #[error(
        "no usable PostgreSQL programs: expected {wanted}, {found}; install them (Debian, Ubuntu: `apt-get install \
         postgresql`; Fedora: `dnf install postgresql-server`; macOS: `brew install postgresql`), or set \
         `DATABASE_URL` to a server elsewhere"
    )]
    NotInstalled { wanted: String, found: String },
    #[error("initdb could not make a cluster in `{folder}`: {said}")]
    NotInitialised { folder: PathBuf, said: String },
    #[error("postgres did not start: {said} (its log: `{log}`)")]
    NotStarted { said: String, log: PathBuf },
    #[error("postgres (process {pid}) did not stop within {waited_s} s")]
    NotStopped { pid: i32, waited_s: u64 },
    #[error("cannot {action} `{path}`: {source}")]
    File {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("postgres runs, but its first statements failed: {0}")]
    Statement(#[from] sqlx::Error),
}

impl EmbeddedError {
    /// For `map_err`: what was tried with which file or folder.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
