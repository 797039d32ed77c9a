//! A tool that the caller waited for in silence.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::latency::Part;
use super::super::view::{View, is_async};
use super::super::wait::Wait;
use super::tell::{time, time_beside};

pub fn find(view: &View) -> Vec<Issue> {
    view.waits()
        .filter_map(|wait| of_turn(view, &wait))
        .collect()
}

fn of_turn(view: &View, wait: &Wait) -> Option<Issue> {
    let latency = wait.latency;
    wait.ms?;
    let target = f64::from(view.targets.stages.tool_ms);
    let on_path = latency
        .segments
        .iter()
        .find(|segment| segment.part == Part::Tool)?;
    let waited_ms = wait.at_most(on_path.ms);
    if waited_ms <= target {
        return None;
    }
    let spoken = &view.turns[view.place_of(latency.turn)?];
    let waited_for = view
        .tools_of(latency.turn)
        .iter()
        .filter(|tool| !is_async(tool));
    let longest = waited_for
        .filter_map(|tool| {
            Some((
                tool,
                tool.interval()
                    .map(|(from, to)| i64::from(to) - i64::from(from))?,
            ))
        })
        .max_by_key(|(_, ms)| *ms);
    let name = longest
        .and_then(|(tool, _)| tool.name.as_deref())
        .unwrap_or("a tool");
    let description = format!(
        "The caller waited {} for `{name}` (target: <{}), and nothing was said before it.",
        time_beside(waited_ms, target),
        time(target)
    );
    Some(
        Issue::new(IssueType::SlowTool, Severity::Major, description)
            .of_turn(spoken)
            .in_stage(Some(Stage::Tool))
            .costs(Some(waited_ms - target))
            .until(spoken.start_ms)
            .shows("tool", name)
            .shows("tools", view.tools_of(latency.turn).len())
            .measures("toolMs", Some(waited_ms))
            .measures("targetMs", Some(target))
            .measures("gapMs", latency.gap_ms)
            .measures("waitedMs", wait.shorter_ms())
            .advise("Say a lead-in before the tool runs, run it asynchronously, cache its result, or give it a time-out."),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::fixture::{clean, delay, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::SlowTool;

    /// The second answer comes so much later, because of a tool that takes so long.
    fn with_tool(ms: i64) -> Value {
        let mut call = clean(3);
        delay(&mut call, 3, ms);
        call["turns"][3]["latencyMs"] = json!(900 + ms);
        let asked = call["turns"][2]["endMs"].as_i64().unwrap() + 500;
        call["toolCalls"] =
            json!([{"turn": 3, "name": "find_order", "startMs": asked, "endMs": asked + ms}]);
        call
    }

    #[test]
    fn a_tool_over_the_target_is_named() {
        let issue = issue(&with_tool(1400), KIND);
        assert_eq!(
            issue.description,
            "The caller waited 1.4s for `find_order` (target: <1s), and nothing was said before it."
        );
        assert_eq!((issue.turn, issue.impact_ms), (Some(3), Some(400)));
        assert!(found(&with_tool(1000), KIND).is_empty());
        assert_eq!(found(&with_tool(1001), KIND).len(), 1);
    }

    #[test]
    fn tools_beside_each_other_and_behind_speech_are_not_waited_for_twice() {
        let mut call = with_tool(900);
        let tool = call["toolCalls"][0].clone();
        call["toolCalls"].as_array_mut().unwrap().push(tool);
        assert!(found(&call, KIND).is_empty());
        // Begun when the agent was already heard.
        let mut call = clean(3);
        let start = call["turns"][3]["startMs"].as_i64().unwrap() + 500;
        call["toolCalls"] =
            json!([{"turn": 3, "name": "find", "startMs": start, "endMs": start + 2500}]);
        assert!(found(&call, KIND).is_empty());
        let mut call = with_tool(1400);
        call["toolCalls"][0]["async"] = json!(true);
        assert!(found(&call, KIND).is_empty());
    }
}
