//! Calls of tools that no span tells of, but the messages of generations: one calls a tool in what it wrote, a later one is
//! given what the tool answered.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Said;
use super::calls::{in_words, listed, put, tool_value};
use super::messages::{events_and_logs, list_of, lists_in_events, messages, told_in};
use super::span::parsed;

/// What a generation called, and what it was given that tools answered to the generation before it.
pub const CALLS: &str = "calls";
pub const RESULTS: &str = "results";
/// So many calls of one generation are looked at.
const CALLS_MAX: usize = 64;
/// Sorts of parts of messages that call a tool, and that hold what one answered.
const CALLING: [&str; 4] = ["tool_call", "tool_use", "tool-call", "function_call"];
const ANSWERING: [&str; 5] = [
    "tool_call_response",
    "tool_result",
    "tool-result",
    "function_call_output",
    "function_response",
];
/// Names of what is called, with what, and of what was answered.
const IDS: [&str; 5] = ["id", "call_id", "tool_call_id", "tool_use_id", "toolCallId"];
const ARGUMENTS: [&str; 3] = ["arguments", "input", "args"];
const ANSWERS: [&str; 4] = ["response", "result", "content", "output"];

/// Reads what a generation's messages tell of tools.
pub fn read(span: &Said<'_>, fields: &mut Map<String, Value>) {
    write(calls(span), results(span), fields);
}

/// The same of messages that it was given, and of what it gave, as an API has both.
pub fn read_whole(given: Option<&Value>, gave: Option<&Value>, fields: &mut Map<String, Value>) {
    let calls = gave.map(calls_in).unwrap_or_default();
    let results = given.map(results_in).unwrap_or_default();
    write(calls, results, fields);
}

fn write(calls: Vec<Value>, results: Vec<Value>, fields: &mut Map<String, Value>) {
    for (name, told) in [(CALLS, calls), (RESULTS, results)] {
        put(fields, name, listed(told.into_iter().take(CALLS_MAX)));
    }
}

/// Where messages stand.
struct Place {
    /// Attributes that begin so, then a number, and this before the name of a member.
    numbered: [(&'static str, &'static str); 2],
    /// A list of them, in an attribute or in an event, and the event's name for it before 1.26.
    list: &'static str,
    before: &'static str,
}

const GAVE: Place = Place {
    numbered: [
        ("llm.output_messages", "message."),
        ("gen_ai.completion", ""),
    ],
    list: "gen_ai.output.messages",
    before: "gen_ai.completion",
};
const GIVEN: Place = Place {
    numbered: [("llm.input_messages", "message."), ("gen_ai.prompt", "")],
    list: "gen_ai.input.messages",
    before: "gen_ai.prompt",
};

impl Place {
    /// What is found there, by attributes with numbers or in a list; none where neither is.
    fn find(
        &self,
        span: &Said<'_>,
        numbered: fn(&Said<'_>, &str, &str) -> Vec<Value>,
        listed: fn(&Value) -> Vec<Value>,
    ) -> Option<Vec<Value>> {
        let places = self.numbered.iter();
        let mut found = places.map(|(prefix, member)| numbered(span, prefix, member));
        found.find(|items| !items.is_empty()).or_else(|| {
            let in_events = || lists_in_events(span, self.list, self.before).next();
            list_of(span, self.list)
                .or_else(in_events)
                .map(|list| listed(&list))
        })
    }
}

fn calls(span: &Said<'_>) -> Vec<Value> {
    let told = || {
        // Of several answers the first is told.
        let choice = told(span, "gen_ai.choice").next()?;
        Some(called_in(choice.get("message").unwrap_or(&choice)))
    };
    let found = GAVE.find(span, numbered_calls, calls_in).or_else(told);
    found.unwrap_or_default()
}

/// What a generation was given that tools answered to the one before it: `{id, value}`.
pub fn results(span: &Said<'_>) -> Vec<Value> {
    let told = || {
        let messages = told(span, "gen_ai.tool.message");
        messages.filter_map(|message| answer(&message)).collect()
    };
    GIVEN
        .find(span, numbered_results, results_in)
        .unwrap_or_else(told)
}

/// What events and log records of this name tell.
fn told(span: &Said<'_>, wanted: &str) -> impl Iterator<Item = Value> {
    let all = events_and_logs(span).filter(move |(name, _)| *name == wanted);
    all.map(|(_, message)| told_in(message))
}

/// What messages, or one, call.
fn calls_in(list: &Value) -> Vec<Value> {
    match messages(list) {
        Some(own) => own.iter().flat_map(called_in).collect(),
        None => called_in(list),
    }
}

/// What is answered in the last of several messages: answers of tools come behind the last words of whomever.
fn results_in(list: &Value) -> Vec<Value> {
    let given = messages(list).into_iter().flatten().rev();
    let answers = given.map(answered_in);
    let of_tools = answers.take_while(|answers| !answers.is_empty());
    of_tools.flatten().collect()
}

fn called_in(message: &Value) -> Vec<Value> {
    let calls = message.get("tool_calls").and_then(Value::as_array);
    let calls = calls.into_iter().flatten();
    calls
        .chain(parts(message, &CALLING))
        .filter_map(call)
        .collect()
}

fn answered_in(message: &Value) -> Vec<Value> {
    if message["role"] == "tool" && message.get("parts").is_none() {
        return answer(message).into_iter().collect();
    }
    parts(message, &ANSWERING).filter_map(answer).collect()
}

/// The parts of a message that are of these sorts.
fn parts<'a>(message: &'a Value, sorts: &[&str]) -> impl Iterator<Item = &'a Value> {
    let lists = ["parts", "content"];
    let parts = lists.iter().find_map(|name| message.get(*name)?.as_array());
    let is_wanted = |part: &&Value| {
        part["type"]
            .as_str()
            .is_some_and(|sort| sorts.contains(&sort))
    };
    parts.into_iter().flatten().filter(is_wanted)
}

fn call(call: &Value) -> Option<Value> {
    let function = call.get("function").unwrap_or(call);
    let named = function
        .get("name")
        .or(function.get("toolName"))?
        .as_str()?;
    let mut told = Map::new();
    put(&mut told, "id", Some(id(call)?));
    put(&mut told, "name", Some(named));
    let with = ARGUMENTS.iter().find_map(|name| function.get(*name));
    put(&mut told, "arguments", with.map(tool_value));
    Some(told.into())
}

fn answer(answer: &Value) -> Option<Value> {
    let value = ANSWERS.iter().find_map(|name| answer.get(*name))?;
    Some(json!({"id": id(answer)?, "value": tool_value(in_words(value))}))
}

fn id(value: &Value) -> Option<&str> {
    let mut ids = ["tool_call_id"].iter().chain(&IDS);
    let id = ids.find_map(|name| value.get(*name)?.as_str())?;
    Some(id).filter(|id| !id.is_empty())
}

/// Calls whose members are attributes with numbers in their names.
fn numbered_calls(span: &Said<'_>, prefix: &str, member: &str) -> Vec<Value> {
    let mut found: BTreeMap<(usize, usize), Map<String, Value>> = BTreeMap::new();
    for (name, value) in span.attributes() {
        let place = || {
            let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
            let (message, rest) = rest.split_once('.')?;
            let rest = rest.strip_prefix(member)?.strip_prefix("tool_calls.")?;
            let (call, rest) = rest.split_once('.')?;
            let last = rest.rsplit('.').next()?;
            Some(((message.parse().ok()?, call.parse().ok()?), last))
        };
        if let Some((place, last)) = place() {
            // It counts as read, as what is told of elsewhere.
            span.value(name);
            let members = found.entry(place).or_default();
            members.insert(last.to_owned(), value.clone());
        }
    }
    let calls = found.into_values().map(Value::from);
    calls.filter_map(|members| call(&members)).collect()
}

/// Answers of tools whose members are such attributes: those of the last messages.
fn numbered_results(span: &Said<'_>, prefix: &str, member: &str) -> Vec<Value> {
    let number = |name: &str| -> Option<usize> {
        let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
        rest.split('.').next()?.parse().ok()
    };
    let numbers: BTreeSet<usize> = span
        .attributes()
        .filter_map(|(name, _)| number(name))
        .collect();
    let attribute = |number: usize, last: &str| {
        let name = format!("{prefix}.{number}.{member}{last}");
        span.text(&name)
    };
    let of_tools = numbers
        .into_iter()
        .rev()
        .take_while(|number| attribute(*number, "role") == Some("tool"));
    let result = |number| {
        let id = attribute(number, "tool_call_id")?;
        let value = tool_value(&parsed(attribute(number, "content")?));
        Some(json!({"id": id, "value": value}))
    };
    of_tools.filter_map(result).collect()
}
