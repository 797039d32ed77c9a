//! How far an import has come, so that one that was interrupted can go on. Only a convenience: importing
//! a line twice changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::store::Scope;

pub struct Progress {
    folder: PathBuf,
}

/// How many lines of one file are committed for one tenant.
pub struct Mark {
    /// None where there is nothing to remember: standard input, or a file that cannot be told apart.
    path: Option<PathBuf>,
}

impl Progress {
    pub fn folder(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join("imports"),
        }
    }

    /// The mark of a file as it is now: one that was changed starts over.
    pub fn of(&self, file: &Path, scope: &Scope) -> Mark {
        let identity = || {
            let metadata = fs::metadata(file).ok()?;
            let changed = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            let place = fs::canonicalize(file).ok()?;
            Some(format!(
                "{} {} {} {}",
                scope.tenant(),
                place.display(),
                metadata.len(),
                changed.as_nanos()
            ))
        };
        let name = identity().map(|identity| {
            let hash: [u8; 32] = Sha256::digest(identity.as_bytes()).into();
            hash[..16]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        });
        Mark {
            path: name.map(|name| self.folder.join(name)),
        }
    }
}

impl Mark {
    pub fn lines_done(&self) -> u64 {
        let text = self
            .path
            .as_ref()
            .and_then(|path| fs::read_to_string(path).ok());
        text.and_then(|text| text.trim().parse().ok())
            .unwrap_or_default()
    }

    pub fn set(&self, lines: u64) {
        let Some(path) = &self.path else { return };
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(path, lines.to_string()));
        if let Err(error) = written {
            tracing::warn!(%error, "how far the import has come cannot be remembered");
        }
    }

    pub fn clear(&self) {
        if let Some(path) = &self.path {
            // It may never have been written.
            let _ = fs::remove_file(path);
        }
    }
}
