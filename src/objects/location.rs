//! Where objects are kept: a folder of this machine, or a bucket that speaks S3.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use url::Url;

use crate::domain::Error;
use crate::domain::Result;

/// A checked `VOXRAY_RECORDINGS_URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    Local(PathBuf),
    /// Region, keys and endpoint come from the usual `AWS_…` variables.
    S3 {
        bucket: String,
        prefix: String,
    },
}

impl Location {
    pub const FORM: &str = "`file:///an/absolute/path` or `s3://bucket/prefix` (keys, region and endpoint come from `AWS_…` variables)";

    /// Nothing but what the form says: no user, port, query or fragment.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.port().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        match url.scheme() {
            "file" if is_plain && text.starts_with("file:///") => {
                url.to_file_path().ok().map(Self::Local)
            }
            "s3" if is_plain => Some(Self::S3 {
                bucket: url.host_str()?.to_owned(),
                prefix: Path::from_url_path(url.path()).ok()?.to_string(),
            }),
            _ => None,
        }
    }

    /// What it is when nobody says: beside everything else of this server.
    pub fn below(data_dir: &FilePath) -> Self {
        Self::Local(data_dir.join("recordings"))
    }

    /// The storage, and what every path in it begins with.
    pub(super) fn open(&self) -> Result<(Arc<dyn ObjectStore>, Path)> {
        match self {
            Self::Local(folder) => {
                let unusable = |error: &dyn std::fmt::Display| {
                    Error::Unavailable(format!("object storage: `{}`: {error}", folder.display()))
                };
                super::make_folder(folder).map_err(|error| unusable(&error))?;
                let store = LocalFileSystem::new_with_prefix(folder);
                let store = store.map_err(|error| unusable(&error))?.with_fsync(true);
                Ok((Arc::new(store), Path::default()))
            }
            Self::S3 { bucket, prefix } => {
                super::fetch::choose_cryptography();
                let store = AmazonS3Builder::from_env().with_bucket_name(bucket).build();
                let store = store.map_err(super::away)?;
                Ok((Arc::new(store), Path::from(prefix.as_str())))
            }
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(folder) => write!(f, "the folder `{}`", folder.display()),
            Self::S3 { bucket, prefix } => write!(f, "the bucket `{bucket}` below `{prefix}/`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_buckets_are_told_apart() {
        let s3 = |bucket: &str, prefix: &str| {
            Some(Location::S3 {
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
            })
        };
        let local = |path: &str| Some(Location::Local(PathBuf::from(path)));
        assert_eq!(Location::parse("file:///srv/voxray"), local("/srv/voxray"));
        assert_eq!(Location::parse("file:///a%20b/"), local("/a b/"));
        assert_eq!(Location::parse("s3://calls"), s3("calls", ""));
        assert_eq!(
            Location::parse("s3://calls/eu/audio/"),
            s3("calls", "eu/audio")
        );
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "",
            "/srv/voxray",
            "file://host/srv",
            "file:srv",
            "s3://",
            "s3://key:secret@bucket/x",
            "s3://bucket/x?region=eu",
            "https://bucket.s3.amazonaws.com/x",
            "gs://bucket",
        ] {
            assert_eq!(Location::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_bucket_opens_without_touching_the_network() {
        let bucket = Location::parse("s3://calls/eu").expect("a bucket");
        let (_, prefix) = bucket.open().expect("a store");
        assert_eq!(prefix.as_ref(), "eu");
        assert_eq!(bucket.to_string(), "the bucket `calls` below `eu/`");
    }
}
