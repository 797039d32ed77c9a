//! What the user cut off, or made pause for nothing.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Map;

use crate::domain::event::Kind;
use crate::domain::vocabulary::{Beside, Gist, Part, moment};

use super::super::calls::{duration_ms, end, ms_between, number, put};
use super::tree::{PROGRAMMATIC, Speech, Tree};

/// So long after a voice an answer still stops because of it.
const STOPPED_WITHIN: TimeDelta = TimeDelta::seconds(1);

/// So much less than was made is heard only where somebody stopped it.
const UNHEARD_MS: f64 = 300.0;

/// Whether the application stopped it, not the user.
pub fn is_stopped(speech: &Speech<'_>) -> bool {
    speech.flag("interrupted") && speech.text("stoppedBy") == Some(PROGRAMMATIC)
}

/// That the user broke into it. `heard` is all that was heard of the user. What was over before it was heard, because
/// the user spoke on or something before it was cut off, nobody broke into.
pub fn of(speech: &Speech<'_>, tree: &Tree<'_>, heard: &[&Gist]) -> Option<Beside> {
    if speech.is_over() && !speech.has_audio() {
        return None;
    }
    let is_told = speech.flag("interrupted") && !is_stopped(speech);
    if !is_told && !is_cut_short(speech, tree) {
        return None;
    }
    let (start, stop) = speech
        .audio()
        .unwrap_or((speech.started_at(), speech.ended_at()));
    // A voice that it had paused for, and gone on after, did not stop it.
    let resumed = pauses(speech, heard)
        .into_iter()
        .map(|pause| pause.resumed_at);
    let start = resumed.max().map_or(start, |at| at.max(start));
    let overlaps = |gist: &&&Gist| gist.started_at < stop && end(gist) > start;
    let onset = heard
        .iter()
        .filter(overlaps)
        .find(|gist| gist.started_at >= start);
    let onset = onset.or_else(|| heard.iter().find(overlaps));
    // Before 1.8 a span does not say who stopped it: only a voice at the same time tells.
    if onset.is_none() && speech.text("stoppedBy").is_none() {
        return None;
    }
    let at = onset.map_or(stop, |gist| gist.started_at.max(start));
    let voice = onset.copied().filter(|_| speech.has_audio());
    let mut told = stop_of(speech, at, voice.map(|voice| (voice, stop)));
    put(
        &mut told.fields,
        "estimated",
        onset.is_none().then_some(true),
    );
    told.at = stop;
    Some(told)
}

/// What the application had said has no span of its own, which would tell that it was interrupted: more of it was made than
/// heard.
fn is_cut_short(speech: &Speech<'_>, tree: &Tree<'_>) -> bool {
    let made = speech
        .syntheses(tree)
        .filter_map(|gist| number(gist, "audioMs"));
    let made_ms = made.reduce(|sum, ms| sum + ms);
    let heard_ms: f64 = speech.of(Part::AgentSpeech).map(duration_ms).sum();
    speech.is_say && speech.has_audio() && made_ms.is_some_and(|made| made - heard_ms > UNHEARD_MS)
}

/// That an answer was paused because of the user's voice, and went on where no words followed. `heard` is all that was
/// heard of the user.
pub fn false_ones(speech: &Speech<'_>, heard: &[&Gist]) -> Vec<Beside> {
    let told = pauses(speech, heard).into_iter().map(|pause| {
        let (voice, at) = (pause.voice, pause.voice.started_at);
        let mut told = stop_of(speech, at, Some((voice, pause.stopped_at)));
        put(&mut told.fields, "isFalse", Some(true));
        let resumed_at = moment(pause.resumed_at);
        put(&mut told.fields, "resumedAtMs", Some(resumed_at));
        told.id = format!("{}:{}", told.id, voice.span_id);
        told.at = pause.resumed_at;
        told
    });
    told.collect()
}

/// That the user began to speak at a moment, and with whose voice the sound stopped when, where that is known.
fn stop_of(
    speech: &Speech<'_>,
    at: DateTime<Utc>,
    stopped: Option<(&Gist, DateTime<Utc>)>,
) -> Beside {
    let mut fields = Map::new();
    put(&mut fields, "atMs", Some(moment(at)));
    put(&mut fields, "source", Some("user"));
    if let Some((voice, stopped_at)) = stopped {
        put(&mut fields, "stopMs", Some(ms_between(at, stopped_at)));
        put(&mut fields, "audioStoppedMs", Some(moment(stopped_at)));
        let detection_ms = voice.fields.get("detectionMs").cloned();
        put(&mut fields, "detectionMs", detection_ms);
    }
    Beside {
        kind: Kind::Interruption,
        id: format!("interruption:{}", speech.id),
        at,
        turn: Some(speech.id.clone()),
        fields,
    }
}

/// A pause within an answer that the user's voice made.
pub struct Pause<'a> {
    pub voice: &'a Gist,
    stopped_at: DateTime<Utc>,
    resumed_at: DateTime<Utc>,
}

/// An answer that was made in one go and is heard in several was paused, if the user was heard when it stopped; where
/// a tool ran or more was generated meanwhile, that was waited for.
pub fn pauses<'a>(speech: &Speech<'_>, heard: &[&'a Gist]) -> Vec<Pause<'a>> {
    let audio: Vec<&Gist> = speech.of(Part::AgentSpeech).collect();
    let pause = |parts: &[&Gist]| {
        let [before, after] = parts else { return None };
        let (stopped_at, resumed_at) = (end(before), after.started_at);
        let is_made_meanwhile = |gist: &&Gist| {
            matches!(gist.part, Part::Llm | Part::Tool)
                && (before.started_at..=resumed_at).contains(&gist.started_at)
        };
        let made_it = |voice: &&&Gist| {
            (before.started_at..=stopped_at).contains(&voice.started_at)
                && end(voice) + STOPPED_WITHIN >= stopped_at
        };
        if speech.parts.iter().any(is_made_meanwhile) {
            return None;
        }
        let voice = heard.iter().rfind(made_it)?;
        Some(Pause {
            voice,
            stopped_at,
            resumed_at,
        })
    };
    audio.windows(2).filter_map(pause).collect()
}
