//! `GET /api/v1/voice-sessions/{id}`

use axum::extract::State;

use super::body::VoiceSession;
use crate::app::App;
use crate::auth::Reader;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::sessions;

pub async fn handle(
    State(_): State<App>,
    reader: Reader,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<VoiceSession>, Problem> {
    query.params().finish()?;
    let record = sessions::by_reference(&reader.scope, reader.content.as_ref(), &id).await?;
    Ok(Json(VoiceSession::from(record)))
}
