//! What is not OTLP, or not all of it: the right status, the reason, and the rest kept.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::{Value, json};

use crate::support::{Client, TestServer};

use super::{PROTOBUF, TRACES, gzip, list, post, request, sessions, span};

fn with(name: &str, value: Value) -> Value {
    let mut bad = span(9, 9, &json!({"session.id": "bad"}));
    bad[name] = value;
    bad
}

#[tokio::test]
async fn each_bad_span_is_told_and_its_neighbours_are_kept() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let day_ahead = "1749729601000000000";
    let deep = (0..200).fold(
        json!({"stringValue": "x"}),
        |value, _| json!({"arrayValue": {"values": [value]}}),
    );
    let cases = [
        (
            with("traceId", json!("abcd")),
            "`traceId` must have 16 bytes, got 2",
        ),
        (
            with("traceId", json!("0".repeat(32))),
            "`traceId` must not be all zeros",
        ),
        (with("traceId", json!("xyz")), "cannot be read"),
        (
            with("spanId", Value::Null),
            "`spanId` must have 8 bytes, got 0",
        ),
        (
            with("spanId", json!("ab".repeat(9))),
            "`spanId` must have 8 bytes, got 9",
        ),
        (
            with("startTimeUnixNano", json!("999999999999999999999")),
            "cannot be read",
        ),
        (
            with("endTimeUnixNano", json!(day_ahead)),
            "must not be more than a day ahead",
        ),
        (with("attributes", json!("none")), "cannot be read"),
        (
            with("attributes", json!([{"key": "deep", "value": deep}])),
            "cannot be read",
        ),
    ];
    for (place, (bad, reason)) in cases.into_iter().enumerate() {
        let name = format!("good-{place}");
        let good = |id| span(100 + place as u8, id, &json!({"session.id": name}));
        let body = request(&[good(1), bad, good(2)]);
        let answer = ingestor.post(TRACES, &body).await.status(200).json();
        let partial = &answer["partialSuccess"];
        assert_eq!(partial["rejectedSpans"], "1", "{reason}: {answer}");
        let message = partial["errorMessage"].as_str().unwrap_or_default();
        assert!(
            message.starts_with("item 1 ") && message.contains(reason),
            "{message}"
        );
    }
    let no_time = with("startTimeUnixNano", json!(0));
    let mut no_time = no_time.as_object().cloned().expect("a span");
    no_time.remove("endTimeUnixNano");
    let answer = ingestor
        .post(TRACES, &request(&[no_time.into()]))
        .await
        .status(200)
        .json();
    let message = answer["partialSuccess"]["errorMessage"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        message.contains("`startTimeUnixNano` is required"),
        "{message}"
    );
    let names = sessions(&acme.transcripts().await).await;
    assert_eq!(
        names,
        (0..9).map(|n| format!("good-{n}")).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_broken_span_of_protobuf_spoils_no_other() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let body = request(&[
        span(1, 1, &json!({"session.id": "kept"})),
        span(1, 2, &json!({})),
    ]);
    let body: ExportTraceServiceRequest = serde_json::from_value(body).expect("OTLP");
    let mut bytes = body.encode_to_vec();
    // The key before the second span's name, and its length, is none any more.
    let name = bytes
        .windows(4)
        .rposition(|window| window == b"turn")
        .expect("a name");
    bytes[name - 2] |= 7;
    let answer = post(&acme.ingestor().await, PROTOBUF, "identity", bytes)
        .await
        .status(200);
    assert_eq!(answer.header("content-type"), PROTOBUF);
    let answer = ExportTraceServiceResponse::decode(&answer.body[..]).expect("an answer");
    let partial = answer.partial_success.expect("a partial success");
    assert_eq!(partial.rejected_spans, 1);
    assert!(
        partial.error_message.contains("invalid wire type"),
        "{}",
        partial.error_message
    );
    assert_eq!(sessions(&acme.transcripts().await).await, ["kept"]);
}

#[derive(Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[tokio::test]
async fn what_is_no_request_is_refused_whole() {
    let server = TestServer::start().await;
    let ingestor = server.tenant("acme").await.ingestor().await;
    let good = request(&[span(1, 1, &json!({"session.id": "one"}))]);
    let protobuf: ExportTraceServiceRequest = serde_json::from_value(good.clone()).expect("OTLP");
    let mut cut = protobuf.encode_to_vec();
    cut.truncate(cut.len() / 2);
    for body in [cut, b"\xff\xff\xff".to_vec(), good.to_string().into_bytes()] {
        let answer = post(&ingestor, PROTOBUF, "identity", body)
            .await
            .status(400);
        assert_eq!(answer.header("content-type"), PROTOBUF);
        let status = Status::decode(&answer.body[..]).expect("a status");
        assert_eq!(status.code, 3);
        assert!(
            status.message.starts_with("the body is malformed"),
            "{}",
            status.message
        );
    }
    let text = good.to_string();
    for body in [
        &text[..text.len() / 2],
        "[]",
        "\"\"",
        "{\"resourceSpans\": 7}",
        "",
    ] {
        let answer = post(&ingestor, "application/json", "identity", body.into())
            .await
            .status(400);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.json()["code"], 3, "{body}");
    }
    for content_type in ["text/plain", "application/grpc", "application/x-ndjson"] {
        post(
            &ingestor,
            content_type,
            "identity",
            text.clone().into_bytes(),
        )
        .await
        .status(415);
    }
    let packed = gzip(text.as_bytes());
    let broken = packed[..packed.len() / 2].to_vec();
    post(&ingestor, "application/json", "gzip", broken)
        .await
        .status(400);
    post(&ingestor, "application/json", "br", packed)
        .await
        .status(415);
    let anybody = server.anonymous();
    let answer = post(&anybody, "application/json", "identity", text.into())
        .await
        .status(401);
    assert_eq!(answer.json()["code"], 16);
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
}

/// A text attribute of so many bytes.
fn large(bytes: usize) -> Value {
    json!({"session.id": "large", "output": "x".repeat(bytes)})
}

async fn notes(reader: &Client) -> Vec<String> {
    let path = format!("/v1/traces/session/large/{:032x}", 1);
    let trace = reader.get(&path).await.status(200).json();
    let text = trace.to_string();
    assert!(text.len() < 600_000, "{} bytes", text.len());
    let observations = list(&trace["trace"]["observations"]);
    let notes = observations
        .iter()
        .flat_map(|one| list(&one["metadata"]["notes"]));
    notes
        .filter_map(|note| note.as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn absurd_attributes_are_bounded_and_it_is_said() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.transcripts().await);
    ingestor
        .post(TRACES, &request(&[span(1, 1, &large(3_000_000))]))
        .await
        .status(200);
    let told = notes(&reader).await;
    assert_eq!(told, ["attribute `output` was cut from 3000000 bytes"]);
    let mut many = json!({"session.id": "large"});
    (0..10_000).for_each(|n| many[format!("a{n}")] = json!("x"));
    ingestor
        .post(TRACES, &request(&[span(1, 2, &many)]))
        .await
        .status(200);
    let told = notes(&reader).await;
    assert!(
        told.iter()
            .any(|note| note.starts_with("8001 attributes were left out")),
        "{told:?}"
    );
    let nul = span(1, 3, &json!({"session.id": "large", "a\u{0}b": "c\u{0}d"}));
    ingestor.post(TRACES, &request(&[nul])).await.status(200);
    // More than a request may hold.
    let body = request(&[span(1, 4, &large(100 << 20))]).to_string();
    let packed = gzip(body.as_bytes());
    let answer = post(&ingestor, "application/json", "gzip", packed)
        .await
        .status(413);
    assert_eq!(answer.json()["code"], 8);
}

/// However much a span says beside it: whose it is, what it was and what it used.
#[tokio::test]
async fn a_crowd_of_attributes_hides_no_conversation() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let mut said = json!({
        "session.id": "a-conversation-with-a-long-name", "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": "1000", "gen_ai.usage.output_tokens": "100",
    });
    (0..2_500).for_each(|n| said[format!("k{n:05}")] = json!("v"));
    let crowded = request(&[span(1, 1, &said)]);
    acme.ingestor()
        .await
        .post(TRACES, &crowded)
        .await
        .status(200);
    let reader = acme.transcripts().await;
    let name = "a-conversation-with-a-long-name";
    assert_eq!(sessions(&reader).await, [name]);
    let path = format!("/v1/observability/sessions/{name}");
    let detail = reader.get(&path).await.status(200).json();
    assert_eq!(detail["models"]["llm"], "gpt-4o", "{detail}");
    assert_eq!(detail["usage"]["promptTokens"], 1000);
    assert_eq!(detail["cost"]["totalUsd"], 0.0035);
    let path = format!("/v1/traces/session/{name}/{:032x}", 1);
    let trace = reader.get(&path).await.status(200).json();
    let observation = &trace["trace"]["observations"][0];
    assert_eq!(observation["model"], "gpt-4o");
    assert_eq!(observation["usageDetails"]["input"], 1000);
}

#[tokio::test]
async fn every_form_of_a_key_opens_every_path() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let key = acme.key("ingest:write").await;
    let user = &key[4..16];
    let basic = |user: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{key}")));
    let body = request(&[span(1, 1, &json!({"session.id": "one"}))]);
    for path in [TRACES, "/otlp/v1/traces", "/api/public/otel/v1/traces"] {
        for (name, value) in [
            ("x-api-key", key.clone()),
            ("authorization", format!("Bearer {key}")),
            ("authorization", basic(user)),
        ] {
            let client = server.anonymous().header(name, &value);
            client.post(path, &body).await.status(200);
        }
        let wrong = server
            .anonymous()
            .header("authorization", &basic("somebody"));
        wrong.post(path, &body).await.status(401);
    }
}

/// A clock that was never set, or went wrong meanwhile, moves nothing; what can be told of such a span is.
#[tokio::test]
async fn absurd_clocks_move_no_session() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.transcripts().await);
    let own = json!({"session.id": "clocks", "input.value": "Hello"});
    let base = 1_749_636_000_000_000_000_u64;
    let timed = |id: u8, start: u64, end: u64| {
        let mut span = span(1, id, &own);
        span["startTimeUnixNano"] = json!(start.to_string());
        span["endTimeUnixNano"] = json!(end.to_string());
        span
    };
    let (second, hour) = (1_000_000_000, 3_600_000_000_000);
    let decade = 10 * 365 * 24 * hour;
    let spans = [
        timed(1, base, base + 10 * second),
        timed(2, base + second, base + 2 * second),
        timed(3, 0, base + 3 * second),
        timed(4, 7 * second, base + 4 * second),
        timed(5, base + 5 * second, base + second),
        timed(6, base + 6 * second - 2 * decade, base + 6 * second),
        timed(7, base - decade, base - decade + second),
        timed(8, 5 * second, 6 * second),
        timed(9, base + 27 * hour, base + 27 * hour),
    ];
    let answer = ingestor
        .post(TRACES, &request(&spans))
        .await
        .status(200)
        .json();
    let partial = &answer["partialSuccess"];
    assert_eq!(partial["rejectedSpans"], "2", "{answer}");
    let message = partial["errorMessage"].as_str().unwrap_or_default();
    assert!(
        message.contains("item 7 ") && message.contains("after 1999"),
        "{message}"
    );
    assert!(
        message.contains("item 8 ") && message.contains("more than a day ahead"),
        "{message}"
    );
    let detail = reader
        .get("/v1/observability/sessions/clocks")
        .await
        .status(200)
        .json();
    assert_eq!(detail["startedAt"], "2025-06-11T10:00:00Z", "{detail}");
    let path = format!("/v1/traces/session/clocks/{:032x}", 1);
    let trace = reader.get(&path).await.status(200).json();
    let notes = trace.to_string();
    for note in [
        "its start, 1970-01-01 00:00:07 UTC, is before 2000: left out",
        "it ended before it started",
        "is more than a year before its end: left out",
    ] {
        assert!(notes.contains(note), "{note}: {notes}");
    }
    // Hours ahead is no reason to lose a call.
    let late = timed(1, base + 5 * hour, base + 5 * hour + second).to_string();
    let late = late
        .replace("clocks", "ahead")
        .replace(&format!("{:032x}", 1), &format!("{:032x}", 2));
    let late: Value = serde_json::from_str(&late).expect("a span");
    let answer = ingestor
        .post(TRACES, &request(&[late]))
        .await
        .status(200)
        .json();
    assert_eq!(answer, json!({}));
    let detail = reader
        .get("/v1/observability/sessions/ahead")
        .await
        .status(200)
        .json();
    assert_eq!(detail["startedAt"], "2025-06-11T15:00:00Z", "{detail}");
}

/// As a text that was cut may have it, also in the JSON that an attribute holds.
#[tokio::test]
async fn half_a_character_and_nul_cost_nothing_but_themselves() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let reader = acme.transcripts().await;
    let at = "2025-06-11T10:00:00Z";
    let messages = |role: &str, text: &str| {
        let listed = json!([{"role": role, "parts": [{"type": "text", "content": text}]}]);
        listed.to_string().replace("HALF", "\\ud83d")
    };
    let spoken = span(
        1,
        1,
        &json!({
            "session.id": "otlp", "gen_ai.operation.name": "chat", "note": "HALF",
            "gen_ai.input.messages": messages("user", "Hi HALF\u{0}"),
            "gen_ai.output.messages": messages("assistant", "Yes HALF"),
        }),
    );
    let score = json!({"id": "s", "type": "score-create", "timestamp": at,
        "body": {"sessionId": "otlp", "name": "polite", "value": 1, "comment": "HALF"}});
    for (path, body, answer) in [
        (TRACES, request(&[spoken]), json!({})),
        (
            "/api/public/ingestion",
            json!({"batch": [score]}),
            json!({"successes": [{"id": "s", "status": 201}], "errors": []}),
        ),
    ] {
        let body = body.to_string().replace("HALF", "\\ud83d");
        let sent = ingestor.header("content-type", "application/json");
        assert_eq!(sent.post_bytes(path, body).await.json(), answer, "{path}");
    }
    let path = "/v1/observability/sessions/otlp";
    let detail = reader.get(path).await.status(200).json();
    let turns = list(&detail["turns"]);
    let said: Vec<_> = turns.iter().map(|turn| &turn["text"]).collect();
    assert_eq!(said, ["Hi \u{fffd}\u{fffd}", "Yes \u{fffd}"]);
}

#[tokio::test]
async fn half_a_character_in_protobuf_costs_no_span() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.transcripts().await);
    // As JavaScript's exporter writes a text that was cut within a character: three bytes that are no UTF-8.
    let cut = span(
        1,
        1,
        &json!({"session.id": "cut", "openinference.span.kind": "AGENT", "input.value": "Hi €", "output.value": "Yes €€."}),
    );
    let mut whole = request(&[cut, span(1, 2, &json!({}))]);
    let service = json!([{"key": "service.name", "value": {"stringValue": "front€desk"}}]);
    whole["resourceSpans"][0]["resource"] = json!({ "attributes": service });
    let whole: ExportTraceServiceRequest = serde_json::from_value(whole).expect("a request");
    let mut body = whole.encode_to_vec();
    while let Some(at) = body.windows(3).position(|bytes| bytes == "€".as_bytes()) {
        body[at..at + 3].copy_from_slice(b"\xed\xa0\xbd");
    }
    let answer = post(&ingestor, PROTOBUF, "identity", body).await;
    let answer = answer.status(200).body;
    assert!(answer.is_empty(), "{answer:?}");
    let detail = reader.get("/v1/observability/sessions/cut").await;
    let detail = detail.status(200).json();
    assert_eq!(detail["agentId"], "front\u{fffd}desk");
    let turns = list(&detail["turns"]);
    let said: Vec<_> = turns.iter().map(|turn| &turn["text"]).collect();
    assert_eq!(said, ["Hi \u{fffd}", "Yes \u{fffd}."]);
}
