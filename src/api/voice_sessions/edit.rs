//! `PATCH /api/v1/voice-sessions/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::body::VoiceSession;
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
    let may_read = reviewer.may_read;
    let reviewer = reviews::Reviewer {
        scope: &reviewer.scope,
        content: reviewer.content.as_ref(),
        key_id: &reviewer.key_id,
        now,
    };
    let record = reviewer.edit(&id, body).await?;
    // To write a note is no right to see the call.
    Ok(match may_read {
        true => Json(VoiceSession::from(record)).into_response(),
        false => StatusCode::NO_CONTENT.into_response(),
    })
}
