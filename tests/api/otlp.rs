//! OTLP over HTTP, seen through the readers: real captures, in any order and spelling, and what is not OTLP.

mod answers;
mod bad;
mod conversations;
mod exchanges;
mod interruptions;
mod messages;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use crate::support::{Answer, Client, TestServer};

const TRACES: &str = "/v1/traces";
const PROTOBUF: &str = "application/x-protobuf";

/// A request as a framework sent it: its body, packed as it was, and decoded as JSON.
struct Sent {
    body: Vec<u8>,
    coding: &'static str,
    json: Value,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/otlp")
}

fn capture(name: &str) -> Vec<Sent> {
    let files = std::fs::read_dir(folder().join(name)).expect("a capture");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with("-traces.json"));
    files.sort();
    assert!(!files.is_empty());
    files.iter().map(|file| sent(file)).collect()
}

fn sent(file: &Path) -> Sent {
    let json = std::fs::read(file).expect("a body");
    let (plain, packed) = (file.with_extension("pb"), file.with_extension("pb.gz"));
    let (body, coding) = match std::fs::read(&plain) {
        Ok(body) => (body, "identity"),
        Err(_) => (std::fs::read(packed).expect("a body"), "gzip"),
    };
    Sent {
        body,
        coding,
        json: serde_json::from_slice(&json).expect("JSON"),
    }
}

fn expected(name: &str) -> Value {
    let text = std::fs::read(folder().join(format!("{name}.expected.json")));
    serde_json::from_slice(&text.expect("what happened")).expect("JSON")
}

/// At the time of the captures.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    server.clock.advance(TimeDelta::days(529));
    server
}

async fn post(client: &Client, content_type: &str, coding: &str, body: Vec<u8>) -> Answer {
    let client = client.header("content-type", content_type);
    let client = match coding {
        "identity" => client,
        coding => client.header("content-encoding", coding),
    };
    client.post_bytes(TRACES, body).await
}

async fn send(client: &Client, requests: &[Sent]) {
    for sent in requests {
        let answer = post(client, PROTOBUF, sent.coding, sent.body.clone()).await;
        let answer = answer.status(200);
        assert_eq!(answer.header("content-type"), PROTOBUF);
        assert!(answer.body.is_empty(), "all was taken: {}", answer.text());
    }
}

/// Each span of a capture alone, as OTLP/JSON.
fn single_spans(requests: &[Sent]) -> Vec<Value> {
    let mut single = Vec::new();
    for resource in requests
        .iter()
        .flat_map(|sent| list(&sent.json["resourceSpans"]))
    {
        for scope in list(&resource["scopeSpans"]) {
            for span in list(&scope["spans"]) {
                single.push(json!({"resourceSpans": [{
                    "resource": resource["resource"],
                    "scopeSpans": [{"scope": scope["scope"], "spans": [span]}],
                }]}));
            }
        }
    }
    single
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// A session as every dialect tells it, without ids that differ from tenant to tenant.
async fn seen(reader: &Client, external_id: &str) -> Value {
    let detail = reader
        .get(&format!("/v1/observability/sessions/{external_id}"))
        .await
        .status(200)
        .json();
    let id = detail["id"].as_str().expect("an id").to_owned();
    let listed = reader
        .get("/v1/observability/sessions?limit=100")
        .await
        .status(200)
        .json();
    let traces = reader
        .get(&format!("/v1/traces/session/{external_id}"))
        .await
        .status(200)
        .json();
    let item = list(&listed["data"])
        .into_iter()
        .find(|item| item["id"] == id.as_str());
    let uuid = uuid::Uuid::parse_str(id.trim_start_matches("sess_"))
        .expect("a UUID")
        .to_string();
    let all = json!({"detail": detail, "item": item, "traces": traces}).to_string();
    let all = all.replace(&id, "ID").replace(&uuid, "ID");
    serde_json::from_str(&all).expect("JSON")
}

const CAPTURES: [&str; 6] = [
    "pipecat-basic",
    "pipecat-bargein",
    "pipecat-errors",
    "pipecat-slow",
    "pipecat098-basic",
    "openinference-basic",
];

#[tokio::test]
async fn captures_are_what_happened_in_any_order_and_spelling() {
    let server = server().await;
    let (first, second) = (server.tenant("first").await, server.tenant("second").await);
    let (to_first, to_second) = (first.ingestor().await, second.ingestor().await);
    let mut external_ids = BTreeMap::new();
    for name in CAPTURES {
        let requests = capture(name);
        let truth = expected(name)["sessions"][0].clone();
        let id = truth["externalId"].as_str().expect("a name").to_owned();
        // Two captures are of one conversation's name: they are not one.
        if external_ids.contains_key(&id) {
            continue;
        }
        send(&to_first, &requests).await;
        let mut spans = single_spans(&requests);
        let again = spans[spans.len() / 2].clone();
        spans.push(again);
        spans.shuffle(&mut StdRng::seed_from_u64(7));
        for (place, span) in spans.iter().enumerate() {
            let text = span.to_string().into_bytes();
            let (coding, body) = match place % 3 {
                0 => ("identity", text),
                1 => ("gzip", gzip(&text)),
                _ => ("zstd", zstd::encode_all(&text[..], 3).expect("zstd")),
            };
            let answer = post(&to_second, "application/json", coding, body)
                .await
                .status(200);
            assert_eq!(answer.json(), json!({}));
        }
        external_ids.insert(id, (name, truth));
    }
    // Whether anything is wrong with them is in lists, once they have been looked at.
    server.analysed().await;
    let (first, second) = (first.transcripts().await, second.transcripts().await);
    for (id, (name, truth)) in external_ids {
        let (one, other) = (seen(&first, &id).await, seen(&second, &id).await);
        assert_eq!(one, other, "{name}");
        told(&one["detail"], &truth, name);
    }
    for reader in [&first, &second] {
        let listed = reader
            .get("/v1/observability/sessions?limit=100")
            .await
            .status(200)
            .json();
        assert_eq!(
            list(&listed["data"]).len(),
            5,
            "nothing is left beside: {listed}"
        );
    }
}

/// What a reader sees against what happened.
fn told(detail: &Value, truth: &Value, name: &str) {
    let said = |turn: &Value| (turn["speaker"].clone(), turn["text"].clone());
    let turns: Vec<_> = list(&detail["turns"]).iter().map(said).collect();
    let truth_turns = match &truth["exchanges"] {
        Value::Array(exchanges) => exchanges
            .iter()
            .flat_map(|e| {
                [
                    (json!("user"), e["user"].clone()),
                    (json!("agent"), e["agent"].clone()),
                ]
            })
            .collect(),
        _ => list(&truth["turns"]).iter().map(said).collect::<Vec<_>>(),
    };
    assert_eq!(turns, truth_turns, "{name}");
    assert_eq!(
        detail["metrics"]["toolExecutions"], truth["totals"]["toolCalls"],
        "{name}"
    );
    if truth["ended"].is_string() {
        assert_eq!(detail["status"], truth["ended"], "{name}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::fast());
    encoder.read_to_end(&mut packed).expect("gzip");
    packed
}

#[tokio::test]
async fn conversations_of_one_request_are_apart() {
    let server = server().await;
    let acme = server.tenant("acme").await;
    send(&acme.ingestor().await, &capture("pipecat-batch")).await;
    let reader = acme.transcripts().await;
    for truth in list(&expected("pipecat-batch")["sessions"]) {
        let id = truth["externalId"].as_str().expect("a name");
        told(&seen(&reader, id).await["detail"], &truth, id);
    }
    let listed = reader
        .get("/v1/observability/sessions")
        .await
        .status(200)
        .json();
    assert_eq!(list(&listed["data"]).len(), 4);
}

/// One span in JSON.
fn span(trace: u8, id: u8, attributes: &Value) -> Value {
    let attributes = attributes.as_object().into_iter().flatten();
    let attributes: Vec<Value> = attributes
        .map(|(key, value)| json!({"key": key, "value": {"stringValue": value}}))
        .collect();
    json!({
        "traceId": format!("{trace:032x}"), "spanId": format!("{id:016x}"), "name": "turn",
        "startTimeUnixNano": format!("{}", 1_749_636_000_000_000_000_u64 + u64::from(id) * 1_000_000_000),
        "endTimeUnixNano": format!("{}", 1_749_636_000_500_000_000_u64 + u64::from(id) * 1_000_000_000),
        "attributes": attributes,
    })
}

fn request(spans: &[Value]) -> Value {
    json!({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "own"}, "spans": spans}]}]})
}

/// What the sessions there are called.
async fn sessions(reader: &Client) -> Vec<String> {
    let listed = reader
        .get("/v1/observability/sessions?limit=100")
        .await
        .status(200)
        .json();
    let mut names = Vec::new();
    for item in list(&listed["data"]) {
        let id = item["id"].as_str().expect("an id");
        let path = format!("/v1/observability/sessions/{id}");
        let detail = reader.get(&path).await.status(200).json();
        names.push(detail["externalId"].as_str().unwrap_or_default().to_owned());
    }
    names.sort();
    names
}

#[tokio::test]
async fn what_one_span_says_of_its_conversation_holds_for_its_trace() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.transcripts().await);
    // Before anybody says whose it is, a trace stands for itself.
    ingestor
        .post(
            TRACES,
            &request(&[span(1, 1, &json!({"input.value": "Hello"}))]),
        )
        .await
        .status(200);
    assert_eq!(sessions(&reader).await, [format!("{:032x}", 1)]);
    ingestor
        .post(
            TRACES,
            &request(&[span(1, 2, &json!({"session.id": "one"}))]),
        )
        .await
        .status(200);
    assert_eq!(sessions(&reader).await, ["one"]);
    // Another trace of the same conversation, and two conversations in one trace.
    let two = [
        span(2, 3, &json!({"session.id": "one"})),
        span(3, 4, &json!({"session.id": "two"})),
        span(3, 5, &json!({"session.id": "three"})),
    ];
    ingestor.post(TRACES, &request(&two)).await.status(200);
    assert_eq!(sessions(&reader).await, ["one", "three", "two"]);
    let traces = reader
        .get("/v1/traces/session/one")
        .await
        .status(200)
        .json();
    assert_eq!(list(&traces["traces"]).len(), 2, "{traces}");
    let early = reader
        .get(&format!("/v1/observability/sessions/{:032x}", 1))
        .await
        .status(200)
        .json();
    assert_eq!(early["externalId"], "one");
}

#[tokio::test]
async fn errors_in_logs_are_the_session_s() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.transcripts().await);
    ingestor
        .post(
            TRACES,
            &request(&[span(1, 1, &json!({"session.id": "one"}))]),
        )
        .await
        .status(200);
    let record = |severity: u8, trace: Value| {
        json!({"timeUnixNano": "1749636000000000000", "severityNumber": severity, "traceId": trace,
            "body": {"stringValue": "the gateway did not answer"}})
    };
    let logs = json!({"resourceLogs": [{"scopeLogs": [{"scope": {"name": "agent"}, "logRecords": [
        record(17, json!(format!("{:032x}", 1))), record(9, json!(format!("{:032x}", 1))), record(17, Value::Null)
    ]}]}]});
    for path in ["/v1/logs", "/otlp/v1/logs"] {
        let answer = ingestor.post(path, &logs).await.status(200).json();
        let partial = &answer["partialSuccess"];
        assert_eq!(partial["rejectedLogRecords"], "0");
        let message = partial["errorMessage"].as_str().unwrap_or_default();
        assert!(
            message.starts_with("2 log records were not kept"),
            "{message}"
        );
    }
    // A span that comes later does not take them away.
    ingestor
        .post(TRACES, &request(&[span(1, 2, &json!({}))]))
        .await
        .status(200);
    let detail = reader
        .get("/v1/observability/sessions/one")
        .await
        .status(200)
        .json();
    assert_eq!(
        detail["errors"][0]["message"], "the gateway did not answer",
        "{detail}"
    );
    assert_eq!(list(&detail["errors"]).len(), 1);
}

#[tokio::test]
async fn metrics_are_taken_and_counted() {
    let server = TestServer::start().await;
    let ingestor = server.tenant("acme").await.ingestor().await;
    let point = json!({"timeUnixNano": "1749636000000000000", "asInt": "42"});
    let metrics = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "a", "gauge": {"dataPoints": [point, point]}}
    ]}]}]});
    for path in ["/v1/metrics", "/otlp/v1/metrics"] {
        let answer = ingestor.post(path, &metrics).await.status(200).json();
        let message = answer["partialSuccess"]["errorMessage"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(message.starts_with("2 data points"), "{answer}");
    }
    let empty = post(&ingestor, PROTOBUF, "identity", Vec::new())
        .await
        .status(200);
    let answer = ExportTraceServiceResponse::decode(&empty.body[..]).expect("an answer");
    assert_eq!(answer.partial_success, None);
}

/// An error's type is a name that a program gives, unless somebody puts words in it.
#[tokio::test]
async fn an_error_s_type_is_shown_to_all_where_it_is_a_code() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let words = "Ann Smith hung up angrily";
    for (id, code) in [(1, "rate_limit_exceeded"), (2, words)] {
        let mut failed = span(
            id,
            id,
            &json!({"session.id": format!("call-{id}"), "error.type": code,
            "gen_ai.operation.name": "chat", "input.value": "Hello"}),
        );
        failed["name"] = json!("chat");
        failed["status"] = json!({"code": 2, "message": words});
        ingestor.post(TRACES, &request(&[failed])).await.status(200);
    }
    let (reader, trusted) = (acme.reader().await, acme.transcripts().await);
    for (id, whole, shown) in [
        (1, "rate_limit_exceeded", "rate_limit_exceeded"),
        (2, words, "llm_error"),
    ] {
        let path = format!("/v1/observability/sessions/call-{id}");
        let error = &trusted.get(&path).await.status(200).json()["errors"][0];
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!(whole), &json!(words))
        );
        let told = reader.get(&path).await.status(200);
        assert!(!told.text().contains("Ann"), "{}", told.text());
        assert_eq!(told.json()["errors"][0]["code"], shown);
        for path in [
            "/api/v1/analytics/errors?started_after=2025-06-11T08:30:00Z".to_owned(),
            format!("/v1/traces/session/call-{id}/{id:032x}"),
        ] {
            let told = reader.get(&path).await.status(200).text();
            assert!(!told.contains("Ann"), "{path}: {told}");
        }
    }
}
