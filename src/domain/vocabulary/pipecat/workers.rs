//! Workers that share a call: each traces a conversation of its own, and the exchanges that count are those of the one
//! that hears the user. What the others generate and speak belongs to these.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::super::calls::{Intervals, end};
use super::super::{Gist, Part};
use super::realtime;

/// All gists, in the order of time; those of workers that hear nobody stand in the exchanges of the one that does.
pub fn joined<'a>(gists: &[&'a Gist], helpers: &BTreeSet<&str>) -> Vec<Cow<'a, Gist>> {
    if helpers.is_empty() {
        return gists.iter().map(|gist| Cow::Borrowed(*gist)).collect();
    }
    let is_helper = |gist: &Gist| helpers.contains(gist.trace_id.as_str());
    let ear = Ear::of(gists.iter().copied().filter(|gist| !is_helper(gist)));
    let each = gists.iter().filter_map(|gist| match is_helper(gist) {
        true => placed(gist, &ear).map(Cow::Owned),
        false => Some(Cow::Borrowed(*gist)),
    });
    each.collect()
}

/// The traces in which nobody is heard, and which begin while one goes on in which somebody is.
pub fn helpers<'a>(gists: &[&'a Gist]) -> BTreeSet<&'a str> {
    let hears = |gist: &&&Gist| gist.part == Part::Stt || realtime::is_response(gist);
    let ears: BTreeSet<&str> = gists
        .iter()
        .filter(hears)
        .map(|gist| gist.trace_id.as_str())
        .collect();
    let mut during: BTreeMap<&str, (DateTime<Utc>, DateTime<Utc>)> = BTreeMap::new();
    for gist in gists {
        let (start, over) = (gist.started_at, end(gist));
        let known = during.entry(&gist.trace_id).or_insert((start, over));
        *known = (known.0.min(start), known.1.max(over));
    }
    let heard = Intervals::of(ears.iter().filter_map(|ear| during.get(ear)).copied());
    let is_beside = |(from, _): &(DateTime<Utc>, DateTime<Utc>)| {
        let over = heard.latest_end(|start| start <= *from);
        over.is_some_and(|over| *from < over)
    };
    let helpers = during
        .iter()
        .filter(|(trace, during)| !ears.contains(*trace) && is_beside(during));
    helpers.map(|(trace, _)| *trace).collect()
}

/// What a helper does, in the exchange during which it is begun. Its own conversation and exchanges are none.
fn placed(gist: &Gist, ear: &Ear<'_>) -> Option<Gist> {
    if matches!(gist.part, Part::Root | Part::Exchange) {
        return None;
    }
    let mut placed = gist.clone();
    placed.parent = ear.exchange_at(gist.started_at).or(placed.parent);
    Some(placed)
}

/// What is told by the worker that hears the user, in the order of time.
struct Ear<'a> {
    exchanges: Vec<&'a Gist>,
    parts: Vec<&'a Gist>,
    /// The exchanges that are over.
    over: BTreeSet<&'a str>,
}

impl<'a> Ear<'a> {
    fn of(gists: impl Iterator<Item = &'a Gist>) -> Self {
        let is_told = |gist: &&Gist| {
            matches!(
                gist.part,
                Part::Exchange | Part::Stt | Part::Llm | Part::Tts
            )
        };
        let (exchanges, parts): (Vec<_>, Vec<_>) = gists
            .filter(is_told)
            .partition(|gist| gist.part == Part::Exchange);
        let over = exchanges.iter().map(|gist| gist.span_id.as_str());
        Self {
            over: over.collect(),
            exchanges,
            parts,
        }
    }

    /// The exchange at a moment; of one that is not over only its parts tell. Between exchanges, the conversation.
    fn exchange_at(&self, at: DateTime<Utc>) -> Option<String> {
        let last = begun(&self.exchanges, at);
        if let Some(holds) = last.filter(|exchange| exchange.ended_at.is_none_or(|over| at <= over))
        {
            return Some(holds.span_id.clone());
        }
        let open = begun(&self.parts, at).and_then(|part| part.parent.clone());
        open.filter(|parent| !self.over.contains(parent.as_str()))
            .or_else(|| last?.parent.clone())
    }
}

/// The last that has begun at a moment.
fn begun<'a>(gists: &[&'a Gist], at: DateTime<Utc>) -> Option<&'a Gist> {
    let begun = gists.partition_point(|gist| gist.started_at <= at);
    gists[..begun].last().copied()
}
