//! What was said to a model that hears for itself: its spans tell when the user spoke, and LiveKit's chat history what.

use serde_json::{Map, Value};

use crate::domain::event::{Event, Kind};
use crate::domain::turn::Speaker;

/// What the user said in a turn, which may be nothing that was written down; none where it is no turn of the user's.
pub fn words_of_user(kind: Kind, fields: &Map<String, Value>) -> Option<&str> {
    let member = |name: &str| fields.get(name).and_then(Value::as_str);
    let is_users = kind == Kind::Turn && member("speaker") == Some(Speaker::User.as_str());
    is_users.then(|| member("text").unwrap_or_default())
}

/// Gives the user's turns, where none of them has a word, those of another source that has as many, in their order.
pub fn lend(events: &mut [Event], words: impl FnOnce() -> Vec<String>) {
    let mut turns = Vec::new();
    for event in events {
        match words_of_user(event.kind, &event.fields) {
            Some("") => turns.push(event),
            Some(_) => return,
            None => {}
        }
    }
    let words = if turns.is_empty() {
        Vec::new()
    } else {
        words()
    };
    if words.len() != turns.len() {
        return;
    }
    turns.sort_by_key(|turn| turn.fields.get("index").and_then(Value::as_i64));
    for (turn, words) in turns.into_iter().zip(words) {
        let mut fields = turn.fields.fields().clone();
        fields.insert("text".to_owned(), Value::from(words));
        turn.fields = fields.into();
    }
}
