//! What was done beside the answers, and said beside the call.

use super::unheard::{answer, broken, session, span, understood, user};
use super::*;

/// An attempt at a model, which may have failed.
fn request(id: &str, name: &str, during: (f64, f64), model: &str, more: Value) -> [Gist; 2] {
    let mut told = json!({"gen_ai.request.model": model});
    for (name, value) in more.as_object().unwrap() {
        told[name] = value.clone();
    }
    let attempt = format!("{id}/run");
    let run = format!("{name}_run");
    let of_attempt = json!({"gen_ai.request.model": model});
    [
        span(id, name, during, told),
        span(&attempt, &run, during, of_attempt),
    ]
}

/// Models with a fallback each: the first failed, the second answered, and the first is tried again meanwhile.
fn fallen_back() -> Vec<Gist> {
    let failed = json!({"error.type": "503"});
    let spoke = |ttfb: f64| {
        let metrics = json!({"ttfb": ttfb, "audio_duration": 0.8, "characters_count": 23});
        json!({"lk.tts_metrics": metrics.to_string(), "lk.pii.input_text": "First by the small one."})
    };
    let generated =
        json!({"gen_ai.usage.input_tokens": 23, "gen_ai.response.time_to_first_chunk": 0.2});
    let trial = |mut told: Value| {
        told["lk.fallback.recovery"] = json!(true);
        told
    };
    let mut gists = vec![session(20.0)];
    gists.extend(user("u1", (0.5, 1.5), "One."));
    gists.extend([
        span(
            "a1",
            "agent_turn",
            (2.0, 4.5),
            json!({"lk.speech_id": "a1", "lk.pii.response.text": "First by the small one."}),
        ),
        span("a1/llm", "llm_node", (2.0, 2.6), json!({})),
        span("a1/llm/any", "llm_fallback_adapter", (2.0, 2.6), json!({})),
        span("a1/tts", "tts_node", (2.6, 3.1), json!({})),
        span("a1/tts/any", "tts_fallback_adapter", (2.6, 3.1), json!({})),
        span("a1/audio", "agent_speaking", (3.0, 4.5), json!({})),
    ]);
    for (id, name, during, model, more) in [
        (
            "a1/llm/any/1",
            "llm_request",
            (2.0, 2.2),
            "big",
            failed.clone(),
        ),
        (
            "a1/llm/any/2",
            "llm_request",
            (2.2, 2.6),
            "small",
            generated.clone(),
        ),
        (
            "a1/llm/any/3",
            "llm_request",
            (2.21, 2.5),
            "big",
            trial(generated),
        ),
        ("a1/tts/any/1", "tts_request", (2.6, 2.7), "hd", failed),
        (
            "a1/tts/any/2",
            "tts_request",
            (2.7, 3.0),
            "plain",
            spoke(0.1),
        ),
        (
            "a1/tts/any/3",
            "tts_request",
            (2.71, 3.1),
            "hd",
            trial(spoke(0.3)),
        ),
    ] {
        gists.extend(request(id, name, during, model, more));
    }
    gists
}

#[test]
fn who_is_tried_again_while_another_answers_has_not_answered() {
    let events = understood(fallen_back());
    let told = super::session(&events);
    assert_eq!(
        told["models"]["llm"], "big",
        "whom the session means to ask"
    );
    let turns = of(&events, Kind::Turn);
    let turn = turns[1];
    assert_eq!(turn["models"], json!({"llm": "small", "tts": "plain"}));
    let beside = |list: &str| -> Vec<(Value, bool)> {
        let calls = turn[list].as_array().unwrap();
        let told = |call: &Value| (call["model"].clone(), call["beside"] == true);
        calls.iter().map(told).collect()
    };
    assert_eq!(
        beside("llmCalls"),
        [
            (json!("big"), false),
            (json!("small"), false),
            (json!("big"), true)
        ]
    );
    assert_eq!(
        beside("ttsCalls"),
        [(json!("plain"), false), (json!("hd"), true)]
    );
    assert_eq!(
        (&turn["audioMs"], &turn["llmTotalMs"]),
        (&json!(800), &json!(600))
    );
    // It costs something all the same.
    assert_eq!(turn["usage"]["promptTokens"], 46.0);
    assert_eq!(turn["usage"]["ttsCharacters"], 46.0);
}

#[test]
fn who_picked_up_is_told_and_the_model_that_found_out_is_not_the_agent_s() {
    for (category, answered_by) in [
        ("human", Some("human")),
        ("machine-vm", Some("machine")),
        ("machine-ivr", Some("machine")),
        ("uncertain", None),
    ] {
        let mut gists = vec![
            session(20.0),
            span(
                "amd",
                "amd",
                (0.2, 2.0),
                json!({"lk.amd.category": category}),
            ),
        ];
        gists.extend(request(
            "classifier",
            "llm_request",
            (1.0, 1.8),
            "gpt-4o",
            json!({"gen_ai.usage.input_tokens": 400}),
        ));
        gists.extend(user("u1", (0.5, 1.5), "Please leave a message."));
        gists.extend(answer("a1", (2.5, 4.0), "Please call back."));
        let own = json!({"gen_ai.request.model": "gpt-4o-mini"});
        gists.push(span("a1/node", "llm_node", (2.5, 2.9), json!({})));
        gists.push(span("a1/node/own", "llm_request", (2.5, 2.9), own));
        let events = understood(gists);
        let told = super::session(&events);
        assert_eq!(
            told.get("answeredBy"),
            answered_by.map(Value::from).as_ref()
        );
        assert_eq!(told["models"]["llm"], "gpt-4o-mini");
        assert_eq!(told["llmCalls"][0]["model"], "gpt-4o", "it cost something");
    }
}

/// A caller who is to be transferred: the agent asks a colleague first, in a session of its own within the tool.
fn transferred() -> Vec<Gist> {
    let mut gists = Vec::new();
    gists.extend(user("u1", (0.5, 1.5), "I want a person."));
    gists.extend(answer("a1", (2.0, 3.0), "One moment."));
    let within = "session/enter/other";
    gists.push(span("session/enter", "update_agent", (3.0, 9.0), json!({})));
    gists.push(span(within, "agent_session", (3.1, 8.9), json!({})));
    let [turn, voice] = user(
        &format!("{within}/u2"),
        (4.0, 5.0),
        "Colleague here, who is it?",
    );
    gists.extend([turn, voice]);
    gists.extend(answer(
        &format!("{within}/a2"),
        (5.5, 7.0),
        "A caller who wants a person.",
    ));
    gists.extend(user("u3", (10.0, 11.0), "Thank you."));
    gists.extend(answer("a3", (11.5, 12.5), "Any time."));
    gists
}

#[test]
fn what_is_said_to_a_colleague_meanwhile_is_set_apart_and_ends_no_call() {
    let mut gists = transferred();
    let events = understood(gists.clone());
    let told = super::session(&events);
    assert!(!told.contains_key("endedAt"), "the call goes on: {told:?}");
    gists.push(session(20.0));
    let events = understood(gists);
    let told = super::session(&events);
    assert_eq!(told["status"], "completed");
    let apart: Vec<bool> = of(&events, Kind::Turn)
        .iter()
        .map(|turn| {
            turn.get("metadata")
                .is_some_and(|told| told["aside"] == true)
        })
        .collect();
    assert_eq!(
        said(&events),
        [
            "I want a person.",
            "One moment.",
            "Colleague here, who is it?",
            "A caller who wants a person.",
            "Thank you.",
            "Any time."
        ]
    );
    assert_eq!(apart, [false, false, true, true, false, false]);
}

#[test]
fn a_session_that_the_job_s_crash_ended_has_failed() {
    let crash = json!({"lk.shutdown.reason": "job crashed", "lk.shutdown.user_initiated": false});
    let shut = json!({"lk.shutdown.reason": "bye", "lk.shutdown.user_initiated": true});
    for (end, at, status, reason, by) in [
        (&crash, 8.0, "failed", "job_crashed", "system"),
        // What failed when all was over has ended nothing.
        (
            &crash,
            10.5,
            "completed",
            "participant_disconnected",
            "user",
        ),
        (&shut, 8.0, "completed", "participant_disconnected", "user"),
    ] {
        let closed = json!({"lk.close_reason": "participant_disconnected"});
        let mut gists = vec![
            span("session", "agent_session", (0.0, 10.0), closed),
            span("job/shutdown", "job_shutdown", (at, 11.0), end.clone()),
        ];
        gists.extend(answer("a1", (1.0, 3.0), "Hello."));
        let events = understood(gists);
        let told = super::session(&events);
        let told = ["status", "endReason", "endedBy"].map(|name| told[name].clone());
        assert_eq!(json!(told), json!([status, reason, by]), "{end} at {at}");
    }
}

/// When a session ended that took 4 s to be closed from 8 s on, and what the agent said until then.
fn ended_ms(closing: Vec<Gist>, spoke_until: f64, words: &str) -> i64 {
    let mut gists = vec![session(12.0)];
    gists.extend(user("u1", (0.5, 1.5), "Hello."));
    gists.extend(answer("a1", (2.0, spoke_until), words));
    gists.extend(closing);
    let events = understood(gists);
    let told = super::session(&events);
    let [from, to] = ["startedAt", "endedAt"].map(|name| {
        let at: chrono::DateTime<chrono::Utc> = told[name].as_str().unwrap().parse().unwrap();
        at
    });
    (to - from).num_milliseconds()
}

#[test]
fn a_call_is_over_when_its_session_is_closed_and_not_when_the_sdk_has_cleaned_up() {
    let drained = |id: &str, from: f64| span(id, "drain_agent_activity", (from, from), json!({}));
    let closed = || {
        let by = json!({"lk.close_reason": "participant_disconnected"});
        vec![
            span("close", "session_close", (8.0, 12.0), by),
            drained("close/drain", 8.1),
        ]
    };
    assert_eq!(ended_ms(closed(), 4.0, "Hello."), 8000);
    for words in ["Goodbye.", ""] {
        let ended_ms = ended_ms(closed(), 9.5, words);
        assert_eq!(
            ended_ms, 9500,
            "it said goodbye, be it without a text: {words:?}"
        );
    }
    let older = || vec![drained("handover", 3.0), drained("drain", 8.0)];
    assert_eq!(ended_ms(older(), 4.0, "Hello."), 8000, "as before 1.8");
    assert_eq!(ended_ms(Vec::new(), 4.0, "Hello."), 12_000, "nobody says");
}

#[test]
fn what_failed_in_a_span_of_the_application_s_own_is_of_the_turn_around_it() {
    let tool =
        json!({"lk.function_tool.name": "look", "lk.pii.function_tool.output": "{'ok': True}"});
    let mut gists = vec![session(9.0)];
    gists.extend(user("u1", (0.5, 1.5), "Look."));
    gists.extend(answer("a1", (2.0, 5.0), "Found."));
    gists.extend([
        span("a1/tool", "function_tool", (2.3, 2.9), tool),
        span("a1/tool/own", "lookup", (2.3, 2.8), json!({})),
        broken("a1/tool/own/cache", "cache.get", (2.4, 2.5), json!({})),
        broken("u1/rag", "rag.retrieve", (1.6, 1.8), json!({})),
        broken("other", "report", (6.0, 6.1), json!({})),
    ]);
    let events = understood(gists);
    let errors = of(&events, Kind::Error);
    let mut turns: Vec<_> = errors
        .iter()
        .map(|error| error.get("turn").and_then(Value::as_i64))
        .collect();
    turns.sort();
    assert_eq!(turns, [None, Some(0), Some(1)]);
}

#[test]
fn where_one_agent_hands_over_to_another_each_answer_says_whose_it_is() {
    let spoken = |agents: [&str; 2]| {
        let mut gists = vec![session(9.0)];
        let answers = [("a1", (1.0, 3.0)), ("a2", (4.0, 6.0))];
        for ((id, (from, to)), agent) in answers.into_iter().zip(agents) {
            let [_, asked, heard] = answer(id, (from, to), "Hello.");
            let said = json!({"lk.speech_id": id, "lk.pii.response.text": "Hello.", "gen_ai.agent.name": agent});
            gists.extend([span(id, "agent_turn", (from, to), said), asked, heard]);
        }
        let events = understood(gists);
        let turns = of(&events, Kind::Turn);
        let agent = |turn: &&Map<String, Value>| turn.get("metadata")?.get("agent").cloned();
        turns.iter().map(agent).collect::<Vec<_>>()
    };
    assert_eq!(
        spoken(["front", "expert"]),
        [Some("front".into()), Some("expert".into())]
    );
    // The SDK calls an agent so that the application did not name.
    assert_eq!(
        spoken(["default_agent", "expert"]),
        [None, Some("expert".into())]
    );
    assert_eq!(
        spoken(["front", "front"]),
        [None, None],
        "no need to say so"
    );
}
