//! Answers that others speak within.

use super::unheard::{answer, session, span, understood, user};
use super::*;

/// An answer that says something, and calls a tool that asks the user on its own; and what it says when that is done.
fn around_a_task() -> Vec<Gist> {
    let said = |text: &str| json!({"lk.pii.response.text": text});
    let turn = json!({
        "lk.speech_id": "a1", "lk.pii.response.text": "You are on the list.", "lk.pii.user_input": "I want a newsletter.",
        "lk.interrupted": false, "lk.e2e_latency": 1.1, "lk.transcription_delay": 0.4, "lk.end_of_turn_delay": 0.4,
    });
    let tool = json!({"lk.function_tool.name": "get_mail", "lk.function_tool.id": "c1", "lk.pii.function_tool.output": "done"});
    let used = json!({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 2});
    let mut gists = vec![session(30.0)];
    gists.extend(user("u1", (0.5, 1.5), "I want a newsletter."));
    gists.extend([
        span("a1", "agent_turn", (2.0, 14.0), turn),
        span("a1/1", "llm_node", (2.0, 2.2), said("Sure.")),
        span("a1/1/r", "llm_request", (2.0, 2.2), used.clone()),
        span("a1/tool", "function_tool", (2.2, 11.5), tool),
        span("a1/s1", "agent_speaking", (2.5, 3.0), json!({})),
        span(
            "a1/2",
            "llm_node",
            (11.6, 11.9),
            said("You are on the list."),
        ),
        span("a1/2/r", "llm_request", (11.6, 11.9), used),
        span("a1/s2", "agent_speaking", (12.1, 13.9), json!({})),
    ]);
    gists.extend(answer("a2", (3.1, 5.0), "Which address?"));
    gists.extend(user("u2", (6.0, 7.0), "bob@example.org"));
    gists.extend(answer("a3", (7.5, 9.0), "Is that bob?"));
    gists.extend(user("u3", (10.0, 11.0), "Yes."));
    gists
}

fn texts(events: &[Event]) -> Vec<&str> {
    let turns = of(events, Kind::Turn);
    turns
        .iter()
        .map(|turn| turn["text"].as_str().unwrap())
        .collect()
}

#[test]
fn an_answer_that_goes_on_behind_a_conversation_of_its_tool_is_told_in_the_order_of_time() {
    let events = understood(around_a_task());
    assert_eq!(
        texts(&events),
        [
            "I want a newsletter.",
            "Sure.",
            "Which address?",
            "bob@example.org",
            "Is that bob?",
            "Yes.",
            "You are on the list."
        ]
    );
    let turns = of(&events, Kind::Turn);
    let (first, last) = (turns[1], turns[6]);
    assert_eq!(
        (&first["startMs"], &first["endMs"]),
        (&json!(2500), &json!(3000))
    );
    assert_eq!(
        (&last["startMs"], &last["endMs"]),
        (&json!(12_100), &json!(13_900))
    );
    // It was the user's last word that the wait was measured from.
    assert_eq!(
        (first.get("latencyMs"), &last["latencyMs"]),
        (None, &json!(1100))
    );
    assert_eq!((first.get("sttMs"), &last["sttMs"]), (None, &json!(400)));
    for turn in [first, last] {
        assert_eq!(turn["usage"]["promptTokens"], 10);
        assert!(!turn.contains_key("interrupted") && !turn.contains_key("failed"));
    }
    assert_eq!(of(&events, Kind::ToolCall)[0]["turn"], 1);
    assert!(of(&events, Kind::Interruption).is_empty());
}

#[test]
fn an_answer_that_goes_on_behind_the_application_s_words_keeps_its_wait() {
    let is_conversation = |gist: &Gist| {
        ["u2", "u3", "a3"]
            .iter()
            .any(|id| gist.span_id.starts_with(id))
    };
    let mut gists = around_a_task();
    gists.retain(|gist| !is_conversation(gist));
    let events = understood(gists);
    assert_eq!(
        texts(&events),
        [
            "I want a newsletter.",
            "Sure.",
            "Which address?",
            "You are on the list."
        ]
    );
    let turns = of(&events, Kind::Turn);
    assert_eq!(
        (&turns[1]["latencyMs"], turns[3].get("latencyMs")),
        (&json!(1100), None)
    );
}

#[test]
fn an_answer_that_only_waits_for_its_tool_is_one() {
    let mut gists = around_a_task();
    gists.retain(|gist| {
        let id = &gist.span_id;
        id == "session" || id.starts_with("u1") || id.starts_with("a1")
    });
    let events = understood(gists);
    assert_eq!(
        texts(&events),
        ["I want a newsletter.", "Sure. You are on the list."]
    );
}

#[test]
fn what_an_answer_will_say_next_is_not_said_before_what_came_between() {
    let mut gists = around_a_task();
    gists.retain(|gist| !["session", "a1", "a1/s2"].contains(&gist.span_id.as_str()));
    let events = understood(gists);
    let said = texts(&events);
    assert_eq!(said[1], "Sure.");
    assert_eq!(said.last(), Some(&""), "not heard yet: {said:?}");
}

#[test]
fn the_wait_for_the_first_part_is_told_there() {
    // 1.6 measures it once, 1.8 again for each part that a user waited for.
    let mut gists = around_a_task();
    let whole = json!({"lk.speech_id": "a1", "lk.pii.response.text": "You are on the list.", "lk.e2e_latency": 1.0});
    gists.retain(|gist| gist.span_id != "a1");
    gists.push(span("a1", "agent_turn", (2.0, 14.0), whole));
    let events = understood(gists);
    let turns = of(&events, Kind::Turn);
    assert_eq!(
        (&turns[1]["latencyMs"], turns[6].get("latencyMs")),
        (&json!(1000), None)
    );
}
