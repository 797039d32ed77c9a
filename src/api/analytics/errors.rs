//! `GET /api/v1/analytics/errors`

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::dimensions;
use super::range::Range;
use crate::api::format;
use crate::api::page;
use crate::api::polled;
use crate::app::App;
use crate::app::Now;
use crate::auth::Reader;
use crate::domain::fields::{LEVELS, SERVICES};
use crate::domain::record::{CallError, ErrorFilter};
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analytics;

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 200;
const TOO_FAR: &str = "narrow the filters, or ask for a shorter range";

pub async fn handle(
    State(app): State<App>,
    reader: Reader,
    Now(now): Now,
    uri: Uri,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let dimensions = dimensions(&mut params);
    let filter = ErrorFilter {
        service: params.one_of("service", SERVICES),
        level: params.one_of("level", LEVELS),
    };
    let (_, limit, offset) =
        page::offset::read::<()>(&mut params, LIMIT_DEFAULT, LIMIT_MAX, TOO_FAR);
    let (range, window) = Range::read(&mut params, now);
    params.finish()?;
    // Whoever may not see what was said must not be given the answer to one who may.
    let sees_content = reader.content.is_some();
    let question = (&range, &dimensions, filter, offset, limit, sees_content);
    let key = polled::key(reader.scope.tenant(), "errors", &question);
    let load = || async move {
        let (slice, total) = analytics::errors(
            &reader.scope,
            reader.content.as_ref(),
            window,
            &dimensions,
            &filter,
            (offset, limit),
        )
        .await?;
        let next = offset + i64::from(limit.get());
        let next = (slice.more && next <= page::offset::OFFSET_MAX).then(|| next.to_string());
        Ok(polled::Page {
            body: Body {
                items: slice.items.into_iter().map(Item::from).collect(),
                total,
                content_withheld: !sees_content,
            },
            link: page::link_to_next(&uri, "offset", next.as_deref()),
        })
    };
    polled::answer_page(&app.polled, &headers, key, load).await
}

#[derive(Serialize)]
struct Body {
    items: Vec<Item>,
    total: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    content_withheld: bool,
}

#[derive(Serialize)]
struct Item {
    id: String,
    call_id: String,
    timestamp: String,
    service: Option<String>,
    level: String,
    code: Option<String>,
    message: Option<String>,
    details: Option<Value>,
    agent: Option<String>,
}

impl From<CallError> for Item {
    fn from(found: CallError) -> Self {
        let (call_id, error) = (found.call.0.to_string(), found.error);
        Self {
            id: format!("{call_id}-{}", found.place),
            call_id,
            timestamp: format::time(error.at),
            service: error.service,
            level: error.level,
            code: error.code,
            message: error.message,
            details: error.details,
            agent: error.agent,
        }
    }
}
