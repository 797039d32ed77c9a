//! Answers that are begun before it is certain that the user has finished: a transcriber says so eagerly, and what was
//! generated then is kept, and spoken, if that was right. If the user goes on it is withdrawn, and nobody hears it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::calls::{end, is_set, put, text};
use super::super::{Gist, Part};
use super::runs::ASKED;
use super::sentences::{has_made, letters};

/// The letters of the user's words for which a generation was asked.
const ASKED_FOR: &str = "askedFor";
/// So many letters of them tell whose they are.
const LETTERS_MAX: usize = 500;

pub fn read(asked_for: Option<&str>, fields: &mut Map<String, Value>) {
    let asked_for = asked_for.map(letters).filter(|letters| {
        let count = letters.chars().count();
        (1..=LETTERS_MAX).contains(&count)
    });
    put(fields, ASKED_FOR, asked_for);
}

/// What was begun eagerly in a call.
#[derive(Default)]
pub struct Eager<'a> {
    /// When the first generation began that was given a transcript's words, by the transcript's span.
    asked_at: BTreeMap<&'a str, DateTime<Utc>>,
    withdrawn: BTreeSet<&'a str>,
}

impl<'a> Eager<'a> {
    pub fn of(gists: &[&'a Gist]) -> Self {
        let mut exchanges: BTreeMap<_, Vec<&'a Gist>> = BTreeMap::new();
        for gist in gists {
            let exchange = (gist.trace_id.as_str(), gist.parent.as_deref());
            exchanges.entry(exchange).or_default().push(gist);
        }
        let mut eager = Self::default();
        for parts in exchanges.values() {
            eager.look_at(parts);
        }
        eager
    }

    /// The parts of an exchange, in the order of time.
    fn look_at(&mut self, parts: &[&'a Gist]) {
        let heard = Heard::of(parts);
        for (place, llm) in parts.iter().enumerate() {
            let Some((stt, confirmed_at)) = heard.later(llm) else {
                continue;
            };
            let begun = self.asked_at.entry(&stt.span_id).or_insert(llm.started_at);
            *begun = llm.started_at.min(*begun);
            if is_withdrawn(llm, confirmed_at, &parts[place + 1..]) {
                self.withdrawn.insert(&llm.span_id);
            }
        }
    }

    /// When a transcript's words were there: by then, or when a generation was given them.
    pub fn there_at(&self, stt: &Gist, by: DateTime<Utc>) -> DateTime<Utc> {
        let asked_at = self.asked_at.get(stt.span_id.as_str());
        asked_at.map_or(by, |at| by.min(*at))
    }

    /// Whether a generation answers what turned out to be no more than the beginning.
    pub fn is_withdrawn(&self, gist: &Gist) -> bool {
        self.withdrawn.contains(gist.span_id.as_str())
    }
}

/// The transcripts of an exchange and their letters, in the order in which they were certain.
struct Heard<'a>(Vec<(DateTime<Utc>, &'a Gist, String)>);

impl<'a> Heard<'a> {
    fn of(parts: &[&'a Gist]) -> Self {
        let stt = parts.iter().filter(|gist| gist.part == Part::Stt);
        let told = stt.filter_map(|stt| Some((end(stt), *stt, letters(text(stt, "text")?))));
        let mut told: Vec<_> = told.collect();
        told.sort_by_key(|(certain, ..)| *certain);
        Self(told)
    }

    /// The transcript of what a generation was asked for, if that was certain only after it had begun; and when it was, if
    /// nothing was added.
    fn later(&self, llm: &Gist) -> Option<(&'a Gist, Option<DateTime<Utc>>)> {
        let asked_for = text(llm, ASKED_FOR)?;
        let next = self
            .0
            .partition_point(|(certain, ..)| *certain <= llm.started_at);
        let before = self.0[..next].last();
        let is_answer = before.is_some_and(|(.., heard)| is_end(heard, asked_for));
        let (certain, stt, heard) = self.0.get(next).filter(|_| !is_answer)?;
        let confirmed_at = is_end(heard, asked_for).then_some(*certain);
        is_of(heard, asked_for).then_some((*stt, confirmed_at))
    }
}

fn is_end(heard: &str, asked_for: &str) -> bool {
    !heard.is_empty() && asked_for.ends_with(heard)
}

/// Whether a generation was asked for what was heard, or for its beginning: a transcriber may correct words.
fn is_of(heard: &str, asked_for: &str) -> bool {
    let same = heard.chars().zip(asked_for.chars());
    let same = same.take_while(|(heard, asked)| heard == asked).count();
    is_end(heard, asked_for) || 2 * same >= asked_for.chars().count()
}

/// Whether another generation was asked in its place before it was confirmed, and what was spoken then is not what only
/// this one wrote.
fn is_withdrawn(llm: &Gist, confirmed_at: Option<DateTime<Utc>>, later: &[&Gist]) -> bool {
    let is_asked = |gist: &Gist| gist.part == Part::Llm && is_set(gist, ASKED);
    let mut asked = (0..later.len()).filter(|place| is_asked(later[*place]));
    let Some(next) = asked.next() else {
        return false;
    };
    if confirmed_at.is_some_and(|at| at <= later[next].started_at) {
        return false;
    }
    let until = asked.next().unwrap_or(later.len());
    let wrote = |gist: &Gist, spoken| text(gist, "text").is_some_and(|text| has_made(text, spoken));
    let spoken = later[..until].iter().filter(|gist| gist.part == Part::Tts);
    let mut spoken = spoken.filter_map(|gist| text(gist, "text"));
    !spoken.any(|spoken| wrote(llm, spoken) && !wrote(later[next], spoken))
}
