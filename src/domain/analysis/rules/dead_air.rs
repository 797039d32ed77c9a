//! A silence that nobody ended for too long.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::silence::{Silence, allowed_ms};
use super::super::view::View;
use super::tell::{time, time_beside};
use crate::domain::turn::Speaker;

pub fn find(view: &View) -> Vec<Issue> {
    view.silences
        .iter()
        .map(|silence| tell(view, silence))
        .collect()
}

fn tell(view: &View, silence: &Silence) -> Issue {
    let (ms, allowed) = (silence.ms(), allowed_ms(silence, view.targets));
    let after = match silence.after {
        Some(Speaker::User) => "after the user had spoken",
        Some(Speaker::Agent) => "after the agent had spoken",
        None => "before the first word",
    };
    let cause = waited_for(view, silence);
    let stage = cause.map(|(stage, _)| stage);
    let because = match cause {
        Some((Stage::Unexplained, _)) | None => String::new(),
        Some((stage, ms)) => format!("; {} took {} of it", stage.title(), time(ms)),
    };
    let description = format!(
        "Nobody spoke for {} {after} (limit: {}){because}.",
        time_beside(ms, allowed),
        time(allowed)
    );
    let is_critical = ms > f64::from(view.targets.thresholds.dead_air_critical_ms);
    let severity = if is_critical {
        Severity::Critical
    } else {
        Severity::Major
    };
    let advice = match (stage, silence.after) {
        (Some(stage), _) => super::high_latency::advice(stage),
        (None, Some(Speaker::Agent)) => {
            "Ask again, or say what the caller can do, after a few seconds without an answer."
        }
        (None, _) => {
            "Say a filler or a lead-in where an answer takes longer, and an apology where none comes."
        }
    };
    let mut issue = Issue::new(IssueType::DeadAir, severity, description)
        .in_stage(stage)
        .at(Some(silence.from_ms))
        .costs(Some(ms - allowed))
        .until(Some(silence.to_ms))
        .measures("silenceMs", Some(ms))
        .measures("limitMs", Some(allowed))
        .advise(advice);
    if let Some((stage, ms)) = cause {
        let latency = silence.turn_after.and_then(|turn| view.latency_of(turn));
        issue = issue.measures("stageMs", Some(ms)).by(latency
            .map(|latency| latency.named(stage))
            .unwrap_or_default());
    }
    issue.turn = silence.turn_after.or(silence.turn_before);
    issue
}

/// What the answer that ended a silence had waited for most, and for how long.
pub fn waited_for(view: &View, silence: &Silence) -> Option<(Stage, f64)> {
    let latency = view.latency_of(silence.turn_after?)?;
    let is_known = !latency.segments.is_empty();
    view.wait_of(latency)
        .dominant()
        .filter(|_| is_known && silence.after == Some(Speaker::User))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::fixture::{analysis, clean, delay, found, issue, silent};
    use super::*;

    const KIND: IssueType = IssueType::DeadAir;

    #[test]
    fn after_the_user_three_seconds_are_the_limit() {
        let mut call = clean(3);
        delay(&mut call, 3, 2100);
        assert!(found(&call, KIND).is_empty());
        delay(&mut call, 3, 1000);
        call["turns"][3]["latencyMs"] = json!(4000);
        call["turns"][3]["llmMs"] = json!(3200);
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "Nobody spoke for 4s after the user had spoken (limit: 3s); LLM took 3.2s of it."
        );
        assert_eq!((issue.turn, issue.stage), (Some(3), Some(Stage::Llm)));
        assert_eq!(
            (issue.severity, issue.impact_ms),
            (Severity::Major, Some(1000))
        );
    }

    #[test]
    fn after_the_agent_five_and_fifteen_are_critical() {
        for (pause, expected) in [
            (5000, None),
            (5001, Some(Severity::Major)),
            (15_000, Some(Severity::Major)),
            (15_001, Some(Severity::Critical)),
        ] {
            let mut call = clean(3);
            delay(&mut call, 2, pause - 700);
            let found = found(&call, KIND);
            assert_eq!(
                found.first().map(|issue| issue.severity),
                expected,
                "{pause}"
            );
        }
    }

    #[test]
    fn an_answer_of_which_only_the_beginning_is_known_ends_a_silence() {
        let mut call = clean(3);
        let last = call["turns"][5]["startMs"].as_i64().unwrap();
        call["turns"][5]["endMs"] = json!(last);
        let ended = chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::milliseconds(last + 4000);
        call["session"]["endedAt"] = json!(ended.to_rfc3339());
        assert_eq!(found(&call, KIND).len(), 1, "nobody says that it was heard");
        call["turns"][5]["firstAudioMs"] = json!(last);
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn nobody_knows_how_long_a_silence_was_behind_words_whose_end_nobody_knows() {
        let mut call = clean(3);
        delay(&mut call, 2, 6000);
        delay(&mut call, 3, 6000);
        assert_eq!(found(&call, KIND).len(), 2);
        call["turns"][2].as_object_mut().unwrap().remove("endMs");
        // The silence before them is known all the same.
        assert_eq!(issue(&call, KIND).turn, Some(2));
    }

    #[test]
    fn the_silence_at_the_end_counts_as_any_other() {
        for (pause, is_found) in [(4999, false), (5000, false), (5001, true)] {
            let mut call = clean(3);
            let end = call["turns"][5]["endMs"].as_i64().unwrap() + pause;
            let ended = chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::milliseconds(end);
            call["session"]["endedAt"] = json!(ended.to_rfc3339());
            let found = found(&call, KIND);
            assert_eq!(!found.is_empty(), is_found, "{pause}");
            assert!(found.iter().all(|issue| issue.turn == Some(5)));
        }
        // The user's last word may be followed by three seconds.
        for (pause, is_found) in [(3000, false), (3001, true)] {
            let mut call = clean(3);
            call["turns"].as_array_mut().unwrap().pop();
            let end = call["turns"][4]["endMs"].as_i64().unwrap() + pause;
            let ended = chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::milliseconds(end);
            call["session"]["endedAt"] = json!(ended.to_rfc3339());
            assert_eq!(!found(&call, KIND).is_empty(), is_found, "{pause}");
        }
    }

    #[test]
    fn sound_without_words_is_no_silence() {
        let mut call = clean(3);
        delay(&mut call, 2, 6000);
        let from = call["turns"][1]["endMs"].as_i64().unwrap() + 3000;
        assert_eq!(found(&call, KIND).len(), 1);
        call["speech"] = json!([{"speaker": "user", "startMs": from, "endMs": from + 900}]);
        assert!(found(&call, KIND).is_empty());
    }

    /// The second question is followed by 7.2 s of silence, in which the agent "speaks".
    fn unheard(name: &str, value: &Value) -> Value {
        let mut call = clean(4);
        delay(&mut call, 4, 2400);
        call["turns"][3][name] = value.clone();
        call
    }

    #[test]
    fn a_turn_that_nobody_hears_fills_no_silence() {
        for (name, value) in silent() {
            let call = unheard(name, &value);
            let silence = issue(&call, KIND);
            assert_eq!(
                (silence.turn, silence.impact_ms),
                (Some(4), Some(4200)),
                "{name}"
            );
            assert_eq!(
                silence.description,
                "Nobody spoke for 7.2s after the user had spoken (limit: 3s)."
            );
            let failed = issue(&call, IssueType::FailedTurn);
            assert_eq!(
                (failed.turn, failed.impact_ms),
                (Some(3), Some(5700)),
                "{name}"
            );
            assert_eq!(analysis(&call).lost_ms, 5700, "{name}");
        }
    }

    #[test]
    fn what_was_heard_before_it_failed_was_heard() {
        let mut call = unheard("failed", &json!(true));
        call["turns"][3]["playedMs"] = json!(1200);
        // 900 ms until it began, and 5.1 s after it broke off.
        let silence = issue(&call, KIND);
        assert_eq!(silence.impact_ms, Some(100));
        let failed = issue(&call, IssueType::FailedTurn);
        assert_eq!(
            (failed.description.as_str(), failed.impact_ms),
            ("The agent's turn failed.", Some(0))
        );
    }

    #[test]
    fn who_writes_takes_time_and_waits_all_the_same() {
        let mut call = clean(3);
        delay(&mut call, 2, 20_000);
        assert_eq!(found(&call, KIND).len(), 1);
        call["turns"][2]["metadata"] = json!({"typed": true});
        assert!(found(&call, KIND).is_empty());
        delay(&mut call, 3, 5000);
        assert_eq!(issue(&call, KIND).turn, Some(3));
    }

    #[test]
    fn what_was_said_at_no_known_time_is_no_silence() {
        let mut call = clean(3);
        delay(&mut call, 2, 6000);
        call["turns"][2]["endMs"] = Value::Null;
        assert_eq!(found(&call, KIND).len(), 1);
        call["turns"][2]["metadata"] = json!({"untimed": true});
        assert!(found(&call, KIND).is_empty());
        // The agent's too: somebody answered.
        let mut call = clean(3);
        delay(&mut call, 3, 6000);
        call["turns"][3]["endMs"] = Value::Null;
        assert_eq!(found(&call, KIND).len(), 1);
        call["turns"][3]["metadata"] = json!({"untimed": true});
        assert!(found(&call, KIND).is_empty());
    }
}
