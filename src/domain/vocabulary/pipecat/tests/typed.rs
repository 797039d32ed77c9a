//! Users who type: their words stand in what generations are given.

use super::*;

fn generation(id: &str, during: (f64, f64), given: Value, output: Option<&str>) -> Gist {
    let attributes = json!({"input": given.to_string(), "output": output, "metrics.ttfb": 0.18, "gen_ai.request.model": "m"});
    span(id, "llm", during, attributes)
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn agent(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

/// One that the end of the call broke off, so that nothing was measured.
fn unanswered_exchange() -> Gist {
    let told = json!({"turn.was_interrupted": true});
    span("t1", "turn", (0.0, 5.0), told)
}

#[test]
fn each_answer_to_what_was_typed_is_a_turn() {
    let first = json!([user("Weather?")]);
    let second = json!([user("Weather?"), agent("Sunny."), user("And tomorrow?")]);
    let events = understood(vec![
        call(6.0),
        unanswered_exchange(),
        generation("t1/l1", (0.4, 0.7), first, Some("Sunny.")),
        generation("t1/l2", (1.9, 2.2), second, Some("Rain.")),
    ]);
    assert_eq!(said(&events), ["Sunny.", "Rain."]);
    let turns = of(&events, Kind::Turn);
    assert!(turns.iter().all(|turn| !turn.contains_key("latencyMs")));
}

#[test]
fn an_answer_goes_on_behind_its_tool() {
    let call_of_tool = json!({"role": "assistant", "tool_calls": [{"id": "c1", "type": "function",
        "function": {"name": "weather", "arguments": "{}"}}]});
    let result = json!({"role": "tool", "tool_call_id": "c1", "content": "{\"sky\":\"clear\"}"});
    let told = json!([user("Weather?"), call_of_tool, result, {"role": "developer", "content": "Be brief."}]);
    let events = understood(vec![
        call(6.0),
        unanswered_exchange(),
        generation(
            "t1/l1",
            (0.4, 0.7),
            json!([user("Weather?")]),
            Some("Let me look."),
        ),
        generation("t1/l2", (1.9, 2.2), told, Some("Sunny.")),
    ]);
    assert_eq!(of(&events, Kind::Turn).len(), 1);
}

/// A call in which the user types in the middle of an exchange; the generation behind that is spoken, or is not.
fn typed_between(spoken: Option<&str>) -> Vec<Event> {
    let asked = json!([
        user("My balance?"),
        agent("Type your number."),
        user("4711")
    ]);
    let mut gists = vec![
        call(9.0),
        exchange("t1", (0.0, 8.0), 1.0, false),
        stt("t1/s1", (0.0, 1.4), "My balance?"),
        generation(
            "t1/l1",
            (1.7, 2.0),
            json!([user("My balance?")]),
            Some("Type your number."),
        ),
        tts("t1/v1", (2.0, 2.2), 0.1, "Type your number."),
        generation("t1/l2", (4.0, 4.3), asked, Some("Ten euros.")),
    ];
    gists.extend(spoken.map(|text| tts("t1/v2", (4.3, 4.5), 0.1, text)));
    understood(gists)
}

#[test]
fn what_was_typed_in_a_call_is_answered_by_itself_where_the_answer_is_spoken() {
    let events = typed_between(Some("Ten euros."));
    assert_eq!(
        said(&events),
        ["My balance?", "Type your number.", "Ten euros."]
    );
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns[1]["latencyMs"], 1000.0);
    assert!(!turns[2].contains_key("latencyMs"));
    // Another model was asked what it thinks of the answer.
    assert_eq!(
        said(&typed_between(None)),
        ["My balance?", "Type your number."]
    );
}
