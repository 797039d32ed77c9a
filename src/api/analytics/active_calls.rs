//! `GET /api/v1/analytics/active-calls`

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use super::dimensions;
use super::range::Range;
use crate::api::polled;
use crate::app::App;
use crate::auth::Reader;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analytics;

pub async fn handle(
    State(app): State<App>,
    reader: Reader,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let dimensions = dimensions(&mut params);
    // All endpoints of this dialect take a range; what is active now has none.
    Range::read(&mut params, app.clock.now());
    params.finish()?;
    let key = polled::key(reader.scope.tenant(), "active-calls", &dimensions);
    let load = || async move {
        Ok(Body {
            count: analytics::active_calls(&reader.scope, &dimensions).await?,
        })
    };
    polled::answer(&app.polled, &headers, key, load).await
}

#[derive(Serialize)]
struct Body {
    count: i64,
}
