//! An agent that begins before the user has ended.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::overlap::Premature;
use super::super::view::View;
use super::tell::time;

/// From so many on it is the way the agent is set up.
const MAJOR_FROM: usize = 3;

pub fn find(view: &View) -> Vec<Issue> {
    let all = view.interruptions.premature.iter().enumerate();
    all.map(|(n, premature)| tell(view, premature, n + 1))
        .collect()
}

fn tell(view: &View, premature: &Premature, nth: usize) -> Issue {
    let (agent, user) = (&view.turns[premature.agent], &view.turns[premature.user]);
    let description = match (premature.cut_in_ms, premature.goes_on_after_ms) {
        (_, Some(ms)) => format!(
            "The user went on speaking {} after the agent had begun.",
            time(ms)
        ),
        (Some(ms), None) => format!(
            "The agent began before the user had ended; both spoke for {}.",
            time(ms)
        ),
        (None, None) => "The agent began before the user had ended.".to_owned(),
    };
    let severity = if nth >= MAJOR_FROM {
        Severity::Major
    } else {
        Severity::Minor
    };
    let configured = view.input.session.extra.get("configuredEndpointingMs");
    Issue::new(IssueType::PrematureResponse, severity, description)
        .of_turn(agent)
        .in_stage(Some(Stage::Endpointing))
        .shows("userTurn", user.turn.index)
        .shows("occurrence", nth)
        .measures("overlapMs", premature.cut_in_ms)
        .measures("wentOnAfterMs", premature.goes_on_after_ms)
        .measures("endpointingMs", agent.turn.endpointing_ms)
        .measures("configuredEndpointingMs", configured.and_then(|ms| ms.as_f64()))
        .advise("Raise the minimum endpointing delay, or use a turn-detection model that waits where a sentence is not complete.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, delay, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::PrematureResponse;

    #[test]
    fn beginning_before_the_end_is_premature() {
        let mut call = clean(3);
        delay(&mut call, 3, -901);
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "The agent began before the user had ended; both spoke for 1ms."
        );
        assert_eq!((issue.turn, issue.severity), (Some(3), Severity::Minor));
        delay(&mut call, 3, 1);
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn the_third_is_major() {
        let mut call = clean(4);
        for n in [1, 3, 5] {
            delay(&mut call, n, -1000);
        }
        let mut severities: Vec<Severity> = found(&call, KIND)
            .iter()
            .map(|issue| issue.severity)
            .collect();
        severities.sort();
        assert_eq!(
            severities,
            [Severity::Major, Severity::Minor, Severity::Minor]
        );
    }

    #[test]
    fn a_user_who_goes_on_had_not_ended() {
        for (after, is_premature) in [(1000, true), (1001, false)] {
            let mut call = clean(3);
            let start = call["turns"][3]["startMs"].as_i64().unwrap();
            call["turns"][4]["startMs"] = json!(start + after);
            assert_eq!(!found(&call, KIND).is_empty(), is_premature, "{after}");
            call["turns"][4]["text"] = json!("mm-hmm");
            assert!(found(&call, KIND).is_empty());
        }
    }

    #[test]
    fn who_writes_or_spoke_at_no_known_time_does_not_go_on_speaking() {
        for (turn, mark) in [(2, "typed"), (4, "typed"), (4, "untimed")] {
            let mut call = clean(3);
            let start = call["turns"][3]["startMs"].as_i64().unwrap();
            call["turns"][4]["startMs"] = json!(start + 500);
            call["turns"][4]["endMs"] = json!(start + 500);
            call["turns"][turn]["metadata"] = json!({ mark: true });
            assert!(found(&call, KIND).is_empty(), "{turn} {mark}");
        }
    }
}
