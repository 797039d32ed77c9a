//! Messages that are told beside the span of a generation, in log records: those of one span are kept as one thing of
//! its trace, below it, and what they say is put where the span would say it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::domain::body::json_bytes;
use crate::domain::fields::FREE_MAX_BYTES;

use super::called::{CALLS, RESULTS};
use super::{Gist, Part};

/// Attributes begin so that hold what one record says: its time follows, by which they are in order.
pub const LOGGED: &str = "gen_ai.logged.";
/// The only event of the conventions that holds all messages of a generation.
pub const DETAILS: &str = "gen_ai.client.inference.operation.details";
const ID_SUFFIX: &str = ":messages";

/// What a generation was asked, by the names of its fields: they go together.
const ASKED: [&str; 4] = [
    "userText",
    "answeredBefore",
    "messagesBefore",
    "isContinued",
];

/// The id under which a span's messages are kept.
pub fn id_of(span_id: &str) -> String {
    format!("{span_id}{ID_SUFFIX}")
}

pub fn is_messages(span_id: &str) -> bool {
    span_id.ends_with(ID_SUFFIX)
}

/// Whether an event tells of messages, by its name.
pub fn is_of_messages(event: &str) -> bool {
    let is_one = |rest: &str| rest == "choice" || rest.ends_with(".message");
    event == DETAILS || event.strip_prefix("gen_ai.").is_some_and(is_one)
}

/// The attributes of one span's messages that are beyond what it may hold: the earliest stay, whichever came first.
pub fn surplus(attributes: &Map<String, Value>) -> Vec<String> {
    let mut bytes = 0;
    let told = attributes
        .iter()
        .filter(|(name, _)| name.starts_with(LOGGED));
    let beyond = told.skip_while(|(name, value)| {
        bytes += name.len() + json_bytes(value);
        bytes <= FREE_MAX_BYTES
    });
    beyond.map(|(name, _)| name.clone()).collect()
}

/// All gists, with what was told beside their spans; those that tell only that are gone.
pub fn joined(gists: &[Gist]) -> Cow<'_, [Gist]> {
    let (beside, spans): (Vec<&Gist>, Vec<&Gist>) =
        gists.iter().partition(|gist| gist.part == Part::Messages);
    if beside.is_empty() {
        return Cow::Borrowed(gists);
    }
    let beside = beside.into_iter().filter_map(|gist| {
        let parent = gist.parent.as_deref()?;
        Some(((gist.trace_id.as_str(), parent), gist))
    });
    let beside: BTreeMap<(&str, &str), &Gist> = beside.collect();
    let whole = spans.into_iter().map(|gist| {
        let told = beside.get(&(gist.trace_id.as_str(), gist.span_id.as_str()));
        told.map_or_else(|| gist.clone(), |told| with(gist, told))
    });
    Cow::Owned(whole.collect())
}

/// A generation or an agent with what was told beside it: its own word stays.
fn with(gist: &Gist, told: &Gist) -> Gist {
    let mut whole = gist.clone();
    let names: &[&str] = match gist.part {
        Part::Llm | Part::LlmAttempt => &ASKED,
        Part::Exchange => &ASKED[..1],
        _ => return whole,
    };
    let is_asked = ASKED.iter().any(|name| gist.fields.contains_key(*name));
    let asked = names.iter().filter(|_| !is_asked);
    for name in asked.chain(&["text", CALLS, RESULTS]) {
        if let Some(value) = told.fields.get(*name) {
            whole.fields.entry(*name).or_insert_with(|| value.clone());
        }
    }
    whole
}
