//! What messages say that a generation, or an agent, was given and wrote, in every form in which tracers write them down:
//! lists, attributes with numbers in their names, and events.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Said;
use super::calls::{in_langchain, put};
use super::logged::LOGGED;
use super::span::{parsed, said};

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
/// What parts are called that say by their only member what they are.
const BARE_PARTS: [&str; 15] = [
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
    "toolRequest",
    "toolResponse",
    "media",
];
/// What requests call their list of messages: most APIs, Gemini's, and OpenAI's of responses.
const LISTS: [&str; 3] = ["messages", "contents", "input"];
/// Where Google's ADK keeps what a model was asked, before it followed the conventions.
const ADK_REQUEST: &str = "gcp.vertex.agent.llm_request";
/// Sorts of parts that hold words.
const WORDS: [&str; 4] = ["text", "output_text", "input_text", "refusal"];
/// Where a span tells all that was given and all that was given back in one, as an API, or the function that was
/// called, has both: LangSmith's exporter, and conventions of before; Genkit.
pub const GIVEN: [&str; 2] = [COMPLETED.0, "genkit:input"];
pub const GAVE: [&str; 2] = [COMPLETED.1, "genkit:output"];
const COMPLETED: (&str, &str) = ("gen_ai.prompt", "gen_ai.completion");
/// Members by which functions are told, or tell, a text.
const TEXTS: [&str; 10] = [
    "text",
    "content",
    "transcript",
    "message",
    "query",
    "question",
    "input",
    "output",
    "answer",
    "response",
];
/// What LangChain's messages are called, and whose they are.
const CLASSES: [(&str, &str); 5] = [
    ("human", "user"),
    ("ai", "assistant"),
    ("system", "system"),
    ("tool", "tool"),
    ("function", "function"),
];

/// What a message says, or the last of several.
pub fn content(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(_) => said(value)?,
        Value::Array(items) => {
            let is_part = |item: &Value| item.get("type").is_some() && role(item).is_empty();
            return match items.iter().all(is_part) {
                true => Some(joined(items)).filter(|text| !text.is_empty()),
                false if items.iter().all(is_bare_part) => {
                    let texts = items.iter().filter_map(|item| item["text"].as_str());
                    Some(texts.collect::<Vec<_>>().join(" ")).filter(|text| !text.is_empty())
                }
                false => items.iter().rev().find_map(content),
            };
        }
        Value::Object(members) => {
            if let Some(message) = in_langchain(value) {
                return content(message);
            }
            let names = [
                "content",
                "text",
                "transcript",
                "message",
                "parts",
                "messages",
                "query",
                "question",
                "task",
                "audio",
                "refusal",
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
    let members = part.as_object().filter(|members| members.len() == 1);
    let mut names = members.into_iter().flat_map(Map::keys);
    names.any(|name| BARE_PARTS.contains(&name.as_str()))
}

/// Parts of one message.
fn joined(parts: &[Value]) -> String {
    let is_word = |part: &Value| {
        let sort = part["type"].as_str();
        sort.is_some_and(|sort| WORDS.contains(&sort))
    };
    let text = |part: &'_ Value| -> Option<String> {
        // A voice may come with what was said.
        let names: &[&str] = match is_word(part) {
            true => &["content", "text", "refusal"],
            false => &["transcript"],
        };
        let text = names.iter().find_map(|name| part.get(*name)?.as_str());
        text.map(str::to_owned)
    };
    let texts = parts.iter().filter_map(text);
    texts.collect::<Vec<_>>().join(" ")
}

/// Whose a message is: APIs say so by its role, LangChain by its class or what it calls that. Empty where neither does.
fn role(message: &Value) -> &str {
    let class = in_langchain(message).and_then(|_| message["id"].as_array()?.last()?.as_str());
    let message = in_langchain(message).unwrap_or(message);
    let stated = message["role"].as_str();
    stated
        .or_else(|| of_class(class.or(message["type"].as_str())?))
        .unwrap_or_default()
}

/// The role of a class of LangChain's.
fn of_class(class: &str) -> Option<&'static str> {
    let class = class.trim_end_matches("Chunk").trim_end_matches("Message");
    let mut classes = CLASSES.iter();
    let (_, role) = classes.find(|(name, _)| name.eq_ignore_ascii_case(class))?;
    Some(role)
}

/// What the first of several messages says that says anything: others think, or call tools.
pub fn numbered_text(span: &Said<'_>, prefix: &str, member: &str) -> Option<String> {
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
    let message = in_langchain(message).unwrap_or(message);
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
        Self::of(messages.map(|message| (role(message), message)))
    }

    /// The only words that a request has.
    pub fn alone(text: String) -> Self {
        Self {
            text: Some(text),
            answered: None,
            before: 0,
            is_continued: false,
        }
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

pub fn asked(span: &Said<'_>) -> Option<Asked> {
    let listed = |name: &str| Asked::in_list(&list_of(span, name)?);
    let told = || {
        let told = events_and_logs(span).filter_map(|(name, message)| {
            let role = name.strip_prefix("gen_ai.")?.strip_suffix(".message")?;
            Some((role, told_in(message)))
        });
        let told: Vec<_> = told.collect();
        Asked::of(told.iter().map(|(role, message)| (*role, message)))
    };
    let within = || {
        let mut lists = lists_in_events(span, "gen_ai.input.messages", "gen_ai.prompt");
        lists.find_map(|list| Asked::in_list(&list))
    };
    let whole = |name: &str| {
        let given = list_of(span, name)?;
        Asked::in_list(&given).or_else(|| Some(Asked::alone(plain(given.get("input")?)?)))
    };
    Asked::numbered(span, "llm.input_messages", "message.")
        .or_else(|| Asked::numbered(span, "gen_ai.prompt", ""))
        .or_else(|| listed("gen_ai.input.messages"))
        .or_else(|| listed("ai.prompt.messages"))
        .or_else(|| GIVEN.iter().find_map(|name| whole(name)))
        .or_else(within)
        .or_else(told)
        // Of what Logfire has as the request of an agent's generation, its answer is a part.
        .or_else(|| listed("input"))
        .or_else(|| listed("request_data"))
        .or_else(|| listed(ADK_REQUEST))
}

/// What events and log records tell, each by its name.
pub fn events_and_logs<'a>(span: &Said<'a>) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let events = span.events();
    let events = events.map(|(name, _, attributes)| (name, attributes));
    events.chain(logged(span))
}

/// What log records told of a generation's messages, in the order of time.
fn logged<'a>(span: &Said<'a>) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
    let records = span.attributes();
    let mut records: Vec<_> = records
        .filter(|(name, _)| name.starts_with(LOGGED))
        .collect();
    records.sort_by_key(|(name, _)| *name);
    let told = |record: &'a Value| Some((record["name"].as_str()?, record.get("message")?));
    records
        .into_iter()
        .filter_map(move |(_, record)| told(record))
}

/// What an event tells of a message: in attributes of its own, some of them JSON within texts, or all of it in one.
pub fn told_in(attributes: &Value) -> Value {
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
pub fn lists_in_events<'a>(
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

/// What was answered last in a list: of an answer that is told in pieces, as it came, all of it.
pub fn answer(list: &Value) -> Option<String> {
    let is_own = |message: &&Value| ANSWERERS.contains(&role(message));
    let is_open = |message: &&Value| message.get("finish_reason").is_some_and(|why| why == "");
    let mut own = messages(list)?.iter().rev().filter(is_own);
    let last = own.find_map(content)?;
    let earlier: Vec<String> = own.take_while(is_open).filter_map(content).collect();
    Some(earlier.into_iter().rev().chain([last]).collect())
}

/// A value, or what a text holds that is quoted twice.
pub fn list_of(span: &Said<'_>, name: &str) -> Option<Value> {
    Some(match span.json(name)? {
        Value::String(text) => parsed(&text),
        other => other,
    })
}

pub fn messages(list: &Value) -> Option<&Vec<Value>> {
    let named = || LISTS.iter().find_map(|name| list.get(*name)?.as_array());
    let all = list.as_array().or_else(named)?;
    // LangChain may be asked for several answers at once.
    match all.as_slice() {
        [Value::Array(only)] => Some(only),
        _ => Some(all),
    }
}

/// Whether all of several messages say whose they are.
pub fn is_of_roles(list: &Value) -> bool {
    let messages = messages(list).filter(|messages| !messages.is_empty());
    messages.is_some_and(|messages| messages.iter().all(|message| !role(message).is_empty()))
}

/// What a function was told in words: in a member that is a text, be there a history beside it, else as the user's last of
/// a list, else in its only member.
pub fn told(given: &Value) -> Option<String> {
    let asked = || Asked::in_list(given)?.text;
    plain(given).or_else(asked).or_else(|| only_text(given))
}

/// What was answered: by a model, in the forms of APIs and of LangChain, or by a function.
pub fn answered(gave: &Value) -> Option<String> {
    let places = ["/generations/0/0", "/choices/0/message"];
    if let Some(only) = places.iter().find_map(|place| gave.pointer(place)) {
        return content(only);
    }
    match messages(gave).is_some() {
        true => answer(gave),
        false => plain(gave)
            .or_else(|| content(gave))
            .or_else(|| answered(gave.get("output")?))
            .or_else(|| only_text(gave)),
    }
}

/// A text, or the member that is one.
fn plain(value: &Value) -> Option<String> {
    let mut texts = TEXTS.iter().filter_map(|name| value.get(*name));
    let text = value.as_str().or_else(|| texts.find_map(Value::as_str))?;
    content(&Value::from(text))
}

/// The only member, where that is a text.
fn only_text(value: &Value) -> Option<String> {
    let mut members = value.as_object()?.values();
    let only = members.next().filter(|only| only.is_string())?;
    content(only).filter(|_| members.next().is_none())
}
