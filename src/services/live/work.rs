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
use crate::services::patience::within;
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
/// Numbering what waits takes no longer: then the database, or the way there, is lost.
const NUMBERED_WITHIN: Duration = Duration::from_secs(30);
/// One that listens cannot tell a silent database from a lost one. After so long in silence it begins anew.
const HEARD_WITHIN: Duration = Duration::from_secs(60);

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
    let begun = Box::pin(Listener::start(&live.0.store));
    let mut listener = within(HEARD_WITHIN, begun).await?;
    live.wake_all();
    loop {
        let Ok(heard) = timeout(HEARD_WITHIN, listener.next()).await else {
            return Ok(());
        };
        match heard? {
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
    let claimed = within(NUMBERED_WITHIN, Sequencer::claim(&live.0.store));
    let Some(mut sequencer) = claimed.await? else {
        return Ok(());
    };
    let mut forget_at = Instant::now();
    loop {
        let round = within(NUMBERED_WITHIN, sequencer.round()).await?;
        if forget_at <= Instant::now() {
            within(NUMBERED_WITHIN, sequencer.forget(now())).await?;
            forget_at = Instant::now() + FORGET_EVERY;
        }
        if !round.more {
            // Told or not: it is looked again.
            let _ = timeout(POLL_EVERY, live.0.sequencer.notified()).await;
        }
    }
}
