//! Answers that stopped, went on, have not been heard yet, or never were.

use super::*;

/// `id` of which the first is the parent's: `a1/llm` stands below `a1`, an answer below the session.
pub fn span(id: &str, name: &str, during: (f64, f64), attributes: Value) -> Gist {
    let span = fields(id, name, during, attributes);
    vocabulary::gist(span.as_object().unwrap()).unwrap()
}

/// The same, of what failed.
pub fn broken(id: &str, name: &str, during: (f64, f64), attributes: Value) -> Gist {
    let mut span = fields(id, name, during, attributes);
    span["status"] = json!({"code": 2, "message": "broken"});
    vocabulary::gist(span.as_object().unwrap()).unwrap()
}

pub fn fields(id: &str, name: &str, (from, to): (f64, f64), attributes: Value) -> Value {
    let start = chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
    let at = |seconds: f64| {
        let at = start + chrono::TimeDelta::milliseconds((seconds * 1e3) as i64);
        at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
    };
    let parent = match id.rsplit_once('/') {
        Some((parent, _)) => Some(parent),
        None => (id != "session").then_some("session"),
    };
    json!({
        "traceId": "t", "spanId": id, "parentSpanId": parent, "name": name, "attributes": attributes,
        "startedAt": at(from), "endedAt": at(to), "scope": {"name": "livekit-agents"},
    })
}

pub fn session(seconds: f64) -> Gist {
    span("session", "agent_session", (0.0, seconds), json!({}))
}

/// What the user says, in one voice.
pub fn user(id: &str, (from, to): (f64, f64), text: &str) -> [Gist; 2] {
    let voice = format!("{id}/voice");
    [
        span(
            id,
            "user_turn",
            (from, to + 0.5),
            json!({"lk.pii.user_transcript": text}),
        ),
        span(&voice, "user_speaking", (from, to), json!({})),
    ]
}

/// An answer that is heard from the middle of its span on.
pub fn answer(id: &str, (from, to): (f64, f64), text: &str) -> [Gist; 3] {
    let (asked, heard) = (format!("{id}/request"), format!("{id}/audio"));
    [
        span(
            id,
            "agent_turn",
            (from, to),
            json!({"lk.speech_id": id, "lk.pii.response.text": text}),
        ),
        span(&asked, "llm_request", (from, from + 0.3), json!({})),
        span(&heard, "agent_speaking", (from + 0.5, to), json!({})),
    ]
}

pub fn understood(mut gists: Vec<Gist>) -> Vec<Event> {
    let events = vocabulary::interpret(&gists);
    gists.reverse();
    assert_eq!(vocabulary::interpret(&gists), events, "in any order");
    events
}

/// An answer that only calls a tool, from 2 s to 6 s.
fn silent(stated: Value) -> Vec<Gist> {
    let mut attributes = json!({"lk.speech_id": "a1", "lk.interrupted": false});
    for (name, value) in stated.as_object().unwrap() {
        attributes[name] = value.clone();
    }
    let tool = json!({"lk.function_tool.name": "slow", "lk.pii.function_tool.output": "{'ok': 1}"});
    vec![
        session(20.0),
        span("a1", "agent_turn", (2.0, 6.0), attributes),
        span("a1/request", "llm_request", (2.1, 2.3), json!({})),
        span("a1/tool", "function_tool", (2.3, 6.0), tool),
    ]
}

#[test]
fn an_answer_that_only_called_a_tool_was_given_up_for_what_came_after_it() {
    let mut gists = silent(json!({}));
    gists.extend(user("u1", (0.5, 1.5), "Search everything."));
    let events = understood(gists.clone());
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns[1]["text"], "");
    assert!(!turns[1].contains_key("cancelled"), "it is the last");
    gists.extend(user("u2", (3.9, 4.9), "Stop that."));
    gists.extend(answer("a2", (6.0, 7.0), "Fine."));
    let events = understood(gists);
    let turns = of(&events, Kind::Turn);
    let said = said(&events);
    assert_eq!(said, ["Search everything.", "", "Stop that.", "Fine."]);
    assert_eq!(turns[1]["cancelled"], true);
    assert!(!turns[3].contains_key("cancelled"));
    assert_eq!(of(&events, Kind::ToolCall)[0]["turn"], 1);
}

#[test]
fn an_answer_that_failed_when_the_session_was_closed_for_it_is_told() {
    let failed = |id: &str, from: f64, stopped: bool| {
        let mut told = json!({"lk.speech_id": id, "lk.interrupted": stopped});
        if stopped {
            told["lk.interruption.source"] = json!("programmatic");
        }
        let request = format!("{id}/request");
        [
            broken(id, "agent_turn", (from, from + 0.2), told),
            broken(&request, "llm_request", (from, from + 0.1), json!({})),
        ]
    };
    let mut gists = vec![session(9.0)];
    gists.extend(user("u1", (0.5, 1.5), "One."));
    gists.extend(failed("a1", 2.0, false));
    gists.extend(user("u2", (4.5, 5.5), "Two."));
    gists.extend(failed("a2", 6.0, true));
    let events = understood(gists);
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns.len(), 4);
    assert_eq!(
        (&turns[1]["failed"], &turns[3]["failed"]),
        (&json!(true), &json!(true))
    );
    assert!(!turns[3].contains_key("cancelled"), "nobody gave it up");
    let errors = of(&events, Kind::Error);
    let placed: Vec<_> = errors.iter().map(|error| &error["turn"]).collect();
    assert_eq!(placed, [&json!(1), &json!(3)]);
}

/// An answer that stops at 4.8 s, while the user is heard without a word, and goes on at 6.2 s.
fn paused(meanwhile: Option<Gist>) -> Vec<Event> {
    let mut gists = vec![session(20.0)];
    gists.extend(user("u1", (0.5, 1.5), "Tell me."));
    gists.extend(answer("a1", (3.0, 4.8), "A long story. And its end."));
    gists.push(span("a1/more", "agent_speaking", (6.2, 7.8), json!({})));
    // The turn that began with a cough goes on until there are words.
    let thanks = json!({"lk.pii.user_transcript": "Thanks."});
    gists.push(span("u2", "user_turn", (4.4, 10.7), thanks));
    gists.push(span("u2/cough", "user_speaking", (4.4, 4.9), json!({})));
    gists.push(span("u2/voice", "user_speaking", (9.3, 10.3), json!({})));
    gists.extend(meanwhile);
    understood(gists)
}

#[test]
fn an_answer_that_went_on_after_a_cough_was_interrupted_for_nothing() {
    let events = paused(None);
    let turns = of(&events, Kind::Turn);
    assert_eq!(
        (&turns[1]["startMs"], &turns[1]["endMs"]),
        (&json!(3500), &json!(7800))
    );
    assert!(!turns[1].contains_key("interrupted"));
    assert_eq!(
        (&turns[2]["startMs"], &turns[2]["endMs"]),
        (&json!(9300), &json!(10_300)),
        "the words were no cough"
    );
    let stops = of(&events, Kind::Interruption);
    assert_eq!(stops.len(), 1);
    let told = [
        "atMs",
        "stopMs",
        "audioStoppedMs",
        "resumedAtMs",
        "isFalse",
        "turn",
    ];
    let told: Vec<_> = told.iter().map(|name| stops[0][*name].clone()).collect();
    assert_eq!(Value::from(told), json!([4400, 400, 4800, 6200, true, 1]));
}

/// An answer that a cough made pause at 4.8 s, and that the user then broke into.
#[test]
fn what_stopped_an_answer_is_not_what_it_had_paused_for() {
    let stopped = json!({"lk.speech_id": "a1", "lk.pii.response.text": "A long story.",
                         "lk.interrupted": true, "lk.interruption.source": "user"});
    let words = json!({"lk.pii.user_transcript": "Stop it."});
    let mut gists = vec![session(20.0)];
    gists.extend(user("u1", (0.5, 1.5), "Tell me."));
    gists.extend([
        span("a1", "agent_turn", (3.0, 9.5), stopped),
        span("a1/request", "llm_request", (3.0, 3.3), json!({})),
        span("a1/audio", "agent_speaking", (3.5, 4.8), json!({})),
        span("a1/more", "agent_speaking", (6.5, 8.0), json!({})),
        span("u2", "user_turn", (4.4, 9.5), words),
        span("u2/cough", "user_speaking", (4.4, 4.9), json!({})),
        span("u2/voice", "user_speaking", (7.6, 8.5), json!({})),
    ]);
    let events = understood(gists);
    let mut stops: Vec<_> = of(&events, Kind::Interruption)
        .iter()
        .map(|stop| {
            (
                stop["atMs"].clone(),
                stop["stopMs"].clone(),
                stop.contains_key("isFalse"),
            )
        })
        .collect();
    stops.sort_by_key(|(at, ..)| at.as_i64());
    assert_eq!(
        stops,
        [
            (json!(4400), json!(400), true),
            (json!(7600), json!(400), false)
        ]
    );
    assert_eq!(of(&events, Kind::Turn)[2]["startMs"], 7600);
}

/// When the user's turn begins whose words were said from 9 s to 10 s, behind a voice from 3 s to 4 s.
fn turn_behind(voice: &str, waits: &[f64]) -> Value {
    let words = json!({"lk.pii.user_transcript": "What are your hours?"});
    let mut gists = vec![
        session(20.0),
        span("u1", "user_turn", (3.0, 10.6), words),
        span(
            &format!("u1/{voice}"),
            "user_speaking",
            (3.0, 4.0),
            json!({}),
        ),
        span("u1/voice", "user_speaking", (9.0, 10.0), json!({})),
    ];
    gists.extend(waits.iter().enumerate().map(|(n, from)| {
        let waited = json!({"lk.eou.endpointing_delay": 0.4});
        span(
            &format!("u1/wait{n}"),
            "eou_wait",
            (*from, *from + 0.4),
            waited,
        )
    }));
    of(&understood(gists), Kind::Turn)[0]["startMs"].clone()
}

#[test]
fn what_was_heard_long_before_the_first_word_is_not_the_beginning_of_a_turn() {
    assert_eq!(turn_behind("noise", &[10.0]), 9000);
    assert_eq!(
        turn_behind("words", &[4.0, 10.0]),
        3000,
        "they were waited for"
    );
    assert_eq!(turn_behind("voice1.7", &[]), 3000, "nobody says");
}

/// An answer whose model came to its end without a word.
#[test]
fn an_answer_without_a_word_has_failed_and_not_the_call() {
    let generated = json!({"gen_ai.usage.input_tokens": 24, "gen_ai.usage.output_tokens": 1,
                           "gen_ai.response.finish_reasons": ["stop"]});
    let mute = |id: &str, from: f64| {
        let told = json!({"lk.speech_id": id, "lk.interrupted": false});
        let request = format!("{id}/request");
        [
            span(id, "agent_turn", (from, from + 0.3), told),
            span(
                &request,
                "llm_request",
                (from, from + 0.2),
                generated.clone(),
            ),
        ]
    };
    let mut gists = vec![session(12.0)];
    gists.extend(user("u1", (0.5, 1.5), "Hello?"));
    gists.extend(mute("a1", 2.0));
    gists.extend(user("u2", (6.5, 7.5), "Anybody there?"));
    gists.extend(mute("a2", 8.0));
    let events = understood(gists);
    let turns = of(&events, Kind::Turn);
    for turn in [turns[1], turns[3]] {
        assert_eq!(turn["failed"], true);
        assert!(!turn.contains_key("cancelled") && !turn.contains_key("text"));
    }
    assert_eq!(super::session(&events)["status"], "completed");
}

#[test]
fn an_answer_that_waited_for_its_tool_was_not_interrupted() {
    let tool = json!({"lk.function_tool.name": "slow"});
    let events = paused(Some(span("a1/tool", "function_tool", (3.6, 6.0), tool)));
    assert!(of(&events, Kind::Interruption).is_empty());
    assert_eq!(of(&events, Kind::Turn)[2]["startMs"], 4400);
}

#[test]
fn an_answer_that_goes_on_is_heard_from_its_first_byte_on() {
    let (generated, first) = (
        json!({"lk.pii.response.text": "Fine."}),
        json!({"lk.tts_metrics": "{\"ttfb\": 0.1, \"audio_duration\": 0.9}"}),
    );
    let mut gists = Vec::from(user("u1", (0.0, 1.5), "Hello."));
    gists.extend(answer("a1", (2.0, 3.2), "Hi."));
    gists.extend(user("u2", (4.0, 5.0), "And?"));
    gists.push(span("a2/tool", "function_tool", (5.6, 6.6), json!({})));
    let told = |gists: &[Gist]| {
        let events = understood(gists.to_vec());
        of(&events, Kind::Turn)[3].clone()
    };
    let turn = told(&gists);
    assert_eq!(turn["text"], "");
    assert!(!turn.contains_key("firstAudioMs") && !turn.contains_key("endMs"));
    gists.push(span("a2/node", "llm_node", (6.6, 6.9), generated));
    assert_eq!(told(&gists)["text"], "", "nobody has said it yet");
    gists.push(span("a2/tts_node", "tts_node", (6.8, 7.6), json!({})));
    gists.push(span("a2/tts_node/r", "tts_request", (6.9, 7.5), first));
    let turn = told(&gists);
    assert_eq!(
        (&turn["text"], &turn["firstAudioMs"]),
        (&json!("Fine."), &json!(7000))
    );
    assert!(!turn.contains_key("endMs"), "it goes on");
}

#[test]
fn who_speaks_to_a_model_that_hears_is_told_without_words() {
    let voice = |id: &str, during: (f64, f64)| span(id, "user_speaking", during, json!({}));
    let mut gists = vec![
        session(20.0),
        voice("v1", (0.1, 1.5)),
        voice("v2", (1.8, 2.4)),
    ];
    gists.extend(answer("a1", (2.5, 4.0), "Hi."));
    gists.push(voice("v3", (5.0, 6.5)));
    gists.extend(answer("a2", (6.6, 8.0), "Fine."));
    let events = understood(gists);
    let turns = of(&events, Kind::Turn);
    let told: Vec<_> = turns
        .iter()
        .map(|turn| (&turn["speaker"], &turn["startMs"]))
        .collect();
    let (user, agent) = (json!("user"), json!("agent"));
    let times = [100, 3000, 5000, 7100].map(Value::from);
    assert_eq!(
        told,
        [
            (&user, &times[0]),
            (&agent, &times[1]),
            (&user, &times[2]),
            (&agent, &times[3])
        ]
    );
    for place in [0, 2] {
        assert!(!turns[place].contains_key("text") && !turns[place].contains_key("endMs"));
    }
}

#[test]
fn a_voice_that_a_model_spoke_on_over_is_not_the_beginning_of_the_next() {
    let voice = |id: &str, during: (f64, f64)| span(id, "user_speaking", during, json!({}));
    for (cough, starts) in [
        ((3.2, 3.6), [100, 3000, 3200, 6000]),
        // It stopped for this one, of which the next is a piece.
        ((4.9, 5.5), [100, 3000, 4900, 7100]),
    ] {
        let mut gists = vec![session(20.0), voice("v1", (0.1, 1.5))];
        gists.extend(answer("a1", (2.5, 5.0), "A long story."));
        gists.push(voice("v2", cough));
        gists.push(voice("v3", (6.0, 6.5)));
        gists.extend(answer("a2", (6.6, 8.0), "Fine."));
        let events = understood(gists);
        let turns = of(&events, Kind::Turn);
        let told: Vec<_> = turns.iter().map(|turn| turn["startMs"].clone()).collect();
        assert_eq!(told[..4], starts.map(Value::from));
    }
}

#[test]
fn an_answer_whose_voice_failed_was_not_heard_whatever_its_span_says() {
    for is_heard in [false, true] {
        let mut gists = vec![session(20.0)];
        gists.extend(user("u1", (0.0, 1.5), "Hello."));
        gists.extend(answer("a1", (2.0, 3.2), "Hi."));
        gists.extend(user("u2", (4.0, 5.0), "And?"));
        let [turn, request, audio] = answer("a2", (5.6, 9.0), "Well. It is noon.");
        gists.extend([turn, request]);
        gists.extend(is_heard.then_some(audio));
        gists.push(broken("a2/tts", "tts_request", (5.9, 9.0), json!({})));
        let events = understood(gists);
        let turn = of(&events, Kind::Turn)[3].clone();
        assert_eq!(turn.get("failed"), (!is_heard).then_some(&json!(true)));
        assert_eq!(turn["text"], "Well. It is noon.");
        assert_eq!(turn.contains_key("firstAudioMs"), is_heard);
        assert_eq!(of(&events, Kind::Error)[0]["level"], "error");
    }
}

#[test]
fn what_was_typed_is_told_though_its_answer_was_stopped_before_it_was_heard() {
    let stopped = |id: &str, from: f64, input: &str| {
        let told = json!({"lk.speech_id": id, "lk.pii.user_input": input, "lk.interrupted": true,
                          "lk.interruption.source": "programmatic"});
        span(id, "agent_turn", (from, from + 0.4), told)
    };
    let mut gists = vec![session(30.0)];
    gists.extend(user("u1", (0.5, 2.5), "My number is five."));
    // Made ahead of time, while the user still spoke; and behind the words, of which the turn is told already.
    gists.push(stopped("a0", 1.5, "My number"));
    gists.push(stopped("a1", 3.2, "My number is five."));
    gists.extend(answer("a2", (4.0, 5.0), "Five."));
    gists.push(stopped("a3", 10.0, "first"));
    gists.extend(answer("a4", (10.6, 12.0), "Second answered."));
    // Soon behind words that were answered already.
    gists.extend(user("u2", (13.0, 14.0), "And"));
    gists.extend(answer("a5", (14.3, 15.2), "Yes?"));
    gists.push(stopped("a6", 15.5, "my id is 77"));
    gists.extend(answer("a7", (16.1, 18.0), "Third answered."));
    let events = understood(gists);
    let turns = of(&events, Kind::Turn);
    let said = said(&events);
    assert_eq!(
        said,
        [
            "My number is five.",
            "Five.",
            "first",
            "Second answered.",
            "And",
            "Yes?",
            "my id is 77",
            "Third answered."
        ]
    );
    assert_eq!(turns[2]["metadata"], json!({"typed": true}));
    assert_eq!(
        (&turns[2]["startMs"], &turns[2]["endMs"]),
        (&json!(10_000), &json!(10_000))
    );
}
