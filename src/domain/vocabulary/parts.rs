//! What the plainer vocabularies say of one part of an exchange, whichever names they have for it: the conventions of
//! GenAI, of OpenInference, and what applications write by themselves.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::domain::tokens::Cache;

use super::calls::{put, read_failure, read_provider, read_usage, tool_value};
use super::span::parsed;
use super::{Part, Said};

/// Events that mark the first token: OpenInference's, and OpenLLMetry's of each piece.
const FIRST_TOKEN: [&str; 2] = [
    "First Token Stream Event",
    "gen_ai.content.completion.chunk",
];
/// Where Pydantic AI keeps what was said in a run of an agent, and before it, and Vercel's AI SDK what it was asked for.
const WHOLE: [&str; 2] = ["pydantic_ai.all_messages", "ai.prompt"];
/// What a generation cost, where its tracer knows prices: OpenInference's conventions, and Logfire.
const COSTS: [&str; 2] = ["llm.cost.total", "operation.cost"];
const TEXT_MAX_CHARS: usize = 100_000;
/// Roles of those who tell an agent what to do, and take no part in its conversation.
const INSTRUCTORS: [&str; 2] = ["system", "developer"];
/// Words in which applications name spans, in lower case. The first that fits counts.
const NAMES: [(Part, &[&str]); 6] = [
    (
        Part::Stt,
        &["stt", "transcri", "speech_to_text", "speech-to-text", "asr"],
    ),
    (
        Part::Tts,
        &[
            "tts",
            "synth",
            "text_to_speech",
            "text-to-speech",
            "speech",
            "speak",
        ],
    ),
    (Part::Tool, &["tool", "function_call", "execute_tool"]),
    (Part::Llm, &["llm", "chat", "completion", "generate"]),
    (
        Part::Exchange,
        &["turn", "voice-turn", "voice_turn", "voice turn", "exchange"],
    ),
    (Part::Root, &["conversation", "call", "session"]),
];

/// What a span's name says that it is: a word that it begins with, or that it is but for a number behind it.
pub fn by_name(name: &str) -> Option<Part> {
    let name = name.to_ascii_lowercase();
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || "-_ #".contains(c));
    let begins = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
    let is = |words: &[&str]| words.contains(&bare);
    NAMES.into_iter().find_map(|(part, words)| {
        let fits = match part {
            Part::Exchange | Part::Root => is(words),
            _ => begins(words),
        };
        fits.then_some(part)
    })
}

/// Reads what a span says as such a part.
pub fn read(span: &Said<'_>, part: Part, fields: &mut Map<String, Value>) {
    read_failure(span, fields);
    match part {
        Part::Root | Part::Exchange => exchange(span, fields),
        Part::Stt => {
            read_provider(span, fields);
            put(
                fields,
                "text",
                text_of(span, &["transcript", "output.value", "output", "text"]),
            );
            put(fields, "audioSeconds", span.number("audio_seconds"));
        }
        Part::Llm | Part::LlmAttempt => llm(span, fields),
        Part::Tts => {
            read_provider(span, fields);
            let given = text_of(span, &["text", "input.value", "input", "lk.input_text"]);
            let characters = given.as_ref().map(|text| text.chars().count() as u64);
            let stated = span.count(&["characters", "metrics.character_count"]);
            put(fields, "characters", stated.or(characters));
            put(fields, "text", given);
            put(fields, "ttsMs", first_output_ms(span));
        }
        Part::Tool => tool(span, fields),
        _ => {}
    }
}

fn exchange(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let taken = text_of(
        span,
        &[
            "input.value",
            "user.text",
            "user_text",
            "input",
            "transcript",
        ],
    );
    // By the conventions of GenAI an agent's messages stand where a generation's do.
    let asked = || {
        let whole = |name: &str| Asked::in_list(&list_of(span, name)?);
        let told = asked(span).or_else(|| WHOLE.into_iter().find_map(whole));
        let prompt = || content(span.json(WHOLE[1])?.get("prompt")?);
        told.map(|asked| asked.text).or_else(prompt)
    };
    put(fields, "userText", taken.or_else(asked));
    let given = text_of(
        span,
        &[
            "output.value",
            "agent.text",
            "agent_text",
            "output",
            "response",
            "final_result",
        ],
    );
    put(fields, "text", given.or_else(|| generated(span)));
    let is_turn = span.has("turn.number") || by_name(span.name) == Some(Part::Exchange);
    put(fields, "isTurn", is_turn.then_some(true));
    let metadata = span.json("metadata");
    let told = metadata
        .as_ref()
        .and_then(|metadata| metadata.get("interrupted")?.as_bool());
    let interrupted = span
        .flag("interrupted")
        .or(span.flag("turn.was_interrupted"))
        .or(told);
    put(fields, "interrupted", interrupted.filter(|is| *is));
}

fn llm(span: &Said<'_>, fields: &mut Map<String, Value>) {
    read_provider(span, fields);
    read_usage(span, Cache::Unknown, fields);
    let cost = COSTS.iter().find_map(|name| span.number(name));
    put(
        fields,
        "costUsd",
        cost.filter(|usd| (0.0..=1e5).contains(usd)),
    );
    put(fields, "llmMs", first_output_ms(span));
    put(fields, "text", generated(span));
    if let Some(asked) = asked(span) {
        asked.write(fields);
    }
    let reasons = span.value("gen_ai.response.finish_reasons");
    let reason = reasons.and_then(|reasons| reasons.get(0)?.as_str());
    put(
        fields,
        "finishReason",
        span.text("llm.finish_reason").or(reason),
    );
}

fn tool(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let first = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| span.value(name))
            .map(tool_value)
    };
    let names = [
        "tool.name",
        "gen_ai.tool.name",
        "traceloop.entity.name",
        "ai.toolCall.name",
    ];
    let name = span.first_text(&names);
    put(
        fields,
        "name",
        name.or(Some(span.name)).filter(|name| !name.is_empty()),
    );
    let ids = [
        "gen_ai.tool.call.id",
        "tool_call.id",
        "tool.id",
        "ai.toolCall.id",
    ];
    let id = span.first_text(&ids);
    put(fields, "callId", id);
    let given = [
        "gen_ai.tool.call.arguments",
        "input.value",
        "tool_arguments",
        "traceloop.entity.input",
        "ai.toolCall.args",
    ];
    // What is called so by convention describes them; some write there what they are.
    let described = || first(&["tool.parameters"]).filter(|parameters| !is_schema(parameters));
    let arguments = first(&given).or_else(described);
    let arguments = arguments.or_else(|| first(&["arguments", "input"]));
    put(fields, "arguments", arguments.map(called_with));
    let result = first(&[
        "gen_ai.tool.call.result",
        "output.value",
        "tool_response",
        "traceloop.entity.output",
        "ai.toolCall.result",
        "result",
        "output",
    ]);
    put(fields, "result", result);
}

/// Whether a value describes what may be given, as JSON Schema does.
fn is_schema(value: &Value) -> bool {
    value.get("properties").is_some_and(Value::is_object) && value.get("type").is_some()
}

/// What a function was called with: by name or by place, where it was one of the two.
pub fn called_with(value: Value) -> Value {
    match arguments(&value) {
        Some((by_place, by_name)) if by_place.is_empty() => Value::from(by_name.clone()),
        Some((by_place, by_name)) if by_name.is_empty() => Value::from(by_place.clone()),
        _ => value,
    }
}

/// What decorators of Python's functions write down of a call.
fn arguments(value: &Value) -> Option<(&Vec<Value>, &Map<String, Value>)> {
    let members = value.as_object().filter(|members| members.len() == 2)?;
    let by_place = members.get("args")?.as_array()?;
    Some((by_place, members.get("kwargs")?.as_object()?))
}

/// What a function was told, where it took nothing else: of several arguments nobody knows which was said.
pub fn only_argument(value: &Value) -> Option<&Value> {
    let (by_place, by_name) = arguments(value)?;
    let mut given = by_place.iter().chain(by_name.values());
    given.next().filter(|_| given.next().is_none())
}

/// Milliseconds until the first token or byte.
fn first_output_ms(span: &Said<'_>) -> Option<f64> {
    let names = [
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.server.time_to_first_token",
    ];
    let told = names.iter().find_map(|name| span.seconds_as_ms(name));
    let app = || {
        span.number("ttfb_ms")
            .or(span.number("ttft_ms"))
            .or(span.number("ai.response.msToFirstChunk"))
            .filter(|ms| *ms >= 0.0)
    };
    let event = || {
        let mut events = span
            .events()
            .filter(|(name, ..)| FIRST_TOKEN.contains(name));
        let at = events.find_map(|(_, at, _)| at)?;
        let ms = (at - span.started_at).num_microseconds()? as f64 / 1000.0;
        (ms >= 0.0).then_some(ms)
    };
    told.or_else(event).or_else(app)
}

/// The first of these attributes that holds a text, also as the content of a message.
fn text_of(span: &Said<'_>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| content(&span.json(name)?))
}

/// What a message says, or the last of several.
pub fn content(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            return match items.iter().all(|item| item.get("type").is_some()) {
                true => Some(joined(items)).filter(|text| !text.is_empty()),
                false => items.iter().rev().find_map(content),
            };
        }
        Value::Object(members) => {
            let names = [
                "content",
                "text",
                "transcript",
                "message",
                "parts",
                "messages",
                "query",
                "question",
            ];
            return names.iter().find_map(|name| content(members.get(*name)?));
        }
        _ => return None,
    };
    let text = text.trim();
    (!text.is_empty()).then(|| text.chars().take(TEXT_MAX_CHARS).collect())
}

/// Parts of one message.
fn joined(parts: &[Value]) -> String {
    let is_text = |part: &&Value| {
        matches!(
            part["type"].as_str(),
            Some("text" | "output_text" | "input_text")
        )
    };
    let texts = parts.iter().filter(is_text);
    let texts = texts.filter_map(|part| part.get("content").or(part.get("text"))?.as_str());
    texts.collect::<Vec<_>>().join(" ")
}

/// What a generation wrote.
fn generated(span: &Said<'_>) -> Option<String> {
    let choice = || {
        let mut events = span.events().filter(|(name, ..)| *name == "gen_ai.choice");
        events.find_map(|(_, _, attributes)| content(attributes))
    };
    numbered_text(span, "llm.output_messages", "message.")
        .or_else(|| numbered_text(span, "gen_ai.completion", ""))
        .or_else(|| last_of(span, "gen_ai.output.messages", "assistant"))
        .or_else(choice)
        .or_else(|| {
            text_of(
                span,
                &["ai.response.text", "output", "completion", "response"],
            )
        })
}

/// What the first of several messages says that says anything: others think, or call tools.
fn numbered_text(span: &Said<'_>, prefix: &str, member: &str) -> Option<String> {
    let mut numbers = numbers(span, prefix).into_iter();
    numbers.find_map(|number| message_text(span, &format!("{prefix}.{number}.{member}")))
}

/// What a message says whose members are attributes that begin so: in one of them, also as a list of parts within a
/// text, or in parts that are attributes again.
fn message_text(span: &Said<'_>, message: &str) -> Option<String> {
    if let Some(text) = span.text(&format!("{message}content")) {
        let listed = Some(parsed(text)).filter(is_parts);
        return match listed {
            Some(parts) => content(&parts),
            None => Some(text.to_owned()),
        };
    }
    let prefix = format!("{message}contents");
    let texts = numbers(span, &prefix).into_iter().filter_map(|part| {
        let member = |name: &str| span.text(&format!("{prefix}.{part}.message_content.{name}"));
        let is_text = member("type").is_none_or(|sort| sort == "text");
        member("text").filter(|_| is_text)
    });
    let texts: Vec<&str> = texts.collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

/// Whether a value is a list of parts of one message.
fn is_parts(value: &Value) -> bool {
    let items = value.as_array().filter(|items| !items.is_empty());
    items.is_some_and(|items| items.iter().all(|item| item.get("type").is_some()))
}

/// What the user said last, of what a generation was given.
pub struct Asked {
    pub text: String,
    /// How many messages come before it, without what the agent was told to do at the beginning.
    before: usize,
    /// Whether more of the conversation comes behind it: then an answer is gone on with.
    is_continued: bool,
}

impl Asked {
    /// In a list of messages, or in an object that holds one.
    pub fn in_list(list: &Value) -> Option<Self> {
        let messages = messages(list)?.iter();
        Self::of(messages.map(|message| (message["role"].as_str().unwrap_or_default(), message)))
    }

    /// Of messages, each with its role.
    fn of<'v>(
        messages: impl DoubleEndedIterator<Item = (&'v str, &'v Value)> + ExactSizeIterator + Clone,
    ) -> Option<Self> {
        let told = messages
            .clone()
            .take_while(|(role, _)| INSTRUCTORS.contains(role));
        let told = told.count();
        let mut is_continued = false;
        for (before, (role, message)) in messages.enumerate().rev() {
            let text = (role == "user").then(|| content(message)).flatten();
            if let Some(text) = text {
                return Some(Self {
                    text,
                    before: before - told,
                    is_continued,
                });
            }
            is_continued |= !INSTRUCTORS.contains(&role);
        }
        None
    }

    /// The same of messages whose numbers stand in the names of attributes: from the last one backwards, for of a
    /// long history the beginning is not looked at.
    fn numbered(span: &Said<'_>, prefix: &str, member: &str) -> Option<Self> {
        let mut is_continued = false;
        let numbers = numbers(span, prefix);
        let role_of = |number: usize| span.text(&format!("{prefix}.{number}.{member}role"));
        let is_told =
            |number: &&usize| role_of(**number).is_some_and(|role| INSTRUCTORS.contains(&role));
        let told = numbers.iter().take_while(is_told).count();
        for before in numbers.into_iter().rev() {
            let role = role_of(before);
            let message = || message_text(span, &format!("{prefix}.{before}.{member}"));
            if let Some(text) = (role == Some("user")).then(message).flatten() {
                return Some(Self {
                    text,
                    before: before.saturating_sub(told),
                    is_continued,
                });
            }
            is_continued |= role.is_some_and(|role| !INSTRUCTORS.contains(&role));
        }
        None
    }

    pub fn write(self, fields: &mut Map<String, Value>) {
        put(fields, "userText", Some(self.text));
        put(fields, "messagesBefore", Some(self.before));
        put(fields, "isContinued", self.is_continued.then_some(true));
    }
}

fn asked(span: &Said<'_>) -> Option<Asked> {
    let listed = |name: &str| Asked::in_list(&list_of(span, name)?);
    let told = || {
        let told = span.events().filter_map(|(name, _, attributes)| {
            let role = name.strip_prefix("gen_ai.")?.strip_suffix(".message")?;
            Some((role, attributes))
        });
        Asked::of(told.collect::<Vec<_>>().into_iter())
    };
    Asked::numbered(span, "llm.input_messages", "message.")
        .or_else(|| Asked::numbered(span, "gen_ai.prompt", ""))
        .or_else(|| listed("gen_ai.input.messages"))
        .or_else(|| listed("ai.prompt.messages"))
        .or_else(told)
        .or_else(|| listed("input"))
}

/// The numbers of messages whose attributes begin so.
fn numbers(span: &Said<'_>, prefix: &str) -> BTreeSet<usize> {
    let number = |name: &str| {
        let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
        rest.split('.').next()?.parse().ok()
    };
    span.attributes()
        .filter_map(|(name, _)| number(name))
        .collect()
}

/// The last message of a role in a list.
fn last_of(span: &Said<'_>, name: &str, role: &str) -> Option<String> {
    let list = list_of(span, name)?;
    let mut own = messages(&list)?
        .iter()
        .rev()
        .filter(|message| message["role"].as_str() == Some(role));
    own.find_map(content)
}

/// A value, or what a text holds that is quoted twice.
fn list_of(span: &Said<'_>, name: &str) -> Option<Value> {
    Some(match span.json(name)? {
        Value::String(text) => parsed(&text),
        other => other,
    })
}

fn messages(list: &Value) -> Option<&Vec<Value>> {
    list.as_array().or_else(|| list.get("messages")?.as_array())
}

#[cfg(test)]
mod tests;
