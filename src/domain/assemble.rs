//! From facts to state. `assemble` does it for a whole session at once and is what everything else
//! is measured against; `Draft` does it for the part of a session that a batch touches, so that a
//! new turn costs the same in a long call as in a short one.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::digest::{Digest, Measure};
use crate::domain::event::Kind;
use crate::domain::fact::{Entity, Fact};
use crate::domain::items::{Evaluation, Interruption, ServiceError, ToolCall, covered_ms};
use crate::domain::ledger::{Held, Ledger};
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
}

/// Entities that are to be written, and those that are no more.
#[derive(Debug)]
pub struct Changed<K, V> {
    pub written: Vec<V>,
    pub gone: Vec<K>,
}

impl<K, V> Default for Changed<K, V> {
    fn default() -> Self {
        Self {
            written: Vec::new(),
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
    /// Turns to assemble again, as the facts about them alone say; none where no fact is left.
    turns: BTreeMap<i32, Option<Turn>>,
    /// Places where turns were, or are now.
    places: BTreeSet<Position>,
}

impl<'a> Draft<'a> {
    pub fn of(ledger: &'a Ledger) -> Self {
        let mut draft = Self {
            ledger,
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
        let next = |place: &Position| order.iter().find(|(position, _)| position > place);
        self.places
            .iter()
            .filter_map(next)
            .filter(|(_, untouched)| *untouched)
            .map(|(position, _)| position.2)
            .collect()
    }

    /// Takes in an untouched turn by its facts.
    pub fn add_turn(&mut self, index: i32, facts: &[&Fact]) {
        if !facts.is_empty() {
            self.turns.insert(index, Some(Turn::derive(index, facts)));
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
        let session_entity = Entity {
            kind: Kind::Session,
            key: String::new(),
        };
        let session = Session::derive(&self.ledger.facts_of(&session_entity), activity);
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
        let (spans, traces) = self.spans();
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
        })
    }

    /// Spans, and what they change in their traces.
    fn spans(&self) -> (Changed<SpanKey, Span>, Tallies) {
        let (mut changed, mut traces) = (Changed::default(), Tallies::new());
        for entity in self.ledger.touched().filter(|e| e.kind == Kind::Span) {
            let before = Span::derive(&self.ledger.facts_before(entity));
            let now = Span::derive(&self.ledger.facts_of(entity));
            if let Some(before) = before {
                before.remove_from(&mut traces);
                // Two pairs of ids may read the same when they are put together.
                if now.as_ref().is_none_or(|now| now.key() != before.key()) {
                    changed.gone.push(before.key());
                }
            }
            if let Some(now) = now {
                now.add_to(&mut traces);
                changed.written.push(now);
            }
        }
        (changed, traces)
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
        let derive = |facts: &[&Fact]| (!facts.is_empty()).then(|| Turn::derive(index, facts));
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
                .then(|| derive(&entity.key, &facts))
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
            changed.written.push(turn);
        }
        changed
    }
}

/// Time that a turn's tools ran outside of its generations: as the store knows them, but for those
/// touched.
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
    covered_ms(known.chain(touched).chain(inside)) - covered_ms(inside.into_iter())
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
mod tests {
    use std::collections::BTreeMap;

    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::domain::event::{Event, Outcome, Report, Source, Submission};
    use crate::domain::ledger::{Reach, Room};
    use crate::domain::session::Activity;

    /// A store in memory: facts, and the state as the changes left it.
    #[derive(Default)]
    struct Memory {
        facts: Vec<Fact>,
        activity: Option<Activity>,
        session: Option<Session>,
        counters: Counters,
        digest: Digest,
        turns: BTreeMap<i32, Turn>,
        tool_calls: BTreeMap<String, ToolCall>,
        interruptions: BTreeMap<String, Interruption>,
        errors: BTreeMap<String, ServiceError>,
        spans: BTreeMap<SpanKey, Span>,
        traces: Tallies,
    }

    impl Memory {
        fn apply(&mut self, batch: &[Submission]) {
            let mut ledger = Ledger::new(self.load(batch), self.activity, Room::default());
            for submission in batch {
                assert_ne!(
                    ledger.submit(submission.clone(), DateTime::UNIX_EPOCH),
                    Outcome::Conflict
                );
            }
            let mut draft = Draft::of(&ledger);
            let own: Vec<i32> = draft.turn_indexes().collect();
            let around: Vec<Neighbour> = self
                .turns
                .values()
                .filter(|turn| !own.contains(&turn.index) && !turn.is_discarded())
                .map(|turn| Neighbour {
                    position: turn.position(),
                    before: turn.as_predecessor(),
                })
                .collect();
            for index in draft.successors(&around) {
                let facts: Vec<&Fact> = self
                    .facts
                    .iter()
                    .filter(|f| f.kind == Kind::Turn && f.turn_index() == index)
                    .collect();
                draft.add_turn(index, &facts);
            }
            let summable: Vec<i32> = draft.summable().collect();
            let known = Known {
                counters: self.counters,
                digest: self.digest.clone(),
                turns: draft
                    .turn_indexes()
                    .filter_map(|i| self.turns.get(&i))
                    .map(|t| {
                        (
                            t.index,
                            KnownTurn {
                                tokens: t.tokens,
                                prompt_tokens: t.prompt_tokens,
                                measures: t.measures(),
                            },
                        )
                    })
                    .collect(),
                tool_calls: self
                    .tool_calls
                    .values()
                    .filter(|tool| summable.iter().any(|turn| tool.turn == Some(*turn)))
                    .filter_map(|t| Some((t.id.clone(), t.turn?, t.interval()?)))
                    .collect(),
            };
            let change = draft.finish(known, &around).unwrap();
            self.keep(change, &ledger);
        }

        fn load(&self, batch: &[Submission]) -> Vec<Fact> {
            let mut reach = Reach::default();
            for submission in batch {
                reach.and(Ledger::reach(submission));
            }
            // As the store does: a fact that is met may lead to further ones.
            loop {
                let known = reach.entities.len();
                for fact in &self.facts {
                    let met = reach.identities.contains(&fact.identity())
                        || reach.entities.contains(&fact.entity())
                        || reach.replaced_reports.contains(&fact.source);
                    if met {
                        reach.meet(fact);
                    }
                }
                if reach.entities.len() == known {
                    break;
                }
            }
            self.facts
                .iter()
                .filter(|f| reach.entities.contains(&f.entity()))
                .cloned()
                .collect()
        }

        fn keep(&mut self, change: Change, ledger: &Ledger) {
            for (fact, _) in ledger.written() {
                self.facts
                    .retain(|known| known.identity() != fact.identity());
                self.facts.push(as_stored(fact));
            }
            for identity in ledger.removed() {
                self.facts.retain(|known| known.identity() != *identity);
            }
            self.activity = ledger.activity().map(|activity| Activity {
                first_at: microseconds(activity.first_at),
                last_at: microseconds(activity.last_at),
            });
            self.session = Some(change.session);
            self.counters = change.counters;
            self.digest = change.digest;
            change
                .turns
                .gone
                .iter()
                .for_each(|i| drop(self.turns.remove(i)));
            self.turns
                .extend(change.turns.written.into_iter().map(|t| (t.index, t)));
            change
                .tool_calls
                .gone
                .iter()
                .for_each(|i| drop(self.tool_calls.remove(i)));
            self.tool_calls.extend(
                change
                    .tool_calls
                    .written
                    .into_iter()
                    .map(|t| (t.id.clone(), t)),
            );
            change
                .interruptions
                .gone
                .iter()
                .for_each(|i| drop(self.interruptions.remove(i)));
            self.interruptions.extend(
                change
                    .interruptions
                    .written
                    .into_iter()
                    .map(|t| (t.id.clone(), t)),
            );
            change
                .errors
                .gone
                .iter()
                .for_each(|i| drop(self.errors.remove(i)));
            self.errors
                .extend(change.errors.written.into_iter().map(|t| (t.id.clone(), t)));
            change
                .spans
                .gone
                .iter()
                .for_each(|key| drop(self.spans.remove(key)));
            self.spans
                .extend(change.spans.written.into_iter().map(|s| (s.key(), s)));
            for (trace, tally) in change.traces {
                self.traces.entry(trace).or_default().and(tally, 1);
            }
            self.traces.retain(|_, tally| tally.observations > 0);
        }

        fn conversation(&self) -> Conversation {
            let mut turns: Vec<Turn> = self.turns.values().cloned().collect();
            turns.sort_by_key(Turn::position);
            Conversation {
                session: self.session.clone().unwrap(),
                turns,
                tool_calls: self.tool_calls.values().cloned().collect(),
                interruptions: self.interruptions.values().cloned().collect(),
                errors: self.errors.values().cloned().collect(),
                evaluations: Vec::new(),
                spans: self.spans.values().cloned().collect(),
                traces: self.traces.clone(),
                counters: self.counters,
                digest: self.digest.clone(),
            }
        }
    }

    /// Times as fine as clocks write them, finer than the store keeps them.
    fn at(second: i64) -> DateTime<Utc> {
        let fine = TimeDelta::nanoseconds(1_234_567 + second * 101);
        DateTime::UNIX_EPOCH + TimeDelta::seconds(1_700_000_000 + second) + fine
    }

    /// What `timestamptz` keeps of a time.
    fn microseconds(time: DateTime<Utc>) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap()
    }

    fn as_stored(fact: &Fact) -> Fact {
        Fact {
            at: microseconds(fact.at),
            ..fact.clone()
        }
    }

    fn fields(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn put(item: &mut Value, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            item[name] = value.into();
        }
    }

    /// Fields of a random item, of a few kinds, about few enough things that they meet.
    fn item() -> impl Strategy<Value = (Kind, Value)> {
        let ms = prop::option::of((0..12u32).prop_map(|n| n * 500));
        let stage = prop::option::of(prop::sample::select(vec![0.0, 120.5, 480.0]));
        let turn = (
            0..5i32,
            prop::option::of(any::<bool>()),
            ms.clone(),
            ms.clone(),
            stage.clone(),
            stage,
            any::<u8>(),
        );
        let turn = turn.prop_map(|(index, agent, start, end, stt, llm, flags)| {
            let mut turn = json!({"index": index});
            let speaker = agent.map(|agent| if agent { "agent" } else { "user" });
            put(&mut turn, "speaker", speaker);
            put(&mut turn, "startMs", start);
            put(&mut turn, "endMs", end);
            put(&mut turn, "sttMs", stt);
            put(&mut turn, "llmMs", llm);
            put(&mut turn, "ttsMs", llm);
            for (bit, name, value) in [
                (1, "latencyMs", json!(700)),
                (2, "cancelled", json!(true)),
                (4, "providers", json!({"stt": "a"})),
                (8, "startMs", Value::Null),
                (16, "usage", json!({"promptTokens": 7})),
                (
                    32,
                    "llmCalls",
                    json!([{"startMs": 500, "firstTokenMs": 700, "completionTokens": 3}, {"startMs": 1500, "firstTokenMs": 1900}]),
                ),
                (64, "latencyMs", json!(0)),
            ] {
                if flags & bit != 0 && flags & 128 != 0 {
                    turn[name] = value;
                }
            }
            (Kind::Turn, turn)
        });
        let tool = (0..3u8, prop::option::of(0..5i32), ms.clone(), ms).prop_map(
            |(call, turn, start, end)| {
                let mut tool = json!({"callId": call.to_string(), "name": "look_up"});
                put(&mut tool, "turn", turn);
                put(&mut tool, "startMs", start);
                put(&mut tool, "endMs", end);
                (Kind::ToolCall, tool)
            },
        );
        let statuses = prop::sample::select(crate::domain::fields::STATUSES.to_vec());
        let span = (0..2u8, 0..3u8, 0..4i64, prop::option::of(0..9i64), 0..4u8).prop_map(
            |(trace, span, start, lasts, says)| {
                let mut span = json!({"traceId": trace.to_string(), "spanId": span.to_string(), "startedAt": at(start)});
                put(&mut span, "endedAt", lasts.map(|lasts| json!(at(start + lasts))));
                span["attributes"] = match says {
                    0 => json!({}),
                    1 => json!({"llm.cost.total": 0.0000015}),
                    2 => json!({"llm.model_name": "m", "llm.token_count.total": 9}),
                    _ => json!({"gen_ai.usage.cost": 1, "llm.token_count.total": 9}),
                };
                (Kind::Span, span)
            },
        );
        prop_oneof![
            6 => turn,
            4 => span,
            3 => tool,
            2 => (statuses, 0..9i64).prop_map(|(s, n)| (Kind::Session, json!({"status": s, "startedAt": at(n), "tags": [s]}))),
            1 => (0..900u32).prop_map(|ms| (Kind::Interruption, json!({"detectionMs": ms}))),
            1 => Just((Kind::Error, json!({"message": "no answer"}))),
            1 => Just((Kind::Session, json!({"status": null, "answeredAt": at(3)}))),
        ]
    }

    /// Submissions whose times differ, so that none contradicts another.
    fn submissions() -> impl Strategy<Value = Vec<Submission>> {
        let one = (prop::collection::vec(item(), 1..6), 0..14u8, any::<u8>());
        prop::collection::vec(one, 1..25).prop_map(|all| {
            let times = 0..;
            all.into_iter()
                .zip(times)
                .map(|((items, id, sort), n)| submission(items, id, sort < 40, n))
                .collect()
        })
    }

    fn submission(items: Vec<(Kind, Value)>, id: u8, whole: bool, n: i64) -> Submission {
        let mut events = items
            .into_iter()
            .enumerate()
            .map(|(position, (kind, value))| Event {
                kind,
                id: match kind {
                    Kind::Span => format!("{}/{}", value["traceId"], value["spanId"]),
                    _ if whole => position.to_string(),
                    _ => id.to_string(),
                },
                at: at(n),
                fields: fields(value),
            });
        if whole {
            return Submission::Report(
                Source::Call,
                Report {
                    at: Some(at(n)),
                    hash: n,
                    events: events.collect(),
                },
            );
        }
        Submission::Event(Source::Event, events.next().unwrap())
    }

    fn whole(batch: &[Submission]) -> Conversation {
        let mut ledger = Ledger::default();
        for submission in batch {
            ledger.submit(submission.clone(), DateTime::UNIX_EPOCH);
        }
        assemble(&ledger).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_same_facts_give_the_same_state(
            (given, shuffled) in submissions().prop_flat_map(|s| (Just(s.clone()), Just(s).prop_shuffle())),
            cuts in prop::collection::vec(1..6usize, 1..30),
            repeats in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut delivered = shuffled;
            for repeat in repeats {
                delivered.push(repeat.get(&given).clone());
            }
            let mut store = Memory::default();
            let mut rest = delivered.as_slice();
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() { break; }
                let (batch, later) = rest.split_at(cut.min(rest.len()));
                store.apply(batch);
                rest = later;
            }
            prop_assert_eq!(store.conversation(), whole(&given));
        }
    }
}
