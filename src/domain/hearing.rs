//! Words that spans leave out, and LiveKit's chat history has: what was said to a model that hears for itself, and what an
//! application had said without an answer, of which spans tell when it was heard.

use serde_json::{Map, Value};

use crate::domain::event::{Event, Kind};
use crate::domain::turn::Speaker;

/// What somebody said in a turn, which may be nothing that was written down; none where it is no turn of theirs.
pub fn words(kind: Kind, fields: &Map<String, Value>, speaker: Speaker) -> Option<&str> {
    let member = |name: &str| fields.get(name).and_then(Value::as_str);
    let is_theirs = kind == Kind::Turn && member("speaker") == Some(speaker.as_str());
    is_theirs.then(|| member("text").unwrap_or_default())
}

/// Gives turns without words those of another source. `words` tells what somebody said there, in its order.
pub fn lend(events: &mut [Event], words: impl Fn(Speaker) -> Vec<String>) {
    lend_to_user(events, || words(Speaker::User));
    lend_to_agent(events, || words(Speaker::Agent));
}

/// Gives the user's turns, where none of them has a word, the other source's if it has as many.
fn lend_to_user(events: &mut [Event], words: impl FnOnce() -> Vec<String>) {
    let mut turns = Vec::new();
    for event in events {
        match self::words(event.kind, &event.fields, Speaker::User) {
            Some("") => turns.push(event),
            Some(_) => return,
            None => {}
        }
    }
    give(turns, words);
}

/// Gives what was heard of the agent without a word what no other of its turns says, if that is as much.
fn lend_to_agent(events: &mut [Event], words: impl FnOnce() -> Vec<String>) {
    let (mut turns, mut said) = (Vec::new(), Vec::new());
    for event in events {
        match self::words(event.kind, &event.fields, Speaker::Agent) {
            Some("") if is_heard(event) => turns.push(event),
            Some(words) => said.push(words.to_owned()),
            None => {}
        }
    }
    let is_left = |words: &String| !said.iter().any(|said| said.contains(words.as_str()));
    give(turns, || words().into_iter().filter(is_left).collect());
}

fn is_heard(turn: &Event) -> bool {
    let is_there = |name: &str| turn.fields.contains_key(name);
    is_there("firstAudioMs") && !is_there("text")
}

fn give(mut turns: Vec<&mut Event>, words: impl FnOnce() -> Vec<String>) {
    if turns.is_empty() {
        return;
    }
    let words = words();
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
