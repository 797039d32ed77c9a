//! `GET /api/v1/analytics/what-if`

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use super::range::Range;
use super::{dimensions, tenth};
use crate::api::polled;
use crate::app::App;
use crate::app::Now;
use crate::auth::Reader;
use crate::domain::analysis::{Clock, Stage};
use crate::domain::many::WhatIf;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analysis;

const MS_DEFAULT: i64 = 500;
const MS_MAX: i64 = 60_000;

pub async fn handle(
    State(app): State<App>,
    reader: Reader,
    Now(now): Now,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let stage = params.choice("stage", &Stage::ALL, Stage::as_str);
    let stage = stage.unwrap_or(Stage::Llm);
    let ms = params.int("ms", MS_DEFAULT, 0..=MS_MAX);
    let dimensions = dimensions(&mut params);
    let (range, window) = Range::read(&mut params, now);
    params.finish()?;
    let question = (&range, stage, ms, &dimensions);
    let key = polled::key(reader.scope.tenant(), "what-if", &question);
    let load = || async move {
        let (answers, what_if) =
            analysis::what_if(&reader.scope, window, &dimensions, stage, ms as f64).await?;
        Ok(Body {
            stage: stage.as_str(),
            ms,
            calls: answers.calls,
            truncated: answers.is_cut,
            answers: answers.answers,
            measured_answers: what_if.as_ref().map_or(0, |what_if| what_if.turns),
            clock: answers.times.most_used().map(Clock::as_str),
            clocks: answers.times.counts(),
            improved_answers: what_if.as_ref().map_or(0, |what_if| what_if.replaced),
            p50_latency_ms: pair(&what_if, |what_if| what_if.p50_ms),
            p95_latency_ms: pair(&what_if, |what_if| what_if.p95_ms),
            seconds_saved: tenth(what_if.map_or(0.0, |what_if| what_if.saved_ms) / 1000.0),
        })
    };
    polled::answer(&app.polled, &headers, key, load).await
}

#[derive(Serialize)]
struct Body {
    stage: &'static str,
    ms: i64,
    calls: usize,
    truncated: bool,
    answers: i64,
    measured_answers: usize,
    clock: Option<&'static str>,
    clocks: BTreeMap<&'static str, usize>,
    improved_answers: usize,
    p50_latency_ms: Pair,
    p95_latency_ms: Pair,
    seconds_saved: f64,
}

#[derive(Serialize)]
struct Pair {
    now: Option<f64>,
    what_if: Option<f64>,
}

fn pair(what_if: &Option<WhatIf>, of: impl Fn(&WhatIf) -> [f64; 2]) -> Pair {
    let values = what_if.as_ref().map(of);
    Pair {
        now: values.map(|[now, _]| tenth(now)),
        what_if: values.map(|[_, after]| tenth(after)),
    }
}
