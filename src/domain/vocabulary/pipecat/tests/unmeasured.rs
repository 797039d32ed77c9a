//! Calls whose services measure nothing, which is what the framework does unless it is told otherwise.

use super::*;

fn heard(id: &str, during: (f64, f64), transcript: &str) -> Gist {
    let attributes = json!({"transcript": transcript, "is_final": true});
    span(id, "stt", during, attributes)
}

fn made(id: &str, during: (f64, f64), output: &str) -> Gist {
    let attributes = json!({"output": output, "gen_ai.request.model": "m"});
    span(id, "llm", during, attributes)
}

fn spoken(id: &str, during: (f64, f64), said: &str) -> Gist {
    span(id, "tts", during, json!({ "text": said }))
}

/// Two exchanges, of which the first was broken into; `first` and `second` are what was measured of them.
fn unmeasured(first: Value, second: Value) -> Vec<Event> {
    understood(vec![
        call(12.0),
        span("t1", "turn", (0.0, 3.35), first),
        heard("t1/s1", (0.0, 1.42), "Question."),
        made("t1/l1", (1.73, 2.14), "A long answer."),
        spoken("t1/v1", (2.14, 2.35), "A long answer."),
        span("t2", "turn", (3.35, 8.1), second),
        heard("t2/s2", (3.15, 4.53), "Stop it."),
        made("t2/l2", (4.89, 5.1), "Fine."),
        spoken("t2/v2", (5.1, 5.21), "Fine."),
    ])
}

#[test]
fn the_latency_of_an_exchange_is_its_answer_s_where_nothing_else_was_measured() {
    let events = unmeasured(
        json!({"turn.user_bot_latency_seconds": 1.244, "turn.was_interrupted": true}),
        json!({"turn.user_bot_latency_seconds": 1.025, "turn.was_interrupted": false}),
    );
    let turns = of(&events, Kind::Turn);
    assert_eq!(
        (&turns[1]["latencyMs"], &turns[3]["latencyMs"]),
        (&json!(1244), &json!(1025))
    );
    // The user had spoken so long before the answer, not when the words were there.
    assert_eq!(
        (&turns[0]["endMs"], &turns[2]["endMs"]),
        (&json!(896), &json!(4075))
    );
    assert_eq!(
        (&turns[1]["startMs"], &turns[1]["endMs"]),
        (&json!(2140), &json!(3350))
    );
    // The silence that ended the exchange tells when the agent had spoken.
    assert_eq!(turns[3]["endMs"], 5600);
    for turn in turns {
        for name in ["sttMs", "llmMs", "ttsMs", "firstAudioMs"] {
            assert!(!turn.contains_key(name), "{name} of {turn:?}");
        }
    }
}

#[test]
fn nobody_knows_how_long_an_answer_took_of_which_nothing_was_measured() {
    let events = unmeasured(json!({"turn.was_interrupted": true}), json!({}));
    let turns = of(&events, Kind::Turn);
    assert!(!turns[0].contains_key("endMs") && !turns[2].contains_key("endMs"));
    assert!(!turns[1].contains_key("latencyMs") && !turns[3].contains_key("latencyMs"));
}

#[test]
fn a_latency_is_of_the_answer_that_was_heard_and_not_of_one_before_it() {
    let events = understood(vec![
        call(12.0),
        span(
            "t1",
            "turn",
            (0.0, 9.0),
            json!({"turn.user_bot_latency_seconds": 1.0}),
        ),
        heard("t1/s1", (0.0, 1.4), "My number is"),
        made("t1/l1", (1.7, 2.1), "Which is it?"),
        spoken("t1/v1", (2.1, 2.3), "Which is it?"),
        heard("t1/s2", (2.2, 3.4), "five."),
        made("t1/l2", (3.7, 4.0), "Five it is."),
        spoken("t1/v2", (4.0, 4.2), "Five it is."),
    ]);
    let turns = of(&events, Kind::Turn);
    assert!(!turns[1].contains_key("latencyMs"), "{:?}", turns[1]);
    assert_eq!(turns[3]["latencyMs"], 1000.0);
}

#[test]
fn a_transcript_that_was_left_open_does_not_tell_when_its_words_were_there() {
    let open = json!({"transcript": "Question.", "is_final": false, "stt.incomplete": true});
    let events = understood(vec![
        call(12.0),
        exchange("t1", (0.0, 5.4), 1.4, false),
        span("t1/s1", "stt", (0.0, 3.3), open),
        llm("t1/l1", (3.3, 3.8), 0.2, "Answer."),
        tts("t1/v1", (3.6, 4.0), 0.1, "Answer."),
    ]);
    let turns = of(&events, Kind::Turn);
    assert!(!turns[0].contains_key("endpointingMs"), "{:?}", turns[0]);
    assert_eq!(
        (&turns[0]["endMs"], &turns[1]["latencyMs"]),
        (&json!(2300), &json!(1400))
    );
}

/// As older versions tell: transcripts without a length, exchanges without a latency.
fn older(second: Gist) -> Vec<Event> {
    let instant = |id: &str, at: f64, transcript: &str| heard(id, (at, at), transcript);
    understood(vec![
        call(14.0),
        span(
            "t1",
            "turn",
            (0.0, 5.9),
            json!({"turn.was_interrupted": false}),
        ),
        instant("t1/s1", 1.9, "Question."),
        made("t1/l1", (2.4, 2.7), "An answer."),
        spoken("t1/v1", (2.7, 2.9), "An answer."),
        span(
            "t2",
            "turn",
            (5.9, 11.4),
            json!({"turn.was_interrupted": true}),
        ),
        instant("t2/s2", 7.3, "And?"),
        made("t2/l2", (7.8, 8.0), "Fine."),
        second,
    ])
}

#[test]
fn what_no_exchange_measures_has_not_failed_for_want_of_a_latency() {
    let events = older(spoken("t2/v2", (8.0, 8.1), "Fine."));
    assert!(of(&events, Kind::Error).is_empty());
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns.len(), 4);
    for turn in [turns[1], turns[3]] {
        assert!(!turn.contains_key("failed") && !turn.contains_key("cancelled"));
        assert_eq!(
            turn["metadata"]["untimed"], true,
            "nobody knows when it was heard"
        );
    }
    assert!(!turns[0].contains_key("metadata"));
}

#[test]
fn a_synthesis_whose_clock_its_failure_stopped_was_not_heard() {
    for (ttfb, is_heard) in [(1.4853, false), (0.2, true)] {
        let spoken = json!({"text": "Fine.", "metrics.ttfb": ttfb});
        let mut failed = fields("t2/v2", "tts", (8.0, 9.4858), spoken);
        failed["status"] = json!({"code": 2, "message": "Error code: 503"});
        let failed = vocabulary::gist(failed.as_object().expect("a span"));
        let events = older(failed.expect("a synthesis"));
        let turn = of(&events, Kind::Turn)[3].clone();
        assert_eq!(turn.contains_key("ttsMs"), is_heard, "{turn:?}");
        assert_eq!(turn.contains_key("firstAudioMs"), is_heard);
        assert_eq!(turn.get("failed"), (!is_heard).then_some(&json!(true)));
        let errors = of(&events, Kind::Error);
        let own = errors.iter().filter(|error| error["turn"] == 3);
        assert_eq!(own.count(), 1);
    }
}

#[test]
fn who_was_transcribed_in_an_instant_had_spoken_before() {
    let transcript = |id: &str, at: f64, text: &str| {
        let attributes = json!({"transcript": text, "is_final": true, "metrics.ttfb": 0.34});
        span(id, "stt", (at, at), attributes)
    };
    let events = understood(vec![
        call(14.0),
        span(
            "t1",
            "turn",
            (0.0, 9.0),
            json!({"turn.was_interrupted": false}),
        ),
        transcript("t1/s1", 1.86, "Search everything."),
        llm("t1/l1", (2.38, 2.58), 0.2, ""),
        transcript("t1/s2", 5.17, "No, stop."),
        llm("t1/l2", (5.7, 5.9), 0.2, "Fine."),
        tts("t1/v2", (5.9, 6.0), 0.1, "Fine."),
    ]);
    let turns = of(&events, Kind::Turn);
    assert_eq!(
        (&turns[0]["startMs"], &turns[0]["endMs"]),
        (&json!(1520), &json!(1520))
    );
    assert_eq!(
        (&turns[2]["startMs"], &turns[2]["endMs"]),
        (&json!(4830), &json!(4830))
    );
}

/// Services of which only the first response of all is measured, and which go on to show that.
fn measured_once(second: Value) -> Vec<Event> {
    let generation =
        |id: &str, during: (f64, f64), said: &str| llm(id, during, 0.477_250_816, said);
    understood(vec![
        call(14.0),
        exchange("t1", (0.0, 4.2), 1.453, false),
        stt("t1/s1", (0.0, 1.6), "One?"),
        generation("t1/l1", (2.0, 2.53), "This is one."),
        tts("t1/v1", (2.53, 2.68), 0.151, "This is one."),
        span("t2", "turn", (4.2, 8.4), second),
        heard("t2/s2", (4.0, 5.55), "Two?"),
        generation("t2/l2", (5.94, 6.9), "This is two."),
        spoken("t2/v2", (6.91, 7.02), "This is two."),
        spoken("call/v3", (11.0, 11.2), "Are you there?"),
    ])
}

#[test]
fn what_was_waited_for_has_not_failed_though_only_the_first_was_measured() {
    let events = measured_once(
        json!({"turn.user_bot_latency_seconds": 1.824, "turn.was_interrupted": false}),
    );
    assert!(of(&events, Kind::Error).is_empty());
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns[3]["latencyMs"], 1824.0);
    assert_eq!(turns[1]["llmMs"].as_f64().map(f64::round), Some(477.0));
    for place in [3, 4] {
        assert!(!turns[place].contains_key("failed"), "{:?}", turns[place]);
        assert!(!turns[place].contains_key("llmMs"), "{:?}", turns[place]);
    }
    // The user had spoken so long before it.
    assert_eq!(turns[2]["endMs"], 5086.0);
}

#[test]
fn what_nobody_was_heard_to_say_has_failed_where_others_were_measured() {
    let events = measured_once(json!({"turn.was_interrupted": false}));
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns[3]["failed"], true);
    assert!(!turns[3].contains_key("latencyMs"));
    assert_eq!(of(&events, Kind::Error)[0]["code"], "no_audio_suspected");
}

#[test]
fn whose_last_words_were_there_before_they_fell_silent_spoke_until_nobody_knows_when() {
    let early =
        json!({"transcript": "Okay thanks,", "is_final": false, "metrics.audio_seconds": 3.52});
    let told = |answer: Vec<Gist>| {
        let mut gists = vec![
            call(20.0),
            span("t1/s1", "stt", (9.78, 10.52), early.clone()),
        ];
        gists.extend(answer);
        of(&understood(gists), Kind::Turn)[0].clone()
    };
    let unheard = told(vec![llm("t1/l1", (11.93, 12.12), 0.18, "Good")]);
    for name in ["endMs", "endpointingMs", "sttMs"] {
        assert!(!unheard.contains_key(name), "{name} of {unheard:?}");
    }
    let heard = told(vec![
        exchange("t1", (9.78, 16.0), 1.1, true),
        llm("t1/l1", (11.93, 12.12), 0.18, "Goodbye."),
        tts("t1/v1", (12.13, 12.25), 0.12, "Goodbye."),
    ]);
    assert!(!heard.contains_key("endpointingMs"), "{heard:?}");
    let ms = |name: &str| heard[name].as_f64().unwrap();
    assert_eq!(
        (ms("endMs") - ms("startMs")).round(),
        1370.0,
        "so long before the answer as was measured"
    );
}
