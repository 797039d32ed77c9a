//! How calls end, also those that have several conversations, each in a trace of its own.

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

#[test]
fn an_answer_that_ends_the_call_is_one_though_its_exchange_was_over_before_it_was_spoken() {
    let cut = json!({"turn.was_interrupted": true});
    let calls = json!([{"role": "user", "content": "Yes."},
        {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "done", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "{\"ok\":true}"}]);
    let used = |output: Option<&str>, input: Value| {
        json!({"output": output, "input": input.to_string(), "metrics.ttfb": 0.19, "gen_ai.usage.input_tokens": 118,
            "gen_ai.usage.output_tokens": 6})
    };
    let events = understood(vec![
        call(5.1),
        span("t4", "turn", (0.2, 2.13), cut),
        stt("t4/s1", (0.0, 1.37), "Yes."),
        span(
            "t4/l1",
            "llm",
            (1.72, 1.93),
            used(None, json!([{"role": "user", "content": "Yes."}])),
        ),
        span(
            "call/l2",
            "llm",
            (2.14, 2.37),
            used(Some("Goodbye."), calls),
        ),
        tts("call/v1", (2.37, 2.5), 0.12, "Goodbye."),
    ]);
    assert_eq!(said(&events), ["Yes.", "Goodbye."]);
    let turns = of(&events, Kind::Turn);
    for name in ["cancelled", "failed", "interrupted", "latencyMs"] {
        assert!(!turns[1].contains_key(name), "{name} of {:?}", turns[1]);
    }
    assert_eq!(turns[1]["llmCalls"].as_array().map(Vec::len), Some(2));
    assert_eq!(of(&events, Kind::ToolCall)[0]["turn"], 1);
}

#[test]
fn what_is_generated_when_the_call_is_over_is_no_more_of_the_answer_that_it_broke_off() {
    let cut = json!({"turn.was_interrupted": true});
    let broken_off = |next: Gist| {
        understood(vec![
            call(5.1),
            tts("t3/v0", (-2.0, -1.9), 0.1, "And you?"),
            span("t4", "turn", (0.2, 2.13), cut.clone()),
            stt("t4/s1", (0.0, 1.37), "Yes."),
            llm("t4/l1", (1.72, 2.1), 0.2, "Goodbye."),
            next,
        ])
    };
    let events = broken_off(llm("call/l2", (2.5, 4.5), 0.3, "The caller said yes."));
    assert_eq!(said(&events)[2..], ["Goodbye.", "The caller said yes."]);
    let events = broken_off(tts("call/v1", (2.14, 2.3), 0.12, "Goodbye."));
    assert_eq!(said(&events)[2..], ["Goodbye."]);
}

/// A call that ends while a generation runs, of which nothing is told but a clock.
fn left_waiting(before: Vec<Gist>, ttfb: f64) -> Vec<Event> {
    let silent = json!({"metrics.ttfb": ttfb, "gen_ai.request.model": "m"});
    let mut gists = vec![
        call(8.8),
        exchange("t1", (0.0, 3.7), 1.06, false),
        span(
            "t2",
            "turn",
            (3.7, 8.8),
            json!({"turn.was_interrupted": true}),
        ),
        stt("t2/s1", (3.5, 5.1), "Is anybody there?"),
        span("t2/l1", "llm", (5.5, 8.77), silent),
    ];
    gists.extend(before);
    understood(gists)
}

#[test]
fn a_generation_of_which_nothing_came_until_the_call_was_over_is_no_answer() {
    let used = json!({"output": "Hi.", "metrics.ttfb": 0.2, "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 22, "gen_ai.usage.output_tokens": 2});
    let before = vec![
        stt("t1/s1", (0.0, 1.6), "Hello."),
        span("t1/l1", "llm", (1.9, 2.2), used),
        tts("t1/v1", (2.2, 2.3), 0.12, "Hi."),
    ];
    for (before, ttfb) in [(Vec::new(), 3.2695), (before, 3.25)] {
        let events = left_waiting(before, ttfb);
        let turns = of(&events, Kind::Turn);
        assert_eq!(turns.last().unwrap()["cancelled"], true);
    }
    // It may have called a tool that ended the call.
    let events = left_waiting(Vec::new(), 3.25);
    let turns = of(&events, Kind::Turn);
    assert!(!turns.last().unwrap().contains_key("cancelled"));
}
