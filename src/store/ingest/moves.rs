//! Spans that turn out to belong to another conversation than the one they are stored in: they move there,
//! with all that follows from them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::event::{Event, Kind, Source, Submission};
use crate::domain::fact::Fact;
use crate::domain::session::Activity;

use super::Result;
use super::batch::SessionWork;
use super::divide::Division;
use super::load::{self, Key};
use super::merge;
use super::nodes::{self, Placed};
use super::resolve::Resolved;

/// Where a session's facts are from now on.
fn home(resolved: &Resolved<'_>, absorbed: &BTreeMap<Key, Key>, key: Key) -> Key {
    let key = resolved.targets.get(&key).copied().unwrap_or(key);
    absorbed.get(&key).copied().unwrap_or(key)
}

fn absorbed_by(resolved: &Resolved<'_>) -> BTreeMap<Key, Key> {
    let all = resolved.absorbed.iter();
    all.flat_map(|(into, others)| others.iter().map(|other| ((into.0, *other), *into)))
        .collect()
}

/// Adds to a batch what moves from one session to another.
pub async fn plan(
    connection: &mut PgConnection,
    division: &Division,
    resolved: &mut Resolved<'_>,
) -> Result<()> {
    let absorbed = absorbed_by(resolved);
    let mut moving = BTreeMap::new();
    let mut see = |trace: &nodes::Trace, span: &str, at: Uuid, key: Key| {
        let stored = (trace.0, at);
        let from = absorbed.get(&stored).copied().unwrap_or(stored);
        let to = home(resolved, &absorbed, key);
        if from != to {
            moving.insert((stored, nodes::identity(trace, span)), (from, to));
        }
    };
    for (trace, part) in &division.parts {
        for (span, key) in &part.keys {
            for at in part.at.get(span).into_iter().flatten() {
                see(trace, span, *at, *key);
            }
        }
    }
    for (kept, key) in &division.others {
        see(&kept.trace, &kept.node.span_id, kept.session, *key);
    }
    let wanted: Vec<_> = moving.keys().cloned().collect();
    for (stored, fact) in load::facts_by_identity(connection, &wanted).await? {
        let identity = fact.identity();
        let Some((from, to)) = moving.get(&(stored, identity.clone())) else {
            continue;
        };
        let old = resolved
            .work
            .entry(*from)
            .or_insert_with(SessionWork::there);
        old.gone.insert(identity);
        let new = resolved.work.entry(*to).or_insert_with(SessionWork::there);
        new.moved.push(Submission::Event(
            Source::Trace,
            Event {
                kind: fact.kind,
                id: fact.id,
                at: fact.at,
                fields: fact.fields,
            },
        ));
    }
    Ok(())
}

/// What is left of a session from which spans have gone, and when it was heard of; none where nothing is left
/// that anybody has told.
pub fn left(
    facts: Vec<Fact>,
    work: &SessionWork<'_>,
    activity: Option<Activity>,
) -> (Vec<Fact>, Option<Activity>) {
    if work.gone.is_empty() {
        return (facts, activity);
    }
    let mut facts = facts;
    facts.retain(|fact| !work.gone.contains(&fact.identity()));
    let is_span = |fact: &Fact| fact.source == Source::Trace && fact.kind == Kind::Span;
    let is_told =
        |fact: &&Fact| is_span(fact) || !matches!(fact.source, Source::Trace | Source::Timeout);
    if !facts.iter().any(|fact| is_told(&fact)) {
        return (Vec::new(), None);
    }
    if facts.iter().filter(is_told).all(is_span) {
        // Silence that was noticed was that of all.
        facts.retain(|fact| fact.source != Source::Timeout);
        let spans = facts.iter().filter(|fact| is_span(fact));
        let heard = spans.map(Activity::of).reduce(Activity::and);
        return (facts, heard);
    }
    (facts, activity)
}

/// Keeps where the spans of divided traces are, and removes sessions in which nothing is left.
pub async fn keep(
    connection: &mut PgConnection,
    division: &Division,
    resolved: &Resolved<'_>,
    emptied: &[Key],
    now: DateTime<Utc>,
) -> Result<()> {
    if division.parts.is_empty() && emptied.is_empty() {
        return Ok(());
    }
    let absorbed = absorbed_by(resolved);
    let (mut placed, mut led) = (Vec::new(), Vec::new());
    for (trace, part) in &division.parts {
        let first = part.first.map(|key| home(resolved, &absorbed, key));
        led.extend(first.map(|first| (trace, first.1)));
        for (span, key) in &part.keys {
            if let Some(node) = part.divided.nodes.get(span) {
                placed.push(Placed {
                    trace,
                    node,
                    is_anchor: part.divided.is_anchor(node),
                    is_stray: part.divided.claims(node).is_none(),
                    session: home(resolved, &absorbed, *key).1,
                });
            }
        }
    }
    nodes::keep(connection, &placed).await?;
    let bare = nodes::only_traced(connection, emptied).await?;
    let mut kept = BTreeMap::new();
    for key in emptied.iter().filter(|key| !bare.contains(*key)) {
        // What people have added to it stays with the trace.
        let mut firsts = division.parts.values().filter_map(|part| part.first);
        if let Some(first) = firsts.find(|first| first.0 == key.0) {
            let first = home(resolved, &absorbed, first);
            let into: &mut BTreeSet<Uuid> = kept.entry(first).or_default();
            into.insert(key.1);
        }
    }
    merge::absorb(connection, &kept, now).await?;
    nodes::remove(connection, &bare.into_iter().collect::<Vec<_>>()).await?;
    nodes::lead(connection, &led).await
}
