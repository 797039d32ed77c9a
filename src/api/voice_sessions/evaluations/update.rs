//! `PATCH /api/v1/voice-sessions/{id}/evaluations/{evaluationId}`

use axum::extract::State;
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
    Path((id, evaluation)): Path<(String, String)>,
    query: Query,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<EvaluationBody>, Problem> {
    query.params().finish()?;
    let is_withheld = reviewer.content.is_none();
    let reviewer = reviews::Reviewer {
        scope: &reviewer.scope,
        content: reviewer.content.as_ref(),
        key_id: &reviewer.key_id,
        now,
    };
    let one = reviewer.change(&id, &evaluation, body).await?;
    Ok(Json(EvaluationBody::alone(one, is_withheld)))
}
