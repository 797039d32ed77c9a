//! Keys in use: what they open, remembered for a moment, and when each was last used.
//!
//! A grant is remembered for [`MEMORY`] on every process, so a revocation is in force after that at the
//! latest. Last use is gathered here and written every few seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use moka::future::Cache;

use super::key::Presented;
use crate::domain::Result;
use crate::domain::access::KeyHash;
use crate::store::{Grant, Store, api_keys};

const MEMORY: Duration = Duration::from_secs(2);
/// Keys remembered, wrong ones included: bounded, since anybody can present wrong ones.
const MEMORY_KEYS: u64 = 10_000;

#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    store: Store,
    grants: Cache<KeyHash, Option<Grant>>,
    used: Mutex<HashMap<String, DateTime<Utc>>>,
}

impl Keyring {
    pub fn new(store: Store) -> Self {
        let grants = Cache::builder()
            .max_capacity(MEMORY_KEYS)
            .time_to_live(MEMORY)
            .build();
        Self(Arc::new(Inner {
            store,
            grants,
            used: Mutex::default(),
        }))
    }

    /// What a key opens now. Many requests with one key ask the store once.
    pub async fn open(&self, key: &Presented, now: DateTime<Utc>) -> Result<Option<Grant>> {
        let ask = self.0.store.open(&key.id, &key.hash, now);
        let grant = self
            .0
            .grants
            .try_get_with_by_ref(&key.hash, ask)
            .await
            .map_err(|error| (*error).clone())?;
        let grant = grant.filter(|grant| !grant.is_expired(now));
        if grant.is_some() {
            self.note_use(&key.id, now);
        }
        Ok(grant)
    }

    /// Writes the uses noted since the last time. What cannot be written is kept for the next.
    pub async fn flush(&self) {
        let used = std::mem::take(&mut *self.used());
        if used.is_empty() {
            return;
        }
        let (ids, times): (Vec<_>, Vec<_>) = used.into_iter().unzip();
        if let Err(error) = api_keys::touch(&self.0.store, &ids, &times).await {
            tracing::warn!(%error, "when keys were last used could not be written");
            let mut used = self.used();
            for (id, time) in ids.into_iter().zip(times) {
                used.entry(id).or_insert(time);
            }
        }
    }

    fn note_use(&self, id: &str, now: DateTime<Utc>) {
        let mut used = self.used();
        match used.get_mut(id) {
            Some(last) => *last = now,
            None => {
                used.insert(id.to_owned(), now);
            }
        }
    }

    fn used(&self) -> std::sync::MutexGuard<'_, HashMap<String, DateTime<Utc>>> {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
