//! What LiveKit's SDK for Node.js writes otherwise than the one for Python: names in its documents, and how it counts
//! the wait for the end of a turn.

use serde_json::{Map, Value};

use crate::domain::vocabulary::Said;
use crate::domain::vocabulary::span::LANGUAGE;

/// Documents are not taken apart deeper than this.
const DEPTH_MAX: usize = 8;
/// Nobody waits for the end of a turn so long.
const WAIT_MAX_S: f64 = 60.0;

/// A document of either SDK, by the names that Python has: `ttftMs` is `ttft_ms`.
pub fn in_python(document: Value) -> Value {
    renamed(document, 0)
}

fn renamed(value: Value, depth: usize) -> Value {
    match value {
        Value::Object(members) if depth < DEPTH_MAX => {
            let members = members.into_iter();
            let renamed: Map<String, Value> = members
                .map(|(name, value)| (snake_case(&name), renamed(value, depth + 1)))
                .collect();
            renamed.into()
        }
        other => other,
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for sign in name.chars() {
        if sign.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(sign.to_ascii_lowercase());
    }
    snake
}

/// How long a user's turn waited for each of several things, in milliseconds, each told by the first of its names. Python
/// writes seconds, and so does Node.js everywhere but here. Where nobody says that it was Node.js, a wait of minutes that is
/// longer than the turn which it is part of does.
pub fn waits<const N: usize>(span: &Said<'_>, names: [&[&str]; N]) -> [Option<f64>; N] {
    let told = names.map(|names| {
        let mut told = names.iter().filter_map(|name| span.number(name));
        told.next().filter(|wait| *wait >= 0.0)
    });
    let longest = told.iter().flatten().copied().fold(0.0, f64::max);
    let lasted = span.ended_at.map(|end| end - span.started_at);
    let lasted_s = lasted.map_or(0.0, |lasted| lasted.num_milliseconds() as f64 / 1e3);
    let is_too_long = longest > WAIT_MAX_S && longest > lasted_s;
    let is_in_ms = span.resource(LANGUAGE) == Some("nodejs") || is_too_long;
    let to_ms = if is_in_ms { 1.0 } else { 1e3 };
    told.map(|wait| Some((wait? * to_ms * 1e3).round() / 1e3))
}
