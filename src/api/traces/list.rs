//! `GET /v1/traces/session/{sessionId}`

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::body::Headline;
use crate::api::page;
use crate::app::App;
use crate::auth::Reader;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::traces;

pub async fn handle(
    State(_): State<App>,
    reader: Reader,
    Path(session): Path<String>,
    uri: Uri,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let asked = page::number::read(&mut params);
    params.finish()?;
    let (traces, total) = traces::page(
        &reader.scope,
        reader.content.as_ref(),
        &session,
        asked.skip(),
        asked.limit,
    )
    .await?;
    let link = page::link_to_next(&uri, "page", asked.next(total).as_deref());
    let body = Json(List {
        traces: traces.into_iter().map(Headline::from).collect(),
        pagination: Pagination {
            page: asked.page,
            limit: asked.limit.get(),
            total_items: total,
            total_pages: asked.pages(total),
        },
    });
    Ok(match link {
        Some(link) => ([link], body).into_response(),
        None => body.into_response(),
    })
}

#[derive(Serialize)]
struct List {
    traces: Vec<Headline>,
    pagination: Pagination,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pagination {
    page: i64,
    limit: u32,
    total_items: i64,
    total_pages: i64,
}
