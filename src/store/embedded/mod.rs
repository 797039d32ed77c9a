//! The private Postgres: found on this machine (or downloaded), initialised in the data directory,
//! started as a child on a Unix socket without TCP, reused after a crash of ours, started again after
//! one of its own, stopped with us. Imports nothing of ours.
//!
//! One process holds the data directory: a server for as long as it runs, a short command only while
//! no server does. A command that finds it held shares what runs there and never starts or stops it.
//!
//! ```text
//! DATA_DIR/lock, guests    who holds it (process and kind), who shares it
//! DATA_DIR/postgres/       the cluster, 0700, owned by the user that Postgres runs as
//! DATA_DIR/postgres.log    what Postgres says
//! DATA_DIR/run/            the socket, 0700; a folder below the temporary one where this path is too long
//! DATA_DIR/programs/       downloaded PostgreSQL programs, if any
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

mod claim;
mod cluster;
#[cfg(feature = "download")]
mod download;
mod error;
mod find;
mod lock;
mod process;
mod supervise;
#[cfg(test)]
mod tests;
mod user;
mod watch;

pub use error::EmbeddedError;

use claim::{Claim, claim};
use cluster::{Cluster, Folders, NAME, connect_options};
use error::Result;
use find::Programs;
use lock::Lock;
use supervise::Postmaster;
use user::Account;
use watch::Watch;

#[derive(Clone, Debug)]
pub struct Options {
    pub data_dir: PathBuf,
    pub hold: Hold,
    /// False gives up on surviving a crash of the machine: for tests only.
    pub durable: bool,
    /// Further settings of Postgres; they win over ours.
    pub extra: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Holds the data directory until stopped. Waits for a short command that holds it, not for a server.
    Server,
    /// Holds the data directory if nobody does, else shares the Postgres that runs there.
    Command,
}

/// A private Postgres that accepts statements. To be ended with [`Embedded::stop`].
#[derive(Debug)]
pub struct Embedded {
    connect: PgConnectOptions,
    log_file: PathBuf,
    part: Part,
}

#[derive(Debug)]
enum Part {
    Owner(Owner),
    Guest { _mark: Lock },
}

/// Fields in the order in which they are dropped: the lock goes last.
#[derive(Debug)]
struct Owner {
    running: Mutex<Running>,
    cluster: Arc<Cluster>,
    hold: Hold,
    lock: Lock,
}

#[derive(Debug)]
enum Running {
    Unwatched(Postmaster),
    Watched(Watch),
    Handed,
}

/// Below `/var/lib` for root, because Postgres runs as another user and must be able to get there;
/// else where this platform keeps a user's data.
pub fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib").join(NAME);
    }
    let variable = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let kept = if cfg!(target_os = "macos") {
        "Library/Application Support"
    } else {
        ".local/share"
    };
    variable("XDG_DATA_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(kept)))
        .map_or_else(|| PathBuf::from("data"), |folder| folder.join(NAME))
}

/// Finds, initialises, starts or shares the private Postgres of a data directory.
pub async fn open(options: Options) -> Result<Embedded> {
    let base = std::path::absolute(&options.data_dir)
        .map_err(EmbeddedError::file("find", &options.data_dir))?;
    Account::for_cluster(&base.join("postgres"))?.make_passable(&base)?;
    let base = base
        .canonicalize()
        .map_err(EmbeddedError::file("find", &base))?;
    let folders = Folders::below(&base);
    match claim(&folders, options.hold).await? {
        Claim::Held(lock) => own(folders, options, lock).await,
        Claim::Shared { mark, sockets } => Ok(Embedded {
            connect: connect_options(&sockets),
            log_file: folders.log,
            part: Part::Guest { _mark: mark },
        }),
    }
}

async fn own(folders: Folders, options: Options, lock: Lock) -> Result<Embedded> {
    // Looked at again under the lock: another may have made the cluster meanwhile.
    let account = Account::for_cluster(&folders.data)?;
    let programs = programs(&account, &folders).await?;
    let cluster =
        Cluster::prepare(folders, account, programs, options.durable, options.extra).await?;
    let postmaster = supervise::start(&cluster).await?;
    let connect = connect_options(&cluster.sockets);
    ensure_database(&connect).await?;
    let log_file = cluster.folders.log.clone();
    let running = Mutex::new(Running::Unwatched(postmaster));
    let owner = Owner {
        running,
        cluster: Arc::new(cluster),
        hold: options.hold,
        lock,
    };
    Ok(Embedded {
        connect,
        log_file,
        part: Part::Owner(owner),
    })
}

async fn programs(account: &Account, folders: &Folders) -> Result<Programs> {
    let wanted = find::major_of_cluster(&folders.data);
    let found = find::installed(account, &folders.downloads);
    if let Some(programs) = find::choose(found.clone(), wanted) {
        return Ok(programs);
    }
    #[cfg(feature = "download")]
    match download::programs(&folders.downloads, wanted).await {
        Ok(folder) => {
            let programs = find::at(account, folder).into_iter().collect();
            if let Some(programs) = find::choose(programs, wanted) {
                return Ok(programs);
            }
            tracing::error!("the downloaded PostgreSQL does not run here");
        }
        Err(error) => tracing::error!(error, "PostgreSQL cannot be downloaded"),
    }
    Err(find::not_installed(&found, wanted, &folders.data))
}

/// A start that was killed between `initdb` and here has the cluster, but not the database.
async fn ensure_database(connect: &PgConnectOptions) -> Result<()> {
    let mut connection = connect.clone().database("postgres").connect().await?;
    let there: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = 'voxray')")
            .fetch_one(&mut connection)
            .await?;
    if !there {
        sqlx::query("create database voxray")
            .execute(&mut connection)
            .await?;
    }
    connection.close().await?;
    Ok(())
}

impl Embedded {
    /// How to connect: the socket, the role and the database.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.connect.clone()
    }

    /// Where Postgres writes what it has to say.
    pub fn log_file(&self) -> &Path {
        &self.log_file
    }

    /// From now on a postmaster that dies is started again, until [`Embedded::stop`]. For whoever
    /// holds the data directory; a guest leaves that to the holder.
    pub fn watch(&self) {
        let Part::Owner(owner) = &self.part else {
            return;
        };
        let mut running = owner.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running = match std::mem::replace(&mut *running, Running::Handed) {
            Running::Unwatched(postmaster) => {
                Running::Watched(Watch::begin(Arc::clone(&owner.cluster), postmaster))
            }
            other => other,
        };
    }

    /// Stops what this process holds; leaves alone what it shares. Close pools first.
    pub async fn stop(self) -> Result<()> {
        let Part::Owner(owner) = self.part else {
            return Ok(());
        };
        let closed = claim::close_to_guests(&owner.cluster.folders, owner.hold).await?;
        let running = owner
            .running
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let postmaster = match running {
            Running::Unwatched(postmaster) => Some(postmaster),
            Running::Watched(watch) => watch.end().await,
            Running::Handed => None,
        };
        let stopped = match postmaster {
            // The next to hold the data directory finds it running, and reuses it.
            Some(postmaster) if closed.is_none() && owner.hold == Hold::Command => {
                tracing::warn!(
                    "another command still uses the private postgres, leaving it running"
                );
                postmaster.leave_running();
                Ok(())
            }
            Some(postmaster) => postmaster.stop().await,
            None => supervise::stop_by_file(&owner.cluster).await,
        };
        // Only now may another come.
        drop(closed);
        drop(owner.lock);
        stopped
    }
}
