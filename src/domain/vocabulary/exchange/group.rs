//! Which spans make one exchange.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::super::calls::{DEPTH_MAX, end, has_failed};
use super::super::{Gist, Part};
use super::adjacent;
use super::once::counted;
use super::said;
use super::sequence::{Places, is_said, sequences};

pub type Key<'a> = (&'a str, &'a str);

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
    let mut owners: Vec<Option<usize>> = counted.iter().map(owner).collect();
    adjacent::find(&counted, &exchanges, &mut owners);
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

pub fn key(gist: &Gist) -> Key<'_> {
    (&gist.trace_id, &gist.span_id)
}

/// The spans above, the nearest first.
pub fn ancestors<'b, 'a: 'b>(
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
    let runs = Runs::of(gists);
    let is_topmost = |gist: &Gist| {
        let is_turn = gist.fields.contains_key("isTurn");
        ancestors(gist, by_key).all(|above| above.part != Part::Exchange || holds_turns(above))
            && (is_turn || !runs.is_of_tool(gist, by_key))
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

/// Tools and exchanges, by trace.
struct Runs<'a>(BTreeMap<&'a str, Vec<&'a Gist>>);

impl<'a> Runs<'a> {
    fn of(gists: &[&'a Gist]) -> Self {
        let mut runs: BTreeMap<&str, Vec<&Gist>> = BTreeMap::new();
        let is_run = |gist: &&&'a Gist| matches!(gist.part, Part::Tool | Part::Exchange);
        for gist in gists.iter().filter(is_run) {
            runs.entry(&gist.trace_id).or_default().push(gist);
        }
        Self(runs)
    }

    /// Whether an exchange, of which a span stands above that nobody knows, is what a tool of another one did: it took
    /// place while the tool ran.
    fn is_of_tool(&self, gist: &Gist, by_key: &BTreeMap<Key<'_>, &Gist>) -> bool {
        let top = ancestors(gist, by_key).last().unwrap_or(gist);
        let runs = self.0.get(gist.trace_id.as_str());
        let runs = runs.filter(|_| top.parent.is_some());
        let all = || runs.into_iter().flatten();
        let holds = |outer: &Gist, inner: &Gist| {
            outer.started_at <= inner.started_at && end(inner) <= end(outer)
        };
        let is_called = |tool: &Gist| {
            let mut others = all().filter(|other| other.part == Part::Exchange);
            others.any(|other| key(other) != key(gist) && holds(other, tool))
        };
        let mut tools = all().filter(|tool| tool.part == Part::Tool && tool.parent != top.parent);
        tools.any(|tool| holds(tool, gist) && is_called(tool))
    }
}

/// The exchange, of those of its trace, during which something began, where no span between tells.
fn around(gist: &Gist, exchanges: &[&Gist], places: &[usize]) -> Option<usize> {
    let holds = |place: &usize| {
        let exchange = exchanges.get(*place);
        exchange.is_some_and(|own| (own.started_at..=end(own)).contains(&gist.started_at))
    };
    places.iter().rev().copied().find(|place| holds(place))
}

impl<'a> Group<'a> {
    pub fn of(&self, part: Part) -> impl DoubleEndedIterator<Item = &'a Gist> + '_ {
        let members = self.members.iter().copied();
        members.filter(move |gist| gist.part == part)
    }
}
