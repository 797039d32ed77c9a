//! Audio: its bytes in object storage, what they are, and fetching them from elsewhere. Knows no
//! tenant's rows and no HTTP face. Imports `domain`.
//!
//! Bytes come in through a [`Spool`], a file without a name on the local disk: nothing is stored before it
//! is known to be whole and to be audio, and memory stays bounded however large it is.

mod address;
mod audio;
mod fetch;
mod location;
mod peaks;
mod spool;

use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OnceCell, Semaphore};

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::recording::Audio;

pub use fetch::{Fetcher, Pass, Refusal, Rules};
pub use location::Location;
pub use spool::{Spool, Spooled};

/// Decoding takes a core each.
const INSPECTIONS_AT_ONCE: usize = 2;
/// Read from the spool and handed on at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// What S3 takes as the smallest part of a large object, and of how many parts memory holds the bytes.
const PART_BYTES: usize = 5 << 20;
const PARTS_AT_ONCE: usize = 2;
/// Stands below the prefix for a moment, to see whether anything can.
const CHECK: &str = "voxray-write-check";

/// Object storage. Opened at first use, so that a server without recordings needs none.
#[derive(Clone)]
pub struct Objects(Arc<Parts>);

struct Parts {
    location: Location,
    spool_dir: PathBuf,
    quota_bytes: Option<u64>,
    store: OnceCell<(Arc<dyn ObjectStore>, Path)>,
    inspections: Arc<Semaphore>,
}

impl Objects {
    /// Bytes that are on their way lie below `spool_dir`. A tenant may have `quota_bytes` of audio, if that is
    /// given.
    pub fn new(location: Location, spool_dir: PathBuf, quota_bytes: Option<u64>) -> Self {
        Self(Arc::new(Parts {
            location,
            spool_dir,
            quota_bytes,
            store: OnceCell::new(),
            inspections: Arc::new(Semaphore::new(INSPECTIONS_AT_ONCE)),
        }))
    }

    /// How much audio a tenant may have.
    pub fn quota_bytes(&self) -> Option<u64> {
        self.0.quota_bytes
    }

    /// A place for bytes that are on their way.
    pub async fn spool(&self, limit_bytes: u64) -> Result<Spool> {
        Spool::open(self.0.spool_dir.clone(), limit_bytes).await
    }

    /// What the bytes are, off the threads that answer requests.
    pub async fn inspect(&self, spooled: &Spooled) -> Result<Audio> {
        let permit = self.0.inspections.clone().acquire_owned().await;
        let permit = permit.map_err(|error| Error::Internal(error.to_string()))?;
        let file = spooled.reader()?;
        // Kept until the decoder is done, whether or not anybody still waits for it.
        let inspected = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            audio::inspect(file)
        });
        inspected
            .await
            .unwrap_or_else(|_| Err(audio::broken("its decoder gave up on it")))
    }

    /// Stores the bytes. They are durable, and seen whole or not at all.
    pub async fn put(&self, path: &str, spooled: &Spooled) -> Result<()> {
        let (store, path) = self.at(path).await?;
        let mut writer =
            BufWriter::with_capacity(store, path, PART_BYTES).with_max_concurrency(PARTS_AT_ONCE);
        match copy(spooled, &mut writer).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // What was sent in parts is of no use to anybody.
                if let Err(error) = writer.abort().await {
                    tracing::debug!(%error, "an upload that broke off could not be taken back");
                }
                Err(away(error))
            }
        }
    }

    /// Some of the bytes, as they come.
    pub async fn get(
        &self,
        path: &str,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = std::io::Result<Bytes>> + Send + 'static> {
        let (store, path) = self.at(path).await?;
        let options = GetOptions {
            range: (!range.is_empty()).then_some(range.into()),
            ..GetOptions::default()
        };
        match store.get_opts(&path, options).await {
            Ok(found) => Ok(found
                .into_stream()
                .map(|chunk| chunk.map_err(std::io::Error::other))),
            Err(object_store::Error::NotFound { .. }) => Err(Error::NotFound("recording")),
            Err(error) => Err(away(error)),
        }
    }

    /// Removes the bytes. That there are none is no fault.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let (store, path) = self.at(path).await?;
        match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(away(error)),
        }
    }

    /// Writes something and removes it again.
    pub async fn check(&self) -> Result<()> {
        let (store, path) = self.at(CHECK).await?;
        let written = store.put(&path, CHECK.into()).await;
        written.map_err(away)?;
        store.delete(&path).await.map_err(away)
    }

    async fn at(&self, path: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let opened = self
            .0
            .store
            .get_or_try_init(async || self.0.location.open());
        let (store, prefix) = opened.await?;
        let path = prefix.parts().chain(Path::from(path).parts()).collect();
        Ok((store.clone(), path))
    }
}

async fn copy(spooled: &Spooled, writer: &mut BufWriter) -> std::io::Result<()> {
    let file = spooled.reader().map_err(std::io::Error::other)?;
    let mut file = tokio::fs::File::from_std(file);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = file.read(&mut chunk).await?;
        if length == 0 {
            break;
        }
        writer.write_all(&chunk[..length]).await?;
    }
    writer.shutdown().await
}

/// Makes a folder that is for this process's user alone, since it holds what people said. Those above it
/// are made as usual: others may have to pass.
fn make_folder(folder: &std::path::Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        std::fs::create_dir_all(above)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        // Another request was first.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made,
    }
}

fn away(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("object storage: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    async fn spooled(objects: &Objects, bytes: &'static [u8]) -> Spooled {
        let mut spool = objects.spool(1 << 20).await.expect("a spool");
        spool.write(Bytes::from_static(bytes)).await.expect("room");
        spool.finish().await.expect("bytes")
    }

    #[tokio::test]
    async fn bytes_come_back_whole_and_in_part_and_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let location = Location::Local(folder.path().join("a b/objects"));
        let objects = Objects::new(location, folder.path().join("spool"), None);
        objects.check().await.expect("writable");
        let mode = std::fs::metadata(folder.path().join("a b/objects"));
        assert_eq!(mode.expect("a folder").permissions().mode() & 0o777, 0o700);
        let bytes = spooled(&objects, b"0123456789").await;
        objects.put("t/one", &bytes).await.expect("stored");
        for (range, expected) in [(0..10, "0123456789"), (2..5, "234")] {
            let stream = objects.get("t/one", range).await.expect("an object");
            let chunks: Vec<Bytes> = stream.map(|chunk| chunk.expect("bytes")).collect().await;
            assert_eq!(chunks.concat(), expected.as_bytes());
        }
        objects.delete("t/one").await.expect("deleted");
        objects.delete("t/one").await.expect("deleted already");
        let gone = objects.get("t/one", 0..1).await.err();
        assert!(matches!(gone, Some(Error::NotFound(_))));
    }
}
