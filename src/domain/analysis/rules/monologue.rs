//! An agent that speaks for too long at a stretch.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::view::{Spoken, View};
use super::tell::time;

pub fn find(view: &View) -> Vec<Issue> {
    let most = f64::from(view.targets.thresholds.monologue_ms);
    let heard = |turn: &Spoken| {
        turn.number("playedMs")
            .or(turn.ms())
            .or(turn.number("audioMs"))
    };
    let is_heard = |turn: &Spoken| !turn.turn.cancelled && !turn.is_silent();
    let turns = view.agent_turns().filter(|(_, turn)| is_heard(turn));
    let long = turns.filter_map(|(_, turn)| Some((turn, heard(turn).filter(|ms| *ms > most)?)));
    long.map(|(turn, ms)| tell(turn, ms, most)).collect()
}

fn tell(turn: &Spoken, ms: f64, most: f64) -> Issue {
    let description = format!(
        "The agent spoke for {} without a pause for the user (limit: {}).",
        time(ms),
        time(most)
    );
    Issue::new(IssueType::Monologue, Severity::Minor, description)
        .of_turn(turn)
        .in_stage(Some(Stage::Llm))
        .costs(Some(ms - most))
        .until(turn.end_ms)
        .measures("speechMs", Some(ms))
        .measures("limitMs", Some(most))
        .shows("words", turn.words.len())
        .advise("Ask the model for one or two sentences a turn, and to offer details instead of reading them out.")
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{clean, delay, found};
    use super::*;

    #[test]
    fn twenty_seconds_are_the_limit() {
        for (ms, is_told) in [(20_000, false), (20_001, true)] {
            let mut call = clean(3);
            delay(&mut call, 4, ms - 3200);
            let start = call["turns"][3]["startMs"].as_i64().unwrap();
            call["turns"][3]["endMs"] = serde_json::json!(start + ms);
            assert_eq!(
                !found(&call, IssueType::Monologue).is_empty(),
                is_told,
                "{ms}"
            );
        }
    }
}
