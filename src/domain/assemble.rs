//! From facts to state. `assemble` does it for a whole session at once and is what everything else
//! is measured against; `Draft` does it for the part of a session that a batch touches, so that a
//! new turn costs the same in a long call as in a short one.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use crate::domain::digest::{Digest, Measure};
use crate::domain::event::Kind;
use crate::domain::fact::{Entity, Fact};
use crate::domain::items::{Evaluation, Interruption, ServiceError, ToolCall, covered_ms};
use crate::domain::ledger::{Held, Ledger};
use crate::domain::offsets;
use crate::domain::session::Session;
use crate::domain::span::{Span, SpanKey, Tallies};
use crate::domain::turn::{Position, Predecessor, Turn};

/// Everything a session's facts amount to.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    pub session: Session,
    pub turns: Vec<Turn>,
    pub tool_calls: Vec<ToolCall>,
    pub interruptions: Vec<Interruption>,
    pub errors: Vec<ServiceError>,
    pub evaluations: Vec<Evaluation>,
    pub spans: Vec<Span>,
    pub traces: Tallies,
    pub counters: Counters,
    pub digest: Digest,
}

/// How many of each a session has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub turns: i32,
    pub tool_calls: i32,
    pub interruptions: i32,
    pub errors: i32,
    pub evaluations: i32,
    pub facts: i32,
    /// Text of facts, spans by themselves.
    pub fact_bytes: i64,
    pub span_bytes: i64,
    pub turn_tokens: i64,
    pub turn_prompt_tokens: i64,
}

impl Counters {
    pub fn held(&self) -> Held {
        Held {
            facts: self.facts,
            turns: self.turns,
            fact_bytes: self.fact_bytes,
            span_bytes: self.span_bytes,
        }
    }
}

/// State that differs after a batch.
#[derive(Debug)]
pub struct Change {
    pub session: Session,
    pub counters: Counters,
    pub digest: Digest,
    pub turns: Changed<i32, Turn>,
    pub tool_calls: Changed<String, ToolCall>,
    pub interruptions: Changed<String, Interruption>,
    pub errors: Changed<String, ServiceError>,
    pub evaluations: Changed<String, Evaluation>,
    pub spans: Changed<SpanKey, Span>,
    /// What each touched trace has more (or less) than before.
    pub traces: Tallies,
    /// Traces of which a span was taken back, or is shorter than it was.
    pub receded: BTreeSet<String>,
}

/// Entities that are to be written, and those that are no more.
#[derive(Debug)]
pub struct Changed<K, V> {
    pub written: Vec<V>,
    /// The places among the written of those that were not there before, as far as that is known.
    pub new: BTreeSet<usize>,
    pub gone: Vec<K>,
}

impl<K, V> Changed<K, V> {
    fn write(&mut self, value: V, is_new: bool) {
        if is_new {
            self.new.insert(self.written.len());
        }
        self.written.push(value);
    }
}

impl<K, V> Default for Changed<K, V> {
    fn default() -> Self {
        Self {
            written: Vec::new(),
            new: BTreeSet::new(),
            gone: Vec::new(),
        }
    }
}

/// What the store knows of a session before the batch.
#[derive(Debug, Default)]
pub struct Known {
    pub counters: Counters,
    pub digest: Digest,
    /// What the rows of turns that are assembled again had added.
    pub turns: BTreeMap<i32, KnownTurn>,
    /// Tool calls of those turns, as (id, turn, interval).
    pub tool_calls: Vec<(String, i32, (i32, i32))>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnownTurn {
    pub tokens: i64,
    pub prompt_tokens: i64,
    pub measures: Vec<Measure>,
}

/// A turn near those touched, which is not touched itself, nor discarded.
#[derive(Clone, Debug)]
pub struct Neighbour {
    pub position: Position,
    pub before: Predecessor,
}

/// The touched part of a session, on its way to a [`Change`].
pub struct Draft<'a> {
    ledger: &'a Ledger,
    /// How much later than the session its sources' offsets begin.
    late_by: TimeDelta,
    /// Turns to assemble again, as the facts about them alone say; none where no fact is left.
    turns: BTreeMap<i32, Option<Turn>>,
    /// Places where turns were, or are now.
    places: BTreeSet<Position>,
}

impl<'a> Draft<'a> {
    pub fn of(ledger: &'a Ledger) -> Self {
        let mut draft = Self {
            ledger,
            late_by: ledger.late_by(),
            turns: BTreeMap::new(),
            places: BTreeSet::new(),
        };
        for entity in ledger.touched() {
            match entity.kind {
                Kind::Turn => draft.take_turn(turn_index(entity)),
                Kind::ToolCall => {
                    let facts = [ledger.facts_before(entity), ledger.facts_of(entity)];
                    let turns = facts
                        .iter()
                        .filter(|f| !f.is_empty())
                        .filter_map(|f| ToolCall::derive(&entity.key, f).turn);
                    turns.for_each(|turn| draft.take_turn(turn));
                }
                _ => {}
            }
        }
        draft
    }

    /// Turns whose rows are read before they are written again.
    pub fn turn_indexes(&self) -> impl Iterator<Item = i32> {
        self.turns.keys().copied()
    }

    /// Places whose neighbours may now have another turn before them.
    pub fn places(&self) -> impl Iterator<Item = &Position> {
        self.places.iter()
    }

    /// Untouched turns that follow a touched place directly: what they answer may have changed.
    pub fn successors(&self, around: &[Neighbour]) -> BTreeSet<i32> {
        let mut order: Vec<(Position, bool)> = around.iter().map(|n| (n.position, true)).collect();
        order.extend(
            self.turns
                .values()
                .flatten()
                .map(|turn| (turn.position(), false)),
        );
        order.sort_unstable();
        let next = |place: &Position| order.partition_point(|(position, _)| position <= place);
        self.places
            .iter()
            .filter_map(|place| order.get(next(place)))
            .filter(|(_, untouched)| *untouched)
            .map(|(position, _)| position.2)
            .collect()
    }

    /// Takes in an untouched turn by its facts.
    pub fn add_turn(&mut self, index: i32, facts: &[&Fact]) {
        if !facts.is_empty() {
            let turn = self.placed(facts, |facts| Turn::derive(index, facts));
            self.turns.insert(index, Some(turn));
        }
    }

    /// Turns whose latency may have to be summed up from stages and tools.
    pub fn summable(&self) -> impl Iterator<Item = i32> {
        self.turns
            .values()
            .flatten()
            .filter(|turn| turn.is_summable())
            .map(|turn| turn.index)
    }

    /// None where the session has no fact at all.
    pub fn finish(self, mut known: Known, around: &[Neighbour]) -> Option<Change> {
        let activity = self.ledger.activity()?;
        let more = self.ledger.more();
        known.counters.facts += more.facts;
        known.counters.fact_bytes += more.fact_bytes;
        known.counters.span_bytes += more.span_bytes;
        let session = Session::derive(&self.ledger.facts_of(&Entity::session()), activity);
        let tool_calls = self.entities(Kind::ToolCall, &mut known.counters.tool_calls, |id, f| {
            Some(ToolCall::derive(id, f))
        });
        let errors = self.entities(
            Kind::Error,
            &mut known.counters.errors,
            ServiceError::derive,
        );
        let evaluations = self.entities(
            Kind::Evaluation,
            &mut known.counters.evaluations,
            Evaluation::derive,
        );
        let interruptions = self.entities(
            Kind::Interruption,
            &mut known.counters.interruptions,
            |id, f| Some(Interruption::derive(id, f)),
        );
        self.count_interruptions(&interruptions.written, &mut known.digest);
        let (spans, traces, receded) = self.spans();
        let turns = self.resolve_turns(&mut known, around, &tool_calls);
        let Known {
            counters, digest, ..
        } = known;
        Some(Change {
            session,
            counters,
            digest,
            turns,
            tool_calls,
            interruptions,
            errors,
            evaluations,
            spans,
            traces,
            receded,
        })
    }

    /// Spans, what they change in their traces, and which of these may end earlier now.
    fn spans(&self) -> (Changed<SpanKey, Span>, Tallies, BTreeSet<String>) {
        let (mut changed, mut traces) = (Changed::default(), Tallies::new());
        let mut receded = BTreeSet::new();
        for entity in self.ledger.touched().filter(|e| e.kind == Kind::Span) {
            let before = Span::outline(&self.ledger.facts_before(entity));
            let now = Span::outline(&self.ledger.facts_of(entity));
            let is_new = before.is_none();
            if let Some(before) = before {
                before.remove_from(&mut traces);
                if !now.as_ref().is_some_and(|now| now.reaches(&before)) {
                    receded.insert(before.trace_id.clone());
                }
                // Two pairs of ids may read the same when they are put together.
                if now.as_ref().is_none_or(|now| now.key() != before.key()) {
                    changed.gone.push(before.key());
                }
            }
            if let Some(now) = now {
                now.add_to(&mut traces);
                changed.write(now, is_new);
            }
        }
        (changed, traces, receded)
    }

    /// What is made of facts whose offsets count from the session's start.
    fn placed<V>(&self, facts: &[&Fact], derive: impl FnOnce(&[&Fact]) -> V) -> V {
        if self.late_by.is_zero() {
            return derive(facts);
        }
        let each = facts.iter();
        let placed: Vec<_> = each
            .map(|fact| offsets::from_start(fact, self.late_by))
            .collect();
        derive(&placed.iter().map(AsRef::as_ref).collect::<Vec<_>>())
    }

    fn take_turn(&mut self, index: i32) {
        if self.turns.contains_key(&index) {
            return;
        }
        let entity = Entity {
            kind: Kind::Turn,
            key: index.to_string(),
        };
        let touched_before = self.ledger.facts_before(&entity);
        let derive = |facts: &[&Fact]| {
            (!facts.is_empty()).then(|| self.placed(facts, |facts| Turn::derive(index, facts)))
        };
        let (before, now) = (
            derive(&touched_before),
            derive(&self.ledger.facts_of(&entity)),
        );
        self.places
            .extend(before.iter().chain(&now).map(Turn::position));
        if before.is_some() || now.is_some() {
            self.turns.insert(index, now);
        }
    }

    fn entities<V>(
        &self,
        kind: Kind,
        count: &mut i32,
        derive: impl Fn(&str, &[&Fact]) -> Option<V>,
    ) -> Changed<String, V> {
        let mut changed = Changed::default();
        for entity in self.ledger.touched().filter(|entity| entity.kind == kind) {
            let was_known = !self.ledger.facts_before(entity).is_empty();
            let facts = self.ledger.facts_of(entity);
            match (!facts.is_empty())
                .then(|| self.placed(&facts, |facts| derive(&entity.key, facts)))
                .flatten()
            {
                Some(value) => {
                    changed.written.push(value);
                    *count += i32::from(!was_known);
                }
                None if was_known => {
                    changed.gone.push(entity.key.clone());
                    *count -= 1;
                }
                None => {}
            }
        }
        changed
    }

    fn count_interruptions(&self, written: &[Interruption], digest: &mut Digest) {
        for entity in self
            .ledger
            .touched()
            .filter(|entity| entity.kind == Kind::Interruption)
        {
            let before = self.ledger.facts_before(entity);
            if !before.is_empty() {
                Interruption::derive(&entity.key, &before)
                    .measures()
                    .iter()
                    .for_each(|m| digest.remove(m));
            }
        }
        written
            .iter()
            .flat_map(Interruption::measures)
            .for_each(|m| digest.add(&m));
    }

    fn resolve_turns(
        self,
        known: &mut Known,
        around: &[Neighbour],
        tools: &Changed<String, ToolCall>,
    ) -> Changed<i32, Turn> {
        let mut before: BTreeMap<Position, Predecessor> = around
            .iter()
            .filter(|n| !self.turns.contains_key(&n.position.2))
            .map(|n| (n.position, n.before.clone()))
            .collect();
        before.extend(
            self.turns
                .values()
                .flatten()
                .filter(|turn| !turn.is_discarded())
                .map(|turn| (turn.position(), turn.as_predecessor())),
        );
        let mut changed = Changed::default();
        for (index, own) in self.turns {
            let was_known = known.turns.remove(&index);
            if let Some(old) = &was_known {
                old.measures.iter().for_each(|m| known.digest.remove(m));
                known.counters.turn_tokens -= old.tokens;
                known.counters.turn_prompt_tokens -= old.prompt_tokens;
                known.counters.turns -= 1;
            }
            let Some(own) = own else {
                changed.gone.extend(was_known.map(|_| index));
                continue;
            };
            let predecessor = before
                .range(..own.position())
                .next_back()
                .map(|(_, before)| before)
                // It answers nobody, so that nothing of it follows from its neighbours.
                .filter(|_| !own.is_discarded());
            let tools_ms = tools_ms(&own, &known.tool_calls, tools);
            let turn = own.resolve(predecessor, tools_ms);
            turn.measures().iter().for_each(|m| known.digest.add(m));
            known.counters.turn_tokens += turn.tokens;
            known.counters.turn_prompt_tokens += turn.prompt_tokens;
            known.counters.turns += 1;
            changed.write(turn, was_known.is_none());
        }
        changed
    }
}

/// Time that a turn's tools ran before it was heard, outside of its generations: as the store knows them, but for
/// those touched.
fn tools_ms(
    turn: &Turn,
    known: &[(String, i32, (i32, i32))],
    touched: &Changed<String, ToolCall>,
) -> f64 {
    let is_touched = |id: &String| {
        touched.gone.contains(id) || touched.written.iter().any(|tool| tool.id == *id)
    };
    let known = known
        .iter()
        .filter(|(id, of, _)| *of == turn.index && !is_touched(id))
        .map(|(_, _, interval)| *interval);
    let touched = touched
        .written
        .iter()
        .filter(|tool| tool.turn == Some(turn.index))
        .filter_map(ToolCall::interval);
    let inside = turn
        .generations_ms()
        .map(|(start, end)| (start.round() as i32, end.round() as i32));
    let tools = known.chain(touched);
    let tools = tools.filter(|(start, _)| turn.waits_for(f64::from(*start)));
    covered_ms(tools.chain(inside)) - covered_ms(inside)
}

/// The state that a whole session's facts amount to.
pub fn assemble(ledger: &Ledger) -> Option<Conversation> {
    let change = Draft::of(ledger).finish(Known::default(), &[])?;
    let mut turns = change.turns.written;
    turns.sort_by_key(Turn::position);
    Some(Conversation {
        session: change.session,
        turns,
        tool_calls: change.tool_calls.written,
        interruptions: change.interruptions.written,
        errors: change.errors.written,
        evaluations: change.evaluations.written,
        spans: change.spans.written,
        traces: change.traces,
        counters: change.counters,
        digest: change.digest,
    })
}

pub fn turn_index(entity: &Entity) -> i32 {
    entity.key.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests;
