//! Where PostgreSQL's programs are: `postgres` and `initdb` in one folder, of a version that fits.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::EmbeddedError;
use super::user::Account;

/// The oldest major version whose SQL we speak.
pub(super) const OLDEST_MAJOR: u32 = 14;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Programs {
    pub major: u32,
    pub folder: PathBuf,
}

impl Programs {
    pub fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    /// Whether these programs know such a setting of a cluster, which need not run: some depend on how they were built.
    pub fn accept(&self, account: &Account, data: &Path, name: &str, value: &str) -> bool {
        let mut command = account.command(&self.postgres());
        command.arg("-D").arg(data);
        command.args(["-c", &format!("{name}={value}"), "-C", name]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// The programs of this machine and of earlier downloads that the account can run.
pub(super) fn installed(account: &Account, downloads: &Path) -> Vec<Programs> {
    let mut folders = BTreeSet::new();
    for folder in likely_folders(downloads) {
        // A link on the PATH leads to the folder where both programs are.
        let real = fs::canonicalize(folder.join("postgres")).ok();
        let real = real.as_deref().and_then(Path::parent).unwrap_or(&folder);
        folders.insert(if real.join("initdb").is_file() {
            real.to_owned()
        } else {
            folder
        });
    }
    folders
        .into_iter()
        .filter_map(|folder| at(account, folder))
        .collect()
}

/// The programs of one folder, when they are there and run.
pub(super) fn at(account: &Account, folder: PathBuf) -> Option<Programs> {
    let postgres = folder.join("postgres");
    if !postgres.is_file() || !folder.join("initdb").is_file() {
        return None;
    }
    let output = account
        .command(&postgres)
        .arg("--version")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    Some(Programs {
        major: major_of(&String::from_utf8_lossy(&output.stdout))?,
        folder,
    })
}

/// An existing cluster needs the major that wrote it; a new one gets the newest.
pub(super) fn choose(mut programs: Vec<Programs>, wanted: Option<u32>) -> Option<Programs> {
    programs.retain(|it| wanted.map_or(it.major >= OLDEST_MAJOR, |major| it.major == major));
    programs.into_iter().max_by_key(|it| it.major)
}

pub(super) fn not_installed(found: &[Programs], wanted: Option<u32>, data: &Path) -> EmbeddedError {
    let wanted = match wanted {
        Some(major) => format!("version {major}, which wrote `{}`", data.display()),
        None => format!("version {OLDEST_MAJOR} or newer"),
    };
    let list: Vec<_> = found
        .iter()
        .map(|it| format!("{} in `{}`", it.major, it.folder.display()))
        .collect();
    let found = match list.is_empty() {
        true => "found none on the PATH and in the usual places".to_owned(),
        false => format!("found only {}", list.join(", ")),
    };
    EmbeddedError::NotInstalled { wanted, found }
}

/// The major version that wrote a cluster.
pub(super) fn major_of_cluster(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn likely_folders(downloads: &Path) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path)
        .filter(|it| it.is_absolute())
        .collect();
    folders.extend(
        folders
            .clone()
            .iter()
            .filter_map(|folder| said_by_pg_config(folder)),
    );
    for (parent, start) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql"),
        ("/usr/local/opt", "postgresql"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql"),
        ("/Applications/Postgres.app/Contents/Versions", ""),
    ] {
        folders.extend(programs_below(Path::new(parent), start));
    }
    folders.extend(programs_below(downloads, ""));
    folders
}

fn programs_below(parent: &Path, start: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let fits = |name: &OsStr| name.as_encoded_bytes().starts_with(start.as_bytes());
    entries
        .filter(|entry| fits(&entry.file_name()))
        .map(|entry| entry.path().join("bin"))
        .collect()
}

fn said_by_pg_config(folder: &Path) -> Option<PathBuf> {
    let program = folder.join("pg_config");
    if !program.is_file() {
        return None;
    }
    let mut command = Command::new(program);
    let output = command
        .arg("--bindir")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

/// `postgres (PostgreSQL) 15.18 (Debian …)`, `postgres (PostgreSQL) 19devel`.
fn major_of(version: &str) -> Option<u32> {
    let (_, rest) = version.split_once("(PostgreSQL) ")?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(major: u32) -> Programs {
        Programs {
            major,
            folder: format!("/pg/{major}/bin").into(),
        }
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(
            major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major_of("postgres (PostgreSQL) 19devel"), Some(19));
        assert_eq!(major_of("something else 15"), None);
    }

    #[test]
    fn a_new_cluster_gets_the_newest_an_old_one_its_own() {
        let all = || vec![programs(15), programs(17), programs(13)];
        assert_eq!(choose(all(), None), Some(programs(17)));
        assert_eq!(choose(all(), Some(15)), Some(programs(15)));
        assert_eq!(choose(all(), Some(16)), None);
        assert_eq!(choose(vec![programs(13)], None), None);
    }

    #[test]
    fn what_is_missing_and_how_to_mend_it_is_said() {
        let said = not_installed(&[programs(17)], Some(15), Path::new("/d/postgres")).to_string();
        for part in [
            "version 15, which wrote `/d/postgres`",
            "17 in `/pg/17/bin`",
            "apt-get install postgresql",
        ] {
            assert!(said.contains(part), "{said}");
        }
        assert!(
            not_installed(&[], None, Path::new("/d"))
                .to_string()
                .contains("version 14 or newer")
        );
    }
}
