//! A slow beginning: the greeting, or the first answer.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::latency::TurnLatency;
use super::super::view::{Spoken, View};
use super::super::whatif::percentile;
use super::tell::{time, time_beside};
use crate::domain::fact;

/// The first answer's stage is so many times as long as later ones.
const FACTOR: f64 = 2.0;
/// With fewer later ones nothing is usual.
const LATER_MIN: usize = 3;
/// Less than this more is chance.
const MORE_MIN_MS: f64 = 200.0;
const ADVICE: &str = "Keep workers and provider connections warm, play a greeting that was synthesised before, and reuse connections from call to call.";

pub fn find(view: &View) -> Vec<Issue> {
    late_greeting(view)
        .or_else(|| slow_first_stage(view))
        .into_iter()
        .collect()
}

fn late_greeting(view: &View) -> Option<Issue> {
    let session = view.input.session;
    let connected_at = fact::time(&session.extra, "connectedAt").or(session.answered_at)?;
    let connected_ms = Some(view.offset_ms(connected_at)).filter(|ms| view.is_of_call(*ms))?;
    // Where the caller speaks first, nobody waits for a greeting.
    let first = view
        .turns
        .iter()
        .find(|turn| !turn.is_silent())
        .filter(|turn| turn.is_agent() && !turn.turn.cancelled)?;
    let ms = first.start_ms? - connected_ms;
    let target = f64::from(view.targets.turn.first_audio_ms);
    if ms <= target {
        return None;
    }
    let description = format!(
        "The agent was first heard {} after the call connected (target: <{}).",
        time_beside(ms, target),
        time(target)
    );
    let issue = Issue::new(IssueType::ColdStart, Severity::Minor, description)
        .of_turn(first)
        .costs(Some(ms - target))
        .until(first.start_ms)
        .measures("firstAudioMs", Some(ms))
        .measures("targetMs", Some(target))
        .advise(ADVICE);
    let latency = view.latency_of(first.turn.index);
    let stage = latency.and_then(|latency| Some((latency, latency.dominant()?.0)));
    Some(match stage {
        Some((latency, stage)) => issue.in_stage(Some(stage)).by(latency.named(stage)),
        None => issue,
    })
}

fn slow_first_stage(view: &View) -> Option<Issue> {
    let first = view
        .latencies
        .iter()
        .find(|latency| !latency.segments.is_empty())?;
    let later: Vec<&TurnLatency> = view
        .latencies
        .iter()
        .skip_while(|latency| latency.turn != first.turn)
        .skip(1)
        .collect();
    let slow = |stage: Stage| {
        let ms = measured(view, first, stage)?;
        let mut others: Vec<f64> = later
            .iter()
            .filter_map(|l| measured(view, l, stage))
            .collect();
        let median = percentile(&mut others, 0.5).filter(|_| others.len() >= LATER_MIN)?;
        (ms > median * FACTOR && ms - median >= MORE_MIN_MS).then_some((stage, ms, median))
    };
    let (stage, ms, median) = [Stage::Stt, Stage::Llm, Stage::Tts]
        .into_iter()
        .filter_map(slow)
        .max_by(|a, b| (a.1 - a.2).total_cmp(&(b.1 - b.2)))?;
    let description = format!(
        "The first turn's {} took {}; later turns took {} (median).",
        stage.title(),
        time(ms),
        time(median)
    );
    let turn: &Spoken = &view.turns[view.place_of(first.turn)?];
    Some(
        Issue::new(IssueType::ColdStart, Severity::Minor, description)
            .of_turn(turn)
            .in_stage(Some(stage))
            .by(first.named(stage))
            .costs(Some(ms - median))
            .until(turn.start_ms)
            .measures("stageMs", Some(ms))
            .measures("sessionMedianMs", Some(median))
            .advise(ADVICE),
    )
}

/// What a stage was measured at, generations before the one that spoke left out.
fn measured(view: &View, latency: &TurnLatency, stage: Stage) -> Option<f64> {
    latency.stage_ms(stage)?;
    let turn = view.turns[view.place_of(latency.turn)?].turn;
    match stage {
        Stage::Stt => turn.stt_ms,
        Stage::Llm => turn.llm_ms,
        Stage::Tts => turn.tts_ms,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, delay, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::ColdStart;

    #[test]
    fn a_greeting_is_in_time_up_to_the_target() {
        for (ms, is_late) in [(800, false), (801, true)] {
            let mut call = clean(3);
            call["turns"].as_array_mut().unwrap().remove(0);
            call["session"]["connectedAt"] = json!("1970-01-01T00:00:00Z");
            delay(&mut call, 0, ms - 3500);
            assert_eq!(found(&call, KIND).len(), usize::from(is_late), "{ms}");
        }
    }

    #[test]
    fn the_first_generation_is_held_against_later_ones() {
        let mut call = clean(5);
        call["turns"][1]["llmMs"] = json!(601);
        call["turns"][1]["latencyMs"] = json!(1201);
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "The first turn's LLM took 601ms; later turns took 300ms (median)."
        );
        assert_eq!(issue.stage, Some(Stage::Llm));
        call["turns"][1]["llmMs"] = json!(600);
        assert!(found(&call, KIND).is_empty());
        let mut short = clean(3);
        short["turns"][1]["llmMs"] = json!(900);
        assert!(found(&short, KIND).is_empty());
    }
}
