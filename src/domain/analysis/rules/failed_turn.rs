//! A question that was never answered, or an answer that nobody could hear.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::overlap::says_interrupted;
use super::super::path::{has_error, list};
use super::super::score::is_last_unanswered;
use super::super::view::{Spoken, View};
use super::tell::{excerpt, time};
use crate::domain::items::ServiceError;

/// A user who speaks again sooner goes on with the same turn.
const WAITED_MIN_MS: f64 = 3000.0;

pub fn find(view: &View) -> Vec<Issue> {
    let mut issues = Vec::new();
    for (place, turn) in view.turns.iter().enumerate() {
        if turn.is_user() {
            issues.extend(unanswered_ms(view, place).map(|ms| unanswered(view, place, ms)));
        } else if has_failed(turn) {
            issues.push(unheard(view, place));
        }
    }
    issues
}

/// Whether an agent's turn failed: it says so, or nothing of it was heard, though nobody cut it off.
pub fn has_failed(turn: &Spoken) -> bool {
    let says_so = turn.is_agent() && !turn.turn.cancelled && turn.turn.failed;
    turn.is_unheard() || says_so && !says_interrupted(turn)
}

/// How long a user waited for an answer that never came.
fn unanswered_ms(view: &View, place: usize) -> Option<f64> {
    let turn = &view.turns[place];
    let next = view.turns[place + 1..]
        .iter()
        .find(|next| !next.turn.cancelled);
    if turn.turn.failed {
        return Some(0.0);
    }
    if !turn.is_real_speech() {
        return None;
    }
    match next {
        Some(next) if next.is_user() => {
            Some(next.start_ms? - turn.end_ms?).filter(|ms| *ms >= WAITED_MIN_MS)
        }
        None if is_last_unanswered(view) => Some(view.end_ms? - turn.end_ms?),
        _ => None,
    }
}

fn unanswered(view: &View, place: usize, ms: f64) -> Issue {
    let turn = &view.turns[place];
    let description = if ms > 0.0 {
        format!(
            "The user's turn was never answered; {} of silence followed.",
            time(ms)
        )
    } else {
        "The user's turn failed.".to_owned()
    };
    let mut issue = Issue::new(IssueType::FailedTurn, Severity::Critical, description)
        .of_turn(turn)
        .costs(beyond_target(view, Some(ms).filter(|ms| *ms > 0.0)))
        .until(turn.end_ms.map(|end| end + ms))
        .measures("waitedMs", Some(ms).filter(|ms| *ms > 0.0));
    if let Some(said) = &turn.turn.text {
        let quote = format!("The user had said \"{}\".", excerpt(said));
        issue = issue.quotes(quote, "text", excerpt(said));
    }
    explain(view, place, issue)
}

fn unheard(view: &View, place: usize) -> Issue {
    let turn = &view.turns[place];
    let answered = place.checked_sub(1).map(|before| &view.turns[before]);
    // Nobody waited for what nobody asked for.
    let answered = answered.filter(|before| !before.asks_nothing());
    let waited = view.pauses.iter().find(|pause| {
        pause.turn_before.is_some() && pause.turn_before == answered.map(|turn| turn.turn.index)
    });
    let waited_ms = waited.map(|pause| pause.ms());
    let description = match turn.is_unheard() {
        true => "The agent's turn had no audible output.",
        false => "The agent's turn failed.",
    };
    let description = description.to_owned();
    let issue = Issue::new(IssueType::FailedTurn, Severity::Critical, description)
        .of_turn(turn)
        .costs(beyond_target(view, waited_ms))
        .until(waited.map(|pause| pause.to_ms))
        .measures("waitedMs", waited_ms)
        .measures("playedMs", turn.number("playedMs"))
        .measures("audioMs", turn.number("audioMs"));
    explain(view, place, issue)
}

/// Of a wait for an answer, what is more than any answer may take.
fn beyond_target(view: &View, waited_ms: Option<f64>) -> Option<f64> {
    waited_ms.map(|ms| ms - f64::from(view.targets.turn.target_ms))
}

/// Adds the error that says why, if there is one.
fn explain(view: &View, place: usize, mut issue: Issue) -> Issue {
    let around = place..(place + 2).min(view.turns.len());
    let error = around
        .flat_map(|place| view.errors_of(view.turns[place].turn.index))
        .max_by_key(|error| {
            (
                error.level == "error",
                error.service.as_deref() != Some("tool"),
            )
        });
    let Some(error) = error else {
        let turn = &view.turns[place];
        let failed = |calls: &str| list(turn.turn, calls).any(has_error);
        let (stage, named) = match (failed("llmCalls"), failed("ttsCalls")) {
            (true, _) => (Some(Stage::Llm), "the LLM's request failed"),
            (_, true) => (Some(Stage::Tts), "the TTS request failed"),
            _ => {
                return issue.advise("No error was reported. Report the services' errors, and answer with a spoken apology where a stage fails or takes too long.");
            }
        };
        issue.description = format!("{} Reported: {named}.", issue.description);
        return issue.in_stage(stage).advise(ADVICE);
    };
    let code = code_of(error);
    let service = error.service.as_deref().unwrap_or("a service");
    let coded = code
        .as_ref()
        .map(|code| format!(" ({code})"))
        .unwrap_or_default();
    issue.description = format!("{} Reported: {service} error{coded}.", issue.description);
    if let Some(code) = code {
        issue = issue.shows("code", code);
    }
    if let Some(message) = &error.message {
        let quote = match issue.quoted.take() {
            Some(quote) => format!("{quote} The error says \"{}\".", excerpt(message)),
            None => format!("The error says \"{}\".", excerpt(message)),
        };
        issue = issue.quotes(quote, "message", excerpt(message));
    }
    issue
        .in_stage(error.service.as_deref().and_then(Stage::parse))
        .advise(ADVICE)
}

const ADVICE: &str = "Retry once and then fall back to another provider, and answer with a spoken apology where a stage fails.";

/// What a program called the error, without what somebody wrote about it.
pub fn code_of(error: &ServiceError) -> Option<String> {
    let status = || {
        error
            .extra
            .get("statusCode")?
            .as_f64()
            .map(|code| format!("{code}"))
    };
    let code = error
        .code
        .clone()
        .filter(|code| crate::domain::items::is_code(code));
    code.or_else(status)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, delay, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::FailedTurn;

    #[test]
    fn an_answer_that_nobody_heard_is_told_with_its_error() {
        let mut call = clean(3);
        call["turns"][3]["failed"] = json!(true);
        call["errors"] =
            json!([{"service": "tts", "turn": 3, "message": "no audio", "statusCode": 503}]);
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "The agent's turn had no audible output. Reported: tts error (503)."
        );
        assert_eq!((issue.turn, issue.stage), (Some(3), Some(Stage::Tts)));
        assert_eq!(
            issue.quoted.as_deref(),
            Some("The error says \"no audio\".")
        );
        assert_eq!(issue.severity, Severity::Critical);
        // The caller waited until it spoke again itself, 3.3 s longer than an answer may take.
        assert_eq!(issue.impact_ms, Some(3300));
        assert_eq!(issue.evidence["waitedMs"], 4800);
    }

    #[test]
    fn nothing_played_is_nothing_heard_unless_interrupted() {
        let mut call = clean(3);
        call["turns"][3]["playedMs"] = json!(0);
        assert_eq!(found(&call, KIND).len(), 1);
        call["turns"][3]["interrupted"] = json!(true);
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn a_question_without_an_answer() {
        let mut call = clean(4);
        call["turns"].as_array_mut().unwrap().remove(3);
        // The user speaks again 4.8 s later, 3.3 s after an answer was due.
        let issue = issue(&call, KIND);
        assert_eq!((issue.turn, issue.impact_ms), (Some(2), Some(3300)));
        assert!(!issue.description.contains("Margaret"));
        assert!(issue.description_for(true).contains("Margaret"));
        // Who goes on within three seconds goes on with the same turn.
        delay(&mut call, 3, -1801);
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn the_last_question_counts_where_the_call_went_on() {
        for (left_ms, is_failed) in [(2999, false), (3000, true)] {
            let mut call = clean(3);
            call["turns"].as_array_mut().unwrap().pop();
            let end = call["turns"][4]["endMs"].as_i64().unwrap() + left_ms;
            let ended = chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::milliseconds(end);
            call["session"]["endedAt"] = json!(ended.to_rfc3339());
            assert_eq!(!found(&call, KIND).is_empty(), is_failed, "{left_ms}");
        }
    }
}
