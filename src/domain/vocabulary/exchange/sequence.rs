//! Exchanges that no span tells of: where another one begins, by what is said.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::calls::{HEARD, end, has_failed, is_set, number};
use super::super::{Gist, Part};
use super::group::Group;
use super::said;

/// Sooner nobody has heard an answer and spoken again: what is generated then is more of the same exchange.
const HEARD_AND_SPOKEN: TimeDelta = TimeDelta::seconds(1);
/// Words in the reason why a generation ended that is gone on with by a tool.
const TO_TOOLS: [&str; 2] = ["tool", "function"];
/// In so many answers, and so much of each, what a generation was given as answered is looked for.
const ANSWERS_MAX: usize = 8;
const ANSWER_CHARS: usize = 2_000;

/// Where the spans stand of which exchanges are made.
#[derive(Clone, Copy, PartialEq)]
pub enum Places {
    /// Beside each other: they are of one exchange only where what they say does not differ.
    Loose,
    /// Below one span, whose steps they may be: another exchange only goes on with what was said before.
    Within,
}

/// Whether exchanges are made of it.
pub fn is_said(gist: &Gist) -> bool {
    matches!(gist.part, Part::Stt | Part::Llm | Part::Tts | Part::Tool)
}

/// Exchanges of spans that stand in none: another begins where the user speaks, or a generation is asked
/// something else.
pub fn sequences(loose: Vec<&Gist>, places: Places) -> Vec<Group<'_>> {
    let mut groups = Vec::new();
    let mut parts = loose;
    parts.retain(|gist| is_said(gist));
    parts.sort_by_key(|gist| place(gist));
    let is_spoken = parts.iter().any(|gist| gist.part == Part::Tts);
    let mut open = Open::default();
    for gist in parts {
        let is_over = match places {
            Places::Loose => open.begins(gist, is_spoken),
            Places::Within => open.goes_on(gist, is_spoken),
        };
        if is_over {
            let begun = match places {
                Places::Loose => Vec::new(),
                Places::Within => open.take_begun(gist),
            };
            groups.push(std::mem::take(&mut open).members);
            begun.into_iter().for_each(|gist| open.push(gist));
        }
        open.push(gist);
    }
    groups.push(open.members);
    let groups = groups.into_iter().filter(|members| !members.is_empty());
    let group = |members| Group {
        own: None,
        members,
        within: Vec::new(),
    };
    groups.map(group).collect()
}

/// When a part counts: a transcript from when it was there. In JavaScript a span begins at a whole millisecond, and what
/// follows a transcript at once seems to begin before that ended: it may have begun as late as the millisecond's end.
fn place(gist: &Gist) -> DateTime<Utc> {
    match gist.part {
        Part::Stt => end(gist),
        _ if is_whole_ms(gist.started_at) => gist.started_at + TimeDelta::nanoseconds(999_999),
        _ => gist.started_at,
    }
}

/// Whether a clock may have told no more than milliseconds.
pub fn is_whole_ms(at: DateTime<Utc>) -> bool {
    at.timestamp_subsec_nanos().is_multiple_of(1_000_000)
}

/// An exchange that may go on, and what is known of it so far.
#[derive(Default)]
struct Open<'b> {
    members: Vec<&'b Gist>,
    traces: BTreeSet<&'b str>,
    is_heard: bool,
    /// Whether more came than what was heard.
    is_worked_on: bool,
    is_answered: bool,
    /// Texts of the answers.
    answers: Vec<&'b str>,
    /// When there was an answer, as text and as speech.
    written_at: Option<DateTime<Utc>>,
    spoken_at: Option<DateTime<Utc>>,
    /// The last generation of which is known what it was asked.
    asked: Option<&'b Gist>,
    /// The most messages before the user's words that a generation was given.
    most: Option<f64>,
}

impl<'b> Open<'b> {
    fn push(&mut self, gist: &'b Gist) {
        self.members.push(gist);
        self.traces.insert(&gist.trace_id);
        self.is_heard |= gist.part == Part::Stt;
        self.is_worked_on |= gist.part != Part::Stt;
        if is_asked(gist) {
            self.asked = Some(gist);
            let most = self.most.into_iter().chain(before(gist));
            self.most = most.reduce(f64::max);
        }
        if has_failed(gist) || !matches!(gist.part, Part::Llm | Part::Tts) {
            return;
        }
        let text = said(gist, "text").map(str::trim);
        self.is_answered |= text.is_some() || gist.part == Part::Tts;
        self.answers.extend(text);
        match gist.part {
            Part::Tts => self.spoken_at = self.spoken_at.max(Some(gist.started_at)),
            _ if text.is_some() || is_silent_answer(gist) => {
                self.written_at = self.written_at.max(Some(end(gist)));
            }
            _ => {}
        }
    }

    /// Whether another exchange begins; `is_spoken` where answers are told as speech.
    fn begins(&self, gist: &Gist, is_spoken: bool) -> bool {
        match (gist.part, self.asked) {
            (Part::Stt, _) => self.is_worked_on,
            // Of a model that speaks itself what was heard was answered.
            (Part::Llm, _) if gist.fields.contains_key(HEARD) => {
                self.members.iter().any(|member| is_set(member, HEARD))
            }
            (Part::Llm, Some(before)) if !self.is_heard && is_asked(gist) => {
                said(before, "userText") != said(gist, "userText")
                    || self.is_said_again(before, gist, is_spoken)
            }
            (Part::Llm, _) if !self.is_heard => {
                !self.is_of(gist) && self.is_answered_before(gist, is_spoken)
            }
            _ => false,
        }
    }

    /// Whether something comes behind a whole exchange: what the user says behind an answer, or a generation that was told
    /// more of the conversation before the user's words than any before it, this answer at last. One that was told less, or
    /// of other answers, looks at the same words for another purpose.
    fn goes_on(&self, gist: &Gist, is_spoken: bool) -> bool {
        if !self.is_answered {
            return false;
        }
        if gist.part != Part::Llm {
            return self.begins(gist, is_spoken);
        }
        let is_told_more = !self.is_heard
            && !is_set(gist, "isContinued")
            && self.most.is_some()
            && before(gist) > self.most;
        is_told_more
            && self
                .is_told_of_answer(gist)
                .unwrap_or_else(|| self.begins(gist, is_spoken))
    }

    /// Whether a generation is asked the same as the one `before` because the user has said the same words again, and not
    /// for another attempt at an answer, or for the rest of one: the user was answered, could have spoken since, and
    /// these words are the last. Then it is of another trace, or was told more of the conversation before them.
    fn is_said_again(&self, before: &Gist, gist: &Gist, is_spoken: bool) -> bool {
        let messages = |gist: &Gist| number(gist, "messagesBefore");
        let is_told_more = || {
            messages(before).is_some()
                && messages(gist) > messages(before)
                && self.is_told_of_answer(gist) != Some(false)
        };
        self.is_answered_before(gist, is_spoken)
            && !is_set(gist, "isContinued")
            && (!self.is_of(gist) || is_told_more())
    }

    /// Whether it is of a trace that is known here.
    fn is_of(&self, gist: &Gist) -> bool {
        self.traces.contains(gist.trace_id.as_str())
    }

    /// Whether the user was answered so long before that he could have spoken since.
    fn is_answered_before(&self, gist: &Gist, is_spoken: bool) -> bool {
        // Of what is spoken, what was generated is no answer yet.
        let answered_at = match is_spoken {
            true => self.spoken_at,
            false => self.written_at,
        };
        answered_at.is_some_and(|at| gist.started_at - at >= HEARD_AND_SPOKEN)
    }

    /// Whether what was answered before the user's words, as a generation was told, was answered here: as it was written,
    /// within what was written, or as the first of its pieces. None where nobody says.
    fn is_told_of_answer(&self, gist: &Gist) -> Option<bool> {
        let told = said(gist, "answeredBefore")?;
        let mut answers = self.answers.iter().rev().take(ANSWERS_MAX);
        Some(answers.any(|answer| {
            let cut = answer.char_indices().nth(ANSWER_CHARS);
            let answer = cut.map_or(*answer, |(cut, _)| &answer[..cut]);
            answer.contains(told) || !answer.is_empty() && told.starts_with(answer)
        }))
    }

    /// Takes out what was made of the same words as a generation with which another exchange begins: it looked at them
    /// before that one did.
    fn take_begun(&mut self, gist: &Gist) -> Vec<&'b Gist> {
        let asked = said(gist, "userText").filter(|_| gist.part == Part::Llm);
        let is_of = |member: &&Gist| asked.is_some() && said(member, "userText") == asked;
        let since = |member: &&&Gist| !is_asked(member) || is_of(member);
        let count = self.members.iter().rev().take_while(since).count();
        let place = self.members.len() - count;
        let first = self.members.iter().skip(place).position(is_of);
        match first {
            // Nothing else was said before: the user has said the same again.
            _ if place == 0 => Vec::new(),
            Some(first) => self.members.split_off(place + first),
            None => Vec::new(),
        }
    }
}

/// Whether a generation of which no word is told came to its end: one that goes on with a tool says so.
fn is_silent_answer(gist: &Gist) -> bool {
    let calls_tools = said(gist, "finishReason").is_some_and(|reason| {
        let reason = reason.to_ascii_lowercase();
        TO_TOOLS.iter().any(|word| reason.contains(word))
    });
    !is_asked(gist) && !calls_tools
}

/// Whether a generation tells what it was asked, be it no words.
fn is_asked(gist: &Gist) -> bool {
    gist.part == Part::Llm
        && (said(gist, "userText").is_some() || gist.fields.contains_key("messagesBefore"))
}

fn before(gist: &Gist) -> Option<f64> {
    number(gist, "messagesBefore")
}
