//! The user spoke over the agent, who talked on.

use super::super::issue::{Issue, IssueType, Severity};
use super::super::overlap::Missed;
use super::super::view::View;
use super::tell::{count, excerpt, time};

pub fn find(view: &View) -> Vec<Issue> {
    view.interruptions
        .missed
        .iter()
        .map(|missed| tell(view, missed))
        .collect()
}

fn tell(view: &View, missed: &Missed) -> Issue {
    let (agent, user) = (&view.turns[missed.agent], &view.turns[missed.user]);
    let target = f64::from(view.targets.interruption.stop_p95_ms);
    let description = format!(
        "The agent talked on for {} after the user had begun to speak; {} of the user's {} spoken over.",
        time(missed.talked_on_ms),
        count(user.words.len(), "word"),
        if user.words.len() == 1 { "was" } else { "were" }
    );
    let said = user.turn.text.as_deref().unwrap_or_default();
    Issue::new(IssueType::MissedBargeIn, Severity::Major, description)
        .of_turn(agent)
        .at(Some(missed.onset_ms))
        .costs(Some(missed.talked_on_ms - target))
        .until(Some(missed.onset_ms + missed.talked_on_ms))
        .shows("userTurn", user.turn.index)
        .shows("words", user.words.len())
        .measures("talkedOnMs", Some(missed.talked_on_ms))
        .measures("overlapMs", Some(missed.overlap_ms))
        .advise("Allow interruptions in this turn, and clear the audio that the telephony side has buffered when the user speaks.")
        .quotes(format!("The user said \"{}\".", excerpt(said)), "text", excerpt(said))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::MissedBargeIn;

    /// The third question begins so long before the end of the second answer, which lasts longer.
    fn spoken_over(before_end: i64, ms: i64, text: &str) -> Value {
        let mut call = clean(4);
        let end = call["turns"][3]["endMs"].as_i64().unwrap();
        let user = &mut call["turns"][4];
        user["startMs"] = json!(end - before_end);
        user["endMs"] = json!(end - before_end + ms);
        user["text"] = json!(text);
        call
    }

    #[test]
    fn talking_on_over_real_speech_is_missed() {
        let issue = issue(&spoken_over(2100, 1500, "no wait please"), KIND);
        assert_eq!(
            issue.description,
            "The agent talked on for 2.1s after the user had begun to speak; 3 words of the user's were spoken over."
        );
        assert_eq!((issue.turn, issue.impact_ms), (Some(3), Some(1300)));
        assert!(issue.description_for(true).contains("no wait please"));
    }

    #[test]
    fn an_agent_that_stops_so_late_has_missed_it_whatever_its_source_says() {
        for (before_end, is_missed) in [(1499, false), (1500, true), (1900, true)] {
            let mut call = spoken_over(before_end, 3000, "no wait please");
            call["turns"][3]["interrupted"] = json!(true);
            assert_eq!(!found(&call, KIND).is_empty(), is_missed, "{before_end}");
            // Told once: as missed, or as slow.
            let slow = found(&call, IssueType::SlowBargeInStop);
            assert_eq!(slow.is_empty(), is_missed, "{before_end}");
        }
        // It stopped at once, as its source measured; its text goes on.
        let mut call = spoken_over(2500, 3000, "no wait please");
        call["turns"][3]["interrupted"] = json!(true);
        call["interruptions"] = json!([{"turn": 3, "stopMs": 400}]);
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn its_bounds() {
        let is_missed = |call: Value| !found(&call, KIND).is_empty();
        assert!(is_missed(spoken_over(1500, 700, "no wait")));
        assert!(!is_missed(spoken_over(1499, 700, "no wait")));
        assert!(is_missed(spoken_over(2500, 600, "no wait")));
        assert!(!is_missed(spoken_over(2500, 599, "no wait")));
        assert!(!is_missed(spoken_over(2500, 700, "wait")));
        assert!(!is_missed(spoken_over(2500, 700, "yeah okay")));
    }
}
