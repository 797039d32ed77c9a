//! Tool calls: in the messages that a generation was given, which repeat all calls before it too.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::domain::event::Kind;

use super::super::calls::{error_in, put, tool_value};
use super::super::{Beside, Gist, Said, calls, moment};
use super::realtime;

/// What stands for a result that is not there yet.
const PENDING: [&str; 2] = ["IN_PROGRESS", "in_progress"];
/// Later generations repeat what earlier ones were given: the end is looked at, back to the answer before
/// the last, for a result may come late.
const ANSWERS_BACK: usize = 2;
const CALLS_MAX: usize = 16;

/// Reads the calls in the messages that a model was given.
pub fn read_messages(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let tools = span.text("input").map(in_messages).unwrap_or_default();
    put(fields, "tools", (!tools.is_empty()).then_some(tools));
}

/// The calls in the last messages of a list, the oldest first: `{id, name, arguments, result}`.
fn in_messages(input: &str) -> Vec<Value> {
    let Ok(Value::Array(messages)) = serde_json::from_str::<Value>(input) else {
        return Vec::new();
    };
    let (mut found, mut results, mut answers) = (Vec::new(), BTreeMap::new(), 0);
    for message in messages.iter().rev() {
        let list = message.get("tool_calls").and_then(Value::as_array);
        let parts = message.get("content").and_then(Value::as_array);
        let of_type = |wanted: &'static str| {
            let parts = parts.into_iter().flatten();
            parts.filter(move |part| part["type"].as_str() == Some(wanted))
        };
        // Another provider's way: calls and results are parts of what was said.
        for part in of_type("tool_result") {
            if let Some(id) = part["tool_use_id"].as_str() {
                results.entry(id).or_insert_with(|| part.get("content"));
            }
        }
        let used: Vec<&Value> = of_type("tool_use").collect();
        found.extend(
            used.iter()
                .rev()
                .filter_map(|part| read_use(part, &results)),
        );
        match message.get("role").and_then(Value::as_str) {
            Some("tool") => {
                if let Some(id) = message.get("tool_call_id").and_then(Value::as_str) {
                    results.entry(id).or_insert_with(|| message.get("content"));
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
                    found.extend(read_call(call, &results));
                }
            }
        }
        if found.len() >= CALLS_MAX {
            break;
        }
    }
    found.reverse();
    found
}

type Results<'a> = BTreeMap<&'a str, Option<&'a Value>>;

fn read_call(call: &Value, results: &Results<'_>) -> Option<Value> {
    let function = call.get("function")?;
    whole(
        call,
        function.get("name"),
        function.get("arguments"),
        results,
    )
}

fn read_use(part: &Value, results: &Results<'_>) -> Option<Value> {
    whole(part, part.get("name"), part.get("input"), results)
}

/// A call and its result.
fn whole(
    call: &Value,
    name: Option<&Value>,
    arguments: Option<&Value>,
    results: &Results<'_>,
) -> Option<Value> {
    let id = call.get("id")?.as_str()?;
    let mut read = Map::new();
    put(&mut read, "id", Some(id));
    put(&mut read, "name", name.cloned());
    put(&mut read, "arguments", arguments.map(tool_value));
    let result = results.get(id).copied().flatten();
    let result = result.filter(|result| !is_pending(result));
    put(&mut read, "result", result.map(tool_value));
    Some(Value::Object(read))
}

fn is_pending(result: &Value) -> bool {
    let text = result.as_str().unwrap_or_default().trim_matches('"');
    PENDING.contains(&text)
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
/// before it in that turn.
pub fn calls<'a>(
    gists: &[&'a Gist],
    place: impl Fn(&Gist) -> (Option<String>, Option<&'a Gist>),
) -> Vec<Beside> {
    let mut found: BTreeMap<String, Call> = BTreeMap::new();
    for gist in gists {
        let listed = gist.fields.get("tools").and_then(Value::as_array);
        for tool in listed.into_iter().flatten() {
            let Some(id) = tool.get("id").and_then(Value::as_str) else {
                continue;
            };
            let (turn, before) = place(gist);
            let call = found.entry(id.to_owned()).or_insert_with(|| {
                let mut fields = Map::new();
                // It ran between the generation that asked for it and the one that was told.
                put(
                    &mut fields,
                    "startMs",
                    before.map(|llm| moment(realtime::over_at(llm))),
                );
                put(
                    &mut fields,
                    "endMs",
                    before.map(|_| moment(gist.started_at)),
                );
                put(&mut fields, "derived", Some(true));
                Call {
                    fields,
                    turn,
                    at: gist.started_at,
                }
            });
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
