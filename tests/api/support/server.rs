//! A whole server on a random port, stopped when the test ends.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use voxray::app::{self, App, Clock, Tasks};
use voxray::auth::key;
use voxray::config::Settings;
use voxray::domain::access::{self, Rights};
use voxray::domain::ids::TenantId;
use voxray::services::analysis;
use voxray::store::api_keys::{self, NewKey};
use voxray::store::{Store, parse_url, tenants};

use super::cluster::{self, TestDatabase};
use super::{Client, Proxy, probe};

/// When every test takes place, unless it moves the clock.
pub fn now() -> DateTime<Utc> {
    "2025-06-11T12:00:00Z".parse().expect("a time")
}

pub struct TestServer {
    pub app: App,
    pub clock: Clock,
    pub base: String,
    database: Arc<TestDatabase>,
    stop: CancellationToken,
}

#[derive(PartialEq)]
enum Work {
    Started,
    None,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With other settings than the defaults.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(
            Arc::new(cluster::database().await),
            Clock::fixed(now()),
            change,
        )
        .await
    }

    /// Another server process, as it were, on the same store and clock.
    pub async fn beside(&self) -> Self {
        Self::on(self.database.clone(), self.clock.clone(), |_| {}).await
    }

    async fn on(
        database: Arc<TestDatabase>,
        clock: Clock,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let url = database.url();
        Self::reaching(database, &url, clock, Work::Started, change).await
    }

    /// Whose background work the test does itself, when it wants it done.
    pub async fn without_work() -> Self {
        Self::without_work_with(|_| {}).await
    }

    /// The same with other settings.
    pub async fn without_work_with(change: impl FnOnce(&mut Settings)) -> Self {
        let database = Arc::new(cluster::database().await);
        let url = database.url();
        Self::reaching(database, &url, Clock::fixed(now()), Work::None, change).await
    }

    /// Whose connections to the database can be cut.
    pub async fn behind_proxy() -> (Self, Proxy) {
        Self::behind_proxy_with(|_| {}).await
    }

    pub async fn behind_proxy_with(change: impl FnOnce(&mut Settings)) -> (Self, Proxy) {
        let database = cluster::database().await;
        let proxy = Proxy::before(&database.url()).await;
        let server = Self::reaching(
            Arc::new(database),
            &proxy.url(),
            Clock::fixed(now()),
            Work::Started,
            change,
        )
        .await;
        (server, proxy)
    }

    async fn reaching(
        database: Arc<TestDatabase>,
        url: &str,
        clock: Clock,
        work: Work,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = Settings {
            // Nothing is left where this machine's own server keeps its recordings.
            data_dir: TestDatabase::cluster_folder().join("data"),
            ..Settings::default()
        };
        change(&mut settings);
        let store = Store::connect(parse_url(url).expect("a URL"), 4);
        store.migrate().await.expect("migrations");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let app = App::new(store, clock.clone(), settings);
        let stop = CancellationToken::new();
        let tasks = Tasks::default();
        if work == Work::Started {
            app::start_work(&app, &tasks);
        }
        tokio::spawn(app::serve(
            listener,
            app.clone(),
            tasks,
            stop.clone().cancelled_owned(),
        ));
        Self {
            app,
            clock,
            base,
            database,
            stop,
        }
    }

    /// Serves the probe's routes too, inside the same layers, at another address.
    pub async fn probe(&self) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let router = app::layered(app::routes().merge(probe::routes()), self.app.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        Client::new(&base)
    }

    /// Has every call analysed that changed, those that go on included.
    pub async fn analysed(&self) {
        let soon = self.clock.now() + chrono::TimeDelta::minutes(1);
        let done = analysis::drain(&self.app.store, soon).await;
        done.expect("analyses");
    }

    /// Asks the server to stop, as a signal does.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    pub fn database_url(&self) -> String {
        self.database.url()
    }

    /// Straight into the database, past the server.
    pub async fn connect(&self) -> PgConnection {
        let connection = PgConnection::connect(&self.database_url());
        connection.await.expect("a database")
    }

    /// Until a statement waits for a lock that somebody else holds.
    pub async fn until_somebody_waits(&self) {
        let mut connection = self.connect().await;
        let waiting = "select exists (select from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock')";
        while !sqlx::query_scalar::<_, bool>(waiting)
            .fetch_one(&mut connection)
            .await
            .expect("a look")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Somebody without a key.
    pub fn anonymous(&self) -> Client {
        Client::new(&self.base)
    }

    pub async fn tenant(&self, name: &str) -> Tenant<'_> {
        let tenant = access::Tenant {
            id: TenantId(Uuid::new_v4()),
            name: name.to_owned(),
            created_at: self.clock.now(),
        };
        let (first, _) = self.new_key(tenant.id, "admin", None);
        tenants::create(&self.app.store, &tenant, &first)
            .await
            .expect("a tenant");
        Tenant {
            server: self,
            id: tenant.id,
        }
    }

    fn new_key(
        &self,
        tenant: TenantId,
        scopes: &str,
        expires_at: Option<DateTime<Utc>>,
    ) -> (NewKey, String) {
        let rights: Result<Rights, _> = scopes
            .split(',')
            .filter(|s| !s.is_empty())
            .map(str::parse)
            .collect();
        let key = key::generate();
        let stored = NewKey {
            id: key.id,
            tenant,
            name: "test".to_owned(),
            hash: key.hash,
            rights: rights.expect("scopes"),
            created_at: self.clock.now(),
            expires_at,
        };
        (stored, key.text)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub struct Tenant<'a> {
    server: &'a TestServer,
    pub id: TenantId,
}

impl Tenant<'_> {
    /// A new key with these scopes, separated by commas.
    pub async fn key(&self, scopes: &str) -> String {
        self.key_until(scopes, None).await
    }

    pub async fn key_until(&self, scopes: &str, expires_at: Option<DateTime<Utc>>) -> String {
        let (stored, text) = self.server.new_key(self.id, scopes, expires_at);
        api_keys::create(&self.server.app.store, &stored)
            .await
            .expect("a key");
        text
    }

    pub async fn client(&self, scopes: &str) -> Client {
        self.server.anonymous().bearer(&self.key(scopes).await)
    }

    /// Sees numbers, not what was said.
    pub async fn reader(&self) -> Client {
        self.client("sessions:read").await
    }

    /// Sees everything.
    pub async fn transcripts(&self) -> Client {
        self.client("sessions:read,transcripts:read").await
    }

    pub async fn ingestor(&self) -> Client {
        self.client("ingest:write").await
    }
}
