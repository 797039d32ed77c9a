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

/// Those that take a range.
const ENDPOINTS: [&str; 5] = [
    "summary",
    "call-volume",
    "workflow-stats",
    "provider-latency",
    "errors",
];

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
    let inside_out = "?started_after=2030-01-01T00:00:00Z&started_before=2029-01-01T00:00:00Z";
    reader
        .get(&format!("/api/v1/analytics/active-calls{inside_out}"))
        .await
        .problem(400, "invalid-request");
}

#[tokio::test]
async fn a_compressed_answer_has_a_weak_etag_and_is_known_by_it() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let path = "/api/v1/analytics/call-volume?interval=hour&started_after=2025-01-01T00:00:00Z&started_before=2025-02-01T00:00:00Z";
    let reader = acme.reader().await;
    let plain = reader.get(path).await.status(200).header("etag");
    let reader = reader.header("accept-encoding", "gzip");
    let packed = reader.get(path).await.status(200);
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(packed.header("etag"), format!("W/{plain}"));
    for known in [plain, packed.header("etag")] {
        let again = acme.reader().await.header("if-none-match", &known);
        let unchanged = again.get(path).await.status(304);
        assert!(unchanged.header("vary").contains("accept-encoding"));
        assert_eq!(unchanged.header("etag"), known);
    }
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
async fn who_has_seen_a_fresh_answer_is_told_no_older_one() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.reader().await);
    for (n, directives) in ["no-cache", "max-age=0, no-cache", "No-Cache,no-store"]
        .into_iter()
        .enumerate()
    {
        let told = async |reader: &Client| {
            let answer = reader.get("/api/v1/analytics/summary").await.status(200);
            answer.json()["total_calls"].clone()
        };
        assert_eq!(told(&reader).await, n, "{directives}");
        let id = format!("call-{n}");
        let sent = call(&id, "2025-06-11T08:00:00Z", "completed", 100);
        ingestor.post("/v1/ingest/calls", &sent).await.status(200);
        let fresh = reader.header("cache-control", directives);
        assert_eq!(told(&fresh).await, n + 1, "{directives}");
        assert_eq!(told(&reader).await, n + 1, "{directives}");
    }
}

#[tokio::test]
async fn every_endpoint_may_be_polled() {
    let server = TestServer::start().await;
    let (acme, other) = (server.tenant("acme").await, server.tenant("other").await);
    let ingestor = acme.ingestor().await;
    let mut one = call("a", "2025-06-11T08:00:00Z", "failed", 100);
    one["errors"] = json!([{"service": "llm", "message": "it broke"}]);
    ingestor.post("/v1/ingest/calls", &one).await.status(200);
    let (reader, stranger) = (acme.reader().await, other.reader().await);
    for endpoint in ENDPOINTS {
        let path = format!("/api/v1/analytics/{endpoint}");
        let first = reader.get(&path).await.status(200);
        assert_eq!(first.header("cache-control"), "private, no-cache");
        let theirs = stranger.get(&path).await.status(200);
        assert_ne!(first.json(), theirs.json(), "{endpoint}");
        let again = reader.header("if-none-match", &first.header("etag"));
        assert!(again.get(&path).await.status(304).body.is_empty());
        let other_filter = format!("{path}?agent_key=nobody");
        again.get(&other_filter).await.status(200);
    }
}

#[tokio::test]
async fn call_volume_has_every_bucket() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let calls = [
        call("a", "2025-06-01T23:59:59Z", "completed", 100),
        call("b", "2025-06-02T00:00:00Z", "failed", 101),
        call("c", "2025-06-02T02:30:00Z", "missed", 100),
        call("d", "2025-06-02T02:30:01Z", "active", 100),
    ];
    let body = json!({ "calls": calls });
    let ingestor = acme.ingestor().await;
    ingestor.post("/v1/ingest/calls", &body).await.status(200);
    let reader = acme.reader().await;
    let volume = async |query: &str| {
        let path = format!("/api/v1/analytics/call-volume?{query}");
        reader.get(&path).await.status(200).json()
    };
    let bucket = |at: &str, [total, completed, failed, missed]: [i64; 4]| {
        json!({"timestamp": format!("2025-06-{at}:00:00Z"), "total": total, "completed": completed, "failed": failed,
            "declined": 0, "missed": missed})
    };
    let range = "started_after=2025-06-01T23:30:00Z&started_before=2025-06-02T02:30:01Z";
    assert_eq!(
        volume(range).await,
        json!({"interval": "hour", "data": [
            bucket("01T23", [1, 1, 0, 0]), bucket("02T00", [1, 0, 1, 0]), bucket("02T01", [0, 0, 0, 0]), bucket("02T02", [1, 0, 0, 1])]})
    );
    assert_eq!(
        volume(&format!("interval=day&{range}")).await["data"],
        json!([bucket("01T00", [1, 1, 0, 0]), bucket("02T00", [2, 0, 1, 1])])
    );
    // 2025-06-02 is a Monday.
    let week = volume(&format!("interval=week&{range}&agent_key=agent-0")).await;
    let monday = json!({"timestamp": "2025-05-26T00:00:00Z", "total": 1, "completed": 1, "failed": 0, "declined": 0, "missed": 0});
    assert_eq!(week["data"], json!([monday, bucket("02T00", [1, 0, 0, 1])]));

    let far = "interval=day&started_after=2599-12-31T10:30:00Z&started_before=2600-01-01T10:30:00Z";
    let starts = |buckets: &Value| {
        let buckets = buckets.as_array().cloned().unwrap_or_default();
        buckets
            .into_iter()
            .map(|it| it["timestamp"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        starts(&volume(far).await["data"]),
        ["2599-12-31T00:00:00Z", "2600-01-01T00:00:00Z"]
    );

    // 400 days of hours are told, 500 days of days too, 500 days of hours not.
    let from = "started_after=2024-01-01T00:00:00Z";
    let many = volume(&format!("{from}&started_before=2025-02-04T00:00:00Z")).await;
    assert_eq!(many["data"].as_array().map(Vec::len), Some(9_600));
    let far = format!("{from}&started_before=2025-05-15T00:00:00Z");
    let days = volume(&format!("interval=day&{far}")).await;
    assert_eq!(days["data"].as_array().map(Vec::len), Some(500));
    for query in [
        far.as_str(),
        "interval=day&started_after=1970-01-01T00:00:00Z&started_before=9999-12-31T23:59:59Z",
    ] {
        let path = format!("/api/v1/analytics/call-volume?{query}");
        let faults = reader
            .get(&path)
            .await
            .problem(400, "invalid-request")
            .faults();
        assert!(
            faults[0].starts_with("interval makes ") && faults[0].contains("at most 10000"),
            "{faults:?}"
        );
    }
}

#[tokio::test]
async fn a_call_whose_end_nobody_told_is_in_no_average() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let mut unknown = call("b", "2025-06-02T00:00:00Z", "missed", 0);
    unknown["session"]["endedAt"] = Value::Null;
    unknown["turns"] = json!([]);
    let body = json!({ "calls": [call("a", "2025-06-02T00:00:00Z", "completed", 100), unknown] });
    let ingestor = acme.ingestor().await;
    ingestor.post("/v1/ingest/calls", &body).await.status(200);
    let reader = acme.reader().await;
    let shown = async |id: &str| {
        let path = format!("/api/v1/voice-sessions/{id}");
        reader.get(&path).await.status(200).json()
    };
    let (known, shown) = (shown("a").await, shown("b").await);
    let told = ["status", "ended_at", "duration_seconds"].map(|name| shown[name].clone());
    assert_eq!(told, [json!("missed"), Value::Null, Value::Null]);
    let range = "started_after=2025-06-01T00:00:00Z&started_before=2025-06-03T00:00:00Z";
    let summary = reader
        .get(&format!("/api/v1/analytics/summary?{range}"))
        .await
        .status(200)
        .json();
    assert_eq!(summary["total_calls"], 2);
    assert!(known["duration_seconds"].as_f64() > Some(0.0));
    assert_eq!(summary["avg_duration_seconds"], known["duration_seconds"]);
}

#[tokio::test]
async fn a_renamed_workflow_has_its_newest_name_and_the_limit_holds() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let named = |id: &str, at: &str, workflow: Value| {
        let mut call = call(id, &format!("2025-06-11T{at}:00Z"), "completed", 100);
        call["session"]["workflow"] = workflow;
        call
    };
    let calls = [
        named(
            "a",
            "08:10",
            json!({"id": "w", "name": "Zebra", "slug": "zebra"}),
        ),
        named("b", "08:50", json!({"id": "w", "name": "Aardvark"})),
        named("c", "08:20", json!({"id": "w"})),
        named("d", "08:30", json!({"name": "Lonely"})),
        named("e", "08:30", Value::Null),
    ];
    let body = json!({ "calls": calls });
    let ingestor = acme.ingestor().await;
    ingestor.post("/v1/ingest/calls", &body).await.status(200);
    let reader = acme.reader().await.header("cache-control", "no-cache");
    let names = |answer: &Value| -> Vec<Value> {
        let items = answer.as_array().expect("items").iter();
        items
            .map(|item| {
                json!([
                    item["workflow_id"],
                    item["workflow_name"],
                    item["workflow_slug"],
                    item["total_calls"]
                ])
            })
            .collect()
    };
    // From the calls, then from their sums.
    for _ in 0..2 {
        let path = "/api/v1/analytics/workflow-stats";
        let all = reader.get(path).await.status(200).json();
        let expected = [
            json!(["w", "Aardvark", "zebra", 3]),
            json!([null, "Lonely", null, 1]),
        ];
        assert_eq!(names(&all), expected);
        let first = reader.get(&format!("{path}?limit=1")).await.status(200);
        assert_eq!(names(&first.json()), expected[..1]);
        // Of the calls in the range.
        let early = reader
            .get(&format!("{path}?started_before=2025-06-11T08:25:00Z"))
            .await;
        assert_eq!(names(&early.json()), [json!(["w", "Zebra", "zebra", 2])]);
        drain(&server.app.store, server.clock.now()).await;
    }
    for limit in ["0", "51"] {
        let path = format!("/api/v1/analytics/workflow-stats?limit={limit}");
        reader.get(&path).await.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn providers_are_told_apart_and_the_nameless_come_last() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let mut nameless = call("a", "2025-06-11T08:00:00Z", "completed", 50);
    nameless["session"]["providers"] = Value::Null;
    let mut other = call("b", "2025-06-11T08:00:00Z", "completed", 100);
    other["turns"][1]["providers"] = json!({"llm": "groq"});
    let calls = [
        nameless,
        other,
        call("c", "2025-06-11T09:00:00Z", "completed", 200),
    ];
    let body = json!({ "calls": calls });
    let ingestor = acme.ingestor().await;
    ingestor.post("/v1/ingest/calls", &body).await.status(200);
    let answer = acme
        .reader()
        .await
        .get("/api/v1/analytics/provider-latency")
        .await;
    let found: Vec<Value> = answer
        .status(200)
        .json()
        .as_array()
        .expect("items")
        .iter()
        .map(|item| {
            json!([
                item["provider_type"],
                item["provider_name"],
                item["avg_latency_ms"],
                item["call_count"],
                item["measurements"]
            ])
        })
        .collect();
    assert_eq!(
        json!(found),
        json!([
            ["stt", "deepgram", 150.0, 2, 2],
            ["stt", null, 50.0, 1, 1],
            ["llm", "groq", 200.0, 1, 1],
            ["llm", "openai", 400.0, 1, 1],
            ["llm", null, 100.0, 1, 1],
            ["tts", "cartesia", 150.0, 2, 2],
            ["tts", null, 50.0, 1, 1]
        ])
    );
}

#[tokio::test]
async fn wrong_ranges_are_told() {
    let server = TestServer::start().await;
    let reader = server.tenant("acme").await.reader().await;
    for endpoint in ENDPOINTS {
        for (query, fault) in [
            ("period=2h", "period must be one of"),
            (
                "started_after=2025-06-11T12:00:00Z",
                "started_after must be before",
            ),
            (
                "started_before=1969-12-31T00:00:00Z",
                "started_before must not be before 1970",
            ),
            ("channel=fax", "channel must be one of"),
            ("workflow=", "workflow must not be empty"),
            (
                "wrkflow=x",
                "wrkflow is no parameter here; the nearest is `workflow`",
            ),
        ] {
            let path = format!("/api/v1/analytics/{endpoint}?{query}");
            let answer = reader.get(&path).await.problem(400, "invalid-request");
            let faults = answer.faults();
            assert!(
                faults.iter().any(|told| told.starts_with(fault)),
                "{path}: {faults:?}"
            );
        }
    }
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

#[tokio::test]
async fn totals_of_lists_are_exact_whatever_is_rolled_up() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let statuses = ["completed", "failed", "declined", "missed", "active"];
    let call = |n: usize, status: &str| {
        let channel = if n.is_multiple_of(2) {
            "inbound"
        } else {
            "web"
        };
        json!({ "session": {
            "sessionId": format!("c{n}"), "agentId": format!("a{}", n % 3), "status": status,
            "channel": channel, "campaign": format!("p{}", n % 4),
            "workflow": { "slug": format!("w{}", n % 2) },
            "startedAt": format!("2025-06-{:02}T{:02}:30:00Z", 1 + n % 9, n % 24),
        }})
    };
    let filters = [
        "",
        "status=completed",
        "status=active",
        "status=missed&agent_key=a1",
        "agent_key=a2",
        "started_after=2025-06-02T03:10:00Z&started_before=2025-06-07T20:45:00Z",
        "started_before=2025-06-05T00:00:00Z&status=failed",
        "agent_key=a0&started_after=2025-06-03T00:00:00Z",
    ];
    let reader = acme.reader().await;
    for round in 0..3 {
        for n in round * 20..(round + 1) * 20 {
            let sent = call(n, statuses[n % statuses.len()]);
            ingestor.post("/v1/ingest/calls", &sent).await.status(200);
        }
        // One that is known gets another state, in an hour that is rolled up by now.
        let changed = call(round, "failed");
        ingestor
            .post("/v1/ingest/calls", &changed)
            .await
            .status(200);
        for filter in filters {
            let path = format!("/api/v1/voice-sessions?limit=200&{filter}");
            let list = reader.get(&path).await.status(200).json();
            let shown = list["data"].as_array().map(Vec::len);
            assert_eq!(list["total"], json!(shown), "round {round}: {filter}");
        }
        drain(&server.app.store, server.clock.now()).await;
    }
}
