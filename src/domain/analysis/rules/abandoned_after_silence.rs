//! A caller who hung up because nothing came, or came too late.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::view::View;
use super::super::wait::Wait;
use super::dead_air::waited_for;
use super::tell::time;
use crate::domain::turn::Speaker;

/// Whoever hangs up so soon after a silence does so because of it.
const WITHIN_MS: f64 = 5000.0;
const SILENCE_MIN_MS: f64 = 3000.0;
/// A gap of so many targets is as good as a silence.
const GAP_FACTOR: f64 = 2.0;

struct Cause {
    ms: f64,
    until_ms: f64,
    stage: Option<(Stage, f64)>,
    turn: Option<i32>,
    is_answered: bool,
}

pub fn find(view: &View) -> Vec<Issue> {
    let hung_up = view.input.session.ended_by.as_deref() == Some("user");
    let end_ms = view.end_ms.filter(|_| hung_up);
    let cause = end_ms.and_then(|end| silence(view, end).or_else(|| late_answer(view, end)));
    cause
        .zip(end_ms)
        .map(|(cause, end)| tell(view, &cause, end))
        .into_iter()
        .collect()
}

/// The last silence that the caller waited in: not one of its own.
fn silence(view: &View, end_ms: f64) -> Option<Cause> {
    let waited = |silence: &&super::super::silence::Silence| {
        (silence.after != Some(Speaker::Agent)
            || view.is_working_in(silence.from_ms, silence.to_ms))
            && silence.ms() >= SILENCE_MIN_MS
            && end_ms - silence.to_ms <= WITHIN_MS
    };
    let silence = view.pauses.iter().rfind(waited)?;
    Some(Cause {
        ms: silence.ms(),
        until_ms: silence.to_ms,
        stage: waited_for(view, silence),
        turn: silence.turn_after.or(silence.turn_before),
        is_answered: silence.turn_after.is_some(),
    })
}

fn late_answer(view: &View, end_ms: f64) -> Option<Cause> {
    let late = GAP_FACTOR * f64::from(view.targets.turn.target_ms);
    let waits: Vec<Wait> = view.waits().collect();
    waits.iter().rev().find_map(|wait| {
        let latency = wait.latency;
        let ms = wait.ms.filter(|ms| *ms >= late)?;
        let heard = view.turns[view.place_of(latency.turn)?].start_ms?;
        (end_ms - heard <= WITHIN_MS).then(|| Cause {
            ms,
            until_ms: heard,
            stage: wait.dominant().filter(|_| !latency.segments.is_empty()),
            turn: Some(latency.turn),
            is_answered: true,
        })
    })
}

fn tell(view: &View, cause: &Cause, end_ms: f64) -> Issue {
    let because = match cause.stage {
        Some((Stage::Unexplained, _)) | None => String::new(),
        Some((stage, ms)) => format!("; {} took {} of it", stage.title(), time(ms)),
    };
    let after = if cause.is_answered {
        format!(", {} after it ended", time(end_ms - cause.until_ms))
    } else {
        " while it lasted".to_owned()
    };
    let description = format!(
        "The caller hung up after {} of silence{after}{because}.",
        time(cause.ms)
    );
    let stage = cause.stage.map(|(stage, _)| stage);
    let latency = cause.turn.and_then(|turn| view.latency_of(turn));
    let named = latency
        .zip(stage)
        .map(|(latency, stage)| latency.named(stage));
    let advice = stage.map_or(
        "Say a filler or a lead-in where an answer takes longer, and an apology where none comes.",
        super::high_latency::advice,
    );
    let mut issue = Issue::new(
        IssueType::AbandonedAfterSilence,
        Severity::Critical,
        description,
    )
    .in_stage(stage)
    .by(named.unwrap_or_default())
    .at(Some(cause.until_ms))
    .costs(Some(cause.ms - f64::from(view.targets.turn.target_ms)))
    .until(Some(cause.until_ms))
    .measures("silenceMs", Some(cause.ms))
    .measures("hungUpAfterMs", Some(end_ms - cause.until_ms))
    .measures("stageMs", cause.stage.map(|(_, ms)| ms))
    .advise(advice);
    issue.turn = cause.turn;
    issue
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::fixture::{analysis, clean, delay, found, issue, silent};
    use super::*;

    const KIND: IssueType = IssueType::AbandonedAfterSilence;

    /// The last answer comes so late, and the call ends so long after its start.
    fn left(gap: i64, after: i64) -> Value {
        let mut call = clean(3);
        delay(&mut call, 5, gap - 900);
        call["turns"][5]["latencyMs"] = json!(gap);
        let start = call["turns"][5]["startMs"].as_i64().unwrap();
        let ended = chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::milliseconds(start + after);
        call["session"]["endedAt"] = json!(ended.to_rfc3339());
        call
    }

    #[test]
    fn hanging_up_right_after_a_silence() {
        let mut call = left(4000, 3500);
        call["turns"][5]["llmMs"] = json!(3000);
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "The caller hung up after 4s of silence, 3.5s after it ended; LLM took 3s of it."
        );
        assert_eq!((issue.turn, issue.stage), (Some(5), Some(Stage::Llm)));
        assert_eq!(analysis(&call).issues[0].kind, KIND);
    }

    #[test]
    fn its_bounds() {
        assert_eq!(found(&left(3000, 5000), KIND).len(), 1);
        assert!(found(&left(2999, 5000), KIND).is_empty());
        assert!(found(&left(3000, 5001), KIND).is_empty());
        let mut call = left(4000, 3500);
        call["session"]["endedBy"] = json!("agent");
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn hanging_up_in_the_silence_itself() {
        let mut call = clean(3);
        call["turns"].as_array_mut().unwrap().pop();
        let issue = issue(&call, KIND);
        assert_eq!(issue.turn, Some(4));
        assert!(issue.description.contains("while it lasted"));
    }

    #[test]
    fn hanging_up_after_an_answer_that_nobody_heard() {
        for (name, value) in silent() {
            let mut call = clean(3);
            delay(&mut call, 5, 100);
            call["turns"][5][name] = value;
            // The user's end, a second, 3.2 s of no sound and 0.7 s more.
            let issue = issue(&call, KIND);
            assert_eq!(issue.evidence["silenceMs"], 4900, "{name}");
            assert!(issue.description.contains("while it lasted"), "{name}");
        }
    }
}
