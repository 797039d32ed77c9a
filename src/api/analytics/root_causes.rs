//! `GET /api/v1/analytics/root-causes`

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
use crate::domain::many::{Cause, Causes};
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analysis;

const LIMIT_DEFAULT: i64 = 10;
const LIMIT_MAX: i64 = 50;

pub async fn handle(
    State(app): State<App>,
    reader: Reader,
    Now(now): Now,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let dimensions = dimensions(&mut params);
    let limit = params.int("limit", LIMIT_DEFAULT, 1..=LIMIT_MAX);
    let (range, window) = Range::read(&mut params, now);
    params.finish()?;
    let question = (&range, limit, &dimensions);
    let key = polled::key(reader.scope.tenant(), "root-causes", &question);
    let load = || async move {
        let causes = analysis::causes(&reader.scope, window, &dimensions).await?;
        Ok(Body::of(causes, limit as usize))
    };
    polled::answer(&app.polled, &headers, key, load).await
}

#[derive(Serialize)]
struct Body {
    analysed_calls: i64,
    calls_with_issues: i64,
    calls_with_issues_rate: Option<f64>,
    seconds_lost: f64,
    by_type: Vec<ByType>,
    by_stage: Vec<ByStage>,
    by_provider: Vec<ByProvider>,
    by_agent: Vec<ByAgent>,
}

#[derive(Serialize)]
struct ByType {
    r#type: Option<String>,
    #[serde(flatten)]
    numbers: Numbers,
}

#[derive(Serialize)]
struct ByStage {
    stage: Option<String>,
    #[serde(flatten)]
    numbers: Numbers,
}

#[derive(Serialize)]
struct ByProvider {
    provider: Option<String>,
    stage: Option<String>,
    #[serde(flatten)]
    numbers: Numbers,
}

#[derive(Serialize)]
struct ByAgent {
    agent_key: Option<String>,
    #[serde(flatten)]
    numbers: Numbers,
}

#[derive(Serialize)]
struct Numbers {
    calls: i64,
    critical_calls: i64,
    occurrences: i64,
    seconds_lost: f64,
}

impl Body {
    fn of(causes: Causes, limit: usize) -> Self {
        let rate = |part: i64, of: i64| (of > 0).then(|| tenth(part as f64 / of as f64 * 100.0));
        Self {
            analysed_calls: causes.calls,
            calls_with_issues: causes.all.calls,
            calls_with_issues_rate: rate(causes.all.calls, causes.calls),
            seconds_lost: seconds(causes.all.impact_ms),
            by_type: top(causes.by_type, usize::MAX, |cause| ByType {
                numbers: Numbers::of(&cause),
                r#type: cause.kind,
            }),
            by_stage: top(causes.by_stage, usize::MAX, |cause| ByStage {
                numbers: Numbers::of(&cause),
                stage: cause.stage,
            }),
            by_provider: top(causes.by_provider, limit, |cause| ByProvider {
                numbers: Numbers::of(&cause),
                provider: cause.provider,
                stage: cause.stage,
            }),
            by_agent: top(causes.by_agent, limit, |cause| ByAgent {
                numbers: Numbers::of(&cause),
                agent_key: cause.agent_key,
            }),
        }
    }
}

impl Numbers {
    fn of(cause: &Cause) -> Self {
        Self {
            calls: cause.calls,
            critical_calls: cause.critical_calls,
            occurrences: cause.occurrences,
            seconds_lost: seconds(cause.impact_ms),
        }
    }
}

fn top<T>(causes: Vec<Cause>, limit: usize, told: impl Fn(Cause) -> T) -> Vec<T> {
    causes.into_iter().take(limit).map(told).collect()
}

fn seconds(ms: i64) -> f64 {
    tenth(ms as f64 / 1000.0)
}
