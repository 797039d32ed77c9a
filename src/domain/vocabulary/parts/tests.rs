//! What instrumentations write of the same things, each as its spans had it.

use serde_json::{Map, Value, json};

use crate::domain::event::Kind;
use crate::domain::vocabulary;
use crate::domain::vocabulary::{Gist, Part};

fn gist(name: &str, attributes: Value) -> Gist {
    let span = json!({
        "traceId": "t", "spanId": name, "name": name, "attributes": attributes,
        "startedAt": "2026-01-17T10:00:00Z", "endedAt": "2026-01-17T10:00:01Z",
    });
    vocabulary::gist(span.as_object().expect("a span")).expect("a gist")
}

fn fields(attributes: Value) -> Map<String, Value> {
    gist("own", attributes).fields
}

#[test]
fn messages_in_parts_are_read_of_openinference() {
    let said = fields(json!({
        "openinference.span.kind": "LLM",
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": "Be kind.",
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.contents.0.message_content.type": "text",
        "llm.input_messages.1.message.contents.0.message_content.text": "What is",
        "llm.input_messages.1.message.contents.1.message_content.type": "image",
        "llm.input_messages.1.message.contents.2.message_content.type": "text",
        "llm.input_messages.1.message.contents.2.message_content.text": "that?",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.contents.0.message_content.type": "reasoning",
        "llm.output_messages.0.message.contents.0.message_content.text": "A picture.",
        "llm.output_messages.1.message.role": "assistant",
        "llm.output_messages.1.message.contents.0.message_content.type": "text",
        "llm.output_messages.1.message.contents.0.message_content.text": "A boat.",
    }));
    assert_eq!(said["userText"], "What is that?");
    assert_eq!(said["messagesBefore"], 0);
    assert_eq!(said["text"], "A boat.");
}

#[test]
fn a_user_s_message_without_words_is_not_what_the_user_said_last() {
    let said = fields(json!({
        "openinference.span.kind": "LLM",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "Where is A1?",
        "llm.input_messages.1.message.role": "assistant",
        "llm.input_messages.1.message.tool_calls.0.tool_call.id": "t1",
        "llm.input_messages.2.message.role": "user",
        "llm.input_messages.2.message.contents.0.message_content.type": "tool_result",
    }));
    assert_eq!(said["userText"], "Where is A1?");
    assert_eq!(said["isContinued"], true);
    let listed = fields(json!({
        "gen_ai.operation.name": "chat",
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": "[{\"type\": \"text\", \"text\": \"Where is A1?\"}]",
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": "[{\"type\": \"tool_result\", \"content\": \"shipped\"}]",
        "gen_ai.completion.0.content": "[1, 2]",
    }));
    assert_eq!(listed["userText"], "Where is A1?");
    assert_eq!(listed["text"], "[1, 2]");
}

#[test]
fn a_tool_s_arguments_are_what_it_was_given_and_not_what_may_be_given() {
    let schema = json!({"type": "object", "properties": {"order_id": {"type": "string"}}});
    let given = json!({"order_id": "A1"});
    let tool = |attributes: Value| {
        let mut all = json!({"openinference.span.kind": "TOOL"});
        let more = attributes.as_object().expect("attributes").clone();
        all.as_object_mut().expect("attributes").extend(more);
        fields(all).get("arguments").cloned()
    };
    let (schema, told) = (schema.to_string(), given.to_string());
    assert_eq!(
        tool(json!({"tool.parameters": schema, "input.value": told})),
        Some(given.clone())
    );
    assert_eq!(tool(json!({"tool.parameters": schema})), None);
    assert_eq!(tool(json!({"tool.parameters": told})), Some(given));
}

#[test]
fn a_run_of_pydantic_s_agent_says_what_was_asked_though_no_model_answered() {
    let messages = json!([
        {"role": "user", "parts": [{"type": "text", "content": "Hello."}]},
        {"role": "assistant", "parts": [{"type": "text", "content": "Hi."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Where is A1?"}]},
    ]);
    let run = fields(json!({
        "gen_ai.operation.name": "invoke_agent",
        "pydantic_ai.all_messages": messages.to_string(),
        "pydantic_ai.new_message_index": 2,
    }));
    assert_eq!(run["userText"], "Where is A1?");
    assert_eq!(run.get("text"), None);
    let tool = fields(json!({
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup",
        "tool_arguments": "{\"order_id\":\"A1\"}", "tool_response": "{\"status\":\"shipped\"}",
    }));
    assert_eq!(tool["arguments"], json!({"order_id": "A1"}));
    assert_eq!(tool["result"], json!({"status": "shipped"}));
}

#[test]
fn functions_that_are_traced_by_traceloop_are_what_it_says() {
    let of = |name: &str, kind: &str| {
        gist(
            name,
            json!({
                "traceloop.span.kind": kind,
                "traceloop.entity.name": "chat_turn",
                "traceloop.entity.input": "{\"args\": [], \"kwargs\": {\"order_id\": \"A1\"}}",
                "traceloop.entity.output": "\"shipped\"",
                "traceloop.association.properties.session_id": "call-7",
            }),
        )
    };
    let tool = of("chat_turn.tool", "tool");
    assert_eq!(tool.part, Part::Tool);
    assert_eq!(tool.fields["name"], "chat_turn");
    assert_eq!(tool.fields["arguments"], json!({"order_id": "A1"}));
    assert_eq!(tool.fields["result"], "shipped");
    // No generation, though it is called so.
    let workflow = of("chat_turn.workflow", "workflow");
    assert_eq!(workflow.part, Part::Other);
    let names = json!([{"kind": "conversation_id", "id": "call-7"}]);
    assert_eq!(workflow.session["externalIds"], names);
    // Speech has no kind of its own.
    assert_eq!(of("chat_turn.task", "task").part, Part::Other);
    let heard = of("transcribe.task", "task");
    assert_eq!(
        (heard.part, &heard.fields["text"]),
        (Part::Stt, &json!("shipped"))
    );
    let spoken = of("synthesize.task", "task");
    assert_eq!(
        (spoken.part, &spoken.fields["text"]),
        (Part::Tts, &json!("A1"))
    );
}

#[test]
fn a_generation_costs_what_its_tracer_says() {
    for name in ["llm.cost.total", "operation.cost"] {
        let llm = fields(json!({"gen_ai.operation.name": "chat", name: 0.0125}));
        assert_eq!(llm["costUsd"], 0.0125);
        let absurd = fields(json!({"gen_ai.operation.name": "chat", name: -1}));
        assert_eq!(absurd.get("costUsd"), None);
        // An agent's is the sum of what its generations say.
        let agent = fields(json!({"gen_ai.operation.name": "invoke_agent", name: 0.0125}));
        assert_eq!(agent.get("costUsd"), None);
    }
}

#[test]
fn a_stream_that_logfire_tells_of_took_as_long_as_it_says() {
    let chat = |more: Value| {
        let mut said =
            json!({"gen_ai.operation.name": "chat", "request_data": "{\"model\":\"gpt-4o\"}"});
        let more = more.as_object().expect("attributes").clone();
        said.as_object_mut().expect("attributes").extend(more);
        gist("own", said)
    };
    let request = chat(json!({"logfire.span_type": "span"}));
    assert_eq!(request.part, Part::Other);
    let answered = chat(json!({"logfire.span_type": "span", "gen_ai.usage.output_tokens": 3}));
    assert_eq!(answered.part, Part::Llm);
    let stream = chat(json!({"logfire.span_type": "log", "duration": 0.25}));
    assert_eq!(stream.part, Part::Llm);
    let before = answered.started_at - stream.started_at;
    assert_eq!(before.num_milliseconds(), 250);
}

#[test]
fn an_answer_by_vercel_s_sdk_is_an_exchange() {
    let answer = gist(
        "ai.streamText",
        json!({
            "ai.operationId": "ai.streamText", "ai.response.text": "Shipped.",
            "ai.telemetry.metadata.sessionId": "call-7",
            "ai.prompt": "{\"system\":\"Be kind.\",\"messages\":[{\"role\":\"user\",\"content\":\"Where is A1?\"}]}",
        }),
    );
    assert_eq!(answer.part, Part::Exchange);
    assert_eq!(answer.fields["userText"], "Where is A1?");
    assert_eq!(answer.fields["text"], "Shipped.");
    let names = json!([{"kind": "conversation_id", "id": "call-7"}]);
    assert_eq!(answer.session["externalIds"], names);
    let prompted =
        json!({"ai.operationId": "ai.generateText", "ai.prompt": "{\"prompt\":\"Where is A1?\"}"});
    assert_eq!(gist("own", prompted).fields["userText"], "Where is A1?");
    let step = gist(
        "ai.streamText.doStream",
        json!({
            "ai.operationId": "ai.streamText.doStream", "ai.response.text": "Shipped.",
            "ai.prompt.messages": "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Where is A1?\"}]}]",
            "ai.response.msToFirstChunk": 246.1, "gen_ai.usage.input_tokens": 54, "ai.usage.cachedInputTokens": 16,
        }),
    );
    assert_eq!(step.part, Part::Llm);
    assert_eq!(step.fields["userText"], "Where is A1?");
    assert_eq!(step.fields["llmMs"], 246.1);
    assert_eq!(step.fields["cachedTokens"], 16);
    let tool = gist(
        "ai.toolCall",
        json!({"ai.operationId": "ai.toolCall", "ai.toolCall.name": "lookup", "ai.toolCall.id": "t1",
            "ai.toolCall.args": "{\"order_id\":\"A1\"}", "ai.toolCall.result": "{\"status\":\"shipped\"}"}),
    );
    assert_eq!(tool.part, Part::Tool);
    assert_eq!(tool.fields["name"], "lookup");
    assert_eq!(tool.fields["arguments"], json!({"order_id": "A1"}));
    let embedding = json!({"ai.operationId": "ai.embed.doEmbed"});
    assert_eq!(gist("own", embedding).part, Part::Other);
}

/// By the conventions, as its newest integration has them, and in its own words.
#[test]
fn what_vercel_s_sdk_hears_and_speaks_is_no_generation() {
    let heard = [
        json!({"gen_ai.operation.name": "ai.transcribe", "gen_ai.request.model": "whisper-1", "gen_ai.output.type": "text",
            "gen_ai.provider.name": "openai", "ai.response.text": "Where is A1?", "gen_ai.usage.seconds": 2.5,
            "gen_ai.output.messages": "[{\"role\":\"assistant\",\"parts\":[{\"type\":\"text\",\"content\":\"Where is A1?\"}]}]"}),
        json!({"operation.name": "ai.transcribe", "ai.operationId": "ai.transcribe", "ai.model.provider": "openai",
            "ai.model.id": "whisper-1", "ai.response.text": "Where is A1?", "ai.usage.seconds": 2.5}),
    ];
    for heard in heard {
        let heard = gist("ai.transcribe whisper-1", heard);
        assert_eq!(heard.part, Part::Stt);
        assert_eq!(heard.fields["text"], "Where is A1?");
        assert_eq!(heard.fields["provider"], "openai");
        assert_eq!(heard.fields["model"], "whisper-1");
        assert_eq!(heard.fields["audioSeconds"], 2.5);
    }
    let spoken = [
        json!({"gen_ai.operation.name": "ai.generateSpeech", "gen_ai.request.model": "tts-1", "gen_ai.output.type": "speech",
            "gen_ai.provider.name": "openai", "ai.request.text": "Shipped.", "gen_ai.usage.characters": 8,
            "gen_ai.input.messages": "[{\"role\":\"user\",\"parts\":[{\"type\":\"text\",\"content\":\"Shipped.\"}]}]"}),
        json!({"operation.name": "ai.generateSpeech", "ai.operationId": "ai.generateSpeech", "ai.model.provider": "openai",
            "ai.model.id": "tts-1", "ai.request.text": "Shipped."}),
    ];
    for spoken in spoken {
        let spoken = gist("ai.generateSpeech", spoken);
        assert_eq!(spoken.part, Part::Tts);
        assert_eq!(spoken.fields["text"], "Shipped.");
        assert_eq!(spoken.fields["model"], "tts-1");
        assert_eq!(spoken.fields["characters"], 8);
    }
    let chat = gist(
        "chat gpt-4o-mini",
        json!({"gen_ai.operation.name": "chat", "gen_ai.client.operation.time_to_first_chunk": 0.25,
            "ai.settings.context.sessionId": "call-7"}),
    );
    assert_eq!(chat.fields["llmMs"], 250.0);
    let names = json!([{"kind": "conversation_id", "id": "call-7"}]);
    assert_eq!(chat.session["externalIds"], names);
    let tagged =
        json!({"gen_ai.operation.name": "chat", "langfuse.trace.tags": ["vip"], "user.id": "u1"});
    let tagged = gist("chat gpt-4o-mini", tagged);
    assert_eq!(tagged.session["tags"], json!(["vip"]));
    let ranked = json!({"gen_ai.operation.name": "rerank", "gen_ai.request.model": "rerank-3"});
    assert_eq!(gist("rerank rerank-3", ranked).part, Part::Other);
}

#[test]
fn messages_are_read_of_events_however_they_stand_there() {
    let told = |events: Value| {
        let span = json!({
            "traceId": "t", "spanId": "s", "name": "chat gpt-4o", "startedAt": "2026-01-17T10:00:00Z",
            "attributes": {"gen_ai.operation.name": "chat"}, "events": events,
        });
        let gist = vocabulary::gist(span.as_object().expect("a span"));
        let fields = gist.expect("a gist").fields;
        assert_eq!(fields["userText"], "Where is A1?");
        assert_eq!(fields["text"], "Shipped.");
    };
    let event = |name: &str, attributes: Value| json!({"name": name, "attributes": attributes});
    let message = |role: &str, text: &str| json!({"role": role, "content": text});
    let (asked, said) = (
        message("user", "Where is A1?"),
        message("assistant", "Shipped."),
    );
    let whole = |value: Value| json!({"gen_ai.event.content": value.to_string()});
    told(json!([
        event(
            "gen_ai.system.message",
            whole(message("system", "Be kind."))
        ),
        event("gen_ai.user.message", whole(asked.clone())),
        event("gen_ai.choice", whole(json!({"index": 0, "message": said}))),
    ]));
    let list = |value: &Value| json!([value]).to_string();
    told(json!([
        event(
            "gen_ai.content.prompt",
            json!({"gen_ai.prompt": list(&asked)})
        ),
        event(
            "gen_ai.content.completion",
            json!({"gen_ai.completion": list(&said)})
        ),
    ]));
    let details =
        json!({"gen_ai.input.messages": list(&asked), "gen_ai.output.messages": list(&said)});
    told(json!([event(
        "gen_ai.client.inference.operation.details",
        details
    )]));
    let used = json!([{"text": "Shipped."}, {"toolUse": {"name": "lookup", "input": {}}}]);
    told(json!([
        event(
            "gen_ai.user.message",
            json!({"content": "[{\"text\": \"Where is A1?\"}]"})
        ),
        event(
            "gen_ai.choice",
            json!({"finish_reason": "tool_use", "message": used.to_string()})
        ),
    ]));
}

#[test]
fn a_call_without_counts_that_logfire_tells_of_is_no_mere_request() {
    let said = gist(
        "own",
        json!({
            "gen_ai.operation.name": "chat", "logfire.span_type": "span",
            "request_data": "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi.\"}]}",
            "response_data": "{\"message\":{\"role\":\"assistant\",\"content\":\"Hello.\"},\"usage\":null}",
        }),
    );
    assert_eq!(said.part, Part::Llm);
    assert_eq!(said.fields["userText"], "Hi.");
    assert_eq!(said.fields["text"], "Hello.");
}

#[test]
fn a_picture_of_openinference_has_no_words() {
    let said = fields(json!({
        "openinference.span.kind": "LLM",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "Hi.",
        "llm.input_messages.1.message.role": "assistant",
        "llm.input_messages.1.message.content": "Hello.",
        "llm.input_messages.2.message.role": "user",
        "llm.input_messages.2.message.contents.0.message_content.type": "image",
    }));
    assert_eq!(said.get("userText"), None);
    assert_eq!(said["messagesBefore"], 2);
    assert_eq!(said["answeredBefore"], "Hello.");
}

#[test]
fn an_answer_that_is_told_in_pieces_is_one() {
    let piece = |text: &str, why: &str| {
        let parts = json!([{"type": "text", "content": text}]);
        json!({"role": "assistant", "parts": parts, "finish_reason": why})
    };
    let said = |list: Vec<Value>| {
        let list = Value::from(list).to_string();
        let operation = "generate_content";
        fields(json!({"gen_ai.operation.name": operation, "gen_ai.output.messages": list}))["text"]
            .clone()
    };
    let pieces = vec![
        piece("It", ""),
        piece(" has", ""),
        piece(" shipped.", "stop"),
    ];
    assert_eq!(said(pieces), "It has shipped.");
    let several = vec![
        piece("One moment.", "stop"),
        piece("It has shipped.", "stop"),
    ];
    assert_eq!(said(several), "It has shipped.");
}

#[test]
fn google_s_kit_is_understood_as_it_was_before_the_conventions() {
    let said = gist(
        "call_llm",
        json!({
            "gen_ai.system": "gcp.vertex.agent", "gen_ai.request.model": "gemini-2.0-flash",
            "gcp.vertex.agent.session_id": "call-7",
            "gcp.vertex.agent.llm_request": json!({"model": "gemini-2.0-flash", "contents": [
                {"role": "user", "parts": [{"text": "Where is A1?"}]},
                {"role": "model", "parts": [{"function_call": {"name": "lookup_order", "args": {"id": "A1"}}}]},
                {"role": "user", "parts": [{"function_response": {"name": "lookup_order", "response": {"status": "shipped"}}}]},
            ]}).to_string(),
            "gcp.vertex.agent.llm_response":
                json!({"content": {"role": "model", "parts": [{"text": "It has shipped."}]}}).to_string(),
        }),
    );
    assert_eq!(said.part, Part::Llm);
    assert_eq!(said.fields["userText"], "Where is A1?");
    assert_eq!(said.fields["isContinued"], true);
    assert_eq!(said.fields["text"], "It has shipped.");
    assert_eq!(said.session["externalIds"][0]["id"], "call-7");
    let tool = |name: &str, given: &str, result: &str| {
        let attributes = json!({
            "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name,
            "gcp.vertex.agent.tool_call_args": given, "gcp.vertex.agent.tool_response": result,
        });
        gist("execute_tool", attributes)
    };
    let called = tool("lookup_order", r#"{"id":"A1"}"#, r#"{"status":"shipped"}"#);
    assert_eq!(called.fields["arguments"], json!({"id": "A1"}));
    assert_eq!(called.fields["result"], json!({"status": "shipped"}));
    let summed_up = tool("(merged tools)", "N/A", "<not serializable>");
    assert_eq!(summed_up.part, Part::Other);
}

#[test]
fn what_a_program_prints_of_its_objects_was_not_said() {
    let said = |output: &str| {
        let attributes = json!({"openinference.span.kind": "CHAIN", "output.value": output});
        fields(attributes).get("text").cloned()
    };
    assert_eq!(
        said("StopEvent(result=AgentOutput(response=ChatMessage(role=1)))"),
        None
    );
    assert_eq!(
        said("AgentSetup(input=[ChatMessage(role=<Role.USER: 'user'>, add..."),
        None
    );
    assert_eq!(said("<llama_index.Context object at 0x7f17>"), None);
    for words in [
        "It costs 3 (VAT=19 %) today...",
        "Sure (a=b)",
        "Please hold (one moment).",
    ] {
        assert_eq!(said(words), Some(json!(words)));
    }
}

#[test]
fn a_span_that_only_has_the_kind_of_a_generation_is_none() {
    let part = |attributes: Value| gist("own", attributes).part;
    let given =
        json!({"openinference.span.kind": "LLM", "input.value": "{\"memory\": \"Memory()\"}"});
    assert_eq!(part(given), Part::Other);
    let model = json!({"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o"});
    assert_eq!(part(model), Part::Llm);
}

#[test]
fn a_function_s_arguments_are_found_beside_how_it_was_called() {
    let arguments = |given: Value| {
        let given = given.to_string();
        fields(json!({"openinference.span.kind": "TOOL", "input.value": given}))["arguments"]
            .clone()
    };
    let by_name = json!({"id": "A1"});
    assert_eq!(arguments(json!({"kwargs": by_name})), by_name);
    let sanitised = json!({"args": [], "sanitize_inputs_outputs": true, "kwargs": by_name});
    assert_eq!(arguments(sanitised), by_name);
    let own = json!({"kwargs": {"id": "A1"}, "order": "B2"});
    assert_eq!(arguments(own.clone()), own);
}

fn in_langchain(class: &str, kwargs: Value) -> Value {
    json!({"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", class], "kwargs": kwargs})
}

#[test]
fn langsmith_tells_whole_what_a_run_was_given_and_gave() {
    let run = |name: &str, kind: &str, given: Value, gave: Value| {
        let mut attributes = json!({
            "langsmith.span.kind": kind, "gen_ai.operation.name": kind, "langsmith.metadata.thread_id": "c1",
            "gen_ai.prompt": given.to_string(), "gen_ai.completion": gave.to_string(),
        });
        if kind == "llm" {
            let usage = json!({"input_tokens": 100, "output_tokens": 20, "total_tokens": 120,
                "input_token_details": {"cache_read": 64}});
            attributes["langsmith.metadata.usage_metadata"] = usage.to_string().into();
        }
        gist(name, attributes)
    };
    let asked = [
        in_langchain("SystemMessage", json!({"content": "Be kind."})),
        in_langchain(
            "HumanMessage",
            json!({"content": "Where is A1?", "type": "human"}),
        ),
        in_langchain("AIMessage", json!({"content": "", "type": "ai"})),
        in_langchain("ToolMessage", json!({"content": "{}", "type": "tool"})),
    ];
    let wrote = in_langchain("AIMessage", json!({"content": "It shipped.", "type": "ai"}));
    let llm = run(
        "ChatOpenAI",
        "llm",
        json!({"messages": [asked]}),
        json!({"generations": [[{"text": "It shipped.", "message": wrote}]]}),
    );
    assert_eq!(llm.part, Part::Llm);
    assert_eq!(llm.fields["userText"], "Where is A1?");
    assert_eq!(llm.fields["isContinued"], true);
    assert_eq!(llm.fields["text"], "It shipped.");
    assert_eq!(llm.fields["promptTokens"], 100);
    assert_eq!(llm.fields["cachedTokens"], 64);
    assert_eq!(llm.session["externalIds"][0]["id"], "c1");

    let graph = run(
        "LangGraph",
        "chain",
        json!({"messages": [{"content": "Hi.", "type": "human"}, {"content": "Hello!", "type": "ai"},
            {"role": "user", "content": "Where is A1?"}]}),
        json!({"messages": [{"content": "Where is A1?", "type": "human"}, {"content": "It shipped.", "type": "ai"}]}),
    );
    assert_eq!(graph.part, Part::Exchange);
    assert_eq!(graph.fields["userText"], "Where is A1?");
    assert_eq!(graph.fields["text"], "It shipped.");

    let function = run(
        "turn of the waiter",
        "chain",
        json!({"words": "Where is A1?"}),
        json!({"output": "It shipped."}),
    );
    assert_eq!(function.fields["userText"], "Where is A1?");
    assert_eq!(function.fields["text"], "It shipped.");
    let with_history =
        json!({"text": "Where is A1?", "messages": [{"role": "user", "content": "Hi."}]});
    let function = run("turn", "chain", with_history, json!({"output": null}));
    assert_eq!(function.fields["userText"], "Where is A1?");
    assert_eq!(function.fields.get("text"), None);

    let tool = run(
        "find",
        "tool",
        json!({"id": "A1"}),
        json!({"output": {"content": "{\"free\": true}", "type": "tool", "tool_call_id": "t1"}}),
    );
    assert_eq!(tool.part, Part::Tool);
    assert_eq!(tool.fields["arguments"], json!({"id": "A1"}));
    assert_eq!(tool.fields["result"], json!({"free": true}));

    // What makes prompts, or reads what a model wrote, generates nothing, whatever it is called.
    for (name, kind) in [
        ("ChatPromptTemplate", "prompt"),
        ("StrOutputParser", "parser"),
        ("tools", "retriever"),
    ] {
        assert_eq!(run(name, kind, json!({}), json!({})).part, Part::Other);
    }
    assert_eq!(
        run("tools", "chain", json!({}), json!({})).part,
        Part::Exchange
    );
}

#[test]
fn what_a_wrapped_client_of_openai_was_asked_for_is_read() {
    let llm = |given: Value, gave: Value| {
        fields(json!({
            "langsmith.span.kind": "llm",
            "gen_ai.prompt": given.to_string(), "gen_ai.completion": gave.to_string(),
        }))
    };
    let choices =
        json!({"choices": [{"message": {"role": "assistant", "content": "It shipped."}}]});
    let chat = llm(
        json!({"messages": [{"role": "user", "content": "Where is A1?"}], "model": "gpt-4o"}),
        choices,
    );
    assert_eq!(chat["userText"], "Where is A1?");
    assert_eq!(chat["text"], "It shipped.");
    let output = json!({"output": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "An order."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It shipped."}]},
    ]});
    for input in [
        json!("Where is A1?"),
        json!([{"type": "message", "role": "user", "content": "Where is A1?"}]),
    ] {
        let response = llm(json!({"input": input, "model": "gpt-4o"}), output.clone());
        assert_eq!(response["userText"], "Where is A1?");
        assert_eq!(response["text"], "It shipped.");
    }
}

#[test]
fn what_was_refused_and_what_was_spoken_are_words() {
    let answer = |message: Value| {
        let messages = json!([message]).to_string();
        let said =
            fields(json!({"gen_ai.operation.name": "chat", "gen_ai.output.messages": messages}));
        said.get("text").cloned()
    };
    let refused =
        json!({"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]});
    assert_eq!(answer(refused), Some(json!("I cannot.")));
    let refused = json!({"role": "assistant", "content": null, "refusal": "I cannot."});
    assert_eq!(answer(refused), Some(json!("I cannot.")));
    let spoken = json!({"role": "assistant", "content": null, "audio": {"data": "AAAA", "transcript": "Hello."}});
    assert_eq!(answer(spoken), Some(json!("Hello.")));
    let spoken =
        json!({"role": "assistant", "content": [{"type": "output_audio", "transcript": "Hello."}]});
    assert_eq!(answer(spoken), Some(json!("Hello.")));
    let asked = json!([{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA"}}]}]);
    let said = fields(
        json!({"gen_ai.operation.name": "chat", "gen_ai.input.messages": asked.to_string()}),
    );
    assert_eq!(said.get("userText"), None);
    assert_eq!(said["messagesBefore"], 0);
}

#[test]
fn an_answer_that_no_message_tells_is_what_the_api_answered() {
    let said = fields(json!({
        "openinference.span.kind": "LLM",
        "llm.output_messages.0.message.role": "assistant",
        "output.value": json!({"choices": [{"message": {"role": "assistant", "content": null, "refusal": "I cannot."}}]}).to_string(),
    }));
    assert_eq!(said["text"], "I cannot.");
}

#[test]
fn what_a_tracer_was_told_not_to_tell_is_no_word() {
    let llm = fields(json!({
        "openinference.span.kind": "LLM",
        "input.value": "__REDACTED__", "output.value": "__REDACTED__",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "__REDACTED__",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": "__REDACTED__",
    }));
    assert!(!llm.contains_key("userText") && !llm.contains_key("text"));
    let agent = fields(json!({
        "openinference.span.kind": "AGENT", "input.value": "__REDACTED__", "output.value": "__REDACTED__",
    }));
    assert!(!agent.contains_key("userText") && !agent.contains_key("text"));
}

#[test]
fn genkit_s_actions_are_read() {
    let action = |name: &str, sort: &str, given: Value, gave: Value| {
        gist(
            name,
            json!({
                "genkit:type": "action", "genkit:metadata:subtype": sort, "genkit:name": name,
                "genkit:input": given.to_string(), "genkit:output": gave.to_string(),
            }),
        )
    };
    let messages = json!([
        {"role": "system", "content": [{"text": "Be kind."}]},
        {"role": "user", "content": [{"text": "Where is A1?"}]},
        {"role": "model", "content": [{"toolRequest": {"name": "find", "input": {"id": "A1"}}}]},
        {"role": "tool", "content": [{"toolResponse": {"name": "find", "output": {"free": true}}}]},
    ]);
    let gave = json!({"message": {"role": "model", "content": [{"text": "It shipped."}]},
        "usage": {"inputTokens": 100, "outputTokens": 20, "totalTokens": 120}});
    let llm = action(
        "googleai/gemini-2.5-flash",
        "model",
        json!({"messages": messages}),
        gave.clone(),
    );
    assert_eq!(llm.part, Part::Llm);
    assert_eq!(llm.fields["userText"], "Where is A1?");
    assert_eq!(llm.fields["text"], "It shipped.");
    assert_eq!(llm.fields["provider"], "googleai");
    assert_eq!(llm.fields["model"], "gemini-2.5-flash");
    assert_eq!(llm.fields["promptTokens"], 100);
    assert_eq!(llm.fields["completionTokens"], 20);
    let flow = action(
        "waiter",
        "flow",
        json!({"text": "Where is A1?"}),
        json!("It shipped."),
    );
    assert_eq!(flow.part, Part::Exchange);
    assert_eq!(flow.fields["userText"], "Where is A1?");
    assert_eq!(flow.fields["text"], "It shipped.");
    let generate = gist(
        "generate",
        json!({"genkit:type": "util", "genkit:name": "generate",
            "genkit:input": json!({"messages": messages}).to_string(), "genkit:output": gave.to_string()}),
    );
    assert_eq!(generate.part, Part::Exchange);
    assert_eq!(generate.fields["userText"], "Where is A1?");
    let tool = action("find", "tool", json!({"id": "A1"}), json!({"free": true}));
    assert_eq!(tool.part, Part::Tool);
    assert_eq!(tool.fields["arguments"], json!({"id": "A1"}));
    assert_eq!(tool.fields["result"], json!({"free": true}));
    assert_eq!(
        action("store", "embedder", json!({}), json!([])).part,
        Part::Other
    );
}

/// A generation whose span tells no word, and the records beside it, in any split: each piece is joined to the others
/// before it is read.
#[test]
fn messages_in_log_records_are_those_of_their_span() {
    let beside = |records: &[(&str, &str, Value)]| {
        let mut attributes = json!({"gen_ai.system": "aws.bedrock"});
        for (at, name, message) in records {
            attributes[format!("gen_ai.logged.{at}")] = json!({"name": name, "message": message});
        }
        let mut said = gist("s1:messages", attributes);
        said.parent = Some("s1".to_owned());
        said
    };
    let llm = |id: &str, attributes: Value| {
        let mut all = json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "claude"});
        for (name, value) in attributes.as_object().expect("attributes") {
            all[name] = value.clone();
        }
        gist(id, all)
    };
    let records = [
        (
            "3",
            "gen_ai.assistant.message",
            json!({"tool_calls": [{"id": "t1"}]}),
        ),
        (
            "1",
            "gen_ai.system.message",
            json!({"content": [{"text": "Be kind."}]}),
        ),
        (
            "4",
            "gen_ai.tool.message",
            json!({"id": "t1", "content": {"free": true}}),
        ),
        (
            "2",
            "gen_ai.user.message",
            json!({"content": [{"text": "Where is A1?"}]}),
        ),
        (
            "5",
            "gen_ai.choice",
            json!({"index": 0, "finish_reason": "stop",
            "message": {"content": [{"text": "It shipped."}]}}),
        ),
    ];
    let told = beside(&records);
    assert_eq!(told.part, Part::Messages);
    let texts = |gists: &[Gist]| {
        let events = vocabulary::interpret(gists);
        let turns = events.iter().filter(|event| event.kind == Kind::Turn);
        let texts = turns.map(|turn| turn.fields.get("text").cloned().unwrap_or_default());
        texts.collect::<Vec<Value>>()
    };
    let both = [llm("s1", json!({})), told.clone()];
    assert_eq!(texts(&both), ["Where is A1?", "It shipped."]);
    assert_eq!(
        texts(&[told.clone(), llm("s1", json!({}))]),
        ["Where is A1?", "It shipped."]
    );
    // Nobody says that there was a generation, or it was another one.
    assert_eq!(texts(std::slice::from_ref(&told)), Vec::<Value>::new());
    assert_eq!(texts(&[llm("s2", json!({})), told.clone()]), [Value::Null]);
    // What the span says itself stays.
    let own = json!([{"role": "user", "content": "And A2?"}]).to_string();
    let own = llm("s1", json!({"gen_ai.input.messages": own}));
    assert_eq!(texts(&[own, told]), ["And A2?", "It shipped."]);

    let mut whole = gist(
        "s1:messages",
        json!({
            "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Where is A1?"}]}],
            "gen_ai.output.messages": [{"role": "model", "parts": [{"type": "text", "content": "It shipped."}]}],
        }),
    );
    whole.parent = Some("s1".to_owned());
    assert_eq!(
        texts(&[llm("s1", json!({})), whole]),
        ["Where is A1?", "It shipped."]
    );
}

#[test]
fn the_tracer_of_aws_s_client_counts_what_came_from_a_cache_beside_what_was_read() {
    let read = |scope: &str| {
        let span = json!({
            "traceId": "t", "spanId": "s", "name": "chat", "scope": {"name": scope},
            "startedAt": "2026-01-17T10:00:00Z", "endedAt": "2026-01-17T10:00:01Z",
            "attributes": {
                "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 140,
                "gen_ai.usage.cache_read.input_tokens": 90, "gen_ai.usage.output_tokens": 9,
            },
        });
        let said = vocabulary::gist(span.as_object().expect("a span")).expect("a gist");
        said.fields["promptTokens"].clone()
    };
    let bedrock = "opentelemetry.instrumentation.botocore.bedrock-runtime";
    assert_eq!(read(bedrock), 230);
    assert_eq!(read("opentelemetry.instrumentation.openai_v2"), 140);
}

#[test]
fn what_a_run_of_langsmith_s_raised_is_its_failure_though_it_says_that_it_went_well() {
    let raised = |name: &str, kind: &str, told: &str| {
        let span = json!({
            "traceId": "t", "spanId": name, "name": name, "status": {"code": 1},
            "startedAt": "2026-01-17T10:00:00Z", "endedAt": "2026-01-17T10:00:01Z",
            "attributes": {"langsmith.span.kind": kind, "gen_ai.operation.name": "chat"},
            "events": [{"name": "exception",
                "attributes": {"exception.type": "Exception", "exception.message": told}}],
        });
        let said = vocabulary::gist(span.as_object().expect("a span")).expect("a gist");
        said.fields
    };
    let stack = "Traceback (most recent call last):\n  File \"agent.py\", line 1, in turn";
    let error = format!("InternalServerError('Error code: 500 - it is down')\n\n{stack}");
    let llm = raised("ChatOpenAI", "llm", &error);
    assert_eq!(llm["error"], "Error code: 500 - it is down");
    assert_eq!(llm["errorCode"], "InternalServerError");
    assert_eq!(llm["statusCode"], 500);
    let given_up = raised("ChatOpenAI", "llm", &format!("CancelledError(){stack}"));
    assert!(!given_up.contains_key("error"));
    assert_eq!(given_up["cancelled"], true);
    let parser = raised("StrOutputParser", "parser", &error);
    assert!(!parser.contains_key("error"));
}

/// A span of Logfire's instrumentation of OpenAI's Agents SDK.
fn of_agents_sdk(name: &str, mut attributes: Value) -> Gist {
    attributes["gen_ai.system"] = json!("openai");
    let span = json!({
        "traceId": "t", "spanId": name, "name": name, "attributes": attributes,
        "scope": {"name": "logfire.openai_agents", "version": "5.2.0"},
        "startedAt": "2026-01-17T10:00:00Z", "endedAt": "2026-01-17T10:00:01Z",
    });
    vocabulary::gist(span.as_object().expect("a span")).expect("a gist")
}

#[test]
fn openai_s_agents_sdk_is_understood_as_logfire_tells_of_it() {
    let heard = of_agents_sdk(
        "Speech → Text with {gen_ai.request.model!r}",
        json!({"gen_ai.request.model": "gpt-4o-transcribe", "input": "{\"format\":\"pcm\"}", "output": "Where is A1?"}),
    );
    assert_eq!(heard.part, Part::Stt);
    assert_eq!(heard.fields["text"], "Where is A1?");
    let spoken = of_agents_sdk(
        "Text → Speech",
        json!({
            "gen_ai.request.model": "tts-1", "input": "It has shipped.", "output": "{\"format\":\"pcm\"}",
            "first_content_at": "2026-01-17T10:00:00.165000+00:00",
        }),
    );
    assert_eq!(spoken.part, Part::Tts);
    assert_eq!(spoken.fields["text"], "It has shipped.");
    assert_eq!(spoken.fields["ttsMs"], 165.0);
    let called = of_agents_sdk(
        "Function: {name}",
        json!({"name": "lookup_order", "input": "{\"order_id\": \"A1\"}", "output": "{\"status\": \"shipped\"}"}),
    );
    assert_eq!(called.part, Part::Tool);
    assert_eq!(called.fields["name"], "lookup_order");
    assert_eq!(called.fields["arguments"], json!({"order_id": "A1"}));
    assert_eq!(called.fields["result"], json!({"status": "shipped"}));
    let asked = json!([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Where is A1?"}]);
    let response = json!({
        "id": "__fake_id__", "object": "response",
        "output": [{"role": "assistant", "content": [{"text": "It has shipped.", "type": "output_text"}]}],
    });
    let request = json!({"messages": [asked[0], asked[1], response]});
    let generated = of_agents_sdk(
        "Chat completion with {gen_ai.request.model!r}",
        json!({
            "gen_ai.request.model": "gpt-4o-mini", "input": asked.to_string(),
            "output": json!([response]).to_string(), "request_data": request.to_string(),
        }),
    );
    assert_eq!(generated.part, Part::Llm);
    assert_eq!(generated.fields["userText"], "Where is A1?");
    assert_eq!(generated.fields.get("isContinued"), None);
    assert_eq!(generated.fields["text"], "It has shipped.");
    let run = of_agents_sdk("Agent run: {name!r}", json!({"name": "desk"}));
    assert_eq!(
        (run.part, &run.session["agentLabel"]),
        (Part::Other, &json!("desk"))
    );
    let whole = of_agents_sdk(
        "OpenAI Agents trace: {name}",
        json!({"name": "front desk", "agent_trace_id": "trace_80", "group_id": "call-7"}),
    );
    assert_eq!(whole.part, Part::Exchange);
    let id = json!([{"kind": "conversation_id", "id": "call-7"}]);
    assert_eq!(whole.session["externalIds"], id);
    // Anybody may have groups.
    let other = gist(
        "chat",
        json!({"gen_ai.operation.name": "chat", "group_id": "call-7"}),
    );
    assert_eq!(other.session.get("externalIds"), None);
}

#[test]
fn what_was_answered_in_a_form_of_its_own_is_told_as_it_was_written() {
    let said = |name: &str| {
        fields(json!({
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.prompt.messages": "[{\"role\":\"user\",\"content\":\"Yes or no?\"}]",
            name: "{\"verdict\":\"yes\"}",
        }))
    };
    for name in ["ai.response.text", "ai.response.object"] {
        assert_eq!(said(name)["text"], "{\"verdict\":\"yes\"}");
    }
}

#[test]
fn what_openai_s_client_hears_and_speaks_is_no_generation_of_openinference() {
    let heard = gist(
        "Transcription",
        json!({
            "openinference.span.kind": "LLM", "llm.system": "openai",
            "input.value": "{\"model\": \"gpt-4o-transcribe\", \"language\": \"en\"}",
            "llm.invocation_parameters": "{\"model\": \"gpt-4o-transcribe\", \"language\": \"en\"}",
            "output.value": "{\"text\":\"Where is order 7?\",\"usage\":{\"seconds\":2.0,\"type\":\"duration\"}}",
        }),
    );
    assert_eq!(heard.part, Part::Stt);
    assert_eq!(heard.fields["text"], "Where is order 7?");
    assert_eq!(heard.fields["model"], "gpt-4o-transcribe");
    assert_eq!(heard.fields["audioSeconds"], 2.0);
    let request =
        "{\"model\": \"gpt-4o-mini-tts\", \"input\": \"On its way.\", \"voice\": \"alloy\"}";
    let spoken = gist(
        "HttpxBinaryResponseContent",
        json!({
            "openinference.span.kind": "LLM", "llm.system": "openai",
            "input.value": request, "llm.invocation_parameters": request,
            "output.value": "<coroutine object AsyncAPIResponse.parse at 0x7f8159d948b0>",
        }),
    );
    assert_eq!(spoken.part, Part::Tts);
    assert_eq!(spoken.fields["text"], "On its way.");
    assert_eq!(spoken.fields["characters"], 11);
    let generated = gist(
        "ChatCompletion",
        json!({
            "openinference.span.kind": "LLM", "llm.invocation_parameters": request,
            "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "Where is order 7?",
            "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "On its way.",
        }),
    );
    assert_eq!(generated.part, Part::Llm);
}

mod langchain;
