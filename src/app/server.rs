//! Running the router: accepting, and an orderly end.

use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::work::Tasks;
use super::{App, router};

#[cfg(target_os = "linux")]
const VANISHED_AFTER_MS: u32 = 120_000;
/// Of what a connection sends so much is read ahead, and a request's head may be as long. A connection keeps it for as
/// long as it is open: agents hold theirs between calls.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// Serves until `stop`, then lets requests in flight end within the grace, and the tasks after them.
pub async fn serve(
    listener: TcpListener,
    app: App,
    tasks: Tasks,
    stop: impl Future<Output = ()> + Send,
) {
    let stopping = CancellationToken::new();
    let service = Shared::new(router(app.clone()), app.traffic.clone());
    let server = answer(listener, service, async {
        stop.await;
        // Answers that never end by themselves would be waited for.
        app.live.stop();
        stopping.cancel();
    });
    let deadline = async {
        stopping.cancelled().await;
        tokio::time::sleep(app.settings.shutdown_grace).await;
    };
    tokio::select! {
        () = server => {}
        () = deadline => tracing::warn!("requests were still running at the end of the grace time"),
    }
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
}

/// Answers on every connection until `stop`, and then what was asked before.
async fn answer(mut listener: TcpListener, service: Shared, stop: impl Future<Output = ()>) {
    let mut http = auto::Builder::new(TokioExecutor::new()).http1_only();
    http.http1().max_buf_size(READ_AHEAD_BYTES);
    let connections = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let stream = tokio::select! {
            // Whoever cannot be let in now (no file is left) is let in later.
            (stream, _) = Listener::accept(&mut listener) => stream,
            () = &mut stop => break,
        };
        prepare(&stream);
        let service = service.clone();
        let answers = service_fn(move |request: hyper::Request<Incoming>| {
            service.answer(request.map(Body::new))
        });
        let connection = http
            .serve_connection_with_upgrades(TokioIo::new(stream), answers)
            .into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}

fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection kept its delay");
    }
    hang_up_on_the_vanished(stream);
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
