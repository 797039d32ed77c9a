//! What the source does not report: time that no stage explains, stages that are missing.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::latency::TurnLatency;
use super::super::overlap::says_interrupted;
use super::super::view::View;
use super::super::wait::Wait;
use super::failed_turn::has_failed;
use super::tell::time;

/// Of so many of the turns a stage may be missing.
const MISSING_MAX: f64 = 0.1;
const STAGES: [Stage; 4] = [Stage::Stt, Stage::Endpointing, Stage::Llm, Stage::Tts];

/// A source that reports no stage at all is a transcript, and lacks nothing that it promised.
pub fn find(view: &View) -> Vec<Issue> {
    if view
        .latencies
        .iter()
        .all(|latency| latency.segments.is_empty())
    {
        return Vec::new();
    }
    unexplained(view).into_iter().chain(missing(view)).collect()
}

fn unexplained(view: &View) -> Option<Issue> {
    let most = f64::from(view.targets.thresholds.unexplained_ms);
    let rest = |wait: &Wait| wait.unexplained_ms.filter(|ms| *ms > most);
    let waits: Vec<Wait> = view.waits().filter(|wait| wait.ms.is_some()).collect();
    let over: Vec<(&Wait, f64)> = waits
        .iter()
        .filter_map(|wait| Some((wait, rest(wait)?)))
        .collect();
    let (worst, ms) = over.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let measured = waits.len();
    let description = format!(
        "In {} of {} answers no measured stage explains more than {} of the wait, at most {}.",
        over.len(),
        measured,
        time(most),
        time(*ms)
    );
    let turns: Vec<i32> = over
        .iter()
        .take(50)
        .map(|(wait, _)| wait.latency.turn)
        .collect();
    let spoken = &view.turns[view.place_of(worst.latency.turn)?];
    Some(
        Issue::new(IssueType::TelemetryGap, Severity::Minor, description)
            .of_turn(spoken)
            .in_stage(Some(Stage::Unexplained))
            .measures("unexplainedMs", Some(*ms))
            .measures("gapMs", worst.latency.gap_ms)
            .measures("waitedMs", worst.shorter_ms())
            .measures("limitMs", Some(most))
            .shows("turns", turns)
            .shows("measuredTurns", measured)
            .advise("Report tools, callbacks, playout and transport with each turn, so that the rest can be told apart."),
    )
}

fn missing(view: &View) -> Option<Issue> {
    let counts = |latency: &&TurnLatency| {
        let place = view.place_of(latency.turn);
        latency.answers_user
            && place.is_some_and(|place| {
                let turn = &view.turns[place];
                !has_failed(turn) && !says_interrupted(turn)
            })
    };
    let asked = view.waits().map(|wait| wait.latency);
    let answers: Vec<&TurnLatency> = asked.filter(counts).collect();
    let mut lacking = Vec::new();
    for stage in STAGES.into_iter().filter(|stage| is_expected(view, *stage)) {
        let without = answers
            .iter()
            .filter(|latency| is_missing(view, latency, stage))
            .count();
        if without as f64 > MISSING_MAX * answers.len() as f64 {
            lacking.push((stage, without));
        }
    }
    if lacking.is_empty() {
        return None;
    }
    let listed: Vec<String> = lacking
        .iter()
        .map(|(stage, without)| format!("{} in {without}", stage.title()))
        .collect();
    let description = format!(
        "Of {} answers, stages were not reported: {}.",
        answers.len(),
        listed.join(", ")
    );
    let mut issue = Issue::new(IssueType::TelemetryGap, Severity::Minor, description)
        .in_stage(lacking.first().filter(|_| lacking.len() == 1).map(|(stage, _)| *stage))
        .shows("answers", answers.len())
        .advise("Report these stages with every turn; where the framework leaves them out for slow turns, its averages look better than calls are.");
    for (stage, without) in lacking {
        issue = issue.shows(&format!("{}Missing", stage.as_str()), without);
    }
    Some(issue)
}

/// What was typed is neither transcribed nor waited for.
fn is_missing(view: &View, latency: &TurnLatency, stage: Stage) -> bool {
    let place = view.place_of(latency.turn);
    let user = place.and_then(|place| view.answered_by(place));
    let is_of_voice = matches!(stage, Stage::Stt | Stage::Endpointing);
    let is_none = is_of_voice && user.is_some_and(|user| user.turn.is_typed());
    latency.missing.contains(&stage) && !is_none
}

/// A stage is expected where it is measured or named anywhere in the session. A model and a voice have all,
/// but where speech itself is the model's language, or all is in writing.
fn is_expected(view: &View, stage: Stage) -> bool {
    let measured = view
        .latencies
        .iter()
        .any(|latency| !latency.missing.contains(&stage));
    let session = view.input.session;
    let named = match stage {
        Stage::Stt => session.providers.stt.is_some(),
        Stage::Tts => session.providers.tts.is_some(),
        _ => false,
    };
    let speaks_itself = || {
        let is_used = |turn: &super::super::view::Spoken, name: &str| {
            crate::domain::turn::used(&turn.turn.extra, name) > Some(0.0)
        };
        view.turns
            .iter()
            .any(|turn| is_used(turn, "audioTokens") || is_used(turn, "audioOutputTokens"))
    };
    let is_written = || {
        let mut users = view.turns.iter().filter(|turn| turn.is_user()).peekable();
        users.peek().is_some() && users.all(|user| user.turn.is_typed())
    };
    let is_aloud = || !speaks_itself() && !is_written();
    measured || named || stage == Stage::Llm || stage == Stage::Tts && is_aloud()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::TelemetryGap;

    #[test]
    fn a_wait_that_nothing_explains() {
        for (ms, is_told) in [(1200, false), (1201, true)] {
            let mut call = clean(3);
            call["turns"][3]["latencyMs"] = json!(ms);
            assert_eq!(!found(&call, KIND).is_empty(), is_told, "{ms}");
        }
        let mut call = clean(3);
        call["turns"][3]["latencyMs"] = json!(1400);
        assert_eq!(
            issue(&call, KIND).description,
            "In 1 of 3 answers no measured stage explains more than 300ms of the wait, at most 500ms."
        );
    }

    #[test]
    fn a_stage_that_is_often_missing() {
        let mut call = clean(10);
        call["turns"][3]["ttsMs"] = json!(0);
        assert!(found(&call, KIND).is_empty());
        call["turns"][5]["ttsMs"] = json!(0.4);
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "Of 10 answers, stages were not reported: TTS in 2."
        );
        assert_eq!((issue.turn, issue.stage), (None, Some(Stage::Tts)));
    }

    #[test]
    fn a_transcript_promises_no_stages() {
        let mut call = clean(3);
        for n in [1, 3, 5] {
            for name in ["sttMs", "endpointingMs", "llmMs", "ttsMs"] {
                call["turns"][n][name] = json!(null);
            }
        }
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn what_is_typed_has_no_stages_of_a_voice() {
        let mut call = clean(4);
        for turn in [3, 5] {
            call["turns"][turn]["sttMs"] = Value::Null;
            call["turns"][turn]["endpointingMs"] = Value::Null;
            call["turns"][turn]["latencyMs"] = json!(500);
        }
        assert!(!found(&call, KIND).is_empty());
        for turn in [2, 4] {
            call["turns"][turn]["metadata"] = json!({"typed": true});
        }
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn a_conversation_in_writing_lacks_no_voice() {
        let mut call = clean(3);
        for turn in [1, 3, 5] {
            for stage in ["sttMs", "endpointingMs", "ttsMs"] {
                call["turns"][turn][stage] = Value::Null;
            }
            call["turns"][turn]["latencyMs"] = json!(300);
        }
        call["session"]["providers"] = json!({"llm": "openai"});
        assert!(!found(&call, KIND).is_empty());
        for turn in [0, 2, 4] {
            call["turns"][turn]["metadata"] = json!({"typed": true});
        }
        assert!(found(&call, KIND).is_empty());
    }
}
