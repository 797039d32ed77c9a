//! `GET /v1/observability/sessions`

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::format;
use crate::api::page;
use crate::app::App;
use crate::auth::Reader;
use crate::domain::analysis::IssueType;
use crate::domain::fields::CHANNELS;
use crate::domain::record::{Filter, Headline};
use crate::domain::session::Status;
use crate::domain::words::Question;
use crate::problem::Json;
use crate::problem::Params;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::sessions;

pub async fn handle(
    State(_): State<App>,
    reader: Reader,
    uri: Uri,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let filter = filter(&mut params);
    let (start, limit) = page::cursor::read(&mut params, &filter);
    params.finish()?;
    if filter.words.is_some() {
        reader.transcripts()?;
    }
    let content = reader.content.as_ref();
    let slice = sessions::page(&reader.scope, content, &filter, &start, limit).await?;
    let next_cursor = slice.next().map(|key| page::cursor::encode(key, &filter));
    let link = page::link_to_next(&uri, "cursor", next_cursor.as_deref());
    let data = slice.items.into_iter().map(Item::from).collect();
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
    let filter = Filter {
        agent_key: params.text("agentId"),
        status: params.choice("status", &Status::ALL, Status::as_str),
        started_after: params.time("startedAfter"),
        started_before: params.time("startedBefore"),
        channel: params.one_of("channel", CHANNELS).map(str::to_owned),
        campaign: params.text("campaign"),
        tag: params.text("tag"),
        words: params.text("q").as_deref().map(Question::asked),
        min_latency_ms: params.int_opt("minLatencyMs", page::MIN_LATENCY_MS),
        has_issues: params.flag("hasIssues"),
        issue_type: params.choice("issueType", IssueType::ALL, IssueType::as_str),
        ..Filter::default()
    };
    if let (Some(after), Some(before)) = (filter.started_after, filter.started_before)
        && after >= before
    {
        params.fault("startedAfter", "must be before `startedBefore`");
    }
    filter
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    data: Vec<Item>,
    next_cursor: Option<String>,
    has_more: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    id: String,
    agent_id: Option<String>,
    started_at: String,
    ended_at: Option<String>,
    turns: i32,
    status: &'static str,
    has_issues: bool,
}

impl From<Headline> for Item {
    fn from(headline: Headline) -> Self {
        Self {
            id: headline.id.prefixed(),
            agent_id: headline.agent_key,
            started_at: format::time(headline.started_at),
            ended_at: headline.ended_at.map(format::time),
            turns: headline.turns,
            status: headline.status.as_str(),
            has_issues: headline.has_issues,
        }
    }
}
