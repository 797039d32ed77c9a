//! `GET /api/v1/analytics/call-volume`

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use super::dimensions;
use super::range::Range;
use crate::api::format;
use crate::api::polled;
use crate::app::App;
use crate::app::Now;
use crate::auth::Reader;
use crate::domain::tally::{BUCKETS_MAX, Interval, Tally};
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analytics;

pub async fn handle(
    State(app): State<App>,
    reader: Reader,
    Now(now): Now,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let dimensions = dimensions(&mut params);
    let interval = params
        .choice("interval", &Interval::ALL, Interval::as_str)
        .unwrap_or(Interval::Hour);
    let (range, window) = Range::read(&mut params, now);
    let buckets = interval.count(window);
    if buckets > BUCKETS_MAX {
        params.fault(
            "interval",
            format!(
                "makes {buckets} buckets of this range, and at most {BUCKETS_MAX} are told: ask for wider ones or for a shorter range"
            ),
        );
    }
    params.finish()?;
    let question = (&range, interval, &dimensions);
    let key = polled::key(reader.scope.tenant(), "call-volume", &question);
    let load = || async move {
        let volume = analytics::call_volume(&reader.scope, window, interval, &dimensions).await?;
        Ok(Body {
            interval: interval.as_str(),
            data: volume
                .into_iter()
                .map(|(at, tally)| Bucket::of(format::time(at), tally))
                .collect(),
        })
    };
    polled::answer(&app.polled, &headers, key, load).await
}

#[derive(Serialize)]
struct Body {
    interval: &'static str,
    data: Vec<Bucket>,
}

#[derive(Serialize)]
struct Bucket {
    timestamp: String,
    total: i64,
    completed: i64,
    failed: i64,
    declined: i64,
    missed: i64,
}

impl Bucket {
    fn of(timestamp: String, tally: Tally) -> Self {
        Self {
            timestamp,
            total: tally.calls,
            completed: tally.completed,
            failed: tally.failed,
            declined: tally.declined,
            missed: tally.missed,
        }
    }
}
