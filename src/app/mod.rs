//! The wiring: what handlers share, the one table of routes, and the layers around them.

mod arrival;
mod clock;
mod edge;
mod layers;
mod limits;
mod routes;
mod server;
mod shared;
mod work;

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;

use crate::api::polled::Polled;
use crate::api::voice_sessions::export::Slots;
use crate::auth::Keyring;
use crate::config::Settings;
use crate::objects::{Fetcher, Objects};
use crate::services::fetches::{self, Kit};
use crate::services::hands::Hands;
use crate::services::live::Live;
use crate::services::pace::Traffic;
use crate::store::Store;
use crate::store::ingest::Writer;

pub use clock::{Clock, Now};
pub use edge::RequestId;
pub use layers::{layered, router, routes};
pub use routes::{Access, ROUTES, Route, Verb};
pub use server::serve;
pub use work::{Tasks, start_work};

/// What every handler may ask for, cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What the server is made of.
pub struct Parts {
    pub store: Store,
    pub keyring: Keyring,
    pub writer: Writer,
    pub polled: Polled,
    pub live: Live,
    pub exports: Slots,
    pub traffic: Traffic,
    pub objects: Objects,
    pub fetcher: Fetcher,
    pub hands: Hands,
    pub clock: Clock,
    pub settings: Settings,
}

impl App {
    pub fn new(store: Store, clock: Clock, settings: Settings) -> Self {
        let keyring = Keyring::new(store.clone());
        let polled = Polled::new(settings.cache_ttl);
        let writer = Writer::start(&store, settings.ingest_queue_bytes);
        let live = Live::new(store.clone(), settings.live_connections);
        let objects = Objects::new(
            settings.recordings_location(),
            settings.spool_dir(),
            settings.recordings_quota_bytes,
        );
        let fetcher = Fetcher::new(settings.recordings_rules.clone());
        Self(Arc::new(Parts {
            live,
            store,
            keyring,
            writer,
            polled,
            exports: Slots::default(),
            traffic: Traffic::default(),
            objects,
            fetcher,
            hands: Hands::default(),
            clock,
            settings,
        }))
    }
}

impl App {
    /// Where audio is kept, and how much of it.
    pub fn audio(&self) -> (&Objects, u64) {
        (&self.objects, self.settings.recordings_limit_bytes as u64)
    }

    /// What fetching recordings needs.
    pub fn fetch_kit(&self) -> Kit {
        Kit {
            store: self.store.clone(),
            objects: self.objects.clone(),
            fetcher: self.fetcher.clone(),
            hands: self.hands.clone(),
            limit_bytes: self.settings.recordings_limit_bytes as u64,
            time_limit: self.settings.recordings_timeout,
            lease: fetches::LEASE,
        }
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<App> for Keyring {
    fn from_ref(app: &App) -> Self {
        app.keyring.clone()
    }
}

impl FromRef<App> for Clock {
    fn from_ref(app: &App) -> Self {
        app.clock.clone()
    }
}
