//! Traces: spans as sources send them, and what is told where nobody sent any.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::support::{Client, TestServer};

const SESSION: &str = "3fa85f64-5717-4562-b3fc-2c963f66afa6";

fn span(trace: &str, id: &str, from: &str, to: &str) -> Value {
    json!({"type": "span", "sessionId": SESSION, "traceId": trace, "spanId": id, "startedAt": from, "endedAt": to})
}

fn with(mut span: Value, members: Value) -> Value {
    let members = members.as_object().cloned().expect("members");
    span.as_object_mut().expect("a span").extend(members);
    span
}

/// An answer of an agent in four spans, as a source with its own vocabulary tells it.
fn answer() -> Vec<Value> {
    let (start, end) = ("2025-03-25T18:19:24.347Z", "2025-03-25T18:19:25.597Z");
    vec![
        with(
            span("trace-abc-123", "root", start, end),
            json!({"name": "voice-agent-response", "attributes": {"langfuse.observation.type": "agent", "langfuse.environment": "production"}}),
        ),
        with(
            span("trace-abc-123", "stt", start, "2025-03-25T18:19:24.500Z"),
            json!({"parentSpanId": "root", "name": "stt", "kind": "stt", "attributes": {"output.value": "Are you open?"}}),
        ),
        with(
            span(
                "trace-abc-123",
                "llm",
                "2025-03-25T18:19:24.500Z",
                "2025-03-25T18:19:25.300Z",
            ),
            json!({"parentSpanId": "root", "name": "llm", "attributes": {
                "langfuse.observation.type": "generation",
                "langfuse.observation.model.name": "gpt-4o-mini",
                "langfuse.observation.model.parameters": "{\"temperature\": 0.5, \"prompt\": \"Be kind.\"}",
                "langfuse.observation.input": "[{\"role\": \"user\", \"content\": \"Are you open?\"}]",
                "langfuse.observation.output": "Yes, until six.",
                "langfuse.observation.usage_details": "{\"input\": 90, \"output\": 10}",
                "langfuse.observation.cost_details": "{\"input\": 0.003, \"output\": 0.0004}",
                "langfuse.observation.completion_start_time": "\"2025-03-25T18:19:24.800Z\"",
                "langfuse.observation.metadata.carrier": "\"twilio\"",
                "own": {"thing": 1}
            }}),
        ),
        with(
            span(
                "trace-abc-123",
                "tool",
                "2025-03-25T18:19:24.600Z",
                "2025-03-25T18:19:24.700Z",
            ),
            json!({"parentSpanId": "llm", "name": "opening_hours", "status": {"code": 2, "message": "nobody there"},
                "attributes": {"openinference.span.kind": "TOOL"}}),
        ),
    ]
}

async fn send(ingestor: &Client, events: &[Value]) {
    let answer = ingestor
        .post("/v1/ingest/events", &json!({ "events": events }))
        .await
        .status(200)
        .json();
    assert_eq!(answer["rejected"], json!([]));
}

async fn list(client: &Client, query: &str) -> Value {
    client
        .get(&format!("/v1/traces/session/{SESSION}{query}"))
        .await
        .status(200)
        .json()
}

#[tokio::test]
async fn costs_have_six_decimals() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let at = "2025-03-25T17:00:00Z";
    let costs = r#"{"input": 0.0000002, "total": 0.0001602, "setup": 2}"#;
    let span = with(
        span("priced", "s", at, at),
        json!({"attributes": {"langfuse.observation.type": "generation", "langfuse.observation.cost_details": costs}}),
    );
    send(&acme.ingestor().await, &[span]).await;
    let path = format!("/v1/traces/session/{SESSION}/priced");
    let trace = acme.reader().await.get(&path).await.status(200).json();
    assert_eq!(
        trace["trace"]["observations"][0]["costDetails"],
        json!({"input": 0.0, "total": 0.00016, "setup": 2.0})
    );
}

#[tokio::test]
async fn a_session_of_many_traces_is_paged() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let older = (0..44).map(|n| {
        let at = format!("2025-03-25T17:{n:02}:00Z");
        with(
            span(&format!("t{n}"), "s", &at, &at),
            json!({"name": "older"}),
        )
    });
    let events: Vec<Value> = answer().into_iter().chain(older).collect();
    send(&ingestor, &events).await;
    let reader = acme.reader().await;
    let first = reader
        .get(&format!("/v1/traces/session/{SESSION}"))
        .await
        .status(200);
    let next = format!("</v1/traces/session/{SESSION}?page=2>; rel=\"next\"");
    assert_eq!(first.header("link"), next);
    let first = first.json();
    assert_eq!(
        first["pagination"],
        json!({"page": 1, "limit": 10, "totalItems": 45, "totalPages": 5})
    );
    assert_eq!(
        first["traces"][0],
        json!({
            "traceId": "trace-abc-123", "name": "voice-agent-response", "sessionId": SESSION,
            "timestamp": "2025-03-25T18:19:24.347Z", "latencySeconds": 1.25, "totalCostUsd": 0.0034,
            "observationCount": 4, "htmlPath": "/traces/view/trace-abc-123"
        })
    );
    let mut seen = Vec::new();
    for page in 1..=5 {
        let page = list(&reader, &format!("?page={page}")).await;
        let ids = page["traces"].as_array().expect("traces").clone();
        seen.extend(ids.into_iter().map(|trace| trace["traceId"].clone()));
    }
    let mut expected = vec![json!("trace-abc-123")];
    expected.extend((0..44).rev().map(|n| json!(format!("t{n}"))));
    assert_eq!(seen, expected);
    let past = reader
        .get(&format!("/v1/traces/session/{SESSION}?page=6&limit=10"))
        .await
        .status(200);
    assert_eq!(past.header("link"), "");
    assert_eq!(
        past.json(),
        json!({"traces": [], "pagination": {"page": 6, "limit": 10, "totalItems": 45, "totalPages": 5}})
    );
    let prefixed = format!("sess_{}", SESSION.replace('-', ""));
    let same = reader
        .get(&format!("/v1/traces/session/{prefixed}"))
        .await
        .status(200);
    assert_eq!(same.json(), first);
}

#[tokio::test]
async fn a_trace_is_a_tree_of_observations() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    send(&acme.ingestor().await, &answer()).await;
    let path = format!("/v1/traces/session/{SESSION}/trace-abc-123");
    let both = acme.transcripts().await;
    let trace = both.get(&path).await.status(200).json()["trace"].clone();
    let observations = trace["observations"].as_array().expect("observations");
    let ids: Vec<&str> = observations
        .iter()
        .filter_map(|o| o["id"].as_str())
        .collect();
    assert_eq!(ids, ["root", "stt", "llm", "tool"]);
    assert_eq!(
        (
            &trace["totalCostUsd"],
            &trace["contentWithheld"],
            &trace["truncated"],
            &trace["costIncomplete"]
        ),
        (&json!(0.0034), &json!(null), &json!(null), &json!(null))
    );
    assert_eq!(
        observations[2],
        json!({
            "id": "llm", "traceId": "trace-abc-123", "parentObservationId": "root", "type": "generation", "name": "llm",
            "level": "DEFAULT", "startTime": "2025-03-25T18:19:24.500Z", "endTime": "2025-03-25T18:19:25.300Z",
            "completionStartTime": "2025-03-25T18:19:24.800Z", "statusMessage": null, "model": "gpt-4o-mini",
            "modelParameters": {"temperature": 0.5, "prompt": "Be kind."},
            "input": [{"role": "user", "content": "Are you open?"}], "output": "Yes, until six.",
            "metadata": {"carrier": "twilio", "own": {"thing": 1}},
            "usageDetails": {"input": 90, "output": 10}, "costDetails": {"input": 0.003, "output": 0.0004},
            "environment": null
        })
    );
    let tool = &observations[3];
    assert_eq!(
        (&tool["type"], &tool["level"], &tool["statusMessage"]),
        (&json!("tool"), &json!("ERROR"), &json!("nobody there"))
    );

    let withheld = acme.reader().await.get(&path).await.status(200);
    for said in ["open?", "six", "kind", "twilio", "nobody", "thing"] {
        assert!(
            !withheld.text().contains(said),
            "{said}: {}",
            withheld.text()
        );
    }
    let withheld = withheld.json()["trace"].clone();
    assert_eq!(withheld["contentWithheld"], true);
    let llm = &withheld["observations"][2];
    assert_eq!(
        (
            &llm["model"],
            &llm["usageDetails"]["input"],
            &llm["modelParameters"],
            &llm["metadata"]
        ),
        (
            &json!("gpt-4o-mini"),
            &json!(90),
            &json!({"temperature": 0.5}),
            &json!(null)
        )
    );
    assert_eq!(withheld["observations"][3]["level"], "ERROR");
}

#[tokio::test]
async fn costs_are_what_is_known_of_them() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let at = "2025-03-25T18:19:24Z";
    let used =
        json!({"attributes": {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5}});
    let priced = |usd: f64| json!({"attributes": {"gen_ai.usage.cost": usd}});
    let events = [
        with(span("none", "a", at, at), used.clone()),
        with(span("some", "a", at, at), used),
        with(span("some", "b", at, at), priced(0.000_000_4)),
        with(span("some", "c", at, at), priced(0.000_000_4)),
        with(span("all", "a", at, at), priced(0.25)),
    ];
    send(&acme.ingestor().await, &events).await;
    let listed = list(&acme.reader().await, "").await;
    let costs: Vec<_> = listed["traces"]
        .as_array()
        .expect("traces")
        .iter()
        .map(|t| {
            (
                t["traceId"].clone(),
                t["totalCostUsd"].clone(),
                t["costIncomplete"].clone(),
            )
        })
        .collect();
    // Of the same moment, by id.
    assert_eq!(
        costs,
        [
            (json!("some"), json!(0.000_001), json!(true)),
            (json!("none"), json!(null), json!(null)),
            (json!("all"), json!(0.25), json!(null)),
        ]
    );
}

/// Spans of a few traces, some of them in several versions.
fn versions(random: &mut StdRng) -> Vec<Value> {
    (0..40)
        .map(|_| {
            let (trace, id) = (random.random_range(0..3), random.random_range(0..5));
            let (from, lasts) = (random.random_range(10..20), random.random_range(0..20));
            let mut span = span(
                &format!("trace{trace}"),
                &format!("span{id}"),
                &format!("2025-03-25T18:00:{from}Z"),
                &format!("2025-03-25T18:00:{}Z", from + lasts),
            );
            span["name"] = json!(format!("from {from}"));
            if random.random_bool(0.6) {
                span["parentSpanId"] = json!("span0");
            }
            match random.random_range(0..3) {
                0 => span["attributes"] = json!({"gen_ai.usage.cost": 0.125}),
                1 => {
                    span["attributes"] = json!({"llm.model_name": "m", "llm.token_count.total": 3})
                }
                _ => {}
            }
            span
        })
        .collect()
}

async fn whole(client: &Client) -> Value {
    let mut all = vec![list(client, "?limit=100").await];
    for trace in all[0]["traces"].as_array().cloned().expect("traces") {
        let id = trace["traceId"].as_str().expect("an id").to_owned();
        let path = format!("/v1/traces/session/{SESSION}/{id}");
        all.push(client.get(&path).await.status(200).json());
    }
    Value::from(all)
}

#[tokio::test]
async fn any_order_gives_the_same_traces() {
    let server = TestServer::start().await;
    let mut random = StdRng::seed_from_u64(7);
    let events = versions(&mut random);
    let mut answers = Vec::new();
    for round in 0..6 {
        let tenant = server.tenant(&format!("t{round}")).await;
        let ingestor = tenant.ingestor().await;
        let mut delivered = events.clone();
        if round > 0 {
            delivered.extend_from_within(..10);
            delivered.shuffle(&mut random);
        }
        let size = [40, 1, 7, 3, 40, 13][round];
        for batch in delivered.chunks(size) {
            send(&ingestor, batch).await;
        }
        answers.push(whole(&tenant.transcripts().await).await);
    }
    for (round, answer) in answers.iter().enumerate() {
        assert_eq!(*answer, answers[0], "round {round}");
    }
    // What is counted by differences is what a count says.
    for trace in answers[0].as_array().expect("answers").iter().skip(1) {
        let trace = &trace["trace"];
        let observations = trace["observations"].as_array().expect("observations");
        assert_eq!(trace["observationCount"], observations.len());
        let costs = observations
            .iter()
            .filter_map(|o| o["costDetails"]["total"].as_f64());
        let cost: f64 = costs.clone().sum();
        assert_eq!(
            trace["totalCostUsd"].as_f64(),
            (costs.count() > 0).then_some(cost)
        );
        let starts = observations.iter().map(|o| o["startTime"].as_str());
        assert_eq!(trace["timestamp"].as_str(), starts.min().flatten());
    }
}

#[tokio::test]
async fn a_span_is_one_whichever_door_it_came_through() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let mut events = answer();
    send(&ingestor, &events).await;
    for event in &mut events {
        let event = event.as_object_mut().expect("an event");
        event.retain(|name, _| name != "type" && name != "sessionId");
    }
    let call = |spans: &[Value]| json!({"session": {"sessionId": SESSION, "startedAt": "2025-03-25T18:19:00Z"}, "spans": spans});
    events.push(json!({"traceId": "other", "spanId": "s", "startedAt": "2025-03-25T18:20:00Z"}));
    ingestor
        .post("/v1/ingest/calls", &call(&events))
        .await
        .status(200);
    let reader = acme.reader().await;
    let listed = list(&reader, "").await;
    let counts = |listed: &Value| -> Vec<Value> {
        let traces = listed["traces"].as_array().expect("traces");
        traces
            .iter()
            .map(|t| t["observationCount"].clone())
            .collect()
    };
    assert_eq!(counts(&listed), [json!(1), json!(4)]);
    // Nothing says that it took no time.
    assert_eq!(listed["traces"][0]["latencySeconds"], json!(null));
    // A later version of the call without them takes back what only the call said.
    ingestor
        .post("/v1/ingest/calls", &call(&[]))
        .await
        .status(200);
    let listed = list(&reader, "").await;
    assert_eq!(counts(&listed), [json!(4)]);
    assert_eq!(listed["traces"][0]["totalCostUsd"], 0.0034);
}

#[tokio::test]
async fn a_trace_that_several_sessions_share_is_shown_of_each() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let (start, end) = ("2025-03-25T18:19:24Z", "2025-03-25T18:19:25Z");
    let events: Vec<Value> = (1..=3)
        .map(|n| {
            let id = format!("s{n}");
            with(
                span("shared", &id, start, end),
                json!({"sessionId": format!("call-{n}"), "attributes": {"input.value": format!("SAID-{n}")}}),
            )
        })
        .collect();
    send(&ingestor, &events).await;
    let both = acme.transcripts().await;
    for n in 1..=3 {
        let listed = both.get(&format!("/v1/traces/session/call-{n}")).await;
        let listed = listed.status(200).json()["traces"][0].clone();
        let id = listed["sessionId"].as_str().expect("an id");
        assert_eq!(
            listed["htmlPath"],
            format!("/traces/view/shared?session={id}")
        );
        let path = listed["htmlPath"].as_str().expect("a path");
        let page = both.get(path).await.status(200).text();
        for other in 1..=3 {
            assert_eq!(page.contains(&format!("SAID-{other}")), other == n);
        }
    }
    both.get("/traces/view/shared?session=nobody")
        .await
        .status(404);
}

#[tokio::test]
async fn an_answer_of_which_one_stage_is_known_took_as_long_as_the_user_waited() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let call = json!({
        "session": {"sessionId": SESSION, "startedAt": "2025-06-11T10:00:00Z"},
        "turns": [
            {"speaker": "user", "startMs": 0, "endMs": 1000},
            {"speaker": "agent", "startMs": 6000, "endMs": 7000, "llmMs": 300},
            {"speaker": "user", "startMs": 8000, "endMs": 9000},
            {"speaker": "agent", "startMs": 14000, "endMs": 15000,
                "llmCalls": [{"startMs": 9500, "firstTokenMs": 9800, "endMs": 10000}]}
        ]
    });
    let ingestor = acme.ingestor().await;
    ingestor.post("/v1/ingest/calls", &call).await.status(200);
    let listed = list(&acme.reader().await, "").await;
    for (trace, timestamp) in [(0, "2025-06-11T10:00:09Z"), (1, "2025-06-11T10:00:01Z")] {
        let trace = &listed["traces"][trace];
        assert_eq!(
            (&trace["latencySeconds"], &trace["timestamp"]),
            (&json!(5.0), &json!(timestamp))
        );
    }
}

fn untraced() -> Value {
    json!({
        "session": {"sessionId": SESSION, "startedAt": "2025-06-11T10:00:00Z",
            "models": {"llm": "session-model"}},
        "turns": [
            {"speaker": "agent", "startMs": 0, "endMs": 900, "text": "Hello!"},
            {"speaker": "user", "startMs": 1000, "endMs": 2000, "text": "Are you open?", "sttMs": 100},
            {"speaker": "agent", "startMs": 3000, "endMs": 5000, "text": "Until six.", "llmMs": 300, "llmTotalMs": 500,
                "ttsMs": 150, "models": {"llm": "gpt-4o-mini"}, "providers": {"llm": "openai"},
                "usage": {"promptTokens": 90, "completionTokens": 10}},
            {"speaker": "user", "startMs": 6000, "endMs": 7000, "text": "Thanks."},
            {"speaker": "agent", "text": "Bye.", "startMs": 7400, "endMs": 8000},
            {"speaker": "user", "startMs": 8500, "endMs": 9500, "text": "Bye, then."},
            {"speaker": "agent", "text": "Bye!", "startMs": 9000, "endMs": 9700}
        ],
        "toolCalls": [{"id": "c1", "turn": 2, "name": "opening_hours", "arguments": {"day": "today"}, "result": "10-18",
            "startMs": 2450, "endMs": 2600}]
    })
}

#[tokio::test]
async fn an_untraced_call_has_a_trace_for_each_answer() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    ingestor
        .post("/v1/ingest/calls", &untraced())
        .await
        .status(200);
    let reader = acme.reader().await;
    let listed = list(&reader, "").await;
    assert_eq!(
        listed,
        json!({
            "traces": [
                {"traceId": format!("{SESSION}-turn-6"), "name": "turn 6", "sessionId": SESSION,
                    "timestamp": "2025-06-11T10:00:09Z", "latencySeconds": null, "totalCostUsd": null,
                    "observationCount": 0, "htmlPath": format!("/traces/view/{SESSION}-turn-6")},
                {"traceId": format!("{SESSION}-turn-4"), "name": "turn 4", "sessionId": SESSION,
                    "timestamp": "2025-06-11T10:00:07Z", "latencySeconds": 0.4, "totalCostUsd": null,
                    "observationCount": 0, "htmlPath": format!("/traces/view/{SESSION}-turn-4")},
                {"traceId": format!("{SESSION}-turn-2"), "name": "turn 2", "sessionId": SESSION,
                    "timestamp": "2025-06-11T10:00:02Z", "latencySeconds": 1.0, "totalCostUsd": null,
                    "observationCount": 4, "htmlPath": format!("/traces/view/{SESSION}-turn-2")}
            ],
            "pagination": {"page": 1, "limit": 10, "totalItems": 3, "totalPages": 1}
        })
    );
    assert_eq!(
        list(&reader, "?limit=1&page=3").await["traces"],
        json!([listed["traces"][2]])
    );
    let path = format!("/v1/traces/session/{SESSION}/{SESSION}-turn-2");
    let both = acme.transcripts().await;
    let trace = both.get(&path).await.status(200).json()["trace"].clone();
    let shown: Vec<Value> = trace["observations"]
        .as_array()
        .expect("observations")
        .iter()
        .map(|o| {
            json!([
                o["name"],
                o["type"],
                o["startTime"],
                o["endTime"],
                o["input"],
                o["output"]
            ])
        })
        .collect();
    assert_eq!(
        shown,
        [
            json!([
                "stt",
                "span",
                "2025-06-11T10:00:02Z",
                "2025-06-11T10:00:02.100Z",
                null,
                "Are you open?"
            ]),
            json!([
                "llm",
                "generation",
                "2025-06-11T10:00:02.100Z",
                "2025-06-11T10:00:02.600Z",
                "Are you open?",
                "Until six."
            ]),
            json!(["opening_hours", "tool", "2025-06-11T10:00:02.450Z", "2025-06-11T10:00:02.600Z", {"day": "today"}, "10-18"]),
            json!([
                "tts",
                "span",
                "2025-06-11T10:00:02.850Z",
                "2025-06-11T10:00:03Z",
                "Until six.",
                null
            ]),
        ]
    );
    let llm = &trace["observations"][1];
    assert_eq!(
        (
            &llm["model"],
            &llm["usageDetails"],
            &llm["costDetails"],
            &llm["completionStartTime"]
        ),
        (
            &json!("gpt-4o-mini"),
            &json!({"input": 90, "output": 10}),
            &json!({}),
            &json!("2025-06-11T10:00:02.400Z")
        )
    );
    assert_eq!(
        llm["metadata"],
        json!({"derived": true, "turn": 2, "provider": "openai"})
    );

    let withheld = reader.get(&path).await.status(200);
    for said in ["open?", "six", "today", "10-18"] {
        assert!(!withheld.text().contains(said), "{said}");
    }
    let withheld = withheld.json()["trace"].clone();
    assert_eq!(
        (&withheld["contentWithheld"], &withheld["observationCount"]),
        (&json!(true), &json!(4))
    );
    assert_eq!(withheld["observations"][1]["metadata"]["derived"], true);

    let page = reader
        .get(&format!("/traces/view/{SESSION}-turn-2"))
        .await
        .status(200);
    assert!(page.text().contains("opening_hours") && !page.text().contains("six"));
    // With the first span, the traces are those that were sent; a link to a derived one still leads somewhere.
    send(&ingestor, &answer()).await;
    assert_eq!(list(&reader, "").await["pagination"]["totalItems"], 1);
    reader.get(&path).await.status(200);
}

#[tokio::test]
async fn a_trace_is_a_page_to_read() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let mut events = answer();
    events[0]["name"] = json!("<script>alert(1)</script>");
    events[2]["attributes"]["langfuse.observation.output"] =
        json!("</pre><img src=x onerror=alert(2)>");
    events.push(with(
        span("a/b c", "s", "2025-03-25T18:00:00Z", "2025-03-25T18:00:01Z"),
        json!({"name": "odd id"}),
    ));
    send(&ingestor, &events).await;
    let both = acme.transcripts().await;
    let page = both.get("/traces/view/trace-abc-123").await.status(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
        "{policy}"
    );
    let html = page.text();
    for absent in ["<script>", "<img src=x", "style=", "http://", "https://"] {
        assert!(!html.contains(absent), "{absent}: {html}");
    }
    for present in [
        "&#60;script&#62;alert(1)",
        "1.25 s",
        "500 ms",
        "gpt-4o-mini",
        "90 → 10 tokens",
        "$0.0034",
        "opening_hours",
        "ERROR",
        "nobody there",
        "twilio",
        "width=device-width",
    ] {
        assert!(html.contains(present), "{present}: {html}");
    }
    let withheld = acme.reader().await.get("/traces/view/trace-abc-123").await;
    let withheld = withheld.status(200).text();
    assert!(withheld.contains("transcripts:read") && !withheld.contains("nobody there"));

    let listed = list(&both, "").await;
    let odd = listed["traces"][1]["htmlPath"].as_str().expect("a path");
    assert_eq!(odd, "/traces/view/a%2Fb%20c");
    assert!(both.get(odd).await.status(200).text().contains("odd id"));
    // The same id in a newer session.
    let newer = with(
        span("a/b c", "s", "2025-03-26T18:00:00Z", "2025-03-26T18:00:01Z"),
        json!({"name": "newer", "sessionId": "another"}),
    );
    send(&ingestor, &[newer]).await;
    assert!(both.get(odd).await.status(200).text().contains("newer"));
}

#[tokio::test]
async fn what_is_not_there_or_not_ones_own_is_not_found() {
    let server = TestServer::start().await;
    let (acme, other) = (server.tenant("acme").await, server.tenant("other").await);
    send(&acme.ingestor().await, &answer()).await;
    let theirs = untraced();
    acme.ingestor()
        .await
        .post("/v1/ingest/calls", &json!({"session": {"sessionId": "plain", "startedAt": "2025-06-11T10:00:00Z"}, "turns": theirs["turns"]}))
        .await
        .status(200);
    let own = acme.reader().await;
    let listed = own.get("/v1/traces/session/plain").await.status(200).json();
    let derived = listed["traces"][0]["traceId"]
        .as_str()
        .expect("an id")
        .to_owned();
    own.get(&format!("/traces/view/{derived}"))
        .await
        .status(200);
    let stranger = other.reader().await;
    let list = format!("/v1/traces/session/{SESSION}");
    for path in [
        list.clone(),
        format!("{list}/trace-abc-123"),
        format!("{list}/{derived}"),
        "/traces/view/trace-abc-123".to_owned(),
        format!("/traces/view/{derived}"),
    ] {
        stranger.get(&path).await.problem(404, "not-found");
        server
            .anonymous()
            .get(&path)
            .await
            .problem(401, "unauthenticated");
    }
    for path in [
        "/v1/traces/session/nobody".to_owned(),
        format!("{list}/nobody"),
        // Another session's.
        format!("{list}/{derived}"),
        format!("{list}/{SESSION}-turn-99"),
        format!("{list}/{SESSION}-turn-+1"),
        "/traces/view/nobody".to_owned(),
    ] {
        own.get(&path).await.problem(404, "not-found");
    }
    let faulty = own.get(&format!("{list}?page=0&limit=101&offset=1")).await;
    assert_eq!(
        faulty.problem(400, "invalid-request").faults(),
        [
            "page must be between 1 and 1000000, got `0`",
            "limit must be between 1 and 100, got `101`",
            "offset is no parameter here; the nearest is `limit`",
        ]
    );
}

#[tokio::test]
async fn a_long_trace_is_cut_and_says_so() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let at = "2025-03-25T18:19:24Z";
    let spans: Vec<Value> = (0..5_001)
        .map(|n| span("long", &format!("s{n:04}"), at, at))
        .collect();
    for batch in spans.chunks(2_501) {
        send(&ingestor, batch).await;
    }
    let reader = acme.reader().await;
    let path = format!("/v1/traces/session/{SESSION}/long");
    let trace = reader.get(&path).await.status(200).json()["trace"].clone();
    let observations = trace["observations"].as_array().expect("observations");
    assert_eq!(
        (
            &trace["truncated"],
            &trace["observationCount"],
            observations.len()
        ),
        (&json!(true), &json!(5_001), 5_000)
    );
    assert_eq!(observations[4_999]["id"], "s4999");
    let page = reader.get("/traces/view/long").await.status(200).text();
    assert!(page.contains("The first 1000 of 5001 observations are shown."));
    assert_eq!(page.matches("<details").count(), 1_000);
    // So is one of few spans that say much.
    let much = "x".repeat(250 << 10);
    let spans: Vec<Value> = (0..80)
        .map(|n| {
            let attributes = json!({"attributes": {"output.value": much}});
            with(span("heavy", &format!("s{n}"), at, at), attributes)
        })
        .collect();
    for batch in spans.chunks(20) {
        send(&ingestor, batch).await;
    }
    let path = format!("/v1/traces/session/{SESSION}/heavy");
    let heavy = acme.transcripts().await.get(&path).await.status(200).json();
    let shown = heavy["trace"]["observations"].as_array().map(Vec::len);
    assert_eq!(
        (shown, &heavy["trace"]["truncated"]),
        (Some(66), &json!(true))
    );
    let withheld = reader.get(&path).await.status(200).json();
    assert_eq!(
        withheld["trace"]["observations"].as_array().map(Vec::len),
        Some(80)
    );
}
