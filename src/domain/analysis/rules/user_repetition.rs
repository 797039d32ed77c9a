//! A user who has to say it again, or asks whether anybody is there.

use super::super::issue::{Issue, IssueType, Severity};
use super::super::text::Trigrams;
use super::super::view::{Spoken, View};
use super::tell::{excerpt, time};

const SIMILARITY_MIN: f64 = 0.6;
/// How many of the user's turns back a repetition is looked for.
const BACK: usize = 2;
/// Shorter answers are alike by nature.
const WORDS_MIN: usize = 3;
const CALLS: [&str; 9] = [
    "are you there",
    "are you still there",
    "you still there",
    "can you hear me",
    "do you hear me",
    "anybody there",
    "anyone there",
    "is someone there",
    "is this working",
];
const HELLOS: [&str; 6] = ["hello", "hallo", "hola", "allo", "allô", "pronto"];
/// Who asks so soon after the start has not waited yet, but says hello.
const START_MS: f64 = 3000.0;
/// A greeting may have so many words.
const HELLO_WORDS_MAX: usize = 3;

pub fn find(view: &View) -> Vec<Issue> {
    let mut issues = Vec::new();
    let mut before: Vec<(usize, Trigrams)> = Vec::new();
    for (place, turn) in view.user_turns() {
        let trigrams = Trigrams::of(&turn.words);
        let is_long = turn.words.len() >= WORDS_MIN && !turn.is_backchannel;
        let recent = before.iter().rev().take(BACK);
        let like = recent
            .map(|(earlier, known)| (*earlier, known.similarity(&trigrams)))
            .filter(|(_, similarity)| is_long && *similarity >= SIMILARITY_MIN)
            .max_by(|a, b| a.1.total_cmp(&b.1));
        if calls_out(turn, before.is_empty()) {
            let description = "The user asked whether anybody was there".to_owned();
            issues.push(tell(view, place, description));
        } else if let Some((earlier, similarity)) = like {
            let description = format!(
                "The user said nearly the same again ({:.0}% alike)",
                similarity * 100.0
            );
            let index = view.turns[earlier].turn.index;
            issues.push(tell(view, place, description).shows("repeats", index));
        }
        if !turn.words.is_empty() {
            before.push((place, trigrams));
        }
    }
    issues
}

fn calls_out(turn: &Spoken, is_first: bool) -> bool {
    let said = turn.words.join(" ");
    let is_hello = |word: &String| HELLOS.contains(&word.as_str());
    let only_hello = !turn.words.is_empty()
        && turn.words.len() <= HELLO_WORDS_MAX
        && turn.words.iter().all(is_hello);
    let is_start = is_first && turn.start_ms.is_none_or(|ms| ms < START_MS);
    !is_start && (CALLS.iter().any(|call| said.contains(call)) || only_hello && !is_first)
}

/// With what came before it: a long gap, or words that were not understood.
fn tell(view: &View, place: usize, mut description: String) -> Issue {
    let turn = &view.turns[place];
    let earlier = view.turns[..place].iter().rposition(Spoken::is_user);
    let waited_ms = earlier.and_then(|earlier| {
        let answer = view.turns.get(earlier + 1)?;
        let until = if answer.is_agent() && !answer.is_silent() && earlier + 1 < place {
            answer.start_ms
        } else {
            turn.start_ms
        };
        let (since, until) = (view.turns[earlier].end_ms?, until?);
        (until >= since).then(|| until - since - view.agent_heard_ms(since, until))
    });
    let confidence = earlier.and_then(|earlier| view.turns[earlier].turn.confidence);
    if let Some(ms) = waited_ms.filter(|ms| *ms > f64::from(view.targets.turn.target_ms)) {
        description.push_str(&format!("; before that it had waited {}", time(ms)));
    } else if let Some(low) = confidence.filter(|c| *c < view.targets.thresholds.low_confidence) {
        description.push_str(&format!(
            "; before that it was understood with a confidence of {low:.2}"
        ));
    }
    description.push('.');
    let said = turn.turn.text.as_deref().unwrap_or_default();
    Issue::new(IssueType::UserRepetition, Severity::Minor, description)
        .of_turn(turn)
        .measures("waitedMs", waited_ms)
        .measures("confidencePercent", confidence.map(|c| c * 100.0))
        .advise("Answer sooner or say that it takes a moment; where the words were not understood, ask for the missing part only.")
        .quotes(format!("The user said \"{}\".", excerpt(said)), "text", excerpt(said))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::UserRepetition;

    #[test]
    fn a_call_into_silence() {
        let mut call = clean(3);
        call["turns"][4]["text"] = json!("Hello? Are you there?");
        let issue = issue(&call, KIND);
        assert_eq!(issue.turn, Some(4));
        assert!(!issue.description.contains("Hello"));
        call["turns"][4]["text"] = json!("Hello?");
        assert_eq!(found(&call, KIND).len(), 1);
        call["turns"][4]["text"] = json!("Hello Margaret here, one more question");
        assert!(found(&call, KIND).is_empty());
        let mut greeting = clean(3);
        greeting["turns"][0]["text"] = json!("Hello?");
        assert!(found(&greeting, KIND).is_empty());
    }

    #[test]
    fn the_same_again_within_two_turns() {
        for (at, is_told) in [(2, true), (4, true), (6, false)] {
            let mut call = clean(4);
            call["turns"][at]["text"] = json!("I'd like to change my booking for next Tuesday");
            assert_eq!(!found(&call, KIND).is_empty(), is_told, "{at}");
        }
        let mut call = clean(3);
        for at in [0, 2, 4] {
            call["turns"][at]["text"] = json!("Yes please");
        }
        assert!(found(&call, KIND).is_empty());
    }
}
