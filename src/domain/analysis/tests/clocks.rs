//! Sources whose clocks differ by hours, and things that happen at the same moment.

use serde_json::{Value, json};

use crate::domain::analysis::IssueType::{self, *};
use crate::domain::analysis::fixture::{analysis, clean, delay};

const HOURS_MS: i64 = 3 * 3_600_000;

fn kinds(call: &Value) -> Vec<IssueType> {
    let issues = analysis(call).issues;
    issues.iter().map(|issue| issue.kind).collect()
}

/// A call with one fault, a silence of 6.5 s before the third question.
fn with_silence() -> Value {
    let mut call = clean(6);
    delay(&mut call, 4, 5800);
    call
}

#[test]
fn what_another_clock_tells_makes_no_silence_and_hides_none() {
    assert_eq!(kinds(&clean(6)), []);
    assert_eq!(kinds(&with_silence()), [DeadAir]);
    for hours_ms in [HOURS_MS, -HOURS_MS] {
        let time = chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::milliseconds(hours_ms);
        for name in ["answeredAt", "connectedAt"] {
            for (mut call, expected) in [(clean(6), &[][..]), (with_silence(), &[DeadAir][..])] {
                call["session"][name] = json!(time.to_rfc3339());
                assert_eq!(kinds(&call), expected, "{name} {hours_ms}");
            }
        }
        for (mut call, expected) in [(clean(6), &[][..]), (with_silence(), &[DeadAir][..])] {
            // Voice activity of the users' own turns, by another clock.
            let turns = call["turns"].as_array().unwrap().clone();
            let heard = turns.iter().filter(|turn| turn["speaker"] == "user");
            let heard = heard.map(|turn| {
                let at = |name: &str| turn[name].as_i64().unwrap() + hours_ms;
                json!({"speaker": "user", "startMs": at("startMs"), "endMs": at("endMs")})
            });
            call["speech"] = heard.collect();
            assert_eq!(kinds(&call), expected, "speech {hours_ms}");
        }
    }
}

#[test]
fn what_another_clock_tells_of_is_still_told_where_it_names_its_turn() {
    for hours_ms in [HOURS_MS, -HOURS_MS] {
        let mut call = clean(6);
        call["errors"] = json!([{"service": "tts", "turn": 3, "message": "refused", "statusCode": 503, "atMs": hours_ms}]);
        call["toolCalls"] = json!([{"turn": 5, "name": "find", "error": "none", "startMs": hours_ms, "endMs": hours_ms + 400}]);
        let issues = analysis(&call).issues;
        let found: Vec<_> = issues
            .iter()
            .map(|issue| (issue.kind, issue.turn))
            .collect();
        assert!(found.contains(&(ProviderError, Some(3))), "{found:?}");
        assert!(found.contains(&(ToolError, Some(5))), "{found:?}");
        assert_eq!(found.len(), 2, "{found:?}");
        // No answer is given time that its tool took hours later.
        let turns = analysis(&call).turns;
        assert!(turns.iter().all(|turn| turn.unexplained_ms == Some(0.0)));
    }
}

#[test]
fn an_interruption_by_another_clock_is_counted_and_not_placed() {
    for hours_ms in [HOURS_MS, -HOURS_MS] {
        let mut call = clean(6);
        call["interruptions"] =
            json!([{"atMs": hours_ms, "stopMs": 300, "detectionMs": 100, "isFalse": false}]);
        let found = analysis(&call);
        assert_eq!(found.issues, []);
        assert_eq!(
            (
                found.interruptions.interruptions,
                found.interruptions.false_interruptions
            ),
            (1, 0)
        );
        assert_eq!(found.interruptions.stop_ms.max(), Some(300.0));
    }
}

#[test]
fn an_answer_at_the_very_end_of_the_question_took_no_time() {
    let mut call = clean(4);
    delay(&mut call, 3, -900);
    for name in ["latencyMs", "sttMs", "endpointingMs", "llmMs", "ttsMs"] {
        call["turns"][3][name] = json!(null);
    }
    let found = analysis(&call);
    let answer = found.turns.iter().find(|turn| turn.turn == 3).unwrap();
    assert_eq!(
        (answer.gap_ms, answer.unexplained_ms),
        (Some(0.0), Some(0.0))
    );
    assert_eq!(found.interruptions.overlaps_by_agent, 0);
    // Neither premature nor slow; that one answer of four was not measured in parts is told.
    let of_turn = found
        .issues
        .iter()
        .filter(|issue| issue.kind != TelemetryGap);
    assert_eq!(of_turn.count(), 0, "{:?}", found.issues);
}

#[test]
fn question_and_answer_that_begin_together_are_no_answer() {
    let mut call = clean(4);
    for name in ["startMs", "endMs"] {
        call["turns"][3][name] = call["turns"][2][name].clone();
    }
    for name in ["latencyMs", "sttMs", "endpointingMs", "llmMs", "ttsMs"] {
        call["turns"][3][name] = json!(null);
    }
    let found = analysis(&call);
    let answer = found.turns.iter().find(|turn| turn.turn == 3);
    assert_eq!(answer.and_then(|turn| turn.gap_ms), None);
    // Neither starts inside the other.
    let counts = &found.interruptions;
    assert_eq!((counts.overlaps, counts.overlaps_by_agent), (0, 0));
    assert!(!found.issues.iter().any(|issue| issue.kind == HighLatency));
    // In whichever order they are told, the same is found.
    let once = serde_json::to_vec(&found).unwrap();
    call["turns"].as_array_mut().unwrap().swap(2, 3);
    assert_eq!(serde_json::to_vec(&analysis(&call)).unwrap(), once);
}

#[test]
fn turns_without_length_are_turns() {
    let mut call = clean(3);
    let at = call["turns"][2]["startMs"].as_i64().unwrap();
    call["turns"][2]["endMs"] = json!(at);
    call["turns"][3]["startMs"] = json!(at);
    call["turns"][3]["latencyMs"] = json!(null);
    for name in ["sttMs", "endpointingMs", "llmMs", "ttsMs"] {
        call["turns"][3][name] = json!(null);
    }
    let found = analysis(&call);
    let answer = found.turns.iter().find(|turn| turn.turn == 3).unwrap();
    assert_eq!(answer.gap_ms, Some(0.0));
}
