//! What models write for the framework and not for the user: that the user has more to say, and what is to be done on a
//! line. None of it is spoken.

use serde_json::{Map, Value};

use super::super::Said;
use super::super::calls::{is_set, put, text};
use super::super::{Gist, Part};
use super::runs::ASKED;

/// Marks a generation that has found, as far as it says itself, that the user has more to say.
const WAITS: &str = "waits";
/// What says so, where it is not kept from what was written.
const MORE_TO_COME: [&str; 2] = ["◐", "○"];
/// No call of a tool is written in so few tokens.
const MARKER_TOKENS_MAX: u64 = 8;

/// Marks what a generation says of whether the user has finished.
pub fn read(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let written = fields.get("text").and_then(Value::as_str).map(str::trim);
    let waits = match written {
        Some(written) => MORE_TO_COME.contains(&written),
        None => !fields.contains_key("error") && has_only_marked(span),
    };
    put(fields, WAITS, waits.then_some(true));
}

/// Whether a model that was asked to mark what it writes has written no more than a mark, which stands in no output.
fn has_only_marked(span: &Said<'_>) -> bool {
    let is_asked_to = span.flag("param.filter_incomplete_user_turns") == Some(true);
    let thought = span.count(&["gen_ai.usage.reasoning.output_tokens"]);
    let written = span.count(&["gen_ai.usage.output_tokens"]);
    let written = written.map(|count| count.saturating_sub(thought.unwrap_or_default()));
    is_asked_to && written.is_some_and(|count| (1..=MARKER_TOKENS_MAX).contains(&count))
}

/// Whether a generation has left it at waiting for the user. What goes on with a tool's answer was asked for by it.
pub fn has_waited(gist: &Gist, later: &[&Gist]) -> bool {
    let is_next = |other: &&&Gist| other.part == Part::Llm && other.trace_id == gist.trace_id;
    let is_asked_anew = |next: &&Gist| is_set(next, ASKED);
    is_set(gist, WAITS) && later.iter().find(is_next).is_none_or(is_asked_anew)
}

/// What a model writes to have keys pressed, and to tell how far it is, where it talks to a machine.
const COMMANDS: [(&str, &str); 3] = [
    ("<dtmf>", "</dtmf>"),
    ("<ivr>", "</ivr>"),
    ("<mode>", "</mode>"),
];

/// Whether a generation has written commands, and not a word beside them.
pub fn is_command(gist: &Gist) -> bool {
    let Some(mut rest) = text(gist, "text").map(str::trim) else {
        return false;
    };
    while !rest.is_empty() {
        let behind = COMMANDS.iter().find_map(|(open, close)| {
            let (_, behind) = rest.strip_prefix(open)?.split_once(close)?;
            Some(behind.trim_start())
        });
        match behind {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    true
}
