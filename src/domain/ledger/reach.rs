//! What must be known of a session before submissions can be taken.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::domain::event::{Event, Kind, Source, Submission};
use crate::domain::fact::{Entity, Fact, Identity};

use super::Ledger;

/// What must be known before a submission can be taken.
#[derive(Debug, Default)]
pub struct Reach {
    pub identities: BTreeSet<Identity>,
    pub entities: BTreeSet<Entity>,
    /// Sources whose whole report is replaced.
    pub replaced_reports: BTreeSet<Source>,
}

impl Reach {
    fn add(&mut self, event: &Event, source: Source) {
        self.add_identities(event.kind, &event.id, source);
        self.entities
            .insert(Entity::of(source, event.kind, &event.id, &event.fields));
        self.add_turn_of(event.kind, &event.fields);
    }

    pub fn and(&mut self, other: Self) {
        self.identities.extend(other.identities);
        self.entities.extend(other.entities);
        self.replaced_reports.extend(other.replaced_reports);
    }

    /// A span has one id, whichever door it came through.
    fn add_identities(&mut self, kind: Kind, id: &str, source: Source) {
        let sources = match kind {
            Kind::Span => &Source::OF_SPANS[..],
            _ => &[source],
        };
        let identities = sources.iter().map(|source| Identity {
            source: *source,
            kind,
            id: id.to_owned(),
        });
        self.identities.extend(identities);
    }

    /// A known fact that a submission may replace: its entity is met too.
    pub fn meet(&mut self, fact: &Fact) {
        if fact.kind == Kind::Span {
            self.add_identities(fact.kind, &fact.id, fact.source);
        }
        self.entities.insert(fact.entity());
        self.add_turn_of(fact.kind, &fact.fields);
    }

    /// How long an answer took may depend on the tools that ran meanwhile.
    fn add_turn_of(&mut self, kind: Kind, fields: &Map<String, Value>) {
        if kind == Kind::ToolCall
            && let Some(turn) = fields.get("turn").and_then(Value::as_f64)
        {
            self.entities.insert(Entity {
                kind: Kind::Turn,
                key: (turn as i32).to_string(),
            });
        }
    }
}

impl Ledger {
    /// Which facts a submission may meet: those under its identities and those of its entities.
    pub fn reach(submission: &Submission) -> Reach {
        let mut reach = Reach::default();
        // Any fact may move what the session derives from the times of all its facts.
        reach.entities.insert(Entity::session());
        match submission {
            Submission::Event(source, event) | Submission::Undated(source, event) => {
                reach.add(event, *source);
            }
            Submission::Silence(_) => {}
            Submission::Report(source, report) => {
                reach.replaced_reports.insert(*source);
                for event in &report.events {
                    reach.add(event, *source);
                }
            }
        }
        reach
    }
}
