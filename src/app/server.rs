//! Running the router: accepting, the background tasks, and an orderly end.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::ServiceExt;
use axum::extract::Request;
use axum::serve::ListenerExt;
use chrono::{DateTime, Utc};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::shared::Shared;
use super::{App, Clock, router};
use crate::domain::Result;
use crate::services::analysis;
use crate::services::fetches;
use crate::services::live;
use crate::services::prices;
use crate::services::recordings;
use crate::services::retention;
use crate::services::rooms;
use crate::services::silence;
use crate::store::Store;
use crate::store::rollups::Keeper;
use crate::telemetry;

const FLUSH_EVERY: Duration = Duration::from_secs(10);
const SILENCE_EVERY: Duration = Duration::from_secs(15);
const RETENTION_EVERY: Duration = Duration::from_secs(60);
const ROOMS_EVERY: Duration = Duration::from_secs(10);
const PRICE_EVERY: Duration = Duration::from_secs(15);
const EARLY_EVERY: Duration = Duration::from_secs(60);
/// Recordings are fetched by so many at once, who look so often for more.
const FETCHERS: usize = 3;
const FETCH_EVERY: Duration = Duration::from_secs(2);
const ROLL_UP_EVERY: Duration = Duration::from_secs(1);
const ANALYSE_EVERY: Duration = Duration::from_millis(500);
/// Between two rounds: requests come first.
const BREATH: Duration = Duration::from_millis(5);
/// How soon another process takes over from one that died.
const CLAIM_EVERY: Duration = Duration::from_secs(5);
#[cfg(target_os = "linux")]
const VANISHED_AFTER_MS: u32 = 120_000;
const GAUGE_EVERY: Duration = Duration::from_secs(5);

/// Work beside requests. Each task ends when asked, and is waited for.
#[derive(Clone, Default)]
pub struct Tasks {
    running: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs a task until its own end; it is given the token that asks it to end.
    pub fn spawn<F>(&self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.running.spawn(task(self.stop.clone()));
    }

    /// Does something again and again, and once more at the end if `last` says so.
    pub fn every<F>(&self, period: Duration, mut work: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn(|stop| async move {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                work().await;
            }
            work().await;
        });
    }

    async fn end(&self) {
        self.stop.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

/// Serves until `stop`, then lets requests in flight end within the grace, and the tasks after them.
pub async fn serve(
    listener: TcpListener,
    app: App,
    tasks: Tasks,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let stopping = CancellationToken::new();
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection kept its delay");
        }
        hang_up_on_the_vanished(stream);
    });
    let (signal, live) = (stopping.clone(), app.live.clone());
    let service = ServiceExt::<Request>::into_make_service(Shared::new(router(app.clone())));
    let server = axum::serve(listener, service).with_graceful_shutdown(async move {
        stop.await;
        // Answers that never end by themselves would be waited for.
        live.stop();
        signal.cancel();
    });
    let deadline = async {
        stopping.cancelled().await;
        tokio::time::sleep(app.settings.shutdown_grace).await;
    };
    let served = tokio::select! {
        served = server => served,
        () = deadline => {
            tracing::warn!("requests were still running at the end of the grace time");
            Ok(())
        }
    };
    app.live.stop();
    if timeout(app.settings.shutdown_grace, app.live.ended())
        .await
        .is_err()
    {
        tracing::warn!("live connections were still open at the end of the grace time");
    }
    if timeout(
        app.settings.shutdown_grace.max(Duration::from_secs(1)),
        tasks.end(),
    )
    .await
    .is_err()
    {
        tracing::warn!("background tasks were still running at the end of the grace time");
    }
    if timeout(app.settings.shutdown_grace, app.writer.idle())
        .await
        .is_err()
    {
        tracing::warn!("the ingest queue was not empty at the end of the grace time");
    }
    served
}

/// Ends connections whose other side takes nothing that was sent, so that a stream notices too.
fn hang_up_on_the_vanished(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, VANISHED_AFTER_MS) {
        tracing::debug!(%error, "a connection kept the system's patience");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// Starts what the server does beside answering. To be called once the store has its schema.
pub fn start_work(app: &App, tasks: &Tasks) {
    let keyring = app.keyring.clone();
    tasks.every(FLUSH_EVERY, move || {
        let keyring = keyring.clone();
        async move { keyring.flush().await }
    });
    let gauged = app.clone();
    tasks.every(GAUGE_EVERY, move || {
        telemetry::connections(&gauged.store.connections());
        telemetry::ingest_queue(gauged.writer.queued_bytes());
        std::future::ready(())
    });
    let (store, clock) = (app.store.clone(), app.clock.clone());
    tasks.spawn(move |stop| keep_rollups(store, clock, stop));
    let (store, clock) = (app.store.clone(), app.clock.clone());
    tasks.spawn(move |stop| analyse(store, clock, stop));
    let (store, clock) = (app.store.clone(), app.clock.clone());
    tasks.spawn(|stop| let_go(store, clock, stop));
    let (store, clock) = (app.store.clone(), app.clock.clone());
    tasks.spawn(move |stop| price_again(store, clock, stop));
    start_live(app, tasks);
    for _ in 0..FETCHERS {
        tasks.spawn(|stop| fetch_recordings(app.clone(), stop));
    }
    let early = app.clone();
    tasks.every(EARLY_EVERY, move || drop_early(early.clone()));
    let rooms = app.clone();
    tasks.every(ROOMS_EVERY, move || join_rooms(rooms.clone()));
    let app = app.clone();
    tasks.every(SILENCE_EVERY, move || end_silent(app.clone()));
}

/// Numbers what is written, and tells those who watch.
fn start_live(app: &App, tasks: &Tasks) {
    tasks.spawn(|stop| live::notify(app.live.clone(), app.writer.written(), stop));
    tasks.spawn(|stop| live::hear(app.live.clone(), stop));
    let clock = app.clock.clone();
    tasks.spawn(|stop| live::sequence(app.live.clone(), move || clock.now(), stop));
}

/// Fetches what vendors have announced, one after the other. What is on its way when the server stops is
/// fetched again later.
async fn fetch_recordings(app: App, stop: CancellationToken) {
    let kit = app.fetch_kit();
    loop {
        let next = fetches::next(&kit, app.clock.now());
        let wait = match stop.run_until_cancelled(next).await {
            None => return,
            Some(Ok(true)) => Duration::ZERO,
            Some(Ok(false)) => FETCH_EVERY,
            Some(Err(error)) => {
                tracing::warn!(%error, "announced recordings could not be looked for");
                CLAIM_EVERY
            }
        };
        let pause = tokio::time::sleep(wait);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

async fn end_silent(app: App) {
    let patience = silence::Patience {
        active: app.settings.session_timeout,
        unanswered: app.settings.ring_timeout,
    };
    let ended = silence::end_silent(&app.store, &app.writer, patience, app.clock.now()).await;
    match ended {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "ended sessions of which nothing was heard any more"),
        Err(error) => tracing::warn!(%error, "silent sessions could not be ended"),
    }
}

async fn join_rooms(app: App) {
    match rooms::join_due(&app.store, &app.writer, app.clock.now()).await {
        Ok(0) => {}
        Ok(count) => tracing::debug!(count, "joined records of rooms with the sessions in them"),
        Err(error) => tracing::warn!(%error, "records of rooms could not be joined"),
    }
}

async fn drop_early(app: App) {
    match recordings::drop_early(&app.store, &app.objects, app.clock.now()).await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "dropped recordings whose calls never came"),
        Err(error) => tracing::warn!(%error, "recordings without a call could not be dropped"),
    }
    let removed = recordings::remove_leftovers(&app.store, &app.objects, app.clock.now());
    if let Err(error) = removed.await {
        tracing::warn!(%error, "audio that nobody needs could not be looked for");
    }
}

/// Keeps the rollups as long as no other process on this store does.
async fn keep_rollups(store: Store, clock: Clock, stop: CancellationToken) {
    let mut keeper = None;
    let pause = |duration| stop.run_until_cancelled(tokio::time::sleep(duration));
    loop {
        let wait = match keep_round(&store, &mut keeper, clock.now()).await {
            Ok(true) => Duration::ZERO,
            Ok(false) if keeper.is_some() => ROLL_UP_EVERY,
            Ok(false) => CLAIM_EVERY,
            Err(error) => {
                tracing::warn!(%error, "rollups could not be kept, trying again");
                keeper = None;
                CLAIM_EVERY
            }
        };
        if pause(wait).await.is_none() {
            return;
        }
    }
}

/// Analyses calls as they change, and those whose analysis is not of today.
async fn analyse(store: Store, clock: Clock, stop: CancellationToken) {
    let work = async {
        loop {
            let wait = match analyse_round(&store, clock.now()).await {
                Ok(true) => BREATH,
                Ok(false) => ANALYSE_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "calls could not be analysed, trying again");
                    CLAIM_EVERY
                }
            };
            tokio::time::sleep(wait).await;
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Lets calls go whose time is over, a few at a time.
async fn let_go(store: Store, clock: Clock, stop: CancellationToken) {
    loop {
        let wait = match retention::round(&store, clock.now()).await {
            Ok(gone) if gone.is_nothing() => RETENTION_EVERY,
            Ok(gone) => {
                let retention::Gone {
                    closed,
                    deleted,
                    forgotten,
                } = gone;
                tracing::info!(
                    closed,
                    deleted,
                    forgotten,
                    "let calls go whose time was over"
                );
                BREATH
            }
            Err(error) => {
                tracing::warn!(%error, "calls whose time is over could not be looked for");
                RETENTION_EVERY
            }
        };
        let pause = tokio::time::sleep(wait);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// Computes costs again where prices have changed.
async fn price_again(store: Store, clock: Clock, stop: CancellationToken) {
    let work = async {
        loop {
            let wait = match prices::sweep(&store, clock.now()).await {
                Ok(true) => BREATH,
                Ok(false) => PRICE_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "costs could not be computed again, trying again");
                    CLAIM_EVERY
                }
            };
            tokio::time::sleep(wait).await;
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Answers whether there is more to do at once.
async fn analyse_round(store: &Store, now: DateTime<Utc>) -> Result<bool> {
    Ok(analysis::round(store, now).await? || analysis::sweep(store, now).await?)
}

/// Answers whether there is more to do at once.
async fn keep_round(
    store: &Store,
    keeper: &mut Option<Keeper>,
    now: DateTime<Utc>,
) -> Result<bool> {
    if keeper.is_none() {
        *keeper = Keeper::claim(store).await?;
    }
    match keeper {
        Some(keeper) => keeper.round(now).await,
        None => Ok(false),
    }
}
