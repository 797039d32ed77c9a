//! Realtime models whose own server says when the user speaks: no transcript is called final, each stays open until the
//! user has spoken again.

use super::*;

/// Of a service that hears for itself; the framework calls the class of it the provider.
fn left_open(id: &str, during: (f64, f64), clock: f64, transcript: &str) -> Gist {
    let attributes = json!({"transcript": transcript, "is_final": false, "metrics.ttfb": clock, "stt.incomplete": true,
        "gen_ai.provider.name": "openairealtimellmservice", "gen_ai.request.model": REALTIME});
    span(id, "stt", during, attributes)
}

fn heard_by_its_server() -> Vec<Event> {
    understood(vec![
        call(22.0),
        unmeasured("t1", (0.0, 4.685)),
        left_open("t1/s1", (2.703, 6.469), 0.000_552_4, "Hello, who are you?"),
        response(
            "t1/r1",
            3.091,
            0.603,
            "completed",
            Some("I am your helper."),
        ),
        unmeasured("t2", (4.686, 8.526)),
        left_open(
            "t2/s2",
            (6.823, 10.332),
            0.007_146_3,
            "Where is order seven?",
        ),
        response(
            "t2/r2",
            7.163,
            0.000_552_4,
            "completed",
            Some("It has shipped."),
        ),
        unmeasured("t3", (8.526, 12.17)),
        left_open("t3/s3", (10.676, 13.626), 0.000_543_8, "Tell me a story."),
        response(
            "t3/r3",
            11.561,
            0.007_146_3,
            "completed",
            Some("Once upon a time."),
        ),
    ])
}

#[test]
fn a_response_is_not_as_fast_as_the_clock_that_the_end_of_a_transcript_stopped() {
    let events = heard_by_its_server();
    let turns = of(&events, Kind::Turn);
    let first_token_ms: Vec<Option<f64>> = turns
        .iter()
        .map(|turn| turn.get("llmMs").and_then(Value::as_f64))
        .collect();
    assert_eq!(first_token_ms, [None, Some(603.0), None, None, None, None]);
}

#[test]
fn who_is_transcribed_when_they_have_spoken_began_with_their_exchange() {
    let events = heard_by_its_server();
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns[2]["text"], "Where is order seven?");
    assert_eq!(
        (&turns[2]["startMs"], &turns[4]["startMs"]),
        (&json!(4686), &json!(8526))
    );
    // The first exchange begins with the call.
    assert_eq!(turns[0]["startMs"], 2703);
    for user in [0, 2, 4] {
        assert!(!turns[user].contains_key("endMs"), "{:?}", turns[user]);
    }
}

#[test]
fn a_model_that_transcribes_what_it_hears_is_its_provider_s() {
    let events = heard_by_its_server();
    assert_eq!(of(&events, Kind::Turn)[0]["providers"]["stt"], "openai");
    assert_eq!(of(&events, Kind::Session)[0]["providers"]["stt"], "openai");
}

#[test]
fn a_clock_that_shows_what_it_showed_before_has_not_run_again() {
    let (first, second) = (0.625_250_816, 0.625_250_817);
    let shown = |then: f64| {
        let events = understood(vec![
            call(20.0),
            exchange("t1", (0.0, 5.0), 1.0, false),
            stt("t1/s1", (0.0, 1.4), "Hello?"),
            llm("t1/l1", (1.7, 2.4), first, "Hello."),
            tts("t1/v1", (2.4, 2.6), 0.1, "Hello."),
            exchange("t2", (5.0, 10.0), 1.0, false),
            stt("t2/s2", (5.0, 6.4), "Bye."),
            llm("t2/l2", (6.7, 8.4), then, "Bye."),
            tts("t2/v2", (8.4, 8.6), 0.1, "Bye."),
        ]);
        let turns = of(&events, Kind::Turn);
        let told = |place: usize| turns[place].get("llmMs").and_then(Value::as_f64).is_some();
        (told(1), told(3))
    };
    assert_eq!(shown(first), (true, false));
    assert_eq!(shown(second), (true, true));
}
