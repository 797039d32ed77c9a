//! `PATCH /api/v1/voice-sessions/{id}`

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use super::body::VoiceSession;
use crate::app::{App, Now};
use crate::auth::Reviewer;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::reviews;

/// What was written, of a session that the key may not see.
#[derive(Serialize)]
struct Edited {
    id: String,
    summary: Option<String>,
    tags: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    content_withheld: bool,
}

impl From<VoiceSession> for Edited {
    fn from(session: VoiceSession) -> Self {
        Self {
            id: session.id,
            summary: session.summary,
            tags: session.tags,
            content_withheld: session.content_withheld,
        }
    }
}

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
    let session = VoiceSession::from(record);
    // To write a note is no right to see the call.
    Ok(match may_read {
        true => Json(session).into_response(),
        false => Json(Edited::from(session)).into_response(),
    })
}
