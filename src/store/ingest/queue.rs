//! How much may wait to be written: bytes in all, one tenant's share of them, and how many of them may be unpacked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::ids::TenantId;

/// When a refused sender should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Bytes of requests that are taken apart at once. As values in memory they are some twenty times as much, so the
/// others wait as they came; more than a few commits' worth gains nothing.
const UNPACKED_MAX_BYTES: u32 = 3 << 18;

#[derive(Clone)]
pub struct Queue {
    state: Arc<Mutex<State>>,
    limit: usize,
    unpacked: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    bytes: usize,
    by_tenant: HashMap<TenantId, usize>,
}

/// Bytes of one request that count as waiting until the last clone is dropped.
#[derive(Clone)]
pub struct Admission {
    held: Arc<Held>,
}

struct Held {
    queue: Queue,
    tenant: TenantId,
    /// Changed only while the queue's state is locked.
    bytes: AtomicUsize,
    unpacked: OnceLock<OwnedSemaphorePermit>,
}

impl Queue {
    pub fn new(limit: usize) -> Self {
        Self {
            state: Arc::default(),
            limit,
            unpacked: Arc::new(Semaphore::new(UNPACKED_MAX_BYTES as usize)),
        }
    }

    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Lets a request in, of which so many bytes are known.
    pub fn admit(&self, tenant: TenantId, bytes: usize) -> Result<Admission> {
        let held = Held {
            queue: self.clone(),
            tenant,
            bytes: AtomicUsize::new(0),
            unpacked: OnceLock::new(),
        };
        let admission = Admission {
            held: Arc::new(held),
        };
        admission.grow(bytes)?;
        Ok(admission)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Plain counters: usable whatever happened to another holder.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission {
    /// So many bytes more. A request alone is let in whatever it brings, since the door bounds one
    /// request; past its half a tenant is throttled, and past the whole everybody is asked to wait.
    pub fn grow(&self, bytes: usize) -> Result<()> {
        let Held { queue, tenant, .. } = &*self.held;
        let mut state = queue.lock();
        let own = self.held.bytes.load(Ordering::Relaxed);
        let of_tenant = state.by_tenant.get(tenant).copied().unwrap_or_default();
        if state.bytes > own && state.bytes + bytes > queue.limit {
            return Err(Error::Unavailable("the ingest queue is full".to_owned()));
        }
        if of_tenant > own && of_tenant + bytes > queue.limit / 2 {
            return Err(Error::Throttled {
                limit: (queue.limit / 2) as u64,
                retry_after: RETRY_AFTER,
            });
        }
        state.bytes += bytes;
        *state.by_tenant.entry(*tenant).or_default() += bytes;
        self.held.bytes.store(own + bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Admission {
    /// Waits until the request may be taken apart. It counts as unpacked until the last clone is dropped.
    pub async fn unpack(&self) {
        let bytes = self.held.bytes.load(Ordering::Relaxed);
        let bytes = u32::try_from(bytes).map_or(UNPACKED_MAX_BYTES, |b| b.min(UNPACKED_MAX_BYTES));
        let permit = self.held.queue.unpacked.clone().acquire_many_owned(bytes);
        // The semaphore is never closed.
        if let Ok(permit) = permit.await {
            let _ = self.held.unpacked.set(permit);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let own = self.bytes.load(Ordering::Relaxed);
        let mut state = self.queue.lock();
        state.bytes = state.bytes.saturating_sub(own);
        if let Some(bytes) = state.by_tenant.get_mut(&self.tenant) {
            *bytes = bytes.saturating_sub(own);
            if *bytes == 0 {
                state.by_tenant.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_gets_at_most_half() {
        let (queue, greedy, other) = (
            Queue::new(100),
            TenantId(uuid::Uuid::from_u128(1)),
            TenantId(uuid::Uuid::from_u128(2)),
        );
        let first = queue.admit(greedy, 40).unwrap();
        assert!(matches!(
            queue.admit(greedy, 20),
            Err(Error::Throttled { .. })
        ));
        let second = queue.admit(other, 45).unwrap();
        assert!(matches!(queue.admit(other, 20), Err(Error::Unavailable(_))));
        drop((first, second));
        assert_eq!(queue.bytes(), 0);
        let alone = queue.admit(greedy, 1000);
        let alone = alone.expect("alone, whatever one request may bring");
        assert!(alone.grow(1000).is_ok(), "and however it arrives");
        assert!(matches!(queue.admit(other, 1), Err(Error::Unavailable(_))));
    }
}
