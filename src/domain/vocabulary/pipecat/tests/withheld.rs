//! What models write that nobody is to hear.

use super::*;

/// A generation of a model that marks whether the user has finished. The mark stands in no output.
fn marked(id: &str, during: (f64, f64), tokens: u32, output: Option<&str>) -> Gist {
    let attributes = json!({"output": output, "metrics.ttfb": 0.19, "gen_ai.request.model": "m",
        "param.filter_incomplete_user_turns": true, "gen_ai.usage.input_tokens": 900, "gen_ai.usage.output_tokens": tokens,
        "input": json!([{"role": "user", "content": "Let me think."}]).to_string()});
    span(id, "llm", during, attributes)
}

fn thinking(waiting: Gist) -> Vec<Event> {
    understood(vec![
        call(12.0),
        exchange("t1", (0.0, 10.0), 1.07, true),
        stt("t1/s1", (0.0, 1.34), "Let me think."),
        waiting,
        stt("t1/s2", (5.3, 6.7), "Two of them."),
        marked("t1/l2", (7.0, 7.3), 4, Some(" Two it is.")),
        tts("t1/v2", (7.3, 7.4), 0.12, "Two it is."),
    ])
}

#[test]
fn a_user_who_has_more_to_say_was_not_left_without_an_answer() {
    let as_text = json!({"output": "○", "metrics.ttfb": 0.19, "gen_ai.usage.input_tokens": 900,
        "gen_ai.usage.output_tokens": 1});
    for waiting in [
        marked("t1/l1", (1.7, 1.9), 1, None),
        span("t1/l1", "llm", (1.7, 1.9), as_text),
    ] {
        let events = thinking(waiting);
        assert_eq!(said(&events), ["Let me think. Two of them.", "Two it is."]);
        let turns = of(&events, Kind::Turn);
        assert_eq!(turns[1]["latencyMs"], 1070.0);
        assert_eq!(turns[1]["llmMs"], 190.0);
        let calls = turns[1]["llmCalls"].as_array().unwrap();
        assert_eq!(calls.len(), 2);
        assert_eq!(
            (&calls[0]["beside"], &calls[0]["completionTokens"]),
            (&json!(true), &json!(1))
        );
        assert!(calls[1].get("beside").is_none());
        assert_eq!(of(&events, Kind::Session)[0]["usage"]["promptTokens"], 1800);
    }
}

#[test]
fn a_model_that_called_a_tool_has_not_waited_for_the_user() {
    let told = json!([{"role": "user", "content": "Let me think."},
        {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "{}"}]);
    let next = json!({"output": "Found.", "metrics.ttfb": 0.2, "input": told.to_string()});
    let events = understood(vec![
        call(8.0),
        exchange("t1", (0.0, 6.0), 1.5, true),
        stt("t1/s1", (0.0, 1.34), "Find it."),
        marked("t1/l1", (1.7, 1.9), 6, None),
        span("t1/l2", "llm", (2.1, 2.4), next),
        tts("t1/v1", (2.4, 2.5), 0.12, "Found."),
    ]);
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns.len(), 2);
    let calls = turns[1]["llmCalls"].as_array().unwrap();
    assert!(
        calls.iter().all(|call| call.get("beside").is_none()),
        "{calls:?}"
    );
    assert_eq!(of(&events, Kind::ToolCall)[0]["turn"], 1);
}

#[test]
fn what_was_never_answered_is_no_wait_for_the_user() {
    let unmarked = json!({"metrics.ttfb": 0.19, "gen_ai.usage.input_tokens": 900, "gen_ai.usage.output_tokens": 1});
    let events = thinking(span("t1/l1", "llm", (1.7, 1.9), unmarked));
    assert_eq!(of(&events, Kind::Turn)[1]["cancelled"], true);
}

#[test]
fn who_has_a_key_pressed_has_not_failed_to_speak() {
    let answered = |written: &str| {
        let events = understood(vec![
            call(12.0),
            exchange("t1", (0.0, 10.0), 2.8, false),
            stt("t1/s1", (0.0, 2.0), "Press one for cards."),
            llm("t1/l1", (2.3, 2.5), 0.19, "<mode>ivr</mode>"),
            llm("t1/l2", (2.5, 2.7), 0.19, written),
            stt("t1/s2", (6.2, 9.4), "Say what it is about."),
            llm("t1/l3", (9.8, 10.0), 0.18, "Lost card."),
            tts("t1/v1", (10.0, 10.1), 0.12, "Lost card."),
        ]);
        let turn = of(&events, Kind::Turn)[1].clone();
        assert_eq!(turn["text"], written);
        turn
    };
    for written in [
        "<dtmf>1</dtmf>",
        " <ivr>detected</ivr> <dtmf>1</dtmf>",
        "<ivr>wait</ivr>",
    ] {
        let turn = answered(written.trim());
        assert!(!turn.contains_key("cancelled"), "{turn:?}");
        assert_eq!(turn["metadata"]["untimed"], true);
    }
    for written in ["One.", "<dtmf>1", "<b>1</b>", "<dtmf>1</dtmf> Cards."] {
        assert_eq!(answered(written)["cancelled"], true, "{written}");
    }
}
