//! Who said what when, from what was transcribed, generated and spoken.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::domain::event::Kind;
use crate::domain::turn::Speaker;

use super::super::calls::{
    after, duration_ms, end, error, first_at, is_set, llm_call, ms_between, name, number, put,
    stages, text, tts_call, usage,
};
use super::super::{Beside, End, Gist, Part, Turn, Understood};
use super::tools;

/// A turn that another one follows so closely was cut off by it. The flag alone says little: it stands on
/// every last turn, too.
const FOLLOWS_MS: f64 = 50.0;
/// So long after the agent's last word a turn is over.
const TURN_END_MS: f64 = 2_500.0;
/// Where a transcript's span is shorter, it does not tell when the user spoke.
const INSTANT_MS: f64 = 10.0;

/// What one side did without the other's doing anything.
struct Run<'a> {
    speaker: Speaker,
    gists: Vec<&'a Gist>,
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

    /// The exchange that it is part of.
    fn exchange(&self) -> Option<&'a str> {
        self.gists.iter().find_map(|gist| gist.parent.as_deref())
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
    let runs = runs(gists);
    let mut session = Map::new();
    stages(&mut session, [("stt", &stt), ("llm", &llm), ("tts", &tts)]);
    let usage = usage(gists);
    put(&mut session, "usage", (!usage.is_empty()).then_some(usage));
    let mut understood = Understood {
        session,
        ..Understood::default()
    };
    let measures_speech = tts.iter().any(|gist| gist.fields.contains_key("ttsMs"));
    for (place, run) in runs.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|place| runs.get(place));
        let after = runs.get(place + 1);
        let exchange = run.exchange().and_then(|id| exchanges.get(id).copied());
        let context = Context {
            exchange,
            before,
            after,
            exchanges: &exchanges,
            measures_speech,
        };
        match run.speaker {
            Speaker::User => understood.turns.push(context.user(run)),
            Speaker::Agent => context.agent(run, &runs[..place], &mut understood),
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
fn runs<'a>(gists: &[&'a Gist]) -> Vec<Run<'a>> {
    let spoken = |gist: &&&Gist| matches!(gist.part, Part::Stt | Part::Llm | Part::Tts);
    let mut spoken: Vec<&Gist> = gists.iter().filter(spoken).copied().collect();
    spoken.sort_by_key(|gist| match gist.part {
        Part::Stt => end(gist),
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
            }
            _ => runs.push(Run {
                speaker,
                gists: vec![gist],
            }),
        }
    }
    runs
}

/// Whether the agent is still saying the same: in another exchange, it says something new.
fn continues(run: &Run<'_>, gist: &Gist) -> bool {
    let last = run.gists.last().and_then(|last| last.parent.as_ref());
    last == gist.parent.as_ref()
}

/// The turn of a gist, and the generation before it there.
fn placed<'a>(runs: &[Run<'a>], gist: &Gist) -> (Option<String>, Option<&'a Gist>) {
    let is_it = |other: &&Gist| other.span_id == gist.span_id && other.trace_id == gist.trace_id;
    let own = runs.iter().find(|run| run.gists.iter().any(is_it));
    let until = runs
        .iter()
        .rev()
        .filter(|run| run.speaker == Speaker::Agent);
    let mut until = until.filter(|run| {
        run.gists
            .iter()
            .any(|other| other.started_at <= gist.started_at)
    });
    let Some(run) = own.or_else(|| until.next()) else {
        return (None, None);
    };
    let earlier = run
        .of(Part::Llm)
        .filter(|llm| llm.started_at < gist.started_at);
    (Some(run.id()), earlier.last())
}

/// What a run stands among.
struct Context<'a, 'b> {
    exchange: Option<&'a Gist>,
    before: Option<&'b Run<'a>>,
    after: Option<&'b Run<'a>>,
    exchanges: &'b BTreeMap<&'b str, &'a Gist>,
    /// Whether syntheses of this session tell how fast they are, so that one that does not has failed.
    measures_speech: bool,
}

/// When the user had spoken: a transcript comes that much later.
fn spoken_at(stt: &Gist) -> DateTime<Utc> {
    let end = end(stt);
    number(stt, "sttMs").map_or(end, |ms| after(end, -ms))
}

fn joined<'a>(gists: impl Iterator<Item = &'a Gist>) -> String {
    let texts = gists.filter_map(|gist| text(gist, "text").map(str::trim));
    texts.collect::<Vec<_>>().join(" ")
}

impl Context<'_, '_> {
    fn user(&self, run: &Run<'_>) -> Turn {
        let mut fields = Map::new();
        put(&mut fields, "text", Some(joined(run.of(Part::Stt))));
        let start = began(run, self.before, self.exchange);
        let last = run.gists.last();
        let spoken = last.map_or(start, |last| spoken_at(last)).max(start);
        put(
            &mut fields,
            "sttMs",
            last.and_then(|last| number(last, "sttMs")),
        );
        let llm = self.after.and_then(|answer| answer.of(Part::Llm).next());
        let waited = llm
            .zip(last)
            .map(|(llm, last)| ms_between(end(last), llm.started_at));
        put(&mut fields, "endpointingMs", waited.map(|ms| ms.max(0.0)));
        for (member, field) in [("providers", "provider"), ("models", "model")] {
            let stt = last.and_then(|last| text(last, field));
            put(&mut fields, member, stt.map(|stt| json!({ "stt": stt })));
        }
        Turn {
            id: run.id(),
            speaker: Speaker::User,
            started_at: start,
            ended_at: Some(spoken),
            fields,
        }
    }

    fn agent(&self, run: &Run<'_>, earlier: &[Run<'_>], understood: &mut Understood) {
        let tts: Vec<&Gist> = run.of(Part::Tts).collect();
        let llm: Vec<&Gist> = run.of(Part::Llm).collect();
        let interrupted = self.cut_off_by(run);
        let audio = tts.iter().find_map(|gist| first_at(gist, "ttsMs"));
        let silent = |gist: &Gist| self.is_silent(gist, interrupted.is_some());
        let has_failed = |gist: &&Gist| gist.fields.contains_key("error");
        let mut fields = Map::new();
        let said = match joined(tts.iter().copied()) {
            said if said.is_empty() => llm
                .iter()
                .rev()
                .find_map(|gist| text(gist, "text"))
                .unwrap_or_default()
                .to_owned(),
            said => said,
        };
        let spoke = audio.is_some() || tts.iter().any(|gist| !silent(gist) && !has_failed(gist));
        let is_answer = !said.is_empty();
        put(&mut fields, "text", Some(said));
        put(&mut fields, "firstAudioMs", audio.map(super::super::moment));
        let generated = |gist: &&&Gist| !has_failed(gist) && gist.fields.contains_key("llmMs");
        put(
            &mut fields,
            "llmMs",
            llm.iter()
                .rev()
                .find(generated)
                .and_then(|gist| number(gist, "llmMs")),
        );
        put(&mut fields, "llmTotalMs", total(&llm));
        put(
            &mut fields,
            "ttsMs",
            tts.iter().find_map(|gist| number(gist, "ttsMs")),
        );
        put(&mut fields, "ttsTotalMs", total(&tts));
        put(
            &mut fields,
            "latencyMs",
            self.latency(run, earlier, audio.is_some()),
        );
        put(&mut fields, "interrupted", interrupted.map(|_| true));
        let failed = llm.iter().any(has_failed) && !is_answer || !tts.is_empty() && !spoke;
        put(&mut fields, "failed", failed.then_some(true));
        put(
            &mut fields,
            "llmCalls",
            listed(llm.iter().map(|gist| llm_call(gist))),
        );
        let calls = tts
            .iter()
            .map(|gist| tts_call(gist, silent(gist).then(|| json!({"suspected": true}))));
        put(&mut fields, "ttsCalls", listed(calls));
        self.providers(&llm, &tts, &mut fields);
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
        let first = run
            .gists
            .first()
            .map(|gist| gist.started_at)
            .unwrap_or_default();
        let start = audio
            .or(tts.first().map(|gist| gist.started_at))
            .unwrap_or(first);
        if let Some(at) = interrupted {
            let onset = self.broken_into(start, at);
            understood.besides.push(interruption(at, onset, run, &id));
        }
        understood.turns.push(Turn {
            id,
            speaker: Speaker::Agent,
            started_at: start,
            ended_at: Some(self.ended(run, interrupted).max(start)),
            fields,
        });
    }

    /// A synthesis that failed shows only by what it does not say.
    fn is_silent(&self, tts: &Gist, interrupted: bool) -> bool {
        let is_unheard = self.exchange.is_some_and(|exchange| {
            exchange.ended_at.is_some() && !exchange.fields.contains_key("latencyMs")
        });
        let is_odd = self.measures_speech || is_unheard;
        let is_told = tts.fields.contains_key("ttsMs") || tts.fields.contains_key("error");
        is_odd && !is_told && !interrupted && !is_set(tts, "interrupted")
    }

    /// When the user cut this answer off: it is the last of an exchange at whose end another one begins.
    fn cut_off_by(&self, run: &Run<'_>) -> Option<DateTime<Utc>> {
        let exchange = self
            .exchange
            .filter(|exchange| is_set(exchange, "cutOff"))?;
        let at = exchange.ended_at?;
        let is_last = self
            .after
            .is_none_or(|after| after.exchange() != run.exchange());
        let spoke = run.of(Part::Tts).next().is_some();
        (is_last && spoke && self.is_followed(exchange, at)).then_some(at)
    }

    /// When the user broke into an answer that was heard from `start` to `stop`: what is transcribed next began
    /// within it. Where it did not, nobody knows.
    fn broken_into(&self, start: DateTime<Utc>, stop: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let user = self.after.filter(|after| after.speaker == Speaker::User)?;
        onset(user).filter(|onset| (start..stop).contains(onset))
    }

    /// Whether another exchange begins where this one ends: then the user spoke.
    fn is_followed(&self, exchange: &Gist, at: DateTime<Utc>) -> bool {
        let mut others = self.exchanges.values();
        others.any(|other| {
            other.span_id != exchange.span_id
                && ms_between(at, other.started_at).abs() <= FOLLOWS_MS
        })
    }

    /// The exchange's latency is that of its first answer that was heard.
    fn latency(&self, run: &Run<'_>, earlier: &[Run<'_>], is_heard: bool) -> Option<f64> {
        let is_answer = self
            .before
            .is_some_and(|before| before.speaker == Speaker::User);
        let own = earlier
            .iter()
            .rev()
            .take_while(|other| other.exchange() == run.exchange());
        let is_answered = own.into_iter().any(|other| {
            other
                .of(Part::Tts)
                .any(|gist| gist.fields.contains_key("ttsMs"))
                && answers_in(earlier, other)
        });
        let exchange = self
            .exchange
            .filter(|_| is_answer && is_heard && !is_answered)?;
        number(exchange, "latencyMs")
    }

    /// When the answer had been spoken, which no span tells: synthesis is faster than speech.
    fn ended(&self, run: &Run<'_>, interrupted: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let made = run
            .gists
            .iter()
            .map(|gist| end(gist))
            .max()
            .unwrap_or_default();
        if let Some(at) = interrupted {
            return at;
        }
        // An exchange that nobody ended is over so long after the last word.
        let silence = self.exchange.and_then(|exchange| {
            let at = exchange.ended_at?;
            (!self.is_followed(exchange, at)).then(|| after(at, -TURN_END_MS))
        });
        let silence = silence.filter(|at| *at > made);
        let next = self.after.map(|next| self.begin_of(next, run));
        let next = next.filter(|at| *at > made);
        let spoke = run
            .of(Part::Tts)
            .any(|gist| gist.fields.contains_key("ttsMs"));
        match (silence, next) {
            _ if !spoke => made,
            (Some(at), Some(next)) => at.min(next),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => made,
        }
    }

    /// When what follows a run begins: the agent was heard until the user spoke, not until that was transcribed.
    fn begin_of(&self, next: &Run<'_>, run: &Run<'_>) -> DateTime<Utc> {
        let exchange = next
            .exchange()
            .and_then(|id| self.exchanges.get(id).copied());
        match next.speaker {
            Speaker::User => began(next, Some(run), exchange),
            Speaker::Agent => next
                .gists
                .first()
                .map(|gist| gist.started_at)
                .unwrap_or_default(),
        }
    }

    fn providers(&self, llm: &[&Gist], tts: &[&Gist], fields: &mut Map<String, Value>) {
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
}

/// When a user began to speak, as far as can be told.
fn began(user: &Run<'_>, before: Option<&Run<'_>>, exchange: Option<&Gist>) -> DateTime<Utc> {
    let first = user.gists.first();
    let start = first.map(|gist| gist.started_at).unwrap_or_default();
    // Spans without a length: the turn began when the user did, unless the agent spoke in it before.
    let opens = before.is_some_and(|before| before.exchange() != user.exchange());
    match exchange.filter(|_| opens && onset(user).is_none()) {
        Some(exchange) => start.min(exchange.started_at),
        None => start,
    }
}

/// When a user began to speak, if a span says so: one without a length only says when the words were there.
fn onset(user: &Run<'_>) -> Option<DateTime<Utc>> {
    let first = user.gists.first()?;
    (duration_ms(first) >= INSTANT_MS).then_some(first.started_at)
}

/// Whether a run answers a user, of the runs up to it.
fn answers_in(runs: &[Run<'_>], run: &Run<'_>) -> bool {
    let place = runs.iter().position(|other| std::ptr::eq(other, run));
    let before = place.and_then(|place| runs.get(place.checked_sub(1)?));
    before.is_some_and(|before| before.speaker == Speaker::User)
}

fn total(gists: &[&Gist]) -> Option<f64> {
    (!gists.is_empty()).then(|| gists.iter().map(|gist| duration_ms(gist)).sum())
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
