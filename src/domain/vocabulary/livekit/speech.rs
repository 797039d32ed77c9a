//! What the agent said: a turn from a speech, and its tools.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::domain::event::Kind;
use crate::domain::tokens;
use crate::domain::turn::Speaker;
use crate::domain::vocabulary::{Beside, Gist, Part, Turn, moment};

use super::super::calls::{duration_ms, end, first_at, number, put};
use super::failures;
use super::failures::{Failures, has_failed};
use super::interruptions::is_stopped;
use super::read::{BESIDE, FAILURE, SPOKEN, TOP};
use super::tree::{Speech, Tree, is_step, node};

/// Texts of one speech's steps are said one behind the other.
const BETWEEN_STEPS: &str = " ";

/// `is_aloud` says whether answers of this session are spoken.
pub fn turn<'a>(
    speech: &Speech<'a>,
    tree: &Tree<'a>,
    failures: &Failures<'_>,
    is_aloud: bool,
) -> Turn {
    let audio = speech.audio();
    // A speech that is still going on has no span of its own yet, nor has its sound before it ends.
    let is_over = speech.is_over();
    let begun_at = first_byte_at(speech, tree).filter(|_| !is_over);
    let heard_at = audio.map(|(start, _)| start).or(begun_at);
    let is_made = is_over || heard_at.is_some() || !is_aloud;
    let text = text(speech, tree).filter(|_| is_made);
    let mut fields = Map::new();
    let is_silent = heard_at.is_none() && text.is_none();
    // What its span says was generated, and nobody heard it where the voice failed before its first sound.
    let is_unspoken = is_over && heard_at.is_none() && has_lost_voice(speech);
    let is_mute = is_silent && has_brought_nothing(speech);
    let failed = is_mute || (is_silent || is_unspoken) && failures.is_fatal_in(speech);
    put(&mut fields, "failed", failed.then_some(true));
    // It did no more than call tools, or has said nothing yet.
    let nothing = (is_silent && !failed).then(String::new);
    put(&mut fields, "text", text.or(nothing));
    for name in ["latencyMs", "sttMs", "endpointingMs", "callbackMs"] {
        put(&mut fields, name, speech.wait(name));
    }
    let sounds = speech.syntheses(tree).filter(|gist| !tree.is_beside(gist));
    let audio_ms = ms_of(sounds, "audioMs");
    if speech.flag("interrupted") {
        put(&mut fields, "playedMs", speech.number("playedMs"));
        let is_given_up = audio.is_none() && !failed;
        put(&mut fields, "cancelled", is_given_up.then_some(true));
    }
    put(
        &mut fields,
        "audioMs",
        audio_ms.filter(|_| is_over && !is_stopped(speech)),
    );
    put(&mut fields, "firstAudioMs", heard_at.map(moment));
    let segments: Vec<Value> = speech
        .of(Part::AgentSpeech)
        .map(|gist| json!({"startMs": moment(gist.started_at), "endMs": moment(end(gist))}))
        .collect();
    put(
        &mut fields,
        "segments",
        (segments.len() > 1).then_some(segments),
    );
    generations(speech, tree, &mut fields);
    syntheses(speech, tree, &mut fields);
    stages(speech, tree, &mut fields);
    let mut metadata = Map::new();
    put(&mut metadata, "endOfTurnMs", speech.wait("endOfTurnMs"));
    let stopped_by = speech.text("stoppedBy").filter(|_| is_stopped(speech));
    put(&mut metadata, "stoppedBy", stopped_by);
    put(
        &mut fields,
        "metadata",
        (!metadata.is_empty()).then_some(metadata),
    );
    Turn {
        id: speech.id.clone(),
        speaker: Speaker::Agent,
        started_at: heard_at.unwrap_or_else(|| speech.started_at()),
        ended_at: match audio {
            Some((_, end)) => Some(end),
            None => is_over.then(|| speech.ended_at()),
        },
        fields,
    }
}

/// Whether its model came to an end without a word, nor called a tool: nobody had stopped it.
fn has_brought_nothing(speech: &Speech<'_>) -> bool {
    let is_whole = |gist: &Gist| {
        let is_told = |name: &str| gist.fields.contains_key(name);
        // Of a tool that nobody knows there is no span.
        let reason = gist.fields.get("finishReason").and_then(Value::as_str);
        let calls = reason.is_some_and(|reason| reason.contains("tool"));
        !has_failed(gist)
            && !is_told("cancelled")
            && !calls
            && (is_told("usage") || is_told("finishReason"))
    };
    let is_idle = speech.of(Part::Tool).next().is_none();
    !speech.turns.is_empty()
        && !speech.flag("interrupted")
        && is_idle
        && speech.of(Part::Llm).last().is_some_and(is_whole)
}

fn has_lost_voice(speech: &Speech<'_>) -> bool {
    let is_voice = |gist: &Gist| matches!(gist.part, Part::Tts | Part::TtsAttempt);
    let mut voices = speech.parts.iter().filter(|gist| is_voice(gist));
    voices.any(|gist| has_failed(gist))
}

/// When the first of it was synthesised.
fn first_byte_at<'a>(speech: &Speech<'a>, tree: &Tree<'a>) -> Option<DateTime<Utc>> {
    let syntheses = speech.of(Part::Tts).filter(|gist| !tree.is_beside(gist));
    syntheses.filter_map(|gist| first_at(gist, "ttsMs")).min()
}

/// What was said; of a speech that is still going on, what was generated.
fn text<'a>(speech: &Speech<'a>, tree: &Tree<'a>) -> Option<String> {
    let texts: Vec<&str> = match speech.turns.is_empty() {
        true if speech.is_say => spoken(speech, tree),
        true => speech.parts.iter().filter_map(|part| said(part)).collect(),
        false => speech
            .turns
            .iter()
            .flat_map(|turn| said_in(turn, speech, tree))
            .collect(),
    };
    (!texts.is_empty()).then(|| texts.join(BETWEEN_STEPS))
}

/// What was to be spoken, as it was handed in.
fn spoken<'a>(speech: &Speech<'a>, tree: &Tree<'a>) -> Vec<&'a str> {
    let is_first = |gist: &&Gist| !tree.ancestors(gist).any(|above| above.part == Part::Tts);
    let requests = speech.of(Part::Tts).filter(is_first);
    requests
        .filter_map(|gist| gist.fields.get(SPOKEN)?.as_str())
        .collect()
}

/// What was said in one span of a speech. It tells what was said last; what was said before that, to bridge the time
/// of a tool, is told by the steps that generated it.
fn said_in<'a>(turn: &'a Gist, speech: &Speech<'a>, tree: &Tree<'a>) -> Vec<&'a str> {
    let Some(last) = said(turn) else {
        return Vec::new();
    };
    let below = tree.children(turn).iter().copied();
    let steps: Vec<&Gist> = below
        .filter(|gist| is_step(gist) && said(gist).is_some() && speech.has(gist))
        .collect();
    let until = steps
        .iter()
        .skip(1)
        .map(|step| step.started_at)
        .chain([end(turn)]);
    let heard = steps
        .iter()
        .zip(until)
        .filter(|(step, until)| !speech.has_audio() || speech.is_heard(step.started_at, *until));
    let mut texts: Vec<&str> = heard.filter_map(|(step, _)| said(step)).collect();
    // What was cut off is the beginning of what was generated.
    let place = texts.iter().rposition(|text| text.starts_with(last));
    texts.truncate(place.unwrap_or(texts.len().saturating_sub(1)));
    texts.push(last);
    texts
}

pub fn said(gist: &Gist) -> Option<&str> {
    let text = gist.fields.get("text")?.as_str()?.trim();
    (!text.is_empty()).then_some(text)
}

fn ms_of<'a>(gists: impl Iterator<Item = &'a Gist>, name: &str) -> Option<f64> {
    let values = gists.filter_map(|gist| number(gist, name));
    values.reduce(|sum, ms| sum + ms)
}

/// The calls of language models: one for each attempt, the last of them with what it brought.
fn generations<'a>(speech: &Speech<'a>, tree: &Tree<'a>, fields: &mut Map<String, Value>) {
    let mut calls = Vec::new();
    for discarded in speech
        .discarded
        .iter()
        .filter(|gist| gist.part == Part::Llm)
    {
        let mut call = call(discarded);
        result(discarded, &mut call);
        put(&mut call, "cancelled", Some(true));
        calls.push(call);
    }
    let attempts: Vec<&'a Gist> = speech.of(Part::LlmAttempt).collect();
    let request_of =
        |attempt: &&'a Gist| tree.ancestors(attempt).find(|gist| gist.part == Part::Llm);
    for request in speech.of(Part::Llm) {
        let own = attempts
            .iter()
            .filter(|attempt| request_of(attempt).is_some_and(|gist| std::ptr::eq(gist, request)));
        let mut own: Vec<Map<String, Value>> = own.map(|attempt| call(attempt)).collect();
        if own.is_empty() {
            own.push(call(request));
        }
        if tree.is_beside(request) {
            for call in &mut own {
                put(call, BESIDE, Some(true));
            }
        }
        if let Some(last) = own.last_mut()
            && !last.contains_key("error")
        {
            result(request, last);
        }
        calls.append(&mut own);
    }
    let pending = attempts
        .iter()
        .filter(|attempt| request_of(attempt).is_none());
    calls.extend(pending.map(|attempt| call(attempt)));
    calls.sort_by_cached_key(|call| call.get("startMs").map(Value::to_string));
    let own = || calls.iter().filter(|call| !call.contains_key(BESIDE));
    let failed = own().filter(|call| call.contains_key("error")).count();
    put(
        fields,
        "retries",
        (failed > 0 && failed < own().count()).then_some(failed),
    );
    let reason = own().rev().find_map(|call| call.get("finishReason"));
    put(fields, "finishReason", reason.cloned());
    put(fields, "llmCalls", (!calls.is_empty()).then_some(calls));
    put(fields, "llmMs", first_token_ms(speech, tree));
    let requests = requests(speech, tree).map(duration_ms);
    put(fields, "llmTotalMs", requests.reduce(|sum, ms| sum + ms));
}

/// The generations that were made for the answer.
fn requests<'a>(speech: &Speech<'a>, tree: &Tree<'a>) -> impl Iterator<Item = &'a Gist> {
    speech.of(Part::Llm).filter(|gist| !tree.is_beside(gist))
}

/// How long the first token took of the generation that made what was heard first: the last of those that had begun
/// by then, or of all where nothing was heard.
fn first_token_ms<'a>(speech: &Speech<'a>, tree: &Tree<'a>) -> Option<f64> {
    let heard_at = speech.audio().map(|(start, _)| start);
    let is_in_time = |gist: &&Gist| heard_at.is_none_or(|at| gist.started_at < at);
    let first = |gist: &Gist| number(gist, "llmMs");
    let steps = speech.steps().filter(is_in_time);
    let requests = requests(speech, tree).filter(is_in_time);
    let of_step = steps.filter_map(first).last();
    of_step.or_else(|| requests.filter_map(first).last())
}

/// When a call ran, of which model, and how it failed if it did.
fn call(gist: &Gist) -> Map<String, Value> {
    let mut call = Map::new();
    put(&mut call, "startMs", Some(moment(gist.started_at)));
    put(&mut call, "endMs", gist.ended_at.map(moment));
    for name in ["provider", "model", "attempt"] {
        put(&mut call, name, gist.fields.get(name).cloned());
    }
    put(&mut call, "error", gist.fields.get(FAILURE).cloned());
    call
}

/// What a request used, and of which model.
pub fn used(request: &Gist) -> Value {
    let mut used = Map::new();
    for name in ["provider", "model"] {
        put(&mut used, name, request.fields.get(name).cloned());
    }
    put_counts(request, &mut used);
    used.into()
}

fn put_counts(request: &Gist, call: &mut Map<String, Value>) {
    if let Some(Value::Object(usage)) = request.fields.get("usage") {
        for name in tokens::names() {
            put(call, name, usage.get(name).cloned());
        }
    }
}

/// What a request brought: it counts from its own start, whichever attempt was the good one.
fn result(request: &Gist, call: &mut Map<String, Value>) {
    put(call, "firstTokenMs", first_at(request, "llmMs").map(moment));
    for name in ["provider", "model", "finishReason", "cancelled"] {
        put(call, name, request.fields.get(name).cloned());
    }
    put_counts(request, call);
}

/// The calls of speech synthesis, one for each sentence. One that brought nothing and did not fail was
/// asked for nothing.
fn syntheses<'a>(speech: &Speech<'a>, tree: &Tree<'a>, fields: &mut Map<String, Value>) {
    let brought = |gist: &Gist| {
        ["ttsMs", "audioMs", "characters"]
            .iter()
            .any(|name| gist.fields.contains_key(*name))
    };
    let mut calls = Vec::new();
    let failed = speech.of(Part::TtsAttempt).filter(|gist| has_failed(gist));
    let failed: Vec<&'a Gist> = failed.collect();
    for request in speech.syntheses(tree) {
        let is_told = failed.iter().any(|attempt| {
            tree.parent(attempt)
                .is_some_and(|parent| std::ptr::eq(parent, request))
        });
        if !brought(request) && (!has_failed(request) || is_told) {
            continue;
        }
        let mut call = call(request);
        let heard_at = first_at(request, "ttsMs");
        put(&mut call, "firstByteMs", heard_at.map(moment));
        for name in ["audioMs", "characters", BESIDE] {
            put(&mut call, name, request.fields.get(name).cloned());
        }
        calls.push(call);
    }
    calls.extend(failed.iter().map(|attempt| {
        let mut call = call(attempt);
        put(&mut call, BESIDE, tree.is_beside(attempt).then_some(true));
        call
    }));
    for call in &mut calls {
        call.remove("attempt");
    }
    calls.sort_by_cached_key(|call| call.get("startMs").map(Value::to_string));
    put(fields, "ttsCalls", (!calls.is_empty()).then_some(calls));
    let nodes = || {
        let nodes = speech.parts.iter().filter(|gist| node(gist) == Some("tts"));
        nodes.filter(|gist| gist.fields.contains_key(TOP))
    };
    let first = nodes().find_map(|gist| number(gist, "ttsMs"));
    let mut own = speech.of(Part::Tts).filter(|gist| !tree.is_beside(gist));
    let first = first.or_else(|| own.find_map(|gist| number(gist, "ttsMs")));
    put(fields, "ttsMs", first);
    // A node below which nothing was synthesised only waited for text that never came.
    let is_at_work = |gist: &&&Gist| {
        speech.of(Part::Tts).any(|request| {
            brought(request)
                && tree
                    .ancestors(request)
                    .any(|above| std::ptr::eq(above, **gist))
        })
    };
    let total = nodes()
        .filter(is_at_work)
        .map(|gist| duration_ms(gist))
        .reduce(|sum, ms| sum + ms);
    put(fields, "ttsTotalMs", total);
}

fn stages(speech: &Speech<'_>, tree: &Tree<'_>, fields: &mut Map<String, Value>) {
    let (mut models, mut providers) = (Map::new(), Map::new());
    let own = speech.parts.iter().filter(|gist| !tree.is_beside(gist));
    for gist in own {
        if let Some(stage) = gist.fields.get("stage").and_then(Value::as_str) {
            for (into, name) in [(&mut models, "model"), (&mut providers, "provider")] {
                if let Some(value) = gist.fields.get(name) {
                    into.insert(stage.to_owned(), value.clone());
                }
            }
        }
    }
    put(fields, "models", (!models.is_empty()).then_some(models));
    put(
        fields,
        "providers",
        (!providers.is_empty()).then_some(providers),
    );
    let all: Vec<&Gist> = speech
        .parts
        .iter()
        .chain(&speech.discarded)
        .copied()
        .collect();
    let usage = usage(&all, tree);
    put(fields, "usage", (!usage.is_empty()).then_some(usage));
}

/// Tokens and characters, counted on the level of requests only.
pub fn usage(gists: &[&Gist], tree: &Tree<'_>) -> Map<String, Value> {
    let mut usage = Map::new();
    for name in tokens::names() {
        let requests = gists.iter().filter(|gist| gist.part == Part::Llm);
        let counts = requests.filter_map(|gist| gist.fields.get("usage")?.get(name)?.as_f64());
        put(&mut usage, name, counts.reduce(|sum, count| sum + count));
    }
    let requests = gists
        .iter()
        .filter(|gist| gist.part == Part::Tts && !tree.is_adapter(gist));
    let characters = requests.filter_map(|gist| gist.fields.get("characters")?.as_f64());
    put(
        &mut usage,
        "ttsCharacters",
        characters.reduce(|sum, count| sum + count),
    );
    usage
}

/// All tool calls, and those that failed once more as errors.
pub fn tools(gists: &[&Gist], turn_of: impl Fn(&Gist) -> Option<String>) -> Vec<Beside> {
    let mut told = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    for tool in super::of(gists, Part::Tool) {
        let turn = turn_of(tool);
        let mut fields = tool.fields.clone();
        // Some models count their calls from one again in each answer.
        let stated = fields.get("callId").and_then(Value::as_str);
        let stated = stated.unwrap_or(&tool.span_id).to_owned();
        if !ids.insert(stated.clone()) {
            put(
                &mut fields,
                "callId",
                Some(format!("{stated}:{}", tool.span_id)),
            );
        }
        for name in ["agentName", "agentLabel", "service"] {
            fields.remove(name);
        }
        put(&mut fields, "startMs", Some(moment(tool.started_at)));
        put(&mut fields, "endMs", tool.ended_at.map(moment));
        told.extend(failures::of_tool(tool, turn.clone()));
        told.push(super::beside(Kind::ToolCall, "tool", tool, turn, fields));
    }
    told
}
