//! Starting the postmaster again whenever it has died.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::cluster::Cluster;
use super::supervise::{Postmaster, start};

const POLL: Duration = Duration::from_millis(100);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The task. Dropped, it ends and asks the postmaster to stop.
#[derive(Debug)]
pub(super) struct Watch {
    cancel: DropGuard,
    task: JoinHandle<Option<Postmaster>>,
}

impl Watch {
    pub fn begin(cluster: Arc<Cluster>, postmaster: Postmaster) -> Self {
        let cancel = CancellationToken::new();
        let task = tokio::spawn(watch(cluster, postmaster, cancel.clone()));
        Self {
            cancel: cancel.drop_guard(),
            task,
        }
    }

    /// Gives the postmaster back; None when it was just being started again.
    pub async fn end(self) -> Option<Postmaster> {
        drop(self.cancel);
        self.task.await.ok().flatten()
    }
}

async fn watch(
    cluster: Arc<Cluster>,
    mut running: Postmaster,
    cancel: CancellationToken,
) -> Option<Postmaster> {
    let mut pause = PAUSE_MIN;
    loop {
        let begun = Instant::now();
        while !running.exited() {
            tokio::select! {
                () = cancel.cancelled() => return Some(running),
                () = sleep(POLL) => {}
            }
        }
        tracing::error!(pid = running.pid, log = %cluster.folders.log.display(), "postgres died, starting it again");
        if begun.elapsed() > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        running = loop {
            let again = async {
                sleep(pause).await;
                start(&cluster).await
            };
            let started = tokio::select! {
                () = cancel.cancelled() => return None,
                started = again => started,
            };
            pause = (pause * 2).min(PAUSE_MAX);
            match started {
                Ok(postmaster) => break postmaster,
                Err(error) => tracing::error!(%error, "postgres cannot be started again yet"),
            }
        };
        tracing::info!(pid = running.pid, "postgres is back");
    }
}
