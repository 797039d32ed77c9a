//! Running the router: accepting, and an orderly end.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::ServiceExt;
use axum::extract::Request;
use axum::serve::ListenerExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::work::Tasks;
use super::{App, router};

#[cfg(target_os = "linux")]
const VANISHED_AFTER_MS: u32 = 120_000;

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
    let service = ServiceExt::<Request>::into_make_service(Shared::new(
        router(app.clone()),
        app.traffic.clone(),
    ));
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
