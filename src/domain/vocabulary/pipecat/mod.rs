//! The spans of Pipecat, of 1.x and of the names before it: a conversation, in it turns that are exchanges,
//! in these one span a transcript, a generation and an utterance. No span is a tool call: those stand in
//! the messages of the generation that follows.

mod clocks;
mod eager;
mod endings;
mod given;
mod heard;
mod pace;
mod realtime;
mod runs;
mod sentences;
mod speech;
#[cfg(test)]
mod tests;
mod tokens;
mod tools;
mod turns;
mod until;
mod withheld;
mod wordless;
mod workers;

use serde_json::{Map, Value};

use crate::domain::tokens::Cache;

use super::calls::{ms_between, put, read_failure, read_provider, read_usage};
use super::{Gist, Part, Said, Vocabulary};

pub use turns::interpret;
pub use wordless::interpret as without_words;

/// So long before the end of its span the clock of what was interrupted or failed is stopped, at most.
const CLOCK_STOPPED_WITHIN_MS: f64 = 50.0;
/// So long before the end of its span a clock that runs on is read, at most.
const CLOCK_READ_WITHIN_MS: f64 = 3.0;
/// A realtime service has one clock, which its transcriptions start and stop too: what it shows then is theirs, and less
/// than any response takes to begin.
const RESPONSE_MIN_MS: f64 = 1.0;

/// What one span says.
pub fn gist(span: &Said<'_>) -> Option<Gist> {
    let part = part(span)?;
    let mut gist = span.gist(Vocabulary::Pipecat, part);
    let fields = &mut gist.fields;
    match part {
        Part::Root => {
            read_failure(span, fields);
            let metadata = extra(span);
            if !metadata.is_empty() {
                gist.session.insert("metadata".to_owned(), metadata.into());
            }
        }
        Part::Exchange => {
            let latency = span.seconds_as_ms("turn.user_bot_latency_seconds");
            put(fields, "latencyMs", latency);
            put(fields, "cutOff", span.flag("turn.was_interrupted"));
            put(fields, "atEnd", span.flag("turn.ended_by_conversation_end"));
        }
        Part::Stt => {
            read_provider(span, fields);
            if let Some(provider) = who_hears_itself(span) {
                put(fields, "provider", Some(provider));
            }
            put(fields, "text", span.text("transcript"));
            put(fields, "sttMs", span.seconds_as_ms("metrics.ttfb"));
            clocks::read(span, fields);
            put(fields, "audioSeconds", span.number("metrics.audio_seconds"));
            // Then its end is the decision that the user had spoken, not when the words were there.
            let is_open = span.flag("stt.incomplete") == Some(true);
            put(fields, runs::LEFT_OPEN, is_open.then_some(true));
            let is_outspoken = !is_open && is_outspoken(span, fields);
            put(fields, runs::OUTSPOKEN, is_outspoken.then_some(true));
            let language = span.term(&["language", "settings.language"]);
            put(&mut gist.session, "language", language);
            read_failure(span, fields);
        }
        Part::Llm => {
            read_provider(span, fields);
            read_usage(span, cache(span), fields);
            if let (Some(thought), Some(written)) = (
                thought_beside(span),
                fields.get("completionTokens").and_then(Value::as_u64),
            ) {
                put(fields, "completionTokens", Some(written + thought));
            }
            put(fields, "text", span.first_text(&["output", "transcript"]));
            read_failure(span, fields);
            put(fields, "llmMs", first_token_ms(span, fields));
            put(
                fields,
                heard::WAITED_FOR,
                is_waited_for(span, fields).then_some(true),
            );
            clocks::read(span, fields);
            let messages = given::messages(span);
            tools::read_messages(&messages, fields);
            let is_asked = given::is_asked_anew(&messages);
            put(fields, runs::ASKED, is_asked.then_some(true));
            eager::read(given::asked_for(&messages).filter(|_| is_asked), fields);
            sentences::read(span, fields);
            withheld::read(span, fields);
            if span.name == "llm_response" {
                realtime::read(span, fields);
            }
        }
        Part::LlmAttempt => tools::read_messages(&given::messages(span), fields),
        Part::Tts => {
            read_provider(span, fields);
            put(fields, "text", span.text("text"));
            read_failure(span, fields);
            let first_byte_ms = first_byte_ms(span, fields);
            let is_unheard = first_byte_ms.is_none() && span.has("metrics.ttfb");
            put(fields, "ttsMs", first_byte_ms);
            put(fields, "unheard", is_unheard.then_some(true));
            put(
                fields,
                "characters",
                span.count(&["metrics.character_count"]),
            );
            put(fields, "interrupted", span.flag("tts.interrupted"));
            let voice = span.term(&["voice_id", "settings.voice"]);
            put(&mut gist.session, "voice", voice);
        }
        Part::Tool => tools::read(span, fields),
        _ => {}
    }
    Some(gist)
}

/// Models that transcribe what they hear, as their transcripts call them: by the class of the service, not by who
/// provides it.
const HEAR_THEMSELVES: [(&str, &str); 4] = [
    ("openairealtimellmservice", "openai"),
    ("azurerealtimellmservice", "azure"),
    ("geminilivellmservice", "gcp.gemini"),
    ("geminilivevertexllmservice", "gcp.vertex_ai"),
];

fn who_hears_itself(span: &Said<'_>) -> Option<&'static str> {
    let told = span.term(&PROVIDERS)?;
    let known = HEAR_THEMSELVES.iter().find(|(class, _)| *class == told);
    known.map(|(_, provider)| *provider)
}

fn part(span: &Said<'_>) -> Option<Part> {
    let by_name = match span.name {
        "conversation" => Part::Root,
        "turn" => Part::Exchange,
        "stt" => Part::Stt,
        "llm" | "llm_response" => Part::Llm,
        // What a realtime model was asked; what came of it is told when it is over.
        "llm_request" => Part::LlmAttempt,
        "tts" => Part::Tts,
        "llm_tool_call" | "llm_tool_result" => Part::Tool,
        _ => match span.text("gen_ai.operation.name") {
            Some("stt") => Part::Stt,
            Some("chat") if !span.name.starts_with("llm_") => Part::Llm,
            Some("tts") => Part::Tts,
            _ => Part::Other,
        },
    };
    (by_name != Part::Stt || !is_interim(span)).then_some(by_name)
}

/// Whether it is what a transcriber only supposes for now, and says again: such spans have no length. One that has
/// is all that was said in a while, though the transcriber never called it final.
fn is_interim(span: &Said<'_>) -> bool {
    let length = span.ended_at.map(|end| end - span.started_at);
    span.flag("is_final") == Some(false) && length.is_none_or(|length| length < runs::INSTANT)
}

/// Whether its last words were there while the user spoke on: it ends with them, and they were in answer to nothing that
/// could be measured.
fn is_outspoken(span: &Said<'_>, told: &Map<String, Value>) -> bool {
    let length = span.ended_at.map(|end| end - span.started_at);
    span.flag("is_final") == Some(false)
        && !told.contains_key("sttMs")
        && length.is_some_and(|length| length >= runs::INSTANT)
}

/// How long the first byte of a synthesis took.
fn first_byte_ms(span: &Said<'_>, told: &Map<String, Value>) -> Option<f64> {
    let first_ms = span.seconds_as_ms("metrics.ttfb")?;
    let is_stopped = span.flag("tts.interrupted") == Some(true) || told.contains_key("error");
    let never_came = is_stopped && is_length(span, first_ms, CLOCK_STOPPED_WITHIN_MS);
    (!never_came).then_some(first_ms)
}

/// How long the first token of a generation took. No span says that one was interrupted: it has neither brought nor
/// used anything then.
fn first_token_ms(span: &Said<'_>, told: &Map<String, Value>) -> Option<f64> {
    let first_ms = span.seconds_as_ms("metrics.ttfb")?;
    let is_told = heard::has_come(told);
    match span.name == "llm_response" {
        true => (first_ms >= RESPONSE_MIN_MS).then_some(first_ms),
        false => {
            (is_told || !is_length(span, first_ms, CLOCK_STOPPED_WITHIN_MS)).then_some(first_ms)
        }
    }
}

/// Whether the clock of a generation ran to the end of its span, so that nothing of it had come until then. A tool may be
/// called in less than it takes to stop a clock.
fn is_waited_for(span: &Said<'_>, told: &Map<String, Value>) -> bool {
    let shown = span.seconds_as_ms("metrics.ttfb");
    let ran_on = shown.is_some_and(|ms| is_length(span, ms, CLOCK_READ_WITHIN_MS));
    span.name != "llm_response" && !heard::has_come(told) && ran_on
}

/// Whether a clock shows the length of its span: an interruption or a failure stops the clock of what has not come.
fn is_length(span: &Said<'_>, ms: f64, within_ms: f64) -> bool {
    let length_ms = span.ended_at.map(|end| ms_between(span.started_at, end));
    length_ms.is_some_and(|length| ms > length - within_ms)
}

const PROVIDERS: [&str; 2] = ["gen_ai.provider.name", "gen_ai.system"];
/// Providers whose counts Pipecat hands on as they are, and which count beside the rest what came from a cache.
const CACHE_BESIDE: [&str; 3] = ["anthropic", "aws.bedrock", "awsbedrock"];

fn cache(span: &Said<'_>) -> Cache {
    let provider = span.term(&PROVIDERS);
    match provider.is_some_and(|provider| CACHE_BESIDE.contains(&provider)) {
        true => Cache::Beside,
        false => Cache::Within,
    }
}

/// Of whose models Pipecat handed on what they wrote and what they thought as they count it, beside each other, before
/// it summed them up.
const THOUGHT_BESIDE: [&str; 2] = ["gcp.gemini", "gcp.vertex_ai"];
/// Only versions that sum nothing up know what was thought by this name.
const THOUGHT: &str = "gen_ai.usage.reasoning_tokens";

/// The tokens of thoughts that are not among what was written. By their other name they are, unless they are more.
fn thought_beside(span: &Said<'_>) -> Option<u64> {
    let is_theirs = |provider: &&str| THOUGHT_BESIDE.contains(provider);
    span.term(&PROVIDERS).filter(is_theirs)?;
    let written = span.count(&["gen_ai.usage.output_tokens", "tokens.completion"])?;
    let more = || {
        span.count(&["gen_ai.usage.reasoning.output_tokens"])
            .filter(|thought| *thought > written)
    };
    span.count(&[THOUGHT]).or_else(more)
}

/// What an application adds to the conversation.
fn extra(span: &Said<'_>) -> Map<String, Value> {
    let own = ["conversation.id", "conversation.type"];
    let added = span
        .attributes()
        .filter(|(name, _)| !own.contains(&name.as_str()));
    added
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
