//! Who said what when, from what was transcribed, generated and spoken.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::domain::event::Kind;
use crate::domain::turn::{Speaker, UNTIMED};

use super::super::calls::{
    Intervals, after, duration_ms, end, error, first_at, has_failed, is_set, listed, ms_between,
    name, number, put, stages, text, tts_call, usage,
};
use super::super::{Beside, Gist, Part, Turn, Understood, moment};
use super::heard::Starts;
use super::pace::Pace;
use super::runs::{LEFT_OPEN, OUTSPOKEN, Run, heard_in, is_lost, onset, placed, runs};
use super::sentences::{are_of_one, beginning, letters};
use super::speech::Speech;
use super::wordless::Heard;
use super::{clocks, endings, heard, realtime, sentences, tokens, tools, wordless, workers};

/// A user who speaks sooner has not waited for a first byte that should have come, however fast others come.
pub const PATIENCE_MS: f64 = 1_000.0;

/// Speech that is heard so much later than its first byte was held back, as until it is certain that a person answered.
const HELD_BACK_MS: f64 = 500.0;

/// What a session's gists, in the order of time, amount to.
pub fn interpret(gists: &[&Gist]) -> Understood {
    let helpers = workers::helpers(gists);
    let gists = workers::joined(gists, &helpers);
    let gists = sentences::whole(&referred(&gists));
    let gists = tokens::as_written(&referred(&gists));
    let gists = clocks::read_anew(&referred(&gists));
    let gists = referred(&gists);
    let gists = gists.as_slice();
    let of = |part| -> Vec<&Gist> { gists.iter().copied().filter(|g| g.part == part).collect() };
    let exchanges: BTreeMap<&str, &Gist> = of(Part::Exchange)
        .into_iter()
        .map(|g| (g.span_id.as_str(), g))
        .collect();
    let (stt, llm, tts) = (of(Part::Stt), of(Part::Llm), of(Part::Tts));
    let runs = runs(gists, &exchanges);
    let last = endings::last(gists, &helpers);
    let mut session = Map::new();
    stages(&mut session, [("stt", &stt), ("llm", &llm), ("tts", &tts)]);
    let usage = usage(gists);
    put(&mut session, "usage", (!usage.is_empty()).then_some(usage));
    let mut understood = Understood {
        session,
        ..Understood::default()
    };
    let measured = tts.iter().filter_map(|gist| number(gist, "ttsMs"));
    let (requests, calls) = (of(Part::LlmAttempt), of(Part::Root));
    let numbered = runs.iter().enumerate();
    let ends = numbered.filter_map(|(place, run)| Some((run.exchange?, place)));
    let generations = runs.iter().flat_map(|run| run.of(Part::Llm));
    let tell_usage = generations.filter(|gist| gist.fields.contains_key("promptTokens"));
    let tell_usage = tell_usage.map(|gist| text(gist, "model"));
    let lost: Vec<&Gist> = stt.iter().copied().filter(|gist| is_lost(gist)).collect();
    let mut known = Known {
        runs: &runs,
        exchanges: &exchanges,
        starts: &Starts::of(exchanges.values().copied()),
        calls: &calls,
        ends: &ends.collect(),
        tell_usage: &tell_usage.collect(),
        requests: &requests,
        lost: &lost,
        heard_untold: &heard::heard_untold(&runs, &exchanges),
        hears: !stt.is_empty(),
        answers_untold: llm.is_empty() && tts.is_empty(),
        is_over: last.is_some(),
        is_aloud: !tts.is_empty(),
        measures_speech: heard::measures_speech(&tts, &exchanges),
        measures_latency: exchanges
            .values()
            .any(|exchange| exchange.fields.contains_key("latencyMs")),
        patience_ms: measured.fold(PATIENCE_MS, f64::max),
        pace: Pace::default(),
    };
    known.pace = Pace::of(&known);
    for (place, run) in runs.iter().enumerate() {
        let context = Context {
            known: &known,
            run,
            place,
        };
        match run.speaker {
            Speaker::User => {
                understood.turns.push(context.user());
                context.untold_answer(&mut understood);
            }
            Speaker::Agent => {
                understood.turns.extend(context.unheard_user());
                context.agent(&mut understood);
            }
        }
    }
    let misheard = stt
        .iter()
        .filter_map(|gist| error(gist, "stt", "error", heard_in(&runs, gist)));
    understood.besides.extend(misheard);
    let speech = Speech::of(gists, &exchanges);
    let called = tools::calls(gists, &speech, |gist| placed(&runs, gist));
    understood.besides.extend(called);
    understood.end = last.map(|root| endings::ended(root, gists, &runs));
    understood
}

fn referred<'a>(gists: &'a [Cow<'_, Gist>]) -> Vec<&'a Gist> {
    gists.iter().map(AsRef::as_ref).collect()
}

/// What is known of a session beside a run of it.
pub struct Known<'a, 'b> {
    pub runs: &'b [Run<'a>],
    pub exchanges: &'b BTreeMap<&'b str, &'a Gist>,
    pub starts: &'b Starts<'b>,
    /// The conversations that exchanges are part of.
    pub calls: &'b [&'a Gist],
    /// The place of the last run of each exchange.
    pub ends: &'b BTreeMap<&'a str, usize>,
    /// The models of which a generation tells what it used.
    pub tell_usage: &'b BTreeSet<Option<&'a str>>,
    /// What realtime models were asked, in the order of time.
    pub requests: &'b [&'a Gist],
    /// Transcriptions of which not a word is left.
    pub lost: &'b [&'a Gist],
    /// The places of answers that only the latency of their exchange tells of.
    pub heard_untold: &'b BTreeSet<usize>,
    /// Whether there are transcriptions at all.
    pub hears: bool,
    /// Whether nothing tells of anything that the agent generates or speaks.
    pub answers_untold: bool,
    pub is_over: bool,
    /// Whether there are syntheses at all.
    pub is_aloud: bool,
    /// Whether syntheses of this session tell how fast they are, so that one that does not has failed.
    pub measures_speech: bool,
    /// Whether exchanges tell how long users waited, as older versions do not.
    pub measures_latency: bool,
    /// So long syntheses of this session may take to their first byte.
    pub patience_ms: f64,
    pub pace: Pace,
}

/// What a run stands among.
pub struct Context<'a, 'b> {
    pub known: &'b Known<'a, 'b>,
    pub run: &'b Run<'a>,
    pub place: usize,
}

/// When the user had spoken: a transcript comes that much later.
fn spoken_at(stt: &Gist, answer: Option<&Gist>) -> DateTime<Utc> {
    let end = end(stt);
    stt_ms(stt, answer).map_or(end, |ms| after(end, -ms))
}

fn stt_ms(stt: &Gist, answer: Option<&Gist>) -> Option<f64> {
    let is_own = answer.is_some_and(|model| realtime::has_heard(model, stt));
    number(stt, "sttMs").filter(|_| !is_own)
}

fn joined<'a>(gists: impl Iterator<Item = &'a Gist>) -> String {
    let texts = gists.filter_map(|gist| text(gist, "text").map(str::trim));
    texts.collect::<Vec<_>>().join(" ")
}

impl<'a, 'b> Context<'a, 'b> {
    pub fn at(&self, place: usize) -> Option<Self> {
        let run = self.known.runs.get(place)?;
        let known = self.known;
        Some(Self { known, run, place })
    }

    pub fn before(&self) -> Option<Self> {
        self.at(self.place.checked_sub(1)?)
    }

    pub fn after(&self) -> Option<Self> {
        self.at(self.place + 1)
    }

    pub fn exchange(&self) -> Option<&'a Gist> {
        self.known.exchanges.get(self.run.exchange?).copied()
    }

    fn user(&self) -> Turn {
        let run = self.run;
        let mut fields = Map::new();
        put(&mut fields, "text", Some(joined(run.of(Part::Stt))));
        self.put_hearing(&mut fields);
        stages(&mut fields, [("stt", self.last_heard().as_slice())]);
        Turn {
            id: run.id(),
            speaker: Speaker::User,
            started_at: self.began(),
            ended_at: self.is_end_told().then(|| self.spoke_until()),
            fields,
        }
    }

    /// How long it took to hear a user, and to see that they had finished.
    fn put_hearing(&self, fields: &mut Map<String, Value>) {
        let last = self.last_heard();
        let answer = self.after();
        let llm = answer.as_ref().and_then(|run| run.run.of(Part::Llm).next());
        put(fields, "sttMs", last.and_then(|last| stt_ms(last, llm)));
        // A response's span begins when it was over.
        let waited = llm
            .filter(|llm| !realtime::is_response(llm))
            .zip(last)
            .map(|(llm, last)| {
                let released = || answer.as_ref()?.released_at(llm, end(last));
                ms_between(end(last), released().unwrap_or(llm.started_at))
            });
        let is_open = |last: &Gist| is_set(last, LEFT_OPEN) || is_set(last, OUTSPOKEN);
        let waited = waited.filter(|_| last.is_none_or(|last| !is_open(last)));
        put(fields, "endpointingMs", waited.map(|ms| ms.max(0.0)));
    }

    fn last_heard(&self) -> Option<&'a Gist> {
        self.run.gists.last().copied()
    }

    /// When an answer that was begun before its user was `certain` to have finished was given to synthesis, if all that
    /// it waited for was that.
    fn released_at(&self, llm: &Gist, certain: DateTime<Utc>) -> Option<DateTime<Utc>> {
        first_at(llm, "llmMs").filter(|first| *first <= certain)?;
        let mut syntheses = self.run.of(Part::Tts).map(|tts| tts.started_at);
        syntheses.next().filter(|at| *at >= certain)
    }

    /// The answer of an agent of which nothing tells, neither what it generates nor what it speaks, but the latency of its
    /// user's exchange.
    fn untold_answer(&self, understood: &mut Understood) {
        let last = self
            .run
            .gists
            .last()
            .and_then(|gist| gist.parent.as_deref());
        let exchange = last.and_then(|id| self.known.exchanges.get(id).copied());
        let exchange = exchange.filter(|_| self.known.answers_untold);
        let latency_ms = exchange.and_then(|exchange| number(exchange, "latencyMs"));
        let Some((exchange, latency_ms)) = exchange.zip(latency_ms) else {
            return;
        };
        let heard = Heard {
            latency_ms,
            at: (!self.is_unmeasured()).then(|| after(self.spoke_until(), latency_ms)),
            is_followed: self.known.starts.follow(exchange),
        };
        let answer = wordless::answered(exchange, &heard);
        let next = self.after().and_then(|next| onset(next.run.gists.first()?));
        let told = wordless::cut_off(exchange, &answer, next);
        understood.besides.extend(told);
        understood.turns.push(answer);
    }

    /// Whether something tells when a user had spoken: who waited for a realtime model, or was transcribed by whom
    /// nobody measures, has waited for nobody knows how long, unless that was measured.
    fn is_end_told(&self) -> bool {
        let answer = self.after();
        let is_measured = |answer: &Self| answer.latency_ms().is_some();
        let is_untold = self.is_unmeasured() || answer.as_ref().is_some_and(Self::is_response);
        !is_untold || answer.as_ref().is_some_and(is_measured)
    }

    pub fn is_response(&self) -> bool {
        self.run.response().is_some()
    }

    /// Whether a user's last transcript does not say how long it took: the user had ended before its end, as one does for
    /// whom a transcriber decides when they have, or spoke on after it.
    fn is_unmeasured(&self) -> bool {
        let is_untold = |stt: &&Gist| !stt.fields.contains_key("sttMs");
        self.run.gists.last().is_some_and(is_untold)
    }

    /// When a user had spoken. A realtime model was heard before its response was over, and any other answer began
    /// by as much later as was measured.
    fn spoke_until(&self) -> DateTime<Utc> {
        let start = self.began();
        let answer = self.after();
        let response = answer.as_ref().and_then(|answer| answer.run.response());
        let last = self.run.gists.last();
        let spoken = last.map_or(start, |last| spoken_at(last, response));
        let latest = match response {
            Some(over) => {
                let latency_ms = answer.and_then(|answer| answer.latency_ms());
                Some(after(over.started_at, -latency_ms.unwrap_or_default()))
            }
            None => self.waited_since(),
        };
        let spoke_on = last.is_some_and(|last| is_set(last, OUTSPOKEN));
        let until = |at: DateTime<Utc>| if spoke_on { at } else { at.min(spoken) };
        latest.map_or(spoken, until).max(start)
    }

    /// Since when a user waited whose transcript does not say: so long before the answer as was measured.
    fn waited_since(&self) -> Option<DateTime<Utc>> {
        let answer = self.after().filter(|answer| !answer.is_response())?;
        let latency_ms = answer.latency_ms().filter(|_| self.is_unmeasured())?;
        Some(after(answer.started(), -latency_ms))
    }

    fn agent(&self, understood: &mut Understood) {
        let id = self.run.id();
        let interrupted = self.cut_off();
        let start = self.started();
        let start = interrupted.map_or(start, |at| start.min(at));
        self.errors(interrupted.is_some(), &id, understood);
        if let Some(at) = interrupted {
            let onset = self.broken_into(start, at);
            let told = interruption(at, onset, &id);
            understood.besides.push(told);
        }
        understood.turns.push(Turn {
            id,
            speaker: Speaker::Agent,
            started_at: start,
            ended_at: Some(self.ended(interrupted).max(start)),
            fields: self.answer(interrupted.is_some()),
        });
    }

    /// What an answer says and how long its parts took.
    fn answer(&self, interrupted: bool) -> Map<String, Value> {
        let tts: Vec<&Gist> = self.run.of(Part::Tts).collect();
        let llm: Vec<&Gist> = self.run.of(Part::Llm).collect();
        let audio = self.first_audio();
        let first_byte_ms = tts.iter().find_map(|gist| number(gist, "ttsMs"));
        let mut fields = Map::new();
        put(&mut fields, "text", Some(self.said()));
        // Whom it answers may have spoken on before it was heard, and then is not the one right before it.
        let asker = self.asker();
        if let Some(asker) = &asker {
            asker.put_hearing(&mut fields);
        }
        put(&mut fields, "firstAudioMs", audio.map(moment));
        put(&mut fields, "llmMs", self.first_token_ms(audio));
        let ids = self.beside();
        let is_beside = |gist: &&Gist| ids.contains(gist.span_id.as_str());
        let (beside, answering): (Vec<&Gist>, Vec<&Gist>) =
            llm.iter().copied().partition(is_beside);
        put(&mut fields, "llmTotalMs", total(answering.iter().copied()));
        put(&mut fields, "ttsMs", first_byte_ms);
        put(&mut fields, "ttsTotalMs", total(tts.iter().copied()));
        let latency_ms = self.latency_ms();
        put(&mut fields, "latencyMs", latency_ms);
        put(&mut fields, "interrupted", interrupted.then_some(true));
        let outcome = self.never_heard(audio, interrupted);
        if let Some(outcome) = outcome {
            put(&mut fields, outcome, Some(true));
        }
        // Where nobody measures speech, nothing tells when its first sound came.
        let is_heard = !tts.is_empty() || self.is_command() || self.is_heard_untold();
        let is_placed = latency_ms.is_none() || self.is_heard_untold();
        let is_unknown = is_placed && audio.is_none() && self.waited_for().is_none();
        let is_untimed = outcome.is_none() && is_heard && is_unknown;
        let untimed = is_untimed.then(|| json!({ UNTIMED: true }));
        put(&mut fields, "metadata", untimed);
        let waited = &self.run.waited;
        let generations = waited.iter().chain(&llm).map(|gist| {
            let mut call = realtime::call(gist);
            if is_beside(gist) || waited.contains(gist) {
                call["beside"] = true.into();
            }
            call
        });
        put(&mut fields, "llmCalls", listed(generations));
        let syntheses = tts.iter().map(|gist| {
            let is_silent = self.is_silent(gist, interrupted);
            tts_call(gist, is_silent.then(|| json!({"suspected": true})))
        });
        put(&mut fields, "ttsCalls", listed(syntheses));
        // Who failed, and was made up for by another, is not who answered.
        let (failed, good): (Vec<&Gist>, Vec<&Gist>) =
            answering.iter().partition(|gist| has_failed(gist));
        let made = [good, failed, beside].concat();
        let heard: Vec<&Gist> = asker
            .and_then(|asker| asker.last_heard())
            .into_iter()
            .collect();
        stages(
            &mut fields,
            [("stt", &heard), ("llm", &made), ("tts", &tts)],
        );
        fields
    }

    /// What went wrong while an answer was made, and the syntheses of which that is only supposed.
    fn errors(&self, interrupted: bool, id: &str, understood: &mut Understood) {
        let besides = &mut understood.besides;
        let turn = || Some(id.to_owned());
        for gist in self.run.of(Part::Llm) {
            let mut later = self.run.of(Part::Llm);
            let is_repaired =
                later.any(|later| later.started_at > gist.started_at && !has_failed(later));
            let level = if is_repaired { "warning" } else { "error" };
            besides.extend(error(gist, "llm", level, turn()));
        }
        for gist in self.run.of(Part::Tts) {
            besides.extend(error(gist, "tts", "error", turn()));
            if self.is_silent(gist, interrupted) {
                besides.push(suspected(gist, id));
            }
        }
    }

    /// What was spoken, else what was generated last.
    pub fn said(&self) -> String {
        let spoken = joined(self.run.of(Part::Tts));
        let responses = self
            .run
            .of(Part::Llm)
            .filter(|gist| realtime::is_response(gist));
        let newest = || {
            let generated = self.run.of(Part::Llm).filter_map(|gist| text(gist, "text"));
            generated.last().unwrap_or_default().to_owned()
        };
        let said = [spoken, joined(responses)];
        let said = said.into_iter().find(|said| !said.is_empty());
        said.unwrap_or_else(newest)
    }

    /// When something of an answer was heard first, if that is known.
    fn first_audio(&self) -> Option<DateTime<Utc>> {
        let made = self.first_made()?;
        let heard = self
            .heard_at()
            .filter(|heard| ms_between(made, *heard) > HELD_BACK_MS);
        Some(heard.unwrap_or(made))
    }

    /// When something of an answer was made first that could be heard.
    fn first_made(&self) -> Option<DateTime<Utc>> {
        let mut syntheses = self.run.of(Part::Tts);
        let spoken = syntheses.find_map(|gist| first_at(gist, "ttsMs"));
        spoken.or_else(|| {
            let response = self.run.of(Part::Llm).find(|gist| realtime::speaks(gist))?;
            let is_before = |gist: &&Gist| gist.started_at < response.started_at;
            let earlier = self.run.of(Part::Llm).filter(is_before).last();
            let since = earlier.map(realtime::over_at);
            realtime::first_audio(response, self.known.requests, since)
        })
    }

    /// When its user, whose end is told, had waited as long as was measured.
    fn heard_at(&self) -> Option<DateTime<Utc>> {
        let user = self.asker().filter(|user| !user.is_unmeasured())?;
        let latency_ms = self.latency_ms().filter(|_| !self.is_response())?;
        Some(after(user.spoke_until(), latency_ms))
    }

    /// When an answer began, as far as can be told: a realtime model's, and one of whose synthesis nothing is told, behind
    /// the user's last word, by what was measured; and a response before it was over.
    pub fn started(&self) -> DateTime<Utc> {
        let responded = || {
            let over = self.run.response()?.started_at;
            let heard = after(
                self.asker()?.spoke_until(),
                self.latency_ms().unwrap_or_default(),
            );
            Some(heard.min(over))
        };
        let mut syntheses = self.run.of(Part::Tts);
        let first = syntheses.next().or(self.run.gists.first().copied());
        let known = self
            .first_audio()
            .or_else(responded)
            .or_else(|| self.waited_for());
        known.unwrap_or_else(|| first.map(|gist| gist.started_at).unwrap_or_default())
    }

    /// The user whom it answers, of whom something was transcribed.
    fn asker(&self) -> Option<Self> {
        let before = self.before()?;
        (before.run.speaker == Speaker::User).then_some(before)
    }

    /// When an answer of whose synthesis nothing is told was heard: so long behind the user as was measured, and before
    /// the user spoke again.
    fn waited_for(&self) -> Option<DateTime<Utc>> {
        let heard = self.heard_at().filter(|_| self.is_heard_untold())?;
        let next = self
            .after()
            .filter(|next| next.run.speaker == Speaker::User);
        Some(next.map_or(heard, |next| heard.min(next.began())))
    }

    /// How long the first token took of the generation that made what was heard first.
    fn first_token_ms(&self, audio: Option<DateTime<Utc>>) -> Option<f64> {
        if let Some(response) = self.run.response() {
            return number(response, "llmMs");
        }
        let is_in_time = |gist: &&Gist| audio.is_none_or(|heard_at| gist.started_at < heard_at);
        let generated = self.run.of(Part::Llm).filter(is_in_time);
        let generated =
            generated.filter(|gist| !has_failed(gist) && number(gist, "llmMs").is_some());
        let generated: Vec<&Gist> = generated.collect();
        let spoken = self.run.of(Part::Tts).find_map(|gist| text(gist, "text"));
        let spoken = spoken.map(beginning).filter(|letters| !letters.is_empty());
        let is_spoken = |gist: &&&Gist| {
            let written = text(gist, "text").map(letters);
            let spoken = spoken.as_deref().zip(written);
            spoken.is_some_and(|(spoken, written)| written.contains(spoken))
        };
        let own = generated.iter().rfind(is_spoken);
        own.or(generated.last())
            .and_then(|gist| number(gist, "llmMs"))
    }

    /// The ids of generations that were made beside one that was spoken: another model may be asked at the same time,
    /// whether anybody is there, and say nothing to them. Those are spoken whose words were given to synthesis.
    fn beside(&self) -> BTreeSet<&'a str> {
        let given = letters(&joined(self.run.of(Part::Tts)));
        let is_spoken = |gist: &&Gist| {
            let written = text(gist, "text");
            written.is_some_and(|written| are_of_one(&letters(written), &given))
        };
        let (spoken, others): (Vec<&Gist>, Vec<&Gist>) =
            self.run.of(Part::Llm).partition(is_spoken);
        let during = Intervals::of(spoken.iter().map(|gist| (gist.started_at, end(gist))));
        let is_meanwhile = |gist: &&Gist| {
            let over = during.latest_end(|start| start < end(gist));
            over.is_some_and(|over| gist.started_at < over)
        };
        let beside = others.into_iter().filter(is_meanwhile);
        beside.map(|gist| gist.span_id.as_str()).collect()
    }

    /// The exchange's latency is that of its first answer that was heard.
    pub fn latency_ms(&self) -> Option<f64> {
        let earlier = self.known.runs.iter().take(self.place).enumerate().rev();
        let mut own = earlier.take_while(|(_, other)| other.exchange == self.run.exchange);
        let is_answered = own.any(|(place, _)| {
            let other = self.at(place);
            other.is_some_and(|other| other.is_answer() && other.is_heard())
        });
        let is_first = self.is_answer() && self.is_heard() && !is_answered;
        let exchange = self.exchange().filter(|_| is_first)?;
        number(exchange, "latencyMs")
    }

    /// Whether it answers a user, of whom perhaps not a word is left.
    fn is_answer(&self) -> bool {
        let before = self.before();
        let began = self.run.gists.first().map(|gist| gist.started_at);
        let mut lost = self.known.lost.iter();
        before.is_some_and(|before| before.run.speaker == Speaker::User)
            || self.is_asked_unheard()
            || lost.any(|stt| {
                stt.parent.as_deref() == self.run.exchange && began >= Some(stt.started_at)
            })
    }

    /// Whether nothing tells of transcriptions in the call, as of an application's own service: then whose exchange has a
    /// latency was waited for by a user all the same.
    fn is_asked_unheard(&self) -> bool {
        !self.known.hears && !self.is_response()
    }

    /// The user who waited for an answer, where nothing tells of transcriptions.
    fn unheard_user(&self) -> Option<Turn> {
        let latency_ms = self.latency_ms().filter(|_| self.is_asked_unheard())?;
        let exchange = self.exchange()?;
        let until = self.first_audio().map(|at| after(at, -latency_ms));
        let place = self.place.checked_sub(1).and_then(|place| self.at(place));
        let opens = place.is_some_and(|before| before.run.exchange != self.run.exchange);
        Some(wordless::asked(exchange, until, opens))
    }

    /// When it began, as far as can be told: the agent's making an answer, or the user's speaking, not the
    /// transcript of that.
    pub fn began(&self) -> DateTime<Utc> {
        let first = self.run.gists.first();
        let start = first.map(|gist| gist.started_at).unwrap_or_default();
        if self.run.speaker == Speaker::Agent {
            return start;
        }
        // The exchange began when the user did, unless the agent spoke in it before, and whoever had spoken at a time had
        // begun by then. A span may begin with its words only, however long it then stays open.
        let opens = self
            .before()
            .is_some_and(|before| before.run.exchange != self.run.exchange);
        let is_unknown = first.is_none_or(|first| onset(first).is_none());
        let spoken = || {
            let answer = self.after();
            let response = answer.as_ref().and_then(|answer| answer.run.response());
            first.map(|stt| spoken_at(stt, response))
        };
        let opened = || Some(self.exchange()?.started_at);
        let spoken = || spoken().into_iter().chain(self.waited_since()).min();
        let earlier = [opened().filter(|_| opens), spoken().filter(|_| is_unknown)];
        earlier.into_iter().flatten().fold(start, DateTime::min)
    }
}

/// How long all of them took together, whose spans tell.
fn total<'a>(gists: impl Iterator<Item = &'a Gist>) -> Option<f64> {
    let told = gists.filter(|gist| !realtime::is_response(gist));
    told.map(duration_ms).reduce(|sum, ms| sum + ms)
}

fn suspected(tts: &Gist, turn: &str) -> Beside {
    let mut fields = Map::new();
    put(&mut fields, "service", Some("tts"));
    put(&mut fields, "level", Some("error"));
    put(&mut fields, "code", Some("no_audio_suspected"));
    put(
        &mut fields,
        "message",
        Some("no audio was measured for this utterance: synthesis seems to have failed"),
    );
    for name in ["provider", "model"] {
        put(&mut fields, name, tts.fields.get(name).cloned());
    }
    let details = json!({"suspected": true, "traceId": tts.trace_id, "spanId": tts.span_id});
    put(&mut fields, "details", Some(details));
    Beside {
        kind: Kind::Error,
        id: format!("error/{}", name(tts)),
        at: end(tts),
        turn: Some(turn.to_owned()),
        fields,
    }
}

/// That the user cut an answer off. Its end is no word on when the user began to speak.
pub fn interruption(at: DateTime<Utc>, onset: Option<DateTime<Utc>>, turn: &str) -> Beside {
    let mut fields = Map::new();
    put(&mut fields, "atMs", onset.map(moment));
    put(&mut fields, "source", Some("user"));
    Beside {
        kind: Kind::Interruption,
        id: format!("interruption/{turn}"),
        at,
        turn: Some(turn.to_owned()),
        fields,
    }
}
