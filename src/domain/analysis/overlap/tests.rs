use serde_json::{Value, json};

use super::*;
use crate::domain::analysis::IssueType;
use crate::domain::analysis::fixture::{analysis, clean, silent};

/// The third question begins so long before the second answer ends, and lasts so long.
fn overlapping(before_end: i64, ms: i64, text: &str) -> Value {
    let mut call = clean(4);
    let end = call["turns"][3]["endMs"].as_i64().unwrap();
    let user = &mut call["turns"][4];
    user["startMs"] = json!(end - before_end);
    user["endMs"] = json!(end - before_end + ms);
    user["text"] = json!(text);
    call
}

fn counts(call: &Value) -> InterruptionCounts {
    analysis(call).interruptions
}

#[test]
fn times_alone_tell_an_interruption() {
    let found = counts(&overlapping(1000, 2000, "no wait"));
    assert_eq!(
        (found.overlaps, found.interruptions, found.derived),
        (1, 1, 1)
    );
    assert_eq!((found.judged_stops, found.false_interruptions), (1, 0));
    assert_eq!(found.stop_ms.mean(), Some(1000.0));
    assert_eq!(
        (found.recovered, found.real_overlaps, found.missed_barge_ins),
        (1, 1, 0)
    );
    // The user ends a second after the agent did; the next answer comes by its own time.
    assert_eq!(found.post_interruption_ms.count(), 1);
    // 9 words in 3.2 s.
    assert!(found.bleed_through_words.max() >= Some(2.0));
    assert_eq!(found.bleed_through_estimated, 1);
    assert_eq!(found.detection_ms.count(), 0);
}

#[test]
fn an_agent_that_was_ending_anyway_is_inconclusive() {
    let ending = counts(&overlapping(499, 2000, "no wait"));
    assert_eq!(
        (ending.overlaps, ending.interruptions, ending.inconclusive),
        (1, 0, 1)
    );
    let not_yet = counts(&overlapping(500, 2000, "no wait"));
    assert_eq!((not_yet.interruptions, not_yet.inconclusive), (1, 0));
}

#[test]
fn one_word_or_a_sign_of_listening_is_no_interruption() {
    for text in ["wait", "mm-hmm yeah"] {
        let found = counts(&overlapping(1000, 700, text));
        assert_eq!(
            (found.overlaps, found.interruptions, found.real_overlaps),
            (1, 0, 0),
            "{text}"
        );
    }
}

#[test]
fn talking_through_is_missed() {
    let found = counts(&overlapping(2500, 1500, "no wait please"));
    assert_eq!(
        (
            found.real_overlaps,
            found.missed_barge_ins,
            found.interruptions
        ),
        (1, 1, 0)
    );
    assert_eq!(found.missed_barge_in_rate(), Some(1.0));
}

#[test]
fn words_with_times_are_counted_exactly() {
    let mut call = overlapping(1000, 2000, "no wait");
    let end = call["turns"][3]["endMs"].as_i64().unwrap();
    let onset = end - 1000;
    call["turns"][3]["words"] = [onset - 200, onset, onset + 1, onset + 400, onset + 900]
        .iter()
        .map(|at| json!({"word": "x", "startMs": at, "endMs": at + 100}))
        .collect();
    call["interruptions"] = json!([{"turn": 3, "atMs": onset, "decidedAtMs": onset + 300,
        "audioStoppedMs": onset + 800}]);
    let found = counts(&call);
    assert_eq!((found.interruptions, found.derived), (1, 0));
    assert_eq!(found.bleed_through_words.total(), 2.0);
    assert_eq!(found.bleed_through_estimated, 0);
    assert_eq!(found.detection_ms.mean(), Some(300.0));
    assert_eq!(found.stop_ms.mean(), Some(800.0));
    assert_eq!(found.stop_after_decision_ms.mean(), Some(500.0));
}

#[test]
fn what_a_program_stopped_the_user_did_not() {
    let mut call = overlapping(1000, 2000, "no wait");
    call["interruptions"] = json!([{"turn": 3, "source": "programmatic"}]);
    let found = counts(&call);
    assert_eq!((found.overlaps, found.interruptions), (1, 0));
    // A call that ends cuts off the last turn.
    let mut call = clean(3);
    call["turns"][5]["interrupted"] = json!(true);
    assert_eq!(counts(&call).interruptions, 0);
}

#[test]
fn a_report_without_times_is_an_interruption() {
    let mut call = clean(2);
    call["interruptions"] =
        json!([{"stopMs": 420, "detectionMs": 200, "bleedThroughWords": 1, "isFalse": true}]);
    let found = counts(&call);
    assert_eq!(
        (
            found.interruptions,
            found.judged_stops,
            found.false_interruptions
        ),
        (1, 1, 1)
    );
    assert_eq!(found.stop_ms.mean(), Some(420.0));
    assert_eq!(found.false_interruption_rate(), Some(1.0));
}

#[test]
fn what_nobody_heard_nobody_broke_into() {
    let mut call = clean(4);
    let at = call["turns"][4]["startMs"].as_i64().unwrap();
    let thrown = json!({"index": 9, "speaker": "agent", "startMs": at - 50, "endMs": at + 300,
        "interrupted": true, "cancelled": true});
    call["turns"].as_array_mut().unwrap().push(thrown);
    call["interruptions"] = json!([{"turn": 9, "atMs": at, "source": "user"}]);
    assert_eq!(counts(&call).interruptions, 0);
}

#[test]
fn when_the_agent_stopped_is_no_word_on_when_the_user_began() {
    let mut call = overlapping(1000, 2000, "no wait");
    let end = call["turns"][3]["endMs"].as_i64().unwrap();
    call["turns"][3]["interrupted"] = json!(true);
    for report in [
        json!({"turn": 3, "atMs": end}),
        json!({"turn": 3, "atMs": end - 50, "estimated": true}),
        json!({"turn": 3}),
    ] {
        call["interruptions"] = json!([report]);
        let found = counts(&call);
        assert_eq!((found.interruptions, found.derived), (1, 1), "{report}");
        assert_eq!(found.stop_ms.mean(), Some(1000.0), "{report}");
        assert_eq!(found.bleed_through_words.total(), 2.0, "{report}");
    }
    // An onset that the source tells stays what it is.
    call["interruptions"] = json!([{"turn": 3, "atMs": end - 1100}]);
    assert_eq!(counts(&call).stop_ms.mean(), Some(1100.0));
    call["interruptions"] = json!([{"turn": 3, "atMs": end, "stopMs": 640, "detectionMs": 200}]);
    let told = counts(&call);
    assert_eq!((told.stop_ms.mean(), told.derived), (Some(640.0), 0));
}

#[test]
fn a_stop_whose_beginning_nobody_knows_took_nobody_knows_how_long() {
    let mut call = clean(4);
    let end = call["turns"][3]["endMs"].as_i64().unwrap();
    call["turns"][3]["interrupted"] = json!(true);
    call["turns"][4]["startMs"] = json!(end);
    for at in [json!(end), json!(null)] {
        call["interruptions"] = json!([{"turn": 3, "atMs": at}]);
        let found = counts(&call);
        assert_eq!(
            (found.interruptions, found.derived, found.judged_stops),
            (1, 0, 1)
        );
        assert_eq!(
            (found.stop_ms.count(), found.bleed_through_words.count()),
            (0, 0)
        );
        // What the user then said and when the agent was heard again is known.
        assert_eq!(found.post_interruption_ms.mean(), Some(900.0));
        assert_eq!(found.recovered, 1);
    }
}

#[test]
fn an_answer_that_nobody_hears_is_no_recovery() {
    for (name, value) in silent() {
        let mut call = overlapping(1000, 2000, "no wait");
        call["turns"][5][name] = value.clone();
        let found = counts(&call);
        assert_eq!((found.interruptions, found.recovered), (1, 0), "{name}");
        assert_eq!(found.post_interruption_ms.count(), 0, "{name}");
    }
}

#[test]
fn nobody_speaks_over_a_silent_turn() {
    for (name, value) in silent() {
        let mut call = overlapping(2500, 1500, "no wait please");
        call["turns"][3][name] = value.clone();
        let found = counts(&call);
        assert_eq!((found.overlaps, found.missed_barge_ins), (0, 0), "{name}");
        // Nor does it begin too early.
        let mut call = clean(4);
        let asked_end = call["turns"][2]["endMs"].as_i64().unwrap();
        call["turns"][3]["startMs"] = json!(asked_end - 500);
        call["turns"][3][name] = value;
        let found = counts(&call);
        assert_eq!(
            (found.overlaps_by_agent, found.agent_interrupts),
            (0, 0),
            "{name}"
        );
    }
}

/// The second answer is told to begin 700 ms after the question, and first heard 1300 ms after; the user goes on
/// in between.
fn before_the_first_sound(ms: i64) -> Value {
    let mut call = clean(4);
    let asked_end = call["turns"][2]["endMs"].as_i64().unwrap();
    call["turns"][3]["startMs"] = json!(asked_end + 700);
    call["turns"][3]["firstAudioMs"] = json!(asked_end + 1300);
    call["turns"][4]["startMs"] = json!(asked_end + 1000);
    call["turns"][4]["endMs"] = json!(asked_end + 1000 + ms);
    call
}

#[test]
fn who_speaks_before_the_first_sound_speaks_over_nobody() {
    let found = analysis(&before_the_first_sound(250));
    assert_eq!(
        (
            found.interruptions.overlaps,
            found.interruptions.agent_interrupts
        ),
        (0, 0)
    );
    assert_eq!(found.interruptions.missed_barge_ins, 0);
    // The agent was first heard while the user still spoke: it cut in.
    let found = analysis(&before_the_first_sound(2000));
    let counts = &found.interruptions;
    assert_eq!((counts.overlaps, counts.overlaps_by_agent), (0, 1));
    assert_eq!((counts.agent_interrupts, counts.missed_barge_ins), (1, 0));
    let early = found
        .issues
        .iter()
        .find(|i| i.kind == IssueType::PrematureResponse);
    let early = early.expect("an issue");
    assert_eq!(
        early.description,
        "The agent began before the user had ended; both spoke for 1.7s."
    );
}

#[test]
fn what_was_thrown_away_is_no_turn_of_the_agent() {
    let mut call = clean(5);
    for n in 0..3 {
        let thrown = json!({"index": 20 + n, "speaker": "agent", "cancelled": true, "startMs": 5000 * n, "endMs": 5000 * n + 10});
        call["turns"].as_array_mut().unwrap().push(thrown);
    }
    assert_eq!(counts(&call).agent_turns, 5);
}
