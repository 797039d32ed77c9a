//! What versions of the SDK say otherwise than Python's of today: Node.js, and Python's 1.2.

use super::unheard::{answer, fields, session, span, understood, user};
use super::*;

/// A span of the SDK for Node.js, whose process may not say that it is that.
fn in_nodejs(is_told: bool, id: &str, name: &str, during: (f64, f64), attributes: Value) -> Gist {
    let mut span = fields(id, name, during, attributes);
    if is_told {
        span["resource"] = json!({"attributes": {"telemetry.sdk.language": "nodejs"}});
    }
    vocabulary::gist(span.as_object().unwrap()).unwrap()
}

/// A call in Node.js: a greeting, of which no answer's span tells, a question, and its answer. Speech is synthesised by
/// sentences, and what does so is told as a synthesis of its own.
fn call_in_nodejs(is_told: bool) -> Vec<Gist> {
    let span =
        |id: &str, name: &str, during, attributes| in_nodejs(is_told, id, name, during, attributes);
    let voice = |characters: u64, first_ms: u64| {
        let metrics = json!({"type": "tts_metrics", "ttfbMs": first_ms, "charactersCount": characters,
            "audioDurationMs": 500, "metadata": {"modelProvider": "openai", "modelName": "tts-1"}});
        json!({"lk.tts_metrics": metrics.to_string()})
    };
    let synthesis = |top: &str, during: (f64, f64), characters: u64| {
        let (outer, run, inner) = (
            format!("{top}/tts"),
            format!("{top}/tts/run"),
            format!("{top}/tts/run/tts"),
        );
        [
            span(top, "tts_node", during, json!({"lk.response.ttfb": 0.18})),
            span(&outer, "tts_request", during, voice(characters, 180)),
            span(&run, "tts_request_run", during, json!({})),
            span(&inner, "tts_request", during, voice(characters, 140)),
        ]
    };
    let generated = json!({"type": "llm_metrics", "ttftMs": 195, "durationMs": 245, "promptTokens": 42,
        "completionTokens": 4, "promptCachedTokens": 16, "metadata": {"modelProvider": "openai", "modelName": "gpt-4o-mini"}});
    let mut gists = vec![session(9.0)];
    gists.extend(synthesis("greeting", (0.1, 0.3), 19));
    gists.push(span("sound", "agent_speaking", (0.3, 0.8), json!({})));
    gists.push(span(
        "user",
        "user_turn",
        (1.0, 2.5),
        json!({"lk.pii.user_transcript": "Where is it?", "lk.transcription_delay": 491, "lk.end_of_turn_delay": 492}),
    ));
    gists.push(span("user/voice", "user_speaking", (1.0, 2.0), json!({})));
    gists.push(span(
        "answer",
        "agent_turn",
        (2.5, 3.6),
        json!({"lk.speech_id": "a", "lk.pii.response.text": "On its way.", "lk.e2e_latency": 0.997, "lk.interrupted": false}),
    ));
    gists.push(span(
        "answer/llm",
        "llm_request",
        (2.5, 2.75),
        json!({"lk.llm_metrics": generated.to_string()}),
    ));
    gists.extend(synthesis("answer/voice", (2.7, 3.0), 11));
    gists.push(span(
        "answer/sound",
        "agent_speaking",
        (3.0, 3.5),
        json!({}),
    ));
    gists
}

#[test]
fn node_js_counts_the_wait_for_the_end_of_a_turn_in_milliseconds() {
    for is_told in [true, false] {
        let events = understood(call_in_nodejs(is_told));
        let user = of(&events, Kind::Turn)[1].clone();
        assert_eq!(
            (&user["sttMs"], &user["endpointingMs"]),
            (&json!(491), &json!(1))
        );
        let answer = of(&events, Kind::Turn)[2].clone();
        assert_eq!(answer["latencyMs"], 997);
    }
    // Seconds they are where a turn was too short for its wait, as one that is only known by its words.
    let attributes = json!({"lk.user_transcript": "Yes.", "lk.transcription_delay": 0.4, "lk.end_of_turn_delay": 0.9});
    let events = understood(vec![span("user", "user_turn", (1.0, 1.1), attributes)]);
    assert_eq!(of(&events, Kind::Turn)[0]["sttMs"], 400);
}

#[test]
fn what_node_js_counts_in_its_documents_counts_once() {
    let events = understood(call_in_nodejs(true));
    let answer = of(&events, Kind::Turn)[2].clone();
    assert_eq!(
        answer["usage"],
        json!({"promptTokens": 42, "completionTokens": 4, "cachedTokens": 16, "ttsCharacters": 11})
    );
    assert_eq!(
        (&answer["llmMs"], &answer["ttsMs"], &answer["audioMs"]),
        (&json!(195), &json!(180), &json!(500))
    );
    let calls = answer["ttsCalls"].as_array().unwrap();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(
        (&calls[0]["model"], &calls[0]["characters"]),
        (&json!("tts-1"), &json!(11))
    );
}

#[test]
fn what_an_application_had_said_is_a_turn_also_where_no_answer_s_span_tells_of_it() {
    let events = understood(call_in_nodejs(true));
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns.len(), 3, "{turns:#?}");
    let greeting = turns[0];
    assert_eq!(greeting["speaker"], "agent");
    assert_eq!(greeting["usage"], json!({"ttsCharacters": 19}));
    let ms = |name: &str| greeting[name].as_f64().unwrap();
    assert_eq!(ms("endMs") - ms("startMs"), 500.0);
    for unknown in ["text", "interrupted", "cancelled", "latencyMs"] {
        assert!(!greeting.contains_key(unknown), "{unknown}: {greeting:#?}");
    }
    // More of it was made than heard, since the user broke in.
    let mut gists = call_in_nodejs(true);
    gists.retain(|gist| gist.span_id != "sound");
    gists.push(span("sound", "agent_speaking", (0.3, 0.45), json!({})));
    assert!(of(&understood(gists.clone()), Kind::Interruption).is_empty());
    gists.push(span("voice", "user_speaking", (0.35, 0.9), json!({})));
    let events = understood(gists);
    let interruptions = of(&events, Kind::Interruption);
    assert_eq!(interruptions.len(), 1);
    assert_eq!(interruptions[0]["stopMs"], 100);
    assert_eq!(of(&events, Kind::Turn)[0]["interrupted"], true);
    // 1.2 says what it was.
    let spoken = json!({"lk.input_text": "Thanks for calling."});
    let events = understood(vec![
        session(9.0),
        span("node", "tts_node", (0.1, 0.3), json!({})),
        span("node/tts", "tts_request", (0.1, 0.3), spoken),
        span("sound", "agent_speaking", (0.2, 0.8), json!({})),
    ]);
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns.len(), 1);
    assert_eq!(turns[0]["text"], "Thanks for calling.");
}

#[test]
fn an_answer_in_steps_is_one_by_its_name_of_1_2() {
    let step = |id: &str, name: &str, during, text: &str| {
        let attributes = json!({"lk.speech_id": "s", "lk.response.text": text});
        span(id, name, during, attributes)
    };
    let delays = json!({"lk.user_transcript": "Where is it?", "lk.transcription_delay": 0.3, "lk.end_of_utterance_delay": 0.5});
    let events = understood(vec![
        session(9.0),
        span("user", "user_turn", (1.0, 2.0), delays),
        step("a", "assistant_turn", (2.0, 3.0), ""),
        span("a/node", "tts_node", (2.1, 2.2), json!({})),
        span(
            "a/tool",
            "function_tool",
            (2.2, 3.0),
            json!({"lk.function_tool.name": "find"}),
        ),
        step("a/a", "assistant_turn", (3.0, 5.0), "On its way."),
        span("a/a/node", "tts_node", (3.1, 3.5), json!({})),
        span("a/a/sound", "agent_speaking", (3.5, 5.0), json!({})),
    ]);
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns.len(), 2, "{turns:#?}");
    assert_eq!(turns[0]["endpointingMs"], 200);
    assert_eq!(turns[1]["text"], "On its way.");
}

#[test]
fn a_session_whose_process_stood_still_ends_all_the_same() {
    let stalls = json!({"lk.blocking.count": 3, "lk.blocking.total_duration": 0.9, "lk.blocking.max_duration": 0.4});
    let stall = fields(
        "stall",
        "event_loop_blocked",
        (1.0, 1.3),
        json!({"lk.blocking.duration": 0.3}),
    );
    assert!(vocabulary::gist(stall.as_object().unwrap()).is_none());
    let close = json!({"lk.close_reason": "error"});
    let events = understood(vec![
        span("session", "agent_session", (0.0, 9.0), stalls),
        span("close", "session_close", (8.0, 9.0), close),
    ]);
    let session = super::session(&events);
    assert_eq!(
        (&session["status"], &session["endReason"]),
        (&json!("failed"), &json!("error"))
    );
}

/// As Node.js tells of a user who goes on as their first words are being answered: its answers do not tell what hearing
/// them took.
#[test]
fn what_hearing_the_user_took_is_told_with_the_answer_to_these_words() {
    let words = |id: &str, during: (f64, f64), text: &str, delay_ms: u32| {
        let told = json!({"lk.pii.user_transcript": text, "lk.transcription_delay": delay_ms, "lk.end_of_turn_delay": 400});
        let voice = (during.0, during.1 - 0.4);
        [
            span(id, "user_turn", during, told),
            span(&format!("{id}/voice"), "user_speaking", voice, json!({})),
        ]
    };
    let answer = |id: &str, during, sound, asked: &str, text: &str| {
        let told = json!({"lk.speech_id": id, "lk.pii.user_input": asked, "lk.pii.response.text": text,
            "lk.e2e_latency": 0.53, "lk.interrupted": text == "Which part?"});
        [
            span(id, "agent_turn", during, told),
            span(&format!("{id}/sound"), "agent_speaking", sound, json!({})),
        ]
    };
    let mut gists = vec![session(9.0)];
    gists.extend(words("u1", (1.0, 2.2), "Part one", 85));
    gists.extend(words("u2", (2.24, 3.4), "and part two.", 86));
    gists.extend(answer(
        "a1",
        (1.9, 2.63),
        (2.35, 2.63),
        "Part one",
        "Which part?",
    ));
    gists.extend(answer(
        "a2",
        (3.1, 4.3),
        (3.53, 4.3),
        "and part two.",
        "I see.",
    ));
    let events = understood(gists);
    let turns = of(&events, Kind::Turn);
    let waits = |text: &str| {
        let turn = turns.iter().find(|turn| turn["text"] == text).unwrap();
        (turn["sttMs"].as_f64(), turn["endpointingMs"].as_f64())
    };
    assert_eq!(waits("Which part?"), (Some(85.0), Some(315.0)));
    assert_eq!(waits("I see."), (Some(86.0), Some(314.0)));
    // Right behind the user's words it is read of these.
    let events = understood(call_in_nodejs(true));
    assert!(!of(&events, Kind::Turn)[2].contains_key("sttMs"));
}

/// An answer of Node.js's, whose generation failed once or for good: only the attempts say so.
fn answer_after_a_failure(is_repaired: bool) -> Vec<Event> {
    let failed = |id: &str, name: &str, during| {
        let mut span = fields(id, name, during, json!({"lk.retry_count": 0}));
        span["status"] = json!({"code": 2, "message": "400 Too long"});
        vocabulary::gist(span.as_object().unwrap()).unwrap()
    };
    let counted = json!({"ttftMs": if is_repaired { 480 } else { -1 }, "promptTokens": 0, "completionTokens": 0});
    let metrics = json!({"lk.llm_metrics": counted.to_string()});
    let text = if is_repaired { "Yes." } else { "" };
    let step = json!({"lk.pii.response.text": text});
    let mut gists = vec![
        session(9.0),
        span(
            "a",
            "agent_turn",
            (2.0, 4.0),
            json!({"lk.speech_id": "a", "lk.pii.response.text": text}),
        ),
        span("a/llm", "llm_node", (2.0, 3.0), step),
        span("a/llm/request", "llm_request", (2.0, 3.0), metrics),
        failed("a/llm/request/1", "llm_request_run", (2.0, 2.2)),
        span(
            "a0",
            "agent_turn",
            (0.1, 1.0),
            json!({"lk.speech_id": "a0", "lk.pii.response.text": "Hello."}),
        ),
        span("a0/sound", "agent_speaking", (0.2, 1.0), json!({})),
    ];
    if is_repaired {
        let again = json!({"lk.retry_count": 1});
        gists.push(span(
            "a/llm/request/2",
            "llm_request_run",
            (2.3, 3.0),
            again,
        ));
        gists.push(span("a/sound", "agent_speaking", (3.2, 4.0), json!({})));
    }
    understood(gists)
}

#[test]
fn an_attempt_that_nothing_came_of_failed_its_answer() {
    let levels = [("warning", false), ("error", true)];
    for ((level, has_failed), is_repaired) in levels.into_iter().zip([true, false]) {
        let events = answer_after_a_failure(is_repaired);
        assert_eq!(of(&events, Kind::Error)[0]["level"], level);
        let answer = of(&events, Kind::Turn)[1];
        assert_eq!(answer.contains_key("failed"), has_failed);
        assert!(!answer.contains_key("usage"), "nobody counted: {answer:#?}");
        let status = if has_failed { "failed" } else { "completed" };
        assert_eq!(super::session(&events)["status"], status);
    }
}

/// An answer of Node.js's whose synthesis failed and was tried again. The second attempt has the text only where it
/// `brought` something.
fn answer_spoken_at_the_second_try(brought: bool, is_interrupted: bool) -> Vec<Event> {
    let text = "Spoken at last.";
    let told = json!({"lk.speech_id": "a", "lk.pii.response.text": text, "lk.pii.user_input": "Speak.",
        "lk.interrupted": is_interrupted});
    let metrics =
        json!({"ttfbMs": 120, "durationMs": 130, "charactersCount": 15, "audioDurationMs": 700});
    let request = match brought {
        true => json!({"lk.tts.streaming": true, "lk.tts_metrics": metrics.to_string()}),
        false => json!({"lk.tts.streaming": true}),
    };
    let attempt = |number: u8| json!({"lk.retry_count": number});
    let mut failed = fields("a/tts/request/1", "tts_request_run", (2.4, 2.5), attempt(0));
    failed["status"] = json!({"code": 2, "message": "tts is away"});
    let mut gists = vec![
        session(9.0),
        span("a", "agent_turn", (2.0, 3.4), told),
        span(
            "a/llm",
            "llm_node",
            (2.0, 2.3),
            json!({"lk.pii.response.text": text, "lk.response.ttft": 0.2}),
        ),
        span("a/tts", "tts_node", (2.3, 2.7), json!({})),
        span("a/tts/request", "tts_request", (2.4, 2.7), request),
        vocabulary::gist(failed.as_object().unwrap()).unwrap(),
        span("a/tts/request/2", "tts_request_run", (2.6, 2.7), attempt(1)),
    ];
    gists.extend(user("u", (1.0, 1.8), "Speak."));
    gists.extend(user("u0", (0.0, 0.1), "Hello."));
    gists.extend(answer("a0", (0.2, 0.8), "Hi."));
    if brought {
        gists.push(span("a/sound", "agent_speaking", (2.7, 3.4), json!({})));
    }
    understood(gists)
}

#[test]
fn a_synthesis_that_was_tried_again_without_a_sound_has_failed() {
    for (brought, is_interrupted, is_lost) in [
        (true, false, false),
        (false, false, true),
        (false, true, false),
    ] {
        let events = answer_spoken_at_the_second_try(brought, is_interrupted);
        let level = if is_lost { "error" } else { "warning" };
        let errors = of(&events, Kind::Error);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0]["level"], level, "{brought} {is_interrupted}");
        let turns = of(&events, Kind::Turn);
        let failed: Vec<bool> = turns
            .iter()
            .map(|turn| turn.contains_key("failed"))
            .collect();
        assert_eq!(failed.iter().any(|failed| *failed), is_lost, "{turns:#?}");
    }
}

#[test]
fn what_was_asked_beside_the_conversation_is_told_with_its_model() {
    let used = |model: &str, tokens: u32| {
        json!({"gen_ai.request.model": model, "gen_ai.provider.name": "openai",
               "gen_ai.usage.input_tokens": tokens, "gen_ai.usage.output_tokens": 3})
    };
    let mut gists = vec![session(9.0)];
    gists.extend(user("u1", (0.5, 1.5), "A table."));
    gists.extend(answer("a1", (2.0, 4.0), "There is none."));
    gists.push(span(
        "a1/asked",
        "llm_request",
        (2.0, 2.2),
        used("gpt-4o-mini", 25),
    ));
    let events = understood(gists.clone());
    let told = of(&events, Kind::Session)[0];
    assert_eq!((told.get("usage"), told.get("llmCalls")), (None, None));
    // A judge's, when the session is over.
    gists.push(span(
        "judge/asked",
        "llm_request",
        (9.0, 9.3),
        used("gpt-4o", 170),
    ));
    let events = understood(gists);
    let told = of(&events, Kind::Session)[0];
    assert_eq!(
        told["usage"],
        json!({"promptTokens": 195, "completionTokens": 6})
    );
    assert_eq!(
        told["llmCalls"],
        json!([{"provider": "openai", "model": "gpt-4o", "promptTokens": 170, "completionTokens": 3}])
    );
    assert_eq!(of(&events, Kind::Turn)[1]["usage"]["promptTokens"], 25);
}

#[test]
fn what_several_jobs_used_in_one_room_adds_up() {
    let job = |trace: &str, from: f64| {
        let used = json!({"gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 3});
        let mut spans = vec![
            fields("session", "agent_session", (from, from + 5.0), json!({})),
            fields(
                "a1",
                "agent_turn",
                (from + 1.0, from + 2.0),
                json!({"lk.pii.response.text": "Yes."}),
            ),
            fields("a1/asked", "llm_request", (from + 1.0, from + 1.2), used),
        ];
        for span in &mut spans {
            span["traceId"] = json!(trace);
        }
        let gists = spans
            .iter()
            .map(|span| vocabulary::gist(span.as_object().unwrap()).unwrap());
        gists.collect::<Vec<Gist>>()
    };
    let events = understood(job("t1", 0.0));
    assert_eq!(
        of(&events, Kind::Session)[0].get("usage"),
        None,
        "the turns tell"
    );
    let events = understood([job("t1", 0.0), job("t2", 6.0)].concat());
    let told = of(&events, Kind::Session)[0];
    assert_eq!(
        told["usage"],
        json!({"promptTokens": 40, "completionTokens": 6})
    );
}
