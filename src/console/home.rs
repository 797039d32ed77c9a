//! `/` and `/console/`: who knows the address only about comes to the console.

use axum::response::Redirect;

use crate::problem::Problem;
use crate::problem::Query;

/// `GET /`, `GET /console/`
pub async fn handle(query: Query) -> Result<Redirect, Problem> {
    query.params().finish()?;
    Ok(Redirect::to("/console"))
}
