//! `GET /v1/observability/calls/{callId}`

use axum::extract::State;

use super::get_session::Detail;
use crate::app::App;
use crate::auth::Reader;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::sessions;

/// The session of a telephone call: the same answer as by the session's own id.
pub async fn handle(
    State(_): State<App>,
    reader: Reader,
    Path(call_id): Path<String>,
    query: Query,
) -> Result<Json<Detail>, Problem> {
    query.params().finish()?;
    let record = sessions::by_reference(&reader.scope, reader.content.as_ref(), &call_id).await?;
    Ok(Json(Detail::from(record)))
}
