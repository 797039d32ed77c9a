//! `GET /api/v1/analytics/provider-latency`

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use super::range::Range;
use super::{dimensions, tenth};
use crate::api::polled;
use crate::app::App;
use crate::app::Now;
use crate::auth::Reader;
use crate::domain::digest::{Entry, Stage};
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analytics;

pub async fn handle(
    State(app): State<App>,
    reader: Reader,
    Now(now): Now,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let dimensions = dimensions(&mut params);
    let (range, window) = Range::read(&mut params, now);
    params.finish()?;
    let question = (&range, &dimensions);
    let key = polled::key(reader.scope.tenant(), "provider-latency", &question);
    let load = || async move {
        let entries = analytics::provider_latency(&reader.scope, window, &dimensions).await?;
        Ok(entries.into_iter().filter_map(Item::of).collect::<Vec<_>>())
    };
    polled::answer(&app.polled, &headers, key, load).await
}

#[derive(Serialize)]
struct Item {
    provider_type: &'static str,
    /// None where the measurements name no provider, and their calls neither.
    provider_name: Option<String>,
    avg_latency_ms: Option<f64>,
    p50_latency_ms: Option<f64>,
    p95_latency_ms: Option<f64>,
    p99_latency_ms: Option<f64>,
    call_count: u64,
    measurements: u64,
}

impl Item {
    fn of(entry: Entry) -> Option<Self> {
        let percentile = |rank| entry.percentile_ms(rank).map(tenth);
        Some(Self {
            provider_type: match entry.stage {
                Stage::Stt => "stt",
                Stage::Llm => "llm",
                Stage::Tts => "tts",
                _ => return None,
            },
            avg_latency_ms: entry.mean_ms().map(tenth),
            p50_latency_ms: percentile(0.5),
            p95_latency_ms: percentile(0.95),
            p99_latency_ms: percentile(0.99),
            call_count: entry.sessions,
            measurements: entry.count,
            provider_name: Some(entry.provider).filter(|name| !name.is_empty()),
        })
    }
}
