//! Silences that are too long.

use super::targets::Targets;
use super::view::{Spoken, View};
use crate::domain::turn::Speaker;

#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    pub from_ms: f64,
    pub to_ms: f64,
    /// Who spoke last; nobody before the first word.
    pub after: Option<Speaker>,
    /// Index of the turn before it, and of the one that ended it.
    pub turn_before: Option<i32>,
    pub turn_after: Option<i32>,
}

impl Silence {
    pub fn ms(&self) -> f64 {
        self.to_ms - self.from_ms
    }
}

/// Somebody's sound.
pub struct Sound {
    from_ms: f64,
    to_ms: f64,
    speaker: Speaker,
    turn: Option<i32>,
    /// Whether somebody knows when it ended: else the silence behind it began nobody knows when.
    has_end: bool,
}

/// How long a silence may be.
pub fn allowed_ms(silence: &Silence, targets: &Targets) -> f64 {
    f64::from(match silence.after {
        Some(Speaker::User) => targets.thresholds.dead_air_after_user_ms,
        _ => targets.thresholds.dead_air_ms,
    })
}

pub fn too_long(pauses: &[Silence], targets: &Targets) -> Vec<Silence> {
    let is_too_long = |silence: &&Silence| silence.ms() > allowed_ms(silence, targets);
    pauses.iter().filter(is_too_long).cloned().collect()
}

/// Every time that nobody spoke, from the connection to the end of the call.
pub fn pauses(view: &View, sounds: Vec<Sound>) -> Vec<Silence> {
    let mut silences: Vec<Silence> = Vec::new();
    let connected = [
        view.input.session.answered_at,
        crate::domain::fact::time(&view.input.session.extra, "connectedAt"),
    ];
    // Who spoke before was connected: then these times are by another clock.
    let first_ms = sounds.first().map(|sound| sound.from_ms);
    let connected_ms = connected.into_iter().flatten().max();
    let connected_ms = connected_ms
        .map(|at| view.offset_ms(at))
        .filter(|ms| view.is_of_call(*ms) && first_ms >= Some(*ms));
    let mut last = connected_ms.map(|ms| Sound {
        from_ms: ms,
        to_ms: ms,
        speaker: Speaker::Agent,
        turn: None,
        has_end: true,
    });
    let mut has_spoken = false;
    for sound in sounds {
        if let Some(last) = last.as_ref().filter(|last| last.has_end) {
            silences.push(Silence {
                from_ms: last.to_ms,
                to_ms: sound.from_ms,
                after: has_spoken.then_some(last.speaker),
                turn_before: last.turn,
                turn_after: sound.turn,
            });
        }
        has_spoken = true;
        match &mut last {
            Some(last) if last.to_ms > sound.to_ms => {}
            // Voice activity goes on a little longer than the turn that it belongs to.
            Some(last) if sound.turn.is_none() && last.speaker == sound.speaker => {
                last.turn = last.turn.filter(|_| sound.from_ms <= last.to_ms);
                last.to_ms = sound.to_ms;
                last.has_end = true;
            }
            _ => last = Some(sound),
        }
    }
    if let (Some(last), Some(end_ms)) = (last, view.end_ms)
        && has_spoken
        && last.has_end
    {
        silences.push(Silence {
            from_ms: last.to_ms,
            to_ms: end_ms,
            after: Some(last.speaker),
            turn_before: last.turn,
            turn_after: None,
        });
    }
    silences.retain(|silence| silence.ms() > 0.0);
    for silence in &mut silences {
        silence.turn_after = silence.turn_after.or_else(|| {
            let until = |turn: &Spoken| turn.start_ms.is_some_and(|start| start < silence.to_ms);
            let next = view.turns.get(view.turns.partition_point(until))?;
            Some(next.turn.index)
        });
    }
    let untimed = untimed(view);
    silences.retain(|silence| !is_in_writing(view, silence) && !is_spoken_in(&untimed, silence));
    silences
}

/// Whether it was left to a user who types: nobody heard how long that took, and who reads may take their time.
fn is_in_writing(view: &View, silence: &Silence) -> bool {
    let until = |turn: &Spoken| turn.start_ms.is_some_and(|start| start <= silence.to_ms);
    let known = &view.turns[..view.turns.partition_point(until)];
    let user = known.iter().rfind(|turn| turn.is_user());
    silence.after == Some(Speaker::Agent) && user.is_some_and(|user| user.turn.is_typed())
}

/// Where turns stand of which nobody knows when they were spoken, by time.
fn untimed(view: &View) -> Vec<f64> {
    let untimed = view.turns.iter().filter(|turn| turn.turn.is_untimed());
    let mut starts: Vec<f64> = untimed.filter_map(|turn| turn.start_ms).collect();
    starts.sort_by(f64::total_cmp);
    starts
}

/// Whether somebody spoke in it, nobody knows when.
fn is_spoken_in(untimed: &[f64], silence: &Silence) -> bool {
    let first = untimed.partition_point(|ms| *ms < silence.from_ms);
    untimed.get(first).is_some_and(|ms| *ms <= silence.to_ms)
}

/// When the agent was heard, nothing twice.
pub fn heard_of_agent(sounds: &[Sound]) -> Vec<(f64, f64)> {
    let mut heard: Vec<(f64, f64)> = Vec::new();
    let of_agent = |sound: &&Sound| sound.speaker == Speaker::Agent && sound.has_end;
    for sound in sounds.iter().filter(of_agent) {
        match heard.last_mut() {
            Some(last) if sound.from_ms <= last.1 => last.1 = last.1.max(sound.to_ms),
            _ => heard.push((sound.from_ms, sound.to_ms)),
        }
    }
    heard
}

/// All that was heard, by time. A silent turn fills no silence.
pub fn sounds(view: &View) -> Vec<Sound> {
    let mut sounds = Vec::with_capacity(view.turns.len() + view.speech.len());
    let is_heard = |turn: &&Spoken| !turn.turn.cancelled && !turn.is_silent();
    for turn in view.turns.iter().filter(is_heard) {
        let (speaker, index) = (turn.turn.speaker, Some(turn.turn.index));
        // Of some answers only the beginning is known; one that may not even have begun ends no silence.
        let has_begun = turn.is_user() || turn.number("firstAudioMs").is_some();
        let Some((from_ms, to_ms)) = turn.interval() else {
            sounds.extend(turn.start_ms.filter(|_| has_begun).map(|from_ms| Sound {
                from_ms,
                to_ms: from_ms,
                speaker,
                turn: index,
                has_end: false,
            }));
            continue;
        };
        let mut has_parts = false;
        for part in super::path::list(turn.turn, "segments") {
            let ends = super::path::at(part, "startMs").zip(super::path::at(part, "endMs"));
            if let Some((from_ms, to_ms)) = ends {
                has_parts = true;
                sounds.push(Sound {
                    from_ms,
                    to_ms,
                    speaker,
                    turn: index,
                    has_end: true,
                });
            }
        }
        if !has_parts && (has_begun || to_ms > from_ms) {
            sounds.push(Sound {
                from_ms,
                to_ms,
                speaker,
                turn: index,
                has_end: true,
            });
        }
    }
    sounds.extend(view.speech.iter().map(|speech| Sound {
        from_ms: speech.start_ms,
        to_ms: speech.end_ms,
        speaker: speech.speaker,
        turn: None,
        has_end: true,
    }));
    sounds.sort_by(|a, b| {
        (a.from_ms.total_cmp(&b.from_ms))
            .then(a.to_ms.total_cmp(&b.to_ms))
            .then(a.turn.cmp(&b.turn))
    });
    sounds
}
