//! The doors of Langfuse's SDKs, as the SDKs use them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Client, TestServer};

const ALL: &str = "sessions:read,transcripts:read,ingest:write,reviews:write,admin";
const EVENTS: &str = "/api/public/ingestion";
const SCORES: &str = "/api/public/scores";

fn event(id: &str, sort: &str, second: u32, body: Value) -> Value {
    let timestamp = format!("2025-06-11T10:00:{second:02}Z");
    json!({"id": id, "type": sort, "timestamp": timestamp, "body": body})
}

fn batch(events: &[Value]) -> Value {
    json!({"batch": events, "metadata": {"sdk_name": "python", "sdk_version": "2.60.0"}})
}

/// A call of one trace, as the SDKs before version 3 tell of it.
fn call() -> Vec<Value> {
    let at = |second: u32, ms: u32| format!("2025-06-11T10:00:{second:02}.{ms:03}Z");
    vec![
        event(
            "e1",
            "trace-create",
            0,
            json!({
                "id": "trace-1", "name": "voice-turn", "sessionId": "call-42", "userId": "u1", "timestamp": at(0, 0),
                "tags": ["vip"], "metadata": {"agent": "harbor"}, "input": "Where is it?"
            }),
        ),
        event(
            "e2",
            "span-create",
            0,
            json!({
                "id": "stt-1", "traceId": "trace-1", "name": "stt", "startTime": at(0, 0), "endTime": at(0, 100),
                "output": {"transcript": "Where is it?"}, "metadata": {"provider": "deepgram", "model": "nova-3"}
            }),
        ),
        event(
            "e3",
            "generation-create",
            1,
            json!({
                "id": "llm-1", "traceId": "trace-1", "name": "llm", "startTime": at(1, 0), "model": "gpt-4o-mini-2024-07-18",
                "modelParameters": {"temperature": 0.5}, "input": [{"role": "user", "content": "Where is it?"}]
            }),
        ),
        event(
            "e4",
            "generation-update",
            2,
            json!({
                "id": "llm-1", "traceId": "trace-1", "endTime": at(1, 500), "completionStartTime": at(1, 250),
                "output": {"role": "assistant", "content": "On its way."},
                "usage": {"promptTokens": 1000, "completionTokens": 100, "totalTokens": 1100}
            }),
        ),
        event(
            "e5",
            "tool-create",
            1,
            json!({
                "id": "tool-1", "traceId": "trace-1", "name": "lookup", "startTime": at(0, 500), "endTime": at(0, 900),
                "input": {"id": 7}, "output": {"found": true}
            }),
        ),
        event(
            "e6",
            "trace-create",
            3,
            json!({"id": "trace-1", "output": "On its way."}),
        ),
        event(
            "e7",
            "score-create",
            4,
            json!({
                "id": "score-1", "traceId": "trace-1", "name": "helpfulness", "value": 0.8, "comment": "good"
            }),
        ),
        event("e8", "sdk-log", 5, json!({"log": "shutting down"})),
    ]
}

async fn seen(client: &Client) -> Value {
    let session = client
        .get("/v1/observability/sessions/call-42")
        .await
        .status(200)
        .json();
    let trace = client
        .get("/v1/traces/session/call-42/trace-1")
        .await
        .status(200)
        .json();
    let list = client
        .get("/v1/traces/session/call-42")
        .await
        .status(200)
        .json();
    let voice = client
        .get("/api/v1/voice-sessions/call-42")
        .await
        .status(200)
        .json();
    json!({"session": session, "trace": trace, "list": list, "evaluations": voice["evaluations"], "voice": voice})
}

#[tokio::test]
async fn a_batch_is_a_session_with_its_turns_trace_and_scores() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let answer = client
        .post(EVENTS, &batch(&call()))
        .await
        .status(207)
        .json();
    let ids: Vec<&Value> = answer["successes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["id"])
        .collect();
    assert_eq!(ids, ["e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8"]);
    assert_eq!(answer["errors"], json!([]));

    let seen = seen(&client).await;
    let session = &seen["session"];
    assert_eq!(session["agentId"], "harbor");
    assert_eq!(session["tags"], json!(["vip"]));
    let turns = session["turns"].as_array().unwrap();
    let said: Vec<&Value> = turns.iter().map(|turn| &turn["text"]).collect();
    assert_eq!(said, ["Where is it?", "On its way."]);
    assert_eq!(turns[1]["llmMs"], 250);
    assert_eq!(session["usage"]["promptTokens"], 1000);
    assert_eq!(turns[1]["toolCalls"][0]["result"], json!({"found": true}));

    let trace = &seen["trace"]["trace"];
    assert_eq!(trace["name"], "voice-turn");
    assert_eq!(trace["observationCount"], 3);
    assert_eq!(trace["timestamp"], "2025-06-11T10:00:00Z");
    let observations = trace["observations"].as_array().unwrap();
    let names: Vec<&Value> = observations.iter().map(|o| &o["id"]).collect();
    assert_eq!(names, ["stt-1", "tool-1", "llm-1"]);
    let generation = &observations[2];
    assert_eq!(generation["type"], "generation");
    assert_eq!(generation["model"], "gpt-4o-mini-2024-07-18");
    assert_eq!(
        generation["completionStartTime"],
        "2025-06-11T10:00:01.250Z"
    );
    assert_eq!(generation["output"]["content"], "On its way.");
    assert_eq!(
        generation["usageDetails"],
        json!({"input": 1000, "output": 100, "total": 1100})
    );
    assert_eq!(generation["modelParameters"], json!({"temperature": 0.5}));

    assert_eq!(generation["costDetails"], json!({"total": 0.00021}));
    assert_eq!(generation["costEstimated"], true);
    for listed in [trace, &seen["list"]["traces"][0]] {
        assert_eq!(
            (&listed["totalCostUsd"], &listed["costEstimated"]),
            (&json!(0.00021), &json!(true))
        );
    }

    let score = &trace["scores"][0];
    assert_eq!(
        (&score["id"], &score["value"]),
        (&json!("score-1"), &json!(0.8))
    );
    assert_eq!(
        (&score["name"], &score["comment"]),
        (&json!("helpfulness"), &json!("good"))
    );

    let evaluation = &seen["evaluations"][0];
    assert_eq!(evaluation["score"], 0.8);
    assert_eq!(evaluation["notes"], "good");
    assert_eq!(evaluation["labels"], json!(["helpfulness"]));

    // 1,000 tokens read at 0.15 and 100 written at 0.60 a million; nobody says how long the transcriber heard.
    assert_eq!(session["cost"]["totalUsd"], 0.00021);
    assert_eq!(session["cost"]["estimated"], true);
    assert_eq!(session["cost"]["costIncomplete"], true);
    let unpriced = &session["cost"]["unpriced"][0];
    assert_eq!(
        (&unpriced["service"], &unpriced["reason"]),
        (&json!("stt"), &json!("no_usage"))
    );
    assert_eq!(seen["voice"]["cost_usd"], 0.00021);
    assert_eq!(seen["voice"]["cost_incomplete"], true);
}

#[tokio::test]
async fn the_order_the_split_and_repetitions_change_nothing() {
    let server = TestServer::start().await;
    let straight = server.tenant("straight").await.client(ALL).await;
    straight.post(EVENTS, &batch(&call())).await.status(207);
    let mut expected = seen(&straight).await;

    let reversed = server.tenant("reversed").await.client(ALL).await;
    for event in call().iter().rev() {
        reversed
            .post(EVENTS, &batch(std::slice::from_ref(event)))
            .await
            .status(207);
    }
    reversed.post(EVENTS, &batch(&call())).await.status(207);
    let mut found = seen(&reversed).await;

    // Each tenant has its own ids.
    for seen in [&mut expected, &mut found] {
        for place in [
            "/session/id",
            "/trace/trace/sessionId",
            "/list/traces/0/sessionId",
            "/voice/id",
        ] {
            *seen.pointer_mut(place).expect(place) = Value::Null;
        }
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_event_s_fault_is_its_own() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let far = json!({"id": "far", "traceId": "trace-1", "startTime": "2030-01-01T00:00:00Z"});
    let mut events = vec![
        json!(5),
        json!({"type": "trace-create", "body": {}}),
        json!({"id": "no-body", "type": "trace-create", "timestamp": "2025-06-11T10:00:00Z"}),
        json!({"id": "no-time", "type": "trace-create", "timestamp": "yesterday", "body": {}}),
        event("unknown", "trace-delete", 0, json!({"id": "x"})),
        event("orphan", "span-update", 0, json!({"id": "nobody"})),
        event("far", "span-create", 0, far),
        event(
            "bad-score",
            "score-create",
            0,
            json!({"traceId": "trace-1", "name": "x", "value": 2, "dataType": "BOOLEAN"}),
        ),
        event(
            "homeless",
            "score-create",
            0,
            json!({"name": "x", "value": 1}),
        ),
        event(
            "nul",
            "span-create",
            0,
            json!({"id": "n", "traceId": "trace-1", "input": "a\u{0}b"}),
        ),
    ];
    events.extend(call());
    let answer = client
        .post(EVENTS, &batch(&events))
        .await
        .status(207)
        .json();
    let errors = answer["errors"].as_array().unwrap();
    let told: Vec<&str> = errors.iter().map(|e| e["id"].as_str().unwrap()).collect();
    assert_eq!(
        told,
        [
            "0",
            "1",
            "no-body",
            "no-time",
            "unknown",
            "orphan",
            "far",
            "bad-score",
            "homeless"
        ]
    );
    let far = errors.iter().find(|e| e["id"] == "far").unwrap();
    let message = far["message"].as_str().unwrap();
    assert!(message.contains("body.startTime "), "{message}");
    assert_eq!(answer["successes"].as_array().unwrap().len(), 9);
    let trace = client
        .get("/v1/traces/session/call-42/trace-1")
        .await
        .status(200)
        .json();
    let odd = trace["trace"]["observations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|o| o["id"] == "n")
        .cloned();
    assert_eq!(odd.unwrap()["input"], "a\u{fffd}b");
}

/// Python's SDK writes a number without an end as it prints it, which is no JSON.
#[tokio::test]
async fn a_number_without_an_end_sinks_no_batch() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let odd =
        json!({"id": "n", "traceId": "trace-1", "metadata": {"logprob": "ENDLESS", "top": 3}});
    let mut events = call();
    events.push(event("odd", "span-create", 0, odd));
    let body = batch(&events).to_string();
    let body = body.replace("\"ENDLESS\"", "-Infinity");
    let answer = client
        .send(Method::POST, EVENTS, |request| {
            request
                .header("content-type", "application/json")
                .body(body)
        })
        .await;
    let answer = answer.status(207).json();
    assert_eq!(answer["errors"], json!([]));
    let found = seen(&client).await["trace"]["trace"]["observations"].take();
    let odd = found.as_array().unwrap().iter().find(|o| o["id"] == "n");
    assert_eq!(odd.unwrap()["metadata"]["top"], 3);
}

#[tokio::test]
async fn a_request_that_is_no_batch_is_refused() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    client
        .post(EVENTS, &json!({"events": []}))
        .await
        .problem(400, "invalid-request");
    let typed = |kind: &str| client.header("content-type", kind);
    typed("application/json")
        .post_bytes(EVENTS, "{\"batch\": [")
        .await
        .problem(400, "invalid-request");
    typed("text/plain")
        .post_bytes(EVENTS, "{}")
        .await
        .problem(415, "unsupported-media-type");
    let many: Vec<Value> = (0..5001).map(|_| json!({})).collect();
    client
        .post(EVENTS, &batch(&many))
        .await
        .problem(413, "too-large");
    let reader = server.tenant("other").await.client("sessions:read").await;
    reader
        .post(EVENTS, &batch(&call()))
        .await
        .problem(403, "missing-scope");
}

#[tokio::test]
async fn scores_come_alone_and_in_lists() {
    let server = TestServer::start().await;
    let client = server.tenant("acme").await.client(ALL).await;
    client.post(EVENTS, &batch(&call())).await.status(207);
    let list = json!([
        {"id": "s1", "traceId": "trace-1", "observationId": "llm-1", "name": "policy", "value": 1.0, "dataType": "BOOLEAN",
         "timestamp": "2025-06-11T10:01:00Z"},
        {"id": "s2", "sessionId": "call-42", "name": "outcome", "value": "resolved", "dataType": "CATEGORICAL",
         "timestamp": "2025-06-11T10:02:00Z"},
        {"id": "s3", "traceId": "trace-1", "name": "stars", "value": 4, "timestamp": "2025-06-11T10:03:00Z"},
    ]);
    let accepted = client.post(SCORES, &list).await.status(202).json();
    assert_eq!(accepted, json!({"message": "Accepted"}));
    client.post(SCORES, &list).await.status(202);
    let one = json!({"id": "s4", "traceId": "trace-1", "name": "tone", "value": 0.5, "timestamp": "2025-06-11T10:04:00Z"});
    assert_eq!(
        client.post(SCORES, &one).await.status(200).json(),
        json!({"id": "s4"})
    );
    let mixed = json!([one, {"name": "homeless", "value": 1}, 7]);
    let answer = client.post(SCORES, &mixed).await.status(207).json();
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(1), &json!(2))
    );
    client
        .post(SCORES, &json!({"name": "homeless", "value": 1}))
        .await
        .problem(400, "invalid-request");
    client
        .post(SCORES, &json!("text"))
        .await
        .problem(400, "invalid-request");

    let voice = client
        .get("/api/v1/voice-sessions/call-42")
        .await
        .status(200)
        .json();
    let evaluations = voice["evaluations"].as_array().unwrap();
    let find = |label: &str| {
        let has = |e: &&Value| e["labels"][0] == label;
        evaluations.iter().find(has).cloned().unwrap_or_default()
    };
    assert_eq!(evaluations.len(), 5);
    assert_eq!(find("policy")["verdict"], "pass");
    assert_eq!(find("policy")["score"], Value::Null);
    assert_eq!(find("outcome")["labels"], json!(["outcome", "resolved"]));
    assert_eq!(find("stars")["score"], Value::Null);
    assert_eq!(find("stars")["notes"], "stars: 4");
    assert_eq!(find("tone")["score"], 0.5);
}

#[tokio::test]
async fn an_sdk_finds_what_it_asks_for() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let health = server
        .anonymous()
        .get("/api/public/health")
        .await
        .status(200)
        .json();
    assert_eq!(health["status"], "OK");
    server
        .anonymous()
        .get("/api/public/projects")
        .await
        .problem(401, "unauthenticated");
    let projects = acme
        .client("ingest:write")
        .await
        .get("/api/public/projects")
        .await
        .status(200)
        .json();
    assert_eq!(projects["data"].as_array().unwrap().len(), 1);
    // What is not served is not there, which SDKs take for an answer.
    let client = acme.client(ALL).await;
    client
        .get("/api/public/v2/prompts/greeting")
        .await
        .problem(404, "not-found");
    client
        .post("/api/public/media", &json!({}))
        .await
        .problem(404, "not-found");
}

/// Whoever may not see what was said is shown names and numbers, not words.
#[tokio::test]
async fn words_of_scores_are_withheld() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let client = acme.client(ALL).await;
    client.post(EVENTS, &batch(&call())).await.status(207);
    let said = "the guest swore twice";
    let list = json!([
        {"id": "s1", "traceId": "trace-1", "name": "outcome", "value": "resolved", "dataType": "CATEGORICAL"},
        {"id": "s2", "traceId": "trace-1", "name": "how it went", "value": said, "dataType": "CATEGORICAL"},
        {"id": "s3", "traceId": "trace-1", "name": "tone", "value": 0.5, "comment": said},
        {"id": "s4", "traceId": "trace-1", "name": "free", "value": said},
        {"id": "s5", "traceId": "trace-1", "name": "correction", "value": said, "dataType": "CORRECTION"},
    ]);
    client.post(SCORES, &list).await.status(202);
    let reader = acme.reader().await;
    for path in [
        "/api/v1/voice-sessions/call-42",
        "/api/v1/voice-sessions/call-42/evaluations",
        "/v1/observability/sessions/call-42",
        "/v1/traces/session/call-42/trace-1",
    ] {
        let told = reader.get(path).await.status(200).text();
        assert!(!told.contains(said), "{path}: {told}");
        let whole = client.get(path).await.status(200).text();
        if path.contains("evaluations") || path.contains("traces") {
            assert!(whole.contains(said), "{path}: {whole}");
            for name in ["outcome", "resolved", "how it went", "0.5"] {
                assert!(told.contains(name), "{path}: {name}: {told}");
            }
        }
    }
}

/// What was said in a call whose trace has an input and an output, with these spans beside its generation and speech:
/// each turn's text, how long the answer took, and which turn was interrupted.
async fn side_by_side(server: &TestServer, name: &str, spans: &[Value]) -> Value {
    let client = server.tenant(name).await.client(ALL).await;
    let at = |ms: u32| format!("2025-06-11T10:00:{:02}.{:03}Z", ms / 1000, ms % 1000);
    let trace = json!({
        "id": "trace-1", "sessionId": "call-42", "timestamp": at(0), "metadata": {"interrupted": true},
        "input": "where is my order", "output": "It shipped yesterday"
    });
    let generation = json!({
        "id": "llm-1", "traceId": "trace-1", "name": "llm", "startTime": at(500), "endTime": at(1500),
        "completionStartTime": at(900), "model": "gpt-4o-mini", "output": "It shipped yesterday",
        "input": [{"role": "user", "content": "where is my order"}]
    });
    let speech = json!({
        "id": "tts-1", "traceId": "trace-1", "name": "tts", "startTime": at(1300), "endTime": at(2300),
        "input": "It shipped yesterday", "metadata": {"ttfb_ms": 200}
    });
    let mut events = vec![
        event("t", "trace-create", 0, trace),
        event("g", "generation-create", 1, generation),
        event("s", "span-create", 2, speech),
    ];
    for (place, span) in spans.iter().enumerate() {
        let id = format!("x{place}");
        let mut body =
            json!({"id": id, "traceId": "trace-1", "startTime": at(100), "endTime": at(200)});
        for (name, value) in span.as_object().expect("a body") {
            body[name] = value.clone();
        }
        events.push(event(&id, "span-create", 3, body));
    }
    client.post(EVENTS, &batch(&events)).await.status(207);
    let session = seen(&client).await["session"].take();
    let turns = session["turns"].as_array().expect("turns");
    let said: Value = turns.iter().map(|turn| turn["text"].clone()).collect();
    let interrupted: Value = turns
        .iter()
        .map(|turn| turn["interrupted"].clone())
        .collect();
    json!({"said": said, "latencyMs": turns[1]["latencyMs"], "interrupted": interrupted})
}

#[tokio::test]
async fn a_step_beside_a_generation_is_no_exchange() {
    let server = TestServer::start().await;
    let alone = side_by_side(&server, "alone", &[]).await;
    let said = json!(["where is my order", "It shipped yesterday"]);
    assert_eq!(
        alone,
        json!({"said": said, "latencyMs": 1500, "interrupted": [false, true]})
    );
    let vad = json!({"name": "vad"});
    let query = json!({"name": "retrieve-orders", "input": {"query": "order status"}, "output": {"text": "one"}});
    let guard = json!({"name": "guardrails", "input": "It shipped yesterday", "output": "ok"});
    for (name, spans) in [
        ("vad", vec![vad.clone()]),
        ("query", vec![query.clone()]),
        ("all", vec![vad, query, guard]),
    ] {
        assert_eq!(side_by_side(&server, name, &spans).await, alone, "{name}");
    }
}
