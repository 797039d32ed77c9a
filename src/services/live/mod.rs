//! The live feed: one hub a process. It reads a tenant's new events once, however many watch, and hands
//! them on in memory; each watcher keeps its own place, and reads by itself what it missed.

mod feed;
mod pump;
mod work;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::access::KeyHash;
use crate::domain::ids::TenantId;
use crate::domain::live::Event;
use crate::store::ContentScope;
use crate::store::Grant;
use crate::store::Scope;
use crate::store::Store;
use crate::store::live;

pub use feed::{End, Feed, Item};
pub use work::{hear, notify, sequence};

/// Stores a ticket that opens, once, what the key of this grant opens.
pub async fn issue(
    grant: &Grant,
    hash: &KeyHash,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    live::issue(grant.scope(), grant.key_id(), hash, now, expires_at).await
}

/// Batches that a watcher may be behind. Of each batch there is one in memory for all watchers.
const BEHIND_MAX: usize = 64;
/// When somebody should ask again for whom there was no place.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The hub. Cheap to clone.
#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    store: Store,
    channels: Mutex<HashMap<TenantId, Arc<Channel>>>,
    watchers_max: usize,
    sequencer: Notify,
    stop: CancellationToken,
    running: TaskTracker,
    slow: AtomicU64,
}

/// One tenant's watchers.
struct Channel {
    tenant: TenantId,
    sender: broadcast::Sender<Told>,
    wake: Notify,
    watchers: AtomicUsize,
    /// Of the first watcher who may see what was said; until then it is not loaded.
    content: OnceLock<ContentScope>,
}

impl Channel {
    fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }
}

#[derive(Clone)]
enum Told {
    Events(Arc<Batch>),
    Count(i64),
}

/// Everything after `from` up to `to`.
struct Batch {
    from: i64,
    to: i64,
    events: Vec<Arc<Event>>,
    has_content: bool,
}

/// A place among the tenant's watchers, held until the last clone is dropped.
#[derive(Clone)]
pub struct Seat(#[expect(dead_code, reason = "held for its end")] Arc<Seated>);

struct Seated {
    channel: Arc<Channel>,
    /// Waited for at the end.
    _running: TaskTrackerToken,
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.channel.watchers.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("voxray_live_connections").decrement(1);
    }
}

impl Live {
    /// Lets so many watch a tenant at once.
    pub fn new(store: Store, watchers_max: usize) -> Self {
        Self(Arc::new(Inner {
            store,
            channels: Mutex::default(),
            watchers_max,
            sequencer: Notify::new(),
            stop: CancellationToken::new(),
            running: TaskTracker::new(),
            slow: AtomicU64::new(0),
        }))
    }

    /// What happens from now on, or after the event with this number.
    pub async fn watch(&self, grant: &Grant, after: Option<i64>) -> Result<Feed> {
        if self.0.stop.is_cancelled() {
            return Err(Error::Unavailable("the server is stopping".to_owned()));
        }
        let scope = grant.scope();
        // First the ear, then the place: what happens between the two is heard and not told twice.
        let (channel, receiver) = self.join(scope)?;
        let seat = Seat(Arc::new(Seated {
            channel: channel.clone(),
            _running: self.0.running.token(),
        }));
        if let Some(content) = grant.content() {
            channel.content.get_or_init(|| content);
        }
        Feed::start(seat, receiver, grant, after).await
    }

    /// Cancelled when watchers are to be sent away.
    pub fn stopping(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    /// Asks all watchers to leave.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    /// Waits until all have left.
    pub async fn ended(&self) {
        self.0.running.close();
        self.0.running.wait().await;
    }

    /// Notes that a watcher was sent away because it did not keep up.
    pub fn note_slow(&self) {
        self.0.slow.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("voxray_live_slow_disconnects_total").increment(1);
    }

    /// How many were.
    pub fn slow_disconnects(&self) -> u64 {
        self.0.slow.load(Ordering::Relaxed)
    }

    fn join(&self, scope: &Scope) -> Result<(Arc<Channel>, broadcast::Receiver<Told>)> {
        let mut channels = self.channels();
        let channel = channels.entry(scope.tenant()).or_insert_with(|| {
            let channel = Arc::new(Channel {
                tenant: scope.tenant(),
                sender: broadcast::Sender::new(BEHIND_MAX),
                wake: Notify::new(),
                watchers: AtomicUsize::new(0),
                content: OnceLock::new(),
            });
            self.0
                .running
                .spawn(pump::run(self.clone(), scope.clone(), channel.clone()));
            channel
        });
        if channel.watchers.load(Ordering::Relaxed) >= self.0.watchers_max {
            return Err(Error::Throttled {
                limit: self.0.watchers_max as u64,
                retry_after: RETRY_AFTER,
            });
        }
        channel.watchers.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("voxray_live_connections").increment(1);
        Ok((channel.clone(), channel.sender.subscribe()))
    }

    /// Forgets a channel that nobody watches any more.
    fn leave(&self, channel: &Channel) -> bool {
        let mut channels = self.channels();
        let is_empty = !channel.is_watched();
        if is_empty {
            channels.remove(&channel.tenant);
        }
        is_empty
    }

    fn wake(&self, tenant: TenantId) {
        if let Some(channel) = self.channels().get(&tenant) {
            channel.wake.notify_one();
        }
    }

    fn wake_all(&self) {
        self.0.sequencer.notify_one();
        let channels = self.channels();
        channels
            .values()
            .for_each(|channel| channel.wake.notify_one());
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<TenantId, Arc<Channel>>> {
        // A plain map: usable whatever happened to another holder.
        self.0
            .channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
