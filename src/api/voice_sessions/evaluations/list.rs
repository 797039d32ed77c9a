//! `GET /api/v1/voice-sessions/{id}/evaluations`

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::page;
use crate::api::voice_sessions::body::EvaluationBody;
use crate::app::App;
use crate::auth::Reader;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::reviews;

const LIMIT_DEFAULT: i64 = 25;
const LIMIT_MAX: i64 = 200;
const TOO_FAR: &str = "no session has so many";

pub async fn handle(
    State(_): State<App>,
    reader: Reader,
    Path(id): Path<String>,
    uri: Uri,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let (start, limit, offset) = page::offset::read(&mut params, LIMIT_DEFAULT, LIMIT_MAX, TOO_FAR);
    params.finish()?;
    let content = reader.content.as_ref();
    let (evaluations, total) =
        reviews::evaluations(&reader.scope, content, &id, &start, limit).await?;
    let next = offset + i64::from(limit.get());
    let next = (next < total).then(|| next.to_string());
    let link = page::link_to_next(&uri, "offset", next.as_deref());
    let body = Json(List {
        data: evaluations
            .into_iter()
            .map(|one| EvaluationBody::alone(one, content.is_none()))
            .collect(),
        total,
        limit: limit.get(),
        offset,
    });
    Ok(match link {
        Some(link) => ([link], body).into_response(),
        None => body.into_response(),
    })
}

#[derive(Serialize)]
struct List {
    data: Vec<EvaluationBody>,
    total: i64,
    limit: u32,
    offset: i64,
}
