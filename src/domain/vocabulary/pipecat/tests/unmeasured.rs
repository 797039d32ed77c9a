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
