//! What is heard and spoken beside the span of its exchange, and not below it: a transcription that an agent's run
//! follows, the speech behind it.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::analysis::words;

use super::super::calls::{end, has_failed, text};
use super::super::{Gist, Part};
use super::said;

/// Where nobody tells the words, an agent runs so soon behind a transcript, and is spoken for so soon.
const AT_ONCE: TimeDelta = TimeDelta::seconds(1);
/// Spans that follow each other may be told to overlap by so much.
const OVERLAP: TimeDelta = TimeDelta::milliseconds(50);
/// So many answers before it are what speech may say: an exchange may last for a whole call.
const ANSWERS_MAX: usize = 16;

/// Finds an exchange for transcriptions and speech that stand in none: the next that such words were handed to, and the
/// last that gave such words. The `counted` and the `exchanges` stand in the order of time; the n-th of `owners` is the
/// place of the exchange that the n-th of `counted` belongs to.
pub fn find(counted: &[Gist], exchanges: &[&Gist], owners: &mut [Option<usize>]) {
    let found: Vec<(usize, usize)> = {
        let known = Known::of(counted, exchanges, owners);
        let loose = counted
            .iter()
            .enumerate()
            .filter(|(at, _)| owners[*at].is_none());
        loose
            .filter_map(|(at, gist)| {
                let place = match gist.part {
                    Part::Stt if !has_failed(gist) => known.asked_behind(gist),
                    Part::Tts => known.answered_before(gist),
                    _ => None,
                };
                Some((at, place?))
            })
            .collect()
    };
    for (at, place) in found {
        owners[at] = Some(place);
    }
}

/// What is told of exchanges, and what stands in none.
struct Known<'b> {
    exchanges: &'b [&'b Gist],
    /// What each was asked, and the words that were answered in it since when.
    asked: Vec<Option<&'b str>>,
    answers: Vec<Vec<(DateTime<Utc>, Vec<String>)>>,
    /// When each was over, with what was spoken.
    over: Vec<DateTime<Utc>>,
    /// When something was transcribed or generated that stands in no exchange.
    others: Vec<DateTime<Utc>>,
}

impl<'b> Known<'b> {
    fn of(counted: &'b [Gist], exchanges: &'b [&'b Gist], owners: &[Option<usize>]) -> Self {
        let own = |exchange: &&'b Gist| said(exchange, "userText");
        let mut known = Self {
            exchanges,
            asked: exchanges.iter().map(own).collect(),
            answers: exchanges
                .iter()
                .map(|own| answered(own).into_iter().collect())
                .collect(),
            over: exchanges.iter().map(|own| end(own)).collect(),
            others: Vec::new(),
        };
        for (gist, owner) in counted.iter().zip(owners) {
            match (owner, gist.part) {
                (Some(owner), Part::Llm) => {
                    let asked = &mut known.asked[*owner];
                    *asked = asked.or(said(gist, "userText"));
                    known.answers[*owner].extend(answered(gist));
                }
                (Some(owner), Part::Tts) => {
                    known.over[*owner] = known.over[*owner].max(end(gist));
                }
                (None, Part::Stt) => known.others.push(end(gist)),
                (None, Part::Llm) => known.others.push(gist.started_at),
                _ => {}
            }
        }
        known.others.sort();
        known
    }

    /// The exchange that a transcript was handed to.
    fn asked_behind(&self, stt: &Gist) -> Option<usize> {
        let heard = end(stt);
        let from = self
            .exchanges
            .partition_point(|own| own.started_at < heard - OVERLAP);
        let place = (from < self.exchanges.len()).then_some(from)?;
        let own = self.exchanges[place];
        if self.is_other_between(heard, own.started_at) {
            return None;
        }
        let is_at_once = own.started_at - heard <= AT_ONCE && own.trace_id == stt.trace_id;
        let fits = match (text(stt, "text"), self.asked[place]) {
            (Some(heard), Some(asked)) => is_within(&words(heard), &words(asked)),
            _ => is_at_once,
        };
        fits.then_some(place)
    }

    /// The exchange whose answer was spoken.
    fn answered_before(&self, tts: &Gist) -> Option<usize> {
        let behind = self
            .exchanges
            .partition_point(|own| own.started_at <= tts.started_at);
        let place = behind.checked_sub(1)?;
        let own = self.exchanges[place];
        if self.is_other_between(own.started_at, tts.started_at) {
            return None;
        }
        let is_at_once =
            tts.started_at - self.over[place] <= AT_ONCE && own.trace_id == tts.trace_id;
        let answers = &self.answers[place];
        let fits = match text(tts, "text") {
            Some(spoken) if !answers.is_empty() => {
                let made = answers.partition_point(|(at, _)| *at <= tts.started_at);
                let mut last = answers[..made].iter().rev().take(ANSWERS_MAX);
                let spoken = words(spoken);
                last.any(|(_, answer)| is_within(&spoken, answer))
            }
            _ => is_at_once,
        };
        fits.then_some(place)
    }

    /// Whether something else was said or made between two moments.
    fn is_other_between(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
        let next = self.others.partition_point(|at| *at <= from);
        self.others.get(next).is_some_and(|at| *at < to)
    }
}

/// What was answered in a span, and when that began.
fn answered(gist: &Gist) -> Option<(DateTime<Utc>, Vec<String>)> {
    Some((gist.started_at, words(text(gist, "text")?)))
}

/// Whether words stand within others, in their order.
fn is_within(part: &[String], whole: &[String]) -> bool {
    !part.is_empty() && whole.windows(part.len()).any(|window| window == part)
}
