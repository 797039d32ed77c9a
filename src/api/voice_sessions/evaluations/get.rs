//! `GET /api/v1/voice-sessions/{id}/evaluations/{evaluationId}`

use axum::extract::State;

use crate::api::voice_sessions::body::EvaluationBody;
use crate::app::App;
use crate::auth::Reader;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::reviews;

pub async fn handle(
    State(_): State<App>,
    reader: Reader,
    Path((id, evaluation)): Path<(String, String)>,
    query: Query,
) -> Result<Json<EvaluationBody>, Problem> {
    query.params().finish()?;
    let content = reader.content.as_ref();
    let one = reviews::evaluation(&reader.scope, content, &id, &evaluation).await?;
    Ok(Json(EvaluationBody::alone(one, content.is_none())))
}
