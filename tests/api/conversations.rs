//! The conversations dialect: its items, its filters, and the states that a call went through.

use serde_json::{Value, json};

use crate::support::{Client, TestServer};

const PATH: &str = "/api/v1/conversations";

fn full() -> Value {
    json!({
        "session": {
            "sessionId": "01890a5d-7c3e-7b9a-8c1d-2e3f40516273", "agentId": "agent_xyz", "channel": "outbound", "campaign": "spring",
            "workflow": {"slug": "booking", "name": "Table booking"}, "startedAt": "2025-06-11T10:00:00Z",
            "answeredAt": "2025-06-11T10:00:04Z", "endedAt": "2025-06-11T10:05:30.500Z", "status": "completed", "tags": ["vip"],
            "costUsd": 0.184, "summary": "Booked.", "extracted": {"seats": 2}, "metadata": {"branch": "north"}
        },
        "turns": [
            {"speaker": "agent", "text": "Hello!", "startMs": 0, "endMs": 1200},
            {"speaker": "user", "text": "A table for two", "startMs": 1000, "endMs": 3000}
        ],
        "toolCalls": [{"callId": "t1", "turn": 1, "name": "find_table", "arguments": {"seats": 2}, "result": {"free": true}, "startMs": 3100, "endMs": 3200}],
        "interruptions": [{"turn": 0, "atMs": 1000, "detectionMs": 120, "stopMs": 200, "bleedThroughWords": 1, "isFalse": false}],
        "errors": [{"service": "tts", "level": "warning", "code": "slow", "message": "came late", "turn": 1}],
        "evaluations": [{"reviewer": "ana", "score": 0.9, "verdict": "pass", "notes": "good"}]
    })
}

async fn ids(client: &Client, query: &str) -> Vec<String> {
    let body = client
        .get(&format!("{PATH}?{query}"))
        .await
        .status(200)
        .json();
    let items = body["data"].as_array().expect("a list").clone();
    items
        .iter()
        .map(|item| item["agent_key"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn a_conversation_has_all_its_fields() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    acme.ingestor()
        .await
        .post("/v1/ingest/calls", &full())
        .await
        .status(200);
    server.analysed().await;
    let reader = acme.transcripts().await;
    let list = reader.get(PATH).await.status(200).json();
    let item = json!({
        "id": "01890a5d-7c3e-7b9a-8c1d-2e3f40516273", "status": "completed", "type": "outbound", "direction": "outbound",
        "agent_key": "agent_xyz", "campaign": "spring", "workflow": {"id": null, "slug": "booking", "name": "Table booking"},
        "started_at": "2025-06-11T10:00:00Z", "answered_at": "2025-06-11T10:00:04Z", "ended_at": "2025-06-11T10:05:30.500Z",
        "duration_seconds": 326.5, "cost_usd": 0.184, "turns": 2, "tags": ["vip"], "reviewed": true, "has_recording": false,
        // The caller is never answered.
        "has_issues": true
    });
    assert_eq!(
        list,
        json!({"data": [item], "next_cursor": null, "has_more": false})
    );

    let detail = reader
        .get(&format!("{PATH}/sess_01890a5d7c3e7b9a8c1d2e3f40516273"))
        .await
        .status(200)
        .json();
    for (name, value) in item.as_object().expect("an item") {
        assert_eq!(&detail[name], value, "{name}");
    }
    assert_eq!(detail["summary"], "Booked.");
    assert_eq!(
        (&detail["extracted"], &detail["metadata"]),
        (&json!({"seats": 2}), &json!({"branch": "north"}))
    );
    assert_eq!(
        detail["transcript"][1],
        json!({"index": 1, "speaker": "user", "text": "A table for two", "start_ms": 1000, "end_ms": 3000})
    );
    assert_eq!(
        (
            &detail["tool_calls"][0]["status"],
            &detail["tool_calls"][0]["result"]
        ),
        (&json!("ok"), &json!({"free": true}))
    );
    assert_eq!(
        (
            &detail["interruptions"][0]["stop_ms"],
            &detail["interruptions"][0]["is_false"]
        ),
        (&json!(200.0), &json!(false))
    );
    assert_eq!(
        (
            &detail["errors"][0]["message"],
            &detail["errors"][0]["agent"]
        ),
        (&json!("came late"), &json!("agent_xyz"))
    );
    assert_eq!(detail["evaluations"][0]["notes"], "good");
    assert_eq!(detail.get("content_withheld"), None);

    let withheld = acme
        .reader()
        .await
        .get(&format!("{PATH}/01890a5d-7c3e-7b9a-8c1d-2e3f40516273"))
        .await
        .status(200)
        .json();
    assert_eq!(withheld["content_withheld"], true);
    assert_eq!(
        (&withheld["summary"], &withheld["transcript"][1]["text"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(withheld["errors"][0]["message"], "slow");
    assert_eq!(withheld["status_history"], detail["status_history"]);
    acme.reader()
        .await
        .get(&format!("{PATH}/nobody"))
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn its_states_are_told_in_order() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let state = |at: &str, status: &str| json!({"type": "session", "sessionId": "s", "at": at, "status": status});
    // The last word comes first.
    let events = json!({"events": [
        {"type": "session", "sessionId": "s", "at": "2025-06-11T10:05:00Z", "status": "completed", "endedAt": "2025-06-11T10:04:59Z"},
        state("2025-06-11T10:00:09Z", "ringing"),
        state("2025-06-11T10:00:00Z", "queued"),
        state("2025-06-11T10:00:07Z", "ringing"),
        {"type": "session", "sessionId": "s", "at": "2025-06-11T10:00:20Z", "answeredAt": "2025-06-11T10:00:12Z"},
        state("2025-06-11T10:06:00Z", "active"),
    ]});
    acme.ingestor()
        .await
        .post("/v1/ingest/events", &events)
        .await
        .status(200);
    let detail = acme
        .reader()
        .await
        .get(&format!("{PATH}/s"))
        .await
        .status(200)
        .json();
    assert_eq!(
        detail["status_history"],
        json!([
            {"status": "queued", "at": "2025-06-11T10:00:00Z", "source": "event"},
            {"status": "ringing", "at": "2025-06-11T10:00:07Z", "source": "event"},
            {"status": "active", "at": "2025-06-11T10:00:12Z", "source": null},
            {"status": "completed", "at": "2025-06-11T10:04:59Z", "source": "event"},
        ])
    );
}

#[tokio::test]
async fn filters_find_their_calls() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let call = |agent: &str, started_at: &str, more: Value| {
        let mut session = json!({"sessionId": agent, "agentId": agent, "startedAt": started_at});
        session
            .as_object_mut()
            .expect("fields")
            .extend(more.as_object().expect("fields").clone());
        json!({"session": session, "turns": [
            {"speaker": "user", "text": format!("this is {agent}"), "startMs": 0, "endMs": 1000},
            {"speaker": "agent", "startMs": 1500 + if agent == "old" { 3000 } else { 0 }, "endMs": 6000}
        ]})
    };
    let mut reviewed = call(
        "web",
        "2025-06-11T08:00:00Z",
        json!({"channel": "web", "status": "failed", "tags": ["vip"]}),
    );
    reviewed["evaluations"] = json!([{"score": 1.0}]);
    let calls = json!({"calls": [
        call("old", "2025-05-20T10:00:00Z", json!({"channel": "inbound", "status": "completed", "campaign": "spring"})),
        call("june", "2025-06-02T10:00:00Z", json!({"channel": "inbound", "status": "missed", "workflow": {"slug": "booking", "id": "w-1"}})),
        call("yesterday", "2025-06-10T13:00:00Z", json!({"channel": "outbound", "status": "declined"})),
        reviewed,
    ]});
    acme.ingestor()
        .await
        .post("/v1/ingest/calls", &calls)
        .await
        .status(200);
    let reader = acme.transcripts().await;
    for (query, expected) in [
        ("", vec!["web", "yesterday", "june", "old"]),
        ("type=inbound", vec!["june", "old"]),
        ("status=declined", vec!["yesterday"]),
        ("status=reviewed", vec!["web"]),
        ("campaign=spring", vec!["old"]),
        ("agent_key=june", vec!["june"]),
        ("workflow=booking", vec!["june"]),
        ("workflow=w-1", vec!["june"]),
        ("tag=vip", vec!["web"]),
        ("tag=vip&type=inbound", vec![]),
        ("q=THIS+yesterday", vec!["yesterday"]),
        ("min_latency_ms=501", vec!["old"]),
        ("min_latency_ms=500&type=inbound", vec!["june", "old"]),
        (
            "started_after=2025-06-02T10:00:00Z&started_before=2025-06-11T08:00:00Z",
            vec!["yesterday", "june"],
        ),
        ("range=last_24_hours", vec!["web", "yesterday"]),
        ("range=last_7_days", vec!["web", "yesterday"]),
        (
            "range=last_30_days",
            vec!["web", "yesterday", "june", "old"],
        ),
        ("range=today", vec!["web"]),
        ("range=this_month", vec!["web", "yesterday", "june"]),
    ] {
        assert_eq!(ids(&reader, query).await, expected, "{query}");
    }
    let web = reader
        .get(&format!("{PATH}?type=web"))
        .await
        .status(200)
        .json();
    assert_eq!(
        (&web["data"][0]["type"], &web["data"][0]["direction"]),
        (&json!("web"), &json!(null))
    );
    for (query, fault) in [
        ("type=fax", "type must be one of"),
        ("status=done", "status must be one of"),
        ("range=ever", "range must be one of"),
        (
            "range=today&started_after=2025-06-02T10:00:00Z",
            "range goes without",
        ),
        ("min_latency_ms=0", "min_latency_ms must be between 1 and"),
        (
            "started_after=2025-06-02T10:00:00Z&started_before=2025-06-02T10:00:00Z",
            "started_after must be before",
        ),
    ] {
        let faults = reader
            .get(&format!("{PATH}?{query}"))
            .await
            .problem(400, "invalid-request")
            .faults();
        assert!(
            faults.len() == 1 && faults[0].starts_with(fault),
            "{query}: {faults:?}"
        );
    }
}

#[tokio::test]
async fn a_named_range_ends_now() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let call =
        |id: &str, at: &str| json!({"session": {"sessionId": id, "agentId": id, "startedAt": at}});
    let calls = [
        call("in-past", "2025-06-11T11:59:59Z"),
        call("in-future", "2025-06-11T13:00:00Z"),
    ];
    acme.ingestor()
        .await
        .post("/v1/ingest/calls", &json!({ "calls": calls }))
        .await
        .status(200);
    let reader = acme.reader().await;
    let page = async |path: &str| reader.get(path).await.status(200).text();
    for range in [
        "last_24_hours",
        "last_7_days",
        "last_30_days",
        "today",
        "this_month",
    ] {
        assert_eq!(
            ids(&reader, &format!("range={range}")).await,
            ["in-past"],
            "{range}"
        );
        let console = page(&format!("/console?range={range}")).await;
        assert!(
            console.contains("in-past") && !console.contains("in-future"),
            "{range}"
        );
    }
    assert_eq!(ids(&reader, "").await, ["in-future", "in-past"]);
}

#[tokio::test]
async fn interruptions_are_told_to_a_tenth_of_a_millisecond() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let call = json!({
        "session": {"sessionId": "s", "startedAt": "2025-06-11T10:00:00Z"},
        "turns": [{"speaker": "agent", "text": "Hello", "startMs": 0, "endMs": 2000, "interrupted": true}],
        "interruptions": [{"id": "i", "turn": 0, "atMs": 1000, "detectionMs": 100.26, "stopMs": 210.96}]
    });
    acme.ingestor()
        .await
        .post("/v1/ingest/calls", &call)
        .await
        .status(200);
    let reader = acme.reader().await;
    let detail = reader.get(&format!("{PATH}/s")).await.status(200).json();
    let told = &detail["interruptions"][0];
    assert_eq!(
        (&told["detection_ms"], &told["stop_ms"]),
        (&json!(100.3), &json!(211.0))
    );
    let whole = reader
        .get("/v1/observability/sessions/s")
        .await
        .status(200)
        .json();
    assert_eq!(whole["interruptions"][0]["detectionMs"], 100);
}

#[tokio::test]
async fn a_cursor_goes_with_the_name_of_a_range() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let calls: Vec<Value> = (10..13)
        .map(|hour| json!({"session": {"sessionId": format!("s{hour}"), "startedAt": format!("2025-06-10T{hour}:00:00Z")}}))
        .collect();
    acme.ingestor()
        .await
        .post("/v1/ingest/calls", &json!({ "calls": calls }))
        .await
        .status(200);
    let reader = acme.reader().await;
    let first = reader
        .get(&format!("{PATH}?range=last_7_days&limit=1"))
        .await
        .status(200);
    let cursor = first.json()["next_cursor"]
        .as_str()
        .expect("a cursor")
        .to_owned();
    server.clock.advance(chrono::TimeDelta::hours(1));
    let second = reader
        .get(&format!("{PATH}?range=last_7_days&limit=1&cursor={cursor}"))
        .await
        .status(200)
        .json();
    assert_eq!(second["data"][0]["started_at"], "2025-06-10T11:00:00Z");
    let other = reader
        .get(&format!("{PATH}?range=last_30_days&cursor={cursor}"))
        .await;
    assert!(other.problem(400, "invalid-request").faults()[0].contains("other filters"));
}
