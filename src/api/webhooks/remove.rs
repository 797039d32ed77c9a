//! `DELETE /v1/admin/webhooks/{endpointId}`

use axum::extract::State;
use axum::http::StatusCode;

use crate::app::{App, Now};
use crate::auth::Admin;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::webhooks;

pub async fn handle(
    State(_): State<App>,
    admin: Admin,
    Now(now): Now,
    Path(id): Path<String>,
    query: Query,
) -> Result<StatusCode, Problem> {
    query.params().finish()?;
    webhooks::disable(&admin.scope, &id, &admin.key_id, now).await?;
    Ok(StatusCode::NO_CONTENT)
}
