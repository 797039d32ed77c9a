//! When a session was over, how, and why.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::domain::event::Kind;
use crate::domain::turn::Speaker;
use crate::domain::vocabulary::{End, Gist, Part, Turn, Understood};

use super::super::calls::end;
use super::failures::has_failed;
use super::read::{CLOSING, CRASHED, SESSION};
use super::tree::Tree;

/// How it ended, once every job that spoke in it has, and not only a session that was held within another.
pub fn of<'a>(gists: &[&'a Gist], tree: &Tree<'a>, understood: &Understood) -> Option<End> {
    let turns = &understood.turns;
    let roots: Vec<&'a Gist> = super::of(gists, Part::Root).collect();
    let torn_down_at = roots.iter().map(|root| end(root)).max()?;
    let is_rooted = |gist: &Gist| roots.iter().any(|root| root.trace_id == gist.trace_id);
    let speaks = |gist: &&&Gist| matches!(gist.part, Part::UserTurn | Part::AgentTurn);
    let goes_on = roots.iter().any(|root| tree.goes_on_around(root));
    if goes_on || !gists.iter().filter(speaks).all(|gist| is_rooted(gist)) {
        return None;
    }
    let is_crash = has_crashed(gists, torn_down_at);
    let reason = reason(gists).filter(|_| !is_crash);
    let last = turns
        .iter()
        .filter(|turn| turn.speaker == Speaker::Agent)
        .max_by_key(|turn| (turn.started_at, turn.ended_at));
    let is_error_of = |turn: &Turn| {
        let mut errors = understood.besides.iter();
        errors.any(|beside| beside.kind == Kind::Error && beside.turn.as_deref() == Some(&turn.id))
    };
    let is_unanswered = last.is_some_and(|turn| {
        turn.fields.get("failed") == Some(&Value::Bool(true)) && is_error_of(turn)
    });
    let has_failed = is_unanswered
        || is_crash
        || reason.as_deref() == Some("error")
        || roots.iter().any(|root| has_failed(root));
    let closed_at = roots.iter().map(|root| closed_at(root, tree)).max()?;
    let last_word = turns.iter().filter_map(last_word).max();
    Some(End {
        at: last_word.map_or(closed_at, |at| at.max(closed_at).min(torn_down_at)),
        status: if has_failed { "failed" } else { "completed" },
        reason: reason.or(is_crash.then(|| CRASH.to_owned())),
    })
}

/// When a session was given up. What comes behind that is the SDK's: it waits for words that nobody says any more, for
/// tools, and for its recorder. Before 1.8 only the agent that was there last tells.
fn closed_at<'a>(root: &'a Gist, tree: &Tree<'a>) -> DateTime<Utc> {
    let closings = || {
        let told = |gist: &&'a Gist| Some((*gist, gist.fields.get(CLOSING)?.as_str()?));
        tree.children(root).iter().filter_map(told)
    };
    let whole = closings().find(|(_, of)| *of == SESSION);
    let closing = whole.or_else(|| closings().max_by_key(|(gist, _)| gist.started_at));
    closing.map_or(end(root), |(gist, _)| gist.started_at)
}

/// When something that the agent said was over: it may speak on while it is closed, to say goodbye.
fn last_word(turn: &Turn) -> Option<DateTime<Utc>> {
    let text = turn.fields.get("text").and_then(Value::as_str);
    let is_heard = turn.fields.contains_key("firstAudioMs");
    let is_said = is_heard || text.is_some_and(|text| !text.is_empty());
    let is_agents = turn.speaker == Speaker::Agent && !turn.fields.contains_key("cancelled");
    turn.ended_at.filter(|_| is_agents && is_said)
}

/// Why a session ended whose job the application's own code brought down: the SDK then closes it in the application's
/// name.
const CRASH: &str = "job_crashed";

/// Whether a session that ended then was ended by that.
pub fn has_crashed(gists: &[&Gist], ended_at: DateTime<Utc>) -> bool {
    let is_crash = |gist: &&Gist| gist.fields.contains_key(CRASHED);
    let mut crashes = gists.iter().copied().filter(is_crash);
    crashes.any(|crash| crash.started_at <= ended_at)
}

pub fn reason(gists: &[&Gist]) -> Option<String> {
    let mut newest = gists.iter().rev();
    let reason = newest.find_map(|gist| gist.fields.get("endReason")?.as_str());
    reason.map(str::to_owned)
}
