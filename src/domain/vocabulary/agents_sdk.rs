//! What Logfire tells of OpenAI's Agents SDK: each span by a template for its name, and by the SDK's own names for what
//! it holds.

use serde_json::Value;

use super::calls::put;
use super::claims::AGENT_LABEL;
use super::{Gist, Part, Said};

const SCOPE: &str = "logfire.openai_agents";
/// How the names of its spans begin.
const PARTS: [(&str, Part); 6] = [
    ("OpenAI Agents trace", Part::Exchange),
    ("Chat completion", Part::Llm),
    ("Responses API", Part::Llm),
    ("Function:", Part::Tool),
    ("Speech → Text", Part::Stt),
    ("Text → Speech", Part::Tts),
];
const RUN_OF_AGENT: &str = "Agent run:";

/// Whether a span is one of these.
pub fn is_of(span: &Said<'_>) -> bool {
    span.scope() == SCOPE
}

pub fn part(span: &Said<'_>) -> Part {
    let mut parts = PARTS.into_iter();
    let found = parts.find(|(begin, _)| span.name.starts_with(begin));
    found.map_or(Part::Other, |(_, part)| part)
}

/// What it says in names of its own.
pub fn read(span: &Said<'_>, gist: &mut Gist) {
    let name = span.text("name").map(Value::from);
    if gist.part == Part::Tool {
        put(&mut gist.fields, "name", name);
    } else if span.name.starts_with(RUN_OF_AGENT) {
        put(&mut gist.session, AGENT_LABEL, name);
    }
}
