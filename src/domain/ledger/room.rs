//! How much a session may hold, and what stands against one more fact or report.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::event::{Bound, Kind, Source};
use crate::domain::fact::{Entity, Fact, Identity};

use super::{Ledger, is_reported};

/// A session holds at most so many turns, and so many facts of all kinds.
pub const TURNS_MAX: i32 = 2_000;
pub const FACTS_MAX: i32 = 60_000;
/// So many facts may speak of one thing, the session itself included: all of them are read again
/// whenever one more comes.
pub const ENTITY_FACTS_MAX: usize = 1_000;
/// So much text a session's facts may hold, and so much its spans.
pub const FACT_BYTES_MAX: i64 = 16 << 20;
pub const SPAN_BYTES_MAX: i64 = 64 << 20;
/// So much more what speaks of the session as a whole may hold, so that a full one can still end.
const SESSION_BYTES_MORE: i64 = 1 << 20;

/// How much a session holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub facts: i32,
    pub turns: i32,
    /// Text of all facts but spans.
    pub fact_bytes: i64,
    pub span_bytes: i64,
}

impl Held {
    pub(super) fn count(&mut self, kind: Kind, facts: i32, bytes: i64) {
        self.facts += facts;
        match kind {
            Kind::Span => self.span_bytes += bytes,
            _ => self.fact_bytes += bytes,
        }
    }
}

/// How much more a session may take.
#[derive(Clone, Copy, Debug)]
pub struct Room(pub Held);

impl Room {
    /// What is left to a session that holds so much.
    pub fn beside(held: Held) -> Self {
        Self(Held {
            facts: FACTS_MAX - held.facts,
            turns: TURNS_MAX - held.turns,
            fact_bytes: FACT_BYTES_MAX - held.fact_bytes,
            span_bytes: SPAN_BYTES_MAX - held.span_bytes,
        })
    }

    /// Which bound so much more would exceed. What shrinks is always welcome.
    fn bound(&self, kind: Kind, more: Held, change: Held) -> Option<Bound> {
        let room = self.0;
        let is_session = kind == Kind::Session;
        let reserve = if is_session { SESSION_BYTES_MORE } else { 0 };
        if change.facts > 0 && !is_session && more.facts + change.facts > room.facts {
            return Some(Bound::Facts);
        }
        if change.turns > 0 && more.turns + change.turns > room.turns {
            return Some(Bound::Turns);
        }
        let bytes = more.fact_bytes + change.fact_bytes;
        if change.fact_bytes > 0 && bytes > room.fact_bytes + reserve {
            return Some(Bound::FactBytes);
        }
        (change.span_bytes > 0 && more.span_bytes + change.span_bytes > room.span_bytes)
            .then_some(Bound::SpanBytes)
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::beside(Held::default())
    }
}

impl Ledger {
    /// What stands against this fact. One in place of another, or about a turn that is there, is welcome
    /// if it is no longer; that a session has been silent is a few bytes once.
    pub(super) fn bound(&self, identity: &Identity, entity: &Entity, fact: &Fact) -> Option<Bound> {
        if fact.source == Source::Timeout {
            return None;
        }
        let was = self.whereabouts.get(identity);
        let there = self.counting(entity).count();
        if was != Some(entity) && there >= ENTITY_FACTS_MAX {
            return Some(Bound::EntityFacts);
        }
        let empties = was.is_some_and(|was| was != entity && self.counting(was).count() == 1);
        let mut change = Held::default();
        if fact.kind == Kind::Turn {
            change.turns = i32::from(there == 0) - i32::from(empties);
        }
        let known_bytes = self.known(identity).map_or(0, Fact::bytes);
        let facts = i32::from(was.is_none());
        change.count(fact.kind, facts, fact.bytes() - known_bytes);
        self.room.bound(fact.kind, self.more, change)
    }

    /// What stands against a report, once the one that it replaces is gone.
    pub(super) fn bound_of_all(
        &self,
        source: Source,
        replaced: &[Identity],
        facts: &BTreeMap<Identity, Fact>,
    ) -> Option<Bound> {
        // The report itself is a fact too.
        let mut change = Held {
            facts: 1,
            ..Held::default()
        };
        for fact in replaced.iter().filter_map(|identity| self.known(identity)) {
            change.count(fact.kind, -1, -fact.bytes());
        }
        let mut entities: BTreeMap<Entity, usize> = BTreeMap::new();
        for fact in facts.values() {
            change.count(fact.kind, 1, fact.bytes());
            *entities.entry(fact.entity()).or_default() += 1;
        }
        let others = |entity: &Entity| {
            let facts = self.facts_of(entity);
            let is_other = |f: &&&Fact| f.source != source || !is_reported(source, f.kind, &f.id);
            facts.iter().filter(is_other).count()
        };
        if entities
            .iter()
            .any(|(entity, own)| own + others(entity) > ENTITY_FACTS_MAX)
        {
            return Some(Bound::EntityFacts);
        }
        let is_lone_turn = |entity: &&Entity| entity.kind == Kind::Turn && others(entity) == 0;
        let gone: BTreeSet<&Entity> = replaced
            .iter()
            .filter_map(|identity| self.whereabouts.get(identity))
            .filter(is_lone_turn)
            .collect();
        let come = entities.keys().filter(is_lone_turn).count();
        change.turns = come as i32 - gone.len() as i32;
        self.room.bound(Kind::Report, self.more, change)
    }
}
