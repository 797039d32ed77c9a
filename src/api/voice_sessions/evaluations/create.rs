//! `POST /api/v1/voice-sessions/{id}/evaluations`

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::api::voice_sessions::body::EvaluationBody;
use crate::app::{App, Now};
use crate::auth::Reviewer;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::reviews;

pub async fn handle(
    State(_): State<App>,
    reviewer: Reviewer,
    Now(now): Now,
    Path(id): Path<String>,
    query: Query,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let is_withheld = reviewer.content.is_none();
    let reviewer = reviews::Reviewer {
        scope: &reviewer.scope,
        content: reviewer.content.as_ref(),
        key_id: &reviewer.key_id,
        now,
    };
    let (session, evaluation) = reviewer.evaluate(&id, body).await?;
    let location = format!(
        "/api/v1/voice-sessions/{session}/evaluations/{}",
        evaluation.id
    );
    let body = Json(EvaluationBody::alone(evaluation, is_withheld));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body).into_response())
}
