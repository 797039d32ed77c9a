//! `GET /v1/admin/webhooks`

use axum::extract::State;
use serde::Serialize;

use super::body::EndpointBody;
use crate::app::App;
use crate::auth::Admin;
use crate::problem::Json;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::webhooks;

#[derive(Serialize)]
pub struct List {
    data: Vec<EndpointBody>,
}

pub async fn handle(
    State(_): State<App>,
    admin: Admin,
    query: Query,
) -> Result<Json<List>, Problem> {
    let mut params = query.params();
    let with_disabled = params.flag("disabled").unwrap_or(false);
    params.finish()?;
    let endpoints = webhooks::list(&admin.scope, with_disabled).await?;
    Ok(Json(List {
        data: endpoints.into_iter().map(EndpointBody::from).collect(),
    }))
}
