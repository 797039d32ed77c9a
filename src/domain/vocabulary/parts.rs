//! What the plainer vocabularies say of one part of an exchange, whichever names they have for it: the conventions of
//! GenAI, of OpenInference, and what applications write by themselves.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::domain::tokens::Cache;

use super::calls::{put, read_failure, read_provider, read_usage, tool_value};
use super::span::parsed;
use super::{Part, Said};

/// OpenInference marks the first token by an event.
const FIRST_TOKEN: &str = "First Token Stream Event";
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
    let asked = || asked(span).map(|asked| asked.text);
    put(fields, "userText", taken.or_else(asked));
    let given = text_of(
        span,
        &[
            "output.value",
            "agent.text",
            "agent_text",
            "output",
            "response",
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
    let name = span.first_text(&["tool.name", "gen_ai.tool.name"]);
    put(
        fields,
        "name",
        name.or(Some(span.name)).filter(|name| !name.is_empty()),
    );
    let id = span.first_text(&["gen_ai.tool.call.id", "tool_call.id", "tool.id"]);
    put(fields, "callId", id);
    let arguments = [
        "gen_ai.tool.call.arguments",
        "tool.parameters",
        "input.value",
        "arguments",
        "input",
    ];
    put(fields, "arguments", first(&arguments));
    put(
        fields,
        "result",
        first(&[
            "gen_ai.tool.call.result",
            "output.value",
            "result",
            "output",
        ]),
    );
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
            .filter(|ms| *ms >= 0.0)
    };
    let event = || {
        let mut events = span.events().filter(|(name, ..)| *name == FIRST_TOKEN);
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
    let flat = [
        "llm.output_messages.0.message.content",
        "gen_ai.completion.0.content",
    ];
    let choice = || {
        let mut events = span.events().filter(|(name, ..)| *name == "gen_ai.choice");
        events.find_map(|(_, _, attributes)| content(attributes))
    };
    span.first_text(&flat)
        .map(str::to_owned)
        .or_else(|| last_of(span, "gen_ai.output.messages", "assistant"))
        .or_else(choice)
        .or_else(|| text_of(span, &["output", "completion", "response"]))
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
    fn numbered(span: &Said<'_>, prefix: &str, role: &str, content: &str) -> Option<Self> {
        let mut is_continued = false;
        let numbers = numbers(span, prefix);
        let role_of = |number: usize| span.text(&format!("{prefix}.{number}.{role}"));
        let is_told =
            |number: &&usize| role_of(**number).is_some_and(|role| INSTRUCTORS.contains(&role));
        let told = numbers.iter().take_while(is_told).count();
        for before in numbers.into_iter().rev() {
            match role_of(before) {
                Some("user") => {
                    return Some(Self {
                        text: span
                            .text(&format!("{prefix}.{before}.{content}"))?
                            .to_owned(),
                        before: before.saturating_sub(told),
                        is_continued,
                    });
                }
                role => is_continued |= role.is_some_and(|role| !INSTRUCTORS.contains(&role)),
            }
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
    Asked::numbered(
        span,
        "llm.input_messages",
        "message.role",
        "message.content",
    )
    .or_else(|| Asked::numbered(span, "gen_ai.prompt", "role", "content"))
    .or_else(|| listed("gen_ai.input.messages"))
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
