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
        for (.., fact) in ledger.written() {
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
        for (place, turn) in change.turns.written.into_iter().enumerate() {
            let known = self.turns.insert(turn.index, turn);
            assert_eq!(known.is_none(), change.turns.new.contains(&place));
        }
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
        for (place, span) in change.spans.written.into_iter().enumerate() {
            let known = self.spans.insert(span.key(), span);
            assert_eq!(known.is_none(), change.spans.new.contains(&place));
        }
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
    let tool =
        (0..3u8, prop::option::of(0..5i32), ms.clone(), ms).prop_map(|(call, turn, start, end)| {
            let mut tool = json!({"callId": call.to_string(), "name": "look_up"});
            put(&mut tool, "turn", turn);
            put(&mut tool, "startMs", start);
            put(&mut tool, "endMs", end);
            (Kind::ToolCall, tool)
        });
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
        1 => Just((Kind::Error, json!({"message": "no", "service": "tool", "code": "tool_error"}))),
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
            .map(|((items, id, sort), n)| match sort {
                0..40 => submission(items, id, true, n),
                40..60 => platform(items, id, n),
                _ => submission(items, id, false, n),
            })
            .collect()
    })
}

/// What a voice platform says: how the call stands, or by an even id what the whole of it was.
fn platform(items: Vec<(Kind, Value)>, id: u8, n: i64) -> Submission {
    let event = |kind, id, fields_of: Value| Event {
        kind,
        id,
        at: at(n),
        fields: fields(fields_of).into(),
    };
    if !id.is_multiple_of(2) {
        let status = json!({"status": "active"});
        return Submission::Event(
            Source::Vapi,
            event(Kind::Session, format!("status/{id}"), status),
        );
    }
    let said = items.into_iter().enumerate();
    let said = said.filter(|(_, (kind, _))| !matches!(kind, Kind::Span | Kind::Session));
    let said = said.map(|(position, (kind, value))| event(kind, position.to_string(), value));
    let over = json!({"status": "completed", "endedAt": at(n)});
    let over = event(Kind::Session, Report::SESSION_ID.to_owned(), over);
    Submission::Report(
        Source::Vapi,
        Report {
            at: Some(at(n)),
            hash: n,
            events: said.chain([over]).collect(),
        },
    )
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
            fields: fields(value).into(),
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
