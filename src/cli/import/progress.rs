//! How far an import has come, so that one that was interrupted can go on. Only a convenience: importing
//! a call twice changes nothing.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::store::Scope;

/// A file is known by these first bytes too.
const START_BYTES: u64 = 64 << 10;

pub struct Progress {
    folder: PathBuf,
}

/// Where it is remembered how far one file has come for one tenant.
pub struct Mark {
    /// None where there is nothing to remember: standard input.
    path: Option<PathBuf>,
    has_failed: AtomicBool,
}

/// What has been done of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub calls: u64,
    /// How many of these were refused.
    pub refused: usize,
}

impl Progress {
    pub fn folder(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join("imports"),
        }
    }

    /// The mark of a file as it is now: one that was changed starts over.
    pub fn of(&self, file: &Path, scope: &Scope) -> Mark {
        let name = identity(file, scope).map(|identity| hex::encode(&identity[..16]));
        Mark {
            path: name.ok().map(|name| self.folder.join(name)),
            has_failed: AtomicBool::new(false),
        }
    }
}

fn identity(file: &Path, scope: &Scope) -> io::Result<[u8; 32]> {
    let metadata = fs::metadata(file)?;
    let changed = metadata.modified()?.duration_since(UNIX_EPOCH);
    let mut start = Vec::new();
    if metadata.is_file() {
        File::open(file)?
            .take(START_BYTES)
            .read_to_end(&mut start)?;
    }
    let stated = format!(
        "{} {} {} {}\n",
        scope.tenant(),
        fs::canonicalize(file)?.display(),
        metadata.len(),
        changed.unwrap_or_default().as_nanos()
    );
    let hash = Sha256::new().chain_update(stated).chain_update(start);
    Ok(hash.finalize().into())
}

impl Mark {
    pub fn done(&self) -> Done {
        let text = self.path.as_ref().and_then(|path| fs::read(path).ok());
        text.and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    pub fn set(&self, done: Done) {
        let Some(path) = &self.path else { return };
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(unfinished(path), serde_json::to_vec(&done)?))
            .and_then(|()| fs::rename(unfinished(path), path));
        if let Err(error) = written
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            let path = path.display();
            tracing::warn!(%error, "how far the import has come cannot be remembered in `{path}`");
        }
    }

    pub fn clear(&self) {
        if let Some(path) = &self.path {
            // They may never have been written.
            let _ = fs::remove_file(path);
            let _ = fs::remove_file(unfinished(path));
        }
    }
}

/// Becomes the mark once it is written, so that a mark is never cut short.
fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("new")
}
