//! Answers with others' words in between. While a tool of an answer runs, the agent may say something else, or hold a whole
//! conversation of its own, as a task does that asks for an address. What the answer says behind that is a turn of its
//! own: told as one, the words would stand in an order that nobody heard.

use chrono::{DateTime, Utc};

use crate::domain::vocabulary::{Gist, Part, Turn};

use super::super::calls::{end, ms_between};
use super::speech::said;
use super::tree::{Piece, Speech, Tree, is_step};

/// The answers, each in as many parts as it was heard in. `users` is what the user said, or typed, `heard` all that was
/// heard of them.
pub fn of<'a>(
    speeches: Vec<Speech<'a>>,
    users: &[Turn],
    heard: &[&Gist],
    tree: &Tree<'a>,
) -> Vec<Speech<'a>> {
    let voices = voices(&speeches, users);
    let cuts: Vec<Vec<DateTime<Utc>>> = speeches
        .iter()
        .map(|speech| cuts(speech, &voices))
        .collect();
    let pieces = speeches.into_iter().zip(cuts);
    let mut pieces: Vec<Speech<'a>> = pieces
        .flat_map(|(speech, cuts)| cut(speech, &cuts, heard, tree))
        .collect();
    pieces.sort_by(|a, b| (a.started_at(), &a.id).cmp(&(b.started_at(), &b.id)));
    pieces
}

/// When somebody began to speak, and in which answer; of the user's words in none.
type Voice = (DateTime<Utc>, Option<String>);

/// All voices, by time. Without words it may have been a cough.
fn voices(speeches: &[Speech<'_>], users: &[Turn]) -> Vec<Voice> {
    let agents = speeches.iter().flat_map(|speech| {
        let audio = speech.of(Part::AgentSpeech);
        audio.map(|gist| (gist.started_at, Some(speech.id.clone())))
    });
    let users = users.iter().filter(|turn| turn.fields.contains_key("text"));
    let mut voices: Vec<Voice> = users
        .map(|turn| (turn.started_at, None))
        .chain(agents)
        .collect();
    voices.sort();
    voices
}

/// Behind each sound of an answer, at the first generation after somebody else's voice, if one came before the answer's
/// next sound; while it goes on, before what is to be heard next.
fn cuts(speech: &Speech<'_>, voices: &[Voice]) -> Vec<DateTime<Utc>> {
    let audio: Vec<&Gist> = speech.of(Part::AgentSpeech).collect();
    let steps: Vec<&Gist> = speech.steps().collect();
    let is_said = |step: &&&Gist| speech.turns.is_empty() && said(step).is_some();
    let pending = steps.iter().rfind(is_said).map(|step| step.started_at);
    let cuts = audio.iter().enumerate().filter_map(|(n, before)| {
        let next = audio.get(n + 1).map(|after| after.started_at);
        let (from, to) = (end(before), next.or(pending)?);
        let of_gap = |at: &DateTime<Utc>| (from..to).contains(at);
        let first = voices.partition_point(|(at, _)| *at < from);
        let in_gap = voices[first..].iter().take_while(|(at, _)| of_gap(at));
        let others: Vec<&Voice> = in_gap
            .filter(|(_, of)| of.as_ref() != Some(&speech.id))
            .collect();
        let (last, _) = others.last()?;
        let made = steps.iter().map(|step| step.started_at);
        let made: Vec<_> = made.filter(|at| (from..=to).contains(at)).collect();
        made.iter().find(|at| *at > last).or(made.last()).copied()
    });
    cuts.collect()
}

fn cut<'a>(
    speech: Speech<'a>,
    cuts: &[DateTime<Utc>],
    heard: &[&Gist],
    tree: &Tree<'a>,
) -> Vec<Speech<'a>> {
    if cuts.is_empty() {
        return vec![speech];
    }
    let place = |at: DateTime<Utc>| cuts.iter().filter(|cut| **cut <= at).count();
    let starts = std::iter::once(speech.started_at()).chain(cuts.iter().copied());
    let mut pieces: Vec<Speech<'a>> = starts
        .enumerate()
        .map(|(n, started_at)| Speech {
            id: match n {
                0 => speech.id.clone(),
                n => format!("{}:{n}", speech.id),
            },
            turns: Vec::new(),
            parts: Vec::new(),
            discarded: Vec::new(),
            is_say: speech.is_say,
            piece: Some(Piece {
                started_at,
                is_last: n == cuts.len(),
                waited: Vec::new(),
            }),
        })
        .collect();
    for part in &speech.parts {
        pieces[place(part.started_at)].parts.push(part);
    }
    let waited = waited(&pieces, speech.wait("latencyMs"), heard);
    if let Some(piece) = &mut pieces[waited].piece {
        piece.waited = speech.turns.clone();
    }
    // A span tells of what was said last below it.
    for turn in speech.turns {
        let below = tree.children(turn).iter();
        let steps = below.filter(|gist| is_step(gist));
        let last = steps.map(|step| step.started_at).max();
        pieces[place(last.unwrap_or(turn.started_at))]
            .turns
            .push(turn);
    }
    pieces[0].discarded = speech.discarded;
    pieces
}

/// The part that the answer's span tells the wait for, which versions choose differently: the one that was heard just so
/// long after the user.
fn waited(pieces: &[Speech<'_>], latency_ms: Option<f64>, heard: &[&Gist]) -> usize {
    let off_ms = |piece: &Speech<'_>| {
        let (start, _) = piece.audio()?;
        let ends = heard.iter().map(|voice| ms_between(end(voice), start));
        let off = ends.map(|ms| (ms - latency_ms.unwrap_or_default()).abs());
        off.min_by(f64::total_cmp)
    };
    let off = pieces.iter().map(|piece| off_ms(piece).unwrap_or(f64::MAX));
    let nearest = off.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
    nearest
        .filter(|_| latency_ms.is_some())
        .map_or(0, |(place, _)| place)
}
