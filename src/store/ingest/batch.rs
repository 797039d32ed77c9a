//! One group commit: many requests' submissions, one transaction, everything or nothing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::assemble::{Change, Draft};
use crate::domain::event::{Kind, Outcome, SessionRef, Source, Submission};
use crate::domain::fact::{Entity, Fact, Identity};
use crate::domain::ledger::{Ledger, Room};
use crate::domain::precedence;
use crate::domain::price;
use crate::domain::price::Prices;
use crate::domain::session::Activity;

use super::closed;
use super::divide;
use super::keep;
use super::known;
use super::load::{self, Key, SessionBefore};
use super::merge;
use super::moves;
use super::named::Named;
use super::resolve::{self, Resolved};
use super::understand;
use super::understand::Gists;
use super::{Result, Trouble};

/// The submissions about one session, each with the place where its outcome belongs.
pub struct SessionWork<'a> {
    pub named: Named,
    pub submissions: Vec<(usize, &'a Submission)>,
    /// What each submission's door calls the session, in their order; not kept up once they are handed out.
    pub refs: Vec<&'a SessionRef>,
    /// What comes here from another session.
    pub moved: Vec<Submission>,
    /// What leaves for another session.
    pub gone: BTreeSet<Identity>,
}

impl SessionWork<'_> {
    pub fn named(named: Named) -> Self {
        Self {
            named,
            submissions: Vec::new(),
            refs: Vec::new(),
            moved: Vec::new(),
            gone: BTreeSet::new(),
        }
    }

    /// A session that is there, of which a batch itself says nothing.
    pub fn there() -> Self {
        Self::named(Named::default())
    }

    pub fn all(&self) -> impl Iterator<Item = &Submission> {
        let told = self.submissions.iter().map(|(_, submission)| *submission);
        told.chain(&self.moved)
    }

    pub fn tells(&self, wanted: impl Fn(&Submission) -> bool) -> bool {
        self.all().any(wanted)
    }
}

/// Writes a batch in the transaction of this connection; the caller commits. Answers what became of each
/// submission, by its place.
pub async fn write(
    connection: &mut PgConnection,
    work: BTreeMap<Key, SessionWork<'_>>,
    now: DateTime<Utc>,
) -> Result<Vec<(usize, Outcome)>> {
    let (work, division) = divide::divide(connection, work).await?;
    let mut resolved = resolve::resolve(connection, work).await?;
    moves::plan(connection, &division, &mut resolved).await?;
    let absorbed = resolved.all_absorbed();
    let keys: BTreeSet<Key> = resolved.work.keys().chain(&absorbed).copied().collect();
    let mut before = load::lock_sessions(connection, &keys.into_iter().collect::<Vec<_>>()).await?;
    division.check(connection).await?;
    if is_outrun(&resolved, &absorbed, &before) {
        return Err(Trouble::Race);
    }
    let mut outcomes = closed::refuse(connection, &mut resolved, &before, now).await?;
    let resolved = &resolved;
    let gone: BTreeMap<Key, SessionBefore> = resolved
        .all_absorbed()
        .into_iter()
        .filter_map(|key| Some((key, before.remove(&key)?)))
        .collect();
    let mut whole = rebuilt(resolved, &before);
    let taken = loop {
        let taken = take(connection, resolved, &before, &gone, &whole, now).await?;
        let shifted = taken.shifted(&before, &whole);
        if shifted.is_empty() {
            break taken;
        }
        whole.extend(shifted);
    };
    outcomes.extend(taken.outcomes);
    let (ledgers, members) = (taken.ledgers, taken.members);
    let mut changes = assemble(connection, &ledgers, &before, &whole).await?;
    merge::count_own(connection, &members, &mut changes).await?;
    price(connection, &mut changes).await?;
    let saved = keep::Saved {
        resolved,
        whole: &whole,
        before: &before,
        gone: &gone,
        division: &division,
        emptied: &taken.emptied,
        told: &taken.told,
    };
    keep::keep(connection, saved, &ledgers, &changes, now).await?;
    Ok(outcomes)
}

/// What became of a batch's submissions, and of the sessions that they are about.
struct Taken {
    outcomes: Vec<(usize, Outcome)>,
    ledgers: BTreeMap<Key, Ledger>,
    told: Gists,
    /// Sessions of which nothing is left.
    emptied: Vec<Key>,
    /// Each session that is put together again, with every session that its facts come from.
    members: Vec<(Key, Key)>,
}

impl Taken {
    /// Sessions that start otherwise than before, for those who count from the start: they have to be put
    /// together again as a whole.
    fn shifted(&self, before: &BTreeMap<Key, SessionBefore>, whole: &BTreeSet<Key>) -> Vec<Key> {
        let part = self.ledgers.iter();
        let part = part.filter(|(key, _)| before.contains_key(key) && !whole.contains(key));
        let shifted = part.filter(|(_, ledger)| ledger.is_shifted());
        shifted.map(|(key, _)| *key).collect()
    }
}

/// Hands every submission to its session's facts, as far as they are touched, or to all of them.
async fn take(
    connection: &mut PgConnection,
    resolved: &Resolved<'_>,
    before: &BTreeMap<Key, SessionBefore>,
    gone: &BTreeMap<Key, SessionBefore>,
    whole: &BTreeSet<Key>,
    now: DateTime<Utc>,
) -> Result<Taken> {
    let work = &resolved.work;
    let mut known = known::facts(connection, work, before, whole).await?;
    let members: Vec<(Key, Key)> = whole
        .iter()
        .flat_map(|key| {
            let others = resolved.absorbed.get(key).into_iter().flatten();
            [*key]
                .into_iter()
                .chain(others.map(|other| (key.0, *other)))
                .map(|of| (*key, of))
        })
        .collect();
    let mut whole_facts = load::all_facts(connection, &members).await?;
    let mut gists = understand::load_gists(connection, work, before, whole).await?;
    let mut taken = Taken {
        outcomes: Vec::new(),
        ledgers: BTreeMap::new(),
        told: Gists::new(),
        emptied: Vec::new(),
        members,
    };
    for (key, work) in work {
        let activity = before.get(key).map(|session| session.activity);
        let mut ledger = if whole.contains(key) {
            let others = resolved.absorbed.get(key).into_iter().flatten();
            let others = others.filter_map(|other| Some(gone.get(&(key.0, *other))?.activity));
            let activity = activity.into_iter().chain(others).reduce(Activity::and);
            let facts = whole_facts.remove(key).unwrap_or_default();
            let (facts, activity) = moves::left(facts, work, activity);
            if !work.gone.is_empty() && facts.is_empty() && !work.tells(|_| true) {
                taken.emptied.push(*key);
                continue;
            }
            Ledger::rebuilt(facts, activity)
        } else {
            let room = before.get(key).map_or_else(Room::default, |session| {
                Room::beside(session.counters.held())
            });
            Ledger::new(known.remove(key).unwrap_or_default(), activity, room)
        };
        for submission in &work.moved {
            ledger.submit(submission.clone(), now);
        }
        for (place, submission) in &work.submissions {
            let outcome = ledger.submit((*submission).clone(), now);
            taken.outcomes.push((*place, outcome));
        }
        if understand::tells_spans(work) || whole.contains(key) {
            let stored = gists.remove(key).unwrap_or_default();
            taken
                .told
                .insert(*key, understand::spans(&mut ledger, stored));
        }
        if whole.contains(key) || !ledger.is_unchanged(activity) {
            taken.ledgers.insert(*key, ledger);
        }
    }
    Ok(taken)
}

/// Whether somebody has made one of several sessions, or several of one, between the look and the lock.
fn is_outrun(
    resolved: &Resolved<'_>,
    absorbed: &[Key],
    before: &BTreeMap<Key, SessionBefore>,
) -> bool {
    let work = &resolved.work;
    let is_other = |(key, divisions): (&Key, &i32)| {
        let now = before.get(key);
        now.is_none_or(|session| session.divisions != *divisions)
    };
    let mut left = work.iter().filter(|(_, work)| !work.gone.is_empty());
    absorbed.iter().any(|key| !before.contains_key(key))
        || left.any(|(key, _)| !before.contains_key(key) && !resolved.absorbed.contains_key(key))
        || resolved
            .found
            .iter()
            .filter(|(key, _)| work.contains_key(*key))
            .any(is_other)
}

/// Sessions that are put together again from all their facts: those that absorb others, and those whose
/// turns are told by more than one family of sources.
fn rebuilt(resolved: &Resolved<'_>, before: &BTreeMap<Key, SessionBefore>) -> BTreeSet<Key> {
    let mixed = resolved.work.iter().filter(|(key, work)| {
        let known = before.get(*key).map_or(0, |session| session.turn_families);
        (known | families(work)).count_ones() > 1
    });
    let mixed = mixed.map(|(key, _)| *key);
    let left = resolved
        .work
        .iter()
        .filter(|(_, work)| !work.gone.is_empty());
    let left = left.map(|(key, _)| *key);
    let absorbing = resolved.absorbed.keys().copied();
    absorbing.chain(mixed).chain(left).collect()
}

/// Which families of sources tell turns here, or what counts by who does, a bit each.
pub fn families(work: &SessionWork<'_>) -> i16 {
    work.all()
        .map(|submission| match submission {
            Submission::Event(source, event) | Submission::Undated(source, event)
                if precedence::depends_on_family(event.kind, *source) =>
            {
                precedence::family_bit(*source)
            }
            Submission::Event(Source::Trace, event) if event.kind == Kind::Span => {
                precedence::family_bit(Source::Trace)
            }
            Submission::Report(source, report)
                if report
                    .events
                    .iter()
                    .any(|e| precedence::depends_on_family(e.kind, *source)) =>
            {
                precedence::family_bit(*source)
            }
            _ => 0,
        })
        .fold(0, |all, bit| all | bit)
}

/// The state of every session whose facts changed.
async fn assemble(
    connection: &mut PgConnection,
    ledgers: &BTreeMap<Key, Ledger>,
    before: &BTreeMap<Key, SessionBefore>,
    whole: &BTreeSet<Key>,
) -> Result<BTreeMap<Key, Change>> {
    // What is put together again has nothing before it.
    let before: BTreeMap<Key, &SessionBefore> = before
        .iter()
        .filter(|(key, _)| !whole.contains(key))
        .map(|(key, session)| (*key, session))
        .collect();
    let before = &before;
    let mut drafts: BTreeMap<Key, Draft> = ledgers
        .iter()
        .map(|(key, ledger)| (*key, Draft::of(ledger)))
        .collect();
    let around = known::around(connection, &drafts, before).await?;
    let none = Vec::new();
    let of = |key: &Key| around.get(key).unwrap_or(&none);
    let successors: Vec<(Key, Entity)> = drafts
        .iter()
        .flat_map(|(key, draft)| {
            draft
                .successors(of(key))
                .into_iter()
                .map(|index| (*key, Entity::turn(index)))
        })
        .collect();
    let mut facts: BTreeMap<(Key, i32), Vec<Fact>> = BTreeMap::new();
    for (key, fact) in load::facts_by_entity(connection, &successors).await? {
        facts
            .entry((key, fact.turn_index()))
            .or_default()
            .push(fact);
    }
    for ((key, index), facts) in &facts {
        if let Some(draft) = drafts.get_mut(key) {
            draft.add_turn(*index, &facts.iter().collect::<Vec<_>>());
        }
    }
    let mut known = known::amounts(connection, &drafts, before).await?;
    let finished = drafts.into_iter().filter_map(|(key, draft)| {
        let known = known.remove(&key).unwrap_or_default();
        Some((key, draft.finish(known, of(&key))?))
    });
    Ok(finished.collect())
}

/// What sessions cost whose sources do not say it.
async fn price(connection: &mut PgConnection, changes: &mut BTreeMap<Key, Change>) -> Result<()> {
    let tenants: BTreeSet<Uuid> = changes.keys().map(|key| key.0).collect();
    let own = load::prices(connection, &tenants.into_iter().collect::<Vec<_>>()).await?;
    let none = Prices::default();
    for (key, change) in changes {
        let prices = own.get(&key.0).unwrap_or(&none);
        price::apply(&mut change.session, &change.digest, prices);
    }
    Ok(())
}
