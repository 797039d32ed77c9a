//! An answer that came late, or a stage that was slow: one issue a turn, naming the stage that took most.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::latency::Clock;
use super::super::targets::Targets;
use super::super::view::{Spoken, View};
use super::super::wait::Wait;
use super::tell::{time, time_beside};

/// So many times the target is critical.
const CRITICAL_FACTOR: f64 = 2.0;

pub fn find(view: &View) -> Vec<Issue> {
    view.waits()
        .filter_map(|wait| {
            let turn = &view.turns[view.place_of(wait.latency.turn)?];
            of_turn(view.targets, &wait, turn)
        })
        .collect()
}

fn of_turn(targets: &Targets, wait: &Wait, turn: &Spoken) -> Option<Issue> {
    let target = f64::from(targets.turn.target_ms);
    match wait.ms.filter(|ms| *ms > target) {
        Some(waited_ms) => Some(slow_turn(targets, wait, turn, waited_ms)),
        None => slow_stage(targets, wait, turn),
    }
}

fn slow_turn(targets: &Targets, wait: &Wait, turn: &Spoken, waited_ms: f64) -> Issue {
    let target = f64::from(targets.turn.target_ms);
    let (stage, ms) = wait.dominant().unwrap_or((Stage::Unexplained, waited_ms));
    let spike = spikes(targets, wait, turn).find(|spike| spike.0 == stage);
    let whole = format!(
        "{} (target: <{})",
        time_beside(waited_ms, target),
        time(target)
    );
    let description = match (stage, spike) {
        (_, Some((_, value, most))) => format!(
            "{} latency spike to {} (target: <{}); the answer came after {whole}.",
            stage.title(),
            time_beside(value, most),
            time(most)
        ),
        (Stage::Unexplained, None) if wait.latency.segments.is_empty() => {
            format!("The answer came after {whole}; no stage of it was measured.")
        }
        (Stage::Unexplained, None) => format!(
            "The answer came after {whole}; {} of it is explained by no measured stage.",
            time(ms)
        ),
        (_, None) => format!(
            "The answer came after {whole}; {} took most of it, {}.",
            stage.title(),
            time(ms)
        ),
    };
    let is_critical = waited_ms >= f64::from(targets.turn.critical_ms);
    let severity = if is_critical {
        Severity::Critical
    } else {
        Severity::Major
    };
    let issue = Issue::new(IssueType::HighLatency, severity, description)
        .costs(Some(waited_ms - target))
        .until(turn.start_ms)
        .shows("targetMs", targets.turn.target_ms);
    with_evidence(issue, targets, wait, turn, stage)
}

/// A stage over its target, though the whole answer is in time or has no time of its own.
fn slow_stage(targets: &Targets, wait: &Wait, turn: &Spoken) -> Option<Issue> {
    let excess = |spike: &(Stage, f64, f64)| spike.1 - spike.2;
    let worst = spikes(targets, wait, turn).max_by(|a, b| excess(a).total_cmp(&excess(b)))?;
    let (stage, value, most) = worst;
    let description = format!(
        "{} latency spike to {} (target: <{}).",
        stage.title(),
        time_beside(value, most),
        time(most)
    );
    let is_critical = value >= most * CRITICAL_FACTOR;
    let severity = if is_critical {
        Severity::Critical
    } else {
        Severity::Major
    };
    let issue = Issue::new(IssueType::HighLatency, severity, description)
        .costs(Some(excess(&worst)))
        .until(turn.start_ms);
    Some(with_evidence(issue, targets, wait, turn, stage))
}

/// Stages over their targets, with both. Of a stage that ran beside others counts what was waited for.
/// Endpointing and tools have rules of their own.
fn spikes(
    targets: &Targets,
    wait: &Wait,
    turn: &Spoken,
) -> impl Iterator<Item = (Stage, f64, f64)> {
    let turn = turn.turn;
    let stages = [
        (Stage::Stt, turn.stt_ms, targets.stages.stt_ms),
        (Stage::Llm, turn.llm_ms, targets.stages.llm_ms),
        (Stage::Tts, turn.tts_ms, targets.stages.tts_ms),
    ];
    stages.into_iter().filter_map(|(stage, measured, target)| {
        let value = measured?.min(wait.stage_ms(stage)?);
        (value > f64::from(target)).then_some((stage, value, f64::from(target)))
    })
}

fn with_evidence(
    issue: Issue,
    targets: &Targets,
    wait: &Wait,
    turn: &Spoken,
    stage: Stage,
) -> Issue {
    let latency = wait.latency;
    let clock = latency.clock.map(Clock::as_str);
    let mut issue = issue
        .of_turn(turn)
        .in_stage(Some(stage))
        .by(latency.named(stage))
        .measures("gapMs", latency.gap_ms)
        .measures("waitedMs", wait.shorter_ms())
        .measures("stageMs", wait.stage_ms(stage))
        .measures("stageTargetMs", target_of(targets, stage))
        .measures("unexplainedMs", wait.unexplained_ms)
        .advise(advice(stage));
    for segment in &latency.segments {
        let name = format!("{}Ms", segment.stage.as_str());
        issue = issue.measures(&name, wait.stage_ms(segment.stage));
    }
    match clock {
        Some(clock) => issue.shows("clock", clock),
        None => issue,
    }
}

fn target_of(targets: &Targets, stage: Stage) -> Option<f64> {
    let target = match stage {
        Stage::Stt => targets.stages.stt_ms,
        Stage::Endpointing => targets.stages.endpointing_ms,
        Stage::Llm => targets.stages.llm_ms,
        Stage::Tts => targets.stages.tts_ms,
        Stage::Tool => targets.stages.tool_ms,
        Stage::Unexplained => targets.thresholds.unexplained_ms,
        Stage::Transport | Stage::Telephony => return None,
    };
    Some(f64::from(target))
}

/// What helps against a slow stage.
pub fn advice(stage: Stage) -> &'static str {
    match stage {
        Stage::Stt => {
            "Use streaming recognition with interim results, keep its connection open, and run it near the media server."
        }
        Stage::Endpointing => {
            "Lower the minimum endpointing delay, or let a turn-detection model end turns that are complete."
        }
        Stage::Llm => {
            "Shorten the prompt and keep its beginning the same so that it is cached, use a faster model for short answers, or start generating before the turn is decided."
        }
        Stage::Tts => {
            "Stream the synthesis sentence by sentence, keep its connection warm, and cache phrases that recur."
        }
        Stage::Tool => {
            "Say a short lead-in before the tool runs, run it asynchronously, cache its result, or give it a time-out."
        }
        Stage::Transport => {
            "Look at jitter buffers and at the way between the agent and the media server; run both in one region."
        }
        Stage::Telephony => {
            "Use the carrier's edge nearest to the agent, and shorten the buffers between the carrier and the agent."
        }
        Stage::Unexplained => {
            "Report the missing stages (tools, callbacks, playout) so that this time can be told apart."
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, delay, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::HighLatency;

    #[test]
    fn a_slow_synthesis_is_named_with_its_numbers() {
        let mut call = clean(3);
        call["turns"][3]["ttsMs"] = json!(2300);
        call["turns"][3]["latencyMs"] = json!(3000);
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "TTS latency spike to 2.3s (target: <900ms); the answer came after 3s (target: <1.5s)."
        );
        assert_eq!((issue.stage, issue.turn), (Some(Stage::Tts), Some(3)));
        assert_eq!(
            (issue.severity, issue.impact_ms),
            (Severity::Critical, Some(1500))
        );
        assert_eq!(issue.evidence["ttsMs"], 2300);
        assert_eq!(issue.evidence["stageTargetMs"], 900);
    }

    #[test]
    fn on_the_target_is_in_time() {
        for (ms, expected) in [
            (1500, None),
            (1501, Some(Severity::Major)),
            (2999, Some(Severity::Major)),
            (3000, Some(Severity::Critical)),
        ] {
            let mut call = clean(3);
            call["turns"][3]["latencyMs"] = json!(ms);
            let found = found(&call, KIND);
            assert_eq!(found.first().map(|issue| issue.severity), expected, "{ms}");
        }
        let mut call = clean(3);
        call["turns"][3]["llmMs"] = json!(1000);
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn a_stage_may_be_slow_by_itself() {
        let mut call = clean(3);
        call["turns"][3]["ttsMs"] = json!(901);
        call["turns"][3]["latencyMs"] = json!(1490);
        let found = issue(&call, KIND);
        assert_eq!(
            found.description,
            "TTS latency spike to 901ms (target: <900ms)."
        );
        assert_eq!(
            (found.severity, found.impact_ms),
            (Severity::Major, Some(1))
        );
        // What ran beside the user's speech was not waited for.
        call["turns"][3]["ttsMs"] = json!(200);
        call["turns"][3]["llmMs"] = json!(1400);
        call["turns"][3]["latencyMs"] = json!(1000);
        assert!(super::super::super::fixture::found(&call, KIND).is_empty());
    }

    #[test]
    fn what_is_said_while_a_tool_runs_has_not_waited_for_it() {
        let mut call = clean(3);
        let asked = call["turns"][2]["endMs"].as_i64().unwrap();
        let heard = asked + 1600;
        let later = heard - call["turns"][3]["startMs"].as_i64().unwrap();
        delay(&mut call, 3, later);
        call["turns"][3]["latencyMs"] = json!(1600);
        call["turns"][3]["ttsMs"] = json!(850);
        call["turns"][3]["ttsCalls"] = json!([{"startMs": asked + 750, "firstByteMs": heard}]);
        call["toolCalls"] = json!([
            {"callId": "t", "turn": 3, "name": "find", "startMs": asked + 720, "endMs": heard + 2000}
        ]);
        let issue = issue(&call, KIND);
        assert_eq!(issue.stage, Some(Stage::Tts), "{}", issue.description);
    }

    #[test]
    fn an_answer_nobody_measured_says_so() {
        let mut call = clean(3);
        for name in ["sttMs", "endpointingMs", "llmMs", "ttsMs"] {
            call["turns"][3][name] = json!(null);
        }
        call["turns"][3]["latencyMs"] = json!(1800);
        let issue = issue(&call, KIND);
        assert_eq!(issue.stage, Some(Stage::Unexplained));
        assert!(issue.description.ends_with("no stage of it was measured."));
    }
}
