//! `POST /v1/admin/livekit-keys`

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Item;
use crate::app::App;
use crate::app::Now;
use crate::auth::Admin;
use crate::problem::Json;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::livekit_keys;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct New {
    key_name: String,
    secret: String,
}

pub async fn handle(
    State(_): State<App>,
    admin: Admin,
    Now(now): Now,
    query: Query,
    Json(new): Json<New>,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let (scope, actor) = (&admin.scope, &admin.key_id);
    let key = livekit_keys::add(scope, &new.key_name, &new.secret, actor, now).await?;
    Ok((StatusCode::CREATED, Json(Item::from(key))).into_response())
}
