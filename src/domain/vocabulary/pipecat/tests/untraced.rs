//! Services of an application's own, which trace nothing: what exchanges tell of them.

use super::*;

/// An exchange in which the user was answered after 1.72 s, and broke in after another 1.1 s, and the one after it.
fn call_of(parts: Vec<Gist>) -> Vec<Event> {
    let mut gists = vec![
        call(13.0),
        span(
            "t1",
            "turn",
            (0.0, 1.98),
            json!({"turn.was_interrupted": false}),
        ),
        exchange("t2", (1.988, 5.624), 1.723, true),
        exchange("t3", (5.624, 11.02), 1.054, false),
        llm("t2/l1", (3.504, 3.742), 0.19, "Let me look."),
        llm("t2/l2", (4.05, 4.587), 0.194, "I have found two."),
        llm("t3/l3", (7.145, 7.37), 0.186, "It is yours."),
    ];
    gists.extend(parts);
    understood(gists)
}

fn heard() -> Vec<Gist> {
    vec![
        stt("t2/s1", (1.787, 3.133), "Find it."),
        stt("t3/s2", (5.423, 6.775), "The red one."),
    ]
}

fn ms(turn: &Map<String, Value>, name: &str) -> f64 {
    turn[name].as_f64().unwrap().round()
}

#[test]
fn an_answer_of_whose_synthesis_nothing_is_told_has_the_latency_that_was_measured() {
    let events = call_of(heard());
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns.len(), 4);
    assert_eq!(
        (ms(turns[1], "latencyMs"), ms(turns[3], "latencyMs")),
        (1723.0, 1054.0)
    );
    for (user, answer) in [(0, 1), (2, 3)] {
        let waited = ms(turns[answer], "startMs") - ms(turns[user], "endMs");
        assert_eq!(waited, ms(turns[answer], "latencyMs"));
        assert!(!turns[answer].contains_key("firstAudioMs"));
    }
    assert_eq!(turns[1]["interrupted"], true);
    assert_eq!(ms(turns[1], "endMs"), 5624.0);
    assert_eq!(of(&events, Kind::Interruption).len(), 1);
    assert_eq!(
        ms(turns[3], "endMs"),
        8520.0,
        "2.5 s of silence ended its exchange"
    );
}

#[test]
fn who_broke_into_an_answer_at_once_spoke_after_it_began() {
    let events = understood(vec![
        call(50.0),
        exchange("t1", (35.0, 36.785), 1.184, true),
        stt("t1/s1", (34.805, 35.713), "Please"),
        llm("t1/l1", (36.11, 36.34), 0.18, "It is yours."),
        exchange("t2", (36.785, 46.0), 2.1, false),
        stt("t2/s2", (36.585, 37.528), "send it."),
        llm("t2/l2", (37.946, 39.25), 1.2, "It is sent."),
    ]);
    assert_eq!(
        said(&events),
        ["Please", "It is yours.", "send it.", "It is sent."]
    );
    let turns = of(&events, Kind::Turn);
    assert_eq!(
        (ms(turns[1], "latencyMs"), ms(turns[3], "latencyMs")),
        (1184.0, 2100.0)
    );
}

#[test]
fn an_answer_whose_synthesis_was_lost_on_the_way_was_not_cancelled() {
    let mut parts = heard();
    parts.push(tts("t3/v3", (7.37, 7.5), 0.12, "It is yours."));
    let events = call_of(parts);
    let turns = of(&events, Kind::Turn);
    assert!(!turns[1].contains_key("cancelled"), "{:?}", turns[1]);
    assert_eq!(ms(turns[1], "latencyMs"), 1723.0);
}

#[test]
fn an_answer_that_the_user_spoke_on_over_was_not_the_one_that_was_heard() {
    let events = understood(vec![
        call(8.0),
        exchange("t1", (0.0, 6.5), 1.2, false),
        stt("t1/s1", (0.0, 1.1), "My number is"),
        llm("t1/l1", (1.4, 2.5), 0.9, "What is"),
        stt("t1/s2", (2.3, 3.4), "five."),
        llm("t1/l2", (3.7, 4.2), 0.3, "Five it is."),
    ]);
    let turns = of(&events, Kind::Turn);
    assert!(!turns[1].contains_key("latencyMs"), "{:?}", turns[1]);
    assert_eq!(ms(turns[3], "latencyMs"), 1200.0);
}

#[test]
fn a_user_of_whose_words_nothing_is_told_waited_all_the_same() {
    let events = call_of(vec![
        tts("t1/v0", (0.0, 0.17), 0.14, "Hello."),
        tts(
            "t2/v1",
            (4.392, 4.6),
            0.13,
            "Let me look. I have found two.",
        ),
        tts("t3/v2", (7.37, 7.5), 0.12, "It is yours."),
    ]);
    let turns = of(&events, Kind::Turn);
    let speakers: Vec<&str> = turns
        .iter()
        .map(|turn| turn["speaker"].as_str().unwrap())
        .collect();
    assert_eq!(speakers, ["agent", "user", "agent", "user", "agent"]);
    assert_eq!(turns[2]["interrupted"], true);
    assert_eq!(
        (ms(turns[2], "latencyMs"), ms(turns[4], "latencyMs")),
        (1723.0, 1054.0)
    );
    for (user, answer) in [(1, 2), (3, 4)] {
        assert!(!turns[user].contains_key("text") && !turns[user].contains_key("metadata"));
        let waited = ms(turns[answer], "startMs") - ms(turns[user], "endMs");
        assert_eq!(waited, ms(turns[answer], "latencyMs"));
    }
    assert_eq!(ms(turns[1], "startMs"), 1988.0);
}

#[test]
fn where_users_are_transcribed_none_is_made_up() {
    let mut parts = heard();
    parts.remove(0);
    let events = call_of(parts);
    let users = of(&events, Kind::Turn);
    let users = users.iter().filter(|turn| turn["speaker"] == "user");
    assert_eq!(users.count(), 1);
}

#[test]
fn where_neither_speech_is_told_nobody_knows_when_it_was() {
    let events = call_of(Vec::new());
    let turns = of(&events, Kind::Turn);
    let latencies: Vec<_> = turns
        .iter()
        .filter_map(|turn| turn.get("latencyMs"))
        .collect();
    assert_eq!(latencies, [1723.0, 1054.0]);
    for turn in turns {
        match turn["speaker"] == "user" {
            true => assert!(!turn.contains_key("endMs"), "{turn:?}"),
            false => assert_eq!(turn["metadata"]["untimed"], true),
        }
    }
}

fn speakers<'a>(turns: &[&'a Map<String, Value>]) -> Vec<&'a str> {
    let speakers = turns.iter().map(|turn| turn["speaker"].as_str());
    speakers.map(Option::unwrap).collect()
}

#[test]
fn an_agent_of_which_only_latencies_tell_has_answered_each_of_its_users() {
    // Neither the application's own model nor its voice traces anything.
    let events = understood(vec![
        call(14.7),
        span(
            "t1",
            "turn",
            (0.0, 1.67),
            json!({"turn.was_interrupted": false}),
        ),
        stt("t2/s1", (1.465, 3.0), "What is my balance?"),
        exchange("t2", (1.67, 5.63), 1.1, false),
        stt("t3/s1", (5.43, 6.98), "What can I do?"),
        exchange("t3", (5.63, 8.95), 1.1, true),
        stt("t4/s1", (8.75, 10.3), "Thanks, stop."),
        exchange("t4", (8.952, 12.7), 1.1, true),
    ]);
    let turns = of(&events, Kind::Turn);
    assert_eq!(
        speakers(&turns),
        ["user", "agent", "user", "agent", "user", "agent"]
    );
    assert_eq!(turns[2]["text"], "What can I do?");
    assert_eq!(
        (&turns[1]["startMs"], &turns[1]["latencyMs"]),
        (&json!(3800), &json!(1100))
    );
    assert!(!turns[1].contains_key("text") && !turns[1].contains_key("metadata"));
    assert_eq!(
        (&turns[3]["interrupted"], &turns[3]["endMs"]),
        (&json!(true), &json!(8950))
    );
    assert_eq!(of(&events, Kind::Interruption)[0]["atMs"], 8750);
    assert!(
        !turns[5].contains_key("endMs"),
        "the call may have ended within it"
    );
}

#[test]
fn who_got_no_answer_in_one_exchange_may_get_one_in_the_next() {
    let events = understood(vec![
        call(14.7),
        stt("t1/s1", (0.5, 1.5), "Hello?"),
        span(
            "t1",
            "turn",
            (0.0, 1.67),
            json!({"turn.was_interrupted": false}),
        ),
        stt("t2/s1", (1.7, 3.0), "What is my balance?"),
        exchange("t2", (1.67, 5.63), 1.1, false),
        stt("t3/s1", (5.7, 6.98), "What can I do?"),
        exchange("t3", (5.63, 8.95), 1.1, false),
    ]);
    let turns = of(&events, Kind::Turn);
    assert_eq!(speakers(&turns), ["user", "agent", "user", "agent"]);
    assert_eq!(turns[0]["text"], "Hello? What is my balance?");
}
