//! Logs and metrics. Nothing here names a tenant or carries a secret.

use std::time::Duration;

use axum::http::StatusCode;
use metrics::{counter, gauge, histogram};

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
    let labels = [
        ("route", route.to_owned()),
        ("method", method.to_owned()),
        ("status", status.as_str().to_owned()),
    ];
    counter!("voxray_http_requests_total", &labels).increment(1);
    histogram!("voxray_http_request_duration_seconds", &labels[..2]).record(took);
}

/// The pools: name, connections open, of these idle.
pub fn connections(pools: &[(&'static str, u32, usize)]) {
    for (pool, open, idle) in pools {
        gauge!("voxray_store_connections", "pool" => *pool).set(*open);
        gauge!("voxray_store_connections_idle", "pool" => *pool).set(*idle as f64);
    }
}
