//! Tool calls: in the messages that a generation was given, which repeat all calls before it too.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::domain::event::Kind;
use crate::domain::items::error_of_tool;

use super::super::calls::{error_in, put, tool_value};
use super::super::{Beside, Gist, Part, Said, calls, moment};
use super::given::{Item, bare, items};
use super::realtime;
use super::speech::Speech;

/// What stands for a result that is not there yet.
const PENDING: [&str; 2] = ["IN_PROGRESS", "in_progress"];
/// What stands for the result of a call that was given up.
const CUT_OFF: &str = "CANCELLED";
/// Later generations repeat what earlier ones were given: the end is looked at, back to the answer before
/// the last, for a result may come late.
const ANSWERS_BACK: usize = 2;
const CALLS_MAX: usize = 16;
/// Marks a span of a tool that is done.
const IS_OVER: &str = "isOver";
/// The names of all tools that were asked for at once.
const CALLED: &str = "called";
/// Marks a call behind which the model has answered already.
const ANSWERED: &str = "answered";
/// Marks a result behind which the user has spoken already.
const SPOKEN_ON: &str = "spokenOn";
/// Marks a result behind which the user has spoken, or the application in the user's place.
const ASKED_ON: &str = "askedOn";

/// Reads the calls in the messages that a model was given.
pub fn read_messages(messages: &[Value], fields: &mut Map<String, Value>) {
    let tools = in_messages(messages);
    put(fields, "tools", (!tools.is_empty()).then_some(tools));
}

/// The calls in the last messages of a list, the oldest first: `{id, name, arguments, result}`. Of one that stands
/// further back the result may come alone.
fn in_messages(messages: &[Value]) -> Vec<Value> {
    let mut read = Backwards::default();
    for message in messages.iter().rev() {
        for item in items(message).into_iter().rev() {
            read.take(item);
        }
        if read.answers >= ANSWERS_BACK || read.found.len() >= CALLS_MAX {
            break;
        }
    }
    let of_earlier = read.results.into_iter().filter_map(|(id, result)| {
        let mut read = Map::new();
        put(&mut read, "id", Some(id));
        put_result(&mut read, Some(result));
        read.contains_key("result").then_some(Value::Object(read))
    });
    let mut found = read.found;
    found.extend(of_earlier);
    found.reverse();
    found
}

/// What messages tell that are read from the last of them on.
#[derive(Default)]
struct Backwards {
    found: Vec<Value>,
    /// Results of calls that are not found yet.
    results: BTreeMap<String, Given>,
    answers: usize,
    has_spoken: bool,
}

/// A result, and what marks it where somebody has spoken since.
struct Given {
    value: Option<Value>,
    since: Option<&'static str>,
}

impl Backwards {
    fn take(&mut self, item: Item<'_>) {
        match item {
            Item::Answer => self.answers += 1,
            Item::Asked => self.has_spoken = true,
            Item::Result(answered) => {
                let mark = match answered.is_among_users {
                    true => ASKED_ON,
                    false => SPOKEN_ON,
                };
                let given = Given {
                    value: answered.value,
                    since: self.has_spoken.then_some(mark),
                };
                self.results.entry(answered.id).or_insert(given);
            }
            Item::Call {
                id,
                name,
                arguments,
            } => {
                let mut read = Map::new();
                put(&mut read, "id", Some(id));
                put(&mut read, "name", name.cloned());
                put(&mut read, "arguments", arguments.map(tool_value));
                put(&mut read, ANSWERED, (self.answers > 0).then_some(true));
                put_result(&mut read, self.results.remove(id));
                self.found.push(Value::Object(read));
            }
        }
    }
}

fn put_result(read: &mut Map<String, Value>, given: Option<Given>) {
    let Some(given) = given else {
        return;
    };
    if let Some(result) = given.value.filter(|result| !is_pending(result)) {
        put(read, "result", Some(tool_value(&result)));
        if let Some(mark) = given.since {
            put(read, mark, Some(true));
        }
    }
}

fn is_pending(result: &Value) -> bool {
    let text = result.as_str().or_else(|| result.get("response")?.as_str());
    let text = text.unwrap_or_default().trim_matches('"');
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
    let result = span.value("tool.result").map(tool_value);
    let result = result.map(|result| tool_value(&bare(&result)));
    put(fields, "result", result);
    let is_over = span.name == "llm_tool_result";
    put(fields, IS_OVER, is_over.then_some(true));
    put(fields, CALLED, span.text("tool.all_function_names"));
    calls::read_failure(span, fields);
}

/// One call, as all that speak of it have it.
#[derive(Default)]
struct Call {
    fields: Map<String, Value>,
    turn: Option<String>,
    at: DateTime<Utc>,
    /// When the generation was over that asked for it.
    asked_at: Option<DateTime<Utc>>,
    /// When that had begun.
    asked_since: Option<DateTime<Utc>>,
}

/// All calls of a session, each once. `place` tells of a gist the turn that it is part of, and the generation
/// that asked for it.
pub fn calls<'a>(
    gists: &[&'a Gist],
    speech: &Speech<'_>,
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
                let asked_at = before.map(realtime::over_at);
                put(&mut fields, "startMs", asked_at.map(moment));
                put(&mut fields, "derived", Some(true));
                let call = Call {
                    fields,
                    turn,
                    at: gist.started_at,
                    asked_at,
                    asked_since: before.map(|asked| asked.started_at),
                };
                found.insert(id.to_owned(), call);
            }
            let Some(call) = found.get_mut(id) else {
                continue;
            };
            // It ran between the generation that asked for it and the one that was told, unless that waited for the
            // user, or for what the agent said meanwhile.
            let is_first = tool.contains_key("result") && !call.fields.contains_key("result");
            if is_first {
                call.at = call.at.max(gist.started_at);
                let is_placed = call.fields.contains_key("startMs");
                let has_spoken = tool.contains_key(SPOKEN_ON)
                    || tool.contains_key(ASKED_ON) && is_heard_since(gists, call.asked_at, gist);
                let is_held_up = call
                    .asked_since
                    .is_some_and(|since| speech.holds_up(since, gist.started_at));
                let was_awaited = is_placed && !has_spoken && !is_held_up && !is_cut_off(tool);
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
            let is_over = calls::is_set(gist, IS_OVER);
            let fields = &mut call.fields;
            if !fields.contains_key("startMs") {
                let asked = match is_over {
                    true => asked_with_others(gists, gist).map(|asked| asked.started_at),
                    false => Some(gist.started_at),
                };
                put(fields, "startMs", asked.map(moment));
            }
            let has_ended = is_over && !is_cut_off(&gist.fields) || calls::has_failed(gist);
            put(fields, "endMs", has_ended.then(|| moment(gist.started_at)));
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

/// Whether a call's result is that it was given up, which is told some time after.
fn is_cut_off(told: &Map<String, Value>) -> bool {
    told.get("result").and_then(Value::as_str) == Some(CUT_OFF)
}

/// The span by which a model asked for several tools, of which it names all, but says more of the first only.
fn asked_with_others<'a>(gists: &[&'a Gist], result: &Gist) -> Option<&'a Gist> {
    let name = calls::text(result, "name")?;
    let is_its = |gist: &&&Gist| {
        let called = calls::text(gist, CALLED).unwrap_or_default();
        gist.started_at <= result.started_at
            && gist.trace_id == result.trace_id
            && called.split(',').any(|called| called == name)
    };
    gists.iter().rfind(is_its).copied()
}

/// Whether a user was transcribed before a generation, but after what had asked for a tool.
fn is_heard_since(gists: &[&Gist], asked_at: Option<DateTime<Utc>>, told: &Gist) -> bool {
    gists.iter().any(|gist| {
        let over = calls::end(gist);
        gist.part == Part::Stt && Some(over) > asked_at && over <= told.started_at
    })
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
        ..
    } = call;
    put(&mut fields, "callId", Some(id.as_str()));
    let found = fields.get("result").and_then(error_in);
    if let Some(error) = found {
        fields.entry("error").or_insert(error);
    }
    let error = error_of_tool(&fields).map(|mut error| {
        let details = error.entry("details").or_insert_with(|| json!({}));
        details["callId"] = Value::from(id.as_str());
        error
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
