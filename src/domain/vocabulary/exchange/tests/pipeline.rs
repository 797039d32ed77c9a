//! Voice pipelines of OpenAI's Agents SDK, as OpenInference tells of them: whose transcriber listens all along, and whose
//! speech stands in a span of its own around its sentences.

use serde_json::{Value, json};

use super::{assert_said, span, told};
use crate::domain::event::Kind;

fn named(name: &str, mut span: Value) -> Value {
    span["name"] = json!(name);
    span
}

fn step(id: u8, parent: u8, seconds: (u8, u8), name: &str) -> Value {
    let kind = json!({"openinference.span.kind": "CHAIN"});
    named(name, span(id, parent, seconds, &kind))
}

fn generation(id: u8, seconds: (u8, u8), asked: &str, answer: &str) -> Value {
    let response = json!([{
        "object": "response", "id": "__fake_id__", "text": null,
        "output": [{"type": "message", "role": "assistant",
                    "content": [{"type": "output_text", "text": answer, "annotations": []}]}],
    }]);
    let said = json!({
        "openinference.span.kind": "LLM", "llm.model_name": "gpt-4o-mini", "llm.token_count.prompt": 28,
        "llm.token_count.completion": id,
        "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": asked,
        "output.value": response.to_string(),
    });
    named("generation", span(id, 1, seconds, &said))
}

/// Two questions in one stream of audio.
fn call() -> Vec<Value> {
    let own = json!({"openinference.span.kind": "AGENT"});
    vec![
        named("front desk", span(1, 0, (0, 20), &own)),
        step(2, 1, (0, 3), "transcription"),
        generation(
            3,
            (3, 4),
            "Where is A1?",
            "It has shipped. You get it soon.",
        ),
        step(4, 1, (4, 7), "speech_group"),
        step(5, 4, (4, 5), "speech"),
        step(6, 4, (5, 7), "speech"),
        step(7, 1, (3, 12), "transcription"),
        generation(8, (12, 13), "Thanks", "Goodbye."),
        step(9, 1, (13, 14), "speech_group"),
        step(10, 9, (13, 14), "speech"),
        step(11, 1, (12, 20), "transcription"),
    ]
}

#[test]
fn who_listens_all_along_hears_in_the_order_of_what_was_said() {
    assert_said(
        &call(),
        json!([
            ["user", "Where is A1?"],
            ["agent", "It has shipped. You get it soon."],
            ["user", "Thanks"],
            ["agent", "Goodbye."],
        ]),
    );
    let turns = told(&call(), Kind::Turn);
    for user in turns.iter().filter(|turn| turn["speaker"] == "user") {
        assert_eq!(user.get("sttMs"), None, "{user:?}");
        assert_eq!(user.get("endMs"), None, "{user:?}");
        assert_eq!(user["metadata"]["untimed"], true);
    }
    assert_eq!(turns[2]["startMs"], 12_000);
}

#[test]
fn a_span_around_what_was_spoken_is_not_spoken_again() {
    let turns = told(&call(), Kind::Turn);
    assert_eq!(turns[1]["ttsTotalMs"], 3000.0);
    assert_eq!(turns[1]["ttsCalls"].as_array().map(Vec::len), Some(2));
    // What its pieces do not say is told around them, and they know when it was heard.
    let own = span(1, 0, (0, 9), &json!({"openinference.span.kind": "AGENT"}));
    let around = json!({"openinference.span.kind": "CHAIN", "text": "Goodbye."});
    let around = named("speech_group", span(2, 1, (1, 4), &around));
    let inner = json!({"openinference.span.kind": "CHAIN", "ttfb_ms": 200});
    let inner = named("speech", span(3, 2, (2, 4), &inner));
    let turns = told(&[own, around, inner], Kind::Turn);
    assert_eq!(turns[0]["text"], "Goodbye.");
    assert_eq!(turns[0]["ttsTotalMs"], 3000.0);
    assert_eq!(turns[0]["ttsMs"], 1200.0);
}

#[test]
fn a_transcription_that_is_sent_off_when_the_user_had_spoken_ends_his_turn() {
    let own = span(1, 0, (0, 9), &json!({"openinference.span.kind": "AGENT"}));
    let spans = [
        own,
        step(2, 1, (1, 2), "transcription"),
        // One that failed is tried again at once.
        step(3, 1, (2, 3), "transcription"),
        generation(4, (3, 4), "Where is A1?", "It has shipped."),
    ];
    let turns = told(&spans, Kind::Turn);
    assert_eq!(turns[0]["sttMs"], 2000.0);
    assert_eq!(turns[0]["endMs"], 2000);
}

/// One question as OpenLLMetry tells of it: what is heard and spoken stands beside the agent's run.
fn beside() -> Vec<Value> {
    let messages = |role: &str, text: &str| {
        json!([{"role": role, "parts": [{"type": "text", "content": text}]}]).to_string()
    };
    let transcription = json!({
        "gen_ai.operation.name": "transcription", "gen_ai.request.model": "gpt-4o-transcribe",
        "gen_ai.output.messages": messages("assistant", "Where is A1?"),
    });
    let chat = json!({
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.input.messages": messages("user", "Where is A1?"),
    });
    let speech = |text: &str| {
        json!({
            "gen_ai.operation.name": "speech", "gen_ai.request.model": "tts-1",
            "gen_ai.input.messages": messages("user", text),
        })
    };
    let workflow = json!({"traceloop.span.kind": "workflow"});
    let group = json!({"gen_ai.operation.name": "speech_group"});
    vec![
        named("Agent Workflow", span(1, 0, (0, 20), &workflow)),
        named(
            "openai.realtime.transcription",
            span(2, 1, (0, 3), &transcription),
        ),
        named(
            "desk.agent",
            span(
                3,
                1,
                (3, 5),
                &json!({"gen_ai.operation.name": "invoke_agent"}),
            ),
        ),
        named("openai.response", span(4, 3, (3, 5), &chat)),
        named("openai.realtime.speech_group", span(5, 1, (4, 8), &group)),
        named(
            "openai.realtime.speech",
            span(6, 5, (5, 6), &speech("It has shipped.")),
        ),
        named(
            "openai.realtime.speech",
            span(7, 5, (6, 8), &speech("You get it soon.")),
        ),
        named(
            "openai.realtime.transcription",
            span(8, 1, (3, 20), &transcription),
        ),
    ]
}

#[test]
fn what_is_heard_and_spoken_beside_an_agent_s_run_is_of_it() {
    let mut spans = beside();
    spans[7]["attributes"]["gen_ai.output.messages"] = json!("[]");
    let said = json!([
        ["user", "Where is A1?"],
        ["agent", "It has shipped. You get it soon."]
    ]);
    assert_said(&spans, said.clone());
    let turns = told(&spans, Kind::Turn);
    assert_eq!(turns[1]["ttsTotalMs"], 3000.0);
    assert_eq!(turns[1]["ttsCalls"][0]["characters"], 15);
    // Each may be a trace of its own, if it says what was said.
    for (at, trace) in ["a", "b", "c", "c", "d", "e", "f", "g"].iter().enumerate() {
        spans[at]["traceId"] = json!(trace);
    }
    spans.pop();
    let answer = json!([{"role": "assistant", "parts": [{"type": "text", "content": "It has shipped. You get it soon."}]}]);
    spans[3]["attributes"]["gen_ai.output.messages"] = json!(answer.to_string());
    assert_said(&spans, said);
}

#[test]
fn what_is_spoken_beside_an_agent_s_run_and_was_not_its_answer_is_said_by_itself() {
    let mut spans = beside();
    spans.truncate(4);
    let answer =
        json!([{"role": "assistant", "parts": [{"type": "text", "content": "It has shipped."}]}]);
    spans[3]["attributes"]["gen_ai.output.messages"] = json!(answer.to_string());
    let reminder = json!({"gen_ai.operation.name": "speech", "text": "Are you still there?"});
    spans.push(named("speech", span(9, 1, (15, 17), &reminder)));
    assert_said(
        &spans,
        json!([
            ["user", "Where is A1?"],
            ["agent", "It has shipped."],
            ["agent", "Are you still there?"],
        ]),
    );
}
