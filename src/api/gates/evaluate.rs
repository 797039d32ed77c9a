//! `POST /v1/gates/evaluate`

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::app::{App, Now};
use crate::auth::Reader;
use crate::domain::release::Question;
use crate::problem::Json;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analysis::gates;

pub async fn handle(
    State(_): State<App>,
    reader: Reader,
    Now(now): Now,
    query: Query,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response, Problem> {
    query.params().finish()?;
    let question = Question::read(body, now)?;
    let (_, report) = gates::evaluate(&reader.scope, &question, now).await?;
    let id = report.get("id").and_then(Value::as_str).unwrap_or_default();
    let location = HeaderValue::from_str(&format!("/v1/gates/{id}"));
    let location = location.ok().map(|location| [(LOCATION, location)]);
    Ok((StatusCode::CREATED, location, Json(report)).into_response())
}
