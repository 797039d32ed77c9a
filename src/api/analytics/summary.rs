//! `GET /api/v1/analytics/summary`

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use super::range::Range;
use super::{dimensions, tenth};
use crate::api::format;
use crate::api::polled;
use crate::app::App;
use crate::app::Now;
use crate::auth::Reader;
use crate::domain::digest::Stage;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analytics;
use crate::services::analytics::Summary;

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
    let key = polled::key(reader.scope.tenant(), "summary", &(&range, &dimensions));
    let load = || async move {
        let summary = analytics::summary(&reader.scope, window, &dimensions).await?;
        Ok(Body::from(summary))
    };
    polled::answer(&app.polled, &headers, key, load).await
}

#[derive(Serialize)]
struct Body {
    total_calls: i64,
    completed_calls: i64,
    failed_calls: i64,
    declined_calls: i64,
    missed_calls: i64,
    active_calls: i64,
    avg_duration_seconds: Option<f64>,
    success_rate: Option<f64>,
    total_tokens: i64,
    avg_stt_latency_ms: Option<f64>,
    avg_llm_latency_ms: Option<f64>,
    avg_tts_latency_ms: Option<f64>,
    p95_turn_latency_ms: Option<f64>,
    total_cost_usd: Option<f64>,
}

impl From<Summary> for Body {
    fn from(summary: Summary) -> Self {
        let sums = summary.sums;
        let avg = |stage| sums.digest.of_stage(stage).mean_ms().map(tenth);
        Self {
            total_calls: sums.calls,
            completed_calls: sums.completed,
            failed_calls: sums.failed,
            declined_calls: sums.declined,
            missed_calls: sums.missed,
            active_calls: summary.active_calls,
            avg_duration_seconds: sums.avg_duration_seconds().map(tenth),
            success_rate: sums.success_rate().map(tenth),
            total_tokens: sums.tokens,
            avg_stt_latency_ms: avg(Stage::Stt),
            avg_llm_latency_ms: avg(Stage::Llm),
            avg_tts_latency_ms: avg(Stage::Tts),
            p95_turn_latency_ms: sums
                .digest
                .of_stage(Stage::Turn)
                .percentile_ms(0.95)
                .map(tenth),
            total_cost_usd: sums.total_cost_micro_usd().map(format::usd),
        }
    }
}
