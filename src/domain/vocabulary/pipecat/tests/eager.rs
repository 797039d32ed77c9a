//! A transcriber that says eagerly that the user has finished: Deepgram Flux, with what Pipecat makes of it since 1.12.

use super::*;

/// A generation that is given the words of a user.
fn asked(id: &str, during: (f64, f64), words: &str, output: &str) -> Gist {
    let input = json!([{"role": "user", "content": words}]).to_string();
    let attributes = json!({"input": input, "output": output, "metrics.ttfb": 0.19, "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 40, "gen_ai.usage.output_tokens": 5});
    span(id, "llm", during, attributes)
}

/// What Flux has heard: its span is where it is certain of that.
fn heard(id: &str, at: f64, words: &str) -> Gist {
    let attributes = json!({"transcript": words, "is_final": true, "language": "en", "metrics.audio_seconds": 3.7});
    span(id, "stt", (at, at), attributes)
}

#[test]
fn an_answer_that_is_begun_before_its_user_is_certain_to_have_finished_is_one() {
    let events = understood(vec![
        call(9.0),
        unmeasured("t1", (0.0, 1.86)),
        tts("t1/v1", (0.07, 0.23), 0.14, "Welcome."),
        unmeasured("t2", (1.87, 5.69)),
        asked("t2/l1", (3.016, 3.484), "What is my balance?", "Ten euros."),
        heard("t2/s1", 3.716, "What is my balance?"),
        tts("t2/v1", (3.723, 3.862), 0.117, "Ten euros."),
    ]);
    assert_eq!(
        said(&events),
        ["Welcome.", "What is my balance?", "Ten euros."]
    );
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns[1]["startMs"], 1870);
    assert_eq!(turns[2]["startMs"], 3840);
    assert_eq!(turns[2]["llmMs"], 190.0);
    assert_eq!(
        turns[1]["endpointingMs"], 7.0,
        "what was ready waited for the user alone"
    );
    assert!(turns.iter().all(|turn| !turn.contains_key("cancelled")));
}

#[test]
fn what_was_begun_for_the_beginning_of_what_a_user_says_is_beside_the_answer() {
    // What they said turned out to be more, or what was heard at first was not right.
    for (first, all) in [
        ("Send money", "Send money to Ann please."),
        ("I need for", "I need four tickets."),
    ] {
        let events = understood(vec![
            call(9.0),
            unmeasured("t1", (0.0, 5.2)),
            asked("t1/l1", (1.1, 1.4), first, "To whom?"),
            asked("t1/l2", (2.6, 2.9), all, "It is done."),
            heard("t1/s1", 3.3, all),
            tts("t1/v1", (3.31, 3.4), 0.126, "It is done."),
        ]);
        assert_eq!(said(&events), [all, "It is done."]);
        let turns = of(&events, Kind::Turn);
        let calls = turns[1]["llmCalls"].as_array().unwrap();
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0]["beside"], true);
        assert!(calls[1].get("beside").is_none());
        assert_eq!(turns[1]["llmTotalMs"], 300.0);
        assert_eq!(of(&events, Kind::Session)[0]["usage"]["promptTokens"], 80);
    }
}

#[test]
fn an_answer_to_what_was_certain_is_no_eager_one() {
    // They say the same once more, before the first answer is heard.
    let events = understood(vec![
        call(9.0),
        exchange("t1", (0.0, 6.0), 1.1, false),
        stt("t1/s1", (0.0, 1.3), "Hello?"),
        asked("t1/l1", (1.7, 2.2), "Hello?", "Good morning."),
        stt("t1/s2", (2.1, 3.3), "Hello?"),
        asked("t1/l2", (3.7, 3.9), "Hello?", "Yes, hello."),
        tts("t1/v1", (3.9, 4.0), 0.1, "Yes, hello."),
    ]);
    let all = ["Hello?", "Good morning.", "Hello?", "Yes, hello."];
    assert_eq!(said(&events), all);
    assert_eq!(of(&events, Kind::Turn)[1]["cancelled"], true);
}

#[test]
fn nobody_knows_when_a_user_had_spoken_who_was_heard_in_an_instant() {
    let answered = |stt: Gist, latency: Option<f64>| {
        let of_exchange = match latency {
            Some(latency) => exchange("t1", (0.0, 5.0), latency, false),
            None => unmeasured("t1", (0.0, 5.0)),
        };
        let events = understood(vec![
            call(6.0),
            of_exchange,
            stt,
            asked("t1/l1", (1.605, 1.9), "Hello.", "Hi."),
            tts("t1/v1", (1.9, 2.0), 0.1, "Hi."),
        ]);
        of(&events, Kind::Turn)[0].get("endMs").cloned()
    };
    assert_eq!(answered(heard("t1/s1", 1.6, "Hello."), None), None);
    let told = answered(heard("t1/s1", 1.6, "Hello."), Some(0.8));
    assert_eq!(told, Some(json!(1200)));
    let timed = stt("t1/s1", (1.6, 1.6), "Hello.");
    assert_eq!(answered(timed, None), Some(json!(1300)));
}

#[test]
fn what_was_begun_eagerly_and_confirmed_is_an_answer_though_no_voice_is_traced() {
    let events = understood(vec![
        call(9.0),
        unmeasured("t1", (0.0, 0.5)),
        unmeasured("t2", (0.5, 6.0)),
        asked("t2/l1", (1.0, 1.2), "Yes.", "Good."),
        heard("t2/s1", 1.3, "Yes."),
        asked("t2/l2", (3.0, 3.2), "Tell me more.", "There is more."),
    ]);
    assert!(said(&events).contains(&"Good."), "{:?}", said(&events));
    let turns = of(&events, Kind::Turn);
    assert!(turns.iter().all(|turn| !turn.contains_key("cancelled")));
}
