//! The spans of LiveKit's agents, 1.2 to 1.8 in Python and 1.2 to 1.9 in Node.js. An answer of the agent is a
//! *speech*: an `agent_turn` with its model calls, tools and audio below it. What the user says is a `user_turn`; what
//! they type stands on the answer only.

mod ending;
mod failures;
mod interruptions;
mod nodejs;
mod pieces;
mod python;
mod read;
mod speech;
#[cfg(test)]
mod tests;
mod tree;
mod unknown;
mod user;
mod waits;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::domain::event::Kind;
use crate::domain::turn::{AGENT, ASIDE, Speaker};

use super::calls::{end, put};
use super::{Beside, Gist, Part, Turn, Understood};
use ending::{has_crashed, reason};
use failures::Failures;
use tree::{Key, Speech, Tree, key};

pub use nodejs::in_python;
pub use python::content as python_content;
pub use python::value as python_value;
pub use read::gist;

/// What a session's LiveKit gists, in the order of time, amount to.
pub fn interpret(gists: &[&Gist]) -> Understood {
    let tree = Tree::of(gists);
    let failures = Failures::of(&tree, gists);
    let made = tree.speeches(gists);
    let heard: Vec<&Gist> = of(gists, Part::UserSpeech).collect();
    let users = user::turns(&tree, gists, &made, &heard);
    let speeches = pieces::of(made.kept, &users.turns, &heard, &tree);

    let is_sound = |gist: &&Gist| matches!(gist.part, Part::AgentSpeech | Part::Tts);
    let is_aloud = gists.iter().any(is_sound);
    // Whose an answer is whose own span has not come nobody knows.
    let told = speeches.iter().filter(|speech| !speech.turns.is_empty());
    let agents: BTreeSet<Option<&str>> = told.map(agent).collect();

    let mut understood = Understood::default();
    for speech in &speeches {
        let mut turn = speech::turn(speech, &tree, &failures, is_aloud);
        if let Some(agent) = agent(speech).filter(|_| agents.len() > 1) {
            note(&mut turn, AGENT, agent.into());
        }
        if let Some(interruption) = interruptions::of(speech, &tree, &heard) {
            put(&mut turn.fields, "interrupted", Some(true));
            understood.besides.push(interruption);
        }
        let falsely = interruptions::false_ones(speech, &heard);
        understood.besides.extend(falsely);
        understood.turns.push(turn);
    }
    understood.turns.extend(users.turns);
    waits::tell(&mut understood.turns, &users.answers);
    understood.turns.extend(user::voices(&tree, gists));
    set_apart(&mut understood.turns, gists, &tree);
    give_up(&mut understood.turns);
    let homes: BTreeMap<Key<'_>, &str> = speeches
        .iter()
        .flat_map(|speech| speech.all().map(|gist| (key(gist), speech.id.as_str())))
        .collect();
    // A span of the application's own belongs to the turn that it stands in.
    let turn_of = |gist: &Gist| {
        let home = |gist: &Gist| {
            let user = (gist.part == Part::UserTurn).then(|| gist.span_id.clone());
            homes.get(&key(gist)).map(|id| (*id).to_owned()).or(user)
        };
        home(gist).or_else(|| tree.ancestors(gist).find_map(home))
    };
    understood.besides.extend(failures.besides(turn_of));
    understood.besides.extend(speech::tools(gists, turn_of));
    understood.besides.extend(unknown::tools(gists, turn_of));
    understood
        .besides
        .extend(heard.iter().map(|gist| user::speech(gist)));
    understood.session = session(gists, &tree, &speeches, &made.outside);
    let roots = || of(gists, Part::Root);
    understood.started_at = roots().map(|root| root.started_at).min();
    understood.end = ending::of(gists, &tree, &understood);
    understood
}

/// An answer that says nothing, and behind which something else is said, was none: the user spoke on, or another
/// agent took over.
fn give_up(turns: &mut [Turn]) {
    let last = turns.iter().map(|turn| turn.started_at).max();
    for turn in turns.iter_mut() {
        let says_nothing = turn.fields.get("text") == Some(&Value::from(""));
        let is_agent = turn.speaker == Speaker::Agent;
        let is_heard = turn.fields.contains_key("firstAudioMs");
        if is_agent && says_nothing && !is_heard && Some(turn.started_at) < last {
            put(&mut turn.fields, "cancelled", Some(true));
        }
    }
}

/// What was said in a session that the agent held meanwhile with somebody else, as with a colleague who is to take the
/// call: it is not what the caller said, or heard.
fn set_apart(turns: &mut [Turn], gists: &[&Gist], tree: &Tree<'_>) {
    let within: BTreeSet<Key<'_>> = of(gists, Part::Root)
        .filter(|root| tree.around(root).is_some())
        .map(key)
        .collect();
    let is_apart = |gist: &&&Gist| {
        let parent = gist.parent.as_deref();
        parent.is_some_and(|parent| within.contains(&(gist.trace_id.as_str(), parent)))
    };
    let apart: BTreeSet<&str> = gists
        .iter()
        .filter(is_apart)
        .filter_map(|gist| match gist.part {
            Part::UserTurn => Some(gist.span_id.as_str()),
            Part::AgentTurn => Some(tree::speech_id(gist)),
            _ => None,
        })
        .collect();
    for turn in turns.iter_mut().filter(|turn| apart.contains(&*turn.id)) {
        note(turn, ASIDE, true.into());
    }
}

fn note(turn: &mut Turn, name: &str, value: Value) {
    let metadata = turn.fields.entry("metadata").or_insert_with(|| json!({}));
    metadata[name] = value;
}

/// Which of the application's agents an answer is of.
fn agent<'a>(speech: &Speech<'a>) -> Option<&'a str> {
    speech.text("agentLabel")
}

fn of<'a>(gists: &[&'a Gist], part: Part) -> impl Iterator<Item = &'a Gist> {
    gists.iter().copied().filter(move |gist| gist.part == part)
}

fn session(
    gists: &[&Gist],
    tree: &Tree<'_>,
    speeches: &[Speech<'_>],
    outside: &[&Gist],
) -> Map<String, Value> {
    let mut session = Map::new();
    let named = |name: &str| gists.iter().find_map(|gist| gist.fields.get(name)).cloned();
    let agent = ["agentName", "agentLabel", "service"]
        .iter()
        .find_map(|name| named(name));
    put(&mut session, "agentId", agent);
    let (mut models, mut providers) = (Map::new(), Map::new());
    // Who was asked beside the conversation, to tell a machine from a person say, counts only where nobody else is known.
    let asides: BTreeSet<Key<'_>> = outside.iter().map(|gist| key(gist)).collect();
    let is_outside = |gist: &&&Gist| asides.contains(&key(gist));
    let (last, first): (Vec<&Gist>, Vec<&Gist>) = gists.iter().partition(is_outside);
    for gist in first.iter().chain(&last) {
        let Some(stage) = gist.fields.get("stage").and_then(Value::as_str) else {
            continue;
        };
        for (into, name) in [(&mut models, "model"), (&mut providers, "provider")] {
            if let Some(value) = gist.fields.get(name) {
                into.entry(stage).or_insert_with(|| value.clone());
            }
        }
    }
    put(
        &mut session,
        "models",
        (!models.is_empty()).then_some(models),
    );
    put(
        &mut session,
        "providers",
        (!providers.is_empty()).then_some(providers),
    );
    let mut newest = gists.iter().rev();
    let delay = newest.find_map(|gist| gist.fields.get("configuredEndpointingMs"));
    put(&mut session, "configuredEndpointingMs", delay.cloned());
    let is_sip = gists
        .iter()
        .any(|gist| gist.session.get("transport").is_some());
    if !is_sip {
        put(&mut session, "transport", Some("webrtc"));
    }
    // Models that were asked beside the conversation have cost something too; and of several jobs in one room each
    // reports its own.
    let beside: Vec<&Gist> = outside
        .iter()
        .copied()
        .filter(|gist| gist.part == Part::Llm)
        .collect();
    if !beside.is_empty() || is_of_several(gists) {
        let inside = speeches.iter().flat_map(Speech::all);
        let all: Vec<&Gist> = inside.chain(outside.iter().copied()).collect();
        let usage = speech::usage(&all, tree);
        put(&mut session, "usage", (!usage.is_empty()).then_some(usage));
    }
    let calls: Vec<Value> = beside.iter().map(|gist| speech::used(gist)).collect();
    put(
        &mut session,
        "llmCalls",
        (!calls.is_empty()).then_some(calls),
    );
    let ended_at = of(gists, Part::Root).map(end).max();
    let is_crash = ended_at.is_some_and(|at| has_crashed(gists, at));
    let ended_by = match reason(gists).as_deref() {
        _ if is_crash => Some("system"),
        Some("participant_disconnected") => Some("user"),
        Some("task_completed") => Some("agent"),
        Some("error" | "job_shutdown") => Some("system"),
        _ => None,
    };
    put(&mut session, "endedBy", ended_by);
    let states: Vec<Value> = of(gists, Part::Root)
        .filter_map(|root| root.fields.get("states")?.as_array())
        .flatten()
        .cloned()
        .collect();
    if !states.is_empty() {
        let mut metadata = Map::new();
        put(&mut metadata, "states", Some(states));
        put(&mut session, "metadata", Some(metadata));
    }
    session
}

/// Whether several jobs spoke in it, each with a trace of its own.
fn is_of_several(gists: &[&Gist]) -> bool {
    let mut turns = gists
        .iter()
        .filter(|gist| matches!(gist.part, Part::UserTurn | Part::AgentTurn));
    let first = turns.next();
    first.is_some_and(|first| turns.any(|turn| turn.trace_id != first.trace_id))
}

/// What happened beside the turns.
fn beside(
    kind: Kind,
    name: &str,
    gist: &Gist,
    turn: Option<String>,
    fields: Map<String, Value>,
) -> Beside {
    Beside {
        kind,
        id: format!("{name}:{}:{}", gist.trace_id, gist.span_id),
        at: end(gist),
        turn,
        fields,
    }
}
