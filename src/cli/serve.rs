//! `voxray serve`: the server, until a signal.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::{self, App, Clock, Tasks};
use crate::cli::open::Postgres;
use crate::cli::{Failure, open};
use crate::config::{ServerSettings, Settings};
use crate::domain::Error;
use crate::store::Store;
use crate::store::embedded::Hold;
use crate::telemetry;

const MIGRATE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Run the server (what `voxray` does without a command)
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  voxray serve\n  DATABASE_URL=postgres://voxray@db/voxray voxray serve --listen 0.0.0.0:8787"
)]
pub struct Arguments {
    #[command(flatten)]
    settings: ServerSettings,
}

pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let settings = arguments.settings.load()?;
    telemetry::log(settings.log_format, &settings.log_level);
    until_stopped(settings, async |_, _| Ok(())).await
}

/// Serves until a signal; once the store is ready, `then` is done beside it.
pub async fn until_stopped(
    settings: Settings,
    then: impl AsyncFnOnce(&App, &Tasks) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // The data directory first: that a second server is one too many is told as such.
    let postgres = open::postgres(&settings, Hold::Server).await?;
    let served = listen_and_serve(&postgres, settings, then).await;
    let stopped = open::stop(postgres.embedded).await;
    served?;
    stopped?;
    tracing::info!("stopped");
    Ok(())
}

async fn listen_and_serve(
    postgres: &Postgres,
    settings: Settings,
    then: impl AsyncFnOnce(&App, &Tasks) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let stop = stop_on_signal()?;
    let listener = bind("listen", settings.listen).await?;
    let tasks = Tasks::default();
    start_metrics(&settings, &tasks).await?;
    if let Some(embedded) = &postgres.embedded {
        embedded.watch();
    }
    let store = Store::connect(postgres.options.clone(), settings.pool_size);
    tracing::info!("listening on http://{}", listener.local_addr()?);
    let result = serve(
        listener,
        App::new(store.clone(), Clock::system(), settings),
        tasks,
        stop,
        then,
    )
    .await;
    store.close().await;
    result
}

/// Answers from the start on, 503 at first: the store is ready only after its migrations.
async fn serve(
    listener: TcpListener,
    app: App,
    tasks: Tasks,
    stop: CancellationToken,
    then: impl AsyncFnOnce(&App, &Tasks) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let served = tokio::spawn(app::serve(
        listener,
        app.clone(),
        tasks.clone(),
        stop.clone().cancelled_owned(),
    ));
    let prepared = async {
        prepare(&app, &tasks, &stop).await?;
        let then = stop.run_until_cancelled(then(&app, &tasks)).await;
        then.unwrap_or(Ok(()))
    };
    let prepared = prepared.await;
    if prepared.is_err() {
        stop.cancel();
    }
    served
        .await
        .map_err(|error| Failure::new(format!("the server ended: {error}")))?;
    prepared
}

/// Waits for a store that is away; gives up on one that is wrong.
async fn prepare(app: &App, tasks: &Tasks, stop: &CancellationToken) -> Result<(), Failure> {
    loop {
        match stop.run_until_cancelled(app.store.migrate()).await {
            None => return Ok(()),
            Some(Ok(())) => break,
            Some(Err(Error::Unavailable(cause))) => {
                tracing::warn!(cause, "the store is not there yet, trying again");
                stop.run_until_cancelled(tokio::time::sleep(MIGRATE_AGAIN_AFTER))
                    .await;
            }
            Some(Err(error)) => return Err(error.into()),
        }
    }
    app::start_work(app, tasks);
    tracing::info!("ready");
    Ok(())
}

async fn start_metrics(settings: &Settings, tasks: &Tasks) -> Result<(), Failure> {
    let Some(address) = settings.metrics_listen else {
        return Ok(());
    };
    let listener = bind("metrics_listen", address).await?;
    let handle = telemetry::collect().map_err(|error| Failure::new(format!("metrics: {error}")))?;
    tasks.spawn(|stop| telemetry::serve_metrics(listener, handle, stop));
    Ok(())
}

async fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    let told = |error| {
        Failure::new(format!(
            "setting `{setting}`: cannot listen on `{address}`: {error}"
        ))
    };
    TcpListener::bind(address).await.map_err(told)
}

/// Cancelled by Ctrl-C or by a polite `kill`.
/// Is cancelled by the first interrupt or request to terminate.
pub fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping: requests in flight may end");
        token.cancel();
    });
    Ok(stop)
}
