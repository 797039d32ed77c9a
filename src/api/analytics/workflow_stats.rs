//! `GET /api/v1/analytics/workflow-stats`

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
use crate::domain::session::Workflow;
use crate::domain::tally::Tally;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analytics;

const LIMIT_DEFAULT: i64 = 10;
const LIMIT_MAX: i64 = 50;

pub async fn handle(
    State(app): State<App>,
    reader: Reader,
    Now(now): Now,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let dimensions = dimensions(&mut params);
    let limit = params.int("limit", LIMIT_DEFAULT, 1..=LIMIT_MAX);
    let (range, window) = Range::read(&mut params, now);
    params.finish()?;
    let question = (&range, limit, &dimensions);
    let key = polled::key(reader.scope.tenant(), "workflow-stats", &question);
    let load = || async move {
        let limit = limit as usize;
        let top = analytics::workflow_stats(&reader.scope, window, &dimensions, limit).await?;
        Ok(top.into_iter().map(Item::from).collect::<Vec<_>>())
    };
    polled::answer(&app.polled, &headers, key, load).await
}

#[derive(Serialize)]
struct Item {
    workflow_id: Option<String>,
    workflow_name: Option<String>,
    workflow_slug: Option<String>,
    total_calls: i64,
    completed_calls: i64,
    failed_calls: i64,
    declined_calls: i64,
    missed_calls: i64,
    success_rate: Option<f64>,
    avg_duration_seconds: Option<f64>,
}

impl From<(Workflow, Tally)> for Item {
    fn from((workflow, tally): (Workflow, Tally)) -> Self {
        Self {
            workflow_id: workflow.id,
            workflow_name: workflow.name,
            workflow_slug: workflow.slug,
            total_calls: tally.calls,
            completed_calls: tally.completed,
            failed_calls: tally.failed,
            declined_calls: tally.declined,
            missed_calls: tally.missed,
            success_rate: tally.success_rate().map(tenth),
            avg_duration_seconds: tally.avg_duration_seconds().map(tenth),
        }
    }
}
