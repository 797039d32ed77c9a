//! Exchanges by the conventions of GenAI, through the door: whole, and span by span in any order.

use serde_json::{Value, json};

use crate::support::TestServer;

use super::{TRACES, list, request, span};

/// Sends the same spans twice over, to two tenants, and answers what both see of the session.
async fn seen(server: &TestServer, name: &str, spans: &[Value]) -> Value {
    let mut told: Vec<Value> = Vec::new();
    for is_whole in [true, false] {
        let tenant = server.tenant(&format!("{name}-{is_whole}")).await;
        let ingestor = tenant.ingestor().await;
        let requests: Vec<Value> = match is_whole {
            true => vec![request(spans)],
            false => spans
                .iter()
                .rev()
                .map(|span| request(std::slice::from_ref(span)))
                .collect(),
        };
        for body in requests {
            ingestor.post(TRACES, &body).await.status(200);
        }
        let path = "/v1/observability/sessions/desk-1";
        let mut detail = tenant
            .transcripts()
            .await
            .get(path)
            .await
            .status(200)
            .json();
        detail["id"] = Value::Null;
        told.push(detail);
    }
    let (whole, parts) = (&told[0], &told[1]);
    assert_eq!(whole["turns"], parts["turns"]);
    assert_eq!(whole["errors"], parts["errors"]);
    told.swap_remove(0)
}

/// A span below the first, named as what it does.
fn below(id: u8, said: &Value) -> Value {
    let mut own = span(1, id, said);
    own["name"] = said["gen_ai.operation.name"].clone();
    if id > 1 {
        own["parentSpanId"] = json!(format!("{:016x}", 1));
    }
    own
}

fn said(detail: &Value) -> Vec<Value> {
    let turns = list(&detail["turns"]);
    let turns = turns
        .iter()
        .map(|turn| json!([turn["speaker"], turn["text"], turn["failed"]]));
    turns.collect()
}

#[tokio::test]
async fn an_agent_s_messages_are_its_exchange() {
    let server = TestServer::start().await;
    let message = |role: &str, text: &str| {
        json!([{"role": role, "parts": [{"type": "text", "content": text}]}]).to_string()
    };
    let agent = json!({
        "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "desk", "gen_ai.conversation.id": "desk-1",
        "gen_ai.input.messages": message("user", "And B2?"), "gen_ai.output.messages": message("assistant", "Lost."),
    });
    let chat = json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"});
    let expected = [
        json!(["user", "And B2?", false]),
        json!(["agent", "Lost.", false]),
    ];
    let own = below(1, &agent);
    for (name, spans) in [
        ("alone", vec![own.clone()]),
        ("with", vec![own, below(2, &chat)]),
    ] {
        let detail = seen(&server, name, &spans).await;
        assert_eq!(said(&detail), expected, "{name}: {detail}");
    }
}

#[tokio::test]
async fn a_retry_that_was_good_fails_no_turn() {
    let server = TestServer::start().await;
    let agent =
        json!({"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "desk-1"});
    let chat = json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "error.type": "529"});
    let mut first = below(2, &chat);
    first["status"] = json!({"code": 2, "message": "overloaded"});
    let good = json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"});
    let spans = [below(1, &agent), first, below(3, &good)];
    let detail = seen(&server, "repaired", &spans).await;
    assert_eq!(said(&detail), [json!(["agent", null, false])], "{detail}");
    assert_eq!(detail["errors"][0]["level"], "warning");
    let detail = seen(&server, "failed", &spans[..2]).await;
    assert_eq!(said(&detail), [json!(["agent", null, true])], "{detail}");
    assert_eq!(detail["errors"][0]["level"], "error");
}

#[tokio::test]
async fn who_says_the_same_again_is_answered_again() {
    let server = TestServer::start().await;
    let words = [
        "Book a table",
        "For two?",
        "Yes",
        "At eight?",
        "Yes",
        "Booked.",
    ];
    let messages = |texts: &[&str]| {
        let roles = ["user", "assistant"].into_iter().cycle();
        let told = texts.iter().zip(roles).map(
            |(text, role)| json!({"role": role, "parts": [{"type": "text", "content": text}]}),
        );
        told.collect::<Value>().to_string()
    };
    // A trace for each generation, or one for all.
    for is_apart in [true, false] {
        let generation = |n: u8| {
            let asked = 2 * usize::from(n);
            let trace = if is_apart { n + 1 } else { 1 };
            let chat = json!({
                "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.conversation.id": "desk-1",
                "gen_ai.input.messages": messages(&words[..=asked]),
                "gen_ai.output.messages": json!([{"role": "assistant", "content": words[asked + 1]}]).to_string(),
            });
            span(trace, 8 * n + 1, &chat)
        };
        let spans: Vec<Value> = (0..3).map(generation).collect();
        let detail = seen(&server, &format!("again-{is_apart}"), &spans).await;
        let sides = ["user", "agent"].into_iter().cycle();
        let expected = sides
            .zip(words)
            .map(|(side, text)| json!([side, text, false]));
        assert_eq!(said(&detail), expected.collect::<Vec<_>>(), "{detail}");
    }
}
