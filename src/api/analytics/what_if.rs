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
use crate::domain::analytics::Dimensions;
use crate::domain::many::Instead;
use crate::problem::Params;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analysis;
use crate::services::analysis::WouldBe;

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
    let dimensions = dimensions(&mut params);
    let instead = instead(&mut params, stage, &dimensions);
    let (range, window) = Range::read(&mut params, now);
    params.finish()?;
    let question = (&range, stage, &instead, &dimensions);
    let key = polled::key(reader.scope.tenant(), "what-if", &question);
    let load = || async move {
        let found = analysis::what_if(&reader.scope, window, &dimensions, stage, &instead).await?;
        Ok(Body::of(stage, instead, found))
    };
    polled::answer(&app.polled, &headers, key, load).await
}

/// What the stage would take: so many ms, what is usual for the agent, or what a provider takes.
fn instead(params: &mut Params, stage: Stage, dimensions: &Dimensions) -> Instead {
    let ms = params.int_opt("ms", 0..=MS_MAX);
    let usual = params.one_of("instead", &["usual"]);
    let provider = params.text("provider");
    let model = params.text("model");
    if ms.is_some() && (usual.is_some() || provider.is_some()) {
        params.fault("ms", "cannot go with `instead` or `provider`");
    }
    if usual.is_some() && provider.is_some() {
        params.fault("instead", "cannot go with `provider`");
    }
    if model.is_some() && provider.is_none() {
        params.fault("model", "must go with the `provider` whose it is");
    }
    if usual.is_some() && dimensions.agent_key.is_none() {
        let message = "must be given with `instead`: what is usual is usual for one agent";
        params.fault("agent_key", message);
    }
    match (usual, provider) {
        (Some(_), _) => {
            must_be(params, "instead", stage, |stage| {
                stage.measured_as().is_some()
            });
            Instead::Usual
        }
        (None, Some(provider)) => {
            must_be(params, "provider", stage, Stage::is_service);
            Instead::Provider(provider, model)
        }
        (None, None) => Instead::Ms(ms.unwrap_or(MS_DEFAULT)),
    }
}

fn must_be(params: &mut Params, beside: &str, stage: Stage, is_known: fn(Stage) -> bool) {
    if is_known(stage) {
        return;
    }
    let names: Vec<String> = Stage::ALL
        .into_iter()
        .filter(|stage| is_known(*stage))
        .map(|stage| format!("`{}`", stage.as_str()))
        .collect();
    params.fault(
        "stage",
        format!("must be one of {} with `{beside}`", names.join(", ")),
    );
}

#[derive(Serialize)]
struct Body {
    stage: &'static str,
    instead: &'static str,
    provider: Option<String>,
    model: Option<String>,
    ms: Option<i64>,
    measurements: Option<u64>,
    calls: usize,
    truncated: bool,
    answers: i64,
    measured_answers: usize,
    clock: Option<&'static str>,
    clocks: BTreeMap<&'static str, usize>,
    improved_answers: Option<usize>,
    p50_latency_ms: Pair,
    p95_latency_ms: Pair,
    seconds_saved: Option<f64>,
}

#[derive(Serialize)]
struct Pair {
    now: Option<f64>,
    what_if: Option<f64>,
}

impl Body {
    fn of(stage: Stage, instead: Instead, found: WouldBe) -> Self {
        let WouldBe {
            answers,
            instead: value,
            now,
            what_if,
        } = found;
        let (instead, provider, model) = match instead {
            Instead::Ms(_) => ("ms", None, None),
            Instead::Usual => ("usual", None, None),
            Instead::Provider(provider, model) => ("provider", Some(provider), model),
        };
        // Over no answer nothing is improved; by no time nobody knows.
        let over_none = value.ms.map(|_| (0, 0.0));
        let saved = what_if
            .as_ref()
            .map(|found| (found.replaced, found.saved_ms));
        let saved = saved.or(over_none);
        let pair = |now: Option<f64>, what_if: Option<f64>| Pair {
            now: now.map(tenth),
            what_if: what_if.map(tenth),
        };
        let (was, would) = (now.as_ref(), what_if.as_ref());
        Self {
            stage: stage.as_str(),
            instead,
            provider,
            model,
            ms: value.ms,
            measurements: value.measurements,
            calls: answers.calls,
            truncated: answers.is_cut,
            answers: answers.answers,
            measured_answers: was.map_or(0, |now| now.turns),
            clock: answers.times.most_used().map(Clock::as_str),
            clocks: answers.times.counts(),
            improved_answers: saved.map(|(replaced, _)| replaced),
            p50_latency_ms: pair(was.map(|now| now.p50_ms), would.map(|after| after.p50_ms)),
            p95_latency_ms: pair(was.map(|now| now.p95_ms), would.map(|after| after.p95_ms)),
            seconds_saved: saved.map(|(_, ms)| tenth(ms / 1000.0)),
        }
    }
}
