//! Whether an answer was heard, and what cut it off: no span tells, syntheses and exchanges do between them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::turn::Speaker;

use super::super::calls::{duration_ms, end, has_failed, is_set, ms_between, text};
use super::super::{Gist, Part};
use super::runs::{Run, onset};
use super::turns::{Context, PATIENCE_MS};
use super::withheld;

/// Marks a generation of which nothing had come when it ended.
pub const WAITED_FOR: &str = "waitedFor";

/// Whether a generation tells of anything that came of it.
pub fn has_come(told: &Map<String, Value>) -> bool {
    let names = ["text", "error", "promptTokens", "completionTokens"];
    names.iter().any(|name| told.contains_key(*name))
}

/// A turn that another one follows so closely was cut off by it. The flag alone says little: it stands on
/// every last turn, too.
pub const FOLLOWS_MS: f64 = 50.0;
/// One that brings no sound is open for longer: it is given up after three seconds.
const WAITED_FOR_SOUND_MS: f64 = 2_500.0;

impl<'a> Context<'a, '_> {
    /// What became of an answer of which nothing could be heard: it `failed`, or was `cancelled` because the user
    /// spoke before, or something else was said.
    pub fn never_heard(
        &self,
        audio: Option<DateTime<Utc>>,
        interrupted: bool,
    ) -> Option<&'static str> {
        let is_mute = |gist: &Gist| self.is_silent(gist, interrupted) || has_failed(gist);
        let mut syntheses = self.run.of(Part::Tts);
        let has_syntheses = self.run.of(Part::Tts).next().is_some();
        let may_sound = |gist: &Gist| {
            !is_mute(gist) && !is_set(gist, "unheard") && !self.is_overtaken_by_end(gist)
        };
        let spoke = audio.is_some() || syntheses.any(may_sound);
        let is_unheard = has_syntheses && !spoke;
        let is_empty = self.run.of(Part::Llm).any(has_failed) && self.said().is_empty();
        if is_empty || is_unheard && self.run.of(Part::Tts).any(is_mute) {
            return Some("failed");
        }
        // What says nothing may have ended the call by a tool of which no span tells.
        let is_missed = || !self.said().is_empty() || self.is_fruitless();
        let is_given_up = self.after().is_some() || self.known.is_over && is_missed();
        (is_unheard || self.is_unspoken() && is_given_up).then_some("cancelled")
    }

    /// Whether nothing came of the last generation of an answer, not even the call of a tool: it would tell what it used, as
    /// others do.
    fn is_fruitless(&self) -> bool {
        self.run.of(Part::Llm).last().is_some_and(|last| {
            let is_told = || self.known.tell_usage.contains(&text(last, "model"));
            !has_come(&last.fields) && (is_set(last, WAITED_FOR) || is_told())
        })
    }

    /// Whether nothing of an answer was given to synthesis, where answers are: it had not come so far, or did no more
    /// than call tools.
    fn is_unspoken(&self) -> bool {
        let is_made = self.run.of(Part::Tts).next().is_some() || self.is_response();
        let is_untold = self.is_command() || self.is_heard_untold();
        !is_made && !is_untold && (self.known.is_aloud || self.said().is_empty())
    }

    /// Whether the agent had something done in place of words, which then are not missing.
    pub fn is_command(&self) -> bool {
        let written = self.run.of(Part::Llm).filter(|gist| !has_failed(gist));
        let last = written.last();
        last.is_some_and(withheld::is_command) && self.run.of(Part::Tts).next().is_none()
    }

    /// A synthesis that failed shows only by what it does not say. One that the user talked over may just have
    /// been on its way, unless it took longer than all that came.
    pub fn is_silent(&self, tts: &Gist, interrupted: bool) -> bool {
        let was_due = match is_set(tts, "interrupted") {
            true => duration_ms(tts) > self.known.patience_ms || self.is_undisturbed(tts),
            false => !interrupted && !self.is_overtaken_by_end(tts),
        };
        self.is_soundless(tts) && was_due && !self.is_queued(tts)
    }

    /// Whether no first byte of a synthesis is told, where others tell theirs.
    fn is_soundless(&self, tts: &Gist) -> bool {
        let is_unheard = self.known.measures_latency
            && self.exchange().is_some_and(|exchange| {
                exchange.ended_at.is_some() && !exchange.fields.contains_key("latencyMs")
            });
        let is_odd = self.known.measures_speech || is_unheard;
        let is_told = tts.fields.contains_key("ttsMs") || has_failed(tts);
        is_odd && !is_told
    }

    /// Whether the call was over while the first byte of a synthesis could still have come.
    fn is_overtaken_by_end(&self, tts: &Gist) -> bool {
        let is_its_end = |call: &&Gist| {
            let over = call.ended_at.filter(|_| call.trace_id == tts.trace_id);
            over.is_some_and(|over| ms_between(end(tts), over) <= FOLLOWS_MS)
        };
        self.is_soundless(tts)
            && duration_ms(tts) <= self.known.patience_ms
            && self.known.calls.iter().any(is_its_end)
    }

    /// Whether a synthesis was stopped while nobody spoke: a service that fails stops it as a user does. Who talks over it
    /// has begun to speak by then.
    fn is_undisturbed(&self, tts: &Gist) -> bool {
        let mut later = (self.place + 1..self.known.runs.len()).filter_map(|place| self.at(place));
        let until = match later.find(|later| later.run.speaker == Speaker::User) {
            Some(user) => user.run.gists.first().and_then(|first| onset(first)),
            None => self.exchange().and_then(|exchange| exchange.ended_at),
        };
        until.is_some_and(|until| ms_between(end(tts), until) > PATIENCE_MS)
    }

    /// Whether a synthesis was done before its turn to be heard came, behind another: then its clock is not read.
    fn is_queued(&self, tts: &Gist) -> bool {
        let mut earlier = self.run.of(Part::Tts);
        let is_behind = earlier
            .any(|other| other.started_at < tts.started_at && other.fields.contains_key("ttsMs"));
        is_behind && duration_ms(tts) < WAITED_FOR_SOUND_MS
    }

    /// When the user cut this answer off: it is the last of an exchange at whose end another one begins.
    pub fn cut_off(&self) -> Option<DateTime<Utc>> {
        let exchange = self
            .exchange()
            .filter(|exchange| is_set(exchange, "cutOff"))?;
        let at = exchange.ended_at?;
        // Users may speak into it without cutting it off. What a realtime model makes of that may not be told.
        let mut later = self.of_exchange_after();
        let is_last = !later.any(|later| match later.run.speaker {
            Speaker::Agent => later.may_be_heard(),
            Speaker::User => self.is_response(),
        });
        (is_last && self.may_be_heard() && self.known.starts.follow(exchange)).then_some(at)
    }

    fn may_be_heard(&self) -> bool {
        let is_known = |gist: &Gist| !is_set(gist, "unheard");
        self.is_heard() || self.run.of(Part::Tts).any(is_known)
    }

    /// When the user broke into an answer that was heard from `start` to `stop`: what is transcribed of them when it
    /// stops, or later, began within it. Where it did not, nobody knows.
    pub fn broken_into(&self, start: DateTime<Utc>, stop: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let user = self
            .after()
            .filter(|after| after.run.speaker == Speaker::User)?;
        let is_by_then = |stt: &&&Gist| ms_between(end(stt), stop) > FOLLOWS_MS;
        let earlier = user.run.gists.iter().take_while(is_by_then).count();
        let last = user.run.gists.len() - 1;
        let breaking = user.run.gists.get(earlier.min(last))?;
        onset(breaking).filter(|onset| (start..stop).contains(onset))
    }

    /// What was done later in the same exchange.
    pub fn of_exchange_after(&self) -> impl Iterator<Item = Self> {
        let last = self.run.exchange.and_then(|id| self.known.ends.get(id));
        let until = last.map_or(self.known.runs.len(), |last| last + 1);
        let later = (self.place + 1..until).filter_map(|place| self.at(place));
        later.filter(|later| later.run.exchange == self.run.exchange)
    }

    /// Whether it is known that something of it was heard. Where nobody measures how fast syntheses are, the latency
    /// of their exchange says so: who was heard and broken into has ended the exchange, so that it is of the last.
    pub fn is_heard(&self) -> bool {
        let is_spoken = || self.run.of(Part::Tts).any(|gist| !has_failed(gist));
        let was_waited_for = || {
            let exchange = self.exchange();
            exchange.is_some_and(|exchange| exchange.fields.contains_key("latencyMs"))
        };
        let is_last = || {
            let mut later = self.of_exchange_after();
            later.all(|later| later.run.speaker == Speaker::Agent)
        };
        let is_supposed = !self.known.measures_speech && is_spoken();
        let is_told = self.run.is_heard() || self.is_heard_untold();
        is_told || is_supposed && was_waited_for() && is_last()
    }

    pub fn is_heard_untold(&self) -> bool {
        self.known.heard_untold.contains(&self.place)
    }
}

/// The places of answers that were heard, as only the latency of their exchange tells: nothing tells of a synthesis in it,
/// as of an application's own service. Waited for was what was generated next behind the exchange's last user.
pub fn heard_untold(runs: &[Run<'_>], exchanges: &BTreeMap<&str, &Gist>) -> BTreeSet<usize> {
    let mut answers = BTreeMap::new();
    let mut told = BTreeSet::new();
    for (place, run) in runs.iter().enumerate() {
        let exchange = run.exchange.and_then(|id| exchanges.get(id));
        let waited = exchange.filter(|exchange| exchange.fields.contains_key("latencyMs"));
        let Some(id) = waited.map(|exchange| exchange.span_id.as_str()) else {
            continue;
        };
        let has_words = |gist: &Gist| text(gist, "text").is_some() && !withheld::is_command(gist);
        if run.speaker == Speaker::User {
            answers.remove(id);
        } else if run.of(Part::Tts).next().is_some() || run.response().is_some() {
            told.insert(id);
        } else if run.of(Part::Llm).any(has_words) {
            answers.entry(id).or_insert(place);
        }
    }
    answers.retain(|id, _| !told.contains(id));
    answers.into_values().collect()
}

/// When exchanges begin, in the order of time, and which do.
pub struct Starts<'a>(Vec<(DateTime<Utc>, &'a str)>);

impl<'a> Starts<'a> {
    pub fn of(exchanges: impl Iterator<Item = &'a Gist>) -> Self {
        let mut starts: Vec<_> = exchanges
            .map(|exchange| (exchange.started_at, exchange.span_id.as_str()))
            .collect();
        starts.sort_unstable();
        Self(starts)
    }

    /// When the first exchange begins after a time.
    pub fn after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let place = self.0.partition_point(|(begins, _)| *begins <= at);
        self.0.get(place).map(|(begins, _)| *begins)
    }

    /// Whether another exchange begins where this one ends: then the user spoke.
    pub fn follow(&self, exchange: &Gist) -> bool {
        let Some(over) = exchange.ended_at else {
            return false;
        };
        let is_before = |(at, _): &(DateTime<Utc>, &str)| ms_between(*at, over) > FOLLOWS_MS;
        let near = self.0[self.0.partition_point(is_before)..].iter();
        let mut near = near.take_while(|(at, _)| ms_between(over, *at) <= FOLLOWS_MS);
        near.any(|(_, id)| *id != exchange.span_id)
    }
}

/// Whether syntheses tell how fast they are, so that one that does not has failed. Where one that does not was heard, as
/// the latency of its exchange says, an application may have only the first of all measured.
pub fn measures_speech(syntheses: &[&Gist], exchanges: &BTreeMap<&str, &Gist>) -> bool {
    let tells = |gist: &&Gist| {
        let names = ["ttsMs", "unheard"];
        names.iter().any(|name| gist.fields.contains_key(*name))
    };
    let was_waited_for = |gist: &&Gist| {
        let exchange = gist.parent.as_deref().and_then(|id| exchanges.get(id));
        exchange.is_some_and(|exchange| exchange.fields.contains_key("latencyMs"))
    };
    let told = syntheses.iter().filter(|gist| tells(gist));
    let told: BTreeSet<Option<&str>> = told.map(|gist| gist.parent.as_deref()).collect();
    let is_alone = |gist: &&Gist| !told.contains(&gist.parent.as_deref());
    let mut untold = syntheses
        .iter()
        .filter(|gist| !tells(gist) && !has_failed(gist));
    let is_partial = untold.any(|gist| was_waited_for(gist) && is_alone(gist));
    !told.is_empty() && !is_partial
}
