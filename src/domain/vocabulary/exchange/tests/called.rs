//! Tools that have no spans: calls of them stand in what generations wrote, their answers in what the next ones were given.

use serde_json::{Value, json};

use super::{assert_said, span, told};
use crate::domain::event::Kind;

/// A generation, and what its span says of messages besides.
fn generation(id: u8, seconds: (u8, u8), said: Value) -> Value {
    let mut said = said;
    said["gen_ai.operation.name"] = json!("chat");
    said["gen_ai.request.model"] = json!("gpt-4o-mini");
    span(id, 0, seconds, &said)
}

fn list(messages: Value) -> Value {
    Value::from(messages.to_string())
}

/// The same call as conventions tell of it: in lists of parts, and in attributes of before.
fn conventions() -> [[Value; 2]; 3] {
    let user = json!({"role": "user", "parts": [{"type": "text", "content": "Where is A1?"}]});
    let calling = json!({"role": "assistant", "parts": [
        {"type": "tool_call", "id": "call_1", "name": "lookup", "arguments": {"id": "A1"}},
    ]});
    let answering = json!({"role": "tool", "parts": [
        {"type": "tool_call_response", "id": "call_1", "response": "{\"status\":\"shipped\"}"},
    ]});
    let shipped =
        json!({"role": "assistant", "parts": [{"type": "text", "content": "It has shipped."}]});
    let today = [
        json!({"gen_ai.input.messages": list(json!([user])), "gen_ai.output.messages": list(json!([calling]))}),
        json!({
            "gen_ai.input.messages": list(json!([user, calling, answering])),
            "gen_ai.output.messages": list(json!([shipped])),
        }),
    ];
    let before = [
        json!({
            "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Where is A1?",
            "gen_ai.completion.0.tool_calls.0.id": "call_1", "gen_ai.completion.0.tool_calls.0.name": "lookup",
            "gen_ai.completion.0.tool_calls.0.arguments": "{\"id\":\"A1\"}",
        }),
        json!({
            "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Where is A1?",
            "gen_ai.prompt.1.role": "assistant", "gen_ai.prompt.1.tool_calls.0.id": "call_1",
            "gen_ai.prompt.2.role": "tool", "gen_ai.prompt.2.tool_call_id": "call_1",
            "gen_ai.prompt.2.content": "{\"status\":\"shipped\"}",
            "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "It has shipped.",
        }),
    ];
    let openinference = [
        json!({
            "openinference.span.kind": "LLM",
            "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "Where is A1?",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.tool_calls.0.tool_call.id": "call_1",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "lookup",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": "{\"id\":\"A1\"}",
        }),
        json!({
            "openinference.span.kind": "LLM",
            "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "Where is A1?",
            "llm.input_messages.1.message.role": "assistant",
            "llm.input_messages.2.message.role": "tool", "llm.input_messages.2.message.tool_call_id": "call_1",
            "llm.input_messages.2.message.content": "{\"status\":\"shipped\"}",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.content": "It has shipped.",
        }),
    ];
    [today, before, openinference]
}

#[test]
fn tools_without_spans_are_told_by_messages() {
    for [first, second] in conventions() {
        let spans = [generation(1, (0, 1), first), generation(2, (3, 4), second)];
        assert_said(
            &spans,
            json!([["user", "Where is A1?"], ["agent", "It has shipped."]]),
        );
        let tools = told(&spans, Kind::ToolCall);
        assert_eq!(tools.len(), 1, "{tools:?}");
        assert_eq!(tools[0]["callId"], "call_1");
        assert_eq!(tools[0]["name"], "lookup");
        assert_eq!(tools[0]["arguments"], json!({"id": "A1"}));
        assert_eq!(tools[0]["result"], json!({"status": "shipped"}));
        assert_eq!(tools[0]["startMs"], 1000.0);
        assert_eq!(tools[0]["endMs"], 3000.0);
        assert_eq!(
            (&tools[0]["derived"], &tools[0]["turn"]),
            (&json!(true), &json!(1))
        );
        // Nobody knows what became of one that no generation was told of.
        let alone = told(&spans[..1], Kind::ToolCall);
        assert_eq!(
            (alone[0].get("result"), alone[0].get("endMs")),
            (None, None)
        );
    }
}

#[test]
fn who_traces_tools_tells_of_all_of_them() {
    let [first, second] = conventions()[0].clone();
    let tool = json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "find"});
    let spans = [
        generation(1, (0, 1), first),
        span(3, 0, (1, 2), &tool),
        generation(2, (3, 4), second),
    ];
    let tools = told(&spans, Kind::ToolCall);
    assert_eq!(tools.len(), 1, "{tools:?}");
    assert_eq!(tools[0]["name"], "find");
}

#[test]
fn what_a_tool_without_a_span_answered_may_be_an_error() {
    let [first, mut second] = conventions()[1].clone();
    second["gen_ai.prompt.2.content"] = json!("{\"error\":\"no such order\"}");
    let spans = [generation(1, (0, 1), first), generation(2, (3, 4), second)];
    let tools = told(&spans, Kind::ToolCall);
    assert_eq!(tools[0]["error"], "no such order");
    let error = &told(&spans, Kind::Error)[0];
    assert_eq!(error["service"], "tool");
    assert_eq!(error["details"]["spanId"], "1");
}
