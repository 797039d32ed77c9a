//! What went wrong in a session. The same exception stands on every span that it passed through: it is told
//! once, where it arose. An attempt that was followed by a better one is a warning.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::domain::event::Kind;
use crate::domain::items;
use crate::domain::vocabulary::{Beside, Gist, Part};

use super::super::calls::{end, put};
use super::read::FAILURE;
use super::tree::{Key, Speech, Tree, has_brought, key, node};

pub struct Failures<'a> {
    /// Where each arose, in the order of time, and whether something later made up for it.
    found: Vec<(&'a Gist, bool)>,
}

impl<'a> Failures<'a> {
    pub fn of(tree: &Tree<'a>, gists: &[&'a Gist]) -> Self {
        let failed = || gists.iter().copied().filter(|gist| has_failed(gist));
        let passed: BTreeSet<Key<'a>> = failed()
            .flat_map(|gist| tree.ancestors(gist))
            .map(key)
            .collect();
        let arose = failed().filter(|gist| !passed.contains(&key(gist)));
        let found = arose.map(|gist| (gist, is_repaired(tree, gist)));
        Self {
            found: found.collect(),
        }
    }

    /// Whether something failed for good in an answer.
    pub fn is_fatal_in(&self, speech: &Speech<'_>) -> bool {
        let own = || speech.turns.iter().chain(&speech.parts);
        let mut fatal = self.found.iter().filter(|(_, is_repaired)| !is_repaired);
        own().any(|gist| has_failed(gist))
            && fatal.any(|(gist, _)| own().any(|own| key(own) == key(gist)))
    }

    /// `turn_of` tells the turn that a span belongs to.
    pub fn besides(&self, turn_of: impl Fn(&Gist) -> Option<String>) -> Vec<Beside> {
        let beside = |(gist, is_repaired): &(&Gist, bool)| {
            let mut fields = match gist.fields.get(FAILURE) {
                Some(Value::Object(failure)) => failure.clone(),
                _ => Map::new(),
            };
            let level = if *is_repaired { "warning" } else { "error" };
            put(&mut fields, "service", Some(service(gist)));
            put(&mut fields, "level", Some(level));
            for name in ["provider", "model", "attempt"] {
                put(&mut fields, name, gist.fields.get(name).cloned());
            }
            Beside {
                kind: Kind::Error,
                id: format!("error:{}:{}", gist.trace_id, gist.span_id),
                at: end(gist),
                turn: turn_of(gist),
                fields,
            }
        };
        self.found.iter().map(beside).collect()
    }
}

/// A tool's failure, as an error of the session.
pub fn of_tool(tool: &Gist, turn: Option<String>) -> Option<Beside> {
    Some(Beside {
        kind: Kind::Error,
        id: format!("error:{}:{}", tool.trace_id, tool.span_id),
        at: end(tool),
        turn,
        fields: items::error_of_tool(&tool.fields)?,
    })
}

pub fn has_failed(gist: &Gist) -> bool {
    gist.fields.contains_key(FAILURE)
}

/// Whether another attempt came later, or what it was done for came to a good end.
fn is_repaired<'a>(tree: &Tree<'a>, failed: &'a Gist) -> bool {
    let is_attempt = matches!(failed.part, Part::LlmAttempt | Part::TtsAttempt);
    let is_next = |gist: &&Gist| gist.part == failed.part && gist.started_at > failed.started_at;
    let is_purpose =
        |gist: &&Gist| matches!(gist.part, Part::Llm | Part::Tts) || node(gist).is_some();
    // The last comes last: siblings are in the order of time.
    if is_attempt
        && let Some(last) = tree
            .siblings(failed)
            .iter()
            .rev()
            .find(|gist| is_next(gist))
    {
        return has_failed(last) || !is_in_vain(tree, last);
    }
    // Node.js marks attempts alone, and what was stopped before it was heard is not marked either: what it was done for
    // came to a good end if something came of it later.
    let is_told = !is_attempt || tree.parent(failed).is_some_and(has_failed);
    let is_marked = is_told && !is_stopped_unheard(tree, failed);
    let is_good = |gist: &Gist| is_marked || tree.has_brought_after(gist, failed.started_at);
    tree.ancestors(failed)
        .filter(is_purpose)
        .any(|gist| !has_failed(gist) && is_good(gist))
}

/// Whether a synthesis was tried again to no avail. In Node.js the first attempt has taken the text: the next is given
/// none, and comes to a good end without a sound.
fn is_in_vain<'a>(tree: &Tree<'a>, attempt: &'a Gist) -> bool {
    let request = tree
        .parent(attempt)
        .filter(|request| request.part == Part::Tts && !has_failed(request));
    let answer = tree
        .ancestors(attempt)
        .find(|gist| gist.part == Part::AgentTurn);
    // An answer that was stopped may have been stopped meanwhile.
    let (Some(request), Some(answer)) = (request, answer.filter(|answer| !is_interrupted(answer)))
    else {
        return false;
    };
    let is_heard =
        |gist: &&Gist| gist.part == Part::AgentSpeech && gist.started_at >= request.started_at;
    attempt.part == Part::TtsAttempt
        && !has_brought(request)
        && !tree.has_brought_after(request, request.started_at)
        && !tree.children(answer).iter().any(is_heard)
}

/// Whether the answer that it was done for was stopped before anything of it was heard, as it is by the end of the session
/// that its failure brought about.
fn is_stopped_unheard<'a>(tree: &Tree<'a>, failed: &'a Gist) -> bool {
    let mut line = tree.ancestors(failed);
    let answer = line.find(|gist| gist.part == Part::AgentTurn);
    answer.is_some_and(|answer| {
        let mut children = tree.children(answer).iter();
        is_interrupted(answer) && !children.any(|gist| gist.part == Part::AgentSpeech)
    })
}

fn is_interrupted(answer: &Gist) -> bool {
    answer.fields.get("interrupted").and_then(Value::as_bool) == Some(true)
}

fn service(gist: &Gist) -> &'static str {
    match gist.part {
        Part::Llm | Part::LlmAttempt => "llm",
        Part::Tts | Part::TtsAttempt => "tts",
        Part::UserTurn | Part::Stt => "stt",
        _ => match node(gist) {
            Some("llm") => "llm",
            Some("tts") => "tts",
            _ => "workflow",
        },
    }
}
