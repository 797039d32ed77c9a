//! The spans of Langfuse's SDKs, and what came through Langfuse's own events in the same attributes.
//!
//! Langfuse knows traces and sorts of observations but neither speakers nor speech: the root of a trace is
//! an exchange, a `generation` a language model, a `tool` a tool, and what transcribes or speaks is told
//! by its name. Values are JSON within texts, some of them quoted twice.

use chrono::DateTime;
use serde_json::{Map, Value};

use crate::domain::json;
use crate::domain::price;
use crate::domain::span::TRACE_ITSELF;

use super::called;
use super::calls::{ms_between, put, tool_value};
use super::messages::{Asked, content};
use super::parts;
use super::span::{LANGFUSE_ENVIRONMENT, LANGFUSE_RELEASE, parsed, said};
use super::{Gist, Part, Said, Understood, Vocabulary, exchange, genai, openinference};

const OBSERVATION: &str = "langfuse.observation.";
const SORT: &str = "langfuse.observation.type";
const TRACE_METADATA: &str = "langfuse.trace.metadata.";
const OBSERVATION_METADATA: &str = "langfuse.observation.metadata.";
/// Marks of the observation that an application began with, whatever called it.
const ROOTS: [&str; 2] = ["langfuse.internal.is_app_root", "langfuse.internal.as_root"];
const ERROR: &str = "ERROR";
/// What of a trace's metadata is a field of its own, or speaks of one turn only.
const SPOKEN_FOR: [&str; 4] = ["agent", "transport", "turn", "interrupted"];
const METADATA_MAX: usize = 50;

/// What one span says.
pub fn gist(span: &Said<'_>) -> Option<Gist> {
    let part = part(span);
    let mut gist = span.gist(Vocabulary::Langfuse, part);
    let fields = &mut gist.fields;
    parts::read(span, part, fields);
    match part {
        Part::Root | Part::Exchange => {
            read_exchange(span, fields);
            let is_by_place = part == Part::Exchange && is_by_place(span, fields);
            put(fields, traces::BY_PLACE, is_by_place.then_some(true));
        }
        Part::Llm => read_generation(span, fields),
        Part::Tool => {
            put(
                fields,
                "arguments",
                observed(span, "input").map(|value| parts::called_with(tool_value(&value))),
            );
            put(
                fields,
                "result",
                observed(span, "output").map(|value| tool_value(&value)),
            );
        }
        Part::Stt => read_transcript(span, fields),
        Part::Tts => read_speech(span, fields),
        _ => {}
    }
    put(fields, "costUsd", cost_usd(span));
    let level = span.text("langfuse.observation.level").unwrap_or_default();
    if level.eq_ignore_ascii_case(ERROR) {
        let message = observed(span, "status_message");
        let message = message.as_ref().and_then(Value::as_str).unwrap_or("failed");
        fields.insert("error".to_owned(), Value::from(message));
        // Some clients hand on as the output what went wrong.
        let is_error = |text: &Value| text.as_str().map(str::trim) == Some(message.trim());
        if fields.get("text").is_some_and(is_error) {
            fields.remove("text");
        }
    }
    gist.session = session(span);
    Some(gist)
}

fn part(span: &Said<'_>) -> Part {
    if span.span_id == TRACE_ITSELF {
        return Part::Root;
    }
    let named = parts::by_name(span.name);
    let speech = named.filter(|part| matches!(part, Part::Stt | Part::Tts));
    let is_root = span.parent.is_none() || is_marked(span);
    if let Some(part) = by_convention(span) {
        return part;
    }
    match sort(span).as_str() {
        "generation" => speech.unwrap_or(Part::Llm),
        "tool" => Part::Tool,
        "agent" | "chain" => Part::Exchange,
        "span" if speech.is_some() => speech.unwrap_or(Part::Other),
        "span" if is_root || named == Some(Part::Exchange) => Part::Exchange,
        _ => Part::Other,
    }
}

/// What other conventions say that a span is, where it does not say what sort of observation it is.
fn by_convention(span: &Said<'_>) -> Option<Part> {
    let part = match span {
        _ if span.has(SORT) => return None,
        _ if span.has("openinference.span.kind") => openinference::part(span),
        _ if span.has("gen_ai.operation.name") => genai::part(span),
        _ => return None,
    };
    (part != Part::Other).then_some(part)
}

fn sort(span: &Said<'_>) -> String {
    let sort = span.text(SORT).unwrap_or("span");
    sort.to_ascii_lowercase()
}

fn is_marked(span: &Said<'_>) -> bool {
    ROOTS.iter().any(|mark| span.flag(mark) == Some(true))
}

/// Whether nothing but its place makes an exchange of it: that there is nothing above it.
fn is_by_place(span: &Said<'_>, fields: &Map<String, Value>) -> bool {
    let is_named = parts::by_name(span.name) == Some(Part::Exchange);
    sort(span) == "span"
        && by_convention(span).is_none()
        && !is_named
        && !is_marked(span)
        && !fields.contains_key("isTurn")
}

/// An attribute of the observation, JSON within its text taken out.
fn observed(span: &Said<'_>, name: &str) -> Option<Value> {
    span.json(&format!("{OBSERVATION}{name}"))
}

/// A member of the observation's own metadata, else of what it took in or gave.
fn told(span: &Said<'_>, name: &str) -> Option<Value> {
    let metadata = || {
        let own = span.json(&format!("{OBSERVATION_METADATA}{name}"))?;
        Some(match &own {
            Value::String(quoted) => unquoted(quoted),
            other => other.clone(),
        })
    };
    let member = |of: &str| observed(span, of)?.get(name).cloned();
    metadata()
        .or_else(|| member("output"))
        .or_else(|| member("input"))
}

fn told_text(span: &Said<'_>, name: &str) -> Option<String> {
    let value = told(span, name)?;
    value.as_str().map(str::to_owned)
}

fn told_number(span: &Said<'_>, names: &[&str]) -> Option<f64> {
    let mut numbers = names
        .iter()
        .filter_map(|name| super::span::number(&told(span, name)?));
    numbers.find(|number| *number >= 0.0)
}

/// A text without the quotes that some versions put around it.
fn unquoted(text: &str) -> Value {
    json::unpacked(text).unwrap_or_else(|| Value::from(text))
}

fn read_exchange(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let first = |names: [&str; 2], role: &str| {
        let mut values = names.iter().filter_map(|name| span.json(name));
        values.find_map(|value| spoken(&value, role))
    };
    let input = ["langfuse.observation.input", "langfuse.trace.input"];
    let output = ["langfuse.observation.output", "langfuse.trace.output"];
    put(fields, "userText", first(input, "user"));
    put(fields, "text", first(output, "assistant"));
    if told(span, "turn_index").is_some() || told(span, "turn").is_some() {
        fields.insert("isTurn".to_owned(), Value::Bool(true));
    }
    let flag = |name: String| match span.json(&name)? {
        Value::Bool(flag) => Some(flag),
        Value::String(text) => unquoted(&text).as_bool().or_else(|| {
            let inner = unquoted(&text);
            Some(inner.as_str()?.eq_ignore_ascii_case("true"))
        }),
        _ => None,
    };
    let interrupted = flag(format!("{OBSERVATION_METADATA}interrupted"))
        .or_else(|| flag(format!("{TRACE_METADATA}interrupted")));
    put(fields, "interrupted", interrupted.filter(|is| *is));
}

fn read_generation(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let input = observed(span, "input");
    let told = input
        .as_ref()
        .map(|input| parts::only_argument(input).unwrap_or(input));
    if let Some(asked) = told.and_then(|told| asked(span, told)) {
        asked.write(fields);
    }
    let output = observed(span, "output");
    called::read_whole(told, output.as_ref(), fields);
    put(
        fields,
        "text",
        output.and_then(|value| spoken(&value, "assistant")),
    );
    read_model(span, fields);
    put(fields, "llmMs", first_output_ms(span));
    let Some(Value::Object(usage)) = observed(span, "usage_details") else {
        return;
    };
    fields.extend(price::counts(&usage));
}

/// What a generation was asked: OpenAI's responses may be asked by a text alone. Below another observation such a text may
/// be anything that the application made of the user's words.
fn asked(span: &Said<'_>, told: &Value) -> Option<Asked> {
    let is_root = span.parent.is_none() || is_marked(span);
    let text = || said(told).filter(|_| is_root);
    Asked::in_list(told).or_else(|| Some(Asked::alone(text()?.to_owned())))
}

fn read_transcript(span: &Said<'_>, fields: &mut Map<String, Value>) {
    put(
        fields,
        "text",
        observed(span, "output").and_then(|value| spoken(&value, "user")),
    );
    read_model(span, fields);
    put(
        fields,
        "confidence",
        told_number(span, &["confidence"]).filter(|share| *share <= 1.0),
    );
    put(
        fields,
        "audioSeconds",
        told_number(span, &["audio_seconds", "audio_duration"]),
    );
}

fn read_speech(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let given = observed(span, "input").and_then(|value| spoken(&value, "assistant"));
    let characters = given.as_ref().map(|text| text.chars().count());
    let stated = told_number(span, &["characters", "character_count"]).map(|count| count as usize);
    put(fields, "characters", stated.or(characters));
    put(fields, "text", given);
    read_model(span, fields);
    put(fields, "voice", told_text(span, "voice"));
    put(
        fields,
        "ttsMs",
        told_number(span, &["ttfb_ms"]).or_else(|| first_output_ms(span)),
    );
}

/// Who did it: as the observation says, else as its metadata does.
fn read_model(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let own = observed(span, "model.name");
    let own = own.as_ref().and_then(Value::as_str).map(str::to_owned);
    put(fields, "model", own.or_else(|| told_text(span, "model")));
    put(fields, "provider", told_text(span, "provider"));
}

/// Milliseconds until the first part of the output, whose time is quoted twice.
fn first_output_ms(span: &Said<'_>) -> Option<f64> {
    let text = span.text("langfuse.observation.completion_start_time")?;
    let at = DateTime::parse_from_rfc3339(text.trim_matches('"')).ok()?;
    Some(ms_between(span.started_at, at.to_utc())).filter(|ms| *ms >= 0.0)
}

/// What the observation cost: the stated total, else the sum of its parts.
fn cost_usd(span: &Said<'_>) -> Option<f64> {
    let Value::Object(costs) = observed(span, "cost_details")? else {
        return None;
    };
    let sound = |value: &Value| super::span::number(value).filter(|usd| (0.0..=1e5).contains(usd));
    match costs.get("total") {
        Some(total) => sound(total),
        None => costs.values().filter_map(sound).reduce(|a, b| a + b),
    }
}

/// What one side said: the last message of that side, or what is no list of messages at all.
fn spoken(value: &Value, role: &str) -> Option<String> {
    let list = value.get("messages").unwrap_or(value);
    let messages = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let has_role = |message: &&Value| message.get("role").is_some();
    if messages.iter().any(|message| has_role(&message)) {
        let own = messages
            .iter()
            .rev()
            .filter(|m| m["role"].as_str() == Some(role));
        return own.clone().find_map(content);
    }
    if let Some(message) = value.pointer("/choices/0/message") {
        return content(message);
    }
    if let Some(only) = parts::only_argument(value) {
        return spoken(only, role);
    }
    // A message that only calls a tool says nothing.
    content(value).or_else(|| {
        let names = [
            "output",
            "answer",
            "response",
            "input",
            "question",
            "utterance",
        ];
        names.iter().find_map(|name| content(value.get(*name)?))
    })
}

/// What a span says of its session, beside what every vocabulary may say.
fn session(span: &Said<'_>) -> Map<String, Value> {
    let mut session = Map::new();
    let release = span
        .text(LANGFUSE_RELEASE)
        .or(span.resource(LANGFUSE_RELEASE));
    put(&mut session, "agentVersion", release);
    let mut metadata = Map::new();
    put(&mut metadata, "userId", span.text("user.id"));
    let environment = span.text(LANGFUSE_ENVIRONMENT);
    put(
        &mut metadata,
        "environment",
        environment.or(span.resource(LANGFUSE_ENVIRONMENT)),
    );
    put(&mut metadata, "release", release);
    for (name, value) in span.attributes() {
        let Some(name) = name.strip_prefix(TRACE_METADATA) else {
            continue;
        };
        if !SPOKEN_FOR.contains(&name) && metadata.len() < METADATA_MAX {
            let value = value.as_str().map_or_else(
                || value.clone(),
                |text| {
                    unquoted(text)
                        .as_str()
                        .map_or_else(|| parsed(text), Value::from)
                },
            );
            metadata.insert(name.to_owned(), value);
        }
    }
    put(
        &mut session,
        "metadata",
        (!metadata.is_empty()).then_some(metadata),
    );
    session
}

/// What a session's gists amount to, those of Langfuse and of plainer vocabularies beside them, in the
/// order of time.
pub fn interpret(gists: &[&Gist]) -> Understood {
    let gists = traces::with_traces(gists);
    let gists: Vec<&Gist> = gists.iter().collect();
    exchange::interpret(&gists)
}

#[cfg(test)]
mod tests;
mod traces;
