//! What tracers write of LangChain's tools and messages.

use super::*;

fn of_tool(tracer: Value) -> Map<String, Value> {
    let tool = gist("lookup", tracer);
    assert_eq!(tool.part, Part::Tool);
    tool.fields
}

fn openinference(result: &Value) -> Value {
    json!({"openinference.span.kind": "TOOL", "input.value": "A17", "output.value": result.to_string()})
}

/// What OpenLLMetry, LangSmith's exporter, OpenInference and OpenLIT write of a tool's message.
fn tracers(message: &Value) -> [Value; 4] {
    let called = json!({"input_str": "{'order': 'A17'}", "inputs": {"order": "A17"}, "tags": ["seq:step:1"],
        "metadata": {"langgraph_node": "tools"}, "kwargs": {"color": "green", "tool_call_id": "c1"}});
    let gave = json!({"output": in_langchain("ToolMessage", message.clone()), "kwargs": {"color": "green", "name": "lookup"}});
    let printed = format!(
        "content='{}' name='lookup' tool_call_id='c1' status='{}'",
        message["content"].as_str().unwrap_or_default(),
        message["status"].as_str().unwrap_or_default(),
    );
    [
        json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup",
            "gen_ai.tool.call.arguments": called.to_string(), "gen_ai.tool.call.result": gave.to_string()}),
        json!({"langsmith.span.kind": "tool", "gen_ai.prompt": "{\"order\": \"A17\"}",
            "gen_ai.completion": json!({"output": message}).to_string()}),
        openinference(&json!({"type": "tool", "data": message})),
        json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup",
            "gen_ai.tool.call.arguments": "{'order': 'A17'}", "gen_ai.tool.call.result": printed}),
    ]
}

#[test]
fn a_tool_s_message_is_what_it_returned() {
    let message = |status: &str| {
        json!({"content": "it has shipped", "type": "tool", "name": "lookup",
            "tool_call_id": "c1", "artifact": null, "status": status})
    };
    for tracer in tracers(&message("success")) {
        let is_of_openinference = tracer.get("openinference.span.kind").is_some();
        let tool = of_tool(tracer);
        assert_eq!(tool["result"], "it has shipped");
        assert!(!tool.contains_key("error"), "{tool:?}");
        let arguments = match is_of_openinference {
            true => json!("A17"),
            false => json!({"order": "A17"}),
        };
        assert_eq!(tool["arguments"], arguments);
    }
    for tracer in tracers(&message("error")) {
        assert_eq!(of_tool(tracer)["error"], "it has shipped");
    }
}

#[test]
fn what_only_looks_like_a_message_is_what_the_tool_returned() {
    for result in [
        json!({"output": 5, "unit": "km"}),
        json!({"type": "order", "data": {"content": "books"}}),
        json!([{"text": "a note", "id": 1}]),
        json!({"content": "books", "status": "error"}),
    ] {
        let tool = of_tool(openinference(&result));
        assert_eq!(tool["result"], result);
        assert!(!tool.contains_key("error"), "{tool:?}");
    }
    let words = json!([{"type": "text", "text": "it has shipped"}]);
    assert_eq!(of_tool(openinference(&words))["result"], "it has shipped");
}

#[test]
fn what_a_tool_returned_is_never_what_the_user_said() {
    let human = json!({"content": "Where is A17?", "type": "human"});
    let ai = json!({"content": "", "type": "ai", "tool_calls": [{"id": "c1", "name": "lookup"}]});
    let tool = json!({"content": "it has shipped", "type": "tool", "tool_call_id": "c1"});
    let constructed = json!([
        in_langchain("HumanMessage", human.clone()),
        in_langchain("AIMessage", ai.clone()),
        in_langchain("ToolMessage", tool.clone())
    ]);
    let dumped = json!([{"type": "human", "data": human}, {"type": "ai", "data": ai}, {"type": "tool", "data": tool}]);
    let of_api = json!([{"role": "user", "content": "Where is A17?"}, {"role": "assistant", "content": null},
        {"role": "tool", "content": "it has shipped", "tool_call_id": "c1"}]);
    for messages in [constructed, dumped, json!([human, ai, tool]), of_api] {
        let graph = |given: &Value| {
            fields(
                json!({"openinference.span.kind": "CHAIN", "input.value": json!({"messages": given}).to_string()}),
            )
        };
        assert_eq!(graph(&messages)["userText"], "Where is A17?");
        // Of a tool's message alone nobody knows what the user said.
        let alone = graph(&json!([messages[2]]));
        assert_eq!(alone.get("userText"), None, "{messages}");
        let model = fields(
            json!({"gen_ai.operation.name": "chat", "gen_ai.input.messages": messages.to_string()}),
        );
        assert_eq!(model["userText"], "Where is A17?");
    }
}

#[test]
fn an_exception_says_the_same_with_its_stack_and_without() {
    let failure = |message: &str, events: Value, kind: &str| {
        let span = json!({
            "traceId": "t", "spanId": "s", "name": "lookup", "status": {"code": 2, "message": message},
            "startedAt": "2026-01-17T10:00:00Z", "endedAt": "2026-01-17T10:00:01Z",
            "attributes": {kind: "tool", "gen_ai.operation.name": "execute_tool"}, "events": events,
        });
        let said = vocabulary::gist(span.as_object().expect("a span")).expect("a gist");
        [
            said.fields["error"].clone(),
            said.fields["errorCode"].clone(),
        ]
    };
    let of_exception = |attributes: Value| json!([{"name": "exception", "attributes": attributes}]);
    let told = [json!("no such order"), json!("ValueError")];
    let stack = "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\nValueError: no such order";
    let printed = [
        format!("ValueError('no such order'){stack}"),
        "ValueError('no such order')ValueError: no such order\n".to_owned(),
    ];
    for printed in &printed {
        let own = of_exception(
            json!({"exception.type": "ValueError", "exception.message": "no such order"}),
        );
        assert_eq!(failure(printed, own, "openinference.span.kind"), told);
        assert_eq!(failure(printed, json!([]), "openinference.span.kind"), told);
        let handed_on =
            of_exception(json!({"exception.type": "Exception", "exception.message": printed}));
        assert_eq!(failure("", handed_on, "langsmith.span.kind"), told);
    }
    let bare =
        of_exception(json!({"exception.type": "ValueError", "exception.message": "no such order"}));
    assert_eq!(failure("", bare, "openinference.span.kind"), told);
}
