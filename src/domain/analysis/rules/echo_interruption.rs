//! The agent was interrupted by its own voice.

use std::collections::BTreeSet;

use super::super::issue::{Issue, IssueType, Severity};
use super::super::path::{at, list};
use super::super::stop::Stop;
use super::super::text;
use super::super::view::{Spoken, View};
use super::tell::excerpt;

const SHARE_MIN: f64 = 0.6;
const WITHIN_MS: f64 = 5000.0;
/// Fewer words may be anybody's.
const WORDS_MIN: usize = 3;

pub fn find(view: &View) -> Vec<Issue> {
    view.interruptions
        .stops
        .iter()
        .filter_map(|stop| of_stop(view, stop))
        .collect()
}

fn of_stop(view: &View, stop: &Stop) -> Option<Issue> {
    let onset = stop.at_ms(view)?;
    let user = stop.user.map(|place| &view.turns[place]);
    let reported = || stop.reported?.extra.get("text")?.as_str().map(text::words);
    let words = match user {
        Some(user) => user.words.clone(),
        None => reported()?,
    };
    let until = user.and_then(|user| user.end_ms).unwrap_or(onset);
    let own = spoken_within(&view.turns[stop.agent?], onset - WITHIN_MS, until);
    let echoed = words
        .iter()
        .filter(|word| own.contains(word.as_str()))
        .count();
    let share = echoed as f64 / words.len().max(1) as f64;
    if words.len() < WORDS_MIN || share < SHARE_MIN {
        return None;
    }
    let description = format!(
        "The agent heard itself: {:.0}% of the words that interrupted it are its own of the last {} seconds.",
        share * 100.0,
        WITHIN_MS / 1000.0
    );
    let said = words.join(" ");
    Some(
        Issue::new(IssueType::EchoInterruption, Severity::Major, description)
            .of_turn(&view.turns[stop.agent?])
            .at(Some(onset))
            .shows("words", words.len())
            .shows("ownWords", echoed)
            .advise("Cancel the echo before voice activity detection, and ask callers on loudspeakers to use a headset.")
            .quotes(format!("It heard \"{}\".", excerpt(&said)), "text", excerpt(&said)),
    )
}

/// The agent's words of a while: as they were timed, else as they lie evenly in its turn.
fn spoken_within(agent: &Spoken, from: f64, to: f64) -> BTreeSet<String> {
    let timed: Vec<(f64, Vec<String>)> = list(agent.turn, "words")
        .filter_map(|word| {
            Some((
                at(word, "startMs")?,
                text::words(word.get("word")?.as_str()?),
            ))
        })
        .collect();
    if !timed.is_empty() {
        let within = timed.into_iter().filter(|(at, _)| (from..=to).contains(at));
        return within.flat_map(|(_, words)| words).collect();
    }
    let Some((start, end)) = agent.interval() else {
        return BTreeSet::new();
    };
    // Of a turn that was cut off the text goes on for longer than the sound.
    let end = agent.number("audioMs").map_or(end, |ms| start + ms);
    let each = (end - start) / agent.words.len().max(1) as f64;
    let placed = agent.words.iter().enumerate();
    placed
        .filter(|(n, _)| (from..=to).contains(&(start + each * *n as f64)))
        .map(|(_, word)| word.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::EchoInterruption;

    /// Of "Thank you Margaret, I have found your reservation here" the user is said to say a part.
    fn interrupted_by(text: &str) -> Value {
        let mut call = clean(4);
        let end = call["turns"][3]["endMs"].as_i64().unwrap();
        call["turns"][3]["interrupted"] = json!(true);
        call["turns"][4]["startMs"] = json!(end - 600);
        call["turns"][4]["text"] = json!(text);
        call
    }

    #[test]
    fn its_own_words_are_an_echo() {
        let issue = issue(&interrupted_by("I have found something else"), KIND);
        assert!(
            issue
                .description
                .starts_with("The agent heard itself: 60% of the words")
        );
        assert_eq!(issue.turn, Some(3));
        assert!(!issue.description.contains("found"));
    }

    #[test]
    fn other_or_too_few_words_are_none() {
        for text in ["I have another question", "have found", "no wait please"] {
            assert!(found(&interrupted_by(text), KIND).is_empty(), "{text}");
        }
    }
}
