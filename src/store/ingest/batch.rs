//! One group commit: many requests' submissions, one transaction, everything or nothing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::analytics::hour_of;
use crate::domain::assemble::{Change, Draft, Known, Neighbour};
use crate::domain::event::{Kind, Outcome, SessionRef, Source, Submission};
use crate::domain::fact::{Entity, Fact, Identity};
use crate::domain::ids::{ClaimKind, preferred};
use crate::domain::ledger::{Ledger, Reach, Room};
use crate::domain::precedence;
use crate::domain::price;
use crate::domain::price::Prices;
use crate::domain::session::Activity;

use super::closed;
use super::divide;
use super::divide::Division;
use super::labels;
use super::load::{self, Key, Place, SessionBefore};
use super::merge;
use super::moves;
use super::named::Named;
use super::outbox;
use super::resolve::{self, Resolved};
use super::save::{self, Rows, SessionRow, Tagged};
use super::spans;
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

    fn all(&self) -> impl Iterator<Item = &Submission> {
        let told = self.submissions.iter().map(|(_, submission)| *submission);
        told.chain(&self.moved)
    }

    pub fn tells(&self, wanted: impl Fn(&Submission) -> bool) -> bool {
        self.all().any(wanted)
    }
}

/// Touching more turns than this at once reads the whole session's turns instead of neighbours one by one.
const MANY_TURNS: usize = 32;

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
    let saved = Saved {
        resolved,
        whole: &whole,
        before: &before,
        gone: &gone,
        division: &division,
        emptied: &taken.emptied,
        told: &taken.told,
    };
    save(connection, saved, &ledgers, &changes, now).await?;
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
    let mut known = load_facts(connection, work, before, whole).await?;
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

/// Which families of sources tell turns here, a bit each.
fn families(work: &SessionWork<'_>) -> i16 {
    work.all()
        .map(|submission| match submission {
            Submission::Event(source, event) | Submission::Undated(source, event)
                if precedence::is_of_turns(event.kind) =>
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
                    .any(|e| precedence::is_of_turns(e.kind)) =>
            {
                precedence::family_bit(*source)
            }
            _ => 0,
        })
        .fold(0, |all, bit| all | bit)
}

/// The facts that the submissions may meet, of sessions that exist.
async fn load_facts(
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
    let around = load_around(connection, &drafts, before).await?;
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
    let mut known = load_known(connection, &drafts, before).await?;
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

async fn load_around(
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

async fn load_known(
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

/// What was there before, and what becomes of it.
struct Saved<'a> {
    resolved: &'a Resolved<'a>,
    whole: &'a BTreeSet<Key>,
    before: &'a BTreeMap<Key, SessionBefore>,
    /// Sessions that have been absorbed.
    gone: &'a BTreeMap<Key, SessionBefore>,
    division: &'a Division,
    /// Sessions of which nothing is left.
    emptied: &'a [Key],
    told: &'a Gists,
}

async fn save(
    connection: &mut PgConnection,
    saved: Saved<'_>,
    ledgers: &BTreeMap<Key, Ledger>,
    changes: &BTreeMap<Key, Change>,
    now: DateTime<Utc>,
) -> Result<()> {
    let before = saved.before;
    let (mut new, mut old, mut retagged, mut moved) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut hours: BTreeSet<_> = saved
        .gone
        .iter()
        .chain(before.iter().filter(|(key, _)| saved.emptied.contains(key)))
        .map(|(key, session)| (key.0, hour_of(session.started_at)))
        .collect();
    for (key, change) in changes {
        let name = name(*key, &saved);
        let row = || SessionRow {
            key: *key,
            external_id: name.0,
            name_kind: name.1,
            turn_families: turn_families(*key, &saved, ledgers),
            change,
            activity: ledgers[key].activity().unwrap_or(Activity {
                first_at: now,
                last_at: now,
            }),
            touched_at: now,
        };
        let session = &change.session;
        hours.insert((key.0, hour_of(session.started_at)));
        match before.get(key) {
            None => {
                new.push(row());
                if !session.tags.is_empty() {
                    retagged.push(Tagged {
                        key: *key,
                        tags: &session.tags,
                        started_at: session.started_at,
                    });
                }
            }
            Some(before) => {
                hours.insert((key.0, hour_of(before.started_at)));
                old.push(row());
                if before.started_at != session.started_at && before.counters.errors > 0 {
                    moved.push(row());
                }
                let tags = before.effective_tags(&session.tags);
                if before.effective_tags(&before.tags) != tags
                    || (!tags.is_empty() && before.started_at != session.started_at)
                {
                    retagged.push(Tagged {
                        key: *key,
                        tags,
                        started_at: session.started_at,
                    });
                }
            }
        }
    }
    save::insert_sessions(connection, &new).await?;
    merge::absorb(connection, &saved.resolved.absorbed, now).await?;
    // Where nothing of what was told could be taken there is no session, and nothing that a name could lead to.
    let mut names = saved.resolved.aliases.clone();
    names.retain(|(tenant, ..), session| {
        let key = (*tenant, *session);
        before.contains_key(&key) || changes.contains_key(&key)
    });
    merge::keep_names(connection, &names).await?;
    merge::clear(connection, saved.whole, before).await?;
    moves::keep(
        connection,
        saved.division,
        saved.resolved,
        saved.emptied,
        now,
    )
    .await?;
    save_facts(connection, ledgers, saved.told).await?;
    let each = || changes.iter().map(|(key, change)| (*key, change));
    save::turns(connection, Rows::of(each().map(|(key, c)| (key, &c.turns)))).await?;
    save::tool_calls(
        connection,
        Rows::of(each().map(|(key, c)| (key, &c.tool_calls))),
    )
    .await?;
    save::interruptions(
        connection,
        Rows::of(each().map(|(key, c)| (key, &c.interruptions))),
    )
    .await?;
    save::errors(
        connection,
        Rows::of(each().map(|(key, c)| (key, &c.errors))),
        |key| {
            changes
                .get(key)
                .map_or(now, |change| change.session.started_at)
        },
    )
    .await?;
    save::move_errors(connection, &moved).await?;
    save::evaluations(
        connection,
        Rows::of(each().map(|(key, c)| (key, &c.evaluations))),
    )
    .await?;
    spans::save(
        connection,
        Rows::of(each().map(|(key, c)| (key, &c.spans))),
        each().map(|(key, c)| (key, &c.traces, &c.receded)),
    )
    .await?;
    save::update_sessions(connection, &old).await?;
    save::replace_tags(connection, &retagged).await?;
    outbox::append(
        connection,
        changes,
        ledgers,
        before,
        &saved.resolved.absorbed,
        now,
    )
    .await?;
    save::mark_analyses(connection, changes, now).await?;
    labels::save(connection, changes, ledgers, now).await?;
    save::mark_hours(connection, &hours.into_iter().collect::<Vec<_>>()).await
}

/// What a session is called from now on, and what kind of name that is.
fn name<'a>(key: Key, saved: &Saved<'a>) -> (&'a str, ClaimKind) {
    let told = saved.resolved.work.get(&key).map(|work| &work.named);
    let told_kind = told.and_then(|named| named.kind);
    let told_name = told.map_or("", |named| named.external_id.as_str());
    match (saved.before.get(&key), told_kind) {
        (None, kind) => (told_name, kind.unwrap_or(ClaimKind::Trace)),
        (Some(before), Some(kind)) if kind < before.name_kind => (told_name, kind),
        (Some(before), Some(kind)) if kind == before.name_kind => {
            (preferred(&before.external_id, told_name), kind)
        }
        (Some(before), _) => (&before.external_id, before.name_kind),
    }
}

/// Which families of sources tell this session's turns: counted where all its facts are at hand.
fn turn_families(key: Key, saved: &Saved<'_>, ledgers: &BTreeMap<Key, Ledger>) -> i16 {
    if saved.whole.contains(&key) {
        return ledgers.get(&key).map_or(0, Ledger::families);
    }
    let known = saved
        .before
        .get(&key)
        .map_or(0, |before| before.turn_families);
    known | saved.resolved.work.get(&key).map_or(0, families)
}

async fn save_facts(
    connection: &mut PgConnection,
    ledgers: &BTreeMap<Key, Ledger>,
    gists: &Gists,
) -> Result<()> {
    let removed: Vec<_> = ledgers
        .iter()
        .flat_map(|(key, ledger)| ledger.removed().map(|i| (*key, i)))
        .collect();
    save::delete_facts(connection, &removed).await?;
    let (mut new, mut known) = (Vec::new(), Vec::new());
    for (key, ledger) in ledgers {
        for (fact, entity) in ledger.written() {
            let into = if ledger.is_stored(&fact.identity()) {
                &mut known
            } else {
                &mut new
            };
            into.push((*key, fact, entity));
        }
    }
    save::insert_facts(connection, &new, gists).await?;
    save::replace_facts(connection, &known, gists).await
}
