//! `GET /api/v1/conversations`

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::item::Item;
use crate::api::page;
use crate::app::App;
use crate::app::Now;
use crate::auth::Reader;
use crate::domain::analysis::IssueType;
use crate::domain::calendar::Range;
use crate::domain::fields::{CHANNELS, STATUSES};
use crate::domain::ids::SessionId;
use crate::domain::record::Filter;
use crate::domain::session::Status;
use crate::domain::words::Question;
use crate::problem::Json;
use crate::problem::Params;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::recordings;
use crate::services::sessions;

/// Not a state of the call, but what the console calls a call that somebody has evaluated.
const REVIEWED: &str = "reviewed";

pub async fn handle(
    State(_): State<App>,
    reader: Reader,
    Now(now): Now,
    uri: Uri,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let mut filter = filter(&mut params);
    let range = params.choice("range", &Range::ALL, Range::as_str);
    if range.is_some() && (filter.started_after.is_some() || filter.started_before.is_some()) {
        params.fault("range", "goes without `started_after` and `started_before`");
    }
    // A cursor goes with the range's name: its bounds move on with the clock.
    let question = (filter.clone(), range);
    let (start, limit) = page::cursor::read(&mut params, &question);
    params.finish()?;
    if filter.words.is_some() {
        reader.transcripts()?;
    }
    if let Some(range) = range {
        filter.started_after = range.start(now);
        filter.started_before = Some(now);
    }
    let content = reader.content.as_ref();
    let slice = sessions::page(&reader.scope, content, &filter, &start, limit).await?;
    let next_cursor = slice.next().map(|key| page::cursor::encode(key, &question));
    let link = page::link_to_next(&uri, "cursor", next_cursor.as_deref());
    let ids: Vec<SessionId> = slice.items.iter().map(|item| item.id).collect();
    let recorded = recordings::has_recordings(&reader.scope, &ids).await?;
    let items = slice.items.into_iter();
    let data = items.map(|item| Item::of(item, &recorded)).collect();
    let body = Json(List {
        data,
        next_cursor,
        has_more: slice.more,
    });
    Ok(match link {
        Some(link) => ([link], body).into_response(),
        None => body.into_response(),
    })
}

fn filter(params: &mut Params) -> Filter {
    let words: Vec<&'static str> = STATUSES.iter().copied().chain([REVIEWED]).collect();
    let status = params.one_of("status", &words);
    let filter = Filter {
        agent_key: params.text("agent_key"),
        status: status.and_then(Status::parse),
        reviewed: (status == Some(REVIEWED)).then_some(true),
        started_after: params.time("started_after"),
        started_before: params.time("started_before"),
        channel: params.one_of("type", CHANNELS).map(str::to_owned),
        campaign: params.text("campaign"),
        workflow: params.text("workflow"),
        tag: params.text("tag"),
        words: params.text("q").as_deref().map(Question::asked),
        min_latency_ms: params.int_opt("min_latency_ms", page::MIN_LATENCY_MS),
        has_issues: params.flag("has_issues"),
        issue_type: params.choice("issue_type", IssueType::ALL, IssueType::as_str),
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
    data: Vec<Item>,
    next_cursor: Option<String>,
    has_more: bool,
}
