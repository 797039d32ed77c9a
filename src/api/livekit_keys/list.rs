//! `GET /v1/admin/livekit-keys`

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Item;
use crate::app::App;
use crate::auth::Admin;
use crate::problem::Json;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::livekit_keys;

#[derive(Serialize)]
struct List {
    data: Vec<Item>,
}

pub async fn handle(State(_): State<App>, admin: Admin, query: Query) -> Result<Response, Problem> {
    query.params().finish()?;
    let keys = livekit_keys::list(&admin.scope).await?;
    let data = keys.into_iter().map(Item::from).collect();
    Ok(Json(List { data }).into_response())
}
