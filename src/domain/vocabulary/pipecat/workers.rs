//! Workers that share a call: each traces a conversation of its own, and the exchanges that count are those of the one
//! that hears the user. What the others generate and speak belongs to these.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::super::calls::end;
use super::super::{Gist, Part};
use super::realtime;

/// All gists, in the order of time; those of workers that hear nobody stand in the exchanges of the one that does.
pub fn joined<'a>(gists: &[&'a Gist]) -> Vec<Cow<'a, Gist>> {
    let helpers = helpers(gists);
    if helpers.is_empty() {
        return gists.iter().map(|gist| Cow::Borrowed(*gist)).collect();
    }
    let is_helper = |gist: &Gist| helpers.contains(gist.trace_id.as_str());
    let of_ear: Vec<&Gist> = gists
        .iter()
        .copied()
        .filter(|gist| !is_helper(gist))
        .collect();
    let each = gists.iter().filter_map(|gist| match is_helper(gist) {
        true => placed(gist, &of_ear).map(Cow::Owned),
        false => Some(Cow::Borrowed(*gist)),
    });
    each.collect()
}

/// The traces in which nobody is heard, and which begin while one goes on in which somebody is.
fn helpers<'a>(gists: &[&'a Gist]) -> BTreeSet<&'a str> {
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
    let is_beside = |(from, _): &(DateTime<Utc>, DateTime<Utc>)| {
        let mut of_ears = ears.iter().filter_map(|ear| during.get(ear));
        of_ears.any(|(start, over)| (start..over).contains(&from))
    };
    let helpers = during
        .iter()
        .filter(|(trace, during)| !ears.contains(*trace) && is_beside(during));
    helpers.map(|(trace, _)| *trace).collect()
}

/// What a helper does, in the exchange during which it is begun. Its own conversation and exchanges are none.
fn placed(gist: &Gist, of_ear: &[&Gist]) -> Option<Gist> {
    if matches!(gist.part, Part::Root | Part::Exchange) {
        return None;
    }
    let mut placed = gist.clone();
    placed.parent = exchange_at(gist.started_at, of_ear).or(placed.parent);
    Some(placed)
}

/// The exchange at a moment; of one that is not over only its parts tell. Between exchanges, the conversation.
fn exchange_at(at: DateTime<Utc>, of_ear: &[&Gist]) -> Option<String> {
    let is_begun = |gist: &&&Gist| gist.started_at <= at;
    let exchanges = of_ear.iter().filter(|gist| gist.part == Part::Exchange);
    let last = exchanges.clone().rfind(is_begun);
    if let Some(holds) = last.filter(|exchange| exchange.ended_at.is_none_or(|over| at <= over)) {
        return Some(holds.span_id.clone());
    }
    let is_part = |gist: &&&Gist| matches!(gist.part, Part::Stt | Part::Llm | Part::Tts);
    let latest = of_ear.iter().filter(is_begun).rfind(is_part);
    let open = latest.and_then(|part| part.parent.clone());
    let is_over = |parent: &String| {
        exchanges
            .clone()
            .any(|exchange| exchange.span_id == *parent)
    };
    open.filter(|parent| !is_over(parent))
        .or_else(|| last?.parent.clone())
}
