//! Answers of which nothing was heard.

use super::*;

/// A generation that was interrupted before it brought anything: its clock shows the length of its span.
fn stopped(id: &str, (from, to): (f64, f64)) -> Gist {
    let attributes = json!({"metrics.ttfb": to - from - 0.0003, "gen_ai.request.model": "m"});
    span(id, "llm", (from, to), attributes)
}

/// A generation that does no more than call a tool.
fn choosing(id: &str, during: (f64, f64), ttfb: f64) -> Gist {
    let attributes = json!({"metrics.ttfb": ttfb, "gen_ai.usage.input_tokens": 30, "gen_ai.usage.output_tokens": 9});
    span(id, "llm", during, attributes)
}

fn assert_unheard(turn: &Map<String, Value>) {
    for name in ["latencyMs", "firstAudioMs", "failed"] {
        assert!(!turn.contains_key(name), "{name} of {turn:?}");
    }
}

#[test]
fn what_the_user_spoke_on_over_before_it_was_said_was_cancelled() {
    let partial = json!({"output": "What is", "metrics.ttfb": 0.9, "gen_ai.request.model": "m"});
    for generation in [
        stopped("t1/l1", (1.4, 2.5)),
        span("t1/l1", "llm", (1.4, 2.5), partial),
    ] {
        let events = understood(vec![
            call(20.0),
            exchange("t1", (0.0, 6.5), 1.2, false),
            stt("t1/s1", (0.0, 1.1), "My number is"),
            generation,
            stt("t1/s2", (2.3, 3.4), "five."),
            llm("t1/l2", (3.7, 4.2), 0.3, "Five it is."),
            tts("t1/v2", (4.2, 4.4), 0.15, "Five it is."),
        ]);
        let turns = of(&events, Kind::Turn);
        assert_eq!(turns.len(), 4);
        assert_eq!(turns[1]["cancelled"], true, "{:?}", turns[1]);
        assert_unheard(turns[1]);
        assert_eq!(turns[3]["latencyMs"], 1200.0);
        assert!(!turns[3].contains_key("cancelled"));
    }
}

#[test]
fn a_token_that_never_came_took_no_time() {
    let turn = |generation: Gist| {
        let events = understood(vec![
            call(20.0),
            exchange("t1", (0.0, 6.5), 1.2, false),
            stt("t1/s1", (0.0, 1.1), "My number is"),
            generation,
        ]);
        of(&events, Kind::Turn)[1].clone()
    };
    assert!(!turn(stopped("t1/l1", (1.4, 2.5))).contains_key("llmMs"));
    // What brought or used something has come, however late.
    assert_eq!(turn(choosing("t1/l1", (1.4, 2.5), 1.09))["llmMs"], 1090.0);
    assert_eq!(
        turn(llm("t1/l1", (1.4, 2.5), 1.09, "Yes."))["llmMs"],
        1090.0
    );
}

#[test]
fn an_answer_that_only_ended_the_call_was_not_heard() {
    let events = understood(vec![
        call(9.0),
        exchange("t1", (0.0, 4.0), 1.2, false),
        stt("t1/s1", (0.0, 1.1), "Hello."),
        llm("t1/l1", (1.4, 1.8), 0.3, "Good day."),
        tts("t1/v1", (1.8, 2.0), 0.15, "Good day."),
        span(
            "t2",
            "turn",
            (4.0, 8.0),
            json!({"turn.was_interrupted": true}),
        ),
        stt("t2/s2", (4.0, 5.1), "I am done."),
        choosing("t2/l2", (5.4, 5.6), 0.19),
    ]);
    let turns = of(&events, Kind::Turn);
    assert_unheard(turns[3]);
    assert_eq!(turns[3]["text"], "");
    assert!(
        !turns[3].contains_key("cancelled"),
        "it did what it was to do"
    );
    assert_eq!(turns[3]["llmMs"], 190.0);
}

#[test]
fn what_was_only_generated_when_the_call_was_over_was_cancelled() {
    let mut gists = vec![
        exchange("t1", (0.0, 4.0), 1.2, false),
        stt("t1/s1", (0.0, 1.1), "Hello."),
        llm("t1/l1", (1.4, 1.8), 0.3, "Good day."),
        tts("t1/v1", (1.8, 2.0), 0.15, "Good day."),
        span("t2", "turn", (4.0, 5.9), json!({})),
        stt("t2/s2", (4.0, 5.1), "And?"),
        llm("t2/l2", (5.4, 5.9), 0.3, "Well, it"),
    ];
    let events = understood(gists.clone());
    let turns = of(&events, Kind::Turn);
    assert!(!turns[3].contains_key("cancelled"), "it may be spoken yet");
    gists.push(call(5.9));
    let events = understood(gists);
    assert_eq!(of(&events, Kind::Turn)[3]["cancelled"], true);
}

#[test]
fn a_synthesis_that_waited_behind_another_has_not_failed() {
    for (seconds, is_silent) in [(0.1, false), (3.0, true)] {
        let second = json!({"text": "Let me check."});
        let events = understood(vec![
            call(20.0),
            exchange("t1", (0.0, 9.0), 2.4, false),
            stt("t1/s1", (0.0, 1.4), "What time is it?"),
            llm("t1/l1", (1.7, 3.3), 1.5, "It is noon."),
            tts("t1/v1", (3.3, 3.4), 0.1, "It is noon."),
            span("t1/v2", "tts", (3.4, 3.4 + seconds), second),
        ]);
        assert_eq!(said(&events)[1], "It is noon. Let me check.");
        assert_eq!(of(&events, Kind::Error).is_empty(), !is_silent, "{seconds}");
    }
}

/// A synthesis that is stopped before its first byte, and what comes behind it.
fn broken_off(later: Vec<Gist>) -> Vec<Event> {
    let cut = json!({"text": "This is broken.", "metrics.ttfb": 0.1369, "tts.interrupted": true});
    let mut gists = vec![
        call(30.0),
        exchange("t1", (0.0, 5.0), 1.1, false),
        stt("t1/s1", (0.5, 2.3), "First"),
        llm("t1/l1", (2.6, 2.9), 0.15, "Heard."),
        tts("t1/v1", (2.9, 3.2), 0.12, "Heard."),
        exchange("t2", (5.0, 30.0), 1.06, true),
        stt("t2/s1", (5.0, 6.6), "One more thing."),
        llm("t2/l1", (6.9, 7.1), 0.19, "This is broken."),
        span("t2/v1", "tts", (7.1, 7.237), cut),
    ];
    gists.extend(later);
    understood(gists)
}

#[test]
fn a_synthesis_that_was_stopped_while_nobody_spoke_has_failed() {
    let again = |onset: f64| {
        vec![
            stt("t2/s2", (onset, onset + 1.5), "Are you there?"),
            llm("t2/l2", (onset + 1.8, onset + 2.1), 0.2, "Yes."),
            tts("t2/v2", (onset + 2.1, onset + 2.3), 0.13, "Yes."),
        ]
    };
    for later in [again(10.2), Vec::new()] {
        let events = broken_off(later);
        let turns = of(&events, Kind::Turn);
        assert_eq!(turns[3]["failed"], true, "{:?}", turns[3]);
        assert!(!turns[3].contains_key("cancelled") && !turns[3].contains_key("latencyMs"));
        let errors = of(&events, Kind::Error);
        assert_eq!(
            (&errors[0]["code"], &errors[0]["turn"]),
            (&json!("no_audio_suspected"), &json!(3))
        );
    }
    let events = broken_off(again(7.12));
    assert_eq!(of(&events, Kind::Turn)[3]["cancelled"], true);
    assert!(of(&events, Kind::Error).is_empty());
}

#[test]
fn a_user_who_speaks_into_an_answer_without_stopping_it_breaks_into_it_later() {
    // An application may have users say several words before the agent stops for them.
    let events = understood(vec![
        call(14.0),
        exchange("t1", (0.0, 8.22), 2.516, true),
        stt("t1/s1", (0.0, 1.905), "Tell me about the weather."),
        llm("t1/l1", (2.648, 3.959), 0.2, "A long answer."),
        tts("t1/v1", (3.572, 4.31), 0.196, "A long answer."),
        stt("t1/s2", (4.744, 5.492), "Uh-huh."),
        stt("t1/s3", (6.646, 8.219), "Please stop it."),
        exchange("t2", (8.22, 13.9), 1.3, true),
        llm("t2/l1", (8.723, 9.02), 0.2, "Fine."),
        tts("t2/v1", (9.04, 9.18), 0.14, "Fine."),
    ]);
    let all = [
        "Tell me about the weather.",
        "A long answer.",
        "Uh-huh. Please stop it.",
        "Fine.",
    ];
    assert_eq!(said(&events), all);
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns[1]["interrupted"], true);
    assert_eq!(turns[1]["endMs"], 8220);
    let interruptions = of(&events, Kind::Interruption);
    assert_eq!(interruptions.len(), 1);
    assert_eq!(interruptions[0]["atMs"], 6646);
}

#[test]
fn what_was_held_back_was_heard_when_its_user_had_waited_as_long_as_was_measured() {
    // Until a detector of voicemail is certain that a person answered.
    let answered = |latency: f64| {
        let events = understood(vec![
            call(6.0),
            exchange("t1", (0.0, 5.4), latency, false),
            stt("t1/s1", (0.0, 1.54), "Hello?"),
            llm("t1/l1", (1.94, 2.25), 0.2, "This is Harbor."),
            tts("t1/v1", (2.251, 2.45), 0.129, "This is Harbor."),
        ]);
        let answer = of(&events, Kind::Turn)[1].clone();
        assert_eq!(answer["latencyMs"], latency * 1e3);
        (answer["startMs"].clone(), answer["firstAudioMs"].clone())
    };
    assert_eq!(answered(1.7), (json!(2940), json!(2940)));
    assert_eq!(answered(1.15), (json!(2380), json!(2380)));
}

#[test]
fn a_synthesis_that_the_end_of_the_call_overtook_has_not_failed() {
    let hung_up = |over: f64| {
        let said = "Our opening hours are from nine to five.";
        understood(vec![
            call(over + 0.001),
            exchange("t1", (0.0, 4.8), 0.9, false),
            stt("t1/s1", (0.25, 1.7), "Good morning."),
            llm("t1/l1", (1.9, 2.2), 0.2, "Good morning."),
            tts("t1/v1", (2.25, 2.5), 0.13, "Good morning."),
            span(
                "t2",
                "turn",
                (4.9, over),
                json!({"turn.was_interrupted": true}),
            ),
            stt("t2/s2", (4.7, 6.2), "When are you open?"),
            llm("t2/l2", (6.2, 6.58), 0.2, said),
            span("t2/v2", "tts", (6.581, 6.631), json!({"text": said})),
        ])
    };
    let events = hung_up(6.619);
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns[3]["cancelled"], true);
    assert_unheard(turns[3]);
    assert!(of(&events, Kind::Error).is_empty());
    // Nothing came of it, and the call went on.
    let events = hung_up(9.0);
    assert_eq!(of(&events, Kind::Turn)[3]["failed"], true);
    assert_eq!(of(&events, Kind::Error)[0]["code"], "no_audio_suspected");
}
