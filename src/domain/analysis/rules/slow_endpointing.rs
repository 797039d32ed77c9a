//! The end of the user's turn was decided late, in a turn that was not slow because of it.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::view::View;
use super::super::wait::Wait;
use super::tell::{time, time_beside};

pub fn find(view: &View) -> Vec<Issue> {
    view.waits()
        .filter_map(|wait| of_turn(view, &wait))
        .collect()
}

fn of_turn(view: &View, wait: &Wait) -> Option<Issue> {
    let target = f64::from(view.targets.stages.endpointing_ms);
    let ms = wait
        .stage_ms(Stage::Endpointing)
        .filter(|ms| *ms > target)?;
    let is_slow = wait.ms > Some(f64::from(view.targets.turn.target_ms));
    if is_slow
        && wait
            .dominant()
            .is_some_and(|(stage, _)| stage == Stage::Endpointing)
    {
        return None;
    }
    let spoken = &view.turns[view.place_of(wait.latency.turn)?];
    let probability = spoken.number("eouProbability");
    let configured = view.input.session.extra.get("configuredEndpointingMs");
    let sure = probability.map(|p| format!(", at an end-of-turn probability of {p:.2}"));
    let description = format!(
        "The end of the user's turn was decided after {} (target: <{}){}.",
        time_beside(ms, target),
        time(target),
        sure.unwrap_or_default()
    );
    let issue = Issue::new(IssueType::SlowEndpointing, Severity::Minor, description)
        .of_turn(spoken)
        .in_stage(Some(Stage::Endpointing))
        .costs(Some(ms - target))
        .until(spoken.start_ms)
        .measures("endpointingMs", Some(ms))
        .measures("targetMs", Some(target))
        .measures(
            "configuredEndpointingMs",
            configured.and_then(|ms| ms.as_f64()),
        )
        .advise(super::high_latency::advice(Stage::Endpointing));
    Some(match probability {
        Some(probability) => issue.shows("eouProbability", probability),
        None => issue,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::SlowEndpointing;

    #[test]
    fn it_is_told_where_it_dominates_no_slow_turn() {
        let mut call = clean(3);
        call["turns"][3]["endpointingMs"] = json!(1001);
        call["turns"][3]["eouProbability"] = json!(0.31);
        call["turns"][3]["latencyMs"] = json!(1500);
        call["turns"][3]["sttMs"] = json!(49);
        call["turns"][3]["llmMs"] = json!(250);
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "The end of the user's turn was decided after 1001ms (target: <1s), at an end-of-turn probability of 0.31."
        );
        assert_eq!((issue.turn, issue.impact_ms), (Some(3), Some(1)));
        call["turns"][3]["endpointingMs"] = json!(1000);
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn a_slow_turn_tells_of_it_itself() {
        let mut call = clean(3);
        call["turns"][3]["endpointingMs"] = json!(1600);
        call["turns"][3]["latencyMs"] = json!(2300);
        assert!(found(&call, KIND).is_empty());
        assert_eq!(
            issue(&call, IssueType::HighLatency).stage,
            Some(Stage::Endpointing)
        );
    }
}
