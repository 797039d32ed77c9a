//! A tool that returned an error.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::view::{View, is_async};
use super::tell::{excerpt, time};
use crate::domain::items::ToolCall;

pub fn find(view: &View) -> Vec<Issue> {
    let failed = view.tools().filter(|(tool, _)| tool.failed());
    failed
        .map(|(tool, turn)| {
            let mut issue = tell(view, tool).at(tool.start_ms.map(f64::from));
            issue.turn = turn;
            issue
        })
        .collect()
}

fn tell(view: &View, tool: &ToolCall) -> Issue {
    let target = f64::from(view.targets.stages.tool_ms);
    let name = tool.name.as_deref().unwrap_or("A tool");
    let ms = tool
        .interval()
        .map(|(from, to)| f64::from(to) - f64::from(from));
    let after = ms
        .map(|ms| format!(" after {}", time(ms)))
        .unwrap_or_default();
    let description = format!("The tool `{name}` returned an error{after}.");
    let issue = Issue::new(IssueType::ToolError, Severity::Major, description)
        .in_stage(Some(Stage::Tool))
        .costs(ms.filter(|_| !is_async(tool)).map(|ms| ms - target))
        .until(tool.end_ms.map(f64::from))
        .shows("tool", name)
        .measures("toolMs", ms)
        .advise("Tell the model in the tool's result what went wrong and what it may do instead, and check the arguments before the call.");
    match &tool.error {
        Some(error) if !error.is_boolean() => {
            let text = error
                .as_str()
                .map_or_else(|| error.to_string(), str::to_owned);
            issue.quotes(
                format!("The error: \"{}\".", excerpt(&text)),
                "error",
                excerpt(&text),
            )
        }
        _ => issue,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::ToolError;

    #[test]
    fn an_error_is_told_and_quoted_apart() {
        let mut call = clean(3);
        call["toolCalls"] = json!([{"turn": 3, "name": "find_order", "startMs": 7000, "endMs": 7200,
            "error": "no order of Mrs Fisher"}]);
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "The tool `find_order` returned an error after 200ms."
        );
        // Nobody waited longer than for a tool that works.
        assert_eq!((issue.turn, issue.impact_ms), (Some(3), Some(0)));
        assert!(issue.description_for(true).contains("Fisher"));
        assert_eq!(issue.evidence_for(false).get("error"), None);
    }

    #[test]
    fn it_costs_what_is_beyond_the_target() {
        for (ms, cost) in [(999, 0), (1000, 0), (1001, 1), (2500, 1500)] {
            let mut call = clean(3);
            call["toolCalls"] = json!([{"turn": 3, "name": "find", "startMs": 7000, "endMs": 7000 + ms, "error": "no"}]);
            assert_eq!(issue(&call, KIND).impact_ms, Some(cost), "{ms}");
        }
        let mut call = clean(3);
        call["toolCalls"] = json!([{"turn": 3, "name": "find", "startMs": 7000, "endMs": 9500, "error": "no", "async": true}]);
        assert_eq!(issue(&call, KIND).impact_ms, None);
    }

    #[test]
    fn a_turn_that_is_not_there_is_none() {
        let mut call = clean(3);
        call["toolCalls"] = json!([{"turn": 99, "name": "find", "error": "no"}]);
        assert_eq!(issue(&call, KIND).turn, None);
        call["toolCalls"][0]["turn"] = json!(3);
        assert_eq!(issue(&call, KIND).turn, Some(3));
    }

    #[test]
    fn no_error_is_none() {
        let mut call = clean(3);
        call["toolCalls"] =
            json!([{"turn": 3, "name": "find", "error": false}, {"turn": 3, "result": 1}]);
        assert!(found(&call, KIND).is_empty());
    }
}
