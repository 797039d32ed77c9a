//! How fast the agent of a call speaks, which no span tells, and when an answer of so many characters was over by that.

use chrono::{DateTime, Utc};

use crate::domain::turn::Speaker;

use super::super::calls::{after, end, first_at, has_failed, is_set, ms_between, text};
use super::super::{Gist, Part};
use super::turns::{Context, Known};

/// What a character takes where nothing in the call tells: 150 words a minute, the average of English speakers by the
/// National Center for Voice and Spoken, of six characters each, the space behind them included.
const CHARACTER_MS: f64 = 60_000.0 / (150.0 * 6.0);
/// Shorter speech tells its pauses as much as its pace.
const TELLING_CHARACTERS: usize = 20;
/// Writing of which a character is a syllable or a word begins here, and takes longer than those.
const SYLLABLES: char = '\u{2E80}';
/// What takes less or more for a character was not that speech alone.
const PLAUSIBLE_MS: std::ops::RangeInclusive<f64> = 20.0..=400.0;
/// A synthesis that is done so much later than it was heard is no word on when that was.
const LATE_MS: f64 = 250.0;

/// How fast the agent of a call speaks.
#[derive(Default)]
pub struct Pace {
    /// What a character takes, as answers tell that were followed by silence.
    measured_ms: Option<f64>,
    /// What a character takes at most, as answers tell that are short, or whose users then spoke.
    at_most_ms: Option<f64>,
    /// Whether syntheses are done only when they have long been heard.
    is_late: bool,
}

impl Pace {
    pub fn of(known: &Known<'_, '_>) -> Self {
        let mut measured = Vec::new();
        let mut at_most: Option<f64> = None;
        let mut is_late = false;
        let numbered = known.runs.iter().enumerate();
        for (place, run) in numbered.filter(|(_, run)| run.speaker == Speaker::Agent) {
            let context = Context { known, run, place };
            let silence = context.silent_since();
            let Some(by) = silence.or_else(|| context.was_heard_out_by()) else {
                continue;
            };
            let spoken = Spoken::of(&context);
            let mut made = spoken.0.iter().map(|piece| piece.made);
            is_late |= made.any(|made| ms_between(by, made) > LATE_MS);
            let Some(ms) = spoken.character_ms(by) else {
                continue;
            };
            if silence.is_some() && spoken.length() >= TELLING_CHARACTERS {
                measured.push((ms, spoken.length()));
            } else {
                at_most = Some(at_most.map_or(ms, |least| least.min(ms)));
            }
        }
        Self {
            measured_ms: median(measured),
            at_most_ms: at_most,
            is_late,
        }
    }

    /// When an answer was over that was `made` by then: not sooner than that, unless syntheses are done late.
    pub fn over(&self, answer: &Context<'_, '_>, made: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let spoken = Spoken::of(answer);
        let usual = || (!spoken.is_in_syllables()).then_some(CHARACTER_MS);
        let supposed = || Some(usual()?.min(self.at_most_ms.unwrap_or(f64::INFINITY)));
        let over = spoken.over(self.measured_ms.or_else(supposed)?)?;
        Some(if self.is_late { over } else { over.max(made) })
    }
}

/// The median of what characters took, by how many of them did.
fn median(mut measured: Vec<(f64, usize)>) -> Option<f64> {
    measured.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let half = measured.iter().map(|(_, length)| length).sum::<usize>() / 2;
    let mut until = 0;
    let mut reached = measured.iter().skip_while(|(_, length)| {
        until += length;
        until <= half
    });
    reached.next().or(measured.last()).map(|(ms, _)| *ms)
}

/// What was spoken of an answer: each part as soon as it is there and the one before it is over.
struct Spoken(Vec<Piece>);

struct Piece {
    /// Its first byte, or when it was asked for.
    at: DateTime<Utc>,
    made: DateTime<Utc>,
    length: usize,
    is_in_syllables: bool,
}

impl Spoken {
    fn of(context: &Context<'_, '_>) -> Self {
        let run = context.run;
        if run.of(Part::Tts).next().is_none() {
            return Self(untold(context).into_iter().collect());
        }
        let is_unheard = |gist: &Gist| {
            has_failed(gist) || is_set(gist, "unheard") || context.is_silent(gist, false)
        };
        let heard = run.of(Part::Tts).filter(|gist| !is_unheard(gist));
        let pieces = heard.filter_map(|gist| {
            let at = first_at(gist, "ttsMs").unwrap_or(gist.started_at);
            Some(Piece::new(text(gist, "text")?, at, end(gist)))
        });
        Self(pieces.collect())
    }

    fn length(&self) -> usize {
        self.0.iter().map(|piece| piece.length).sum()
    }

    fn is_in_syllables(&self) -> bool {
        self.0.iter().any(|piece| piece.is_in_syllables)
    }

    /// Each part's beginning, and how many characters were spoken from there on.
    fn remaining(&self) -> impl Iterator<Item = (DateTime<Utc>, f64)> {
        let mut length = 0;
        let remaining = self.0.iter().rev().map(move |piece| {
            length += piece.length;
            (piece.at, length as f64)
        });
        remaining.filter(|(_, length)| *length > 0.0)
    }

    /// When it was over, where a character takes so long.
    fn over(&self, character_ms: f64) -> Option<DateTime<Utc>> {
        let overs = self
            .remaining()
            .map(|(at, length)| after(at, length * character_ms));
        overs.max()
    }

    /// How long a character took, where it was over then.
    fn character_ms(&self, over: DateTime<Utc>) -> Option<f64> {
        let paces = self
            .remaining()
            .map(|(at, length)| ms_between(at, over) / length);
        let ms = paces.min_by(f64::total_cmp)?;
        PLAUSIBLE_MS.contains(&ms).then_some(ms)
    }
}

/// An answer of whose synthesis nothing tells, a realtime model's say, as the wait for it was measured. Where it was made in
/// several steps, nobody knows when the later ones were heard.
fn untold(context: &Context<'_, '_>) -> Option<Piece> {
    let mut made = context.run.of(Part::Llm);
    let is_one = made.next().is_some() && made.next().is_none();
    let is_told = is_one && context.latency_ms().is_some();
    let at = context.started();
    is_told.then(|| Piece::new(&context.said(), at, at))
}

impl Piece {
    fn new(text: &str, at: DateTime<Utc>, made: DateTime<Utc>) -> Self {
        let text = text.trim();
        Self {
            at,
            made,
            length: text.chars().count(),
            is_in_syllables: text.chars().any(|character| character >= SYLLABLES),
        }
    }
}
