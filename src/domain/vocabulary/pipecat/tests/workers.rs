//! A call in which one worker hears and speaks, and another one generates: each has a trace of its own.

use super::*;

fn of_worker(mut gist: Gist) -> Gist {
    gist.trace_id = "of-worker".to_owned();
    gist
}

fn shared(is_over: bool) -> Vec<Gist> {
    let unmeasured = json!({"turn.was_interrupted": true});
    let mut gists = vec![
        of_worker(span("w1", "turn", (0.0, 12.9), unmeasured)),
        of_worker(llm("w1/l1", (2.452, 2.703), 0.187, "Yes, I hear you.")),
        of_worker(llm("w1/l2", (6.173, 6.436), 0.186, "A table is booked.")),
        exchange("t1", (0.0, 4.3), 1.08, false),
        stt("t1/s1", (0.4, 2.081), "Can you hear me?"),
        tts("t1/v1", (2.706, 2.84), 0.121, "Yes, I hear you."),
        stt("t2/s2", (4.2, 5.8), "Book me a table."),
        tts("t2/v2", (6.439, 6.574), 0.114, "A table is booked."),
    ];
    if is_over {
        gists.push(call(12.9));
        gists.push(exchange("t2", (4.3, 12.8), 1.09, true));
        gists.push(of_worker(call(12.9)));
    }
    gists
}

#[test]
fn an_answer_that_one_worker_generates_and_another_speaks_is_one() {
    for is_over in [true, false] {
        let events = understood(shared(is_over));
        assert_eq!(
            said(&events),
            [
                "Can you hear me?",
                "Yes, I hear you.",
                "Book me a table.",
                "A table is booked."
            ]
        );
        let turns = of(&events, Kind::Turn);
        assert_eq!(
            (&turns[1]["llmMs"], &turns[1]["ttsMs"]),
            (&json!(187), &json!(121))
        );
        assert_eq!(turns[1]["latencyMs"], 1080.0);
        assert_eq!(turns[1]["models"]["llm"], "m");
        assert!(turns.iter().all(|turn| !turn.contains_key("cancelled")));
        assert!(turns[2].contains_key("endpointingMs"));
    }
}

#[test]
fn a_worker_that_is_done_does_not_end_the_call_of_another() {
    let mut gists = shared(false);
    gists.push(of_worker(call(6.5)));
    let events = understood(gists);
    assert!(!of(&events, Kind::Session)[0].contains_key("status"));
    assert_eq!(
        of(&understood(shared(true)), Kind::Session)[0]["status"],
        "completed"
    );
}

#[test]
fn a_call_after_another_of_the_same_name_has_exchanges_of_its_own() {
    let mut gists = shared(true);
    let later = [
        span(
            "n1",
            "turn",
            (20.0, 25.0),
            json!({"turn.was_interrupted": false}),
        ),
        tts("n1/v1", (20.1, 20.3), 0.1, "Is anybody there?"),
    ];
    gists.extend(later.map(|mut gist| {
        gist.trace_id = "next".to_owned();
        gist
    }));
    let events = understood(gists);
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns.len(), 5);
    // A silence ended its exchange.
    assert_eq!(turns[4]["endMs"], 22_500);
}
