//! Which spans make one exchange, and which of them tell of the same generation twice.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::super::calls::{DEPTH_MAX, end, has_failed, is_set, number};
use super::super::{Gist, Part};
use super::said;

type Key<'a> = (&'a str, &'a str);

/// Sooner nobody has heard an answer and spoken again: what is generated then is more of the same exchange.
const HEARD_AND_SPOKEN: TimeDelta = TimeDelta::seconds(1);

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
        groups.extend(sequences(loose));
        groups
    }
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
    let owners = counted.iter().map(owner).collect();
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
    std::iter::successors(Some(gist), above)
        .skip(1)
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
    let is_llm = |gist: &Gist| gist.part == Part::Llm;
    let mut by_trace: BTreeMap<&str, Vec<&Gist>> = BTreeMap::new();
    let mut inner: BTreeMap<Key<'_>, Vec<&Gist>> = BTreeMap::new();
    let mut dropped = BTreeSet::new();
    let generations: Vec<&Gist> = gists.iter().copied().filter(|gist| is_llm(gist)).collect();
    for gist in &generations {
        by_trace.entry(&gist.trace_id).or_default().push(gist);
    }
    for gist in &generations {
        let beside = by_trace.get(gist.trace_id.as_str());
        let outer = ancestors(gist, by_key).filter(|above| is_llm(above)).last();
        let outer = outer.or_else(|| twin(gist, beside?));
        if let Some(outer) = outer {
            inner.entry(key(outer)).or_default().push(gist);
            dropped.insert(key(gist));
        }
    }
    let parts = gists
        .iter()
        .filter(|gist| !matches!(gist.part, Part::Root | Part::Exchange));
    let parts = parts.filter(|gist| !dropped.contains(&key(gist)));
    let whole = parts.map(|gist| {
        let mut whole = (*gist).clone();
        for more in inner.get(&key(gist)).into_iter().flatten() {
            for (name, value) in &more.fields {
                whole.fields.entry(name).or_insert_with(|| value.clone());
            }
        }
        whole
    });
    whole.collect()
}

/// The same generation in a better vocabulary: of another tracer, at the same time, with the same counts.
fn twin<'a>(gist: &Gist, generations: &[&'a Gist]) -> Option<&'a Gist> {
    let counts = |gist: &Gist| {
        let counts = (
            number(gist, "promptTokens")?,
            number(gist, "completionTokens")?,
        );
        Some(counts)
    };
    let own = counts(gist)?;
    let mut others = generations.iter().copied();
    others.find(|other| {
        other.vocabulary < gist.vocabulary
            && other.trace_id == gist.trace_id
            && other.started_at <= end(gist)
            && gist.started_at <= end(other)
            && counts(other) == Some(own)
    })
}

impl<'a> Group<'a> {
    pub fn of(&self, part: Part) -> impl DoubleEndedIterator<Item = &'a Gist> + '_ {
        let members = self.members.iter().copied();
        members.filter(move |gist| gist.part == part)
    }
}

/// Exchanges of spans that stand in none: another begins where the user speaks, or a generation is asked
/// something else.
fn sequences<'b>(loose: Vec<&'b Gist>) -> Vec<Group<'b>> {
    let mut groups: Vec<Group<'b>> = Vec::new();
    let mut parts: Vec<&Gist> = loose;
    parts.retain(|gist| matches!(gist.part, Part::Stt | Part::Llm | Part::Tts | Part::Tool));
    // A transcript counts from when it was there.
    parts.sort_by_key(|gist| -> DateTime<Utc> {
        match gist.part {
            Part::Stt => end(gist),
            _ => gist.started_at,
        }
    });
    let is_spoken = parts.iter().any(|gist| gist.part == Part::Tts);
    for gist in parts {
        let begins = groups
            .last()
            .is_none_or(|group| begins(group, gist, is_spoken));
        match groups.last_mut().filter(|_| !begins) {
            Some(group) => group.members.push(gist),
            None => groups.push(Group {
                own: None,
                members: vec![gist],
                within: Vec::new(),
            }),
        }
    }
    groups
}

/// Whether another exchange begins; `is_spoken` where answers are told as speech.
fn begins(group: &Group<'_>, gist: &Gist, is_spoken: bool) -> bool {
    let is_heard = group.members.iter().any(|member| member.part == Part::Stt);
    match gist.part {
        Part::Stt => group.members.iter().any(|member| member.part != Part::Stt),
        Part::Llm if !is_heard => {
            let is_asked = |gist: &Gist| said(gist, "userText").is_some();
            let mut asked = group.members.iter().filter(|member| is_asked(member));
            match asked.next_back() {
                Some(before) if is_asked(gist) => {
                    said(before, "userText") != said(gist, "userText")
                        || is_said_again(group, before, gist, is_spoken)
                }
                _ => false,
            }
        }
        _ => false,
    }
}

/// Whether a generation is asked the same as the one `before` because the user has said the same words again, and not
/// for another attempt at an answer, or for the rest of one: the user was answered, could have spoken since, and
/// these words are the last. Then it is of another trace, or was told more of the conversation before them.
fn is_said_again(group: &Group<'_>, before: &Gist, gist: &Gist, is_spoken: bool) -> bool {
    let answers = group
        .members
        .iter()
        .filter_map(|member| answered_at(member, is_spoken));
    let is_later = answers
        .max()
        .is_some_and(|at| gist.started_at - at >= HEARD_AND_SPOKEN);
    let messages = |gist: &Gist| number(gist, "messagesBefore");
    let is_told_more = messages(before).is_some() && messages(gist) > messages(before);
    let is_elsewhere = group
        .members
        .iter()
        .all(|member| member.trace_id != gist.trace_id);
    is_later && !is_set(gist, "isContinued") && (is_told_more || is_elsewhere)
}

/// When a part of an answer was there, if it is one that says something: of what is spoken, what was generated is none.
fn answered_at(gist: &Gist, is_spoken: bool) -> Option<DateTime<Utc>> {
    match gist.part {
        _ if has_failed(gist) => None,
        Part::Llm if !is_spoken => said(gist, "text").map(|_| end(gist)),
        Part::Tts => Some(gist.started_at),
        _ => None,
    }
}
