//! `POST /api/v1/live/tickets`

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::api::format;
use crate::app::App;
use crate::app::Now;
use crate::auth::Watcher;
use crate::auth::ticket;
use crate::domain::Error;
use crate::problem::Json;
use crate::problem::Payload;
use crate::problem::Problem;
use crate::problem::Query;
use crate::problem::{Kind, is_json, parse};
use crate::services::live;

/// Nothing can be chosen yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {}

#[derive(Serialize)]
struct Ticket {
    token: String,
    expires_at: String,
}

pub async fn handle(
    State(_): State<App>,
    watcher: Watcher,
    Now(now): Now,
    headers: HeaderMap,
    query: Query,
    Payload(body): Payload,
) -> Result<Response, Problem> {
    query.params().finish()?;
    if !body.is_empty() {
        if !is_json(&headers) {
            return Err(Problem::new(
                &Kind::UNSUPPORTED_MEDIA_TYPE,
                "`Content-Type` must be `application/json`, or the body empty",
            ));
        }
        let Wish {} = parse(&body)?;
    }
    let made = ticket::generate(watcher.grant.key_id());
    let expires_at = now + ticket::LIFETIME;
    live::issue(&watcher.grant, &made.hash, now, expires_at)
        .await
        .map_err(|error| {
            let is_full = matches!(error, Error::Throttled { .. });
            let problem = Problem::from(error);
            match is_full {
                true => problem.with_detail("this tenant has too many unused tickets"),
                false => problem,
            }
        })?;
    let body = Json(Ticket {
        token: made.text,
        expires_at: format::time(expires_at),
    });
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], body).into_response())
}
