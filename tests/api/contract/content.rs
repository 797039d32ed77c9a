//! What was said reaches nobody without `transcripts:read`, whichever field it was said in.

use serde_json::{Map, Value, json};
use voxray::domain::event::{Kind, NATIVE_KINDS};
use voxray::domain::fields;
use voxray::domain::fields::{Field, Rule};

use super::fields::sample;
use crate::support::{Client, TestServer, now};

/// Stands in every field that tells what was said, and in no other.
const SAID: &str = "what was said";
const CONTENT: [&str; 8] = [
    "code",
    "endReason",
    "message",
    "notes",
    "sttText",
    "summary",
    "text",
    "word",
];
const NUMBER: &str = "+15550123";

#[tokio::test]
async fn what_events_say_is_told_to_those_who_may_know() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let events: Vec<Value> = NATIVE_KINDS
        .iter()
        .map(|(word, kind)| {
            let mut event = said_in(fields::of(*kind).0);
            event.insert("type".to_owned(), json!(word));
            event.insert("sessionId".to_owned(), json!("full"));
            event.insert("at".to_owned(), json!(now()));
            Value::Object(event)
        })
        .collect();
    let sent = json!({ "events": events });
    let answer = acme.ingestor().await.post("/v1/ingest/events", &sent).await;
    let expected = json!({ "accepted": events.len(), "duplicates": 0, "rejected": [] });
    assert_eq!(answer.status(200).json(), expected);
    let both = acme.client("sessions:read,transcripts:read").await;
    assert!(content_in_answers(&both).await > 15);
    assert_eq!(content_in_answers(&acme.reader().await).await, 0);
}

#[tokio::test]
async fn what_a_call_says_is_told_to_those_who_may_know() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let said = |kind| json!([said_in(fields::of(kind).0)]);
    let mut session = said_in(fields::of(Kind::Session).0);
    session.insert("sessionId".to_owned(), json!("full"));
    let call = json!({
        "session": session,
        "turns": said(Kind::Turn),
        "toolCalls": said(Kind::ToolCall),
        "interruptions": said(Kind::Interruption),
        "errors": said(Kind::Error),
        "spans": said(Kind::Span),
        "evaluations": said(Kind::Evaluation),
    });
    let answer = acme.ingestor().await.post("/v1/ingest/calls", &call).await;
    let expected = json!({ "accepted": 1, "duplicates": 0, "rejected": [] });
    assert_eq!(answer.status(200).json(), expected);
    let both = acme.client("sessions:read,transcripts:read").await;
    assert!(content_in_answers(&both).await > 15);
    assert_eq!(content_in_answers(&acme.reader().await).await, 0);
}

/// Reads the session everywhere.
async fn content_in_answers(reader: &Client) -> usize {
    let mut count = 0;
    for path in [
        "/v1/observability/sessions",
        "/v1/observability/sessions/full",
        "/api/v1/voice-sessions",
        "/api/v1/voice-sessions/full",
        "/api/v1/analytics/errors",
        "/v1/traces/session/full",
        "/v1/traces/session/full/text",
        "/traces/view/text",
        "/v1/observability/calls/full",
        "/v1/observability/sessions/full/root-cause",
        "/v1/observability/calls/full/root-cause",
        "/api/v1/conversations",
        "/api/v1/conversations/full",
        "/api/v1/voice-sessions/full/evaluations",
        "/api/v1/voice-sessions/export",
        "/api/v1/voice-sessions/export?format=csv",
    ] {
        let text = reader.get(path).await.status(200).text();
        count += text.matches(SAID).count() + text.matches(NUMBER).count();
    }
    count
}

fn said_in(fields: &'static [Field]) -> Map<String, Value> {
    let members = fields
        .iter()
        .map(|field| (field.name.to_owned(), value(field)));
    members.collect()
}

fn value(field: &'static Field) -> Value {
    match &field.rule {
        Rule::Text(_) if ["from", "to"].contains(&field.name) => json!(NUMBER),
        Rule::Text(_) if CONTENT.contains(&field.name) => json!(SAID),
        Rule::AnyObject | Rule::Any => json!({ "any": SAID }),
        Rule::Object(fields) => Value::Object(said_in(fields)),
        Rule::List(_, fields) => json!([said_in(fields)]),
        rule => sample(rule),
    }
}
