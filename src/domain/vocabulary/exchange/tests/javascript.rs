//! Spans as OpenTelemetry's SDK for JavaScript tells them: each begins at a whole millisecond, and ends to the microsecond.

use serde_json::{Value, json};

use super::{assert_said, message, span, told};
use crate::domain::event::Kind;

/// A span of a trace of its own, or below one span, whose milliseconds are these.
fn step(id: u8, is_loose: bool, times: (&str, &str), name: &str, said: &Value) -> Value {
    let mut step = span(id, 99, (0, 0), said);
    let at = |ms: &str| json!(format!("2026-01-17T10:00:00.{ms}Z"));
    step["name"] = json!(name);
    step["startedAt"] = at(times.0);
    step["endedAt"] = at(times.1);
    if is_loose {
        step["traceId"] = json!(format!("trace {id}"));
        step["parentSpanId"] = Value::Null;
    }
    step
}

fn chat(answer: &str) -> Value {
    json!({
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.output_tokens": 5,
        "gen_ai.input.messages": message("user", "Where is A1?"),
        "gen_ai.output.messages": message("assistant", answer),
    })
}

#[test]
fn what_follows_a_transcript_at_once_is_of_its_exchange() {
    let heard = json!({"transcript": "Where is A1?"});
    let tool = json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look"});
    for is_loose in [true, false] {
        let step = |id, times, name, said| step(id, is_loose, times, name, said);
        let spans = [
            step(1, ("066000", "076412"), "stt", &heard),
            step(2, ("076000", "083907"), "chat gpt-4o", &chat("")),
            step(3, ("084000", "098355"), "execute_tool look", &tool),
            step(
                4,
                ("098000", "101731"),
                "chat gpt-4o",
                &chat("It has shipped."),
            ),
            step(5, ("101000", "114220"), "tts", &json!({"ttfb_ms": 2})),
        ];
        assert_said(
            &spans,
            json!([["user", "Where is A1?"], ["agent", "It has shipped."]]),
        );
        let turns = told(&spans, Kind::Turn);
        let calls = turns[1]["llmCalls"].as_array().map(Vec::len);
        assert_eq!(calls, Some(2), "{turns:?}");
    }
}

#[test]
fn an_exchange_that_begins_as_another_ends_is_behind_it() {
    let turn = |id, times, asked: &str, answer: &str| {
        let said = json!({"openinference.span.kind": "AGENT", "input.value": asked, "output.value": answer});
        step(id, true, times, "turn", &said)
    };
    let spans = [
        turn(1, ("100000", "161704"), "Where is A1?", "It has shipped."),
        turn(2, ("161000", "223310"), "And B2?", "It is lost."),
        turn(3, ("223000", "254000"), "Thanks", "Goodbye."),
    ];
    assert_said(
        &spans,
        json!([
            ["user", "Where is A1?"],
            ["agent", "It has shipped."],
            ["user", "And B2?"],
            ["agent", "It is lost."],
            ["user", "Thanks"],
            ["agent", "Goodbye."],
        ]),
    );
}

#[test]
fn a_clock_that_tells_microseconds_is_believed() {
    let heard = |text: &str| json!({ "transcript": text });
    let spoken = json!({"ttfb_ms": 0.01});
    let spans = [
        step(1, true, ("100010", "100110"), "stt", &heard("Where is A1?")),
        step(
            2,
            true,
            ("100120", "100210"),
            "chat gpt-4o",
            &chat("Shipped."),
        ),
        step(3, true, ("100220", "100310"), "tts", &spoken),
        step(4, true, ("100320", "100410"), "stt", &heard("And B2?")),
        step(5, true, ("100420", "100510"), "chat gpt-4o", &chat("Lost.")),
        step(6, true, ("100520", "100610"), "tts", &spoken),
    ];
    let turns = told(&spans, Kind::Turn);
    let told: Vec<_> = turns.iter().map(|turn| &turn["speaker"]).collect();
    assert_eq!(told, ["user", "agent", "user", "agent"], "{turns:?}");
}
