//! Which spans make one exchange, and which of them tell of the same generation twice.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::calls::{DEPTH_MAX, end, has_failed, ms_between, number};
use super::super::{Gist, Part};
use super::said;
use super::sequence::{Places, is_said, sequences};

type Key<'a> = (&'a str, &'a str);

/// Fields that say how long after its start something came of a span.
const SINCE_START: [&str; 2] = ["llmMs", "ttsMs"];

/// One exchange: its own span, where it has one, and what belongs to it, in the order of time.
pub struct Group<'a> {
    pub own: Option<&'a Gist>,
    pub members: Vec<&'a Gist>,
    /// Exchanges below its own span: agents that a workflow, or a span around the turn, called.
    pub within: Vec<&'a Gist>,
}

/// A session's spans, sorted out.
pub struct Found<'a> {
    /// Every generation once.
    pub counted: Vec<Gist>,
    pub roots: Vec<&'a Gist>,
    exchanges: Vec<&'a Gist>,
    /// Which exchange the n-th of `counted` belongs to.
    owners: Vec<Option<usize>>,
    /// Exchanges that count for nothing themselves, each with the one that it is below.
    nested: Vec<(usize, &'a Gist)>,
    /// Which exchanges turn out to be whole conversations, by what is below them.
    wholes: BTreeSet<usize>,
}

impl<'a> Found<'a> {
    /// The exchanges: those that have a span, and those that follow from what was said.
    pub fn groups<'b>(&'b self, counted: &[&'b Gist]) -> Vec<Group<'b>> {
        let mut groups: Vec<Group<'b>> = self
            .exchanges
            .iter()
            .map(|own| Group {
                own: Some(own),
                members: Vec::new(),
                within: Vec::new(),
            })
            .collect();
        for (owner, nested) in &self.nested {
            if let Some(group) = groups.get_mut(*owner) {
                group.within.push(nested);
            }
        }
        let mut loose = Vec::new();
        for (gist, owner) in counted.iter().zip(&self.owners) {
            match owner.and_then(|owner| groups.get_mut(owner)) {
                Some(group) => group.members.push(gist),
                None => loose.push(*gist),
            }
        }
        let mut told = Vec::new();
        for (place, group) in groups.into_iter().enumerate() {
            match self.wholes.contains(&place) {
                true => told.extend(apart(group)),
                false => told.push(group),
            }
        }
        told.extend(sequences(loose, Places::Loose));
        told
    }
}

/// The exchanges of a whole conversation, each with what began during it.
fn apart(whole: Group<'_>) -> Vec<Group<'_>> {
    let others = whole.members.iter().copied();
    let others: Vec<&Gist> = others.filter(|gist| !is_said(gist)).collect();
    // What went wrong below it is told there, else it is told of the end.
    let is_told = whole.members.iter().any(|gist| has_failed(gist));
    let own = whole.own.filter(|own| has_failed(own) && !is_told);
    let mut groups = sequences(whole.members, Places::Within);
    let mut latest = DateTime::<Utc>::MIN_UTC;
    let starts = groups.iter().filter_map(|group| group.members.first());
    let starts = starts.map(|first| {
        latest = latest.max(first.started_at);
        latest
    });
    let starts: Vec<DateTime<Utc>> = starts.collect();
    let begun = |at: DateTime<Utc>| starts.partition_point(|start| *start <= at).checked_sub(1);
    for other in others {
        let place = begun(other.started_at).unwrap_or_default();
        if let Some(group) = groups.get_mut(place) {
            group.members.push(other);
        }
    }
    for nested in whole.within {
        if let Some(group) = begun(end(nested)).and_then(|place| groups.get_mut(place)) {
            group.within.push(nested);
        }
    }
    if let Some(group) = groups.last_mut() {
        group.members.extend(own);
    }
    groups
}

/// Sorts out gists that stand in the order of time.
pub fn groups<'a>(gists: &[&'a Gist]) -> Found<'a> {
    let by_key: BTreeMap<Key<'_>, &Gist> = gists.iter().map(|gist| (key(gist), *gist)).collect();
    let (exchanges, mut roots) = exchanges(gists, &by_key);
    roots.extend(gists.iter().copied().filter(|gist| gist.part == Part::Root));
    let places: BTreeMap<Key<'_>, usize> = exchanges
        .iter()
        .enumerate()
        .map(|(place, gist)| (key(gist), place))
        .collect();
    let counted = counted(gists, &by_key);
    let mut in_trace: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, exchange) in exchanges.iter().enumerate() {
        in_trace.entry(&exchange.trace_id).or_default().push(place);
    }
    let above =
        |gist: &Gist| ancestors(gist, &by_key).find_map(|above| places.get(&key(above)).copied());
    let owner = |gist: &Gist| {
        above(gist).or_else(|| around(gist, &exchanges, in_trace.get(gist.trace_id.as_str())?))
    };
    let owners: Vec<Option<usize>> = counted.iter().map(owner).collect();
    let mut members: BTreeMap<usize, Vec<&Gist>> = BTreeMap::new();
    for (gist, owner) in counted.iter().zip(&owners) {
        if let Some(owner) = owner {
            members.entry(*owner).or_default().push(gist);
        }
    }
    let is_whole = |(place, own): (usize, &&Gist)| {
        let mut says = ["userText", "text", "isTurn"].iter();
        let is_one = says.any(|name| own.fields.contains_key(*name));
        let members = members.remove(&place).filter(|_| !is_one)?;
        (sequences(members, Places::Within).len() > 1).then_some(place)
    };
    let wholes: BTreeSet<usize> = exchanges.iter().enumerate().filter_map(is_whole).collect();
    roots.extend(wholes.iter().filter_map(|place| exchanges.get(*place)));
    let inner = gists
        .iter()
        .filter(|gist| gist.part == Part::Exchange && !places.contains_key(&key(gist)));
    let nested = inner
        .filter_map(|gist| Some((above(gist)?, *gist)))
        .collect();
    Found {
        counted,
        roots,
        exchanges,
        owners,
        nested,
        wholes,
    }
}

fn key(gist: &Gist) -> Key<'_> {
    (&gist.trace_id, &gist.span_id)
}

/// The spans above, the nearest first.
fn ancestors<'b, 'a: 'b>(
    gist: &'b Gist,
    by_key: &'b BTreeMap<Key<'b>, &'a Gist>,
) -> impl Iterator<Item = &'b Gist> {
    let above = |gist: &&'b Gist| {
        let parent = gist.parent.as_deref()?;
        by_key
            .get(&(gist.trace_id.as_str(), parent))
            .map(|above| *above as &'b Gist)
    };
    // Nothing is above itself, whatever it says.
    std::iter::successors(Some(gist), above)
        .skip(1)
        .take_while(|above| key(above) != key(gist))
        .take(DEPTH_MAX)
}

/// The exchanges that count: the topmost ones, but not those that hold turns of their own, which are whole
/// conversations. The second list are these.
fn exchanges<'a>(
    gists: &[&'a Gist],
    by_key: &BTreeMap<Key<'_>, &Gist>,
) -> (Vec<&'a Gist>, Vec<&'a Gist>) {
    let all: Vec<&Gist> = gists
        .iter()
        .copied()
        .filter(|g| g.part == Part::Exchange)
        .collect();
    let mut turns_below: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    for exchange in &all {
        let is_turn =
            exchange.fields.contains_key("isTurn") && said(exchange, "userText").is_some();
        for above in ancestors(exchange, by_key).filter(|_| is_turn) {
            *turns_below.entry(key(above)).or_default() += 1;
        }
    }
    let holds_turns = |gist: &Gist| {
        let below = turns_below.get(&key(gist)).copied().unwrap_or_default();
        let speaks = said(gist, "userText").is_some();
        let is_turn = gist.fields.contains_key("isTurn");
        gist.part == Part::Exchange && !is_turn && (below >= 2 || below == 1 && !speaks)
    };
    let is_topmost = |gist: &Gist| {
        ancestors(gist, by_key).all(|above| above.part != Part::Exchange || holds_turns(above))
    };
    let (mut counted, mut whole) = (Vec::new(), Vec::new());
    for exchange in all {
        if holds_turns(exchange) {
            whole.push(exchange);
        } else if is_topmost(exchange) {
            counted.push(exchange);
        }
    }
    (counted, whole)
}

/// The exchange, of those of its trace, during which something began, where no span between tells.
fn around(gist: &Gist, exchanges: &[&Gist], places: &[usize]) -> Option<usize> {
    let holds = |place: &usize| {
        let exchange = exchanges.get(*place);
        exchange.is_some_and(|own| (own.started_at..=end(own)).contains(&gist.started_at))
    };
    places.iter().rev().copied().find(|place| holds(place))
}

/// All gists that are parts, generations that are told twice once: by the outer one, with what only the
/// inner one knows.
fn counted(gists: &[&Gist], by_key: &BTreeMap<Key<'_>, &Gist>) -> Vec<Gist> {
    let wrappers = wrappers(gists, by_key);
    let is_llm = |gist: &Gist| gist.part == Part::Llm && !wrappers.contains(&key(gist));
    let mut alike: BTreeMap<Alike<'_>, Vec<&Gist>> = BTreeMap::new();
    let mut inner: BTreeMap<Key<'_>, Vec<&Gist>> = BTreeMap::new();
    let mut dropped = BTreeSet::new();
    for gist in gists.iter().filter(|gist| is_llm(gist)) {
        match of_same(gist, by_key).filter(|above| is_llm(above)).last() {
            Some(outer) => {
                inner.entry(key(outer)).or_default().push(gist);
                dropped.insert(key(gist));
            }
            None => {
                if let Some(counts) = counts(gist) {
                    alike.entry(counts).or_default().push(gist);
                }
            }
        }
    }
    // What stands within another is told by that one already, and is no twin of it.
    for alike in alike.values() {
        for gist in alike {
            if let Some(outer) = twin(gist, alike) {
                inner.entry(key(outer)).or_default().push(gist);
                dropped.insert(key(gist));
            }
        }
    }
    for gist in gists {
        if let Some(outer) = same_call(gist, by_key) {
            inner.entry(key(outer)).or_default().push(gist);
            dropped.insert(key(gist));
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
        whole
    });
    whole.collect()
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

/// The spans above that may tell of the same thing: what an agent or a tool does below it is something else.
fn of_same<'b, 'a: 'b>(
    gist: &'b Gist,
    by_key: &'b BTreeMap<Key<'b>, &'a Gist>,
) -> impl Iterator<Item = &'b Gist> {
    ancestors(gist, by_key).take_while(|above| !is_apart(above))
}

fn is_apart(gist: &Gist) -> bool {
    matches!(gist.part, Part::Exchange | Part::Tool)
}

/// What is called like a generation, names no model and counts nothing, and stands around several that do, or around an
/// agent that does: a function that makes use of them.
fn wrappers<'a>(gists: &[&'a Gist], by_key: &BTreeMap<Key<'_>, &Gist>) -> BTreeSet<Key<'a>> {
    let is_llm = |gist: &&Gist| gist.part == Part::Llm;
    let is_known = |gist: &Gist| {
        let mut names = ["model", "promptTokens", "completionTokens"].iter();
        names.any(|name| gist.fields.contains_key(*name))
    };
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

/// Generations of one trace that counted the same.
type Alike<'a> = (&'a str, [u64; 2]);

fn counts(gist: &Gist) -> Option<Alike<'_>> {
    let bits = |name: &str| number(gist, name).map(f64::to_bits);
    Some((
        &gist.trace_id,
        [bits("promptTokens")?, bits("completionTokens")?],
    ))
}

/// The same generation in a better vocabulary: of another tracer, at the same time, of those that are alike.
fn twin<'a>(gist: &Gist, alike: &[&'a Gist]) -> Option<&'a Gist> {
    let mut others = alike.iter().copied();
    others.find(|other| {
        other.vocabulary < gist.vocabulary
            && other.started_at <= end(gist)
            && gist.started_at <= end(other)
    })
}

impl<'a> Group<'a> {
    pub fn of(&self, part: Part) -> impl DoubleEndedIterator<Item = &'a Gist> + '_ {
        let members = self.members.iter().copied();
        members.filter(move |gist| gist.part == part)
    }
}
