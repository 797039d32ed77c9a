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
        exchange("t1", (0.0, 10.9), 1.0, false),
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
    gists.push(given("t1/l4", (11.5, 11.9), &all, Some("Three.")));
    let events = understood(gists);
    let over = tools(&events);
    assert_eq!((over.len(), &over[0]["result"]), (1, &json!({"hits": 3})));
    assert_eq!(
        (&over[0]["startMs"], &over[0]["endMs"]),
        (&json!(2100), &json!(11500))
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

/// A call, its result and an answer, as the APIs have them which Pipecat writes down.
fn by_provider(result: Value, text: &str) -> Vec<[Value; 5]> {
    let gemini = |role: &str, part: Value| json!({"role": role, "parts": [part]});
    let listed = |role: &str, part: Value| json!({"role": role, "content": [part]});
    let gemini_result = match &result {
        Value::Object(_) => result.clone(),
        _ => json!({"value": result}),
    };
    let bedrock_result = match &result {
        Value::String(text) => json!([{"text": text}]),
        _ => json!([{"json": result}]),
    };
    let arguments = json!({"x": "Kiel"});
    vec![
        [
            gemini("user", json!({"text": "Warm?"})),
            json!({"role": "model", "parts": [{"thought_signature": "...",
                "function_call": {"id": "c1", "args": arguments, "name": "weather"}}]}),
            gemini(
                "user",
                json!({"function_response": {"id": "c1", "name": "weather", "response": gemini_result}}),
            ),
            gemini("model", json!({"text": text})),
            gemini("user", json!({"text": "Thanks."})),
        ],
        [
            listed("user", json!({"text": "Warm?"})),
            listed(
                "assistant",
                json!({"toolUse": {"toolUseId": "c1", "name": "weather", "input": arguments}}),
            ),
            listed(
                "user",
                json!({"toolResult": {"toolUseId": "c1", "content": bedrock_result}}),
            ),
            listed("assistant", json!({"text": text})),
            listed("user", json!({"text": "Thanks."})),
        ],
        [
            user("Warm?"),
            listed(
                "assistant",
                json!({"type": "tool_use", "id": "c1", "name": "weather", "input": arguments}),
            ),
            listed(
                "user",
                json!({"type": "tool_result", "tool_use_id": "c1",
                    "content": result.as_str().map_or_else(|| result.to_string(), str::to_owned)}),
            ),
            answer(text),
            user("Thanks."),
        ],
    ]
}

#[test]
fn tools_are_read_in_the_messages_of_every_provider() {
    for messages in by_provider(json!({"error": "no such town"}), "I do not know.") {
        let events = understood(vec![
            call(20.0),
            exchange("t1", (0.0, 8.0), 1.0, false),
            stt("t1/s1", (0.0, 1.4), "Warm?"),
            given("t1/l1", (1.7, 2.1), &messages[..1], None),
            given("t1/l2", (2.8, 3.1), &messages[..3], Some("I do not know.")),
            tts("t1/v2", (3.1, 3.3), 0.1, "I do not know."),
            exchange("t2", (8.0, 14.0), 1.0, false),
            stt("t2/s1", (8.0, 9.4), "Thanks."),
            given("t2/l1", (9.7, 9.9), &messages, Some("Bye.")),
            tts("t2/v1", (9.9, 10.1), 0.1, "Bye."),
        ]);
        let tools = tools(&events);
        assert_eq!((tools.len(), &tools[0]["turn"]), (1, &json!(1)));
        let told = |name: &str| tools[0][name].clone();
        assert_eq!(
            (told("name"), told("callId")),
            (json!("weather"), json!("c1"))
        );
        assert_eq!(told("arguments"), json!({"x": "Kiel"}));
        assert_eq!((told("startMs"), told("endMs")), (json!(2100), json!(2800)));
        assert_eq!(told("error"), json!("no such town"));
    }
}

#[test]
fn a_result_that_is_no_object_is_what_the_tool_gave() {
    let given_back = |result: &str| {
        let all = by_provider(json!(result), "So.")
            .into_iter()
            .map(|messages| {
                let events = understood(vec![
                    call(20.0),
                    exchange("t1", (0.0, 8.0), 1.0, false),
                    stt("t1/s1", (0.0, 1.4), "Warm?"),
                    given("t1/l1", (1.7, 2.1), &messages[..1], None),
                    given("t1/l2", (2.8, 3.1), &messages[..3], Some("So.")),
                ]);
                tools(&events)[0].get("result").cloned()
            });
        all.collect::<Vec<_>>()
    };
    assert_eq!(given_back("\"noted\""), vec![Some(json!("noted")); 3]);
    assert_eq!(given_back("IN_PROGRESS"), vec![None; 3]);
    let running = told("user", "running", None)["content"].clone();
    assert_eq!(given_back(running.as_str().unwrap()), vec![None; 3]);
}

#[test]
fn an_application_that_speaks_as_users_do_leaves_a_tool_its_end() {
    let spoken_on = |mut messages: Vec<Value>, name: &str, heard: bool| {
        let part = match name {
            "parts" => json!({"text": "Ask for the name now."}),
            _ => json!({"type": "text", "text": "Ask for the name now."}),
        };
        messages[2][name].as_array_mut().unwrap().push(part);
        let mut gists = vec![
            call(20.0),
            exchange("t1", (0.0, 8.0), 1.0, false),
            stt("t1/s1", (0.0, 1.4), "Warm?"),
            given("t1/l1", (1.7, 2.1), &messages[..1], None),
            given("t1/l2", (4.8, 5.1), &messages[..3], Some("Your name?")),
            tts("t1/v2", (5.1, 5.3), 0.1, "Your name?"),
        ];
        gists.extend(heard.then(|| stt("t1/s2", (3.0, 4.4), "Hello?")));
        tools(&understood(gists))[0].get("endMs").cloned()
    };
    let names = ["parts", "content", "content"];
    let all = by_provider(json!({"ok": true}), "Your name?");
    for (messages, name) in all.into_iter().zip(names) {
        assert_eq!(spoken_on(messages.to_vec(), name, false), Some(json!(4800)));
        assert_eq!(spoken_on(messages.to_vec(), name, true), None);
    }
}

#[test]
fn a_result_that_waited_behind_speech_does_not_say_when_its_tool_was_done() {
    let asked = [user("Where is it?"), asks("c1")];
    let told = [asked.as_slice(), &[result("c1", "{\"ok\": 1}")]].concat();
    let made = |over: f64, next: f64| {
        understood(vec![
            call(20.0),
            exchange("t1", (0.0, over), 1.0, false),
            stt("t1/s1", (0.2, 1.4), "Where is it?"),
            given(
                "t1/l1",
                (1.8, 2.3),
                &asked[..1],
                Some("Please stay on the line."),
            ),
            tts("t1/v1", (2.3, 2.8), 0.1, "Please stay on the line."),
            given("t1/l2", (next, next + 0.2), &told, Some("In Berlin.")),
            tts("t1/v2", (next + 0.2, next + 0.4), 0.1, "In Berlin."),
        ])
    };
    let ended = |over: f64, next: f64| {
        let events = made(over, next);
        let tools = tools(&events);
        assert_eq!(tools[0]["startMs"], 2300);
        assert_eq!(tools[0]["result"], json!({"ok": 1}));
        tools[0].get("endMs").cloned()
    };
    assert_eq!(ended(9.0, 5.4), None, "it may have been done long before");
    assert_eq!(ended(9.0, 2.35), Some(json!(2350)), "nothing was heard yet");
    let silent = "the agent had been silent for a while";
    assert_eq!(ended(6.2, 8.1), Some(json!(8100)), "{silent}");
}
