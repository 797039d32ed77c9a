//! `GET /v1/gates/{id}`

use axum::extract::State;
use serde_json::{Map, Value};

use crate::app::App;
use crate::auth::Reader;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analysis::gates;

pub async fn handle(
    State(_): State<App>,
    reader: Reader,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<Map<String, Value>>, Problem> {
    query.params().finish()?;
    Ok(Json(gates::find(&reader.scope, &id).await?))
}
