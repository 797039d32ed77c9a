//! What a process does for the feed beside its watchers: tells that something was written, numbers it where
//! it is the one to do so, and listens.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Live;
use crate::domain::Result;
use crate::store::live;
use crate::store::live::Heard;
use crate::store::live::Listener;
use crate::store::live::Sequencer;

/// At most ten notifications a second, whatever is written.
const NOTIFY_EVERY: Duration = Duration::from_millis(100);
/// Numbered without being told that there is something.
const POLL_EVERY: Duration = Duration::from_secs(1);
const FORGET_EVERY: Duration = Duration::from_secs(5);
/// How soon another process takes over from one that died.
const CLAIM_EVERY: Duration = Duration::from_secs(2);
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Passes on that something was written.
pub async fn notify(live: Live, written: Arc<Notify>, stop: CancellationToken) {
    let work = async {
        loop {
            written.notified().await;
            if let Err(error) = live::wake(&live.0.store).await {
                // Whoever numbers looks by itself soon.
                tracing::debug!(%error, "could not tell that something was written");
            }
            sleep(NOTIFY_EVERY).await;
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Hears what other processes tell.
pub async fn hear(live: Live, stop: CancellationToken) {
    let work = async {
        loop {
            if let Err(error) = hear_until_lost(&live).await {
                tracing::warn!(%error, "cannot hear of new events, looking for them instead");
            }
            sleep(LISTEN_AGAIN_AFTER).await;
        }
    };
    stop.run_until_cancelled(work).await;
}

async fn hear_until_lost(live: &Live) -> Result<()> {
    let mut listener = Listener::start(&live.0.store).await?;
    live.wake_all();
    loop {
        match listener.next().await? {
            Heard::Written => live.0.sequencer.notify_one(),
            Heard::Numbered(tenants) => tenants.into_iter().for_each(|tenant| live.wake(tenant)),
            Heard::Lost => live.wake_all(),
        }
    }
}

/// Numbers events as long as no other process on this store does.
pub async fn sequence(live: Live, now: impl Fn() -> DateTime<Utc>, stop: CancellationToken) {
    let work = async {
        loop {
            if let Err(error) = sequence_until_lost(&live, &now).await {
                tracing::warn!(%error, "events could not be numbered, trying again");
            }
            sleep(CLAIM_EVERY).await;
        }
    };
    stop.run_until_cancelled(work).await;
}

async fn sequence_until_lost(live: &Live, now: &impl Fn() -> DateTime<Utc>) -> Result<()> {
    let Some(mut sequencer) = Sequencer::claim(&live.0.store).await? else {
        return Ok(());
    };
    let mut forget_at = Instant::now();
    loop {
        let round = sequencer.round().await?;
        if forget_at <= Instant::now() {
            sequencer.forget(now()).await?;
            forget_at = Instant::now() + FORGET_EVERY;
        }
        if !round.more {
            // Told or not: it is looked again.
            let _ = timeout(POLL_EVERY, live.0.sequencer.notified()).await;
        }
    }
}
