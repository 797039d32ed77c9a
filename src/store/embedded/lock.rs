//! Who may start and stop the private Postgres. One process holds `lock` on the data directory;
//! short commands that find it held share the running Postgres as guests, each with a shared lock on
//! `guests`, so that a holder does not stop it under them. The kernel drops both when a process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::error::{EmbeddedError, Result};

/// An advisory lock, given back on drop. Unlocked by word, not by closing: a child that is just being
/// started elsewhere in this process may hold a copy of the descriptor for a moment.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "cannot unlock the data directory");
        }
    }
}

/// What the lock file says about its holder, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    text: String,
}

pub(super) const SERVER: &str = "server";
pub(super) const COMMAND: &str = "command";

impl Holder {
    pub fn is_server(&self) -> bool {
        self.text.ends_with(SERVER)
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.text.split_once(' ') {
            Some((pid, kind)) => write!(f, "{pid} (a voxray {kind})"),
            None => f.write_str("(unknown)"),
        }
    }
}

/// Takes the data directory, or says who has it.
pub(super) fn hold(base: &Path, kind: &str) -> Result<Result<Lock, Holder>> {
    let path = base.join("lock");
    let mut file = open(&path)?;
    if let Err(error) = file.try_lock() {
        return match error {
            TryLockError::WouldBlock => {
                let mut text = String::new();
                file.read_to_string(&mut text)
                    .map_err(EmbeddedError::file("read", &path))?;
                Ok(Err(Holder {
                    text: text.trim().to_owned(),
                }))
            }
            TryLockError::Error(error) => Err(EmbeddedError::file("lock", &path)(error)),
        };
    }
    let mut lock = Lock(file);
    write_holder(&mut lock.0, kind).map_err(EmbeddedError::file("write", &path))?;
    Ok(Ok(lock))
}

fn write_holder(file: &mut File, kind: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{} {kind}", std::process::id())
}

/// A guest's mark. None while the holder is stopping.
pub(super) fn enter_as_guest(base: &Path) -> Result<Option<Lock>> {
    taken(base, File::try_lock_shared)
}

/// Held while stopping, so that no guest comes. None while one is there.
pub(super) fn close_to_guests(base: &Path) -> Result<Option<Lock>> {
    taken(base, File::try_lock)
}

fn taken(
    base: &Path,
    lock: fn(&File) -> std::result::Result<(), TryLockError>,
) -> Result<Option<Lock>> {
    let path = base.join("guests");
    let file = open(&path)?;
    match lock(&file) {
        Ok(()) => Ok(Some(Lock(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(EmbeddedError::file("lock", &path)(error)),
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    // Not truncated: whoever comes second must read what the holder wrote.
    options.read(true).write(true).create(true).truncate(false);
    options
        .open(path)
        .map_err(EmbeddedError::file("open", path))
}
