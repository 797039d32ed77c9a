//! The agent stopped when the user spoke, but late.

use super::super::issue::{Issue, IssueType, Severity};
use super::super::stop::Stop;
use super::super::view::View;
use super::tell::{time, time_beside};

pub fn find(view: &View) -> Vec<Issue> {
    let interruptions = &view.interruptions;
    let is_missed = |stop: &Stop| {
        let same = |missed: &super::super::overlap::Missed| Some(missed.user) == stop.user;
        stop.user.is_some() && interruptions.missed.iter().any(same)
    };
    let wanted = interruptions
        .stops
        .iter()
        .filter(|stop| stop.is_false != Some(true));
    wanted
        .filter(|stop| !is_missed(stop))
        .filter_map(|stop| of_stop(view, stop))
        .collect()
}

fn of_stop(view: &View, stop: &Stop) -> Option<Issue> {
    let target = f64::from(view.targets.interruption.stop_p95_ms);
    let ms = stop.stop_ms.filter(|ms| *ms > target)?;
    let after_decision = stop.after_decision_ms();
    let half = match (stop.detection_ms, after_decision) {
        (Some(detection), Some(stopping)) if detection >= stopping => {
            format!("; noticing it took {} of that", time(detection))
        }
        (Some(_), Some(stopping)) => format!("; stopping took {} of that", time(stopping)),
        _ => String::new(),
    };
    let description = format!(
        "The agent was still heard {} after the user had begun to speak (target: <{}){half}.",
        time_beside(ms, target),
        time(target)
    );
    let noticing = stop
        .detection_ms
        .zip(after_decision)
        .is_some_and(|(d, s)| d >= s);
    let advice = if noticing {
        "Lower the speech duration or number of words that an interruption takes, and use a faster voice activity detection."
    } else {
        "Stop playing at once: clear the audio that the telephony side has buffered, and send it in smaller pieces."
    };
    let mut issue = Issue::new(IssueType::SlowBargeInStop, Severity::Major, description)
        .costs(Some(ms - target))
        .until(stop.onset_ms.map(|onset| onset + ms))
        .measures("stopMs", Some(ms))
        .measures("targetMs", Some(target))
        .measures("detectionMs", stop.detection_ms)
        .measures("stopAfterDecisionMs", after_decision)
        .measures("bleedThroughWords", stop.words)
        .shows("derived", stop.is_derived)
        .advise(advice);
    if let Some(agent) = stop.agent {
        issue = issue.of_turn(&view.turns[agent]);
    }
    Some(issue.at(stop.onset_ms))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::SlowBargeInStop;

    fn interrupted(stop_ms: f64, detection_ms: f64) -> Value {
        let mut call = clean(4);
        let end = call["turns"][3]["endMs"].as_i64().unwrap();
        call["turns"][3]["interrupted"] = json!(true);
        call["turns"][4]["startMs"] = json!(end - 700);
        call["interruptions"] = json!([{"turn": 3, "atMs": end - 700,
            "stopMs": stop_ms, "detectionMs": detection_ms}]);
        call
    }

    #[test]
    fn it_says_which_half_was_slow() {
        let stopping = issue(&interrupted(1400.0, 400.0), KIND);
        assert_eq!(
            stopping.description,
            "The agent was still heard 1.4s after the user had begun to speak (target: <800ms); stopping took 1s of that."
        );
        assert_eq!((stopping.turn, stopping.impact_ms), (Some(3), Some(600)));
        let noticing = issue(&interrupted(1400.0, 900.0), KIND);
        assert!(
            noticing
                .description
                .ends_with("noticing it took 900ms of that.")
        );
    }

    #[test]
    fn on_the_target_is_in_time() {
        assert!(found(&interrupted(800.0, 300.0), KIND).is_empty());
        assert_eq!(found(&interrupted(801.0, 300.0), KIND).len(), 1);
    }

    #[test]
    fn from_times_alone() {
        let mut call = clean(4);
        let end = call["turns"][3]["endMs"].as_i64().unwrap();
        call["turns"][4]["startMs"] = json!(end - 1200);
        let issue = issue(&call, KIND);
        assert_eq!(issue.evidence["stopMs"], 1200);
        assert_eq!(issue.evidence["derived"], true);
    }
}
