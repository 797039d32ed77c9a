//! Tool calls: in the messages that a generation was given, which repeat all calls before it too.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::domain::event::Kind;

use super::super::calls::{error_in, put, tool_value};
use super::super::{Beside, Gist, Part, Said, calls, moment};
use super::realtime;

/// What stands for a result that is not there yet.
const PENDING: [&str; 2] = ["IN_PROGRESS", "in_progress"];
/// Later generations repeat what earlier ones were given: the end is looked at, back to the answer before
/// the last, for a result may come late.
const ANSWERS_BACK: usize = 2;
const CALLS_MAX: usize = 16;
/// What a message says it is that tells of a tool which runs on while the conversation does.
const ASYNC: &str = "async_tool";
/// Marks a call behind which the model has answered already.
const ANSWERED: &str = "answered";
/// Marks a result behind which the user has spoken already.
const SPOKEN_ON: &str = "spokenOn";

/// Reads the calls in the messages that a model was given.
pub fn read_messages(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let tools = span.text("input").map(in_messages).unwrap_or_default();
    put(fields, "tools", (!tools.is_empty()).then_some(tools));
}

/// The calls in the last messages of a list, the oldest first: `{id, name, arguments, result}`. Of one that stands
/// further back the result may come alone.
fn in_messages(input: &str) -> Vec<Value> {
    let Ok(Value::Array(messages)) = serde_json::from_str::<Value>(input) else {
        return Vec::new();
    };
    let (mut found, mut results, mut answers) = (Vec::new(), Results::new(), 0);
    let mut has_spoken = false;
    for message in messages.iter().rev() {
        if let Some((id, result)) = later_result(message) {
            results.entry(id).or_insert((result, has_spoken));
            continue;
        }
        let list = message.get("tool_calls").and_then(Value::as_array);
        let parts = message.get("content").and_then(Value::as_array);
        let of_type = |wanted: &'static str| {
            let parts = parts.into_iter().flatten();
            parts.filter(move |part| part["type"].as_str() == Some(wanted))
        };
        // Another provider's way: calls and results are parts of what was said.
        for part in of_type("tool_result") {
            if let Some(id) = part["tool_use_id"].as_str() {
                let result = part.get("content").cloned();
                results.entry(id.to_owned()).or_insert((result, has_spoken));
            }
        }
        let used: Vec<&Value> = of_type("tool_use").collect();
        found.extend(
            used.iter()
                .rev()
                .filter_map(|part| read_use(part, &mut results, answers)),
        );
        match message.get("role").and_then(Value::as_str) {
            Some("tool") => {
                if let Some(id) = message.get("tool_call_id").and_then(Value::as_str) {
                    let result = message.get("content").cloned();
                    results.entry(id.to_owned()).or_insert((result, has_spoken));
                }
            }
            Some("assistant") if list.is_none_or(Vec::is_empty) && used.is_empty() => {
                answers += 1;
                if answers == ANSWERS_BACK {
                    break;
                }
            }
            _ => {
                for call in list.into_iter().flatten().rev() {
                    found.extend(read_call(call, &mut results, answers));
                }
            }
        }
        let is_users = message.get("role").and_then(Value::as_str) == Some("user");
        has_spoken |= is_users && of_type("tool_result").next().is_none();
        if found.len() >= CALLS_MAX {
            break;
        }
    }
    let of_earlier = results.into_iter().filter_map(|(id, result)| {
        let mut read = Map::new();
        put(&mut read, "id", Some(id));
        put_result(&mut read, Some(result));
        read.contains_key("result").then_some(Value::Object(read))
    });
    found.extend(of_earlier);
    found.reverse();
    found
}

/// What each call that is not found yet resulted in, and whether the user has spoken since.
type Results = BTreeMap<String, (Option<Value>, bool)>;

fn read_call(call: &Value, results: &mut Results, answers: usize) -> Option<Value> {
    let function = call.get("function")?;
    let (name, arguments) = (function.get("name"), function.get("arguments"));
    whole(call, name, arguments, results, answers)
}

fn read_use(part: &Value, results: &mut Results, answers: usize) -> Option<Value> {
    let (name, arguments) = (part.get("name"), part.get("input"));
    whole(part, name, arguments, results, answers)
}

/// A call and its result, behind which stand so many answers.
fn whole(
    call: &Value,
    name: Option<&Value>,
    arguments: Option<&Value>,
    results: &mut Results,
    answers: usize,
) -> Option<Value> {
    let id = call.get("id")?.as_str()?;
    let mut read = Map::new();
    put(&mut read, "id", Some(id));
    put(&mut read, "name", name.cloned());
    put(&mut read, "arguments", arguments.map(tool_value));
    put(&mut read, ANSWERED, (answers > 0).then_some(true));
    put_result(&mut read, results.remove(id));
    Some(Value::Object(read))
}

fn put_result(read: &mut Map<String, Value>, result: Option<(Option<Value>, bool)>) {
    let Some((result, has_spoken)) = result else {
        return;
    };
    if let Some(result) = result.filter(|result| !is_pending(result)) {
        put(read, "result", Some(tool_value(&result)));
        put(read, SPOKEN_ON, has_spoken.then_some(true));
    }
}

fn is_pending(result: &Value) -> bool {
    let text = result.as_str().unwrap_or_default().trim_matches('"');
    PENDING.contains(&text)
}

/// The call that a message tells of which ran on beside the conversation, and its result if it is there.
fn later_result(message: &Value) -> Option<(String, Option<Value>)> {
    let content = message.get("content")?;
    let parts = || {
        content
            .as_array()?
            .iter()
            .find_map(|part| part["text"].as_str())
    };
    let text = content.as_str().or_else(parts)?;
    let payload = text.contains(ASYNC).then(|| serde_json::from_str(text));
    let payload: Value = payload?.ok()?;
    let says = |name: &str| payload.get(name).and_then(Value::as_str);
    let id = says("tool_call_id").filter(|_| says("type") == Some(ASYNC))?;
    let is_over = says("status") != Some("running");
    let result = payload.get("result").filter(|_| is_over);
    Some((id.to_owned(), result.cloned()))
}

/// A span of a realtime model that is a call, or its result.
pub fn read(span: &Said<'_>, fields: &mut Map<String, Value>) {
    put(fields, "callId", span.text("tool.call_id"));
    put(fields, "name", span.text("tool.function_name"));
    put(
        fields,
        "arguments",
        span.value("tool.arguments").map(tool_value),
    );
    put(fields, "result", span.value("tool.result").map(tool_value));
    calls::read_failure(span, fields);
}

/// One call, as all that speak of it have it.
#[derive(Default)]
struct Call {
    fields: Map<String, Value>,
    turn: Option<String>,
    at: chrono::DateTime<chrono::Utc>,
}

/// All calls of a session, each once. `place` tells of a gist the turn that it is part of, and the generation
/// that asked for it.
pub fn calls<'a>(
    gists: &[&'a Gist],
    place: impl Fn(&Gist) -> (Option<String>, Option<&'a Gist>),
) -> Vec<Beside> {
    let mut found: BTreeMap<String, Call> = BTreeMap::new();
    let earlier = of_another_conversation(gists);
    for gist in gists {
        for tool in listed(gist) {
            let id = tool.get("id").and_then(Value::as_str);
            let Some(id) = id.filter(|id| !earlier.contains(id)) else {
                continue;
            };
            if !found.contains_key(id) {
                // Only a result, of nobody knows what.
                if !tool.contains_key("name") {
                    continue;
                }
                let (turn, before) = place(gist);
                let mut fields = Map::new();
                let asked = before.map(|llm| moment(realtime::over_at(llm)));
                put(&mut fields, "startMs", asked);
                put(&mut fields, "derived", Some(true));
                let at = gist.started_at;
                found.insert(id.to_owned(), Call { fields, turn, at });
            }
            let Some(call) = found.get_mut(id) else {
                continue;
            };
            // It ran between the generation that asked for it and the one that was told, unless that waited for the
            // user.
            let is_first = tool.contains_key("result") && !call.fields.contains_key("result");
            if is_first {
                call.at = call.at.max(gist.started_at);
                let is_placed = call.fields.contains_key("startMs");
                let was_awaited = is_placed && !tool.contains_key(SPOKEN_ON);
                let told = was_awaited.then(|| moment(gist.started_at));
                put(&mut call.fields, "endMs", told);
            }
            for name in ["name", "arguments", "result"] {
                put(&mut call.fields, name, tool.get(name).cloned());
            }
        }
        if let Some(id) = calls::text(gist, "callId") {
            let call = found.entry(id.to_owned()).or_default();
            call.turn = call.turn.take().or(place(gist).0);
            call.at = call.at.max(calls::end(gist));
            let fields = &mut call.fields;
            fields
                .entry("startMs")
                .or_insert_with(|| moment(gist.started_at));
            put(fields, "endMs", Some(moment(calls::end(gist))));
            for name in ["name", "arguments", "result", "error"] {
                put(fields, name, gist.fields.get(name).cloned());
            }
        }
    }
    found
        .into_iter()
        .flat_map(|(id, call)| told(id, call))
        .collect()
}

fn listed(gist: &Gist) -> impl Iterator<Item = &Map<String, Value>> {
    let tools = gist.fields.get("tools").and_then(Value::as_array);
    tools.into_iter().flatten().filter_map(Value::as_object)
}

/// Calls that the first generation of all was given already with what was said to their results: an application may
/// hand on what a conversation before this one was about.
fn of_another_conversation<'a>(gists: &[&'a Gist]) -> BTreeSet<&'a str> {
    let is_asked = |gist: &&&Gist| matches!(gist.part, Part::Llm | Part::LlmAttempt);
    let first = gists.iter().find(is_asked).copied();
    let answered = first
        .into_iter()
        .flat_map(listed)
        .filter(|tool| tool.contains_key(ANSWERED));
    let ids = answered.filter_map(|tool| tool.get("id")?.as_str());
    ids.collect()
}

/// The call, and its error where it ended in one.
fn told(id: String, call: Call) -> Vec<Beside> {
    let Call {
        mut fields,
        turn,
        at,
    } = call;
    put(&mut fields, "callId", Some(id.as_str()));
    let found = fields.get("result").and_then(error_in);
    if let Some(error) = found {
        fields.entry("error").or_insert(error);
    }
    let error = fields.get("error").map(|error| {
        let message = error
            .as_str()
            .map_or_else(|| error.to_string(), str::to_owned);
        let mut fields = Map::new();
        put(&mut fields, "message", Some(message));
        put(&mut fields, "service", Some("tool"));
        put(&mut fields, "level", Some("error"));
        put(&mut fields, "details", Some(json!({ "callId": id })));
        fields
    });
    let beside = |kind, id, fields| Beside {
        kind,
        id,
        at,
        turn: turn.clone(),
        fields,
    };
    let mut told = vec![beside(Kind::ToolCall, format!("tool/{id}"), fields)];
    told.extend(error.map(|fields| beside(Kind::Error, format!("error/tool/{id}"), fields)));
    told
}
