//! Realtime models that the framework does not trace: nothing but exchanges is told.

use super::*;

fn wordless(id: &str, during: (f64, f64), latency: Option<f64>, interrupted: bool) -> Gist {
    let attributes =
        json!({"turn.user_bot_latency_seconds": latency, "turn.was_interrupted": interrupted});
    span(id, "turn", during, attributes)
}

fn called() -> Vec<Gist> {
    vec![
        call(24.4),
        wordless("t1", (0.0, 6.0), Some(1.7), false),
        wordless("t2", (6.8, 14.0), Some(1.1), true),
        wordless("t3", (14.0, 17.5), Some(1.2), false),
        wordless("t4", (17.52, 19.0), None, false),
        wordless("t5", (20.5, 24.39), Some(1.0), true),
    ]
}

#[test]
fn exchanges_of_which_nothing_else_is_told_have_turns_without_words() {
    let events = understood(called());
    let turns = of(&events, Kind::Turn);
    let told: Vec<(&str, Option<f64>)> = turns
        .iter()
        .map(|turn| {
            let latency_ms = turn.get("latencyMs").and_then(Value::as_f64);
            (turn["speaker"].as_str().unwrap(), latency_ms)
        })
        .collect();
    let user = ("user", None);
    let agent = |latency: f64| ("agent", Some(latency));
    assert_eq!(
        told,
        [
            user,
            agent(1700.0),
            user,
            agent(1100.0),
            user,
            agent(1200.0),
            user,
            agent(1000.0)
        ]
    );
    assert!(turns.iter().all(|turn| !turn.contains_key("text")));
}

#[test]
fn only_what_began_or_ended_an_exchange_has_a_time() {
    let events = understood(called());
    let turns = of(&events, Kind::Turn);
    let is_untimed = |turn: &Map<String, Value>| turn.contains_key("metadata");
    // The first exchange begins with its call, others with their user.
    assert!(is_untimed(turns[0]) && !is_untimed(turns[2]));
    assert_eq!(turns[2]["startMs"], 6800);
    assert!(turns.iter().skip(1).step_by(2).all(|turn| is_untimed(turn)));
    let ends = [1, 3, 5, 7].map(|place| turns[place].get("endMs").and_then(Value::as_f64));
    assert_eq!(ends, [Some(3500.0), Some(14_000.0), Some(17_500.0), None]);
    assert_eq!(turns[3]["interrupted"], true);
    let interruptions = of(&events, Kind::Interruption);
    assert_eq!(interruptions.len(), 1);
    assert!(!interruptions[0].contains_key("atMs"));
}

#[test]
fn where_anything_was_told_of_the_words_exchanges_alone_are_no_turns() {
    let mut gists = called();
    gists.push(tts("t3/v1", (15.0, 15.2), 0.1, "Hello."));
    let events = understood(gists);
    let turns = of(&events, Kind::Turn);
    assert_eq!(
        turns.len(),
        2,
        "only the exchange of which something is told: {turns:?}"
    );
    assert_eq!(turns[1]["text"], "Hello.");
    assert!(turns[1].contains_key("latencyMs") && !turns[0].contains_key("text"));
    let mut gists = called();
    let mut generation = fields(
        "t3/g1",
        "chat m",
        (15.0, 16.0),
        json!({"gen_ai.operation.name": "chat", "gen_ai.output.messages": "[{\"role\":\"assistant\",\"parts\":[{\"type\":\"text\",\"content\":\"Hello.\"}]}]"}),
    );
    generation["scope"] = json!({"name": "other"});
    gists.push(vocabulary::gist(generation.as_object().unwrap()).unwrap());
    assert_eq!(said(&understood(gists)), ["Hello."]);
}
