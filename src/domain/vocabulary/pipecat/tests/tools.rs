//! Tools that do not lead straight to an answer: cut off, running on beside the conversation, or of another one.

use super::*;

const LATER: &str = "This tool is still running.";

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn answer(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

fn asks(id: &str) -> Value {
    let function = json!({"name": "search", "arguments": "{\"x\": \"all\"}"});
    json!({"role": "assistant", "tool_calls": [{"id": id, "function": function, "type": "function"}]})
}

fn result(id: &str, content: &str) -> Value {
    json!({"role": "tool", "content": content, "tool_call_id": id})
}

/// What the model is told of a tool that runs on.
fn told(role: &str, status: &str, result: Option<&str>) -> Value {
    let mut payload =
        json!({"type": "async_tool", "status": status, "tool_call_id": "c1", "description": LATER});
    if let Some(result) = result {
        payload["result"] = json!(result);
    }
    let mut message = json!({"role": role, "content": payload.to_string()});
    if role == "tool" {
        message["tool_call_id"] = json!("c1");
    }
    message
}

fn given(id: &str, during: (f64, f64), messages: &[Value], output: Option<&str>) -> Gist {
    let input = Value::from(messages).to_string();
    let mut attributes =
        json!({"input": input, "metrics.ttfb": 0.2, "gen_ai.usage.output_tokens": 3});
    if let Some(output) = output {
        attributes["output"] = json!(output);
    }
    span(id, "llm", during, attributes)
}

fn tools(events: &[Event]) -> Vec<&Map<String, Value>> {
    of(events, Kind::ToolCall)
}

#[test]
fn a_tool_is_of_the_answer_that_asked_for_it_though_the_user_spoke_on() {
    let asked = [
        user("All."),
        asks("c1"),
        result("c1", "CANCELLED"),
        user("No."),
    ];
    let events = understood(vec![
        call(20.0),
        exchange("t1", (0.0, 8.0), 1.0, false),
        stt("t1/s1", (0.0, 1.4), "All."),
        given("t1/l1", (1.7, 2.1), &asked[..1], None),
        stt("t1/s2", (3.5, 4.9), "No."),
        given("t1/l2", (5.2, 5.5), &asked, Some("Fine.")),
        tts("t1/v2", (5.4, 5.7), 0.1, "Fine."),
    ]);
    let tools = tools(&events);
    assert_eq!((tools.len(), &tools[0]["turn"]), (1, &json!(1)));
    assert_eq!(tools[0]["startMs"], 2100);
    assert!(
        !tools[0].contains_key("endMs"),
        "it was cut off some time before"
    );
}

#[test]
fn the_result_of_a_tool_that_runs_on_is_told_later() {
    let running = [
        user("All."),
        asks("c1"),
        told("tool", "running", None),
        user("Well?"),
    ];
    let partial = [answer("Wait."), told("developer", "running", Some("1"))];
    let over = [
        answer("Nearly."),
        told("developer", "finished", Some("{\"hits\": 3}")),
    ];
    let all = [running.as_slice(), &partial, &over].concat();
    let mut gists = vec![
        call(40.0),
        exchange("t1", (0.0, 30.0), 1.0, false),
        stt("t1/s1", (0.0, 1.4), "All."),
        given("t1/l1", (1.7, 2.1), &all[..1], None),
        stt("t1/s2", (3.2, 4.6), "Well?"),
        given("t1/l2", (4.9, 5.1), &all[..4], Some("Wait.")),
        tts("t1/v2", (5.1, 5.3), 0.1, "Wait."),
        given("t1/l3", (8.0, 8.2), &all[..6], Some("Nearly.")),
        tts("t1/v3", (8.2, 8.3), 0.1, "Nearly."),
    ];
    let events = understood(gists.clone());
    let pending = tools(&events);
    assert_eq!((pending.len(), &pending[0]["turn"]), (1, &json!(1)));
    assert!(!pending[0].contains_key("result") && !pending[0].contains_key("endMs"));
    gists.push(given("t1/l4", (9.5, 9.9), &all, Some("Three.")));
    let events = understood(gists);
    let over = tools(&events);
    assert_eq!((over.len(), &over[0]["result"]), (1, &json!({"hits": 3})));
    assert_eq!(
        (&over[0]["startMs"], &over[0]["endMs"]),
        (&json!(2100), &json!(9500))
    );
}

#[test]
fn calls_of_a_conversation_before_this_one_are_none_of_it() {
    let before = [
        user("5."),
        asks("old"),
        result("old", "{\"error\": \"down\"}"),
        answer("It is down."),
    ];
    let here = [user("Again."), asks("new"), result("new", "{\"ok\": true}")];
    let all = [before.as_slice(), &here].concat();
    let events = understood(vec![
        call(20.0),
        exchange("t1", (0.0, 8.0), 1.0, false),
        stt("t1/s1", (0.0, 1.4), "Again."),
        given("t1/l1", (1.7, 2.1), &all[..5], None),
        given("t1/l2", (2.4, 2.8), &all, Some("Done.")),
        tts("t1/v2", (2.8, 3.0), 0.1, "Done."),
    ]);
    let tools = tools(&events);
    assert_eq!((tools.len(), &tools[0]["callId"]), (1, &json!("new")));
    assert!(of(&events, Kind::Error).is_empty());
}
