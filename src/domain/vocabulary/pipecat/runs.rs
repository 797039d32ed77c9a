//! What one side of a call did until the other did something, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::turn::Speaker;

use super::super::calls::{end, first_at, has_failed, is_set, ms_between, name, text};
use super::super::{Gist, Part};
use super::eager::Eager;
use super::realtime;
use super::sentences::has_made;
use super::withheld::has_waited;

/// Where a transcript's span is shorter, it does not tell when the user spoke.
pub const INSTANT: TimeDelta = TimeDelta::milliseconds(10);
/// So long after the agent's last word a turn is over.
pub const TURN_END_MS: f64 = 2_500.0;

/// Marks a transcript's span that was only closed because the user's turn was decided to be over.
pub const LEFT_OPEN: &str = "leftOpen";

/// Marks a transcript's span that ended before its user did.
pub const OUTSPOKEN: &str = "outspoken";

/// Marks a generation that was asked for something new, and is not a tool's next step.
pub const ASKED: &str = "asked";

/// What one side did without the other's doing anything.
pub struct Run<'a> {
    pub speaker: Speaker,
    pub gists: Vec<&'a Gist>,
    /// The exchange that it is part of.
    pub exchange: Option<&'a str>,
    /// Generations before an answer which have found that the user had more to say, or of which it turned out so.
    pub waited: Vec<&'a Gist>,
}

impl<'a> Run<'a> {
    pub fn of(&self, part: Part) -> impl Iterator<Item = &'a Gist> {
        self.gists
            .iter()
            .copied()
            .filter(move |gist| gist.part == part)
    }

    pub fn id(&self) -> String {
        self.gists
            .first()
            .map(|gist| name(gist))
            .unwrap_or_default()
    }

    /// Whether it is known that something of it was heard.
    pub fn is_heard(&self) -> bool {
        let has_byte = |gist: &Gist| gist.fields.contains_key("ttsMs");
        self.of(Part::Tts).any(has_byte) || self.of(Part::Llm).any(realtime::speaks)
    }

    /// The last moment at which something of it is known to have begun to be heard; where nobody measures how fast
    /// syntheses are, they are `unmeasured` and were not heard before they began.
    pub fn heard_last(&self, unmeasured: bool) -> Option<DateTime<Utc>> {
        let begun = |gist: &Gist| unmeasured.then_some(gist.started_at);
        let spoken = self
            .of(Part::Tts)
            .filter_map(|gist| first_at(gist, "ttsMs").or_else(|| begun(gist)));
        let responses = self.of(Part::Llm).filter(|gist| realtime::speaks(gist));
        spoken.chain(responses.map(realtime::over_at)).max()
    }

    /// The response of a realtime model that was heard first; of an answer that was not heard, the first.
    pub fn response(&self) -> Option<&'a Gist> {
        let mut responses = self
            .of(Part::Llm)
            .filter(|gist| realtime::is_response(gist));
        let spoken = self.of(Part::Llm).find(|gist| realtime::speaks(gist));
        spoken.or_else(|| responses.next())
    }
}

/// Who did what in which order. A transcript counts from when it was there: what the agent said until then
/// was no answer to it.
pub fn runs<'a>(gists: &[&'a Gist], exchanges: &BTreeMap<&str, &Gist>) -> Vec<Run<'a>> {
    let conversations = conversations(gists);
    let cut_short = realtime::cut_short(gists, exchanges);
    let is_cut_short =
        |gist: &Gist| realtime::is_cut_short(gist) || cut_short.contains(gist.span_id.as_str());
    let spoken =
        |gist: &&&Gist| matches!(gist.part, Part::Stt | Part::Llm | Part::Tts) && !is_lost(gist);
    let mut spoken: Vec<&Gist> = gists.iter().filter(spoken).copied().collect();
    let eager = Eager::of(&spoken);
    spoken.sort_by_key(|gist| match gist.part {
        Part::Stt => (eager.there_at(gist, there_at(gist, exchanges)), false),
        _ => (gist.started_at, true),
    });
    let is_aloud = spoken.iter().any(|gist| gist.part == Part::Tts);
    let answers_untold = spoken.iter().all(|gist| gist.part == Part::Stt);
    let mut runs: Vec<Run<'a>> = Vec::new();
    let mut waited = Vec::new();
    for (place, &gist) in spoken.iter().enumerate() {
        if has_waited(gist, &spoken[place + 1..]) || eager.is_withdrawn(gist) {
            waited.push(gist);
            continue;
        }
        let speaker = match gist.part {
            Part::Stt => Speaker::User,
            _ => Speaker::Agent,
        };
        match runs.last_mut() {
            Some(run)
                if run.speaker == speaker
                    && (speaker == Speaker::User
                        && !(answers_untold && was_answered(run, gist, exchanges))
                        || is_cut_short(gist)
                        || continues(run, gist, &conversations, exchanges)
                            && !answers_anew(run, gist, &spoken[place + 1..], is_aloud)) =>
            {
                run.gists.push(gist);
                run.exchange = run.exchange.or(gist.parent.as_deref());
            }
            last => {
                let before = last.and_then(|run| run.exchange);
                let before = before.filter(|_| is_cut_short(gist));
                runs.push(Run {
                    speaker,
                    gists: vec![gist],
                    exchange: before.or(gist.parent.as_deref()),
                    waited: Vec::new(),
                });
            }
        }
        if let Some(run) = runs.last_mut().filter(|_| speaker == Speaker::Agent) {
            run.waited.append(&mut waited);
        }
    }
    runs
}

/// Whether a generation answers what was asked behind an answer that was given, by what was typed say. Where answers
/// are spoken, only one that is spoken too: another model may be asked what it thinks of the answer.
fn answers_anew(run: &Run<'_>, gist: &Gist, later: &[&Gist], is_aloud: bool) -> bool {
    let is_asked = |gist: &Gist| gist.part == Part::Llm && is_set(gist, ASKED);
    let Some(written) = text(gist, "text").filter(|_| is_asked(gist)) else {
        return false;
    };
    if !is_aloud {
        return run.of(Part::Llm).any(|llm| text(llm, "text").is_some());
    }
    let its = later.iter().take_while(|later| !is_asked(later));
    let mut spoken = its.filter(|later| later.part == Part::Tts);
    run.of(Part::Tts).any(|tts| !has_failed(tts))
        && spoken.any(|tts| text(tts, "text").is_some_and(|spoken| has_made(written, spoken)))
}

/// Whether a user was answered before this was heard of them, as the latency of their exchange says.
fn was_answered(run: &Run<'_>, stt: &Gist, exchanges: &BTreeMap<&str, &Gist>) -> bool {
    let last = run.gists.last().and_then(|gist| gist.parent.as_deref());
    let exchange = last.and_then(|id| exchanges.get(id));
    let is_measured = exchange.is_some_and(|exchange| exchange.fields.contains_key("latencyMs"));
    is_measured && last != stt.parent.as_deref()
}

/// A transcription that failed before there was a word of it: nobody knows what was said, nor until when.
pub fn is_lost(gist: &Gist) -> bool {
    gist.part == Part::Stt && has_failed(gist) && text(gist, "text").is_none()
}

/// What exchanges are part of: what stands directly below it, stands between exchanges.
fn conversations<'a>(gists: &[&'a Gist]) -> BTreeSet<&'a str> {
    let ids = gists.iter().filter_map(|gist| match gist.part {
        Part::Root => Some(gist.span_id.as_str()),
        Part::Exchange => gist.parent.as_deref(),
        _ => None,
    });
    ids.collect()
}

/// When a transcript was there. A span that outlasts its exchange was left open until the user spoke again.
fn there_at(stt: &Gist, exchanges: &BTreeMap<&str, &Gist>) -> DateTime<Utc> {
    let parent = stt.parent.as_deref();
    let exchange = parent.and_then(|id| exchanges.get(id));
    match exchange.and_then(|exchange| exchange.ended_at) {
        Some(over) if end(stt) > over => stt.started_at,
        _ => end(stt),
    }
}

/// Whether the agent is still saying the same: in another exchange it says something new, and between exchanges
/// after a silence that would have ended one.
fn continues(
    run: &Run<'_>,
    gist: &Gist,
    conversations: &BTreeSet<&str>,
    exchanges: &BTreeMap<&str, &Gist>,
) -> bool {
    let Some(last) = run.gists.last() else {
        return false;
    };
    let parent = gist.parent.as_deref();
    let is_between = parent.is_some_and(|id| conversations.contains(id));
    if last.parent.as_deref() != parent {
        return is_between && is_broken_off(run, last, gist, exchanges);
    }
    let is_spoken = last.part == Part::Tts || realtime::speaks(last);
    let is_later = is_spoken && ms_between(end(last), gist.started_at) > TURN_END_MS;
    !(is_between && is_later)
}

/// Whether an exchange was over before anything of its answer was spoken, and this goes on with it: an application that
/// ends the call ends that at once, and the call when the answer was heard. What is generated behind words that were
/// never spoken is something else, a summary of the call say.
fn is_broken_off(
    run: &Run<'_>,
    last: &Gist,
    gist: &Gist,
    exchanges: &BTreeMap<&str, &Gist>,
) -> bool {
    let exchange = last.parent.as_deref().and_then(|id| exchanges.get(id));
    let was_cut = |exchange: &&Gist| is_set(exchange, "cutOff") || is_set(exchange, "atEnd");
    let is_spoken = |gist: &&Gist| gist.part == Part::Tts || realtime::speaks(gist);
    let has_words = run.of(Part::Llm).any(|llm| text(llm, "text").is_some());
    exchange.is_some_and(was_cut)
        && !run.gists.iter().any(is_spoken)
        && (gist.part == Part::Tts || !has_words)
}

/// The turn in which was asked for what a gist tells, and the generation that did.
pub fn placed<'a>(runs: &[Run<'a>], gist: &Gist) -> (Option<String>, Option<&'a Gist>) {
    let is_it = |other: &&Gist| other.span_id == gist.span_id && other.trace_id == gist.trace_id;
    let own = runs.iter().find(|run| run.gists.iter().any(is_it));
    let Some(run) = own
        .or_else(|| made_by(runs, gist))
        .or_else(|| last_until(runs, gist))
    else {
        return (None, None);
    };
    let earlier = |run: &Run<'a>| {
        let is_earlier = |llm: &&Gist| llm.started_at < gist.started_at;
        run.of(Part::Llm).filter(is_earlier).last()
    };
    // What the first generation of an answer is told was asked for by the one before it, to which the user spoke on.
    let before = |run: &Run<'a>| Some((earlier(run)?, run.id()));
    match earlier(run) {
        None if own.is_some() => match runs.iter().rev().find_map(before) {
            Some((asked, turn)) => (Some(turn), Some(asked)),
            None => (Some(run.id()), None),
        },
        asked => (Some(run.id()), asked),
    }
}

/// The user's turn that a transcription is part of; of one that was lost, the next of its exchange, be it the answer.
pub fn heard_in(runs: &[Run<'_>], stt: &Gist) -> Option<String> {
    let is_it = |other: &&Gist| other.span_id == stt.span_id && other.trace_id == stt.trace_id;
    let is_next = |run: &&Run<'_>| {
        let mut later = run
            .gists
            .iter()
            .filter(|other| other.started_at >= stt.started_at);
        run.exchange == stt.parent.as_deref() && later.next().is_some()
    };
    let mut users = runs.iter().filter(|run| run.speaker == Speaker::User);
    let own = users.clone().find(|run| run.gists.iter().any(is_it));
    let next = own.or_else(|| users.find(is_next));
    next.or_else(|| runs.iter().find(is_next)).map(Run::id)
}

/// The answer that something led to which stands outside of all: the response that was over next in its exchange.
fn made_by<'a, 'b>(runs: &'b [Run<'a>], gist: &Gist) -> Option<&'b Run<'a>> {
    let is_its = |run: &&Run<'_>| {
        let mut over = run.of(Part::Llm).filter(|llm| realtime::is_response(llm));
        run.exchange == gist.parent.as_deref()
            && over.any(|response| response.started_at >= gist.started_at)
    };
    runs.iter().find(is_its)
}

/// What the agent did last until then.
fn last_until<'a, 'b>(runs: &'b [Run<'a>], gist: &Gist) -> Option<&'b Run<'a>> {
    let is_until = |run: &&Run<'_>| {
        let mut begun = run.gists.iter().map(|other| other.started_at);
        run.speaker == Speaker::Agent && begun.any(|at| at <= gist.started_at)
    };
    runs.iter().rfind(is_until)
}

/// When a user began to speak, if a span says so: one without a length only says when the words were there.
pub fn onset(stt: &Gist) -> Option<DateTime<Utc>> {
    (end(stt) - stt.started_at >= INSTANT).then_some(stt.started_at)
}
