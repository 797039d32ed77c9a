//! What generations were given and wrote, where that is told in log records beside their spans.

use serde_json::{Value, json};

use crate::support::{Client, TestServer};

use super::{TRACES, list, request, seen, span};

const LOGS: &str = "/v1/logs";

/// What is sent, one of the two.
enum Sent {
    Spans(Vec<Value>),
    Records(Vec<Value>),
}

fn text(text: &str) -> Value {
    json!({"stringValue": text})
}

fn object(name: &str, value: &Value) -> Value {
    json!({"kvlistValue": {"values": [{"key": name, "value": value}]}})
}

/// A record so many milliseconds behind the start of a span.
fn record(of: u8, ms: u64, name: &str, body: &Value) -> Value {
    let at = 1_749_636_000_000_000_000_u64 + u64::from(of) * 1_000_000_000 + ms * 1_000_000;
    json!({
        "traceId": format!("{:032x}", 1), "spanId": format!("{of:016x}"), "eventName": name,
        "observedTimeUnixNano": at.to_string(), "severityNumber": 9, "body": body,
    })
}

async fn send(ingestor: &Client, sent: &Sent) {
    match sent {
        Sent::Spans(spans) => drop(ingestor.post(TRACES, &request(spans)).await.status(200)),
        Sent::Records(records) => {
            let logs = json!({"resourceLogs": [{"scopeLogs": [
                {"scope": {"name": "own"}, "logRecords": records}
            ]}]});
            let answer = ingestor.post(LOGS, &logs).await.status(200).json();
            assert_eq!(answer, json!({}), "all of them are kept");
        }
    }
}

#[tokio::test]
async fn messages_in_log_records_are_said_in_any_order_and_split() {
    let generation = |id: u8| {
        let mut chat = span(
            1,
            id,
            &json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "claude"}),
        );
        chat["parentSpanId"] = json!(format!("{:016x}", 9));
        chat["name"] = json!("chat claude");
        chat
    };
    let mut root = span(1, 1, &json!({"session.id": "desk-1"}));
    root["spanId"] = json!(format!("{:016x}", 9));
    root["name"] = json!("conversation");
    root["endTimeUnixNano"] = json!("1749636009000000000");
    let spans = vec![generation(2), generation(5), root];
    let said = |words: &str| object("content", &text(words));
    let choice = |words: &str| object("message", &said(words));
    let records = vec![
        record(2, 1, "gen_ai.system.message", &said("Be kind.")),
        record(2, 2, "gen_ai.user.message", &said("Where is A1?")),
        record(2, 400, "gen_ai.choice", &choice("It shipped.")),
        record(5, 1, "gen_ai.system.message", &said("Be kind.")),
        record(5, 2, "gen_ai.user.message", &said("Where is A1?")),
        record(5, 3, "gen_ai.assistant.message", &said("It shipped.")),
        record(5, 4, "gen_ai.user.message", &said("And A2?")),
        record(5, 400, "gen_ai.choice", &choice("It is here.")),
    ];
    let together = vec![Sent::Spans(spans.clone()), Sent::Records(records.clone())];
    let before = vec![Sent::Records(records.clone()), Sent::Spans(spans.clone())];
    let apart = records
        .iter()
        .rev()
        .map(|record| Sent::Records(vec![record.clone()]));
    let spans_apart = spans.iter().map(|span| Sent::Spans(vec![span.clone()]));
    let mut apart: Vec<Sent> = apart.chain(spans_apart).collect();
    // Again, as after an answer that did not come.
    apart.push(Sent::Records(records));
    let server = TestServer::start().await;
    let mut told = Vec::new();
    for (name, requests) in [("together", together), ("before", before), ("apart", apart)] {
        let tenant = server.tenant(name).await;
        let ingestor = tenant.ingestor().await;
        for sent in &requests {
            send(&ingestor, sent).await;
        }
        told.push(seen(&tenant.transcripts().await, "desk-1").await);
    }
    let turns = list(&told[0]["detail"]["turns"]);
    let texts: Vec<&Value> = turns.iter().map(|turn| &turn["text"]).collect();
    assert_eq!(
        texts,
        ["Where is A1?", "It shipped.", "And A2?", "It is here."]
    );
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
}

#[tokio::test]
async fn messages_of_a_generation_in_one_record_are_its_input_and_output() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let chat = span(
        1,
        2,
        &json!({"session.id": "desk-1", "gen_ai.operation.name": "chat", "gen_ai.request.model": "gemini"}),
    );
    send(&ingestor, &Sent::Spans(vec![chat])).await;
    let messages = |role: &str, words: &str| {
        json!([{"role": role, "parts": [{"type": "text", "content": words}]}]).to_string()
    };
    let mut details = record(2, 400, "", &Value::Null);
    details["attributes"] = json!([
        {"key": "event.name", "value": text("gen_ai.client.inference.operation.details")},
        {"key": "gen_ai.input.messages", "value": text(&messages("user", "Where is A1?"))},
        {"key": "gen_ai.output.messages", "value": text(&messages("model", "It shipped."))},
    ]);
    send(&ingestor, &Sent::Records(vec![details])).await;
    let told = seen(&acme.transcripts().await, "desk-1").await;
    let turns = list(&told["detail"]["turns"]);
    let texts: Vec<&Value> = turns.iter().map(|turn| &turn["text"]).collect();
    assert_eq!(texts, ["Where is A1?", "It shipped."]);
    // Without the right to read what was said nobody is told it beside the span either.
    let path = "/v1/traces/session/desk-1";
    let listed = acme.reader().await.get(path).await.status(200).json();
    let id = listed["traces"][0]["traceId"]
        .as_str()
        .expect("a trace")
        .to_owned();
    let path = format!("{path}/{id}");
    let withheld = acme.reader().await.get(&path).await.status(200).json();
    assert!(!withheld.to_string().contains("A1"), "{withheld}");
    let shown = acme.transcripts().await.get(&path).await.status(200).json();
    let observations = list(&shown["trace"]["observations"]);
    let event = observations
        .iter()
        .find(|o| o["type"] == "event")
        .expect("an event");
    assert_eq!(event["parentObservationId"], format!("{:016x}", 2));
    assert_eq!(event["output"][0]["parts"][0]["content"], "It shipped.");
}
