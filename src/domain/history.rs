//! How a session came to its state: the states it went through, as its facts tell.

use chrono::{DateTime, Utc};

use crate::domain::event::Source;
use crate::domain::session::{NO_END_SEEN, Session, Status};

/// What one fact about the session says of its state.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub source: Source,
    pub at: DateTime<Utc>,
    pub status: Option<Status>,
    pub answered_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// One state, and since when.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub status: Status,
    pub at: DateTime<Utc>,
    /// Who said so; none where it follows from what was said.
    pub source: Option<Source>,
}

/// The states in the order in which facts overrule each other, which `said` is in. The last is always the
/// session's own, whatever is left of its facts.
pub fn steps(session: &Session, said: &[Said]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_stated = false;
    for word in said.iter().filter(|word| word.source != Source::Timeout) {
        let Some(status) = word.status else { continue };
        let step = Step {
            status,
            at: word.since(status).unwrap_or(word.at),
            source: Some(word.source),
        };
        match steps.last_mut() {
            // Who says since when knows it better than who only spoke while it was so.
            Some(last) if last.status == status => {
                if is_stated || word.since(status).is_none() {
                    continue;
                }
                *last = step;
            }
            Some(last) if !follows(last.status, status) => continue,
            _ => steps.push(step),
        }
        is_stated = word.since(status).is_some();
    }
    // What a whole call implies comes last and may have been overruled all the same.
    if let Some(own) = steps.iter().rposition(|step| step.status == session.status)
        && session.status.is_final()
    {
        steps.truncate(own + 1);
    }
    if let Some(at) = session.answered_at
        && !steps.iter().any(|step| step.status == Status::Active)
        && session.status != Status::Active
    {
        let end = steps.iter().position(|step| step.status.is_final());
        let answered = Step {
            status: Status::Active,
            at,
            source: None,
        };
        steps.insert(end.unwrap_or(steps.len()), answered);
    }
    if steps
        .last()
        .is_none_or(|last| last.status != session.status)
    {
        steps.push(own(session));
    }
    // A state was there before the next one, however late it was told.
    let mut next = None;
    for step in steps.iter_mut().rev() {
        step.at = next.map_or(step.at, |next| step.at.min(next));
        next = Some(step.at);
    }
    steps
}

/// Whether a state may come after another one: nothing leaves a final state but for another final one, and a
/// failure stays.
fn follows(last: Status, next: Status) -> bool {
    last != Status::Failed && (next.is_final() || !last.is_final())
}

/// The session's own state where no fact gives it by name.
fn own(session: &Session) -> Step {
    let since = match session.status {
        Status::Active => session.answered_at,
        status if status.is_final() => session.ended_at,
        _ => None,
    };
    let is_silence = session.end_reason.as_deref() == Some(NO_END_SEEN);
    Step {
        status: session.status,
        at: since.unwrap_or(session.started_at),
        source: is_silence.then_some(Source::Timeout),
    }
}

impl Said {
    /// Since when, where the fact says so.
    fn since(&self, status: Status) -> Option<DateTime<Utc>> {
        match status {
            Status::Active => self.answered_at,
            status if status.is_final() => self.ended_at,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Kind;
    use crate::domain::fact::Fact;
    use crate::domain::session::Activity;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn time(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).expect("a time")
    }

    fn fact(at: i64, source: Source, fields: Value) -> Fact {
        let fields: Map<String, Value> = fields.as_object().cloned().unwrap_or_default();
        let (kind, id) = (Kind::Session, format!("{at}"));
        let (at, hash) = (time(at), 0);
        Fact {
            source,
            kind,
            id,
            at,
            hash,
            fields: fields.into(),
        }
    }

    fn history(facts: &[Fact]) -> (Session, Vec<Step>) {
        let stated = facts.iter().filter(|fact| fact.source != Source::Timeout);
        let activity = stated.map(Activity::of).reduce(Activity::and);
        let all: Vec<&Fact> = facts.iter().collect();
        let session = Session::derive(&all, activity.expect("a fact"));
        let mut ordered = all;
        crate::domain::fact::order(&mut ordered);
        let field = |fact: &Fact, name| crate::domain::fact::time(&fact.fields, name);
        let said: Vec<Said> = ordered
            .into_iter()
            .map(|fact| Said {
                source: fact.source,
                at: fact.at,
                status: fact
                    .fields
                    .get("status")
                    .and_then(|s| Status::parse(s.as_str()?)),
                answered_at: field(fact, "answeredAt"),
                ended_at: field(fact, "endedAt"),
            })
            .collect();
        let steps = steps(&session, &said);
        (session, steps)
    }

    fn shown(steps: &[Step]) -> Vec<(&'static str, i64, Option<Source>)> {
        let start = time(0);
        let shown = |step: &Step| {
            let since = (step.at - start).num_seconds();
            (step.status.as_str(), since, step.source)
        };
        steps.iter().map(shown).collect()
    }

    #[test]
    fn states_come_in_order_and_late_ones_are_left_out() {
        let (_, steps) = history(&[
            fact(0, Source::Event, json!({"status": "queued"})),
            fact(2, Source::Event, json!({"status": "ringing"})),
            fact(3, Source::Event, json!({"status": "ringing"})),
            fact(5, Source::Event, json!({"answeredAt": time(4)})),
            fact(
                9,
                Source::Event,
                json!({"status": "completed", "endedAt": time(8)}),
            ),
            fact(10, Source::Event, json!({"status": "active"})),
        ]);
        let by_event = Some(Source::Event);
        assert_eq!(
            shown(&steps),
            [
                ("queued", 0, by_event),
                ("ringing", 2, by_event),
                ("active", 4, None),
                ("completed", 8, by_event)
            ]
        );
    }

    #[test]
    fn who_says_since_when_knows_it_better_than_who_spoke_first() {
        let vapi = |at, fields| fact(at, Source::Vapi, fields);
        let (session, steps) = history(&[
            vapi(0, json!({"status": "queued"})),
            vapi(2, json!({"status": "active"})),
            vapi(41, json!({"status": "completed"})),
            vapi(43, json!({"status": "completed", "endedAt": time(40)})),
            vapi(45, json!({"status": "completed", "endedAt": time(40)})),
        ]);
        let by_vapi = Some(Source::Vapi);
        assert_eq!(
            shown(&steps),
            [
                ("queued", 0, by_vapi),
                ("active", 2, by_vapi),
                ("completed", 40, by_vapi)
            ]
        );
        assert_eq!(session.ended_at, Some(time(40)));
    }

    #[test]
    fn what_nobody_said_follows_from_the_session() {
        let (_, steps) = history(&[fact(0, Source::Call, json!({"endedAt": time(7)}))]);
        assert_eq!(shown(&steps), [("completed", 7, None)]);
        let (_, steps) = history(&[fact(0, Source::Event, json!({}))]);
        assert_eq!(shown(&steps), [("active", 0, None)]);
        let (_, steps) = history(&[
            fact(0, Source::Event, json!({"status": "active"})),
            fact(3, Source::Event, json!({})),
            fact(3, Source::Timeout, json!({})),
        ]);
        let expected = [
            ("active", 0, Some(Source::Event)),
            ("completed", 3, Some(Source::Timeout)),
        ];
        assert_eq!(shown(&steps), expected);
        // Told late: that it was active was known only when it was over.
        let (_, steps) = history(&[
            fact(0, Source::Event, json!({"endedAt": time(4)})),
            fact(9, Source::Call, json!({"status": "active"})),
            fact(9, Source::Event, json!({"status": "completed"})),
        ]);
        assert!(steps.is_sorted_by_key(|step| step.at), "{steps:?}");
    }

    proptest! {
        #[test]
        fn the_last_state_is_the_sessions_own(
            words in proptest::collection::vec((0_i64..9, 0_usize..8, any::<bool>(), any::<bool>(), any::<bool>()), 1..8)
        ) {
            let facts: Vec<Fact> = words
                .iter()
                .enumerate()
                .map(|(number, (at, status, answered, ended, silent))| {
                    let mut fields = Map::new();
                    if let Some(status) = Status::ALL.get(*status) {
                        fields.insert("status".to_owned(), json!(status.as_str()));
                    }
                    if *answered {
                        fields.insert("answeredAt".to_owned(), json!(time(*at)));
                    }
                    if *ended {
                        fields.insert("endedAt".to_owned(), json!(time(at + 1)));
                    }
                    let source = if *silent && number > 0 { Source::Timeout } else { Source::Event };
                    let fields = if source == Source::Timeout { json!({}) } else { Value::Object(fields) };
                    Fact { id: format!("{number}"), ..fact(*at, source, fields) }
                })
                .collect();
            let (session, steps) = history(&facts);
            prop_assert_eq!(steps.last().map(|step| step.status), Some(session.status));
            prop_assert!(steps.windows(2).all(|pair| pair[0].status != pair[1].status));
            prop_assert!(steps.is_sorted_by_key(|step| step.at));
        }
    }
}
