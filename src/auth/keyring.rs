//! Keys in use: what they open, remembered for a moment, and when each was last used.
//!
//! A grant is remembered for [`MEMORY`] on every process, so a revocation is in force after that at the
//! latest. Last use is gathered here and written every few seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use moka::future::Cache;

use super::browser;
use super::key::Presented;
use crate::app::Clock;
use crate::domain::Result;
use crate::domain::access::{KeyHash, Right};
use crate::store::livekit_keys::Candidate;
use crate::store::{Grant, Store, api_keys, console, live, livekit_keys};

const MEMORY: Duration = Duration::from_secs(1);
/// How often the key of an open connection is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Keys remembered, wrong ones included: bounded, since anybody can present wrong ones.
const MEMORY_KEYS: u64 = 10_000;

#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    store: Store,
    grants: Cache<KeyHash, Option<Grant>>,
    /// By the name of a LiveKit key: whoever may know its secret.
    livekit: Cache<String, Arc<Vec<Candidate>>>,
    /// By public id, and console session if any: what is open that was shown before.
    renewed: Cache<(String, Option<KeyHash>), Option<Grant>>,
    used: Mutex<HashMap<String, DateTime<Utc>>>,
}

impl Keyring {
    pub fn new(store: Store) -> Self {
        let grants = Cache::builder()
            .max_capacity(MEMORY_KEYS)
            .time_to_live(MEMORY)
            .build();
        let renewed = Cache::builder()
            .max_capacity(MEMORY_KEYS)
            .time_to_live(MEMORY)
            .build();
        let livekit = Cache::builder()
            .max_capacity(MEMORY_KEYS)
            .time_to_live(MEMORY)
            .build();
        Self(Arc::new(Inner {
            store,
            grants,
            renewed,
            livekit,
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

    /// Opens a console session with a key that may read, until then; the text is for the cookie. Nothing if
    /// the key opens nothing.
    pub async fn sign_in(
        &self,
        key: &Presented,
        now: DateTime<Utc>,
    ) -> Result<Option<(Grant, Option<String>)>> {
        let Some(grant) = self.open(key, now).await? else {
            return Ok(None);
        };
        if !grant.allows(Right::SessionsRead) {
            return Ok(Some((grant, None)));
        }
        let session = browser::generate(grant.key_id());
        let end = now + browser::LIFETIME;
        console::begin(grant.scope(), grant.key_id(), &session.hash, now, end).await?;
        Ok(Some((grant, Some(session.text))))
    }

    /// What a console session opens now. Remembered like a key.
    pub async fn open_session(
        &self,
        session: &Presented,
        now: DateTime<Utc>,
    ) -> Result<Option<Grant>> {
        let ask = console::open(&self.0.store, &session.id, &session.hash, now);
        let grant = self
            .0
            .grants
            .try_get_with_by_ref(&session.hash, ask)
            .await
            .map_err(|error| (*error).clone())?;
        let grant = grant.filter(|grant| !grant.is_expired(now));
        if grant.is_some() {
            self.note_use(&session.id, now);
        }
        Ok(grant)
    }

    /// Closes a console session, here at once.
    pub async fn sign_out(&self, session: &Presented, now: DateTime<Utc>) -> Result<()> {
        let Some(grant) = self.open_session(session, now).await? else {
            return Ok(());
        };
        console::end(grant.scope(), &session.hash).await?;
        self.0.grants.invalidate(&session.hash).await;
        Ok(())
    }

    /// What a ticket opens, which is used up by this.
    pub async fn redeem(&self, ticket: &Presented, now: DateTime<Utc>) -> Result<Option<Grant>> {
        let grant = live::redeem(&self.0.store, &ticket.id, &ticket.hash, now).await?;
        if grant.is_some() {
            self.note_use(&ticket.id, now);
        }
        Ok(grant)
    }

    /// Whoever may have signed with a LiveKit key of this name.
    pub async fn livekit(&self, key_name: &str) -> Result<Arc<Vec<Candidate>>> {
        let ask = async {
            let found = livekit_keys::candidates(&self.0.store, key_name).await;
            found.map(Arc::new)
        };
        let found = self.0.livekit.try_get_with_by_ref(key_name, ask).await;
        found.map_err(|error| (*error).clone())
    }

    /// Looks at LiveKit keys anew: one has come or gone.
    pub fn forget_livekit(&self) {
        self.0.livekit.invalidate_all();
    }

    /// Waits until a key opens no more what it opened: it is revoked, expired, or of fewer rights.
    pub async fn ended(&self, grant: &Grant, clock: &Clock) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = clock.now();
            let ask = grant.renew(&self.0.store, now);
            let asked = (grant.key_id().to_owned(), grant.session().copied());
            let renewed = self.0.renewed.try_get_with(asked, ask).await;
            match renewed {
                Ok(Some(renewed)) if !renewed.is_expired(now) && renewed.covers(grant) => {}
                // Nothing is told while the store is away.
                Err(error) => tracing::debug!(%error, "a key could not be looked at again"),
                Ok(_) => return,
            }
        }
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
