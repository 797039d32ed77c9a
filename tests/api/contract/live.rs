//! A running server keeps what the document says: its parameters, its examples, and its answers where
//! everything that can be said has been said.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use voxray::domain::access::Right;
use voxray::domain::event::Kind;
use voxray::domain::fields;

use super::fields::sample;
use super::operations;
use crate::support::TestServer;
use crate::support::contract::Node;

#[tokio::test]
async fn handlers_know_every_documented_parameter_and_default() {
    // An analysis that is kept between two answers would tell them apart.
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let client = acme.client(&Right::ALL.map(Right::as_str).join(",")).await;
    // Paths below name their sessions like their parameters.
    for id in ["id", "sessionId"] {
        let session = json!({ "sessionId": id, "startedAt": "2025-06-11T10:00:00Z" });
        let call = json!({ "session": session, "turns": [{ "speaker": "agent" }] });
        client.post("/v1/ingest/calls", &call).await.status(200);
    }
    for operation in operations().into_iter().filter(|one| one.verb == "GET") {
        let names: BTreeMap<&str, &Value> = operation
            .parameters()
            .map(|parameter| parameter.value())
            .filter(|parameter| parameter["in"] == "query")
            .filter_map(|parameter| Some((parameter["name"].as_str()?, &parameter["schema"])))
            .collect();
        let path = operation.path.replace(['{', '}'], "");
        let all: Vec<String> = names.keys().map(|name| format!("{name}=")).collect();
        let answer = client
            .get(&format!("{path}?no-such=&{}", all.join("&")))
            .await
            .status(400);
        let unknown: Vec<String> = answer
            .faults()
            .into_iter()
            .filter(|fault| fault.contains("is no parameter here"))
            .collect();
        assert_eq!(unknown.len(), 1, "{path}: {unknown:?}");
        for (name, schema) in names {
            let Some(default) = schema.get("default") else {
                continue;
            };
            let default = default.as_str().map_or(default.to_string(), str::to_owned);
            let explicit = client
                .get(&format!("{path}?{name}={default}"))
                .await
                .status(200);
            assert_eq!(
                explicit.text(),
                client.get(&path).await.text(),
                "{path}?{name}={default}"
            );
        }
    }
}

#[tokio::test]
async fn the_documents_examples_are_accepted() {
    let server = TestServer::start().await;
    let ingestor = server.tenant("acme").await.ingestor().await;
    for path in ["/v1/ingest/events", "/v1/ingest/calls"] {
        let paths = Node::at("/paths").expect("paths");
        let operation = paths
            .child(path)
            .and_then(|item| item.child("post"))
            .expect("an operation");
        let content = operation
            .child("requestBody")
            .and_then(|body| body.child("content"))
            .expect("content");
        let json = content
            .child("application/json")
            .and_then(|json| json.child("examples"))
            .expect("examples");
        for (name, example) in json.members() {
            let answer = ingestor
                .post(path, &example.value()["value"])
                .await
                .status(200)
                .json();
            assert!(answer["warnings"].is_null(), "{path} {name}: {answer}");
        }
        let lines = content
            .child("application/x-ndjson")
            .expect("lines")
            .value()["example"]
            .as_str();
        let answer = ingestor
            .header("content-type", "application/x-ndjson")
            .post_bytes(path, lines.expect("an example"))
            .await
            .status(200)
            .json();
        assert!(answer["warnings"].is_null(), "{path}: {answer}");
    }
}

/// Every field of the code, and one that nobody knows, in an item of each kind.
#[tokio::test]
async fn answers_are_described_where_everything_is_said() {
    let everything = |kind| -> Value {
        let fields = fields::of(kind).0;
        let item: Map<String, Value> = fields
            .iter()
            .map(|field| (field.name.to_owned(), sample(&field.rule)))
            .collect();
        let mut item = Value::from(item);
        item["somethingNew"] = json!({ "is": "kept" });
        item
    };
    let mut call = json!({
        "session": everything(Kind::Session),
        "turns": [everything(Kind::Turn), everything(Kind::Turn)],
        "toolCalls": [everything(Kind::ToolCall), { "turn": 7 }],
        "interruptions": [everything(Kind::Interruption)],
        "errors": [everything(Kind::Error), { "message": "no more is known" }],
        "spans": [everything(Kind::Span)],
        "speech": [everything(Kind::Speech)],
        "network": [everything(Kind::Network)],
        "evaluations": [everything(Kind::Evaluation)]
    });
    call["session"]["sessionId"] = json!("s");
    call["session"]["status"] = json!("completed");
    call["turns"][1]["index"] = json!(1);
    call["turns"][1]["speaker"] = json!("user");

    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let answer = acme
        .ingestor()
        .await
        .post("/v1/ingest/calls", &call)
        .await
        .status(200)
        .json();
    assert_eq!(
        answer["warnings"].as_array().map(Vec::len),
        Some(10),
        "{answer}"
    );
    for scopes in ["sessions:read", "sessions:read,transcripts:read"] {
        let reader = acme.client(scopes).await;
        for path in ["/v1/observability/sessions", "/api/v1/voice-sessions"] {
            reader.get(path).await.status(200);
            let one = reader.get(&format!("{path}/s")).await.status(200).json();
            let withheld = one["contentWithheld"] == true || one["content_withheld"] == true;
            assert_eq!(withheld, !scopes.contains("transcripts"), "{path}");
            assert_eq!(one["summary"].is_null(), withheld, "{path}");
        }
        reader.get("/v1/traces/session/s").await.status(200);
        let trace = reader.get("/v1/traces/session/s/text").await.status(200);
        let trace = trace.json()["trace"].clone();
        let withheld = trace["contentWithheld"] == true;
        assert_eq!(withheld, !scopes.contains("transcripts"));
        assert_eq!(trace["observations"][0]["metadata"].is_null(), withheld);
        let summary = reader
            .get("/api/v1/analytics/summary")
            .await
            .status(200)
            .json();
        assert!(summary["total_cost_usd"].is_number(), "{summary}");
    }
}
