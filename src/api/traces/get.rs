//! `GET /v1/traces/session/{sessionId}/{traceId}`

use axum::extract::State;
use serde::Serialize;

use super::body::Trace;
use crate::app::App;
use crate::auth::Reader;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::traces;

pub async fn handle(
    State(_): State<App>,
    reader: Reader,
    Path((session, trace)): Path<(String, String)>,
    query: Query,
) -> Result<Json<Body>, Problem> {
    query.params().finish()?;
    let content = reader.content.as_ref();
    let detail = traces::by_id(
        &reader.scope,
        content,
        &session,
        &trace,
        traces::OBSERVATIONS_MAX,
    )
    .await?;
    Ok(Json(Body {
        trace: Trace::from(detail),
    }))
}

#[derive(Serialize)]
pub struct Body {
    trace: Trace,
}
