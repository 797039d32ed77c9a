//! `GET /api/v1/voice-sessions/export`

pub(super) mod body;
mod format;
mod slots;

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Method;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use super::list;
use crate::app::{App, Now};
use crate::auth::Reader;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::export::Export;
use crate::services::sessions;

pub use body::Layout;
pub use format::{COLUMNS, Format};
pub use slots::Slots;

pub async fn handle(
    State(app): State<App>,
    reader: Reader,
    Now(now): Now,
    method: Method,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let format = params.choice("format", &Format::ALL, Format::as_str);
    let filter = list::filter(&mut params);
    params.finish()?;
    if filter.words.is_some() {
        reader.transcripts()?;
    }
    let format = format.unwrap_or(Format::Jsonl);
    let name = format!(
        "voice-sessions-{}.{}",
        now.format("%Y%m%dT%H%M%SZ"),
        format.as_str()
    );
    let headers = [
        (CONTENT_TYPE, format.media_type().to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    if method == Method::HEAD {
        sessions::check_words(&reader.scope, &filter).await?;
        // Of no known length, as the export would be.
        let nothing = stream::empty::<Result<Bytes, Infallible>>();
        return Ok((headers, Body::from_stream(nothing)).into_response());
    }
    let slot = app.exports.take(reader.scope.tenant())?;
    let content = reader.content.as_ref();
    let mut export = Export::new(&reader.scope, content, filter, &app.traffic).await?;
    // Before anything is sent, so that a store that is away is told as a problem.
    let first = export.next().await?;
    let body = body::stream(first, export, format, slot);
    Ok((headers, body).into_response())
}
