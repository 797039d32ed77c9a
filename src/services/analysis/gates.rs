//! Whether a version of an agent is fit to be released.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::analysis::gate::{Check, Metric, Verdict};
use crate::domain::analysis::{Clock, RULES_VERSION};
use crate::domain::release::{self, Arm, Question, Sample};
use crate::domain::settings::Effective;
use crate::store::Scope;
use crate::store::analysis;
use crate::store::gates;
use crate::store::gates::Gate;
use crate::store::targets;

/// A gate waits so long for the analysis of calls that were sent just before.
const SETTLE_MAX: Duration = Duration::from_secs(10);
const SETTLE_EVERY: Duration = Duration::from_millis(200);

/// A report as it is kept and told.
pub type Report = Map<String, Value>;

/// Answers a question and keeps the answer.
pub async fn evaluate(
    scope: &Scope,
    question: &Question,
    now: DateTime<Utc>,
) -> Result<(Verdict, Report)> {
    let arms: Vec<&Arm> = [Some(&question.candidate), question.baseline.as_ref()]
        .into_iter()
        .flatten()
        .collect();
    let pending = settled(scope, &arms, now).await?;
    let candidate = analysis::of_arm(scope, &question.candidate).await?;
    let baseline = match &question.baseline {
        Some(arm) => Some(analysis::of_arm(scope, arm).await?),
        None => None,
    };
    let agent = &question.candidate.agent_id;
    let settings = targets::of_agents(scope, std::slice::from_ref(agent)).await?;
    let own = Effective::of(settings.iter(), Some(agent));
    let work = {
        let (question, candidate, baseline) =
            (question.clone(), candidate.clone(), baseline.clone());
        let own = own.targets.clone();
        // Thousands of draws a metric: not between other requests' turns.
        tokio::task::spawn_blocking(move || question.checks(&candidate, baseline.as_ref(), &own))
    };
    let checks = work
        .await
        .map_err(|error| Error::Internal(format!("a gate was not evaluated: {error}")))?;
    // A verdict on some of the calls that were sent would be one on other calls than was asked.
    let verdict = match pending {
        0 => release::verdict(&checks),
        _ => Verdict::InsufficientData,
    };
    let clock = candidate.answers.most_used();
    let asked = asked(question);
    let samples: Vec<&Sample> = [Some(&candidate), baseline.as_ref()]
        .into_iter()
        .flatten()
        .collect();
    let digest = release::digest(&asked, &own.targets, &samples);
    let gate = Gate {
        id: Uuid::new_v4(),
        created_at: now,
        verdict,
        digest,
        report: Map::new(),
    };
    let arm = |arm: &Arm, sample: &Sample| {
        let mut told = arm_json(arm);
        told.insert("calls".to_owned(), json!(sample.calls));
        told.insert("truncated".to_owned(), json!(sample.is_cut));
        told.insert("clocks".to_owned(), json!(sample.answers.counts()));
        told
    };
    let report = json!({
        "id": gate.id,
        "createdAt": told(now),
        "verdict": verdict.as_str(),
        "candidate": arm(&question.candidate, &candidate),
        "baseline": question.baseline.as_ref().zip(baseline.as_ref()).map(|(one, sample)| arm(one, sample)),
        "minimum": question.minimum,
        "tolerance": question.tolerance,
        "pendingCalls": pending,
        "checks": checks.iter().map(|check| check_json(check, clock)).collect::<Vec<_>>(),
        "inputsDigest": hex::encode(digest),
        "rulesVersion": RULES_VERSION,
        "targetsVersion": own.version,
    });
    let Value::Object(report) = report else {
        return Err(Error::Internal("a report is an object".to_owned()));
    };
    let gate = Gate { report, ..gate };
    gates::keep(scope, &gate).await?;
    Ok((verdict, gate.report))
}

/// Waits a while until what was sent is analysed, and answers how many calls still are not.
async fn settled(scope: &Scope, arms: &[&Arm], now: DateTime<Utc>) -> Result<i64> {
    let given_up = tokio::time::Instant::now() + SETTLE_MAX;
    loop {
        let mut pending = 0;
        for arm in arms {
            pending += analysis::pending(scope, arm, RULES_VERSION, now).await?;
        }
        if pending == 0 || tokio::time::Instant::now() >= given_up {
            return Ok(pending);
        }
        tokio::time::sleep(SETTLE_EVERY).await;
    }
}

/// One that was evaluated before.
pub async fn find(scope: &Scope, id: &str) -> Result<Report> {
    let id: Uuid = id.parse().map_err(|_| Error::NotFound("gate"))?;
    Ok(with_clocks(gates::report(scope, id).await?))
}

/// Gates that were evaluated before clocks were told know of none.
fn with_clocks(mut report: Report) -> Report {
    for side in ["candidate", "baseline"] {
        if let Some(Value::Object(sample)) = report.get_mut(side) {
            sample.entry("clocks").or_insert(Value::Null);
        }
    }
    let checks = report.get_mut("checks").and_then(Value::as_array_mut);
    for check in checks.into_iter().flatten() {
        if let Value::Object(check) = check {
            check.entry("clock").or_insert(Value::Null);
        }
    }
    report
}

/// The question in full, what was left out filled in.
fn asked(question: &Question) -> Value {
    json!({
        "candidate": arm_json(&question.candidate),
        "baseline": question.baseline.as_ref().map(arm_json),
        "metrics": question.metrics,
        "targets": question.targets,
        "minimum": question.minimum,
        "tolerance": question.tolerance,
    })
}

fn arm_json(arm: &Arm) -> Map<String, Value> {
    let mut told = Map::new();
    told.insert("agentId".to_owned(), json!(arm.agent_id));
    told.insert("agentVersion".to_owned(), json!(arm.agent_version));
    told.insert(
        "startedAfter".to_owned(),
        json!(self::told(arm.window.from)),
    );
    told.insert("startedBefore".to_owned(), json!(self::told(arm.window.to)));
    told
}

fn told(time: DateTime<Utc>) -> String {
    let millis = time.timestamp_subsec_millis() != 0;
    let format = if millis {
        chrono::SecondsFormat::Millis
    } else {
        chrono::SecondsFormat::Secs
    };
    time.to_rfc3339_opts(format, true)
}

fn check_json(check: &Check, clock: Option<Clock>) -> Value {
    let rounded = |value: f64| (value * 1e6).round() / 1e6;
    let clock = clock.filter(|_| check.metric == Metric::TurnLatencyP95Ms);
    json!({
        "clock": clock.map(Clock::as_str),
        "metric": check.metric.as_str(),
        "verdict": check.verdict.as_str(),
        "value": check.value.map(rounded),
        "target": check.target.map(rounded),
        "interval": check.interval.map(|(low, high)| [rounded(low), rounded(high)]),
        "measurements": check.measurements,
        "baselineMeasurements": check.baseline_measurements,
    })
}
