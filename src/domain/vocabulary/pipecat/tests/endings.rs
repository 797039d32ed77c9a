//! Calls with several conversations, each in a trace of its own, and how they end.

use super::*;

fn of_another(mut gist: Gist) -> Gist {
    gist.trace_id = "another".to_owned();
    gist
}

fn reception(until: f64) -> Vec<Gist> {
    vec![
        span(
            "r",
            "conversation",
            (0.0, until),
            json!({"conversation.id": "c"}),
        ),
        exchange("t1", (0.0, 3.6), 1.09, true),
        stt("t1/s1", (0.02, 1.53), "I want sales."),
        llm("t1/l1", (1.88, 2.11), 0.19, "I connect you."),
        tts("t1/v1", (2.11, 2.24), 0.13, "I connect you."),
    ]
}

fn sales() -> Vec<Gist> {
    let gists = vec![
        exchange("a1", (6.0, 9.6), 1.04, false),
        stt("a1/s1", (6.1, 7.4), "A boat please."),
        llm("a1/l1", (7.8, 8.0), 0.19, "Which one?"),
        tts("a1/v1", (8.0, 8.1), 0.12, "Which one?"),
    ];
    gists.into_iter().map(of_another).collect()
}

fn session(gists: Vec<Gist>) -> Map<String, Value> {
    of(&understood(gists), Kind::Session)[0].clone()
}

fn told(session: &Map<String, Value>) -> (Option<&str>, bool) {
    let status = session.get("status").and_then(Value::as_str);
    (status, session.contains_key("endedAt"))
}

#[test]
fn a_call_that_another_bot_took_over_goes_on() {
    let with_first = reception(5.6);
    assert_eq!(
        told(&session(with_first.clone())),
        (Some("completed"), true)
    );
    let going_on = [with_first, sales()].concat();
    assert_eq!(told(&session(going_on.clone())), (None, false));
    let mut over = going_on;
    over.push(of_another(span(
        "s",
        "conversation",
        (5.9, 16.3),
        json!({}),
    )));
    let session = session(over);
    assert_eq!(told(&session), (Some("completed"), true));
    let ended_at = session["endedAt"].as_str().unwrap();
    assert!(ended_at.contains(":16.3"), "{ended_at}");
}

#[test]
fn a_call_that_began_anew_behind_a_process_that_died_is_over_with_its_last_conversation() {
    let died = reception(5.6)
        .into_iter()
        .filter(|gist| gist.span_id != "r");
    let mut gists: Vec<Gist> = died.collect();
    gists.extend(sales());
    assert_eq!(told(&session(gists.clone())), (None, false));
    gists.push(of_another(span(
        "s",
        "conversation",
        (5.9, 16.3),
        json!({}),
    )));
    assert_eq!(told(&session(gists)), (Some("completed"), true));
}

#[test]
fn how_a_call_ended_is_how_its_last_conversation_did() {
    let failed = json!({"turn.was_interrupted": true});
    let mut gists = reception(5.6);
    gists.extend(sales());
    gists.push(of_another(span("a2", "turn", (9.6, 16.0), failed)));
    gists.push(of_another(stt("a2/s2", (10.0, 11.5), "The red.")));
    let mut refused = fields("a2/l2", "llm", (12.0, 12.4), json!({}));
    refused["status"] = json!({"code": 2, "message": "RateLimitError: slow down"});
    let refused = vocabulary::gist(refused.as_object().unwrap());
    gists.push(of_another(refused.expect("something of a conversation")));
    gists.push(of_another(span(
        "s",
        "conversation",
        (5.9, 16.3),
        json!({}),
    )));
    assert_eq!(told(&session(gists)), (Some("failed"), true));
}
