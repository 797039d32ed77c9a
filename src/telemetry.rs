//! Logs and metrics. No metric names a tenant, and nothing here carries a secret.
//!
//! Metrics have a listener of their own: whoever holds a tenant's key must not see what all tenants do
//! together.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use axum::handler::HandlerWithoutStateExt;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use metrics::{
    Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Upper edges, in seconds: a cached poll to the request timeout.
const DURATION_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// What libraries say of a client's data is no matter of the operator's, unless he asks for it.
const QUIET: &str = "symphonia=off";

/// Starts logging to standard error. Only the first call in a process has an effect.
pub fn log(format: LogFormat, level: &str) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("{QUIET},{level}")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started before");
    }
}

/// What is measured, once it is collected.
static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Collects metrics from here on. The first call in a process decides.
pub fn collect() -> Result<&'static PrometheusHandle, BuildError> {
    if let Some(handle) = HANDLE.get() {
        return Ok(handle);
    }
    let handle = PrometheusBuilder::new()
        .set_buckets(&DURATION_BUCKETS)?
        .install_recorder()?;
    describe();
    Ok(HANDLE.get_or_init(|| handle))
}

fn describe() {
    describe_counter!(
        "voxray_http_requests_total",
        "Requests answered, by route, method and status"
    );
    describe_histogram!(
        "voxray_http_request_duration_seconds",
        "Time to the start of an answer"
    );
    describe_counter!(
        "voxray_ingest_items_total",
        "Ingested items by what became of them"
    );
    describe_gauge!(
        "voxray_ingest_queue_bytes",
        metrics::Unit::Bytes,
        "Bytes of requests that wait to be committed"
    );
    describe_counter!(
        "voxray_ingest_commits_total",
        "Commits of the ingest writers; items over commits is the size of a batch"
    );
    describe_counter!(
        "voxray_webhook_deliveries_total",
        "Deliveries of vendors by what became of them"
    );
    describe_counter!(
        "voxray_recording_fetches_total",
        "Tries to fetch recordings by how they ended"
    );
    describe_gauge!(
        "voxray_live_connections",
        "Sockets and streams of the live feed that are open"
    );
    describe_counter!(
        "voxray_live_messages_total",
        "Messages sent on the live feed"
    );
    describe_counter!(
        "voxray_live_slow_disconnects_total",
        "Live connections closed because they did not keep up"
    );
    describe_gauge!("voxray_http_requests_in_flight", "Requests being answered");
    describe_gauge!(
        "voxray_store_connections",
        "Connections to Postgres, by pool"
    );
    describe_gauge!("voxray_store_connections_idle", "Of these, the idle ones");
}

/// Serves `GET /metrics` until `stop`.
pub async fn serve_metrics(
    listener: TcpListener,
    handle: &'static PrometheusHandle,
    stop: CancellationToken,
) {
    let page = move |uri: Uri| async move { metrics_page(handle, &uri) };
    let upkeep = async {
        loop {
            handle.run_upkeep();
            tokio::time::sleep(UPKEEP_EVERY).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = upkeep => {}
        served = axum::serve(listener, page.into_make_service()) => {
            if let Err(error) = served {
                tracing::error!(%error, "the metrics listener ended");
            }
        }
    }
}

fn metrics_page(handle: &PrometheusHandle, uri: &Uri) -> Response {
    if uri.path() != "/metrics" {
        return (StatusCode::NOT_FOUND, "metrics are at /metrics\n").into_response();
    }
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        handle.render(),
    )
        .into_response()
}

/// Counts a request as running for as long as it lives, also when it is dropped half-way.
pub struct InFlight(());

impl InFlight {
    pub fn enter() -> Self {
        gauge!("voxray_http_requests_in_flight").increment(1);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!("voxray_http_requests_in_flight").decrement(1);
    }
}

/// One request answered. `route` is a template, so that there are only so many.
pub fn answered(route: &str, method: &'static str, status: StatusCode, took: Duration) {
    if HANDLE.get().is_none() {
        return;
    }
    // To look a metric up by its labels costs more than all else that is measured here.
    thread_local! {
        static KNOWN: RefCell<HashMap<String, Vec<Answers>>> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        let of_route = match known.get_mut(route) {
            Some(of_route) => of_route,
            None => known.entry(route.to_owned()).or_default(),
        };
        let place = of_route
            .iter()
            .position(|answers| answers.method == method && answers.status == status);
        let place = place.unwrap_or_else(|| {
            of_route.push(Answers::of(route, method, status));
            of_route.len() - 1
        });
        of_route[place].count.increment(1);
        of_route[place].duration.record(took);
    });
}

/// What is measured of the answers of one kind.
struct Answers {
    method: &'static str,
    status: StatusCode,
    count: Counter,
    duration: Histogram,
}

impl Answers {
    fn of(route: &str, method: &'static str, status: StatusCode) -> Self {
        let labels = [
            ("route", route.to_owned()),
            ("method", method.to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        Self {
            method,
            status,
            count: counter!("voxray_http_requests_total", &labels),
            duration: histogram!("voxray_http_request_duration_seconds", &labels[..2]),
        }
    }
}

/// The pools: name, connections open, of these idle.
pub fn connections(pools: &[(&'static str, u32, usize)]) {
    for (pool, open, idle) in pools {
        gauge!("voxray_store_connections", "pool" => *pool).set(*open);
        gauge!("voxray_store_connections_idle", "pool" => *pool).set(*idle as f64);
    }
}

/// Bytes of requests that wait to be committed.
pub fn ingest_queue(bytes: usize) {
    gauge!("voxray_ingest_queue_bytes").set(bytes as f64);
}
