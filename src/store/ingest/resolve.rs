//! Which session each part of a batch is about: sources that share a name speak of one session, whatever
//! else they call it, and whichever came first.
//!
//! Of several sessions that turn out to be one, the best named stays (`domain::ids::ClaimKind`), of two
//! alike the smallest id: never the one that came first. Sessions that native ingest names apart stay apart.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::ids::{self, Claim, ClaimKind, SessionId, TenantId};
use crate::store::columns::column;
use crate::store::columns::unreadable;

use super::Result;
use super::batch::SessionWork;
use super::load::Key;
use super::nodes::{self, Trace};

/// The kind of alias that an absorbed session's id is.
pub const ABSORBED: i16 = 0;

/// Where a batch goes.
#[derive(Default)]
pub struct Resolved<'a> {
    pub work: BTreeMap<Key, SessionWork<'a>>,
    /// Sessions that are part of another from now on, by that one.
    pub absorbed: BTreeMap<Key, BTreeSet<Uuid>>,
    /// Names to be kept, with the session that they lead to.
    pub aliases: BTreeMap<(Uuid, i16, String), Uuid>,
    /// What kind of name a session is known by from now on.
    pub kinds: BTreeMap<Key, ClaimKind>,
    /// Sessions that were there when this looked, and how often a trace of theirs had been divided.
    pub found: BTreeMap<Key, i32>,
    /// Where each part of the batch goes.
    pub targets: BTreeMap<Key, Key>,
}

/// A name as the store keeps it.
type Name = (Uuid, i16, String);

/// Gathers what is about one session under that session.
pub async fn resolve<'a>(
    connection: &mut PgConnection,
    work: BTreeMap<Key, SessionWork<'a>>,
) -> Result<Resolved<'a>> {
    let names = names(&work);
    if names.is_empty() {
        return Ok(Resolved {
            work,
            ..Resolved::default()
        });
    }
    let known = Known::load(connection, &work, &names).await?;
    let mut groups = Groups::default();
    for (key, work) in &work {
        groups.see(*key, work.named.kind);
    }
    join_within(&work, &known, &mut groups);
    for (key, work) in &work {
        for (other, by_trace) in known.named(*key, work) {
            if known.are_apart(*key, other) {
                continue;
            }
            groups.see(other, known.kinds.get(&other).copied());
            groups.join(*key, other, by_trace);
        }
    }
    let mut resolved = Resolved::default();
    for (key, work) in work {
        let target = groups.survivor(key);
        resolved
            .kinds
            .extend(groups.kind(target).map(|kind| (target, kind)));
        for claim in own_claims(&work) {
            let name = (key.0, claim.kind as i16, claim.value);
            // Also what a look at the sessions would find: two writers that learn of a name at once must run
            // into each other.
            if !known.aliases.contains_key(&name) {
                resolved.aliases.insert(name, target.1);
            }
        }
        resolved.targets.insert(key, target);
        resolved.take(key, target, work);
    }
    for session in known.kinds.keys() {
        let target = groups.survivor(*session);
        if target != *session {
            resolved
                .absorbed
                .entry(target)
                .or_default()
                .insert(session.1);
        }
    }
    resolved.found = known.divisions;
    Ok(resolved)
}

/// Joins what comes together and shares a name, of which the store may know nothing yet.
fn join_within(all: &BTreeMap<Key, SessionWork<'_>>, known: &Known, groups: &mut Groups) {
    let mut heard: BTreeMap<Name, Key> = BTreeMap::new();
    for (key, work) in all {
        for claim in own_claims(work) {
            let by_trace = known.is_by_trace(&claim, *key, work);
            let derived = (key.0, claim.session(TenantId(key.0)).0);
            if groups.parents.contains_key(&derived) && !known.are_apart(*key, derived) {
                groups.join(*key, derived, by_trace);
            }
            let value = claim.value.clone();
            let first = heard
                .entry((key.0, claim.kind as i16, value))
                .or_insert(*key);
            if !known.are_apart(*key, *first) {
                let first_too = known.is_by_trace(&claim, *first, &all[first]);
                groups.join(*key, *first, by_trace && first_too);
            }
        }
    }
}

impl<'a> Resolved<'a> {
    /// The sessions that are part of another from now on.
    pub fn all_absorbed(&self) -> Vec<Key> {
        let all = self.absorbed.iter();
        all.flat_map(|(key, others)| others.iter().map(|other| (key.0, *other)))
            .collect()
    }

    /// What was said under one id goes to the session that it is about. A name of another session than
    /// that one is not what that one is called.
    fn take(&mut self, own: Key, target: Key, mut work: SessionWork<'a>) {
        if own != target {
            work.named.kind = None;
        }
        match self.work.get_mut(&target) {
            Some(there) => {
                if there.named.kind.is_none() {
                    there.named.external_id = work.named.external_id.clone();
                }
                there.named.add(&work.named);
                there.submissions.append(&mut work.submissions);
                there.refs.append(&mut work.refs);
                there.submissions.sort_by_key(|(place, _)| *place);
            }
            None => {
                self.work.insert(target, work);
            }
        }
    }
}

/// Whether a name is a trace of which this does not tell the spans.
fn is_trace_alone(claim: &Claim, work: &SessionWork<'_>) -> bool {
    claim.kind == ClaimKind::Trace && !work.named.traces.contains_key(&claim.value)
}

/// The names that a part of a batch gives, its own among them where that is not a native one.
pub fn own_claims(work: &SessionWork<'_>) -> impl Iterator<Item = Claim> {
    let own = work.named.kind.filter(|kind| *kind != ClaimKind::Native);
    let own = own.map(|kind| Claim::new(kind, work.named.external_id.clone()));
    let mut claims: BTreeSet<Claim> = work.named.claims.clone();
    claims.extend(own);
    claims.into_iter()
}

/// All names under which sessions must be looked for. Most native items give none but their own id, which
/// nobody takes from them.
fn names(work: &BTreeMap<Key, SessionWork<'_>>) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    for (key, work) in work {
        let claims: Vec<Claim> = own_claims(work).collect();
        let is_id = ids::is_session_id(&work.named.external_id);
        if claims.is_empty() && !is_id {
            continue;
        }
        names.insert((key.0, ABSORBED, key.1.to_string()));
        for claim in claims {
            let derived = claim.session(TenantId(key.0)).0;
            names.insert((key.0, ABSORBED, derived.to_string()));
            names.insert((key.0, claim.kind as i16, claim.value));
        }
    }
    names
}

/// What the store knows under the names.
struct Known {
    aliases: BTreeMap<Name, Uuid>,
    /// Newest first.
    by_column: BTreeMap<Name, Uuid>,
    /// Sessions that are there.
    kinds: BTreeMap<Key, ClaimKind>,
    /// Those of them whose content was deleted.
    closed: BTreeSet<Key>,
    divisions: BTreeMap<Key, i32>,
    /// Traces that a part of the batch names without telling their spans, and whose spans name one conversation.
    whole: BTreeSet<Trace>,
}

impl Known {
    async fn load(
        connection: &mut PgConnection,
        work: &BTreeMap<Key, SessionWork<'_>>,
        names: &BTreeSet<Name>,
    ) -> Result<Self> {
        let names: Vec<&Name> = names.iter().collect();
        let rows = sqlx::query!(
            r#"with given as (
                select * from unnest($1::uuid[], $2::smallint[], $3::text[]) as g (tenant_id, kind, value)
             )
             -- Name by name: a plan that was made while the tables were empty would else read all sessions for one.
             select g.tenant_id as "tenant_id!", g.kind as "kind!", g.value as "value!",
                    a.session_id as "session_id!", true as "is_alias!", s.divisions as "divisions!"
               from given g
              cross join lateral (
                    select session_id from session_aliases
                     where tenant_id = g.tenant_id and kind = g.kind and value = g.value
                     limit 1
                    ) a
              cross join lateral (
                    select divisions from sessions
                     where tenant_id = g.tenant_id and id = a.session_id
                     limit 1
                    ) s
             union all
             select g.tenant_id, g.kind, g.value, s.id, false, s.divisions
               from given g
              cross join lateral (
                    select id, divisions from sessions
                     where tenant_id = g.tenant_id and call_sid = g.value
                     order by started_at desc limit 1
                    ) s
              where g.kind = $4
             union all
             select g.tenant_id, g.kind, g.value, s.id, false, s.divisions
               from given g
              cross join lateral (
                    select id, divisions from sessions
                     where tenant_id = g.tenant_id and stream_id = g.value
                     order by started_at desc limit 1
                    ) s
              where g.kind = $5"#,
            &column(&names, |n| n.0),
            &column(&names, |n| n.1),
            &column(&names, |n| n.2.clone()),
            ClaimKind::CallSid as i16,
            ClaimKind::StreamSid as i16,
        )
        .fetch_all(&mut *connection)
        .await?;
        let (mut aliases, mut by_column) = (BTreeMap::new(), BTreeMap::new());
        // As of the same moment as the names: a session may lose these.
        let mut divisions = BTreeMap::new();
        for row in rows {
            let into = if row.is_alias {
                &mut aliases
            } else {
                &mut by_column
            };
            divisions.insert((row.tenant_id, row.session_id), row.divisions);
            into.insert((row.tenant_id, row.kind, row.value), row.session_id);
        }
        let mut wanted: BTreeSet<Key> = work.keys().copied().collect();
        for (tenant, kind, value) in &names {
            let name: Name = (*tenant, *kind, value.clone());
            wanted.extend(aliases.get(&name).map(|id| (*tenant, *id)));
            wanted.extend(by_column.get(&name).map(|id| (*tenant, *id)));
            if let Some(kind) = ClaimKind::from_stored(*kind) {
                let derived = Claim::new(kind, value.clone()).session(TenantId(*tenant));
                wanted.insert((*tenant, derived.0));
            }
        }
        let wanted: Vec<Key> = wanted.into_iter().collect();
        let rows = sqlx::query!(
            r#"select s.tenant_id, s.id, s.name_kind, s.divisions, s.closed_at is not null as "is_closed!"
               from unnest($1::uuid[], $2::uuid[]) as k (tenant_id, id)
               join sessions s on s.tenant_id = k.tenant_id and s.id = k.id"#,
            &column(&wanted, |k| k.0),
            &column(&wanted, |k| k.1),
        )
        .fetch_all(&mut *connection)
        .await?;
        let whole = whole(connection, work).await?;
        let mut kinds = BTreeMap::new();
        let mut closed = BTreeSet::new();
        for row in rows {
            if row.is_closed {
                closed.insert((row.tenant_id, row.id));
            }
            let kind = ClaimKind::from_stored(row.name_kind)
                .ok_or_else(|| unreadable("sessions.name_kind", row.id))?;
            kinds.insert((row.tenant_id, row.id), kind);
            let key = (row.tenant_id, row.id);
            divisions.entry(key).or_insert(row.divisions);
        }
        Ok(Self {
            aliases,
            by_column,
            kinds,
            closed,
            divisions,
            whole,
        })
    }

    /// Whether a name is a trace that may tell of several conversations. Spans of one trace are of one, unless
    /// they say otherwise (`super::divide`); whether they come before or after what else names it is no matter.
    fn is_by_trace(&self, claim: &Claim, key: Key, work: &SessionWork<'_>) -> bool {
        is_trace_alone(claim, work) && !self.whole.contains(&(key.0, claim.value.clone()))
    }

    /// Of two sessions that are there, whether one goes on and the other is over and done with: neither is drawn
    /// to the other.
    fn are_apart(&self, one: Key, other: Key) -> bool {
        let both = [one, other].iter().all(|key| self.kinds.contains_key(key));
        both && self.closed.contains(&one) != self.closed.contains(&other)
    }

    /// The sessions that a part of a batch names, as far as they are there, and whether nothing but a trace
    /// leads to them.
    fn named(&self, key: Key, work: &SessionWork<'_>) -> BTreeMap<Key, bool> {
        let tenant = key.0;
        let mut led: Vec<(Option<&Uuid>, bool)> = Vec::new();
        let absorbed = |id: Uuid| self.aliases.get(&(tenant, ABSORBED, id.to_string()));
        led.push((absorbed(key.1), false));
        let mut derived = Vec::new();
        for claim in own_claims(work) {
            let by_trace = self.is_by_trace(&claim, key, work);
            let SessionId(own) = claim.session(TenantId(tenant));
            derived.push((own, by_trace));
            led.push((absorbed(own), by_trace));
            let name = (tenant, claim.kind as i16, claim.value);
            led.push((self.aliases.get(&name), by_trace));
            led.push((self.by_column.get(&name), by_trace));
        }
        let led = led
            .into_iter()
            .filter_map(|(id, by_trace)| Some((*id?, by_trace)));
        let mut named = BTreeMap::new();
        for (id, by_trace) in derived.iter().copied().chain(led) {
            let other = (tenant, id);
            if other != key && self.kinds.contains_key(&other) {
                *named.entry(other).or_insert(true) &= by_trace;
            }
        }
        named
    }
}

/// The traces that a batch names without telling their spans, as far as these have named one conversation.
async fn whole(
    connection: &mut PgConnection,
    work: &BTreeMap<Key, SessionWork<'_>>,
) -> Result<BTreeSet<Trace>> {
    let mut alone = BTreeSet::new();
    for (key, work) in work {
        let traces = own_claims(work).filter(|claim| is_trace_alone(claim, work));
        alone.extend(traces.map(|claim| (key.0, claim.value)));
    }
    if alone.is_empty() {
        return Ok(alone);
    }
    let names = nodes::names(connection, &alone.iter().collect::<Vec<_>>()).await?;
    let undivided = names
        .into_iter()
        .filter(|(_, names)| names.values().all(|(_, divides)| !divides));
    Ok(undivided.map(|(trace, _)| trace).collect())
}

/// Sessions that are one.
#[derive(Default)]
struct Groups {
    parents: BTreeMap<Key, Key>,
    kinds: BTreeMap<Key, ClaimKind>,
}

impl Groups {
    fn see(&mut self, key: Key, kind: Option<ClaimKind>) {
        self.parents.entry(key).or_insert(key);
        if let Some(kind) = kind {
            let known = self.kinds.entry(key).or_insert(kind);
            *known = kind.min(*known);
        }
    }

    fn kind(&self, key: Key) -> Option<ClaimKind> {
        self.kinds.get(&key).copied()
    }

    fn top(&self, mut key: Key) -> Key {
        while let Some(parent) = self.parents.get(&key).filter(|parent| **parent != key) {
            key = *parent;
        }
        key
    }

    /// The better named is the top of both. Two that native ingest names are two; so are two that others name
    /// and that have only a trace in common that may tell of several conversations.
    fn join(&mut self, one: Key, other: Key, by_trace: bool) {
        let (one, other) = (self.top(one), self.top(other));
        let place = |key: Key| (self.kind(key).map_or(i16::MAX, |kind| kind as i16), key.1);
        if one == other {
            return;
        }
        let is_native = |key| self.kind(key) == Some(ClaimKind::Native);
        if is_native(one) && is_native(other) {
            return;
        }
        let is_open = |key| matches!(self.kind(key), Some(ClaimKind::Trace | ClaimKind::Native));
        if by_trace && !is_open(one) && !is_open(other) {
            return;
        }
        let (better, worse) = match place(one) <= place(other) {
            true => (one, other),
            false => (other, one),
        };
        self.parents.insert(worse, better);
    }

    fn survivor(&self, key: Key) -> Key {
        match self.parents.contains_key(&key) {
            true => self.top(key),
            false => key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u128) -> Key {
        (Uuid::nil(), Uuid::from_u128(n))
    }

    #[test]
    fn the_best_named_stays_whoever_comes_first() {
        let seen = [
            (5, ClaimKind::Trace),
            (4, ClaimKind::CallSid),
            (9, ClaimKind::LivekitRoomSid),
            (7, ClaimKind::LivekitRoomSid),
        ];
        for first in 0..seen.len() {
            let mut groups = Groups::default();
            for (id, kind) in seen {
                groups.see(key(id), Some(kind));
            }
            for (id, _) in seen {
                groups.join(key(seen[first].0), key(id), false);
            }
            for (id, _) in seen {
                assert_eq!(groups.survivor(key(id)), key(7));
            }
        }
    }

    #[test]
    fn sessions_that_native_ingest_names_apart_stay_apart() {
        let mut groups = Groups::default();
        groups.see(key(1), Some(ClaimKind::Native));
        groups.see(key(2), Some(ClaimKind::Native));
        groups.see(key(3), Some(ClaimKind::CallSid));
        groups.join(key(1), key(3), false);
        groups.join(key(2), key(3), false);
        assert_eq!(groups.survivor(key(1)), key(1));
        assert_eq!(groups.survivor(key(2)), key(2));
        assert_eq!(groups.survivor(key(3)), key(1));
    }

    #[test]
    fn a_trace_that_tells_of_two_conversations_does_not_make_them_one() {
        let mut groups = Groups::default();
        groups.see(key(1), Some(ClaimKind::Conversation));
        groups.see(key(2), Some(ClaimKind::Conversation));
        groups.see(key(3), Some(ClaimKind::Trace));
        groups.join(key(1), key(3), true);
        groups.join(key(2), key(1), true);
        assert_eq!(groups.survivor(key(3)), key(1));
        assert_eq!(groups.survivor(key(2)), key(2));
    }
}
