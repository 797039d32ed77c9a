//! What a batch must know of sessions that exist, from what it tells of them: which rows are asked for, `load` asks.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use crate::domain::assemble::{Draft, Known, Neighbour};
use crate::domain::event::Source;
use crate::domain::fact::{Entity, Fact, Identity};
use crate::domain::ledger::{Ledger, Reach};
use crate::domain::precedence;

use super::Result;
use super::batch::SessionWork;
use super::load::{self, Key, Place, SessionBefore};
use super::understand;

/// Touching more turns than this at once reads the whole session's turns instead of neighbours one by one.
const MANY_TURNS: usize = 32;

/// The facts that the submissions may meet, of sessions that exist.
pub async fn facts(
    connection: &mut PgConnection,
    work: &BTreeMap<Key, SessionWork<'_>>,
    before: &BTreeMap<Key, SessionBefore>,
    whole: &BTreeSet<Key>,
) -> Result<BTreeMap<Key, Vec<Fact>>> {
    let mut reaches: BTreeMap<Key, Reach> = BTreeMap::new();
    let is_part = |key: &Key| before.contains_key(key) && !whole.contains(key);
    for (key, work) in work.iter().filter(|(key, _)| is_part(key)) {
        let reach = reaches.entry(*key).or_default();
        if understand::tells_spans(work) {
            reach.replaced_reports.insert(Source::Trace);
        }
        work.all()
            .for_each(|submission| reach.and(Ledger::reach(submission)));
    }
    let mut facts: BTreeMap<Key, Vec<Fact>> = BTreeMap::new();
    let reports: Vec<(Key, Source)> = reaches
        .iter()
        .flat_map(|(key, reach)| reach.replaced_reports.iter().map(|source| (*key, *source)))
        .collect();
    let mut met = load::facts_of_reports(connection, &reports).await?;
    // A fact that is to be replaced may have spoken of another entity than its successor does.
    let mut asked: BTreeSet<(Key, Entity)> = BTreeSet::new();
    let mut asked_by_name: BTreeSet<(Key, Identity)> = BTreeSet::new();
    loop {
        for (key, fact) in met.drain(..) {
            asked_by_name.insert((key, fact.identity()));
            if let Some(reach) = reaches.get_mut(&key)
                && !is_alone(&fact, reach)
            {
                reach.meet(&fact);
            }
            facts.entry(key).or_default().push(fact);
        }
        let wanted: Vec<(Key, Entity)> = reaches
            .iter()
            .flat_map(|(key, reach)| reach.entities.iter().map(|entity| (*key, entity.clone())))
            .filter(|wanted| Fact::is_shared(wanted.1.kind) && asked.insert(wanted.clone()))
            .collect();
        let named: Vec<(Key, Identity)> = reaches
            .iter()
            .flat_map(|(key, reach)| reach.identities.iter().map(|name| (*key, name.clone())))
            .filter(|name| asked_by_name.insert(name.clone()))
            .collect();
        if wanted.is_empty() && named.is_empty() {
            return Ok(facts);
        }
        met = load::facts_by_entity(connection, &wanted).await?;
        met.extend(load::facts_by_identity(connection, &named).await?);
    }
}

/// Whether all that is known of a fact's entity is at hand: a tracer's report is loaded whole, and turns that others tell
/// too are put together from all facts.
fn is_alone(fact: &Fact, reach: &Reach) -> bool {
    reach.replaced_reports.contains(&Source::Trace)
        && fact.source == Source::Trace
        && precedence::is_of_turns(fact.kind)
}
/// The turns around those that a batch touches.
pub async fn around(
    connection: &mut PgConnection,
    drafts: &BTreeMap<Key, Draft<'_>>,
    before: &BTreeMap<Key, &SessionBefore>,
) -> Result<BTreeMap<Key, Vec<Neighbour>>> {
    let (mut places, mut whole) = (Vec::new(), Vec::new());
    for (key, draft) in drafts.iter().filter(|(key, _)| before.contains_key(key)) {
        let touched: Vec<i32> = draft.turn_indexes().collect();
        if touched.len() > MANY_TURNS {
            whole.push(*key);
        } else {
            places.extend(draft.places().map(|p| Place {
                key: *key,
                position: *p,
                touched: touched.clone(),
            }));
        }
    }
    let mut around: BTreeMap<Key, Vec<Neighbour>> = BTreeMap::new();
    let mut found = load::neighbours(connection, &places).await?;
    found.extend(load::all_turns(connection, &whole).await?);
    for (key, neighbour) in found {
        let is_touched = drafts
            .get(&key)
            .is_some_and(|d| d.turn_indexes().any(|i| i == neighbour.position.2));
        if !is_touched {
            around.entry(key).or_default().push(neighbour);
        }
    }
    Ok(around)
}

/// What sessions amounted to before, as far as a batch touches them.
pub async fn amounts(
    connection: &mut PgConnection,
    drafts: &BTreeMap<Key, Draft<'_>>,
    before: &BTreeMap<Key, &SessionBefore>,
) -> Result<BTreeMap<Key, Known>> {
    let mut known: BTreeMap<Key, Known> = before
        .iter()
        .map(|(key, s)| {
            (
                *key,
                Known {
                    counters: s.counters,
                    digest: s.digest.clone(),
                    ..Known::default()
                },
            )
        })
        .collect();
    let existing = || drafts.iter().filter(|(key, _)| before.contains_key(key));
    let turns: Vec<_> = existing()
        .flat_map(|(key, d)| d.turn_indexes().map(|index| (*key, index)))
        .collect();
    for (key, index, turn) in load::known_turns(connection, &turns).await? {
        known.entry(key).or_default().turns.insert(index, turn);
    }
    let summed: Vec<_> = existing()
        .flat_map(|(key, d)| d.summable().map(|index| (*key, index)))
        .collect();
    for (key, id, turn, interval) in load::tool_intervals(connection, &summed).await? {
        known
            .entry(key)
            .or_default()
            .tool_calls
            .push((id, turn, interval));
    }
    Ok(known)
}
