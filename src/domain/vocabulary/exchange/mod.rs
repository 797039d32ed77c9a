//! Exchanges: what vocabularies without a notion of speakers amount to. What stands at the top of a trace is what
//! the user said and what was answered; below it are transcripts, generations, tools and speech.

mod adjacent;
mod attempts;
mod called;
mod group;
mod listening;
mod once;
mod sequence;
mod turns;

use serde_json::{Map, Value};

use super::calls::{end, has_failed, number, put, stages, text, usage};
use super::{End, Gist, Part, Understood};

/// What gists of such vocabularies, in the order of time, amount to.
pub fn interpret(gists: &[&Gist]) -> Understood {
    let found = group::groups(gists);
    let counted: Vec<&Gist> = found.counted.iter().collect();
    let of = |part| -> Vec<&Gist> { counted.iter().copied().filter(|g| g.part == part).collect() };
    let mut session = Map::new();
    let (stt, llm, tts) = (of(Part::Stt), of(Part::Llm), of(Part::Tts));
    stages(&mut session, [("stt", &stt), ("llm", &llm), ("tts", &tts)]);
    let mut usage = usage(&counted);
    put(&mut usage, "otherCostUsd", other_cost_usd(&counted));
    put(&mut session, "usage", (!usage.is_empty()).then_some(usage));
    let mut understood = Understood {
        session,
        ..Understood::default()
    };
    let is_traced = counted.iter().any(|gist| gist.part == Part::Tool);
    for group in found.groups(&counted) {
        // Who traces tools tells of all of them.
        let called = match is_traced {
            true => Vec::new(),
            false => called::tools(&group),
        };
        turns::of(&group, &called, &mut understood);
    }
    turns::place_answers(&mut understood.turns);
    turns::place_interruptions(&mut understood);
    let mut roots = found.roots.iter().filter(|root| root.ended_at.is_some());
    understood.end = roots.next().map(|root| ended(root, gists));
    understood
}

/// What is said to have cost something and is neither heard, generated nor spoken, so that no turn has it: a session's
/// cost is more than this and what its turns say.
fn other_cost_usd(gists: &[&Gist]) -> Option<f64> {
    let others = gists
        .iter()
        .filter(|gist| !matches!(gist.part, Part::Stt | Part::Llm | Part::Tts));
    others
        .filter_map(|gist| number(gist, "costUsd"))
        .reduce(|a, b| a + b)
}

fn ended(root: &Gist, gists: &[&Gist]) -> End {
    let last = gists.iter().map(|gist| end(gist)).max();
    End {
        at: last.unwrap_or_else(|| end(root)),
        status: if has_failed(root) {
            "failed"
        } else {
            "completed"
        },
        reason: text(root, "error").map(str::to_owned),
    }
}

/// A gist's text that may be asked for under several names.
fn said<'a>(gist: &'a Gist, name: &str) -> Option<&'a str> {
    gist.fields.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
