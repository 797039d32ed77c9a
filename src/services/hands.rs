//! Whose recordings this process is fetching: no tenant has all hands to itself, however slow its sources are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::domain::Result;
use crate::domain::ids::TenantId;
use crate::domain::webhook::Fetch;
use crate::store::recordings::fetches;
use crate::store::{Scope, Store};

/// Recordings are fetched by so many at once.
pub const HANDS: usize = 3;
/// One is left for others.
const HANDS_PER_TENANT: usize = HANDS - 1;

/// Fetches that are under way, by tenant. Cheap to clone.
#[derive(Clone, Default)]
pub struct Hands(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Held while one looks for work, so that what it finds counts when the next one looks.
    looking: tokio::sync::Mutex<()>,
    at_work: Mutex<HashMap<TenantId, usize>>,
}

/// One that is at work, until it is dropped.
pub struct Hand {
    hands: Hands,
    tenant: TenantId,
}

impl Hands {
    /// Takes a fetch that is due, of a tenant that has not as many under way as it may.
    pub async fn claim(
        &self,
        store: &Store,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<(Hand, Scope, Fetch)>> {
        let _looking = self.0.looking.lock().await;
        let claimed = fetches::claim(store, now, until, &self.busy()).await?;
        Ok(claimed.map(|(scope, fetch)| (self.set_to_work(scope.tenant()), scope, fetch)))
    }

    fn busy(&self) -> Vec<TenantId> {
        let at_work = self.at_work();
        let busy = at_work.iter().filter(|(_, own)| **own >= HANDS_PER_TENANT);
        busy.map(|(tenant, _)| *tenant).collect()
    }

    fn set_to_work(&self, tenant: TenantId) -> Hand {
        *self.at_work().entry(tenant).or_default() += 1;
        Hand {
            hands: self.clone(),
            tenant,
        }
    }

    fn at_work(&self) -> MutexGuard<'_, HashMap<TenantId, usize>> {
        self.0
            .at_work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        let mut at_work = self.hands.at_work();
        match at_work.get_mut(&self.tenant) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                at_work.remove(&self.tenant);
            }
        }
    }
}
