//! The turns of one exchange: what the user said, and the answer.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::domain::event::Kind;
use crate::domain::turn::{Speaker, UNTIMED};

use super::super::calls::{
    HEARD, audio_seconds, duration_ms, end, error, error_in, first_at, has_failed, is_set, listed,
    llm_call, name, number, put, stages, text, tts_call,
};
use super::super::{Beside, Gist, Part, Turn, Understood, moment};
use super::attempts::is_same_audio;
use super::called::DERIVED;
use super::group::{Group, key};
use super::listening::{begun, listens};
use super::said;
use super::sequence::is_whole_ms;

/// Adds an exchange's turns, tools, interruptions and errors; `called` are tools that have no spans.
pub fn of(group: &Group<'_>, called: &[Gist], understood: &mut Understood) {
    let user = user(group);
    let agent = agent(group);
    let turn = agent.as_ref().or(user.as_ref()).map(|turn| turn.id.clone());
    for tool in group.of(Part::Tool).chain(called) {
        understood.besides.extend(tool_call(tool, turn.clone()));
    }
    errors(group, turn.as_ref(), understood);
    if let Some(agent) = agent
        .as_ref()
        .filter(|_| group.own.is_some_and(|own| is_set(own, "interrupted")))
    {
        let at = agent.ended_at.unwrap_or(agent.started_at);
        // The end of the answer is no word on when the user began to speak.
        let mut fields = Map::new();
        let stopped = group.of(Part::Tts).map(end).max();
        put(&mut fields, "audioStoppedMs", stopped.map(moment));
        put(&mut fields, "source", Some("user"));
        understood.besides.push(Beside {
            kind: Kind::Interruption,
            id: format!("interruption/{}", agent.id),
            at,
            turn: Some(agent.id.clone()),
            fields,
        });
    }
    understood.turns.extend(user);
    understood.turns.extend(agent);
}

/// Places answers before the user's words that follow them at once. In JavaScript a span begins at a whole millisecond:
/// where one exchange begins as the one before it ends, it seems to begin before the answer that was told with this end.
pub fn place_answers(turns: &mut [Turn]) {
    for place in 1..turns.len() {
        let (before, [next, ..]) = turns.split_at_mut(place) else {
            continue;
        };
        let [earlier @ .., answer] = before else {
            continue;
        };
        let follows = answer.speaker == Speaker::Agent && next.speaker == Speaker::User;
        let is_asked_before = earlier
            .last()
            .is_none_or(|asked| asked.started_at < next.started_at);
        let reach = match is_whole_ms(next.started_at) {
            true => TimeDelta::milliseconds(1),
            false => TimeDelta::nanoseconds(1),
        };
        let seems_later =
            |at: DateTime<Utc>| (TimeDelta::zero()..reach).contains(&(at - next.started_at));
        if follows && is_asked_before && seems_later(answer.started_at) {
            answer.started_at = next.started_at - TimeDelta::microseconds(1);
            let ended = answer.ended_at.filter(|at| !seems_later(*at));
            answer.ended_at = answer.ended_at.map(|_| ended.unwrap_or(answer.started_at));
        }
    }
}

/// An agent was interrupted when the user began to speak, where that is known: nobody else says when.
pub fn place_interruptions(understood: &mut Understood) {
    let Understood { turns, besides, .. } = understood;
    let interruptions = besides
        .iter_mut()
        .filter(|beside| beside.kind == Kind::Interruption);
    for interruption in interruptions {
        let is_of = |turn: &&Turn| Some(&turn.id) == interruption.turn.as_ref();
        let Some((started, Some(stopped))) = turns
            .iter()
            .find(is_of)
            .map(|agent| (agent.started_at, agent.ended_at))
        else {
            continue;
        };
        let users = turns.iter().filter(|turn| turn.speaker == Speaker::User);
        let onsets = users.map(|user| user.started_at);
        let onset = onsets.filter(|at| *at > started && *at < stopped).min();
        put(&mut interruption.fields, "atMs", onset.map(moment));
    }
}

fn joined<'a>(gists: impl Iterator<Item = &'a Gist>) -> Option<String> {
    let texts: Vec<&str> = gists
        .filter_map(|gist| text(gist, "text").map(str::trim))
        .collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

fn user(group: &Group<'_>) -> Option<Turn> {
    let own = group
        .own
        .and_then(|own| said(own, "userText"))
        .map(str::to_owned);
    let asked = || {
        group
            .of(Part::Llm)
            .find_map(|llm| said(llm, "userText").map(str::to_owned))
    };
    let within = || {
        let mut texts = group.within.iter().filter_map(|own| said(own, "userText"));
        texts.next().map(str::to_owned)
    };
    let said = own
        .or_else(|| joined(group.lasting(Part::Stt)))
        .or_else(asked)
        .or_else(within);
    let (first, last) = (group.of(Part::Stt).next(), group.of(Part::Stt).next_back());
    let start = first.or(group.own).or(group.members.first().copied())?;
    // What was no words was still told: a picture, or a voice.
    let is_asked = || {
        let mut llm = group.of(Part::Llm);
        llm.any(|llm| llm.fields.contains_key("messagesBefore"))
    };
    if said.is_none() && first.is_none() && !is_asked() {
        return None;
    }
    let is_listened = last.is_some_and(listens);
    let is_answered = [Part::Llm, Part::Tts].map(|part| group.of(part).next());
    // Who listened to the end heard nothing more.
    if said.is_none() && is_listened && is_answered == [None, None] {
        return None;
    }
    let mut fields = Map::new();
    put(&mut fields, "text", said);
    let untimed = is_listened.then(|| json!({ UNTIMED: true }));
    put(&mut fields, "metadata", untimed);
    let heard = group
        .of(Part::Stt)
        .filter(|stt| !has_failed(stt) && !listens(stt));
    let heard = heard.map(duration_ms).filter(|ms| *ms > 0.0);
    put(&mut fields, "sttMs", heard.reduce(|a, b| a + b));
    put(
        &mut fields,
        "confidence",
        last.and_then(|stt| number(stt, "confidence")),
    );
    stages(&mut fields, [("stt", last.as_slice())]);
    put(&mut fields, "usage", transcribed(group));
    // Text that was handed in was said when it came; of a mere generation nobody knows when that was.
    let handed = group.own.map(|own| own.started_at);
    let spoken = spoken_until(group).map(|at| at.max(start.started_at));
    Some(Turn {
        id: format!("user/{}", name(start)),
        speaker: Speaker::User,
        started_at: begun(start),
        ended_at: spoken.or(handed).filter(|_| !is_listened),
        fields,
    })
}

/// When the user had spoken. A transcriber's span begins there: the transcript is what comes of it, and an attempt
/// at the same that failed was waited for, too.
fn spoken_until(group: &Group<'_>) -> Option<DateTime<Utc>> {
    let good = group.of(Part::Stt).rfind(|stt| !has_failed(stt));
    let last = good.or_else(|| group.of(Part::Stt).next_back())?;
    let mut attempts = group.of(Part::Stt).filter(|stt| {
        has_failed(stt) && stt.started_at < last.started_at && is_same_audio(stt, last)
    });
    Some(attempts.next().unwrap_or(last).started_at)
}

/// How much was transcribed, and what that cost where its source says so of all of it.
fn transcribed(group: &Group<'_>) -> Option<Map<String, Value>> {
    let mut usage = Map::new();
    put(&mut usage, "sttSeconds", audio_seconds(group.of(Part::Stt)));
    let costs: Option<Vec<f64>> = group
        .of(Part::Stt)
        .map(|stt| number(stt, "costUsd"))
        .collect();
    let cost = costs.and_then(|costs| costs.into_iter().reduce(|a, b| a + b));
    put(&mut usage, "sttCostUsd", cost);
    (!usage.is_empty()).then_some(usage)
}

fn agent(group: &Group<'_>) -> Option<Turn> {
    let tts: Vec<&Gist> = group.of(Part::Tts).collect();
    let llm: Vec<&Gist> = group.of(Part::Llm).collect();
    let own = group
        .own
        .and_then(|own| text(own, "text"))
        .map(str::to_owned);
    let written = || {
        llm.iter()
            .rev()
            .find_map(|gist| text(gist, "text"))
            .map(str::to_owned)
    };
    let within = || {
        // What a step gave is no answer of what failed behind it.
        let within = group.within.iter();
        let mut texts = within
            .filter(|_| !group.own.is_some_and(has_failed))
            .rev()
            .filter_map(|own| text(own, "text"));
        texts.next().map(str::to_owned)
    };
    let said = own
        .or_else(|| joined(group.lasting(Part::Tts)))
        .or_else(written)
        .or_else(within);
    let first = tts.first().or(llm.first()).copied().or(group.own)?;
    if said.is_none() && tts.is_empty() && llm.is_empty() && !group.own.is_some_and(has_failed) {
        return None;
    }
    let spoken = |gist: &&Gist| is_set(gist, HEARD).then(|| first_at(gist, "llmMs"))?;
    let audio = tts.iter().find_map(|gist| first_at(gist, "ttsMs"));
    let audio = audio.or_else(|| llm.iter().find_map(spoken));
    let good = || llm.iter().rev().copied().find(|gist| !has_failed(gist));
    let token = || {
        good()
            .and_then(|gist| first_at(gist, "llmMs"))
            .or(good().map(end))
    };
    let start = audio
        .or(tts.first().map(|gist| gist.started_at))
        .or_else(token);
    let start = start.unwrap_or_else(|| end(first));
    let spoken = tts.iter().chain(&llm).map(|gist| end(gist)).max();
    let mut fields = Map::new();
    // Who does not tell what was said may still tell that something was spoken.
    let is_answered = said.is_some() || tts.iter().any(|gist| !has_failed(gist));
    let failed = !is_answered
        && (group.own.is_some_and(has_failed)
            || llm
                .iter()
                .any(|gist| has_failed(gist) && !group.made_up_for(gist)));
    put(&mut fields, "text", said);
    put(&mut fields, "failed", failed.then_some(true));
    let is_given_up =
        !is_answered && !failed && llm.last().is_some_and(|gist| is_set(gist, "cancelled"));
    put(&mut fields, "cancelled", is_given_up.then_some(true));
    put(&mut fields, "firstAudioMs", audio.map(moment));
    put(
        &mut fields,
        "llmMs",
        good().and_then(|gist| number(gist, "llmMs")),
    );
    put(&mut fields, "llmTotalMs", total(&llm));
    put(
        &mut fields,
        "ttsMs",
        tts.iter().find_map(|gist| number(gist, "ttsMs")),
    );
    put(&mut fields, "ttsTotalMs", total(&tts));
    let interrupted = group.own.is_some_and(|own| is_set(own, "interrupted"));
    put(&mut fields, "interrupted", interrupted.then_some(true));
    put(
        &mut fields,
        "llmCalls",
        listed(llm.iter().map(|gist| llm_call(gist))),
    );
    put(
        &mut fields,
        "ttsCalls",
        listed(tts.iter().map(|gist| tts_call(gist, None))),
    );
    stages(&mut fields, [("llm", &llm), ("tts", &tts)]);
    Some(Turn {
        id: format!("agent/{}", name(group.own.unwrap_or(first))),
        speaker: Speaker::Agent,
        started_at: start,
        ended_at: spoken.or(group.own.map(end)),
        fields,
    })
}

/// How long all of them took; none where that is not known of each.
fn total(gists: &[&Gist]) -> Option<f64> {
    let each = gists.iter();
    let each: Option<Vec<f64>> = each
        .map(|gist| gist.ended_at.map(|_| duration_ms(gist)))
        .collect();
    each.and_then(|each| each.into_iter().reduce(|a, b| a + b))
}

/// The call, and its error where it ended in one.
fn tool_call(tool: &Gist, turn: Option<String>) -> Vec<Beside> {
    let mut fields = Map::new();
    for name in ["callId", "name", "arguments", "result", DERIVED] {
        put(&mut fields, name, tool.fields.get(name).cloned());
    }
    put(&mut fields, "startMs", Some(moment(tool.started_at)));
    put(&mut fields, "endMs", tool.ended_at.map(moment));
    let own = tool.fields.get("error").cloned();
    let found = own.or_else(|| tool.fields.get("result").and_then(error_in));
    put(&mut fields, "error", found.clone());
    let mut told = vec![Beside {
        kind: Kind::ToolCall,
        id: format!("tool/{}", name(tool)),
        at: end(tool),
        turn: turn.clone(),
        fields,
    }];
    if let Some(found) = found {
        let mut failed = tool.clone();
        let message = found
            .as_str()
            .map_or_else(|| found.to_string(), str::to_owned);
        put(&mut failed.fields, "error", Some(message));
        let mut told_of = error(&failed, "tool", "error", turn);
        // A tool without a span failed as the generation's span tells that called it.
        let by = tool.parent.as_deref().filter(|_| is_set(tool, DERIVED));
        if let Some((beside, by)) = told_of.as_mut().zip(by) {
            beside.fields["details"]["spanId"] = Value::from(by);
        }
        told.extend(told_of);
    }
    told
}

/// Each failure once: where it happened, and at the exchange only if nothing within says it.
fn errors(group: &Group<'_>, turn: Option<&String>, understood: &mut Understood) {
    let before = understood.besides.len();
    let by_key = group
        .members
        .iter()
        .map(|gist| (key(gist), *gist))
        .collect();
    let passed_on = group.passed_on(&by_key);
    for gist in group
        .members
        .iter()
        .filter(|gist| !passed_on.contains(&key(gist)))
    {
        let service = match gist.part {
            Part::Stt => "stt",
            Part::Llm => "llm",
            Part::Tts => "tts",
            Part::Tool => continue,
            _ => "workflow",
        };
        let level = match group.made_up_for(gist) {
            true => "warning",
            false => "error",
        };
        understood
            .besides
            .extend(error(gist, service, level, turn.cloned()));
    }
    let is_told = understood.besides.len() > before || group.of(Part::Tool).any(has_failed);
    if let Some(own) = group.own.filter(|_| !is_told) {
        understood
            .besides
            .extend(error(own, "workflow", "error", turn.cloned()));
    }
}
