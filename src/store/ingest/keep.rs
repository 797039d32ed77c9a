//! What a batch leaves behind, table by table: which rows are written, `save` writes them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::analytics::hour_of;
use crate::domain::assemble::Change;
use crate::domain::ids::{ClaimKind, preferred};
use crate::domain::ledger::Ledger;
use crate::domain::session::Activity;

use super::Result;
use super::batch::families;
use super::divide::Division;
use super::labels;
use super::load::{Key, SessionBefore};
use super::merge;
use super::moves;
use super::outbox;
use super::resolve::Resolved;
use super::rows::{FactRow, SessionAfter};
use super::save::{self, Rows, Tagged};
use super::spans;
use super::understand::Gists;

/// What was there before, and what becomes of it.
pub struct Saved<'a> {
    pub resolved: &'a Resolved<'a>,
    pub whole: &'a BTreeSet<Key>,
    pub before: &'a BTreeMap<Key, SessionBefore>,
    /// Sessions that have been absorbed.
    pub gone: &'a BTreeMap<Key, SessionBefore>,
    pub division: &'a Division,
    /// Sessions of which nothing is left.
    pub emptied: &'a [Key],
    pub told: &'a Gists,
}

/// Writes what became of sessions.
pub async fn keep(
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
        let row = || SessionAfter {
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
    let before = saved
        .before
        .get(&key)
        .map_or(0, |before| before.turn_families);
    before | saved.resolved.work.get(&key).map_or(0, families)
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
        let gists = gists.get(key);
        for (identity, entity, fact) in ledger.written() {
            let into = if ledger.is_stored(identity) {
                &mut known
            } else {
                &mut new
            };
            let gist = gists.and_then(|gists| Some(gists.get(identity)?.as_str()));
            into.push(FactRow::of(*key, entity, fact, gist));
        }
    }
    save::insert_facts(connection, &new).await?;
    save::replace_facts(connection, &known).await
}
