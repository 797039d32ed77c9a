//! What is told several times, and counts once: generations and tools that several tracers tell of, within each other or
//! side by side.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::calls::{TRACER, end, first_at, has_failed, is_set, ms_between, number, text};
use super::super::{Gist, Part};
use super::group::{Key, ancestors, key};
use super::listening;

/// Fields that say how long after its start something came of a span.
const SINCE_START: [&str; 2] = ["llmMs", "ttsMs"];

/// All gists that are parts, generations that are told twice once: by the outer one, with what only the
/// inner one knows.
pub fn counted(gists: &[&Gist], by_key: &BTreeMap<Key<'_>, &Gist>) -> Vec<Gist> {
    let wrappers = wrappers(gists, by_key);
    let is_llm = |gist: &Gist| gist.part == Part::Llm && !wrappers.contains(&key(gist));
    let mut alike: BTreeMap<Mark, Vec<&Gist>> = BTreeMap::new();
    let mut inner: BTreeMap<Key<'_>, Vec<&Gist>> = BTreeMap::new();
    let mut dropped = BTreeSet::new();
    for gist in gists.iter().filter(|gist| is_llm(gist)) {
        match of_same(gist, by_key).filter(|above| is_llm(above)).last() {
            Some(outer) => {
                inner.entry(key(outer)).or_default().push(gist);
                dropped.insert(key(gist));
            }
            None => {
                for mark in marks(gist) {
                    alike.entry(mark).or_default().push(gist);
                }
            }
        }
    }
    // What stands within another is told by that one already, and is no twin of it.
    for alike in alike.into_values() {
        for (outer, gist) in twins(alike) {
            if !dropped.contains(&key(outer)) && dropped.insert(key(gist)) {
                inner.entry(key(outer)).or_default().push(gist);
            }
        }
    }
    for gist in gists {
        if let Some(outer) = same_call(gist, by_key) {
            inner.entry(key(outer)).or_default().push(gist);
            dropped.insert(key(gist));
        }
    }
    for (outer, pieces) in pieces(gists, by_key) {
        match is_told_by(outer, &pieces) {
            true => drop(dropped.insert(key(outer))),
            false => {
                dropped.extend(pieces.iter().map(|piece| key(piece)));
                inner.entry(key(outer)).or_default().extend(pieces);
            }
        }
    }
    let parts = gists
        .iter()
        .filter(|gist| !matches!(gist.part, Part::Root | Part::Exchange));
    let parts =
        parts.filter(|gist| !dropped.contains(&key(gist)) && !wrappers.contains(&key(gist)));
    let whole = parts.map(|gist| {
        let mut whole = (*gist).clone();
        for more in inner.get(&key(gist)).into_iter().flatten() {
            add(&mut whole, more);
        }
        leave_end_open(&mut whole);
        whole
    });
    let mut whole: Vec<Gist> = whole.collect();
    listening::mark(&mut whole);
    whole
}

/// Speech around which there is a span of speech, too, by that span.
fn pieces<'b, 'a: 'b>(
    gists: &'b [&'a Gist],
    by_key: &'b BTreeMap<Key<'b>, &'a Gist>,
) -> Vec<(&'b Gist, Vec<&'b Gist>)> {
    let is_speech = |gist: &&Gist| gist.part == Part::Tts;
    let mut pieces: BTreeMap<Key<'_>, (&Gist, Vec<&Gist>)> = BTreeMap::new();
    for gist in gists.iter().copied().filter(is_speech) {
        let is_of_it = |above: &&Gist| !matches!(above.part, Part::Exchange | Part::Tool);
        let mut above = ancestors(gist, by_key).take_while(is_of_it);
        if let Some(outer) = above.find(is_speech) {
            let found = pieces.entry(key(outer)).or_insert((outer, Vec::new()));
            found.1.push(gist);
        }
    }
    pieces.into_values().collect()
}

/// Whether what was spoken is told by its pieces alone: by each of them, or not around them either.
fn is_told_by(outer: &Gist, pieces: &[&Gist]) -> bool {
    let is_failed = has_failed(outer) && !pieces.iter().any(|piece| has_failed(piece));
    let say = || pieces.iter().all(|piece| text(piece, "text").is_some());
    !is_failed && (text(outer, "text").is_none() || say())
}

/// Of a stream some tell only how it began: its first token comes when their span is over, and nobody knows its end.
fn leave_end_open(gist: &mut Gist) {
    let first = first_at(gist, "llmMs").filter(|_| gist.part == Part::Llm);
    let is_later = |at: DateTime<Utc>| gist.ended_at.is_some_and(|end| end < at);
    if first.is_some_and(is_later) {
        gist.ended_at = None;
    }
}

/// What only the inner span of the same knows.
fn add(whole: &mut Gist, inner: &Gist) {
    // An attempt that failed within a call which did not.
    let is_made_up_for = whole.part == Part::Tool && whole.fields.contains_key("result");
    let later = ms_between(whole.started_at, inner.started_at);
    for (name, value) in &inner.fields {
        let value = match value.as_f64() {
            // They are counted from where a span begins.
            Some(ms) if SINCE_START.contains(&name.as_str()) && later > 0.0 => {
                Value::from(ms + later)
            }
            _ if is_made_up_for && name.starts_with("error") => continue,
            _ => value.clone(),
        };
        whole.fields.entry(name).or_insert(value);
    }
}

/// The outermost span around a tool's that tells of the same call: nothing that both say differs.
fn same_call<'b, 'a: 'b>(
    gist: &'b Gist,
    by_key: &'b BTreeMap<Key<'b>, &'a Gist>,
) -> Option<&'b Gist> {
    let is_same = |above: &&Gist| {
        let both = |name: &str| above.fields.get(name).zip(gist.fields.get(name));
        let agrees = |name: &str| both(name).is_none_or(|(theirs, own)| theirs == own);
        above.fields.get("name") == gist.fields.get("name")
            && agrees("arguments")
            && agrees("callId")
    };
    if gist.part != Part::Tool {
        return None;
    }
    let is_of_it = |above: &&Gist| !matches!(above.part, Part::Llm | Part::Exchange);
    let above = ancestors(gist, by_key).take_while(is_of_it);
    let tools = above.filter(|above| above.part == Part::Tool);
    tools.take_while(is_same).last()
}

/// The spans above that may tell of the same thing: what an agent or a tool does below it is something else. What names
/// no model and counts nothing is a step of it, whatever stands between.
fn of_same<'b, 'a: 'b>(
    gist: &'b Gist,
    by_key: &'b BTreeMap<Key<'b>, &'a Gist>,
) -> impl Iterator<Item = &'b Gist> {
    let is_step = !is_known(gist);
    let is_apart = move |above: &&Gist| match above.part {
        Part::Exchange => !is_step,
        part => part == Part::Tool,
    };
    ancestors(gist, by_key).take_while(move |above| !is_apart(above))
}

/// Whether a generation says of itself that it is one.
fn is_known(gist: &Gist) -> bool {
    let mut names = ["model", "promptTokens", "completionTokens"].iter();
    names.any(|name| gist.fields.contains_key(*name))
}

/// What is called like a generation, names no model and counts nothing, and stands around several that do, or around an
/// agent that does: a function that makes use of them.
fn wrappers<'a>(gists: &[&'a Gist], by_key: &BTreeMap<Key<'_>, &Gist>) -> BTreeSet<Key<'a>> {
    let is_llm = |gist: &&Gist| gist.part == Part::Llm;
    let mut known_below: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    for gist in gists
        .iter()
        .copied()
        .filter(is_llm)
        .filter(|gist| is_known(gist))
    {
        let mut within = 1;
        for above in ancestors(gist, by_key) {
            match above.part {
                // Of one that is known nothing more is to be known.
                Part::Llm if is_known(above) && within == 1 => break,
                Part::Llm => *known_below.entry(key(above)).or_default() += within,
                Part::Exchange => within = 2,
                _ => {}
            }
        }
    }
    let several = gists.iter().copied().filter(is_llm);
    let several = several.filter(|gist| !is_known(gist));
    let several = several.filter(|gist| known_below.get(&key(gist)).is_some_and(|n| *n > 1));
    several.map(key).collect()
}

/// What generations have in common, of which several tracers may tell as one: also in traces of their own, where one of
/// them does not tell the other what stands above.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// The provider's id of what it answered.
    Response(String),
    /// What was counted, as bits.
    Counts([u64; 2]),
    /// The model that gave no answer, or was no longer to give one.
    Failure(String),
}

fn marks(gist: &Gist) -> impl Iterator<Item = Mark> {
    let named = |name: &str| text(gist, name).map(str::to_owned);
    let bits = |name: &str| number(gist, name).map(f64::to_bits);
    let counts = || Some([bits("promptTokens")?, bits("completionTokens")?]);
    let failure = || named("model").filter(|_| has_failed(gist) || is_set(gist, "cancelled"));
    let marks = [
        named("responseId").map(Mark::Response),
        counts().map(Mark::Counts),
        failure().map(Mark::Failure),
    ];
    marks.into_iter().flatten()
}

/// The same generations as other tracers tell of them, each with the better one of the two: in a better vocabulary, else
/// the one that began first.
fn twins(alike: Vec<&Gist>) -> Vec<(&Gist, &Gist)> {
    let mut told = Vec::new();
    for mut alike in at_once(alike) {
        alike.sort_by_key(|gist| (gist.vocabulary, gist.started_at, key(gist)));
        let mut kept: Vec<&Gist> = Vec::new();
        for gist in alike {
            match kept.iter().find(|other| is_twin(other, gist)) {
                Some(other) => told.push((*other, gist)),
                None => kept.push(gist),
            }
        }
    }
    told
}

/// Those that go on without a break between them: no others can be of one time.
fn at_once(mut gists: Vec<&Gist>) -> Vec<Vec<&Gist>> {
    gists.sort_by_key(|gist| gist.started_at);
    let mut groups: Vec<Vec<&Gist>> = Vec::new();
    let mut over = None;
    for gist in gists {
        match groups.last_mut().filter(|_| over >= Some(gist.started_at)) {
            Some(group) => group.push(gist),
            None => groups.push(vec![gist]),
        }
        over = over.max(Some(end(gist)));
    }
    groups
}

/// Whether two tell of one generation: at the same time, and as different tracers, none of which tells of it twice. Two
/// answers of a provider are two.
fn is_twin(one: &Gist, other: &Gist) -> bool {
    let differs = |name: &str| {
        let both = text(one, name).zip(text(other, name));
        both.is_some_and(|(one, other)| one != other)
    };
    let is_of_another = one.vocabulary != other.vocabulary || differs(TRACER);
    let at_once = one.started_at <= end(other) && other.started_at <= end(one);
    is_of_another && at_once && !differs("responseId")
}
