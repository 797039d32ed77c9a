//! What hearing the user took, where others' words stand between them and their answer: the wait for an answer is read of
//! the turn before it, which is then not the one that it answers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::turn::Speaker;
use crate::domain::vocabulary::Turn;

/// What an answer has of the turn that it answers.
const WAITS: [&str; 2] = ["sttMs", "endpointingMs"];
const NAMES: [&str; 2] = ["providers", "models"];

/// `answers` are the user's turns that answers have for their input.
pub fn tell(turns: &mut [Turn], answers: &BTreeMap<String, String>) {
    let mut order: Vec<usize> = (0..turns.len()).collect();
    order.sort_by_key(|place| (turns[*place].started_at, turns[*place].ended_at));
    for pair in order.windows(2) {
        let (before, answer) = (&turns[pair[0]], &turns[pair[1]]);
        let Some(asked) = answers.get(&answer.id).filter(|id| **id != before.id) else {
            continue;
        };
        // What the application had said meanwhile answers nobody: the wait is told with that.
        let is_of_others = match before.speaker {
            Speaker::User => true,
            Speaker::Agent => answers.get(&before.id).is_some_and(|other| other != asked),
        };
        let is_told = WAITS.iter().any(|name| answer.fields.contains_key(*name));
        if is_told || !is_of_others {
            continue;
        }
        if let Some(user) = turns.iter().find(|turn| turn.id == *asked).cloned() {
            take_over(&user, &mut turns[pair[1]]);
        }
    }
}

fn take_over(user: &Turn, answer: &mut Turn) {
    for name in WAITS {
        if let Some(ms) = user.fields.get(name) {
            answer.fields.insert(name.to_owned(), ms.clone());
        }
    }
    for name in NAMES {
        let own = user.fields.get(name).and_then(|names| names.get("stt"));
        if let Some(own) = own {
            let names = answer.fields.entry(name).or_insert_with(|| json!({}));
            if let Value::Object(names) = names {
                names.entry("stt").or_insert_with(|| own.clone());
            }
        }
    }
}
