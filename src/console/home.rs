//! `/`: who knows only the address comes to the console.

use axum::response::Redirect;

use crate::problem::Problem;
use crate::problem::Query;

/// `GET /`
pub async fn handle(query: Query) -> Result<Redirect, Problem> {
    query.params().finish()?;
    Ok(Redirect::to("/console"))
}
