//! `DELETE /v1/admin/livekit-keys/{id}`

use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;
use crate::app::Now;
use crate::auth::Admin;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::livekit_keys;

pub async fn handle(
    State(_): State<App>,
    admin: Admin,
    Now(now): Now,
    Path(id): Path<String>,
    query: Query,
) -> Result<StatusCode, Problem> {
    query.params().finish()?;
    livekit_keys::remove(&admin.scope, &id, &admin.key_id, now).await?;
    Ok(StatusCode::NO_CONTENT)
}
