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
    let mut groups = sequences(whole.members, Places::Within);
    for nested in whole.within {
        let begun = |group: &&mut Group<'_>| {
            let first = group.members.first();
            first.is_some_and(|first| first.started_at <= end(nested))
        };
        if let Some(group) = groups.iter_mut().rev().find(begun) {
            group.within.push(nested);
        }
    }
    groups
}

/// Where the spans stand of which exchanges are made.
#[derive(Clone, Copy, PartialEq)]
enum Places {
    /// Beside each other: they are of one exchange only where what they say does not differ.
    Loose,
    /// Below one span, whose steps they may be: another exchange only goes on with what was said before.
    Within,
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
    let around = around_several(gists, by_key);
    let is_llm = |gist: &Gist| gist.part == Part::Llm && !around.contains(&key(gist));
    let mut by_trace: BTreeMap<&str, Vec<&Gist>> = BTreeMap::new();
    let mut inner: BTreeMap<Key<'_>, Vec<&Gist>> = BTreeMap::new();
    let mut dropped = BTreeSet::new();
    for gist in gists.iter().filter(|gist| is_llm(gist)) {
        match ancestors(gist, by_key).filter(|above| is_llm(above)).last() {
            Some(outer) => {
                inner.entry(key(outer)).or_default().push(gist);
                dropped.insert(key(gist));
            }
            None => by_trace.entry(&gist.trace_id).or_default().push(gist),
        }
    }
    // What stands within another is told by that one already, and is no twin of it.
    for outermost in by_trace.values() {
        for gist in outermost {
            if let Some(outer) = twin(gist, outermost) {
                inner.entry(key(outer)).or_default().push(gist);
                dropped.insert(key(gist));
            }
        }
    }
    let parts = gists
        .iter()
        .filter(|gist| !matches!(gist.part, Part::Root | Part::Exchange));
    let parts = parts.filter(|gist| !dropped.contains(&key(gist)) && !around.contains(&key(gist)));
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

/// What is called like a generation, names no model and counts nothing, and stands around several that do: a function that
/// makes use of them.
fn around_several<'a>(gists: &[&'a Gist], by_key: &BTreeMap<Key<'_>, &Gist>) -> BTreeSet<Key<'a>> {
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
        let above = || ancestors(gist, by_key).filter(is_llm);
        if above().all(|above| !is_known(above)) {
            above().for_each(|above| *known_below.entry(key(above)).or_default() += 1);
        }
    }
    let several = gists.iter().copied().filter(is_llm);
    let several = several.filter(|gist| known_below.get(&key(gist)).is_some_and(|n| *n > 1));
    several.map(key).collect()
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
fn sequences<'b>(loose: Vec<&'b Gist>, places: Places) -> Vec<Group<'b>> {
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
        let begins = groups.last().is_none_or(|group| {
            begins(group, gist, is_spoken) && (places == Places::Loose || goes_on(group, gist))
        });
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

/// Whether something comes behind a whole exchange: what the user says behind an answer, or a generation that was told
/// more of the conversation before the user's words than any before it. One that was told less looks at the same words
/// for another purpose.
fn goes_on(group: &Group<'_>, gist: &Gist) -> bool {
    let is_answered = group.members.iter().any(|member| {
        matches!(member.part, Part::Llm | Part::Tts)
            && !has_failed(member)
            && said(member, "text").is_some()
    });
    let before = |gist: &Gist| number(gist, "messagesBefore");
    let most = group.members.iter().filter_map(|gist| before(gist));
    let is_told_more = || before(gist) > most.reduce(f64::max);
    is_answered && (gist.part == Part::Stt || !is_set(gist, "isContinued") && is_told_more())
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
