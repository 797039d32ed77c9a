//! What the plainer vocabularies say of one part of an exchange, whichever names they have for it: the conventions of
//! GenAI, of OpenInference, and what applications write by themselves.

use std::collections::{BTreeMap, BTreeSet};

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
/// Roles of those who answer.
const ANSWERERS: [&str; 3] = ["assistant", "model", "ai"];
/// So much of an answer tells it from others.
const ANSWER_CHARS: usize = 200;
/// Sorts of parts of a user's message that the user has not said: some APIs have what tools gave stand there.
const TOOLS_SAY: [&str; 5] = [
    "tool_result",
    "tool-result",
    "tool_call_response",
    "function_call_output",
    "function_response",
];
/// Sorts of parts that hold words.
const WORDS: [&str; 3] = ["text", "output_text", "input_text"];
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
        told.and_then(|asked| asked.text).or_else(prompt)
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
    let in_event = |name: &str, member: &str| {
        let mut events = span.events().filter(|(event, ..)| *event == name);
        events.find_map(|(_, _, attributes)| Some(tool_value(attributes.get(member)?)))
    };
    let arguments = first(&given).or_else(described);
    let arguments = arguments.or_else(|| in_event("gen_ai.tool.message", "content"));
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
    let result = result.or_else(|| in_event("gen_ai.choice", "message"));
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
                false if items.iter().all(is_bare_part) => {
                    let texts = items.iter().filter_map(|item| item["text"].as_str());
                    Some(texts.collect::<Vec<_>>().join(" ")).filter(|text| !text.is_empty())
                }
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

/// Whether it is a part of a message as Bedrock and Gemini have them: its only member says what it is.
fn is_bare_part(part: &Value) -> bool {
    let members = part.as_object();
    members.is_some_and(|members| members.len() == 1)
        && [
            "text",
            "toolUse",
            "toolResult",
            "image",
            "document",
            "video",
            "functionCall",
            "functionResponse",
            "inlineData",
            "function_call",
            "function_response",
            "inline_data",
        ]
        .iter()
        .any(|name| part.get(*name).is_some())
}

/// Parts of one message.
fn joined(parts: &[Value]) -> String {
    let is_text = |part: &&Value| {
        part["type"]
            .as_str()
            .is_some_and(|sort| WORDS.contains(&sort))
    };
    let texts = parts.iter().filter(is_text);
    let texts = texts.filter_map(|part| part.get("content").or(part.get("text"))?.as_str());
    texts.collect::<Vec<_>>().join(" ")
}

/// What a generation wrote.
fn generated(span: &Said<'_>) -> Option<String> {
    let choice = || {
        let mut events = span.events().filter(|(name, ..)| *name == "gen_ai.choice");
        events.find_map(|(_, _, attributes)| content(&told_in(attributes)))
    };
    let within = || {
        let mut lists = lists_in_events(span, "gen_ai.output.messages", "gen_ai.completion");
        lists.find_map(|list| said_by(&list, "assistant"))
    };
    // Logfire, before it followed the conventions.
    let logged = || {
        let response = span.json("response_data")?;
        let names = ["message", "combined_chunk_content"];
        names.iter().find_map(|name| content(response.get(*name)?))
    };
    numbered_text(span, "llm.output_messages", "message.")
        .or_else(|| numbered_text(span, "gen_ai.completion", ""))
        .or_else(|| last_of(span, "gen_ai.output.messages", "assistant"))
        .or_else(within)
        .or_else(choice)
        .or_else(logged)
        .or_else(|| {
            text_of(
                span,
                &["ai.response.text", "output", "completion", "response"],
            )
        })
}

/// What the first of several messages says that says anything: others think, or call tools.
fn numbered_text(span: &Said<'_>, prefix: &str, member: &str) -> Option<String> {
    let contents = Contents::of(span, prefix, member);
    let mut numbers = numbers(span, prefix).into_iter();
    numbers.find_map(|number| {
        message_text(span, &format!("{prefix}.{number}.{member}"), || {
            contents.text(number)
        })
    })
}

/// What a message says whose members are attributes that begin so: in one of them, also as a list of parts within a
/// text, or in parts that are attributes again.
fn message_text(
    span: &Said<'_>,
    message: &str,
    parts: impl FnOnce() -> Option<String>,
) -> Option<String> {
    let Some(text) = span.text(&format!("{message}content")) else {
        return parts();
    };
    let listed = Some(parsed(text)).filter(is_parts);
    match listed {
        Some(parts) => content(&parts),
        None => Some(text.to_owned()),
    }
}

/// Parts of messages that are attributes with numbers in their names, by the numbers of message and part. All of them
/// are looked for at once: a span may have a thousand.
struct Contents<'a, 's> {
    span: &'s Said<'a>,
    messages: BTreeMap<usize, BTreeMap<usize, Content<'a>>>,
}

/// The names of a part's attributes.
#[derive(Default)]
struct Content<'a> {
    sort: Option<&'a str>,
    text: Option<&'a str>,
}

impl<'a, 's> Contents<'a, 's> {
    fn of(span: &'s Said<'a>, prefix: &str, member: &str) -> Self {
        let mut messages: BTreeMap<usize, BTreeMap<usize, Content<'a>>> = BTreeMap::new();
        for (name, _) in span.attributes() {
            let part = || {
                let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
                let (message, rest) = rest.split_once('.')?;
                let rest = rest.strip_prefix(member)?.strip_prefix("contents.")?;
                let (part, rest) = rest.split_once('.')?;
                let rest = rest.strip_prefix("message_content.")?;
                Some((message.parse().ok()?, part.parse().ok()?, rest))
            };
            let Some((message, part, of_part)) = part() else {
                continue;
            };
            let content = messages.entry(message).or_default();
            let content = content.entry(part).or_default();
            match of_part {
                "type" => content.sort = Some(name),
                "text" => content.text = Some(name),
                _ => {}
            }
        }
        Self { span, messages }
    }

    fn sort(&self, part: &Content<'_>) -> Option<&'a str> {
        self.span.text(part.sort?)
    }

    fn text(&self, message: usize) -> Option<String> {
        let parts = self.messages.get(&message)?.values();
        let is_text = |part: &&Content<'_>| self.sort(part).is_none_or(|sort| sort == "text");
        let texts = parts
            .filter(is_text)
            .filter_map(|part| self.span.text(part.text?));
        let texts: Vec<&str> = texts.collect();
        (!texts.is_empty()).then(|| texts.join(" "))
    }

    fn is_wordless(&self, message: usize) -> bool {
        let parts = self.messages.get(&message);
        let mut parts = parts.into_iter().flat_map(BTreeMap::values);
        parts.any(|part| self.sort(part).is_some_and(is_no_word))
    }
}

/// Whether a message of the user's has parts that are neither words nor of a tool: a picture, or a voice.
fn is_wordless(message: &Value) -> bool {
    let parts = ["content", "parts"].iter().find_map(|n| message.get(*n));
    let mut sorts = parts
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|part| part.get("type")?.as_str());
    sorts.any(is_no_word)
}

fn is_no_word(sort: &str) -> bool {
    !TOOLS_SAY.contains(&sort) && !WORDS.contains(&sort)
}

/// Whether a value is a list of parts of one message.
fn is_parts(value: &Value) -> bool {
    let items = value.as_array().filter(|items| !items.is_empty());
    items.is_some_and(|items| items.iter().all(|item| item.get("type").is_some()))
}

/// What the user said last, of what a generation was given.
pub struct Asked {
    /// None where it was no words: a picture, or a voice.
    pub text: Option<String>,
    /// How what was answered before it begins.
    answered: Option<String>,
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
        let mut latest = messages.enumerate().rev();
        while let Some((before, (role, message))) = latest.next() {
            let text = (role == "user").then(|| content(message)).flatten();
            if text.is_some() || role == "user" && is_wordless(message) {
                let answers = latest.filter(|(_, (role, _))| ANSWERERS.contains(role));
                return Some(Self {
                    text,
                    answered: answers.filter_map(|(_, (_, said))| content(said)).next(),
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
        let contents = Contents::of(span, prefix, member);
        let text_of = |number: usize| {
            message_text(span, &format!("{prefix}.{number}.{member}"), || {
                contents.text(number)
            })
        };
        let mut latest = numbers.into_iter().rev();
        while let Some(before) = latest.next() {
            let role = role_of(before);
            let is_user = role == Some("user");
            let text = is_user.then(|| text_of(before)).flatten();
            if text.is_some() || is_user && contents.is_wordless(before) {
                let is_answer = |n: &usize| role_of(*n).is_some_and(|r| ANSWERERS.contains(&r));
                return Some(Self {
                    text,
                    answered: latest.filter(is_answer).find_map(text_of),
                    before: before.saturating_sub(told),
                    is_continued,
                });
            }
            is_continued |= role.is_some_and(|role| !INSTRUCTORS.contains(&role));
        }
        None
    }

    pub fn write(self, fields: &mut Map<String, Value>) {
        let start = |text: String| text.trim().chars().take(ANSWER_CHARS).collect::<String>();
        put(fields, "userText", self.text);
        put(fields, "answeredBefore", self.answered.map(start));
        put(fields, "messagesBefore", Some(self.before));
        put(fields, "isContinued", self.is_continued.then_some(true));
    }
}

fn asked(span: &Said<'_>) -> Option<Asked> {
    let listed = |name: &str| Asked::in_list(&list_of(span, name)?);
    let told = || {
        let told = span.events().filter_map(|(name, _, attributes)| {
            let role = name.strip_prefix("gen_ai.")?.strip_suffix(".message")?;
            Some((role, told_in(attributes)))
        });
        let told: Vec<_> = told.collect();
        Asked::of(told.iter().map(|(role, message)| (*role, message)))
    };
    let within = || {
        let mut lists = lists_in_events(span, "gen_ai.input.messages", "gen_ai.prompt");
        lists.find_map(|list| Asked::in_list(&list))
    };
    Asked::numbered(span, "llm.input_messages", "message.")
        .or_else(|| Asked::numbered(span, "gen_ai.prompt", ""))
        .or_else(|| listed("gen_ai.input.messages"))
        .or_else(|| listed("ai.prompt.messages"))
        .or_else(within)
        .or_else(told)
        .or_else(|| listed("request_data"))
        .or_else(|| listed("input"))
}

/// What an event tells of a message: in attributes of its own, some of them JSON within texts, or all of it in one.
fn told_in(attributes: &Value) -> Value {
    let read = |value: &Value| match value {
        Value::String(text) => match parsed(text) {
            told @ (Value::Object(_) | Value::Array(_)) => told,
            _ => value.clone(),
        },
        _ => value.clone(),
    };
    if let Some(whole) = attributes.get("gen_ai.event.content") {
        return read(whole);
    }
    let members = attributes.as_object().into_iter().flatten();
    let members = members.map(|(name, value)| (name.clone(), read(value)));
    members.collect()
}

/// Lists of messages that events tell whole: of today's conventions by one name, of those before 1.26 by another.
fn lists_in_events<'a>(
    span: &Said<'a>,
    today: &'a str,
    before: &'a str,
) -> impl Iterator<Item = Value> + 'a {
    let events: Vec<&Value> = span.events().map(|(_, _, attributes)| attributes).collect();
    let lists = events
        .into_iter()
        .filter_map(move |event| event.get(today).or(event.get(before)));
    lists.map(|list| match list {
        Value::String(text) => parsed(text),
        other => other.clone(),
    })
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
    said_by(&list_of(span, name)?, role)
}

fn said_by(list: &Value, role: &str) -> Option<String> {
    let mut own = messages(list)?
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
