//! The messages that a generation was given, which Pipecat writes down as the model's own API has them: OpenAI's,
//! Anthropic's, Bedrock's or Gemini's.

use serde_json::Value;

use crate::domain::json;

use super::super::Said;

/// What a message says that it is, or that a tool answers, about a tool which runs on while the conversation does.
const ASYNC: &str = "async_tool";

/// The messages that a generation was given.
pub fn messages(span: &Said<'_>) -> Vec<Value> {
    match span.text("input").and_then(json::unpacked) {
        Some(Value::Array(messages)) => messages,
        _ => Vec::new(),
    }
}

/// Whether a generation was asked for something new: what it was given ends with the words of a user, or of the
/// application, and not with what a tool answered.
pub fn is_asked_anew(messages: &[Value]) -> bool {
    let of_model = |message: &&Value| {
        let role = message.get("role").and_then(Value::as_str);
        matches!(role, Some("assistant" | "model"))
    };
    let since = messages
        .iter()
        .rev()
        .take_while(|message| !of_model(message));
    let mut asked = since.map(|message| {
        let is_answered = |item: &Item<'_>| matches!(item, Item::Result(_));
        !items(message).iter().any(is_answered)
    });
    let is_asked = asked.next().unwrap_or_default();
    is_asked && asked.all(|is_asked| is_asked)
}

/// The words of the last user, or of the application in their place, for which a generation was asked.
pub fn asked_for(messages: &[Value]) -> Option<&str> {
    let message = messages.last()?;
    let role = message.get("role").and_then(Value::as_str);
    let content = message
        .get("content")
        .or_else(|| message.get("parts"))
        .filter(|_| role == Some("user"))?;
    // What was said one after the other may stand in one message, a part each.
    let last = || content.as_array()?.last()?.get("text")?.as_str();
    content.as_str().or_else(last)
}

/// What stands in a message, one thing after the other.
pub enum Item<'a> {
    Call {
        id: &'a str,
        name: Option<&'a Value>,
        arguments: Option<&'a Value>,
    },
    Result(Answered),
    /// Words of the model, which called nothing with them.
    Answer,
    /// Words of whom the API calls the user.
    Asked,
}

/// What a tool answered.
pub struct Answered {
    pub id: String,
    /// Nothing as long as it runs on.
    pub value: Option<Value>,
    /// Whether it stands in an API in which applications speak as users do.
    pub is_among_users: bool,
}

pub fn items(message: &Value) -> Vec<Item<'_>> {
    if let Some(answered) = later_result(message) {
        return vec![Item::Result(answered)];
    }
    let listed = |name: &str| message.get(name).and_then(Value::as_array);
    let calls = listed("tool_calls").into_iter().flatten();
    let parts = listed("content").or_else(|| listed("parts"));
    let mut items: Vec<Item<'_>> = calls.filter_map(call).collect();
    items.extend(parts.into_iter().flatten().filter_map(part));
    let has_called = items.iter().any(|item| matches!(item, Item::Call { .. }));
    let has_answered = items.iter().any(|item| matches!(item, Item::Result(_)));
    match message.get("role").and_then(Value::as_str) {
        Some("assistant" | "model") if !has_called => return vec![Item::Answer],
        Some("user") if !has_answered => return vec![Item::Asked],
        Some("user") => return items,
        Some("tool") => items.extend(result(message, "tool_call_id", "content", false)),
        _ => {}
    }
    items.retain(|item| !matches!(item, Item::Asked));
    items
}

/// A call as OpenAI has it.
fn call(call: &Value) -> Option<Item<'_>> {
    let function = call.get("function")?;
    named(call, "id", function, "arguments")
}

fn named<'a>(call: &'a Value, id: &str, function: &'a Value, arguments: &str) -> Option<Item<'a>> {
    Some(Item::Call {
        id: call.get(id)?.as_str()?,
        name: function.get("name"),
        arguments: function.get(arguments),
    })
}

/// What a part of a message is: with Anthropic by its type, else by a member's name.
fn part(part: &Value) -> Option<Item<'_>> {
    match part["type"].as_str() {
        Some("tool_use") => return named(part, "id", part, "input"),
        Some("tool_result") => return result(part, "tool_use_id", "content", true),
        _ => {}
    }
    let member = |name: &str| part.get(name).filter(|value| value.is_object());
    if let Some(call) = member("toolUse") {
        return named(call, "toolUseId", call, "input");
    }
    if let Some(call) = member("function_call") {
        return named(call, "id", call, "args");
    }
    if let Some(answer) = member("toolResult") {
        return result(answer, "toolUseId", "content", true);
    }
    if let Some(answer) = member("function_response") {
        return result(answer, "id", "response", true);
    }
    let text = part["text"].as_str();
    match text.and_then(told) {
        Some(answered) => Some(Item::Result(answered)),
        None => text.map(|_| Item::Asked),
    }
}

fn result(answer: &Value, id: &str, value: &str, is_among_users: bool) -> Option<Item<'static>> {
    let value = answer.get(value).map(bare);
    if let Some(answered) = value.as_ref().and_then(running) {
        return Some(Item::Result(answered));
    }
    Some(Item::Result(Answered {
        id: answer.get(id)?.as_str()?.to_owned(),
        value,
        is_among_users,
    }))
}

/// What a tool gave, without what an API puts around it: Bedrock has a list of parts, and to Gemini, which takes
/// nothing but objects, all else is a `value`.
pub fn bare(value: &Value) -> Value {
    let only = |members: &[&str]| {
        let object = value.as_object().filter(|object| object.len() == 1)?;
        members.iter().find_map(|name| object.get(*name))
    };
    match value {
        Value::Array(parts) => match parts.as_slice() {
            [part] => part
                .get("json")
                .or(part.get("text"))
                .unwrap_or(value)
                .clone(),
            _ => value.clone(),
        },
        _ => only(&["value"]).unwrap_or(value).clone(),
    }
}

/// What a message tells of a tool that ran on beside the conversation.
fn later_result(message: &Value) -> Option<Answered> {
    message.get("content")?.as_str().and_then(told)
}

fn told(text: &str) -> Option<Answered> {
    let payload = text.contains(ASYNC).then(|| json::unpacked(text));
    running(&payload??)
}

/// What is told of a tool that runs on, or did: its result is there when it is over.
fn running(payload: &Value) -> Option<Answered> {
    if let Value::String(text) = payload {
        return told(text);
    }
    let says = |name: &str| payload.get(name).and_then(Value::as_str);
    let id = says("tool_call_id").filter(|_| says("type") == Some(ASYNC))?;
    let is_over = says("status") != Some("running");
    let result = payload.get("result").filter(|_| is_over);
    Some(Answered {
        id: id.to_owned(),
        value: result.cloned(),
        is_among_users: false,
    })
}
