//! Attempts at the same within an exchange: what failed and was made up for, and what is said once though it was tried
//! several times.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::analysis::words;

use super::super::calls::{end, has_failed, ms_between, number, text};
use super::super::{Gist, Part};
use super::group::{Group, Key, ancestors, key};

/// Who tries again to transcribe something does so at once: what is transcribed later was said later.
const TRIED_AGAIN_WITHIN_MS: f64 = 1_000.0;
/// Who tries again to speak does so soon: of what is spoken later, so many parts are compared.
const SPOKEN_AGAIN_WITHIN: usize = 32;

impl<'a> Group<'a> {
    /// Whether later attempts at the same were good ones, as far as can be told.
    pub fn made_up_for(&self, failed: &Gist) -> bool {
        let mut good = self.later(failed).filter(|later| !has_failed(later));
        match failed.part {
            Part::Llm => good.next().is_some(),
            Part::Stt => good.any(|later| is_same_audio(failed, later)),
            Part::Tts => is_spoken(failed, &good.take(SPOKEN_AGAIN_WITHIN).collect::<Vec<_>>()),
            // Nobody knows what else is the same.
            _ => false,
        }
    }

    /// Steps that failed by what had failed below them, and say no more than that did.
    pub fn passed_on<'b>(&self, by_key: &'b BTreeMap<Key<'b>, &'a Gist>) -> BTreeSet<Key<'b>> {
        let mut passed = BTreeSet::new();
        for gist in by_key.values().copied() {
            let Some(message) = text(gist, "error").filter(|_| !self.made_up_for(gist)) else {
                continue;
            };
            let says_it =
                |above: &&Gist| text(above, "error").is_some_and(|error| error.contains(message));
            let steps = ancestors(gist, by_key).filter(|above| above.part == Part::Other);
            passed.extend(steps.filter(says_it).map(key));
        }
        passed
    }

    /// Those of a part, each thing that was attempted once.
    pub fn lasting(&self, part: Part) -> impl Iterator<Item = &'a Gist> + '_ {
        self.of(part).filter(move |gist| {
            !has_failed(gist) || !self.made_up_for(gist) && !self.fails_again(gist)
        })
    }

    /// Whether a later attempt to say the same words failed, too.
    fn fails_again(&self, failed: &Gist) -> bool {
        let Some(missed) = text(failed, "text").map(words) else {
            return false;
        };
        let mut later = self.later(failed).take(SPOKEN_AGAIN_WITHIN);
        later.any(|later| {
            has_failed(later) && text(later, "text").is_some_and(|text| words(text) == missed)
        })
    }

    fn later<'b>(&'b self, gist: &'b Gist) -> impl Iterator<Item = &'a Gist> + 'b {
        let all = self.of(gist.part);
        all.filter(|later| later.started_at > gist.started_at)
    }
}

/// Whether good syntheses say what a failed one does not, in however many pieces: another sentence is not heard in place
/// of it. Where somebody does not tell his words, they may be these.
fn is_spoken(failed: &Gist, good: &[&Gist]) -> bool {
    let Some(missed) = text(failed, "text").map(words) else {
        return !good.is_empty();
    };
    let spoken: Option<Vec<&str>> = good.iter().map(|gist| text(gist, "text")).collect();
    match spoken {
        Some(spoken) if !spoken.is_empty() && !missed.is_empty() => {
            let spoken = words(&spoken.join(" "));
            spoken.windows(missed.len()).any(|window| window == missed)
        }
        _ => !good.is_empty(),
    }
}

/// Whether a later transcription was of the same audio: of the same length, or soon after where nobody tells it.
pub fn is_same_audio(failed: &Gist, later: &Gist) -> bool {
    let audio = |stt: &Gist| number(stt, "audioSeconds");
    match (audio(failed), audio(later)) {
        (Some(missed), Some(heard)) => missed == heard,
        _ => ms_between(end(failed), later.started_at) <= TRIED_AGAIN_WITHIN_MS,
    }
}
