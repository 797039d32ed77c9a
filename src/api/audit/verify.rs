//! `GET /api/v1/audit-log/verify`

use axum::extract::State;
use serde::Serialize;

use crate::app::App;
use crate::auth::Admin;
use crate::problem::Json;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::audit;

pub async fn handle(
    State(_): State<App>,
    admin: Admin,
    query: Query,
) -> Result<Json<Body>, Problem> {
    query.params().finish()?;
    let verdict = audit::verify(&admin.scope).await?;
    Ok(Json(Body {
        valid: verdict.first_broken_seq.is_none(),
        seq: verdict.seq,
        head_hash: hex::encode(&verdict.head_hash),
        first_broken_seq: verdict.first_broken_seq,
    }))
}

#[derive(Serialize)]
pub struct Body {
    valid: bool,
    seq: i64,
    head_hash: String,
    first_broken_seq: Option<i64>,
}
