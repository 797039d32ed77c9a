//! `DELETE /api/v1/sessions/{id}`

use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;
use crate::app::Now;
use crate::auth::Admin;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::retention;

pub async fn handle(
    State(app): State<App>,
    admin: Admin,
    Now(now): Now,
    Path(id): Path<String>,
    query: Query,
) -> Result<StatusCode, Problem> {
    query.params().finish()?;
    let (scope, key_id) = (&admin.scope, &admin.key_id);
    retention::erase(scope, &app.objects, &id, key_id, now).await?;
    // Whoever watches is to be told at once.
    app.writer.written().notify_one();
    Ok(StatusCode::NO_CONTENT)
}
