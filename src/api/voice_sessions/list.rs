//! `GET /api/v1/voice-sessions`

use axum::extract::State;
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::body::VoiceSession;
use super::export::body::{Layout, stream};
use crate::api::page;
use crate::app::App;
use crate::auth::Reader;
use crate::domain::Error;
use crate::domain::analysis::IssueType;
use crate::domain::fields::STATUSES;
use crate::domain::record::{Filter, Record};
use crate::domain::session::Status;
use crate::domain::words::Question;
use crate::problem::Json;
use crate::problem::Params;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::export::Export;
use crate::services::sessions;

const LIMIT_DEFAULT: i64 = 25;
const LIMIT_MAX: i64 = 200;
const TOO_FAR: &str =
    "narrow the filters, or take everything by `GET /api/v1/voice-sessions/export`";
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
    let (start, limit, offset) = page::offset::read(&mut params, LIMIT_DEFAULT, LIMIT_MAX, TOO_FAR);
    params.finish()?;
    if filter.words.is_some() {
        reader.transcripts()?;
    }
    let content = reader.content.as_ref();
    let (page, total) =
        sessions::page_and_total(&reader.scope, content, &filter, &start, limit).await?;
    let next = offset + i64::from(limit.get());
    // Never to a page that would be refused.
    let next = (page.more && next <= page::offset::OFFSET_MAX).then(|| next.to_string());
    let link = page::link_to_next(&uri, "offset", next.as_deref());
    let rest = Rest {
        total,
        limit: limit.get(),
        offset,
    };
    let mut sessions = Export::of(&reader.scope, content, page.items);
    let first = sessions.next().await?;
    let body = if sessions.is_done() {
        let records = first.unwrap_or_default();
        let data = records.into_iter().map(VoiceSession::from).collect();
        Json(List { data, rest }).into_response()
    } else {
        // Too much to be in memory at once.
        let body = stream(first, sessions, Page { rest, written: 0 }, ());
        ([(CONTENT_TYPE, "application/json")], body).into_response()
    };
    Ok(match link {
        Some(link) => ([link], body).into_response(),
        None => body,
    })
}

/// A list that is written session by session.
struct Page {
    rest: Rest,
    written: usize,
}

impl Layout for Page {
    fn head(&mut self) -> Result<Vec<u8>, Error> {
        Ok(br#"{"data":["#.to_vec())
    }

    fn lines(&mut self, records: Vec<Record>) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        for session in records.into_iter().map(VoiceSession::from) {
            if self.written > 0 {
                text.push(b',');
            }
            self.written += 1;
            serde_json::to_writer(&mut text, &session).map_err(unwritable)?;
        }
        Ok(text)
    }

    fn tail(&mut self) -> Result<Vec<u8>, Error> {
        let rest = serde_json::to_string(&self.rest).map_err(unwritable)?;
        Ok(format!("],{}", rest.trim_start_matches('{')).into_bytes())
    }
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::Internal(error.to_string())
}

/// The export has the same filters.
pub(super) fn filter(params: &mut Params) -> Filter {
    let words: Vec<&'static str> = STATUSES.iter().copied().chain([REVIEWED]).collect();
    let status = params.one_of("status", &words);
    let filter = Filter {
        agent_key: params.text("agent_key"),
        status: status.and_then(Status::parse),
        reviewed: (status == Some(REVIEWED)).then_some(true),
        started_after: params.time("started_after"),
        started_before: params.time("started_before"),
        tag: params.text("tag"),
        call_sid: params.text("call_sid"),
        stream_id: params.text("stream_id"),
        words: params.text("q").as_deref().map(Question::asked),
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
    data: Vec<VoiceSession>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Serialize)]
struct Rest {
    total: i64,
    limit: u32,
    offset: i64,
}
