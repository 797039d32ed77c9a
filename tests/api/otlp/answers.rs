//! What an agent's answer was and what it was waited for, by what frameworks' spans tell: what nobody heard is no
//! answer, and what came behind its first word was waited for by nobody.

use serde_json::{Value, json};

use crate::support::{Tenant, TestServer};

use super::conversations::{request, span};
use super::{TRACES, list};

const PATH: &str = "/v1/observability/sessions/call-1";

/// What a reader sees of the call, and the kinds of issues that were found in it.
async fn seen(server: &TestServer, acme: &Tenant<'_>) -> (Value, Vec<String>) {
    server.analysed().await;
    let reader = acme.transcripts().await;
    let detail = reader.get(PATH).await.status(200).json();
    let path = format!("{PATH}/root-cause");
    let found = reader.get(&path).await.status(200).json();
    let kinds = list(&found["issues"]);
    let kinds = kinds
        .iter()
        .map(|issue| issue["type"].as_str().unwrap_or_default().to_owned());
    (detail, kinds.collect())
}

fn llm(output: &str, ttfb: f64) -> Value {
    json!({"output": output, "metrics.ttfb": ttfb, "gen_ai.request.model": "m"})
}

/// Sends each span alone, the last first: children before parents.
async fn send_each(acme: &Tenant<'_>, spans: &[Value], scope: &str) {
    let ingestor = acme.ingestor().await;
    for span in spans.iter().rev() {
        let mut alone = request(std::slice::from_ref(span));
        alone["resourceSpans"][0]["scopeSpans"][0]["scope"]["name"] = json!(scope);
        ingestor.post(TRACES, &alone).await.status(200);
    }
}

#[tokio::test]
async fn a_failed_synthesis_that_was_talked_over_is_an_error_and_no_latency() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let name = json!({"conversation.id": "call-1"});
    let turn = json!({"conversation.id": "call-1", "turn.user_bot_latency_seconds": 1.087,
        "turn.was_interrupted": false});
    let stt = |words: &str| json!({"transcript": words, "metrics.ttfb": 0.3, "is_final": true});
    let unheard =
        json!({"text": "You will not hear this.", "metrics.ttfb": 2.479, "tts.interrupted": true});
    let heard = json!({"text": "Now you hear me.", "metrics.ttfb": 0.12});
    let spans = [
        span(1, 1, 0, "conversation", (0.0, 20.0), &name),
        span(1, 2, 1, "turn", (0.0, 20.0), &turn),
        span(1, 3, 2, "stt", (0.5, 2.3), &stt("First question")),
        span(
            1,
            4,
            2,
            "llm",
            (2.6, 2.9),
            &llm("You will not hear this.", 0.15),
        ),
        span(1, 5, 2, "tts", (2.9, 5.38), &unheard),
        span(1, 6, 2, "stt", (5.2, 6.8), &stt("Second question")),
        span(1, 7, 2, "llm", (7.1, 7.4), &llm("Now you hear me.", 0.2)),
        span(1, 8, 2, "tts", (7.4, 7.6), &heard),
    ];
    send_each(&acme, &spans, "pipecat").await;
    let (detail, issues) = seen(&server, &acme).await;
    let turns = list(&detail["turns"]);
    let said: Vec<&Value> = turns.iter().map(|turn| &turn["text"]).collect();
    let want = [
        "First question",
        "You will not hear this.",
        "Second question",
        "Now you hear me.",
    ];
    assert_eq!(said, want);
    assert_eq!(
        (&turns[1]["failed"], &turns[1]["ttsMs"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(
        (&turns[3]["latencyMs"], &turns[3]["sttMs"]),
        (&json!(1087), &json!(300))
    );
    let errors = list(&detail["errors"]);
    assert_eq!(errors.len(), 1, "{detail}");
    assert_eq!(errors[0]["code"], "no_audio_suspected");
    for kind in ["high_latency", "premature_response", "slow_endpointing"] {
        assert!(!issues.iter().any(|issue| issue == kind), "{issues:?}");
    }
}

#[tokio::test]
async fn what_was_said_before_a_tool_is_told_and_what_came_behind_it_was_not_waited_for() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let with = |more: Value| {
        let mut all = json!({"gen_ai.conversation.id": "call-1"});
        for (name, value) in more.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        all
    };
    let user = with(
        json!({"lk.pii.user_transcript": "Where is C3?", "lk.transcription_delay": 0.3,
        "lk.end_of_turn_delay": 0.5}),
    );
    let answer = with(json!({"lk.speech_id": "speech-1", "lk.e2e_latency": 1.0,
        "lk.pii.response.text": "C3 has shipped.", "lk.pii.user_input": "Where is C3?"}));
    let step = |said: &str, ttft: f64| {
        with(json!({"lk.pii.response.text": said, "lk.response.ttft": ttft}))
    };
    let asked = |ttft: f64| with(json!({"gen_ai.response.time_to_first_chunk": ttft}));
    let tool = with(json!({"lk.function_tool.name": "lookup", "lk.function_tool.id": "c1"}));
    let nothing = with(json!({}));
    let spans = [
        span(1, 1, 0, "agent_session", (0.0, 20.0), &nothing),
        span(1, 2, 1, "user_turn", (0.5, 2.5), &user),
        span(1, 3, 2, "user_speaking", (0.5, 2.0), &nothing),
        span(1, 4, 1, "agent_turn", (2.5, 12.0), &answer),
        span(
            1,
            5,
            4,
            "llm_node",
            (2.5, 2.9),
            &step("One moment please. ", 0.2),
        ),
        span(1, 6, 5, "llm_request", (2.5, 2.9), &asked(0.2)),
        span(1, 7, 4, "agent_speaking", (3.0, 3.8), &nothing),
        span(1, 8, 4, "function_tool", (2.9, 6.0), &tool),
        span(
            1,
            9,
            4,
            "llm_node",
            (6.0, 10.2),
            &step("C3 has shipped.", 4.0),
        ),
        span(1, 10, 9, "llm_request", (6.0, 10.2), &asked(4.0)),
        span(1, 11, 4, "agent_speaking", (10.3, 11.2), &nothing),
    ];
    send_each(&acme, &spans, "livekit-agents").await;
    let (detail, issues) = seen(&server, &acme).await;
    let turn = &detail["turns"][1];
    assert_eq!(turn["text"], "One moment please. C3 has shipped.");
    assert_eq!(
        (&turn["llmMs"], &turn["latencyMs"]),
        (&json!(200), &json!(1000))
    );
    assert!(
        !issues.iter().any(|issue| issue == "high_latency"),
        "{issues:?}"
    );
}

/// Attributes of LiveKit's spans, which name the call.
fn of_call(more: Value) -> Value {
    let mut all = json!({"gen_ai.conversation.id": "call-1"});
    for (name, value) in more.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    all
}

#[tokio::test]
async fn who_hands_over_to_another_agent_is_part_of_the_wait() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let user = of_call(
        json!({"lk.pii.user_transcript": "A question on my bill.", "lk.transcription_delay": 0.3,
        "lk.end_of_turn_delay": 0.5}),
    );
    let front = of_call(
        json!({"lk.speech_id": "speech-1", "lk.agent_label": "front",
        "lk.pii.user_input": "A question on my bill."}),
    );
    let billing = of_call(
        json!({"lk.speech_id": "speech-2", "lk.agent_label": "billing",
        "lk.e2e_latency": 3.0, "lk.pii.response.text": "Billing here."}),
    );
    let asked = |ttft: f64, model: &str| {
        of_call(json!({"gen_ai.response.time_to_first_chunk": ttft, "gen_ai.request.model": model}))
    };
    let tool = of_call(json!({"lk.function_tool.name": "to_billing", "lk.function_tool.id": "c1"}));
    let voice = of_call(json!({"lk.tts_metrics": json!({"ttfb": 0.1}).to_string()}));
    let nothing = of_call(json!({}));
    let spans = [
        span(1, 1, 0, "agent_session", (0.0, 20.0), &nothing),
        span(1, 2, 1, "user_turn", (0.5, 2.5), &user),
        span(1, 3, 2, "user_speaking", (0.5, 2.0), &nothing),
        span(1, 4, 1, "agent_turn", (2.5, 4.3), &front),
        span(1, 5, 4, "llm_request", (2.5, 4.0), &asked(1.4, "small")),
        span(1, 6, 4, "function_tool", (4.0, 4.3), &tool),
        span(1, 7, 1, "agent_turn", (4.3, 7.0), &billing),
        span(1, 8, 7, "llm_request", (4.3, 4.9), &asked(0.5, "large")),
        span(1, 9, 7, "tts_request", (4.9, 5.2), &voice),
        span(1, 10, 7, "agent_speaking", (5.0, 7.0), &nothing),
    ];
    send_each(&acme, &spans, "livekit-agents").await;
    let (detail, issues) = seen(&server, &acme).await;
    assert_eq!(detail["turns"][1]["cancelled"], true, "{detail}");
    let path = format!("{PATH}/root-cause");
    let found = acme.reader().await.get(&path).await.status(200).json();
    let answer = &found["turns"][0];
    let stages = list(&answer["stages"]);
    let models = stages.iter().filter(|s| s["part"] == "llm");
    let models: Vec<_> = models
        .map(|s| (s["model"].clone(), s["ms"].clone()))
        .collect();
    let expected = [(json!("small"), json!(1500)), (json!("large"), json!(500))];
    assert_eq!(models, expected, "{answer}");
    assert_eq!(
        (&answer["gapMs"], &answer["unexplainedMs"]),
        (&json!(3000), &json!(100))
    );
    assert!(
        !issues.iter().any(|issue| issue == "telemetry_gap"),
        "{issues:?}"
    );
}

#[tokio::test]
async fn what_was_cut_off_before_it_was_heard_is_cancelled_and_nobody_broke_into_it() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let stopped = |id: &str, text: &str| {
        of_call(
            json!({"lk.speech_id": id, "lk.pii.response.text": text, "lk.interrupted": true,
            "lk.interruption.source": "audio_activity"}),
        )
    };
    let user = of_call(json!({"lk.pii.user_transcript": "Hello?"}));
    let answer = of_call(
        json!({"lk.speech_id": "speech-3", "lk.pii.response.text": "Yes?",
        "lk.interrupted": false, "lk.pii.user_input": "Hello?"}),
    );
    let nothing = of_call(json!({}));
    let spans = [
        span(1, 1, 0, "agent_session", (0.0, 20.0), &nothing),
        span(
            1,
            2,
            1,
            "agent_turn",
            (0.5, 3.0),
            &stopped("speech-1", "First of two."),
        ),
        span(1, 3, 2, "agent_speaking", (1.0, 3.0), &nothing),
        // It waited for the first to be said.
        span(1, 4, 1, "agent_turn", (0.6, 3.1), &stopped("speech-2", "")),
        span(1, 5, 1, "user_turn", (2.6, 3.9), &user),
        span(1, 6, 5, "user_speaking", (2.6, 3.5), &nothing),
        span(1, 7, 1, "agent_turn", (3.9, 5.0), &answer),
        span(1, 8, 7, "agent_speaking", (4.4, 5.0), &nothing),
    ];
    send_each(&acme, &spans, "livekit-agents").await;
    let (detail, _) = seen(&server, &acme).await;
    let turns = list(&detail["turns"]);
    let seen: Vec<_> = turns
        .iter()
        .map(|t| {
            (
                t["text"].clone(),
                t["interrupted"] == true,
                t["cancelled"] == true,
            )
        })
        .collect();
    let expected = [
        ("", false, true),
        ("First of two.", true, false),
        ("Hello?", false, false),
        ("Yes?", false, false),
    ];
    let expected = expected.map(|(text, stopped, cancelled)| (json!(text), stopped, cancelled));
    assert_eq!(seen, expected);
    let stops = list(&detail["interruptions"]);
    assert_eq!(stops.len(), 1, "{detail}");
    assert_eq!(
        (&stops[0]["turn"], &stops[0]["stopMs"]),
        (&json!(1), &json!(400))
    );
}

#[tokio::test]
async fn an_answer_whose_voice_failed_so_that_the_session_was_closed_has_failed() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let user = of_call(json!({"lk.user_transcript": "Are you there?"}));
    let answer = of_call(
        json!({"lk.speech_id": "speech-1", "lk.user_input": "Are you there?",
        "lk.interrupted": true}),
    );
    let step = of_call(json!({"lk.response.text": "I am.", "lk.response.ttft": 0.2}));
    let asked = of_call(json!({"gen_ai.usage.output_tokens": 2}));
    let nothing = of_call(json!({}));
    let mut spans = vec![
        span(1, 1, 0, "agent_session", (0.0, 9.0), &nothing),
        span(1, 2, 1, "user_turn", (0.5, 2.0), &user),
        span(1, 3, 2, "user_speaking", (0.5, 1.5), &nothing),
        span(1, 4, 1, "agent_turn", (2.0, 7.0), &answer),
        span(1, 5, 4, "llm_node", (2.0, 2.4), &step),
        span(1, 6, 5, "llm_request", (2.0, 2.4), &asked),
        // What waits for the synthesis is stopped with the session, and says nothing of its failure.
        span(1, 7, 4, "tts_node", (2.1, 7.0), &nothing),
        span(1, 8, 7, "tts_stream_adapter", (2.1, 7.0), &nothing),
        span(1, 9, 8, "tts_request", (2.4, 6.9), &nothing),
        span(1, 10, 9, "tts_request_run", (2.4, 2.6), &nothing),
        span(1, 11, 9, "tts_request_run", (6.7, 6.9), &nothing),
        span(1, 12, 1, "drain_agent_activity", (7.0, 7.0), &nothing),
    ];
    for place in [8, 9, 10] {
        spans[place]["status"] = json!({"code": 2, "message": "no audio frames were pushed"});
    }
    send_each(&acme, &spans, "livekit-agents").await;
    let (detail, issues) = seen(&server, &acme).await;
    let turns = list(&detail["turns"]);
    assert_eq!(turns.len(), 2, "{detail}");
    assert_eq!(
        (&turns[1]["failed"], &turns[1]["cancelled"]),
        (&json!(true), &json!(false))
    );
    let errors = list(&detail["errors"]);
    let last = errors.last().expect("an error");
    assert_eq!(
        (&last["level"], &last["turn"]),
        (&json!("error"), &json!(1)),
        "{detail}"
    );
    assert_eq!(detail["status"], "failed");
    assert!(
        issues.iter().any(|issue| issue == "failed_turn"),
        "{issues:?}"
    );
}

#[tokio::test]
async fn a_tool_that_the_agent_does_not_have_has_failed() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let messages = json!([
        {"role": "user", "parts": [{"type": "text", "content": "Where is C3?"}]},
        {"role": "assistant", "parts": [
            {"type": "tool_call", "id": "c1", "name": "lookup", "arguments": {"id": "C3"}},
            {"type": "tool_call", "id": "c2", "name": "track", "arguments": {"id": "C3"}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "name": "lookup",
            "response": "shipped"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c2", "name": "track",
            "response": "Unknown function: track - available tools: lookup"}]},
    ]);
    let answer =
        of_call(json!({"lk.speech_id": "speech-1", "lk.pii.response.text": "It has shipped."}));
    let told = of_call(json!({"gen_ai.input.messages": messages.to_string()}));
    let tool = of_call(
        json!({"lk.function_tool.name": "lookup", "lk.function_tool.id": "c1",
        "lk.pii.function_tool.output": "shipped"}),
    );
    let nothing = of_call(json!({}));
    let livekit = [
        span(1, 1, 0, "agent_session", (0.0, 7.5), &nothing),
        span(1, 2, 1, "agent_turn", (2.5, 7.0), &answer),
        span(1, 3, 2, "llm_request", (2.5, 3.0), &nothing),
        span(1, 4, 2, "function_tool", (3.0, 3.4), &tool),
        span(1, 5, 2, "llm_request", (3.5, 4.0), &told),
        span(1, 6, 2, "agent_speaking", (4.2, 7.0), &nothing),
    ];
    send_each(&acme, &livekit, "livekit-agents").await;
    let (detail, issues) = seen(&server, &acme).await;
    let tools = list(&detail["turns"][0]["toolCalls"]);
    let told: Vec<_> = tools
        .iter()
        .map(|t| (t["name"].clone(), t["error"].clone()))
        .collect();
    let refused = "Unknown function: track - available tools: lookup";
    let expected = [
        (json!("lookup"), Value::Null),
        (json!("track"), json!(refused)),
    ];
    assert_eq!(told, expected, "{detail}");
    let errors = list(&detail["errors"]);
    assert_eq!(errors.len(), 1, "{detail}");
    assert_eq!(
        (&errors[0]["service"], &errors[0]["turn"]),
        (&json!("tool"), &json!(0))
    );
    assert_eq!(issues, ["tool_error"]);
    assert_eq!(detail["metrics"]["toolExecutions"], 2);

    let globex = server.tenant("globex").await;
    let messages = json!([{"role": "user", "content": "Where is C3?"},
        {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function",
            "function": {"name": "track", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1",
            "content": "\"The function `track` is not currently available.\""}]);
    let mut given = llm("I can not.", 0.2);
    given["input"] = json!(messages.to_string());
    let name = json!({"conversation.id": "call-1"});
    let pipecat = [
        span(1, 1, 0, "conversation", (0.0, 20.0), &name),
        span(1, 2, 1, "turn", (0.0, 20.0), &name),
        span(
            1,
            3,
            2,
            "stt",
            (0.5, 2.3),
            &json!({"transcript": "Where is C3?", "is_final": true}),
        ),
        span(1, 4, 2, "llm", (2.6, 2.9), &json!({"metrics.ttfb": 0.2})),
        span(1, 5, 2, "llm", (2.95, 3.3), &given),
        span(
            1,
            6,
            2,
            "tts",
            (3.3, 3.6),
            &json!({"text": "I can not.", "metrics.ttfb": 0.1}),
        ),
    ];
    send_each(&globex, &pipecat, "pipecat").await;
    let (detail, issues) = seen(&server, &globex).await;
    let tool = &detail["turns"][1]["toolCalls"][0];
    let refused = "The function `track` is not currently available.";
    assert_eq!(
        (&tool["name"], &tool["error"]),
        (&json!("track"), &json!(refused)),
        "{detail}"
    );
    let error = &detail["errors"][0];
    assert_eq!(
        (&error["code"], &error["service"], &error["message"]),
        (&json!("tool_error"), &json!("tool"), &json!(refused)),
        "{detail}"
    );
    assert!(
        issues.iter().any(|issue| issue == "tool_error"),
        "{issues:?}"
    );
}

#[tokio::test]
async fn a_realtime_model_took_as_long_as_was_measured() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let name = json!({"conversation.id": "call-1"});
    let turn = |latency: f64| {
        json!({"conversation.id": "call-1", "turn.user_bot_latency_seconds": latency,
            "turn.was_interrupted": false})
    };
    let stt = |words: &str| json!({"transcript": words, "is_final": true, "gen_ai.request.model": "realtime"});
    let response = |words: &str| {
        json!({"output": words, "metrics.ttfb": 0.4, "gen_ai.request.model": "realtime",
            "response.status": "completed"})
    };
    let called = json!({"metrics.ttfb": 0.5, "gen_ai.request.model": "realtime", "response.status": "completed"});
    let messages = json!([{"role": "user", "content": "Where is A1?"},
        {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function",
            "function": {"name": "lookup", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "{\"status\":\"shipped\"}"}]);
    let told = json!({"input": messages.to_string()});
    let spans = [
        span(1, 1, 0, "conversation", (0.0, 30.0), &name),
        span(1, 2, 1, "turn", (0.0, 12.0), &turn(0.9)),
        span(1, 3, 2, "stt", (1.0, 3.3), &stt("Where is A1?")),
        span(1, 4, 2, "llm_response", (3.9, 4.0), &called),
        span(1, 5, 2, "llm_request", (4.6, 4.7), &told),
        span(
            1,
            6,
            2,
            "llm_response",
            (6.5, 6.6),
            &response("It has shipped."),
        ),
        span(1, 7, 1, "turn", (12.0, 30.0), &turn(1.1)),
        span(1, 8, 7, "stt", (12.0, 14.0), &stt("Thanks")),
        span(1, 9, 7, "llm_response", (16.5, 16.6), &response("Bye.")),
    ];
    send_each(&acme, &spans, "pipecat").await;
    let (detail, issues) = seen(&server, &acme).await;
    for (turn, latency) in [(1, 900), (3, 1100)] {
        let turn = &detail["turns"][turn];
        assert_eq!(
            (&turn["latencyMs"], &turn["latencySource"]),
            (&json!(latency), &json!("measured"))
        );
        assert_eq!(
            (&turn["endpointingMs"], &turn["llmMs"]),
            (&Value::Null, &json!(400))
        );
    }
    assert_eq!(detail["metrics"]["toolExecutions"], 1);
    let tool = &detail["turns"][1]["toolCalls"][0];
    assert_eq!(
        (&tool["name"], &tool["startMs"]),
        (&json!("lookup"), &json!(3900))
    );
    for kind in ["high_latency", "slow_endpointing"] {
        assert!(!issues.iter().any(|issue| issue == kind), "{issues:?}");
    }
}

#[tokio::test]
async fn a_call_that_begins_anew_goes_on_until_its_last_conversation_is_over() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let reader = acme.transcripts().await;
    let name = json!({"conversation.id": "call-1"});
    let exchange = |trace: u8, start: f64| {
        let turn = json!({"conversation.id": "call-1", "turn.user_bot_latency_seconds": 1.1,
            "turn.was_interrupted": true});
        let stt = json!({"transcript": "Hello.", "metrics.ttfb": 0.3, "is_final": true});
        let tts = json!({"text": "Welcome.", "metrics.ttfb": 0.12});
        let at = |from: f64, to: f64| (start + from, start + to);
        [
            span(trace, 2, 1, "turn", at(0.0, 5.0), &turn),
            span(trace, 3, 2, "stt", at(0.1, 1.5), &stt),
            span(trace, 4, 2, "llm", at(1.8, 2.1), &llm("Welcome.", 0.2)),
            span(trace, 5, 2, "tts", at(2.1, 2.3), &tts),
        ]
    };
    let root = |trace: u8, to: f64| [span(trace, 1, 0, "conversation", (to - 6.0, to), &name)];
    let told = [
        (exchange(1, 0.0).to_vec(), "active", None),
        (root(1, 5.6).to_vec(), "completed", Some(5600)),
        (exchange(2, 20.0).to_vec(), "active", None),
        (root(2, 25.7).to_vec(), "completed", Some(25_700)),
    ];
    for (spans, status, lasted_ms) in told {
        send_each(&acme, &spans, "pipecat").await;
        let detail = reader.get(PATH).await.status(200).json();
        assert_eq!(detail["status"], status, "{detail}");
        assert_eq!(detail["endedAt"].is_null(), lasted_ms.is_none(), "{detail}");
        if let Some(ms) = lasted_ms {
            // The session began with its first span, which the root is older than by 0.4 s.
            assert_eq!(detail["metrics"]["totalDurationMs"], ms + 400, "{detail}");
        }
    }
}

#[tokio::test]
async fn a_user_who_thinks_was_not_left_without_an_answer() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let turn = json!({"conversation.id": "call-1", "turn.user_bot_latency_seconds": 1.07,
        "turn.was_interrupted": true});
    let stt = |words: &str| json!({"transcript": words, "metrics.ttfb": 0.3, "is_final": true});
    let waiting = json!({"param.filter_incomplete_user_turns": true, "metrics.ttfb": 0.19,
        "gen_ai.request.model": "gpt-4o-mini", "gen_ai.usage.input_tokens": 900.0, "gen_ai.usage.output_tokens": 1.0});
    let mut answer = waiting.clone();
    answer["output"] = json!("Two it is.");
    answer["input"] = json!(r#"[{"role":"user","content":"Two of them."}]"#);
    answer["gen_ai.usage.output_tokens"] = json!(4.0);
    let spans = [
        span(
            1,
            1,
            0,
            "conversation",
            (0.0, 12.0),
            &json!({"conversation.id": "call-1"}),
        ),
        span(1, 2, 1, "turn", (0.0, 10.0), &turn),
        span(1, 3, 2, "stt", (0.0, 1.34), &stt("Let me think.")),
        span(1, 4, 2, "llm", (1.7, 1.9), &waiting),
        span(1, 5, 2, "stt", (5.6, 6.9), &stt("Two of them.")),
        span(1, 6, 2, "llm", (7.2, 7.5), &answer),
        span(
            1,
            7,
            2,
            "tts",
            (7.5, 7.7),
            &json!({"text": "Two it is.", "metrics.ttfb": 0.12}),
        ),
    ];
    send_each(&acme, &spans, "pipecat").await;
    let (detail, issues) = seen(&server, &acme).await;
    let turns = list(&detail["turns"]);
    let said: Vec<&Value> = turns.iter().map(|turn| &turn["text"]).collect();
    assert_eq!(said, ["Let me think. Two of them.", "Two it is."]);
    assert_eq!(turns[1]["latencyMs"], 1070);
    assert_eq!(detail["usage"]["promptTokens"], 1800);
    assert_eq!(detail["usage"]["completionTokens"], 5);
    for kind in ["failed_turn", "dead_air"] {
        assert!(!issues.iter().any(|issue| issue == kind), "{issues:?}");
    }
}
