use serde_json::{Value, json};

use crate::domain::analysis::fixture::{analysis, clean, delay, found};
use crate::domain::analysis::{Analysis, IssueType};

/// In a clean call, the agent speaks for 6 s, the user says this from 1.5 s on, and the agent's next sentence
/// comes 300 ms after the first.
fn over_the_agent(said: &str, ms: i64) -> Value {
    let mut call = clean(4);
    let start = call["turns"][3]["startMs"].as_i64().unwrap();
    delay(&mut call, 4, 2800 + 300 + 3500 + 700);
    call["turns"][3]["endMs"] = json!(start + 6000);
    let (user, next) = (
        json!({"index": 20, "speaker": "user", "text": said, "startMs": start + 1500, "endMs": start + 1500 + ms}),
        json!({"index": 21, "speaker": "agent", "text": "And that is what I would advise you to take",
            "startMs": start + 6300, "endMs": start + 9800, "sttMs": 150, "endpointingMs": 250, "llmMs": 300, "ttsMs": 200, "finishReason": "stop"}),
    );
    let turns = call["turns"].as_array_mut().unwrap();
    turns.extend([user, next]);
    call
}

fn kinds(found: &Analysis) -> Vec<&str> {
    found
        .issues
        .iter()
        .map(|issue| issue.kind.as_str())
        .collect()
}

#[test]
fn what_follows_a_sign_of_listening_is_no_answer() {
    for said in ["mm hmm", "[noise]", "", "Okay, right."] {
        let call = over_the_agent(said, 400);
        let found = analysis(&call);
        assert_eq!(found.issues, [], "{said}");
        // The gap stays what lies between the two turns.
        let turn = found.turns.iter().find(|turn| turn.turn == 21).unwrap();
        assert_eq!((turn.gap_ms, turn.answers_user), (Some(4400.0), true));
        // Nobody waited for it, and nothing is made of it.
        assert_eq!((found.score, found.score_turns), (Some(1.0), 4), "{said}");
    }
}

#[test]
fn after_the_agents_turn_it_asks_for_nothing_either() {
    let mut call = clean(4);
    call["turns"][4]["text"] = json!("okay");
    delay(&mut call, 5, 1000);
    call["turns"][5]["latencyMs"] = json!(null);
    call["turns"][5]["llmMs"] = json!(1300);
    let found = analysis(&call);
    assert_eq!(kinds(&found), [""; 0]);
    assert_eq!((found.score, found.score_turns), (Some(1.0), 3));
    // To a question it is an answer, and then the next one is late.
    call["turns"][3]["text"] = json!("Shall I book it for you?");
    assert_eq!(kinds(&analysis(&call)), ["high_latency"]);
    // With a question of its own it is late, too.
    call["turns"][3]["text"] = json!("I shall book it for you.");
    call["turns"][4]["text"] = json!("okay but when");
    assert_eq!(kinds(&analysis(&call)), ["high_latency"]);
}

#[test]
fn after_a_missed_barge_in_only_silence_is_a_wait() {
    let call = over_the_agent("no wait that is not what I meant", 1500);
    let found = analysis(&call);
    assert_eq!(kinds(&found), ["missed_barge_in"]);
    // 3.3 s lie between the two, of which the agent spoke for 3.
    let turn = found.turns.iter().find(|turn| turn.turn == 21).unwrap();
    assert_eq!(turn.gap_ms, Some(3300.0));
    // The turn that did not yield is worth nothing, the answer comes after 0.3 s.
    let score = found.score.unwrap();
    assert!((score - (3.0 + 0.8) / 5.0).abs() < 1e-9, "{score}");
}

#[test]
fn a_wait_is_what_is_left_of_the_gap() {
    let mut call = over_the_agent("no wait that is not what I meant", 1500);
    for turn in call["turns"].as_array_mut().unwrap() {
        if turn["index"].as_i64() > Some(3) && turn["index"] != 20 {
            for name in ["startMs", "endMs"] {
                turn[name] = json!(turn[name].as_i64().unwrap() + 1500);
            }
        }
    }
    let late = &found(&call, IssueType::HighLatency)[0];
    assert_eq!((late.turn, late.impact_ms), (Some(21), Some(300)));
    assert_eq!(
        late.description,
        "The answer came after 1.8s (target: <1.5s); 900ms of it is explained by no measured stage."
    );
    assert_eq!(
        (&late.evidence["gapMs"], &late.evidence["waitedMs"]),
        (&json!(4800), &json!(1800))
    );
    let gap = &found(&call, IssueType::TelemetryGap)[0];
    assert_eq!(gap.evidence["unexplainedMs"], 900);
}

#[test]
fn a_source_that_measured_more_than_the_gap_is_believed() {
    let mut call = clean(4);
    call["turns"][5]["latencyMs"] = json!(9000);
    let late = &found(&call, IssueType::HighLatency)[0];
    assert_eq!(late.impact_ms, Some(7500));
    assert!(!late.evidence.contains_key("waitedMs"));
}

#[test]
fn without_transcripts_nobody_knows_who_only_listened() {
    let mut call = clean(4);
    for turn in call["turns"].as_array_mut().unwrap() {
        turn["text"] = json!(null);
    }
    call["turns"][4]["endMs"] = json!(call["turns"][4]["startMs"].as_i64().unwrap() + 400);
    call["turns"][5]["latencyMs"] = json!(3100);
    assert_eq!(found(&call, IssueType::HighLatency).len(), 1);
}
