//! For whoever runs the server: is it alive, is it ready.

use axum::extract::State;
use serde::Serialize;

use crate::app::App;
use crate::domain::Error;
use crate::problem::{Json, Problem, Query};

#[derive(Serialize)]
pub struct Status {
    status: &'static str,
}

/// The process answers.
pub async fn healthz(query: Query) -> Result<Json<Status>, Problem> {
    query.params().finish()?;
    Ok(Json(Status { status: "ok" }))
}

/// The store answers and has its whole schema.
pub async fn readyz(State(app): State<App>, query: Query) -> Result<Json<Status>, Problem> {
    query.params().finish()?;
    if !app.store.is_migrated() {
        return Err(Error::Unavailable("migrations are not applied yet".to_owned()).into());
    }
    app.store.ping().await?;
    Ok(Json(Status { status: "ready" }))
}
