//! Calls of tools that the agent does not have. No span tells of them: a model is told so with what it is given next, since
//! 1.8.

use serde_json::{Map, Value};

use crate::domain::event::Kind;
use crate::domain::items;
use crate::domain::vocabulary::called::results;
use crate::domain::vocabulary::{Beside, Gist, Said, moment};

use super::super::calls::{NO_SUCH_TOOL, put};

/// Calls that a model has been told are of no tool: `{id, value}`.
const UNKNOWN: &str = "unknownTools";
/// Where a model's messages stand.
const GIVEN: &str = "gen_ai.input.messages";

/// Reads what a generation was told of the calls before it.
pub fn read(span: &Said<'_>, fields: &mut Map<String, Value>) {
    // Few are: the messages grow with the conversation, and are not taken apart for nothing.
    let is_told = |messages: &str| messages.contains(NO_SUCH_TOOL);
    if !span.text(GIVEN).is_some_and(is_told) {
        return;
    }
    let answers = results(span).into_iter();
    let unknown: Vec<Value> = answers.filter(|answer| name(answer).is_some()).collect();
    put(fields, UNKNOWN, (!unknown.is_empty()).then_some(unknown));
}

/// The name of a tool that there is not, in the answer that says so: some name those that there are behind it.
fn name(answer: &Value) -> Option<&str> {
    let named = answer["value"].as_str()?.strip_prefix(NO_SUCH_TOOL)?;
    let name = named.split(" - ").next()?.trim();
    (!name.is_empty()).then_some(name)
}

/// Each such call once, as a call that failed, and as an error. `turn_of` tells the turn that a span belongs to.
pub fn tools(gists: &[&Gist], turn_of: impl Fn(&Gist) -> Option<String>) -> Vec<Beside> {
    let mut told = Vec::new();
    for gist in gists {
        let answers = gist.fields.get(UNKNOWN).and_then(Value::as_array);
        for answer in answers.into_iter().flatten() {
            let (Some(id), Some(name)) = (answer["id"].as_str(), name(answer)) else {
                continue;
            };
            let mut call = Map::new();
            put(&mut call, "callId", Some(id));
            put(&mut call, "name", Some(name));
            put(&mut call, "error", Some(answer["value"].clone()));
            // Refused at once, before the model was asked again.
            put(&mut call, "startMs", Some(moment(gist.started_at)));
            put(&mut call, "endMs", Some(moment(gist.started_at)));
            put(&mut call, "derived", Some(true));
            let beside = |kind, sort, fields| Beside {
                kind,
                id: format!("{sort}:{}:{}:{id}", gist.trace_id, gist.span_id),
                at: gist.started_at,
                turn: turn_of(gist),
                fields,
            };
            let error = items::error_of_tool(&call);
            told.extend(error.map(|fields| beside(Kind::Error, "error", fields)));
            told.push(beside(Kind::ToolCall, "tool", call));
        }
    }
    told
}
