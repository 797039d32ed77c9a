//! The life of the postmaster: adopted or started, ready, stopped. Every wait is bounded, and
//! nothing that a dead postmaster left behind (a "ready" in its file, a zombie, a socket) is believed.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sqlx::{ConnectOptions, Connection};
use tokio::time::{sleep, timeout};

use super::cluster::{Cluster, connect_options};
use super::error::{EmbeddedError, Result};
use super::process::{
    PidFile, blocks_in_vain, is_leaving, is_postmaster, orphaned_backends, signal,
};

const POLL: Duration = Duration::from_millis(10);
/// Replaying the log after a crash may honestly take minutes.
const START_MAX: Duration = Duration::from_secs(600);
const START_SAID_EVERY: Duration = Duration::from_secs(10);
/// How long remains of a killed Postgres may stand in the way of the next.
const LEFTOVERS_MAX: Duration = Duration::from_secs(30);
const FAST_STOP_MAX: Duration = Duration::from_secs(60);
const IMMEDIATE_STOP_MAX: Duration = Duration::from_secs(15);
const RETRY_PAUSE: Duration = Duration::from_millis(500);
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A running postmaster that is ours to stop. Dropped without that (an early error, a panic) it is
/// still asked to, but not waited for.
#[derive(Debug)]
pub(super) struct Postmaster {
    pub pid: i32,
    data: PathBuf,
    /// None: adopted from a voxray that was killed.
    child: Option<Child>,
    stop_on_drop: bool,
}

impl Postmaster {
    fn new(pid: i32, child: Option<Child>, cluster: &Cluster) -> Self {
        Self {
            pid,
            data: cluster.folders.data.clone(),
            child,
            stop_on_drop: true,
        }
    }

    /// For whoever holds the data directory next.
    pub fn leave_running(mut self) {
        self.stop_on_drop = false;
    }

    pub fn exited(&mut self) -> bool {
        match &mut self.child {
            // An error means that somebody else has reaped it.
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => !is_postmaster(self.pid, &self.data) && !is_leaving(self.pid),
        }
    }

    /// Fast stop: ends sessions, writes a checkpoint. If that takes too long, the immediate one.
    pub async fn stop(mut self) -> Result<()> {
        for (word, patience) in [
            (Signal::INT, FAST_STOP_MAX),
            (Signal::QUIT, IMMEDIATE_STOP_MAX),
        ] {
            if !self.exited() {
                signal(self.pid, word);
            }
            let deadline = Instant::now() + patience;
            while Instant::now() < deadline {
                if self.exited() {
                    return Ok(());
                }
                sleep(POLL).await;
            }
            tracing::warn!(
                pid = self.pid,
                waited_s = patience.as_secs(),
                "postgres does not stop"
            );
        }
        let waited_s = (FAST_STOP_MAX + IMMEDIATE_STOP_MAX).as_secs();
        Err(EmbeddedError::NotStopped {
            pid: self.pid,
            waited_s,
        })
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        if self.stop_on_drop && !self.exited() {
            signal(self.pid, Signal::INT);
        }
    }
}

/// Whether a Postgres accepts statements at this socket folder.
pub(super) async fn answers(sockets: &Path, database: &str) -> bool {
    let ask = async {
        let mut connection = connect_options(sockets)
            .database(database)
            .connect()
            .await?;
        sqlx::query("select 1").execute(&mut connection).await?;
        connection.close().await
    };
    matches!(timeout(ANSWER_MAX, ask).await, Ok(Ok(())))
}

/// A Postgres that accepts statements: the one that a killed voxray left running, or a new one.
pub(super) async fn start(cluster: &Cluster) -> Result<Postmaster> {
    if let Some(orphan) = adopt(cluster).await? {
        return Ok(orphan);
    }
    let deadline = Instant::now() + LEFTOVERS_MAX;
    loop {
        clear_leftovers(cluster).await?;
        match start_once(cluster).await? {
            Attempt::Ready(postmaster) => return Ok(postmaster),
            Attempt::Failed(said) => {
                // Postgres's own check takes a zombie, or backends that are just ending, for a live server.
                let blocked =
                    said.contains("lock file") || said.contains("pre-existing shared memory block");
                if !blocked || Instant::now() > deadline {
                    return Err(EmbeddedError::NotStarted {
                        said,
                        log: cluster.folders.log.clone(),
                    });
                }
                tracing::warn!("remains of a killed postgres stand in the way, trying again");
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// The postmaster of a voxray that was killed, once it is seen to be healthy. One that was started with
/// other settings, or never answers, is stopped.
async fn adopt(cluster: &Cluster) -> Result<Option<Postmaster>> {
    let data = &cluster.folders.data;
    let begun = Instant::now();
    let mut ready_since = None;
    loop {
        let Some(file) = PidFile::read(data).filter(|file| is_postmaster(file.pid, data)) else {
            return Ok(None);
        };
        let pid = file.pid;
        let deadline = match file.is_ready() {
            true if !cluster.runs_with_our_settings() => {
                tracing::info!(
                    pid,
                    "the postgres that was left running has other settings, restarting it"
                );
                return stop_adopted(pid, cluster).await;
            }
            true if answers(&cluster.sockets, "postgres").await => {
                tracing::info!(pid, "reusing the postgres that was left running");
                return Ok(Some(Postmaster::new(pid, None, cluster)));
            }
            true => *ready_since.get_or_insert_with(Instant::now) + LEFTOVERS_MAX,
            false => begun + START_MAX,
        };
        if Instant::now() > deadline {
            tracing::warn!(
                pid,
                "the postgres that was left running does not answer, stopping it"
            );
            return stop_adopted(pid, cluster).await;
        }
        sleep(POLL).await;
    }
}

async fn stop_adopted(pid: i32, cluster: &Cluster) -> Result<Option<Postmaster>> {
    Postmaster::new(pid, None, cluster).stop().await?;
    Ok(None)
}

/// Waits for the backends of a dead postmaster, then removes those of its files that would block the
/// next one. Nobody else starts one here: the data directory is held.
async fn clear_leftovers(cluster: &Cluster) -> Result<()> {
    let data = &cluster.folders.data;
    let deadline = Instant::now() + LEFTOVERS_MAX;
    let mut backends = orphaned_backends(data);
    while !backends.is_empty() && Instant::now() < deadline {
        sleep(POLL * 5).await;
        backends = orphaned_backends(data);
    }
    if !backends.is_empty() {
        // Left to Postgres, which refuses to start while they share its memory.
        tracing::warn!(?backends, "processes of a killed postgres are still there");
        return Ok(());
    }
    for path in [PidFile::path(data), cluster.socket_lock()] {
        let first_line = std::fs::read_to_string(&path)
            .ok()
            .and_then(|text| text.lines().next()?.trim().parse().ok());
        if let Some(pid) = first_line.filter(|&pid| blocks_in_vain(pid, data)) {
            tracing::info!(pid, file = %path.display(), "removing what a killed postgres left");
            std::fs::remove_file(&path).map_err(EmbeddedError::file("remove", &path))?;
        }
    }
    Ok(())
}

enum Attempt {
    Ready(Postmaster),
    Failed(String),
}

async fn start_once(cluster: &Cluster) -> Result<Attempt> {
    let log_before = std::fs::metadata(&cluster.folders.log).map_or(0, |meta| meta.len());
    let child = cluster.spawn()?;
    let pid = child.id().cast_signed();
    let mut postmaster = Postmaster::new(pid, Some(child), cluster);
    let begun = Instant::now();
    let mut said_at = begun;
    loop {
        if postmaster.exited() {
            return Ok(Attempt::Failed(last_words(cluster, log_before)));
        }
        let file = PidFile::read(&cluster.folders.data).filter(|file| file.pid == pid);
        if file.is_some_and(|file| file.is_ready()) && answers(&cluster.sockets, "postgres").await {
            tracing::debug!(
                pid,
                took_ms = begun.elapsed().as_millis(),
                "postgres is ready"
            );
            return Ok(Attempt::Ready(postmaster));
        }
        if said_at.elapsed() > START_SAID_EVERY {
            said_at = Instant::now();
            let waited_s = begun.elapsed().as_secs();
            tracing::info!(
                pid,
                waited_s,
                "postgres is still starting: after a crash it replays its log first"
            );
        }
        if begun.elapsed() > START_MAX {
            postmaster.stop().await?;
            let said = format!("not ready within {} s", START_MAX.as_secs());
            return Ok(Attempt::Failed(said));
        }
        sleep(POLL).await;
    }
}

/// What Postgres wrote since this attempt began, its last lines.
fn last_words(cluster: &Cluster, from: u64) -> String {
    let mut text = Vec::new();
    let read = std::fs::File::open(&cluster.folders.log).and_then(|mut file| {
        // A rotated log is shorter than where we began.
        let from = if file.metadata()?.len() < from {
            0
        } else {
            from
        };
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut text)
    });
    if let Err(error) = read {
        return format!("its log cannot be read: {error}");
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("; ")
}

/// Stops whatever runs on the cluster's data.
pub(super) async fn stop_by_file(cluster: &Cluster) -> Result<()> {
    let data = &cluster.folders.data;
    if let Some(file) = PidFile::read(data).filter(|file| is_postmaster(file.pid, data)) {
        stop_adopted(file.pid, cluster).await?;
    }
    Ok(())
}
