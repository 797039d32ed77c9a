//! The same tool asked the same again and again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::view::View;
use super::tell::{count, excerpt};
use crate::domain::items::{ToolCall, covered_ms};

const TIMES_MIN: usize = 3;
const TIMES_AFTER_ERROR_MIN: usize = 2;

#[derive(Default)]
struct Calls {
    count: usize,
    failed: usize,
    /// Asked again after it failed.
    again: usize,
    last_turn: Option<i32>,
    at_ms: Option<f64>,
    /// When all but the first ran, of those that the call waited for.
    intervals: Vec<(i32, i32)>,
}

/// What the tool was called with; none where nothing is told.
fn given(tool: &ToolCall) -> Option<&Value> {
    tool.arguments.as_ref().filter(|value| !value.is_null())
}

pub fn find(view: &View) -> Vec<Issue> {
    // A tool that takes none is called alike every time. One that took some elsewhere in the call took some
    // here too, and nobody knows which.
    let with_some = view.tools().filter(|(tool, _)| given(tool).is_some());
    let takes_some: BTreeSet<&str> = with_some
        .filter_map(|(tool, _)| tool.name.as_deref())
        .collect();
    let mut all: BTreeMap<(&str, String), Calls> = BTreeMap::new();
    for (tool, turn) in view.tools() {
        let Some(name) = tool.name.as_deref() else {
            continue;
        };
        // Members of an object are in order, so that equal arguments are equal texts.
        let arguments = match given(tool) {
            Some(arguments) => arguments.to_string(),
            None if takes_some.contains(name) => continue,
            None => String::new(),
        };
        let calls = all.entry((name, arguments)).or_default();
        calls.again += usize::from(calls.failed > 0);
        calls.count += 1;
        calls.failed += usize::from(tool.failed());
        calls.last_turn = turn.or(calls.last_turn);
        calls.at_ms = tool.start_ms.map(f64::from).or(calls.at_ms);
        let is_beside = tool.extra.get("async").and_then(Value::as_bool) == Some(true);
        let waited_for = tool.interval().filter(|_| calls.count > 1 && !is_beside);
        calls.intervals.extend(waited_for);
    }
    all.into_iter()
        .filter_map(|((name, arguments), calls)| tell(name, &arguments, &calls))
        .collect()
}

fn tell(name: &str, arguments: &str, calls: &Calls) -> Option<Issue> {
    let after_error = calls.again > 0 && calls.count >= TIMES_AFTER_ERROR_MIN;
    if calls.count < TIMES_MIN && !after_error {
        return None;
    }
    let failing = if calls.failed > 0 {
        format!(", {} with an error", count(calls.failed, "time"))
    } else {
        String::new()
    };
    let description = format!(
        "The tool `{name}` was called {} with{} arguments{failing}.",
        count(calls.count, "time"),
        if arguments.is_empty() {
            "out"
        } else {
            " equal"
        }
    );
    let advice = if calls.failed > 0 {
        "Explain the error to the model in the tool's result, so that it changes its arguments or gives up."
    } else {
        "See that the tool's result reaches the model and says all that it needs; stop after a number of equal calls."
    };
    // What ran at the same time was waited for once.
    let ms = covered_ms(calls.intervals.iter().copied());
    let mut issue = Issue::new(IssueType::ToolLoop, Severity::Major, description)
        .in_stage(Some(Stage::Tool))
        .at(calls.at_ms)
        .costs(Some(ms).filter(|ms| *ms > 0.0))
        .shows("tool", name)
        .shows("calls", calls.count)
        .shows("errors", calls.failed)
        .advise(advice);
    if !arguments.is_empty() {
        let quote = format!("The arguments: {}.", excerpt(arguments));
        issue = issue.quotes(quote, "arguments", excerpt(arguments));
    }
    issue.turn = calls.last_turn;
    issue.lost = calls
        .intervals
        .iter()
        .map(|(from, to)| (i64::from(*from), i64::from(*to)))
        .collect();
    Some(issue)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, found};
    use super::*;

    fn calls(tools: Value) -> Vec<Issue> {
        let mut call = clean(4);
        call["toolCalls"] = tools;
        found(&call, IssueType::ToolLoop)
    }

    #[test]
    fn three_equal_calls_are_a_loop() {
        let one =
            |turn: i32| json!({"turn": turn, "name": "find", "arguments": {"b": 1, "a": "x"}});
        let turned = json!({"turn": 5, "name": "find", "arguments": {"a": "x", "b": 1}});
        let found = calls(json!([one(1), one(3), turned]));
        assert_eq!(
            found[0].description,
            "The tool `find` was called 3 times with equal arguments."
        );
        assert_eq!(found[0].turn, Some(5));
        assert!(found[0].quoted.as_deref().unwrap().contains("\"x\""));
        assert!(calls(json!([one(1), one(3)])).is_empty());
        let other = json!({"turn": 5, "name": "find", "arguments": {"a": "y", "b": 1}});
        assert!(calls(json!([one(1), one(3), other])).is_empty());
    }

    #[test]
    fn without_arguments_every_call_is_the_same() {
        let none = |turn: i32| json!({"turn": turn, "name": "now"});
        let found = calls(json!([none(1), none(3), none(5)]));
        assert_eq!(
            found[0].description,
            "The tool `now` was called 3 times without arguments."
        );
        assert_eq!((found[0].turn, &found[0].quoted), (Some(5), &None));
        assert!(calls(json!([none(1), none(3)])).is_empty());
        let failed = json!({"turn": 1, "name": "now", "error": "no"});
        assert_eq!(calls(json!([failed, none(3)])).len(), 1);
        // It takes arguments, which were not told every time.
        let some = json!({"turn": 7, "name": "now", "arguments": {"zone": "UTC"}});
        assert!(calls(json!([none(1), none(3), none(5), some])).is_empty());
    }

    #[test]
    fn once_more_after_an_error_is_a_loop() {
        let failed = json!({"turn": 1, "name": "find", "arguments": {}, "error": "no"});
        let again = json!({"turn": 3, "name": "find", "arguments": {}});
        assert_eq!(calls(json!([failed, again])).len(), 1);
        assert!(calls(json!([failed])).is_empty());
        // The last of two failed: nobody asked again.
        let later = json!({"turn": 5, "name": "find", "arguments": {}, "error": "no"});
        assert!(calls(json!([again, later])).is_empty());
    }
}
