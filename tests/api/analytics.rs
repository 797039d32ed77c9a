//! Sums over ranges of calls: what they say, and that rollups always say what a recount says.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use voxray::store::rollups;
use voxray::store::{Scope, Store};

use crate::support::{Client, TestServer};

/// A call with one answered turn whose stages are `ms` long.
fn call(id: &str, started_at: &str, status: &str, ms: i64) -> Value {
    json!({
        "session": {"sessionId": id, "startedAt": started_at, "status": status, "agentId": format!("agent-{}", ms % 2),
            "channel": "web", "workflow": {"slug": "booking", "name": "Booking"}, "costUsd": 0.001,
            "providers": {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}},
        "turns": [
            {"speaker": "user", "startMs": 0, "endMs": 1000, "sttMs": ms},
            {"speaker": "agent", "startMs": 1000 + 4 * ms, "endMs": 61_000, "llmMs": 2 * ms, "ttsMs": ms, "usage": {"promptTokens": 90, "completionTokens": 10}}
        ]
    })
}

async fn summary(client: &Client, query: &str) -> Value {
    client
        .header("cache-control", "no-cache")
        .get(&format!("/api/v1/analytics/summary{query}"))
        .await
        .status(200)
        .json()
}

#[tokio::test]
async fn a_summary_adds_up() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.reader().await);
    let empty = summary(&reader, "").await;
    assert_eq!(
        (
            &empty["total_calls"],
            &empty["success_rate"],
            &empty["avg_llm_latency_ms"]
        ),
        (&json!(0), &json!(null), &json!(null))
    );
    let calls = [
        call("a", "2025-06-11T08:00:00Z", "completed", 100),
        call("b", "2025-06-11T09:00:00Z", "failed", 201),
        call("c", "2025-06-11T11:59:00Z", "active", 300),
        call("d", "2025-06-09T11:59:00Z", "completed", 400),
    ];
    ingestor
        .post("/v1/ingest/calls", &json!({"calls": calls}))
        .await
        .status(200);
    let day = summary(&reader, "").await;
    assert_eq!(
        day,
        json!({
            "total_calls": 3, "completed_calls": 1, "failed_calls": 1, "declined_calls": 0, "missed_calls": 0, "active_calls": 1,
            "avg_duration_seconds": 61.0, "success_rate": 50.0, "total_tokens": 300,
            "avg_stt_latency_ms": 200.3, "avg_llm_latency_ms": 400.7, "avg_tts_latency_ms": 200.3,
            "p95_turn_latency_ms": day["p95_turn_latency_ms"], "total_cost_usd": 0.003
        })
    );
    let p95 = day["p95_turn_latency_ms"].as_f64().unwrap();
    assert!((p95 / 1200.0 - 1.0).abs() <= 0.01, "{p95}");
    assert_eq!(summary(&reader, "?period=7d").await["total_calls"], 4);
    assert_eq!(
        summary(&reader, "?agent_key=agent-1").await["total_calls"],
        1
    );
    assert_eq!(
        summary(&reader, "?workflow=booking&channel=web").await["total_calls"],
        3
    );
    assert_eq!(
        summary(
            &reader,
            "?started_after=2025-06-11T08:00:00Z&started_before=2025-06-11T09:00:00Z"
        )
        .await["total_calls"],
        1
    );
    assert_eq!(
        reader
            .get("/api/v1/analytics/active-calls")
            .await
            .status(200)
            .json(),
        json!({"count": 1})
    );
}

#[tokio::test]
async fn an_unchanged_answer_is_a_304_and_a_tenant_sees_only_its_own() {
    let server = TestServer::start().await;
    let (acme, other) = (server.tenant("acme").await, server.tenant("other").await);
    acme.ingestor()
        .await
        .post(
            "/v1/ingest/calls",
            &call("a", "2025-06-11T08:00:00Z", "completed", 100),
        )
        .await
        .status(200);
    let reader = acme.reader().await;
    let first = reader.get("/api/v1/analytics/summary").await.status(200);
    assert_eq!(first.header("cache-control"), "private, no-cache");
    let again = reader.header("if-none-match", &first.header("etag"));
    assert!(
        again
            .get("/api/v1/analytics/summary")
            .await
            .status(304)
            .body
            .is_empty()
    );
    assert_eq!(
        other
            .reader()
            .await
            .get("/api/v1/analytics/summary")
            .await
            .status(200)
            .json()["total_calls"],
        0
    );
}

#[tokio::test]
async fn wrong_ranges_are_told() {
    let server = TestServer::start().await;
    let reader = server.tenant("acme").await.reader().await;
    for (query, fault) in [
        ("?period=2h", "period must be one of"),
        (
            "?started_after=2025-06-11T09:00:00Z&started_before=2025-06-11T09:00:00Z",
            "started_after must be before",
        ),
        (
            "?started_after=2025-06-11T12:00:01Z",
            "started_after must be before",
        ),
        ("?started_after=yesterday", "started_after must be"),
        ("?perod=24h", "perod"),
        ("?channel=fax", "channel must be one of"),
    ] {
        let answer = reader
            .get(&format!("/api/v1/analytics/summary{query}"))
            .await
            .problem(400, "invalid-request");
        assert!(
            answer.faults()[0].starts_with(fault),
            "{query}: {:?}",
            answer.faults()
        );
    }
}

/// What a tenant's calls add up to, read one by one from another tenant that has only those in the range
/// and no rollups.
async fn recount(server: &TestServer, calls: &[Value], name: &str) -> Value {
    let tenant = server.tenant(name).await;
    if !calls.is_empty() {
        tenant
            .ingestor()
            .await
            .post("/v1/ingest/calls", &json!({"calls": calls}))
            .await
            .status(200);
    }
    // A range without a whole hour is read from the calls themselves.
    summary(&tenant.reader().await, "?period=30d").await
}

#[tokio::test]
async fn rollups_say_what_a_recount_says() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.reader().await);
    let scope = Scope::for_worker(&server.app.store, acme.id);
    let mut random = StdRng::seed_from_u64(7);
    let mut calls: std::collections::BTreeMap<String, Value> = Default::default();
    for round in 0..12 {
        // New, updated and moved calls, some of them long ago.
        let batch: Vec<Value> = (0..30)
            .map(|_| {
                let id = format!("call-{}", random.random_range(0..120));
                let (day, hour, minute) = (
                    random.random_range(1..12),
                    random.random_range(0..24),
                    random.random_range(0..60),
                );
                let at = format!("2025-06-{day:02}T{hour:02}:{minute:02}:00Z");
                let at = if at.as_str() < "2025-06-11T11:59:00Z" {
                    at
                } else {
                    "2025-06-11T11:58:00Z".to_owned()
                };
                let status = ["completed", "failed", "missed", "active"][random.random_range(0..4)];
                call(&id, &at, status, random.random_range(1..900))
            })
            .collect();
        for chunk in batch.chunks(7) {
            ingestor
                .post("/v1/ingest/calls", &json!({"calls": chunk}))
                .await
                .status(200);
        }
        calls.extend(batch.into_iter().map(|call| {
            (
                call["session"]["sessionId"].as_str().unwrap().to_owned(),
                call,
            )
        }));
        if round % 3 > 0 {
            drain(&server.app.store, server.clock.now()).await;
        }
        for (n, (from, to)) in ranges(&mut random).into_iter().enumerate() {
            let inside: Vec<Value> = calls
                .values()
                .filter(|call| {
                    (from.as_str()..to.as_str())
                        .contains(&call["session"]["startedAt"].as_str().unwrap())
                })
                .cloned()
                .collect();
            let counted = recount(&server, &inside, &format!("recount-{round}-{n}")).await;
            let mut said = summary(
                &reader,
                &format!("?started_after={from}&started_before={to}"),
            )
            .await;
            said["active_calls"] = counted["active_calls"].clone();
            assert_eq!(said, counted, "round {round}: {from} to {to}");
        }
    }
    drain(&server.app.store, server.clock.now()).await;
    assert_eq!(rollups::verify(&scope).await.unwrap(), []);
}

async fn drain(store: &Store, now: chrono::DateTime<chrono::Utc>) {
    assert!(
        rollups::drain(store, now).await.expect("a store"),
        "no other process keeps this database's rollups"
    );
}

/// Ranges with ragged edges, a whole day, and less than an hour.
fn ranges(random: &mut StdRng) -> [(String, String); 3] {
    let minute = random.random_range(0..60);
    let day = random.random_range(1..9);
    [
        (
            format!("2025-06-{day:02}T03:{minute:02}:12Z"),
            "2025-06-11T09:21:00Z".to_owned(),
        ),
        (
            format!("2025-06-{day:02}T00:00:00Z"),
            format!("2025-06-{:02}T00:00:00Z", day + 2),
        ),
        (
            "2025-06-11T11:57:30Z".to_owned(),
            "2025-06-11T11:58:30Z".to_owned(),
        ),
    ]
}
