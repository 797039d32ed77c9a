//! An agent that says the same again and again.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::text::Trigrams;
use super::super::view::{Spoken, View};
use super::tell::{count, excerpt};

const SIMILARITY_MIN: f64 = 0.85;
const BACK: usize = 3;
const TIMES_MIN: usize = 2;
/// "Thank you" may be said twice.
const WORDS_MIN: usize = 4;

pub fn find(view: &View) -> Vec<Issue> {
    let mut before: Vec<Trigrams> = Vec::new();
    let mut repeated: Vec<&Spoken> = Vec::new();
    for (_, turn) in view.agent_turns() {
        if turn.turn.cancelled || turn.is_silent() || turn.words.len() < WORDS_MIN {
            continue;
        }
        let trigrams = Trigrams::of(&turn.words);
        let mut recent = before.iter().rev().take(BACK);
        if recent.any(|known| known.similarity(&trigrams) >= SIMILARITY_MIN) {
            repeated.push(turn);
        }
        before.push(trigrams);
    }
    if repeated.len() < TIMES_MIN {
        return Vec::new();
    }
    repeated
        .last()
        .map(|last| tell(last, &repeated))
        .into_iter()
        .collect()
}

fn tell(last: &Spoken, repeated: &[&Spoken]) -> Issue {
    let description = format!(
        "The agent said nearly the same as shortly before, {}.",
        count(repeated.len(), "time")
    );
    let turns: Vec<i32> = repeated
        .iter()
        .take(50)
        .map(|turn| turn.turn.index)
        .collect();
    let said = last.turn.text.as_deref().unwrap_or_default();
    Issue::new(IssueType::AgentRepetition, Severity::Major, description)
        .of_turn(last)
        .in_stage(Some(Stage::Llm))
        .shows("turns", turns)
        .advise("See that the agent's own turns and the tools' results are in the model's context, and say what to do where a question stays unanswered.")
        .quotes(format!("It said \"{}\".", excerpt(said)), "text", excerpt(said))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::fixture::{clean, found};
    use super::*;

    fn saying(at: &[usize], text: &str) -> Vec<Issue> {
        let mut call: Value = clean(8);
        for turn in at {
            call["turns"][*turn]["text"] = json!(text);
        }
        found(&call, IssueType::AgentRepetition)
    }

    #[test]
    fn twice_is_too_often() {
        let text = "Could you tell me your date of birth";
        let told = saying(&[1, 3, 5], text);
        assert_eq!(
            told[0].description,
            "The agent said nearly the same as shortly before, 2 times."
        );
        assert_eq!(told[0].turn, Some(5));
        assert!(saying(&[1, 3], text).is_empty());
        // Four turns apart is not shortly before.
        assert!(saying(&[1, 9], text).is_empty());
        assert!(saying(&[1, 3, 5], "Thank you very").is_empty());
    }

    #[test]
    fn nearly_the_same_is_the_same_from_the_threshold_on() {
        let text = "Could you tell me your date of birth";
        // 0.865 and 0.838 of the trigrams are shared.
        for (again, is_told) in [
            ("Could you tell me the date of birth", true),
            ("Could you tell us your date of birth", false),
        ] {
            let mut call: Value = clean(8);
            for (turn, text) in [(1, text), (3, again), (5, text)] {
                call["turns"][turn]["text"] = json!(text);
            }
            // The third is the first again, so that only the second is in question.
            let told = found(&call, IssueType::AgentRepetition);
            assert_eq!(!told.is_empty(), is_told, "{again}");
        }
    }
}
