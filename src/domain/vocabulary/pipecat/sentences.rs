//! What was given to be spoken. Before 1.2 each sentence has a span, since 1.6 one span has all of an answer; between
//! them one span is all of an answer too, but keeps the last sentence only. What came before that was generated.

use std::borrow::Cow;

use super::super::calls::{put, text};
use super::super::{Gist, Part, Said};
use super::realtime;

/// Marks a generation, as versions tell it whose syntheses keep all that they were given.
const IS_KEPT: &str = "isKept";
/// Only versions that keep all sentences know this by this name.
const KEPT_WITH: &str = "gen_ai.usage.reasoning.output_tokens";

/// What a text says, however it is set.
pub fn letters(text: &str) -> String {
    let letters = text.chars().filter(|sign| sign.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// So much of a text tells it from others.
const BEGINNING_CHARS: usize = 24;

pub fn beginning(text: &str) -> String {
    letters(text).chars().take(BEGINNING_CHARS).collect()
}

/// Whether what was spoken, or some of it, is what a generation wrote.
pub fn has_made(written: &str, spoken: &str) -> bool {
    are_of_one(&letters(written), &letters(spoken))
}

/// The same, of the letters of both.
pub fn are_of_one(written: &str, spoken: &str) -> bool {
    let both = !spoken.is_empty() && !written.is_empty();
    both && (spoken.contains(&beginning(written)) || written.contains(&beginning(spoken)))
}

/// Marks a generation by which it shows that syntheses keep what they were given.
pub fn read(span: &Said<'_>, fields: &mut serde_json::Map<String, serde_json::Value>) {
    put(fields, IS_KEPT, span.has(KEPT_WITH).then_some(true));
}

/// All gists, and in those of syntheses that kept no more than their last sentence all that they were given.
pub fn whole<'a>(gists: &[&'a Gist]) -> Vec<Cow<'a, Gist>> {
    let is_kept = |gist: &&Gist| {
        gist.fields.contains_key(IS_KEPT)
            || gist.part == Part::Stt && gist.fields.contains_key("audioSeconds")
    };
    let are_kept = gists.iter().any(is_kept);
    let restored = |place: usize| match are_kept || gists[place].part != Part::Tts {
        true => None,
        false => with_all_sentences(gists, place),
    };
    let each = (0..gists.len()).map(|place| match restored(place) {
        Some(gist) => Cow::Owned(gist),
        None => Cow::Borrowed(gists[place]),
    });
    each.collect()
}

/// A synthesis with the sentences that were generated before the one that it has kept.
fn with_all_sentences(gists: &[&Gist], place: usize) -> Option<Gist> {
    let tts = gists[place];
    let is_generation = |gist: &&Gist| {
        gist.part == Part::Llm && gist.trace_id == tts.trace_id && !realtime::is_response(gist)
    };
    let from = gists[..place].iter().rposition(is_generation)?;
    let generated = text(gists[from], "text")?;
    let all = up_to(generated, text(tts, "text")?)?;
    // Where each sentence has a span, those before it have theirs.
    let is_speech = |gist: &&&Gist| gist.part == Part::Tts && gist.trace_id == tts.trace_id;
    let is_within =
        |other: &Gist| text(other, "text").is_some_and(|text| generated.contains(text.trim()));
    let later = gists[place + 1..]
        .iter()
        .take_while(|gist| !is_generation(gist));
    if gists[from..place].iter().any(|gist| is_speech(&gist))
        || later.filter(is_speech).any(|other| is_within(other))
    {
        return None;
    }
    let mut gist = tts.clone();
    let is_counted = gist.fields.contains_key("characters");
    let characters = is_counted.then(|| all.chars().count());
    put(&mut gist.fields, "characters", characters);
    put(&mut gist.fields, "text", Some(all));
    Some(gist)
}

/// A text up to its last sentence that is this one, if there are others before it.
fn up_to<'a>(generated: &'a str, sentence: &str) -> Option<&'a str> {
    let sentence = Some(sentence.trim()).filter(|sentence| !sentence.is_empty())?;
    let at = generated.rfind(sentence)?;
    let before = generated[..at].trim_end();
    let is_behind_a_sentence = before.ends_with(|last: char| !last.is_alphanumeric());
    is_behind_a_sentence.then(|| generated[..at + sentence.len()].trim_start())
}
