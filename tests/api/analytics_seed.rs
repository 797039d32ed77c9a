//! A tenant whose calls give the numbers that the dialect's documentation shows, field by field.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::{Client, TestServer, now};

const NOW: &str = "2026-01-17T12:00:00Z";
const CALLS: usize = 1247;
const FAILED: usize = 67;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

/// Values with this mean and these nearest-rank percentiles.
fn measurements(mean: f64, [p50, p95, p99]: [f64; 3]) -> Vec<f64> {
    let rank = |share: f64| (share * CALLS as f64).ceil() as usize;
    let (half, most, all) = (rank(0.5), rank(0.95), rank(0.99));
    let low = p50 * 0.96;
    let fixed =
        low * (half - 1) as f64 + p50 + p95 * (all - most) as f64 + p99 * (CALLS - all + 1) as f64;
    // What lies between the median and the 95th percentile makes up the mean.
    let middle = (mean * CALLS as f64 - fixed) / (most - half - 1) as f64;
    assert!((p50..p95).contains(&middle), "{middle}");
    let value = |n: usize| match n + 1 {
        n if n < half => low,
        n if n == half => p50,
        n if n < most => middle,
        n if n < all => p95,
        _ => p99,
    };
    (0..CALLS).map(value).collect()
}

/// When the calls started, and which of them failed: two hours as documented, the rest before.
fn starts() -> Vec<(DateTime<Utc>, bool)> {
    let mut starts = Vec::new();
    for (from, total, failed) in [
        ("2026-01-17T10:00:00Z", 45, 3),
        ("2026-01-17T11:00:00Z", 52, 2),
        ("2026-01-16T13:00:00Z", CALLS - 45 - 52, FAILED - 3 - 2),
    ] {
        let place = |n: usize| at(from) + TimeDelta::seconds(60 * (n as i64 % 59));
        starts.extend((0..total).map(|n| (place(n), n < failed)));
    }
    starts
}

/// The workflow of the next call, and how long such calls are: failed and completed are counted down.
fn workflow(failed: bool, left: &mut [(usize, usize); 2]) -> (Value, f64) {
    let known = [
        ("Daily Health Check", "daily-call", 180.5),
        ("Onboarding Flow", "onboarding", 240.2),
    ];
    for ((name, slug, seconds), (completed, lost)) in known.into_iter().zip(left) {
        let count = if failed { lost } else { completed };
        if *count > 0 {
            *count -= 1;
            let workflow = json!({"id": format!("{slug}-id"), "name": name, "slug": slug});
            return (workflow, seconds);
        }
    }
    let others = (145.2 * CALLS as f64 - 500.0 * 180.5 - 150.0 * 240.2) / (CALLS - 650) as f64;
    (Value::Null, others)
}

fn calls() -> Vec<Value> {
    let stt = measurements(120.5, [108.4, 180.7, 241.0]);
    let llm = measurements(280.3, [252.2, 420.4, 560.6]);
    let tts = measurements(85.2, [76.6, 127.8, 170.4]);
    let mut left = [(475, 25), (142, 8)];
    let mut calls = Vec::new();
    for (n, (started_at, failed)) in starts().into_iter().enumerate() {
        let (workflow, seconds) = workflow(failed, &mut left);
        // Durations are whole milliseconds.
        let ended_at = started_at + TimeDelta::milliseconds((seconds * 1000.0).round() as i64);
        let mut call = json!({
            "session": {"sessionId": format!("call-{n}"), "startedAt": started_at, "endedAt": ended_at,
                "status": if failed { "failed" } else { "completed" }, "agentId": "front-desk",
                "providers": {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}},
            "turns": [
                {"speaker": "user", "startMs": 0, "endMs": 500, "sttMs": stt[n]},
                {"speaker": "agent", "startMs": 1500, "endMs": 3000, "llmMs": llm[n], "ttsMs": tts[n],
                    "usage": {"promptTokens": if n == 0 { 390 } else { 90 }, "completionTokens": 10}}
            ]
        });
        if !workflow.is_null() {
            call["session"]["workflow"] = workflow;
        }
        if failed {
            call["errors"] = json!([error(
                calls
                    .iter()
                    .filter(|call: &&Value| !call["errors"].is_null())
                    .count()
            )]);
        }
        calls.push(call);
    }
    let active = |n| {
        let session = json!({"sessionId": format!("active-{n}"), "startedAt": "2026-01-16T11:00:00Z", "status": "active"});
        json!({ "session": session })
    };
    calls.extend((0..3).map(active));
    calls
}

/// The two that are documented, and others before them.
fn error(n: usize) -> Value {
    match n {
        0 => json!({"id": "e", "at": "2026-01-17T10:30:00Z", "service": "stt", "level": "error",
            "message": "Connection timeout to Deepgram", "details": {"timeout_ms": 5000, "retry_count": 3}, "agent": "meal-agent"}),
        1 => json!({"id": "e", "at": "2026-01-17T10:25:00Z", "service": "llm", "level": "error",
            "message": "Rate limit exceeded", "details": {"provider": "openai", "retry_after": 60}, "agent": "greeter-agent"}),
        _ => {
            json!({"id": "e", "at": "2026-01-17T09:00:00Z", "service": "tool", "level": "warning", "message": "slow"})
        }
    }
}

async fn get(reader: &Client, path: &str) -> Value {
    let path = format!("/api/v1/analytics/{path}");
    reader.get(&path).await.status(200).json()
}

/// An answer must say what is documented, and may say more.
fn says(answer: &Value, documented: &Value, place: &str) {
    match documented {
        Value::Object(members) => {
            for (name, value) in members {
                says(&answer[name], value, &format!("{place}.{name}"));
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                says(&answer[n], item, &format!("{place}[{n}]"));
            }
        }
        Value::Number(number) if [".p50", ".p95", ".p99"].iter().any(|p| place.contains(p)) => {
            let ratio = answer.as_f64().expect("a number") / number.as_f64().expect("a number");
            assert!(
                (ratio - 1.0).abs() <= 0.011,
                "{place}: {answer} for {number}"
            );
        }
        other => assert_eq!(answer, other, "{place}"),
    }
}

#[tokio::test]
async fn the_documented_answers_are_given() {
    let server = TestServer::start().await;
    server.clock.advance(at(NOW) - now());
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    for chunk in calls().chunks(250) {
        let body = json!({ "calls": chunk });
        ingestor.post("/v1/ingest/calls", &body).await.status(200);
    }
    let reader = acme.transcripts().await;

    says(
        &get(&reader, "summary").await,
        &json!({"total_calls": 1247, "completed_calls": 1180, "failed_calls": 67, "active_calls": 3,
            "avg_duration_seconds": 145.2, "success_rate": 94.6, "total_tokens": 125000,
            "avg_stt_latency_ms": 120.5, "avg_llm_latency_ms": 280.3, "avg_tts_latency_ms": 85.2}),
        "summary",
    );
    assert_eq!(get(&reader, "active-calls").await, json!({"count": 3}));
    let range = "started_after=2026-01-17T10:00:00Z&started_before=2026-01-17T12:00:00Z";
    let volume = get(&reader, &format!("call-volume?{range}")).await;
    let documented = json!({"interval": "hour", "data": [
        {"timestamp": "2026-01-17T10:00:00Z", "total": 45, "completed": 42, "failed": 3},
        {"timestamp": "2026-01-17T11:00:00Z", "total": 52, "completed": 50, "failed": 2}]});
    says(&volume, &documented, "volume");
    assert_eq!(volume["data"].as_array().map(Vec::len), Some(2));

    let workflows = get(&reader, "workflow-stats").await;
    let documented = json!([
        {"workflow_id": "daily-call-id", "workflow_name": "Daily Health Check", "workflow_slug": "daily-call",
            "total_calls": 500, "completed_calls": 475, "failed_calls": 25, "success_rate": 95.0, "avg_duration_seconds": 180.5},
        {"workflow_id": "onboarding-id", "workflow_name": "Onboarding Flow", "workflow_slug": "onboarding",
            "total_calls": 150, "completed_calls": 142, "failed_calls": 8, "success_rate": 94.7, "avg_duration_seconds": 240.2}]);
    says(&workflows, &documented, "workflows");
    assert_eq!(workflows.as_array().map(Vec::len), Some(2));

    let providers = get(&reader, "provider-latency").await;
    let documented = json!([
        {"provider_type": "stt", "provider_name": "deepgram", "avg_latency_ms": 120.5, "p50_latency_ms": 108.4,
            "p95_latency_ms": 180.7, "p99_latency_ms": 241.0, "call_count": 1247},
        {"provider_type": "llm", "provider_name": "openai", "avg_latency_ms": 280.3, "p50_latency_ms": 252.2,
            "p95_latency_ms": 420.4, "p99_latency_ms": 560.6, "call_count": 1247},
        {"provider_type": "tts", "provider_name": "cartesia", "avg_latency_ms": 85.2, "p50_latency_ms": 76.6,
            "p95_latency_ms": 127.8, "p99_latency_ms": 170.4, "call_count": 1247}]);
    says(&providers, &documented, "providers");
    assert_eq!(providers.as_array().map(Vec::len), Some(3));

    let errors = get(&reader, "errors").await;
    let documented = json!({"items": [
        {"timestamp": "2026-01-17T10:30:00Z", "service": "stt", "level": "error", "message": "Connection timeout to Deepgram",
            "details": {"timeout_ms": 5000, "retry_count": 3}, "agent": "meal-agent"},
        {"timestamp": "2026-01-17T10:25:00Z", "service": "llm", "level": "error", "message": "Rate limit exceeded",
            "details": {"provider": "openai", "retry_after": 60}, "agent": "greeter-agent"}], "total": 67});
    says(&errors, &documented, "errors");
    for item in errors["items"].as_array().expect("items") {
        let call = item["call_id"].as_str().expect("a text");
        assert!(uuid::Uuid::try_parse(call).is_ok() && call.len() == 36);
        assert_eq!(item["id"], format!("{call}-0"));
    }
}
