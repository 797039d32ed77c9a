//! Who said what when, from what was transcribed, generated and spoken.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::domain::event::Kind;
use crate::domain::turn::Speaker;

use super::super::calls::{
    after, duration_ms, end, error, first_at, is_set, ms_between, name, number, put, stages, text,
    tts_call, usage,
};
use super::super::{Beside, End, Gist, Part, Turn, Understood};
use super::{realtime, tools};

/// A turn that another one follows so closely was cut off by it. The flag alone says little: it stands on
/// every last turn, too.
const FOLLOWS_MS: f64 = 50.0;
/// So long after the agent's last word a turn is over.
const TURN_END_MS: f64 = 2_500.0;
/// Where a transcript's span is shorter, it does not tell when the user spoke.
pub const INSTANT: TimeDelta = TimeDelta::milliseconds(10);
/// A user who speaks sooner has not waited for a first byte that should have come, however fast others come.
const PATIENCE_MS: f64 = 1_000.0;

/// What one side did without the other's doing anything.
struct Run<'a> {
    speaker: Speaker,
    gists: Vec<&'a Gist>,
    /// The exchange that it is part of.
    exchange: Option<&'a str>,
}

impl<'a> Run<'a> {
    fn of(&self, part: Part) -> impl Iterator<Item = &'a Gist> {
        self.gists
            .iter()
            .copied()
            .filter(move |gist| gist.part == part)
    }

    fn id(&self) -> String {
        self.gists
            .first()
            .map(|gist| name(gist))
            .unwrap_or_default()
    }

    /// Whether it is known that something of it was heard.
    fn is_heard(&self) -> bool {
        let has_byte = |gist: &Gist| gist.fields.contains_key("ttsMs");
        self.of(Part::Tts).any(has_byte) || self.of(Part::Llm).any(realtime::speaks)
    }

    /// The response of a realtime model that was heard first; of an answer that was not heard, the first.
    fn response(&self) -> Option<&'a Gist> {
        let mut responses = self
            .of(Part::Llm)
            .filter(|gist| realtime::is_response(gist));
        let spoken = self.of(Part::Llm).find(|gist| realtime::speaks(gist));
        spoken.or_else(|| responses.next())
    }
}

/// What a session's gists, in the order of time, amount to.
pub fn interpret(gists: &[&Gist]) -> Understood {
    let of = |part| -> Vec<&Gist> { gists.iter().copied().filter(|g| g.part == part).collect() };
    let exchanges: BTreeMap<&str, &Gist> = of(Part::Exchange)
        .into_iter()
        .map(|g| (g.span_id.as_str(), g))
        .collect();
    let (stt, llm, tts) = (of(Part::Stt), of(Part::Llm), of(Part::Tts));
    let runs = runs(gists, &exchanges);
    let mut session = Map::new();
    stages(&mut session, [("stt", &stt), ("llm", &llm), ("tts", &tts)]);
    let usage = usage(gists);
    put(&mut session, "usage", (!usage.is_empty()).then_some(usage));
    let mut understood = Understood {
        session,
        ..Understood::default()
    };
    let measured = tts.iter().filter_map(|gist| number(gist, "ttsMs"));
    let requests = of(Part::LlmAttempt);
    let known = Known {
        runs: &runs,
        exchanges: &exchanges,
        requests: &requests,
        measures_speech: tts.iter().any(|gist| {
            let names = ["ttsMs", "unheard"];
            names.iter().any(|name| gist.fields.contains_key(*name))
        }),
        patience_ms: measured.fold(PATIENCE_MS, f64::max),
    };
    for (place, run) in runs.iter().enumerate() {
        let context = Context {
            known: &known,
            run,
            place,
        };
        match run.speaker {
            Speaker::User => understood.turns.push(context.user()),
            Speaker::Agent => context.agent(&mut understood),
        }
    }
    understood
        .besides
        .extend(tools::calls(gists, |gist| placed(&runs, gist)));
    understood.end = of(Part::Root).first().map(|root| ended(root, gists, &runs));
    understood
}

/// Who did what in which order. A transcript counts from when it was there: what the agent said until then
/// was no answer to it.
fn runs<'a>(gists: &[&'a Gist], exchanges: &BTreeMap<&str, &Gist>) -> Vec<Run<'a>> {
    let spoken = |gist: &&&Gist| matches!(gist.part, Part::Stt | Part::Llm | Part::Tts);
    let mut spoken: Vec<&Gist> = gists.iter().filter(spoken).copied().collect();
    spoken.sort_by_key(|gist| match gist.part {
        Part::Stt => there_at(gist, exchanges),
        _ => gist.started_at,
    });
    let mut runs: Vec<Run<'a>> = Vec::new();
    for gist in spoken {
        let speaker = match gist.part {
            Part::Stt => Speaker::User,
            _ => Speaker::Agent,
        };
        match runs.last_mut() {
            Some(run)
                if run.speaker == speaker && (speaker == Speaker::User || continues(run, gist)) =>
            {
                run.gists.push(gist);
                run.exchange = run.exchange.or(gist.parent.as_deref());
            }
            last => {
                let before = last.and_then(|run| run.exchange);
                let before = before.filter(|_| realtime::is_cut_short(gist));
                runs.push(Run {
                    speaker,
                    gists: vec![gist],
                    exchange: before.or(gist.parent.as_deref()),
                });
            }
        }
    }
    runs
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

/// Whether the agent is still saying the same: in another exchange, it says something new.
fn continues(run: &Run<'_>, gist: &Gist) -> bool {
    let last = run.gists.last().and_then(|last| last.parent.as_ref());
    last == gist.parent.as_ref() || realtime::is_cut_short(gist)
}

/// The turn of a gist, and the generation before it there.
fn placed<'a>(runs: &[Run<'a>], gist: &Gist) -> (Option<String>, Option<&'a Gist>) {
    let is_it = |other: &&Gist| other.span_id == gist.span_id && other.trace_id == gist.trace_id;
    let own = runs.iter().find(|run| run.gists.iter().any(is_it));
    let Some(run) = own
        .or_else(|| made_by(runs, gist))
        .or_else(|| last_until(runs, gist))
    else {
        return (None, None);
    };
    let earlier = run
        .of(Part::Llm)
        .filter(|llm| llm.started_at < gist.started_at);
    (Some(run.id()), earlier.last())
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

/// What is known of a session beside a run of it.
struct Known<'a, 'b> {
    runs: &'b [Run<'a>],
    exchanges: &'b BTreeMap<&'b str, &'a Gist>,
    /// What realtime models were asked, in the order of time.
    requests: &'b [&'a Gist],
    /// Whether syntheses of this session tell how fast they are, so that one that does not has failed.
    measures_speech: bool,
    /// So long syntheses of this session may take to their first byte.
    patience_ms: f64,
}

/// What a run stands among.
struct Context<'a, 'b> {
    known: &'b Known<'a, 'b>,
    run: &'b Run<'a>,
    place: usize,
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
    fn at(&self, place: usize) -> Option<Self> {
        let run = self.known.runs.get(place)?;
        let known = self.known;
        Some(Self { known, run, place })
    }

    fn before(&self) -> Option<Self> {
        self.at(self.place.checked_sub(1)?)
    }

    fn after(&self) -> Option<Self> {
        self.at(self.place + 1)
    }

    fn exchange(&self) -> Option<&'a Gist> {
        self.known.exchanges.get(self.run.exchange?).copied()
    }

    fn user(&self) -> Turn {
        let run = self.run;
        let mut fields = Map::new();
        put(&mut fields, "text", Some(joined(run.of(Part::Stt))));
        let last = run.gists.last();
        let answer = self.after();
        let llm = answer.as_ref().and_then(|run| run.run.of(Part::Llm).next());
        put(
            &mut fields,
            "sttMs",
            last.and_then(|last| stt_ms(last, llm)),
        );
        // A response's span begins when it was over.
        let waited = llm
            .filter(|llm| !realtime::is_response(llm))
            .zip(last)
            .map(|(llm, last)| ms_between(end(last), llm.started_at));
        put(&mut fields, "endpointingMs", waited.map(|ms| ms.max(0.0)));
        for (member, field) in [("providers", "provider"), ("models", "model")] {
            let stt = last.and_then(|last| text(last, field));
            put(&mut fields, member, stt.map(|stt| json!({ "stt": stt })));
        }
        let is_told = answer
            .is_none_or(|answer| answer.run.response().is_none() || answer.latency_ms().is_some());
        Turn {
            id: run.id(),
            speaker: Speaker::User,
            started_at: self.began(),
            // Who waited for a realtime model has waited for nobody knows how long, unless that was measured.
            ended_at: is_told.then(|| self.spoke_until()),
            fields,
        }
    }

    /// When a user had spoken. A realtime model was heard before its response was over.
    fn spoke_until(&self) -> DateTime<Utc> {
        let start = self.began();
        let answer = self.after();
        let response = answer.as_ref().and_then(|answer| answer.run.response());
        let last = self.run.gists.last();
        let spoken = last.map_or(start, |last| spoken_at(last, response));
        let latency_ms = answer.and_then(|answer| answer.latency_ms());
        let latest = response.map(|over| after(over.started_at, -latency_ms.unwrap_or_default()));
        latest.map_or(spoken, |at| at.min(spoken)).max(start)
    }

    fn agent(&self, understood: &mut Understood) {
        let run = self.run;
        let tts: Vec<&Gist> = run.of(Part::Tts).collect();
        let llm: Vec<&Gist> = run.of(Part::Llm).collect();
        let interrupted = self.cut_off();
        let audio = self.first_audio();
        let silent = |gist: &Gist| self.is_silent(gist, interrupted.is_some());
        let has_failed = |gist: &&Gist| gist.fields.contains_key("error");
        let mut fields = Map::new();
        let said = self.said();
        let is_mute = |gist: &&Gist| silent(gist) || has_failed(gist);
        let spoke = audio.is_some()
            || tts
                .iter()
                .any(|gist| !is_mute(gist) && !is_set(gist, "unheard"));
        let is_answer = !said.is_empty();
        put(&mut fields, "text", Some(said));
        put(&mut fields, "firstAudioMs", audio.map(super::super::moment));
        put(&mut fields, "llmMs", self.first_token_ms(audio));
        put(&mut fields, "llmTotalMs", total(llm.iter().copied()));
        put(
            &mut fields,
            "ttsMs",
            tts.iter().find_map(|gist| number(gist, "ttsMs")),
        );
        put(&mut fields, "ttsTotalMs", total(tts.iter().copied()));
        put(&mut fields, "latencyMs", self.latency_ms());
        put(&mut fields, "interrupted", interrupted.map(|_| true));
        let is_unheard = !tts.is_empty() && !spoke;
        let is_failed =
            llm.iter().any(has_failed) && !is_answer || is_unheard && tts.iter().any(is_mute);
        put(&mut fields, "failed", is_failed.then_some(true));
        // The user spoke before there was anything to hear.
        let is_cancelled = is_unheard && !is_failed;
        put(&mut fields, "cancelled", is_cancelled.then_some(true));
        put(
            &mut fields,
            "llmCalls",
            listed(llm.iter().map(|gist| realtime::call(gist))),
        );
        let calls = tts
            .iter()
            .map(|gist| tts_call(gist, silent(gist).then(|| json!({"suspected": true}))));
        put(&mut fields, "ttsCalls", listed(calls));
        providers(&llm, &tts, &mut fields);
        let id = run.id();
        for gist in &llm {
            let repaired = llm
                .iter()
                .any(|later| later.started_at > gist.started_at && !has_failed(later));
            let level = if repaired { "warning" } else { "error" };
            understood
                .besides
                .extend(error(gist, "llm", level, Some(id.clone())));
        }
        for gist in &tts {
            understood
                .besides
                .extend(error(gist, "tts", "error", Some(id.clone())));
            if silent(gist) {
                understood.besides.push(suspected(gist, &id));
            }
        }
        let start = self.started();
        if let Some(at) = interrupted {
            let onset = self.broken_into(start, at);
            understood.besides.push(interruption(at, onset, run, &id));
        }
        understood.turns.push(Turn {
            id,
            speaker: Speaker::Agent,
            started_at: start,
            ended_at: Some(self.ended(interrupted).max(start)),
            fields,
        });
    }

    /// What was spoken, else what was generated last.
    fn said(&self) -> String {
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

    /// When an answer began, as far as can be told: a realtime model's behind the user's last word, by what was
    /// measured, and before its response was over.
    fn started(&self) -> DateTime<Utc> {
        let responded = || {
            let over = self.run.response()?.started_at;
            let user = self
                .before()
                .filter(|run| run.run.speaker == Speaker::User)?;
            let heard = after(user.spoke_until(), self.latency_ms().unwrap_or_default());
            Some(heard.min(over))
        };
        let mut syntheses = self.run.of(Part::Tts);
        let first = syntheses.next().or(self.run.gists.first().copied());
        let known = self.first_audio().or_else(responded);
        known.unwrap_or_else(|| first.map(|gist| gist.started_at).unwrap_or_default())
    }

    /// How long the first token took of the generation that made what was heard first.
    fn first_token_ms(&self, audio: Option<DateTime<Utc>>) -> Option<f64> {
        if let Some(response) = self.run.response() {
            return number(response, "llmMs");
        }
        let is_in_time = |gist: &&Gist| audio.is_none_or(|heard_at| gist.started_at < heard_at);
        let has_failed = |gist: &Gist| gist.fields.contains_key("error");
        let generated = self.run.of(Part::Llm).filter(is_in_time);
        let generated = generated.filter(|gist| !has_failed(gist));
        generated.filter_map(|gist| number(gist, "llmMs")).last()
    }

    /// A synthesis that failed shows only by what it does not say. One that the user talked over may just have
    /// been on its way, unless it took longer than all that came.
    fn is_silent(&self, tts: &Gist, interrupted: bool) -> bool {
        let is_unheard = self.exchange().is_some_and(|exchange| {
            exchange.ended_at.is_some() && !exchange.fields.contains_key("latencyMs")
        });
        let is_odd = self.known.measures_speech || is_unheard;
        let is_told = tts.fields.contains_key("ttsMs") || tts.fields.contains_key("error");
        let was_due = match is_set(tts, "interrupted") {
            true => duration_ms(tts) > self.known.patience_ms,
            false => !interrupted,
        };
        is_odd && !is_told && was_due
    }

    /// When the user cut this answer off: it is the last of an exchange at whose end another one begins.
    fn cut_off(&self) -> Option<DateTime<Utc>> {
        let exchange = self
            .exchange()
            .filter(|exchange| is_set(exchange, "cutOff"))?;
        let at = exchange.ended_at?;
        let is_last = self
            .after()
            .is_none_or(|after| after.run.exchange != self.run.exchange);
        let may_be_heard = |gist: &Gist| !is_set(gist, "unheard");
        let spoke = self.run.is_heard() || self.run.of(Part::Tts).any(may_be_heard);
        (is_last && spoke && self.is_followed(exchange, at)).then_some(at)
    }

    /// When the user broke into an answer that was heard from `start` to `stop`: what is transcribed next began
    /// within it. Where it did not, nobody knows.
    fn broken_into(&self, start: DateTime<Utc>, stop: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let user = self
            .after()
            .filter(|after| after.run.speaker == Speaker::User)?;
        onset(user.run).filter(|onset| (start..stop).contains(onset))
    }

    /// Whether another exchange begins where this one ends: then the user spoke.
    fn is_followed(&self, exchange: &Gist, at: DateTime<Utc>) -> bool {
        let mut others = self.known.exchanges.values();
        others.any(|other| {
            other.span_id != exchange.span_id
                && ms_between(at, other.started_at).abs() <= FOLLOWS_MS
        })
    }

    /// The exchange's latency is that of its first answer that was heard.
    fn latency_ms(&self) -> Option<f64> {
        let earlier = self.known.runs.iter().take(self.place).enumerate().rev();
        let mut own = earlier.take_while(|(_, other)| other.exchange == self.run.exchange);
        let is_answered = own.any(|(place, other)| {
            let other_is_answer = self.at(place).is_some_and(|other| other.is_answer());
            other.is_heard() && other_is_answer
        });
        let is_first = self.is_answer() && self.run.is_heard() && !is_answered;
        let exchange = self.exchange().filter(|_| is_first)?;
        number(exchange, "latencyMs")
    }

    /// Whether it answers a user.
    fn is_answer(&self) -> bool {
        let before = self.before();
        before.is_some_and(|before| before.run.speaker == Speaker::User)
    }

    /// When the answer had been spoken, which no span tells: synthesis is faster than speech.
    fn ended(&self, interrupted: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let made = self
            .run
            .gists
            .iter()
            .map(|gist| end(gist))
            .max()
            .unwrap_or_default();
        if let Some(at) = interrupted {
            return at;
        }
        // An exchange that nobody ended is over so long after the last word.
        let silence = self.exchange().and_then(|exchange| {
            let at = exchange.ended_at?;
            (!self.is_followed(exchange, at)).then(|| after(at, -TURN_END_MS))
        });
        let silence = silence.filter(|at| *at > made);
        let next = self.after().map(|next| next.began());
        let next = next.filter(|at| *at > made);
        match (silence, next) {
            _ if !self.run.is_heard() => made,
            (Some(at), Some(next)) => at.min(next),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => made,
        }
    }

    /// When it began, as far as can be told: the agent's making an answer, or the user's speaking, not the
    /// transcript of that.
    fn began(&self) -> DateTime<Utc> {
        let first = self.run.gists.first();
        let start = first.map(|gist| gist.started_at).unwrap_or_default();
        let is_user = self.run.speaker == Speaker::User;
        // Spans without a length: the turn began when the user did, unless the agent spoke in it before.
        let opens = self
            .before()
            .is_some_and(|before| before.run.exchange != self.run.exchange);
        let is_unknown = is_user && opens && onset(self.run).is_none();
        match self.exchange().filter(|_| is_unknown) {
            Some(exchange) => start.min(exchange.started_at),
            None => start,
        }
    }
}

fn providers(llm: &[&Gist], tts: &[&Gist], fields: &mut Map<String, Value>) {
    for (member, field) in [("providers", "provider"), ("models", "model")] {
        let mut found = Map::new();
        put(
            &mut found,
            "llm",
            llm.iter().find_map(|gist| text(gist, field)),
        );
        put(
            &mut found,
            "tts",
            tts.iter().find_map(|gist| text(gist, field)),
        );
        put(fields, member, (!found.is_empty()).then_some(found));
    }
}

/// When a user began to speak, if a span says so: one without a length only says when the words were there.
fn onset(user: &Run<'_>) -> Option<DateTime<Utc>> {
    let first = user.gists.first()?;
    (end(first) - first.started_at >= INSTANT).then_some(first.started_at)
}

/// How long all of them took together, whose spans tell.
fn total<'a>(gists: impl Iterator<Item = &'a Gist>) -> Option<f64> {
    let told = gists.filter(|gist| !realtime::is_response(gist));
    told.map(duration_ms).reduce(|sum, ms| sum + ms)
}

fn listed(items: impl Iterator<Item = Value>) -> Option<Value> {
    let items: Vec<Value> = items.collect();
    (!items.is_empty()).then(|| items.into())
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
fn interruption(
    at: DateTime<Utc>,
    onset: Option<DateTime<Utc>>,
    run: &Run<'_>,
    turn: &str,
) -> Beside {
    let mut fields = Map::new();
    put(&mut fields, "atMs", onset.map(super::super::moment));
    put(&mut fields, "source", Some("user"));
    Beside {
        kind: Kind::Interruption,
        id: format!("interruption/{}", run.id()),
        at,
        turn: Some(turn.to_owned()),
        fields,
    }
}

/// How it ended: badly only where a user was left without an answer by an error that is certain.
fn ended(root: &Gist, gists: &[&Gist], runs: &[Run<'_>]) -> End {
    let last = runs.last().filter(|run| run.speaker == Speaker::Agent);
    let has_failed = |gist: &Gist| gist.fields.contains_key("error");
    let was_left = last.is_some_and(|run| {
        run.of(Part::Llm).last().is_some_and(has_failed) && run.of(Part::Tts).next().is_none()
    });
    let is_failed = has_failed(root) || was_left;
    let last = gists.iter().map(|gist| end(gist)).max();
    End {
        at: last.unwrap_or_else(|| end(root)),
        status: if is_failed { "failed" } else { "completed" },
        reason: text(root, "error").map(str::to_owned),
    }
}
