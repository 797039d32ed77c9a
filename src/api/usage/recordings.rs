//! `GET /api/v1/usage/recordings`

use axum::extract::State;
use serde::Serialize;

use crate::app::App;
use crate::auth::Admin;
use crate::problem::Json;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::recordings;

#[derive(Serialize)]
pub struct Body {
    recordings: i64,
    size_bytes: i64,
    quota_bytes: Option<u64>,
}

pub async fn get(
    State(app): State<App>,
    admin: Admin,
    query: Query,
) -> Result<Json<Body>, Problem> {
    query.params().finish()?;
    let usage = recordings::usage(&admin.scope).await?;
    Ok(Json(Body {
        recordings: usage.recordings,
        size_bytes: usage.size_bytes,
        quota_bytes: app.objects.quota_bytes(),
    }))
}
