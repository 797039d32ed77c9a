//! The agent stopped for nothing.

use super::super::issue::{Issue, IssueType, Severity};
use super::super::stop::Stop;
use super::super::view::View;
use super::tell::time;

/// A single one is no rate.
const MAJOR_MIN: u64 = 2;

pub fn find(view: &View) -> Vec<Issue> {
    let interruptions = &view.interruptions;
    let counts = &interruptions.counts;
    let is_often = counts.false_interruption_rate() > Some(view.targets.interruption.false_rate)
        && counts.false_interruptions >= MAJOR_MIN;
    let severity = if is_often {
        Severity::Major
    } else {
        Severity::Minor
    };
    let wrong = interruptions
        .stops
        .iter()
        .filter(|stop| stop.is_false == Some(true));
    wrong.map(|stop| tell(view, stop, severity)).collect()
}

fn tell(view: &View, stop: &Stop, severity: Severity) -> Issue {
    let counts = &view.interruptions.counts;
    let why = if stop.is_backchannel {
        "the user only showed to be listening"
    } else {
        "no words of the user followed"
    };
    // One that went on within its turn has been silent for so long, whoever spoke after it.
    let told = |name: &str| stop.reported?.extra.get(name)?.as_f64();
    let paused = told("audioStoppedMs").zip(told("resumedAtMs"));
    let paused = paused.filter(|(stopped, resumed)| stopped <= resumed);
    let ended_ms = || view.turns[stop.agent?].end_ms;
    let stopped_ms = paused.map(|(stopped, _)| stopped).or_else(ended_ms);
    let went_on_ms = || {
        let place = stop.agent?;
        let (_, next) = view
            .next_agent(place)
            .filter(|(_, next)| !next.is_silent())?;
        Some(next.start_ms? - view.turns[place].end_ms?).filter(|ms| *ms >= 0.0)
    };
    let resumed_ms = paused.map(|(stopped, resumed)| resumed - stopped);
    let resumed_ms = resumed_ms.or_else(went_on_ms);
    // Whoever speaks first ends what the stop cost.
    let user_ms = stop.agent.filter(|_| paused.is_none()).and_then(|place| {
        let end = view.turns[place].end_ms?;
        let mut later = view.turns[place + 1..].iter().filter(|turn| turn.is_user());
        later.find_map(|turn| Some(turn.start_ms? - end).filter(|ms| *ms >= 0.0))
    });
    let is_first = |ms: &f64| user_ms.is_none_or(|user| *ms <= user);
    let silence = resumed_ms
        .filter(is_first)
        .map(|ms| format!("; the agent went on {} later", time(ms)));
    let description = format!(
        "The agent stopped speaking, but {why}{} ({} of {} stops in this call).",
        silence.unwrap_or_default(),
        counts.false_interruptions,
        counts.judged_stops
    );
    let silence_ms = resumed_ms.into_iter().chain(user_ms).reduce(f64::min);
    let mut issue = Issue::new(IssueType::FalseInterruption, severity, description)
        .costs(silence_ms)
        .until(stopped_ms.zip(silence_ms).map(|(stopped, ms)| stopped + ms))
        .shows("backchannel", stop.is_backchannel)
        .shows("falseInterruptions", counts.false_interruptions)
        .shows("stops", counts.judged_stops)
        .measures("resumedAfterMs", resumed_ms)
        .advise("Ask for more words or a longer sound before the agent stops, cancel echoes, and resume where nothing follows.");
    if let Some(place) = stop.agent {
        issue = issue.of_turn(&view.turns[place]);
    }
    issue.at(stop.at_ms(view))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::FalseInterruption;

    /// The agent's second turn stops after a second, for a sound of the user.
    fn stopped(words_after: Option<(i64, &str)>) -> Value {
        let mut call = clean(4);
        let start = call["turns"][3]["startMs"].as_i64().unwrap();
        call["turns"][3]["endMs"] = json!(start + 1500);
        call["turns"][3]["interrupted"] = json!(true);
        call["interruptions"] = json!([{"turn": 3, "atMs": start + 1000}]);
        if let Some((after, text)) = words_after {
            call["turns"]
                .as_array_mut()
                .unwrap()
                .push(json!({"index": 90, "speaker": "user",
                "text": text, "startMs": start + 1000 + after, "endMs": start + 1500 + after}));
        }
        call
    }

    #[test]
    fn a_stop_without_words_is_false() {
        let issue = issue(&stopped(None), KIND);
        assert!(
            issue
                .description
                .starts_with("The agent stopped speaking, but no words of the user followed")
        );
        assert_eq!((issue.turn, issue.severity), (Some(3), Severity::Minor));
        assert!(found(&stopped(Some((2000, "no wait"))), KIND).is_empty());
        assert_eq!(found(&stopped(Some((2001, "no wait"))), KIND).len(), 1);
        let listening = super::super::super::fixture::issue(&stopped(Some((0, "mm-hmm"))), KIND);
        assert!(
            listening
                .description
                .contains("only showed to be listening")
        );
    }

    #[test]
    fn words_that_were_written_down_later_may_have_stopped_it() {
        let mut call = stopped(Some((2001, "no wait")));
        let turns = call["turns"].as_array_mut().unwrap();
        let words = turns.last_mut().unwrap();
        words["metadata"] = json!({"untimed": true});
        words["endMs"] = json!(null);
        let start = words["startMs"].as_i64().unwrap();
        turns.retain(|turn| turn["speaker"] == "agent" || turn["startMs"].as_i64() <= Some(start));
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn an_answer_that_went_on_was_silent_until_then() {
        let mut call = clean(4);
        let start = call["turns"][3]["startMs"].as_i64().unwrap();
        call["interruptions"] = json!([{"turn": 3, "atMs": start + 200, "isFalse": true,
            "audioStoppedMs": start + 300, "resumedAtMs": start + 700}]);
        let issue = issue(&call, KIND);
        assert_eq!(issue.impact_ms, Some(400));
        assert!(issue.description.contains("the agent went on 400ms later"));
    }

    #[test]
    fn what_the_source_says_counts() {
        let mut call = stopped(Some((0, "no wait")));
        call["interruptions"][0]["isFalse"] = json!(true);
        assert_eq!(found(&call, KIND).len(), 1);
        let mut call = stopped(None);
        call["interruptions"][0]["isFalse"] = json!(false);
        assert!(found(&call, KIND).is_empty());
        call["interruptions"][0] = json!({"turn": 3, "atMs": 8000, "source": "programmatic"});
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn often_is_major() {
        let mut call = stopped(None);
        let start = call["turns"][5]["startMs"].as_i64().unwrap();
        call["turns"][5]["endMs"] = json!(start + 900);
        call["interruptions"]
            .as_array_mut()
            .unwrap()
            .push(json!({"turn": 5, "atMs": start + 500}));
        let found = found(&call, KIND);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|issue| issue.severity == Severity::Major));
    }
}
