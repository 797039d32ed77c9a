//! Tools of an exchange that only the messages of its generations tell of: they ran between the generation that called
//! them and the one that was given what they answered.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::called::{CALLS, RESULTS};
use super::super::calls::{end, has_failed, put};
use super::super::{Gist, Part};
use super::group::Group;

/// Marks a tool whose times follow from those of the generations around it.
pub const DERIVED: &str = "derived";

/// The tools as if each had a span.
pub fn tools(group: &Group<'_>) -> Vec<Gist> {
    let mut tools = Vec::new();
    let mut answers = BTreeMap::new();
    let generations: Vec<&Gist> = group.of(Part::Llm).collect();
    // From the last to the first: of those behind a call the next that was given an answer counts.
    for gist in generations.into_iter().rev() {
        let calls = items(gist, CALLS).filter(|_| !has_failed(gist));
        let called: Vec<Gist> = calls
            .filter_map(|call| tool(gist, call, &answers))
            .collect();
        tools.extend(called.into_iter().rev());
        for result in items(gist, RESULTS) {
            let id = result["id"].as_str();
            answers.extend(id.map(|id| (id, (gist, result.get("value")))));
        }
    }
    tools.reverse();
    tools
}

/// What generations were given that tools answered, by the call.
type Answers<'a> = BTreeMap<&'a str, (&'a Gist, Option<&'a Value>)>;

fn items<'a>(gist: &'a Gist, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let items = gist.fields.get(name).and_then(Value::as_array);
    items.into_iter().flatten()
}

fn tool(by: &Gist, call: &Value, answers: &Answers<'_>) -> Option<Gist> {
    let id = call["id"].as_str()?;
    let answered = answers.get(id);
    let mut fields = Map::new();
    put(&mut fields, "callId", Some(id));
    for name in ["name", "arguments"] {
        put(&mut fields, name, call.get(name).cloned());
    }
    let result = answered.and_then(|(_, result)| result.cloned());
    put(&mut fields, "result", result);
    put(&mut fields, DERIVED, Some(true));
    Some(Gist {
        part: Part::Tool,
        span_id: format!("{}/{id}", by.span_id),
        started_at: end(by),
        ended_at: answered.map(|(next, _)| next.started_at.max(end(by))),
        parent: Some(by.span_id.clone()),
        fields,
        session: Map::new(),
        ..by.clone()
    })
}
