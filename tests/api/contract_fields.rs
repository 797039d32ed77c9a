//! A session of which everything is said that can be said: every reader shows it as `openapi.yaml`
//! describes, and shows no content to a key without `transcripts:read`.

use serde_json::{Map, Value, json};
use voxray::domain::event::{Kind, NATIVE_KINDS};
use voxray::domain::fields;
use voxray::domain::fields::{Field, Rule};

use super::support::contract::{document, resolve};
use super::support::{Client, TestServer, now};

/// Stands in every field that tells what was said, and in no other.
const SAID: &str = "what was said";
const CONTENT: [&str; 6] = ["message", "notes", "sttText", "summary", "text", "word"];

#[tokio::test]
async fn every_field_of_events_is_shown_as_described() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let events: Vec<Value> = NATIVE_KINDS
        .iter()
        .map(|(word, kind)| {
            let mut event = filled(fields::of(*kind).0);
            event.extend(object(
                json!({ "type": word, "sessionId": "full", "at": now() }),
            ));
            Value::Object(event)
        })
        .collect();
    let answer = acme
        .ingestor()
        .await
        .post("/v1/ingest/events", &json!({ "events": events }))
        .await;
    let expected = json!({ "accepted": events.len(), "duplicates": 0, "rejected": [] });
    assert_eq!(answer.status(200).json(), expected);
    assert!(said(&acme.client("sessions:read,transcripts:read").await).await > 15);
    assert_eq!(said(&acme.reader().await).await, 0);
}

#[tokio::test]
async fn every_field_of_a_call_is_shown_as_described() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let lists = [
        ("turns", Kind::Turn),
        ("toolCalls", Kind::ToolCall),
        ("interruptions", Kind::Interruption),
        ("errors", Kind::Error),
        ("spans", Kind::Span),
        ("speech", Kind::Speech),
        ("network", Kind::Network),
        ("evaluations", Kind::Evaluation),
    ];
    let mut call = Map::new();
    let mut session = filled(fields::of(Kind::Session).0);
    session.insert("sessionId".to_owned(), json!("full"));
    call.insert("session".to_owned(), Value::Object(session));
    for (list, kind) in lists {
        call.insert(list.to_owned(), json!([filled(fields::of(kind).0)]));
    }
    let described = document()["components"]["schemas"]["Call"]["properties"].as_object();
    for name in described.into_iter().flatten().map(|(name, _)| name) {
        let is_known =
            call.contains_key(name) || ["id", "at", "recording"].contains(&name.as_str());
        assert!(is_known, "`{name}` is described and not tried");
    }
    let answer = acme
        .ingestor()
        .await
        .post("/v1/ingest/calls", &Value::Object(call))
        .await;
    let expected = json!({ "accepted": 1, "duplicates": 0, "rejected": [] });
    assert_eq!(answer.status(200).json(), expected);
    assert!(said(&acme.client("sessions:read,transcripts:read").await).await > 15);
    assert_eq!(said(&acme.reader().await).await, 0);
}

#[tokio::test]
async fn the_documents_own_requests_are_accepted_without_a_word() {
    let server = TestServer::start().await;
    // The examples are of a later year than the tests.
    server.clock.advance(chrono::TimeDelta::days(365));
    let ingestor = server.tenant("acme").await.ingestor().await;
    let mut sent = 0;
    for path in ["/v1/ingest/events", "/v1/ingest/calls"] {
        let content = &document()["paths"][path]["post"]["requestBody"]["content"];
        let examples = content["application/json"]["examples"].as_object();
        for example in examples.into_iter().flatten().map(|(_, example)| example) {
            let answer = ingestor
                .post(path, &resolve(example)["value"])
                .await
                .status(200)
                .json();
            assert!(answer["accepted"].as_u64() > Some(0), "{answer}");
            assert_eq!(answer.get("warnings"), None);
            sent += 1;
        }
    }
    assert_eq!(sent, 3);
}

/// Reads the session everywhere, and counts what content the answers hold.
async fn said(reader: &Client) -> usize {
    let mut count = 0;
    for path in [
        "/v1/observability/sessions",
        "/v1/observability/sessions/full",
        "/api/v1/voice-sessions",
        "/api/v1/voice-sessions/full",
    ] {
        let answer = reader.get(path).await.status(200);
        count += answer.text().matches(SAID).count() + answer.text().matches("+1555").count();
    }
    count
}

fn filled(fields: &'static [Field]) -> Map<String, Value> {
    fields
        .iter()
        .map(|field| (field.name.to_owned(), value(field)))
        .collect()
}

fn value(field: &'static Field) -> Value {
    match &field.rule {
        Rule::Text(_) if ["from", "to"].contains(&field.name) => json!("+15550123"),
        Rule::Text(_) if CONTENT.contains(&field.name) => json!(SAID),
        Rule::Text(_) | Rule::Id => json!(field.name),
        Rule::Number(_, max) => json!(max.min(1.5)),
        Rule::Whole(min, _) => json!(*min as i64 + 1),
        Rule::Bool => json!(true),
        Rule::OneOf(words) => json!(words[0]),
        Rule::Time => json!("2025-06-11T11:59:59.250Z"),
        Rule::Strings(_) => json!([field.name]),
        Rule::Object(fields) => Value::Object(filled(fields)),
        Rule::List(_, fields) => json!([filled(fields)]),
        Rule::AnyObject | Rule::Any => json!({ "any": SAID }),
    }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
