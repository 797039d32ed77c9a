//! What the user said, or typed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::domain::event::Kind;
use crate::domain::turn::{Speaker, TYPED};
use crate::domain::vocabulary::{Beside, Gist, Part, Turn, moment};

use super::super::calls::{Intervals, end, put};
use super::interruptions::pauses;
use super::tree::{Key, Speech, Speeches, Tree, key};

/// An answer begins at most so long after the turn that it answers was decided.
const ANSWERED_WITHIN: TimeDelta = TimeDelta::seconds(3);

/// A transcriber is at most so long behind a voice.
const TRANSCRIBED_WITHIN: TimeDelta = TimeDelta::seconds(2);

/// What the user said and typed.
pub struct Users {
    pub turns: Vec<Turn>,
    /// Which of these turns answers have for their input, word for word.
    pub answers: BTreeMap<String, String>,
}

/// The user's turns: those that were spoken, and the input of answers which answer none of them.
/// `heard` is all that was heard of the user.
pub fn turns<'a>(
    tree: &Tree<'a>,
    gists: &[&'a Gist],
    speeches: &Speeches<'a>,
    heard: &[&'a Gist],
) -> Users {
    let pauses = speeches
        .kept
        .iter()
        .flat_map(|speech| pauses(speech, heard));
    let wordless: BTreeSet<Key<'_>> = pauses.map(|pause| key(pause.voice)).collect();
    let spoken: Vec<(&Gist, Turn)> = super::of(gists, Part::UserTurn)
        .filter_map(|gist| Some((gist, spoken(tree, gist, &wordless)?)))
        .collect();
    let mut answered = vec![false; spoken.len()];
    let (mut turns, mut answers) = (Vec::new(), BTreeMap::new());
    for speech in &speeches.kept {
        let Some(input) = speech.text("input") else {
            continue;
        };
        let at = speech.started_at();
        let is_same = |turn: &Turn| turn.fields.get("text").and_then(Value::as_str) == Some(input);
        let is_said = |(gist, turn): &(&Gist, Turn)| {
            gist.started_at <= at && (is_same(turn) || (at - end(gist)).abs() <= ANSWERED_WITHIN)
        };
        let candidates = spoken.iter().enumerate().rev();
        let said = candidates
            .filter(|(place, _)| !answered[*place])
            .find(|(_, turn)| is_said(turn));
        match said {
            Some((place, (_, turn))) => {
                answered[place] = true;
                if is_same(turn) {
                    answers.insert(speech.id.clone(), turn.id.clone());
                }
            }
            None => turns.push(told_by_answer(speech, input, at)),
        }
    }
    turns.extend(spoken.into_iter().map(|(_, turn)| turn));
    let is_voice = |gist: &&&Gist| matches!(gist.part, Part::UserTurn | Part::UserSpeech);
    let voices = gists.iter().filter(is_voice);
    let voices = Intervals::of(voices.map(|gist| (gist.started_at, end(gist))));
    let sounds = super::of(gists, Part::AgentSpeech);
    let sounds = Intervals::of(sounds.map(|gist| (gist.started_at, gist.started_at)));
    let unanswered = speeches.thrown_away.iter();
    turns.extend(unanswered.filter_map(|answer| typed_in_vain(answer, &voices, &sounds)));
    Users { turns, answers }
}

/// What was typed, and whose answer the application stopped before anything of it was heard. While the user speaks, or
/// soon after, an answer that was thrown away had been made ahead of time, of words that the turn has; not so where the
/// agent has spoken since, which had answered these. `sounds` are when it began to.
fn typed_in_vain(answer: &Gist, voices: &Intervals, sounds: &Intervals) -> Option<Turn> {
    let input = answer.fields.get("input")?.as_str()?;
    let at = answer.started_at;
    let spoke = voices.latest_end(|start| start <= at);
    let answered = sounds.latest_end(|start| start <= at);
    let is_near =
        spoke.is_some_and(|until| until + ANSWERED_WITHIN >= at && answered < Some(until));
    (!is_near).then(|| typed(&answer.span_id, input, at))
}

/// A `user_turn`; none where neither a voice nor a word was heard. Its words were not said by a `wordless` voice, as
/// long as there is another.
fn spoken<'a>(tree: &Tree<'a>, turn: &'a Gist, wordless: &BTreeSet<Key<'_>>) -> Option<Turn> {
    let below = tree.children(turn);
    let mut heard: Vec<&&Gist> = below
        .iter()
        .filter(|gist| gist.part == Part::UserSpeech)
        .collect();
    if heard.iter().any(|gist| !wordless.contains(&key(gist))) {
        heard.retain(|gist| !wordless.contains(&key(gist)));
    }
    drop_noise(&mut heard, below);
    if heard.is_empty() && !turn.fields.contains_key("text") {
        return None;
    }
    let mut fields = Map::new();
    for name in [
        "text",
        "sttMs",
        "endpointingMs",
        "confidence",
        "eouProbability",
    ] {
        put(&mut fields, name, turn.fields.get(name).cloned());
    }
    let probability = below
        .iter()
        .rev()
        .find_map(|gist| gist.fields.get("eouProbability"));
    if let Some(probability) = probability {
        fields
            .entry("eouProbability")
            .or_insert(probability.clone());
    }
    for (object, name) in [("models", "model"), ("providers", "provider")] {
        let value = turn.fields.get(name).map(|value| json!({ "stt": value }));
        put(&mut fields, object, value);
    }
    let end_of_turn = turn.fields.get("endOfTurnMs");
    put(
        &mut fields,
        "metadata",
        end_of_turn.map(|ms| json!({ "endOfTurnMs": ms })),
    );
    let segments = heard
        .iter()
        .map(|gist| json!({"startMs": moment(gist.started_at), "endMs": moment(end(gist))}));
    put(
        &mut fields,
        "segments",
        (heard.len() > 1).then(|| segments.collect::<Vec<_>>()),
    );
    let started_at = heard.iter().map(|gist| gist.started_at).min();
    let ended_at = heard.iter().map(|gist| end(gist)).max();
    Some(Turn {
        id: turn.span_id.clone(),
        speaker: Speaker::User,
        started_at: started_at.unwrap_or(turn.started_at),
        ended_at: Some(ended_at.unwrap_or_else(|| before(end(turn), end_of_turn))),
        fields,
    })
}

/// Takes out what was heard before the first word of a turn: a noise, or what was not listened to, since the agent was not
/// to be interrupted. Once there are words the SDK waits for the end of the turn (`eou_wait`), from the end of the voice
/// that said them; before 1.8 it does not tell.
fn drop_noise(heard: &mut Vec<&&Gist>, below: &[&Gist]) {
    let waits = below.iter().filter(|gist| gist.part == Part::Endpointing);
    let Some(waited_at) = waits.map(|gist| gist.started_at).min() else {
        return;
    };
    let is_before = |pair: &[&&Gist]| {
        let is_apart = pair[1].started_at - end(pair[0]) > TRANSCRIBED_WITHIN;
        is_apart && pair[1].started_at < waited_at
    };
    if let Some(last) = heard.windows(2).rposition(is_before) {
        heard.drain(..=last);
    }
}

/// What the user said to a model that hears for itself: no span has its words, and the voice stands right below the
/// session, as the answers do. Such a voice ends when the model has waited for more of it, nobody knows how long. One that
/// the agent spoke on over, a cough say, is not the beginning of the next.
pub fn voices(tree: &Tree<'_>, gists: &[&Gist]) -> Vec<Turn> {
    let above = |gist: &Gist| Some((gist.trace_id.clone(), gist.parent.clone()?));
    let sessions: BTreeSet<_> = super::of(gists, Part::AgentTurn)
        .filter_map(above)
        .collect();
    let is_alone = |gist: &&Gist| {
        let is_of_turn = tree
            .parent(gist)
            .is_some_and(|parent| parent.part == Part::UserTurn);
        !is_of_turn && above(gist).is_some_and(|above| sessions.contains(&above))
    };
    let mut turns: Vec<Turn> = Vec::new();
    let mut answered = true;
    // Until when the agent was heard, and the user.
    let (mut agent_until, mut user_until) = (None, None);
    for gist in gists {
        match gist.part {
            Part::AgentSpeech => {
                answered = true;
                agent_until = agent_until.max(Some(end(gist)));
            }
            Part::UserSpeech if is_alone(gist) => {
                let is_over = agent_until <= Some(gist.started_at);
                if answered || is_over && agent_until > user_until {
                    turns.push(Turn {
                        id: gist.span_id.clone(),
                        speaker: Speaker::User,
                        started_at: gist.started_at,
                        ended_at: None,
                        fields: Map::new(),
                    });
                }
                answered = false;
                user_until = user_until.max(Some(end(gist)));
            }
            _ => {}
        }
    }
    turns
}

/// What only the answer tells of: it was typed, unless the answer says how long hearing it took.
fn told_by_answer(speech: &Speech<'_>, input: &str, at: DateTime<Utc>) -> Turn {
    let Some(delay) = speech.number("endOfTurnMs").map(Value::from) else {
        return typed(&speech.id, input, at);
    };
    let at = before(at, Some(&delay));
    let mut fields = Map::new();
    put(&mut fields, "text", Some(input));
    for name in ["sttMs", "endpointingMs"] {
        put(&mut fields, name, speech.number(name));
    }
    Turn {
        id: format!("input:{}", speech.id),
        speaker: Speaker::User,
        started_at: at,
        ended_at: Some(at),
        fields,
    }
}

/// What was typed, for an answer.
fn typed(answer: &str, input: &str, at: DateTime<Utc>) -> Turn {
    let mut fields = Map::new();
    put(&mut fields, "text", Some(input));
    put(&mut fields, "metadata", Some(json!({ TYPED: true })));
    Turn {
        id: format!("input:{answer}"),
        speaker: Speaker::User,
        started_at: at,
        ended_at: Some(at),
        fields,
    }
}

fn before(at: DateTime<Utc>, ms: Option<&Value>) -> DateTime<Utc> {
    let ms = ms.and_then(Value::as_f64).unwrap_or_default();
    at.checked_sub_signed(TimeDelta::microseconds((ms * 1e3) as i64))
        .unwrap_or(at)
}

/// That a voice was heard, whether or not words were.
pub fn speech(gist: &Gist) -> Beside {
    let mut fields = Map::new();
    put(&mut fields, "speaker", Some("user"));
    put(&mut fields, "startMs", Some(moment(gist.started_at)));
    put(&mut fields, "endMs", Some(moment(end(gist))));
    put(
        &mut fields,
        "probability",
        gist.fields.get("probability").cloned(),
    );
    put(&mut fields, "source", Some("vad"));
    super::beside(Kind::Speech, "speech", gist, None, fields)
}
