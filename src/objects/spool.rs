//! Bytes on their way: a file without a name, which goes with its last handle, also when the process dies.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::domain::Error;
use crate::domain::Result;

/// Takes bytes up to a limit.
pub struct Spool {
    file: tokio::fs::File,
    hash: Sha256,
    size_bytes: u64,
    limit_bytes: u64,
}

/// All the bytes, and what they hash to.
pub struct Spooled {
    file: File,
    pub sha256: [u8; 32],
    pub size_bytes: u64,
}

impl Spool {
    pub(super) async fn open(folder: PathBuf, limit_bytes: u64) -> Result<Self> {
        let opened = tokio::task::spawn_blocking(move || {
            super::make_folder(&folder)?;
            tempfile::tempfile_in(&folder)
        });
        let file = opened
            .await
            .map_err(|error| Error::Internal(error.to_string()))?
            .map_err(full)?;
        Ok(Self {
            file: tokio::fs::File::from_std(file),
            hash: Sha256::new(),
            size_bytes: 0,
            limit_bytes,
        })
    }

    pub async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.size_bytes += chunk.len() as u64;
        if self.size_bytes > self.limit_bytes {
            return Err(Error::TooLarge(format!(
                "a recording may have at most {} bytes",
                self.limit_bytes
            )));
        }
        self.hash.update(&chunk);
        self.file.write_all(&chunk).await.map_err(full)
    }

    pub async fn finish(mut self) -> Result<Spooled> {
        self.file.flush().await.map_err(full)?;
        Ok(Spooled {
            file: self.file.into_std().await,
            sha256: self.hash.finalize().into(),
            size_bytes: self.size_bytes,
        })
    }
}

impl Spooled {
    /// From the beginning. One reader at a time: all share one position.
    pub(super) fn reader(&self) -> Result<File> {
        let mut file = self.file.try_clone().map_err(full)?;
        file.seek(SeekFrom::Start(0)).map_err(full)?;
        Ok(file)
    }
}

/// The disk is full or broken, which may pass.
fn full(error: std::io::Error) -> Error {
    Error::Unavailable(format!("the folder for bytes on their way: {error}"))
}
