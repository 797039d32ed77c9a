//! `GET /v1/observability/sessions/interruption-quality`

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use crate::api::format;
use crate::api::polled;
use crate::app::App;
use crate::app::Now;
use crate::auth::Reader;
use crate::domain::analysis::gate::{Metric, TargetCheck};
use crate::domain::analysis::{Distribution, InterruptionCounts};
use crate::domain::analytics::{Period, Window};
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analysis;
use crate::services::analysis::Quality;

/// Agents that are told one by one.
const AGENTS_MAX: usize = 100;

pub async fn handle(
    State(app): State<App>,
    reader: Reader,
    Now(now): Now,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = query.params();
    let agent = params.text("agentId");
    let period = params.choice("period", &Period::ALL, Period::as_str);
    let period = period.unwrap_or(Period::Day);
    let (after, before) = (params.time("startedAfter"), params.time("startedBefore"));
    let window = Window::of(period, after, before, now);
    if window.is_none() {
        params.fault(
            "startedAfter",
            "must be before `startedBefore`, or before now where that is not given",
        );
    }
    params.finish()?;
    let window = window.unwrap_or(Window { from: now, to: now });
    let question = (&agent, period, after, before);
    let key = polled::key(reader.scope.tenant(), "interruption-quality", &question);
    let load = || async move {
        let (all, parts) = analysis::quality(&reader.scope, window, agent.as_deref()).await?;
        Ok(Body::of(all, parts))
    };
    polled::answer(&app.polled, &headers, key, load).await
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(flatten)]
    all: Numbers,
    by_agent: Vec<Agent>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Agent {
    agent_id: Option<String>,
    #[serde(flatten)]
    numbers: Numbers,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Numbers {
    sessions: u64,
    agent_turns: u64,
    overlaps: u64,
    interruptions: u64,
    derived: u64,
    inconclusive: u64,
    detection_latency_ms: Latency,
    stop_latency_ms: Latency,
    stop_after_decision_ms: Latency,
    bleed_through_words: Words,
    false_interruptions: u64,
    judged_stops: u64,
    false_interruption_rate: Option<f64>,
    missed_barge_ins: u64,
    real_overlaps: u64,
    missed_barge_in_rate: Option<f64>,
    agent_interrupts_user: u64,
    agent_interrupts_user_rate: Option<f64>,
    recovered: u64,
    recovery_rate: Option<f64>,
    post_interruption_latency_ms: Latency,
    turn_taking: TurnTaking,
    gate: GateBody,
}

#[derive(Serialize)]
struct Latency {
    avg: Option<i64>,
    p50: Option<i64>,
    p95: Option<i64>,
    samples: u64,
}

#[derive(Serialize)]
struct Words {
    total: f64,
    avg: Option<f64>,
    p50: Option<f64>,
    p95: Option<f64>,
    max: Option<f64>,
    samples: u64,
    estimated: u64,
}

#[derive(Serialize)]
struct TurnTaking {
    score: Option<f64>,
    sessions: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GateBody {
    verdict: &'static str,
    min_interruptions: u32,
    checks: Vec<CheckBody>,
}

#[derive(Serialize)]
struct CheckBody {
    metric: &'static str,
    value: Option<f64>,
    target: f64,
    pass: Option<bool>,
    samples: u64,
}

impl Body {
    fn of(all: Quality, parts: Vec<Quality>) -> Self {
        let agents = parts.into_iter().take(AGENTS_MAX).map(|one| Agent {
            agent_id: one.agent_key.clone(),
            numbers: Numbers::of(one),
        });
        Self {
            by_agent: agents.collect(),
            all: Numbers::of(all),
        }
    }
}

impl Numbers {
    fn of(quality: Quality) -> Self {
        let conduct = quality.conduct;
        let checks = quality.gate.checks.into_iter();
        let counts: InterruptionCounts = conduct.counts;
        Self {
            sessions: counts.sessions,
            agent_turns: counts.agent_turns,
            overlaps: counts.overlaps,
            interruptions: counts.interruptions,
            derived: counts.derived,
            inconclusive: counts.inconclusive,
            detection_latency_ms: Latency::of(&counts.detection_ms),
            stop_latency_ms: Latency::of(&counts.stop_ms),
            stop_after_decision_ms: Latency::of(&counts.stop_after_decision_ms),
            bleed_through_words: Words::of(&counts),
            false_interruptions: counts.false_interruptions,
            judged_stops: counts.judged_stops,
            false_interruption_rate: counts.false_interruption_rate().map(percent),
            missed_barge_ins: counts.missed_barge_ins,
            real_overlaps: counts.real_overlaps,
            missed_barge_in_rate: counts.missed_barge_in_rate().map(percent),
            agent_interrupts_user: counts.agent_interrupts,
            agent_interrupts_user_rate: counts.agent_interrupts_rate().map(percent),
            recovered: counts.recovered,
            recovery_rate: counts.recovery_rate().map(percent),
            post_interruption_latency_ms: Latency::of(&counts.post_interruption_ms),
            turn_taking: TurnTaking {
                score: conduct.score.map(format::thousandth),
                sessions: conduct.scored,
            },
            gate: GateBody {
                verdict: quality.gate.verdict.as_str(),
                min_interruptions: quality.min_interruptions,
                checks: checks.filter_map(CheckBody::of).collect(),
            },
        }
    }
}

impl Latency {
    fn of(all: &Distribution) -> Self {
        Self {
            avg: all.mean().map(format::whole_ms),
            p50: all.percentile(0.5).map(format::whole_ms),
            p95: all.percentile(0.95).map(format::whole_ms),
            samples: all.count(),
        }
    }
}

impl Words {
    fn of(counts: &InterruptionCounts) -> Self {
        let words = &counts.bleed_through_words;
        Self {
            total: tenth(words.total()),
            avg: words.mean().map(tenth),
            p50: words.percentile(0.5).map(tenth),
            p95: words.percentile(0.95).map(tenth),
            max: words.max().map(tenth),
            samples: words.count(),
            estimated: counts.bleed_through_estimated,
        }
    }
}

impl CheckBody {
    fn of(check: TargetCheck) -> Option<Self> {
        let (metric, shown): (_, fn(f64) -> f64) = match check.metric {
            Metric::DetectionP95Ms => ("detectionLatencyMs.p95", tenth),
            Metric::StopP95Ms => ("stopLatencyMs.p95", tenth),
            Metric::BleedThroughP95Words => ("bleedThroughWords.p95", tenth),
            Metric::FalseInterruptionRate => ("falseInterruptionRate", percent),
            _ => return None,
        };
        Some(Self {
            metric,
            value: check.value.map(shown),
            target: shown(check.target),
            pass: check.pass,
            samples: check.measurements,
        })
    }
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn percent(share: f64) -> f64 {
    tenth(share * 100.0)
}
