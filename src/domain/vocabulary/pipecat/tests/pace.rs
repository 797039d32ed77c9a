//! When answers were over of which only their characters tell.

use super::*;

fn words(characters: usize) -> String {
    "w".repeat(characters)
}

/// An exchange in which the user had spoken a second after it began, and the answer is heard 1.4 s after that.
fn answered(id: &str, during: (f64, f64), said: &str) -> Vec<Gist> {
    answered_by(id, during, said, during.0 + 1.5)
}

/// One whose synthesis was done then.
fn answered_by(id: &str, (from, to): (f64, f64), said: &str, made: f64) -> Vec<Gist> {
    let part = |name: &str| format!("{id}/{name}");
    vec![
        exchange(id, (from, to), 1.4, false),
        stt(&part("s"), (from, from + 1.0), "Tell me"),
        llm(&part("l"), (from + 1.0, from + 1.2), 0.1, said),
        tts(&part("v"), (from + 1.2, made), 0.2, said),
    ]
}

fn ends(gists: Vec<Vec<Gist>>) -> Vec<f64> {
    let events = understood(gists.concat());
    spoken(&events).into_iter().map(|(_, end)| end).collect()
}

#[test]
fn answers_are_over_at_the_pace_that_silences_tell() {
    // 40 characters in 2 s, until 2.5 s before the end of the exchange.
    let first = answered("t1", (5.0, 10.9), &words(40));
    let heard_out = [
        answered("t2", (20.0, 26.0), &words(60)),
        answered("t3", (26.0, 31.0), &words(10)),
    ];
    let prompt = vec![tts("call/v", (45.0, 45.4), 0.2, &words(60))];
    let ending = json!({"turn.user_bot_latency_seconds": 1.4, "turn.was_interrupted": true,
        "turn.ended_by_conversation_end": true});
    let mut last = answered("t4", (60.0, 63.0), &words(20));
    last[0] = span("t4", "turn", (60.0, 63.0), ending);
    let [second, third] = heard_out;
    let told = ends(vec![vec![call(70.0)], first, second, third, prompt, last]);
    // The third was over by a silence, whatever its characters say.
    assert_eq!(told, [8_400.0, 24_400.0, 28_500.0, 48_200.0, 62_400.0]);
}

#[test]
fn nothing_is_heard_beyond_what_ends_it() {
    let slow = answered("t1", (5.0, 12.9), &words(40));
    // A user who speaks, the exchange in which one does, and the end of the call.
    let second = answered("t2", (20.0, 24.0), &words(60));
    let third = answered("t3", (24.0, 31.0), &words(10));
    let prompts = vec![tts("call/v", (45.0, 45.4), 0.2, &words(60))];
    let fourth = answered("t4", (46.0, 52.9), &words(10));
    let bye = vec![tts("call/w", (58.0, 58.4), 0.2, &words(60))];
    let told = ends(vec![
        vec![call(60.0)],
        slow,
        second,
        third,
        prompts,
        fourth,
        bye,
    ]);
    assert_eq!(told[1], 24_000.0);
    assert_eq!((told[3], told[5]), (46_000.0, 60_000.0));
}

#[test]
fn who_was_never_followed_by_silence_speaks_as_people_do() {
    let told = |said: &str, next: f64| {
        ends(vec![
            vec![call(30.0)],
            answered("t1", (5.0, next), said),
            answered("t2", (next, next + 6.0), "Well."),
        ])[0]
    };
    // 15 characters a second, unless the user had heard it out sooner.
    assert_eq!(told(&words(30), 12.0), 8_400.0);
    assert_eq!(told(&words(30), 7.5), 7_500.0);
    // Where a character is a syllable, nobody knows.
    assert_eq!(told("ご注文は今朝発送されました。", 12.0), 12_000.0);
    // 20 ms a character at most, as another answer tells that was heard out.
    let bound = ends(vec![
        vec![call(40.0)],
        answered("t1", (5.0, 8.4), &words(100)),
        answered("t2", (8.4, 14.0), &words(50)),
        answered("t3", (14.0, 20.0), "Well."),
    ]);
    assert_eq!(bound[..2], [8_400.0, 10_800.0]);
}

#[test]
fn a_synthesis_that_is_done_late_says_nothing_of_the_end() {
    let first = answered_by("t1", (5.0, 10.9), &words(40), 10.4);
    let prompt = |made: f64| vec![tts("call/v", (45.0, made), 0.2, &words(20))];
    let told = |first, made| ends(vec![vec![call(70.0)], first, prompt(made)])[1];
    assert_eq!(told(first, 48.2), 46_200.0);
    // Where others are not done late, this was made while it was heard.
    let first = answered("t1", (5.0, 10.9), &words(40));
    assert_eq!(told(first, 48.2), 48_200.0);
}

#[test]
fn what_waits_for_a_tool_is_spoken_when_it_is_there() {
    let mut first = answered("t1", (5.0, 20.0), &words(20));
    first.extend([
        llm("t1/m", (15.0, 15.2), 0.1, &words(40)),
        tts("t1/w", (15.3, 15.4), 0.1, &words(40)),
    ]);
    // The silence tells of the second part alone: 2.1 s for 40 characters.
    let prompt = vec![tts("call/v", (45.0, 45.4), 0.2, &words(40))];
    let told = ends(vec![vec![call(70.0)], first, prompt]);
    assert_eq!(told, [17_500.0, 47_300.0]);
}

#[test]
fn a_realtime_model_s_answer_is_over_at_the_pace_of_its_others() {
    let answered = |id: &str, (from, to): (f64, f64), latency: f64, said: &str| {
        let part = |name: &str| format!("{id}/{name}");
        vec![
            exchange(id, (from, to), latency, false),
            own_stt(&part("s"), (from, from + 2.0), "Tell me"),
            response(&part("r"), from + 3.5, 0.4, "completed", Some(said)),
        ]
    };
    let told = ends(vec![
        vec![call(40.0)],
        answered("t1", (1.0, 10.0), 1.0, &words(35)),
        answered("t2", (12.0, 20.0), 1.0, &words(20)),
        answered("t3", (20.0, 28.0), 1.0, "Well."),
    ]);
    assert_eq!(told[..2], [7_500.0, 17_000.0]);
}

#[test]
fn an_answer_is_over_when_the_next_one_is_heard() {
    let mut first = answered_by("t1", (5.0, 20.0), &words(100), 8.0);
    first.extend([
        stt("t1/o", (7.0, 7.8), "Okay"),
        llm("t1/m", (8.1, 8.3), 0.1, "Well."),
        tts("t1/w", (9.0, 9.3), 0.2, "Well."),
    ]);
    assert_eq!(ends(vec![vec![call(30.0)], first]), [9_200.0, 17_500.0]);
}

#[test]
fn what_was_never_heard_tells_nothing_of_the_pace() {
    let mut first = answered("t1", (5.0, 10.9), &words(40));
    let text = json!({"text": words(200)});
    first.push(span("t1/w", "tts", (6.6, 9.6), text));
    let prompt = vec![tts("call/v", (45.0, 45.4), 0.2, &words(20))];
    let told = ends(vec![vec![call(70.0)], first, prompt]);
    assert_eq!(told[1], 46_200.0);
}
