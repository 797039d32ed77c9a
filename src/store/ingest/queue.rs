//! How much may wait to be written: bytes in all, and one tenant's share of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::ids::TenantId;

/// When a refused sender should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Queue {
    state: Arc<Mutex<State>>,
    limit: usize,
}

#[derive(Default)]
struct State {
    bytes: usize,
    by_tenant: HashMap<TenantId, usize>,
}

/// Bytes that count as waiting until the last clone is dropped.
#[derive(Clone)]
pub struct Admission {
    _held: Arc<Held>,
}

struct Held {
    queue: Queue,
    tenant: TenantId,
    bytes: usize,
}

impl Queue {
    pub fn new(limit: usize) -> Self {
        Self {
            state: Arc::default(),
            limit,
        }
    }

    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// A tenant alone is let in whatever it brings, since the door bounds one request; past its half it
    /// is throttled, and past the whole everybody is asked to wait.
    pub fn admit(&self, tenant: TenantId, bytes: usize) -> Result<Admission> {
        let mut state = self.lock();
        let of_tenant = state.by_tenant.get(&tenant).copied().unwrap_or_default();
        if state.bytes > 0 && state.bytes + bytes > self.limit {
            return Err(Error::Unavailable("the ingest queue is full".to_owned()));
        }
        if of_tenant > 0 && of_tenant + bytes > self.limit / 2 {
            return Err(Error::Throttled {
                limit: (self.limit / 2) as u64,
                retry_after: RETRY_AFTER,
            });
        }
        state.bytes += bytes;
        *state.by_tenant.entry(tenant).or_default() += bytes;
        drop(state);
        Ok(Admission {
            _held: Arc::new(Held {
                queue: self.clone(),
                tenant,
                bytes,
            }),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Plain counters: usable whatever happened to another holder.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.bytes = state.bytes.saturating_sub(self.bytes);
        if let Some(bytes) = state.by_tenant.get_mut(&self.tenant) {
            *bytes = bytes.saturating_sub(self.bytes);
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
        assert!(
            queue.admit(greedy, 1000).is_ok(),
            "alone, whatever one request may bring"
        );
    }
}
