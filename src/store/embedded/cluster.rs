//! One cluster on disk: its folders, how it is initialised, and the command line that runs it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::error::{EmbeddedError, Result};
use super::find::Programs;
use super::user::Account;

/// The one role and the one database.
pub(super) const NAME: &str = "voxray";
const PORT: u16 = 5432;
/// `sun_path` holds 108 bytes on Linux and 104 on macOS, the closing zero included.
const SOCKET_PATH_MAX_BYTES: usize = 103;
const UNFINISHED: &str = "postgres.new.";
const LOG_KEPT_BYTES: u64 = 16 << 20;
/// How whole pages in the log are made smaller. Ids of calls are all over the indexes, so that after a checkpoint each call
/// has several of these written.
const WAL_COMPRESSION: &str = "wal_compression";

/// Where a data directory keeps what.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    pub base: PathBuf,
    pub data: PathBuf,
    pub log: PathBuf,
    pub downloads: PathBuf,
}

impl Folders {
    pub fn below(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            data: base.join("postgres"),
            log: base.join("postgres.log"),
            downloads: base.join("programs"),
        }
    }

    /// In the data directory where the path is short enough for a socket, else below the system's
    /// temporary one, always the same for the same data directory.
    fn sockets(&self) -> PathBuf {
        let beside = self.base.join("run");
        let digest = Sha256::digest(self.base.as_os_str().as_bytes());
        let name = format!("voxray-{}", hex::encode(&digest[..8]));
        [beside, std::env::temp_dir().join(&name)]
            .into_iter()
            .find(|folder| socket(folder).as_os_str().len() <= SOCKET_PATH_MAX_BYTES)
            .unwrap_or_else(|| Path::new("/tmp").join(name))
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join(format!(".s.PGSQL.{PORT}"))
}

/// How to reach a Postgres by its socket folder. Says everything, so that no `PG…` variable has a say.
pub(super) fn connect_options(sockets: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(sockets)
        .port(PORT)
        .username(NAME)
        .database(NAME)
        .ssl_mode(PgSslMode::Disable)
        .application_name(NAME)
}

/// Everything that is needed to run the cluster, again and again.
#[derive(Debug)]
pub(super) struct Cluster {
    pub folders: Folders,
    pub sockets: PathBuf,
    programs: Programs,
    account: Account,
    settings: Vec<(String, String)>,
}

impl Cluster {
    /// Initialises the cluster unless that is done, and makes the folders around it.
    pub async fn prepare(
        folders: Folders,
        account: Account,
        programs: Programs,
        durable: bool,
        extra: Vec<(String, String)>,
    ) -> Result<Self> {
        if !folders.data.join("PG_VERSION").is_file() {
            initialise(&folders, &account, &programs, durable).await?;
        }
        let sockets = folders.sockets();
        account.make_private_folder(&sockets)?;
        let has_lz4 = programs.accept(&account, &folders.data, WAL_COMPRESSION, "lz4");
        let mut settings = settings(&sockets, durable, has_lz4);
        settings.extend(extra);
        Ok(Self {
            folders,
            sockets,
            programs,
            account,
            settings,
        })
    }

    /// Starts `postgres` itself rather than `pg_ctl`: its end is seen, nothing polls. In its own
    /// process group, so that a terminal's Ctrl-C reaches us and not it.
    pub fn spawn(&self) -> Result<Child> {
        let log = self.open_log()?;
        let errors = log
            .try_clone()
            .map_err(EmbeddedError::file("open", &self.folders.log))?;
        let postgres = self.programs.postgres();
        let mut command = self.account.command(&postgres);
        command
            .args(self.arguments())
            .process_group(0)
            .stdout(log)
            .stderr(errors);
        command
            .spawn()
            .map_err(EmbeddedError::file("run", &postgres))
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "-D".to_owned(),
            self.folders.data.to_string_lossy().into_owned(),
        ];
        for (name, value) in &self.settings {
            arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        arguments
    }

    /// Whether what runs was started as we would start it now. Postgres writes down its command line.
    pub fn runs_with_our_settings(&self) -> bool {
        let ours: String = self
            .arguments()
            .iter()
            .map(|it| format!(" \"{it}\""))
            .collect();
        let theirs = fs::read_to_string(self.folders.data.join("postmaster.opts"));
        theirs.is_ok_and(|line| line.trim_end().ends_with(&ours))
    }

    /// Beside the socket, with the number of its postmaster.
    pub fn socket_lock(&self) -> PathBuf {
        self.sockets.join(format!(".s.PGSQL.{PORT}.lock"))
    }

    fn open_log(&self) -> Result<fs::File> {
        let path = &self.folders.log;
        if fs::metadata(path).is_ok_and(|meta| meta.len() > LOG_KEPT_BYTES) {
            let older = path.with_extension("log.1");
            fs::rename(path, &older).map_err(EmbeddedError::file("rename", path))?;
        }
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(EmbeddedError::file("open", path))?;
        self.account.take(path, 0o600)?;
        Ok(file)
    }
}

/// Into a folder beside, renamed when whole: a start that was killed half-way leaves no half cluster.
async fn initialise(
    folders: &Folders,
    account: &Account,
    programs: &Programs,
    durable: bool,
) -> Result<()> {
    clear_unfinished(&folders.base);
    let name = format!("{UNFINISHED}{}", std::process::id());
    let fresh = folders.base.join(name);
    account.make_private_folder(&fresh)?;
    let mut command = account.command(&programs.initdb());
    command.arg("--pgdata").arg(&fresh).args([
        "--username",
        NAME,
        "--encoding",
        "UTF8",
        "--no-locale",
    ]);
    command.args(["--auth-local", "trust", "--auth-host", "reject"]);
    if !durable {
        command.arg("--no-sync");
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    tracing::info!(folder = %folders.data.display(), version = programs.major, "making a private postgres cluster");
    let initdb = programs.initdb();
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.map_err(std::io::Error::other).and_then(|it| it);
    let output = output.map_err(EmbeddedError::file("run", &initdb))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(EmbeddedError::NotInitialised {
            folder: folders.data.clone(),
            said,
        });
    }
    fs::rename(&fresh, &folders.data).map_err(EmbeddedError::file(
        "move the new cluster to",
        &folders.data,
    ))?;
    let base = fs::File::open(&folders.base).and_then(|folder| folder.sync_all());
    base.map_err(EmbeddedError::file("write", &folders.base))
}

/// What killed starts left. The `initdb` of one may still be at work in its own folder, which is then
/// left for the next time.
fn clear_unfinished(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(folder = %entry.path().display(), %error, "cannot remove an unfinished cluster");
        }
    }
}

/// For a server alone on a small machine, reached only through its socket.
fn settings(sockets: &Path, durable: bool, has_lz4: bool) -> Vec<(String, String)> {
    // A list of names to Postgres, hence quoted.
    let sockets = format!("\"{}\"", sockets.to_string_lossy().replace('"', "\"\""));
    let port = PORT.to_string();
    let mut all = vec![
        ("listen_addresses", ""),
        ("port", &port),
        ("unix_socket_directories", &sockets),
        ("unix_socket_permissions", "0700"),
        ("max_connections", "60"),
        ("shared_buffers", "256MB"),
        ("work_mem", "8MB"),
        ("maintenance_work_mem", "128MB"),
        ("max_wal_size", "2GB"),
        // Postgres' own takes a third of all that it does for small requests (docs/PERFORMANCE.md).
        (WAL_COMPRESSION, if has_lz4 { "lz4" } else { "on" }),
        ("random_page_cost", "1.1"),
        ("jit", "off"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
        ("log_destination", "stderr"),
        ("logging_collector", "off"),
        ("log_line_prefix", "%m [%p] "),
    ];
    if !durable {
        all.extend([
            ("fsync", "off"),
            ("synchronous_commit", "off"),
            ("full_page_writes", "off"),
        ]);
    }
    all.into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_data_directory_gets_a_short_socket() {
        let short = Folders::below(Path::new("/var/lib/voxray"));
        assert_eq!(short.sockets(), Path::new("/var/lib/voxray/run"));
        let long = Folders::below(Path::new(&format!("/{}", "long/".repeat(40))));
        assert!(socket(&long.sockets()).as_os_str().len() <= SOCKET_PATH_MAX_BYTES);
        assert_eq!(long.sockets(), long.sockets());
        let other = Folders::below(Path::new(&format!("/{}", "long/".repeat(41))));
        assert_ne!(long.sockets(), other.sockets());
    }

    #[test]
    fn only_tests_give_up_durability() {
        let names = |durable| -> Vec<String> {
            settings(Path::new("/s"), durable, true)
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        };
        assert!(!names(true).iter().any(|name| name == "fsync"));
        assert!(names(false).iter().any(|name| name == "fsync"));
    }
}
