//! `DELETE /api/v1/voice-sessions/{id}/evaluations/{evaluationId}`

use axum::extract::State;
use axum::http::StatusCode;

use crate::app::{App, Now};
use crate::auth::Reviewer;
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
) -> Result<StatusCode, Problem> {
    query.params().finish()?;
    let reviewer = reviews::Reviewer {
        scope: &reviewer.scope,
        content: reviewer.content.as_ref(),
        key_id: &reviewer.key_id,
        now,
    };
    reviewer.withdraw(&id, &evaluation).await?;
    Ok(StatusCode::NO_CONTENT)
}
