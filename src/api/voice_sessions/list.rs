//! `GET /api/v1/voice-sessions`

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::body::VoiceSession;
use crate::api::page;
use crate::app::App;
use crate::auth::Reader;
use crate::domain::fields::STATUSES;
use crate::domain::record::Filter;
use crate::domain::session::Status;
use crate::problem::Json;
use crate::problem::Params;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::sessions;

const LIMIT_DEFAULT: i64 = 25;
const LIMIT_MAX: i64 = 200;
/// Not a state of the call, but what this dialect calls a call that somebody has evaluated.
const REVIEWED: &str = "reviewed";

pub async fn handle(
    State(_): State<App>,
    reader: Reader,
    uri: Uri,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let filter = filter(&mut params);
    let (start, limit, offset) = page::offset::read(&mut params, LIMIT_DEFAULT, LIMIT_MAX);
    params.finish()?;
    let content = reader.content.as_ref();
    let (slice, total) =
        sessions::page_of_records(&reader.scope, content, &filter, &start, limit).await?;
    let next = slice
        .more
        .then(|| (offset + i64::from(limit.get())).to_string());
    let link = page::link_to_next(&uri, "offset", next.as_deref());
    let data = slice.items.into_iter().map(VoiceSession::from).collect();
    let body = Json(List {
        data,
        total,
        limit: limit.get(),
        offset,
    });
    Ok(match link {
        Some(link) => ([link], body).into_response(),
        None => body.into_response(),
    })
}

/// The export has the same filters.
pub(super) fn filter(params: &mut Params) -> Filter {
    let words: Vec<&'static str> = STATUSES.iter().copied().chain([REVIEWED]).collect();
    let status = params.one_of("status", &words);
    let filter = Filter {
        agent_key: params.text("agent_key"),
        status: status.and_then(Status::parse),
        reviewed: status == Some(REVIEWED),
        started_after: params.time("started_after"),
        started_before: params.time("started_before"),
        tag: params.text("tag"),
        call_sid: params.text("call_sid"),
        stream_id: params.text("stream_id"),
        ..Filter::default()
    };
    if let (Some(after), Some(before)) = (filter.started_after, filter.started_before)
        && after >= before
    {
        params.fault("started_after", "must be before `started_before`");
    }
    filter
}

#[derive(Serialize)]
struct List {
    data: Vec<VoiceSession>,
    total: i64,
    limit: u32,
    offset: i64,
}
