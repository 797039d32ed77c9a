//! What people write about a call: edits that lie over what the facts amount to, and evaluations.
//!
//! Both come as JSON objects whose members are changes: one that is absent changes nothing, null takes
//! back what was there.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::error::Fault;
use crate::domain::event::Kind;
use crate::domain::fields;
use crate::domain::items::Evaluation;
use crate::domain::session::Session;
use crate::domain::{Error, Result};

/// Evaluations that people may write about one session, what sources sent included.
pub const EVALUATIONS_MAX: i32 = 1_000;

const EDITABLE: [&str; 2] = ["summary", "tags"];

/// What somebody has written in the place of derived values. Absent means as derived.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edits {
    /// None within: the summary was cleared.
    pub summary: Option<Option<String>>,
    pub tags: Option<Vec<String>>,
}

impl Edits {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn lay_over(self, session: &mut Session) {
        if let Some(summary) = self.summary {
            session.summary = summary;
        }
        if let Some(tags) = self.tags {
            session.tags = tags;
        }
    }
}

/// Changes of a session's edits, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct EditChange(Map<String, Value>);

impl EditChange {
    pub fn read(body: Map<String, Value>, now: DateTime<Utc>) -> Result<Self> {
        let mut faults = Vec::new();
        let (known, unknown): (Map<_, _>, Map<_, _>) = body
            .into_iter()
            .partition(|(name, _)| EDITABLE.contains(&name.as_str()));
        for name in unknown.keys() {
            let nearest = fields::nearest(name, EDITABLE.into_iter());
            faults.push(Fault::misnamed(name, nearest));
        }
        if known.is_empty() && faults.is_empty() {
            faults.push(Fault::body("body", "must have `summary` or `tags`"));
        }
        faults.extend(fields::check(Kind::Session, &known, now).faults);
        sound(faults).map(|()| Self(known))
    }

    /// Answers which fields are other than before.
    pub fn apply(self, edits: &mut Edits) -> Vec<&'static str> {
        let before = edits.clone();
        for (name, value) in self.0 {
            match name.as_str() {
                // An empty text clears the summary: null already means to show what the facts say.
                "summary" => {
                    edits.summary =
                        text(value).map(|text| Some(text).filter(|text| !text.is_empty()))
                }
                "tags" => edits.tags = (!value.is_null()).then(|| texts(value)),
                _ => {}
            }
        }
        let is_changed = [edits.summary != before.summary, edits.tags != before.tags];
        let named = EDITABLE.into_iter().zip(is_changed);
        named.filter_map(|(name, is)| is.then_some(name)).collect()
    }
}

/// An evaluation to be, or changes of one, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationChange(Map<String, Value>);

impl EvaluationChange {
    pub fn read(body: Map<String, Value>, now: DateTime<Utc>) -> Result<Self> {
        let findings = fields::check(Kind::Evaluation, &body, now);
        let mut faults = findings.faults;
        let unknown = findings.unknown.iter();
        faults.extend(unknown.map(|unknown| Fault::misnamed(&unknown.name, unknown.nearest())));
        sound(faults).map(|()| Self(body))
    }

    /// Answers which fields are other than before. An evaluation that says nothing is refused.
    pub fn apply(self, evaluation: &mut Evaluation) -> Result<Vec<&'static str>> {
        let before = evaluation.clone();
        let one = evaluation;
        for (name, value) in self.0 {
            match name.as_str() {
                "reviewer" => one.reviewer = text(value).filter(|name| !name.trim().is_empty()),
                "score" => one.score = value.as_f64(),
                "verdict" => one.verdict = text(value),
                "labels" => one.labels = texts(value),
                "notes" => one.notes = text(value),
                // Within the bounds of a turn's index, as checked.
                "turn" => one.turn = value.as_f64().map(|turn| turn as i32),
                _ => {}
            }
        }
        let says_something = one.score.is_some()
            || one.verdict.is_some()
            || !one.labels.is_empty()
            || one.notes.as_ref().is_some_and(|notes| !notes.is_empty());
        if !says_something {
            let message = "must say something: `score`, `verdict`, `labels` or `notes`";
            return Err(Error::Unprocessable(vec![Fault::body("body", message)]));
        }
        let is_changed = [
            ("labels", one.labels != before.labels),
            ("notes", one.notes != before.notes),
            ("reviewer", one.reviewer != before.reviewer),
            ("score", one.score != before.score),
            ("turn", one.turn != before.turn),
            ("verdict", one.verdict != before.verdict),
        ];
        Ok(is_changed
            .into_iter()
            .filter_map(|(name, is)| is.then_some(name))
            .collect())
    }
}

/// One that nothing is said in yet.
pub fn blank(id: String, now: DateTime<Utc>) -> Evaluation {
    Evaluation {
        id,
        created_at: now,
        updated_at: now,
        reviewer: None,
        score: None,
        verdict: None,
        labels: Vec::new(),
        notes: None,
        turn: None,
    }
}

fn sound(faults: Vec<Fault>) -> Result<()> {
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Error::Unprocessable(faults))
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Each once, in the order in which they were given.
fn texts(value: Value) -> Vec<String> {
    let Value::Array(items) = value else {
        return Vec::new();
    };
    let mut texts: Vec<String> = Vec::new();
    for item in items.into_iter().filter_map(text) {
        if !texts.contains(&item) {
            texts.push(item);
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    fn edited(edits: &mut Edits, value: Value) -> Vec<&'static str> {
        EditChange::read(object(value), DateTime::UNIX_EPOCH)
            .expect("sound")
            .apply(edits)
    }

    #[test]
    fn cleared_is_not_the_same_as_not_edited() {
        let mut edits = Edits::default();
        assert_eq!(
            edited(&mut edits, json!({"summary": "", "tags": []})),
            ["summary", "tags"]
        );
        assert_eq!(
            edits,
            Edits {
                summary: Some(None),
                tags: Some(vec![])
            }
        );
        assert!(
            edited(&mut edits, json!({"tags": []})).is_empty(),
            "nothing changed"
        );
        assert_eq!(edited(&mut edits, json!({"summary": null})), ["summary"]);
        assert_eq!(edits.summary, None);
        assert_eq!(
            edited(&mut edits, json!({"tags": ["a", "b", "a"]})),
            ["tags"]
        );
        assert_eq!(edits.tags, Some(vec!["a".to_owned(), "b".to_owned()]));
        edited(&mut edits, json!({"tags": null}));
        assert!(edits.is_empty());
    }

    #[test]
    fn all_faults_of_an_edit_are_told() {
        let body = json!({"summry": "x", "tags": ["", 7], "summary": 1});
        let Err(Error::Unprocessable(faults)) =
            EditChange::read(object(body), DateTime::UNIX_EPOCH)
        else {
            unreachable!("it is unsound")
        };
        let mut told: Vec<_> = faults.iter().map(|f| f.name.as_str()).collect();
        told.sort_unstable();
        assert_eq!(told, ["summary", "summry", "tags"]);
        assert!(EditChange::read(Map::new(), DateTime::UNIX_EPOCH).is_err());
    }

    #[test]
    fn an_evaluation_says_something() {
        let change = |value| EvaluationChange::read(object(value), DateTime::UNIX_EPOCH);
        let mut one = blank("e".to_owned(), DateTime::UNIX_EPOCH);
        assert!(
            change(json!({"reviewer": "ada"}))
                .expect("sound")
                .apply(&mut one.clone())
                .is_err()
        );
        let said = change(json!({"score": 0.5, "turn": 2, "labels": ["a", "a"]})).expect("sound");
        assert_eq!(
            said.apply(&mut one).expect("changes"),
            ["labels", "score", "turn"]
        );
        assert_eq!((one.turn, one.labels.len()), (Some(2), 1));
        assert!(change(json!({"score": 1.5})).is_err());
        assert!(change(json!({"id": "mine"})).is_err());
        let emptied = change(json!({"score": null, "labels": null})).expect("sound");
        assert!(emptied.apply(&mut one).is_err());
    }
}
