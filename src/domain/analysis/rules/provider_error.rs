//! A provider of speech or language failed, refused or had to be asked again.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::path::{at, has_error, is_true, list};
use super::super::view::{Spoken, View, error_at_ms};
use super::failed_turn::{code_of, has_failed};
use super::tell::{count, excerpt, time};
use crate::domain::items::ServiceError;

/// Where a status says that something went wrong.
const STATUS_MIN: f64 = 400.0;

/// What happened to one stage in one turn.
#[derive(Default)]
struct Trouble {
    /// As services reported it, and as the turn's own calls say; often both tell of the same.
    reported: usize,
    in_calls: usize,
    retries: f64,
    codes: Vec<String>,
    cost_ms: f64,
    at_ms: Option<f64>,
    provider: Option<String>,
    model: Option<String>,
    message: Option<String>,
}

pub fn find(view: &View) -> Vec<Issue> {
    let mut troubles: BTreeMap<(Option<i32>, Stage), Trouble> = BTreeMap::new();
    for spoken in &view.turns {
        for error in view.errors_of(spoken.turn.index) {
            report(&mut troubles, Some(turn_of(view, spoken)), error);
        }
        look_at_calls(&mut troubles, spoken);
    }
    let placed = |error: &&ServiceError| {
        let of_turn = error.turn.is_some_and(|turn| view.place_of(turn).is_some());
        of_turn || error.turn.is_none() && error_at_ms(error).is_some() && !view.turns.is_empty()
    };
    for error in view.input.errors.iter().filter(|error| !placed(error)) {
        report(&mut troubles, None, error);
    }
    let mut issues = Vec::new();
    for ((turn, stage), trouble) in troubles {
        issues.push(tell(view, turn, stage, trouble));
    }
    issues
}

/// What befell a user's turn befell its answer.
fn turn_of(view: &View, spoken: &Spoken) -> i32 {
    let place = view.place_of(spoken.turn.index);
    let next = place.and_then(|place| view.turns.get(place + 1));
    match next.filter(|next| spoken.is_user() && next.is_agent()) {
        Some(answer) => answer.turn.index,
        None => spoken.turn.index,
    }
}

fn report(
    troubles: &mut BTreeMap<(Option<i32>, Stage), Trouble>,
    turn: Option<i32>,
    error: &ServiceError,
) {
    let Some(stage @ (Stage::Stt | Stage::Llm | Stage::Tts)) =
        error.service.as_deref().and_then(Stage::parse)
    else {
        return;
    };
    let number = |name: &str| error.extra.get(name).and_then(Value::as_f64);
    let was_refused = number("statusCode").is_some_and(|code| code >= STATUS_MIN);
    let attempt = number("attempt").unwrap_or_default();
    let was_repeated = attempt > 1.0 || number("retryAfterMs").is_some();
    if error.level != "error" && !was_refused && !was_repeated {
        return;
    }
    let trouble = troubles.entry((turn, stage)).or_default();
    trouble.reported += 1;
    trouble.retries = trouble.retries.max(attempt - 1.0);
    trouble.cost_ms += number("costMs")
        .or(number("retryAfterMs"))
        .unwrap_or_default();
    trouble.at_ms = trouble.at_ms.or(error_at_ms(error));
    trouble.codes.extend(code_of(error));
    let named = |name: &str| {
        error
            .extra
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    trouble.provider = trouble.provider.take().or_else(|| named("provider"));
    trouble.model = trouble.model.take().or_else(|| named("model"));
    trouble.message = trouble.message.take().or_else(|| error.message.clone());
}

/// Calls that failed or were repeated, as the turn itself tells.
fn look_at_calls(troubles: &mut BTreeMap<(Option<i32>, Stage), Trouble>, spoken: &Spoken) {
    let turn = Some(spoken.turn.index);
    for (stage, name) in [(Stage::Llm, "llmCalls"), (Stage::Tts, "ttsCalls")] {
        let calls: Vec<&Value> = list(spoken.turn, name)
            .filter(|call| !is_true(call, "cancelled"))
            .collect();
        for (n, call) in calls.iter().enumerate() {
            let attempt = at(call, "attempt").unwrap_or_default();
            if !has_error(call) && attempt <= 1.0 {
                continue;
            }
            let trouble = troubles.entry((turn, stage)).or_default();
            trouble.retries = trouble.retries.max(attempt - 1.0);
            let text = |name: &str| call.get(name).and_then(Value::as_str).map(str::to_owned);
            trouble.provider = trouble.provider.take().or_else(|| text("provider"));
            trouble.model = trouble.model.take().or_else(|| text("model"));
            if has_error(call) {
                trouble.in_calls += 1;
                let next = calls.get(n + 1).and_then(|next| at(next, "startMs"));
                let until = next.or(at(call, "endMs"));
                let lost = at(call, "startMs")
                    .zip(until)
                    .map(|(from, to)| (to - from).max(0.0));
                if trouble.reported == 0 && !is_true(call, "beside") {
                    trouble.cost_ms += lost.unwrap_or_default();
                }
            }
        }
    }
    let retries = spoken.number("retries").unwrap_or_default();
    if retries > 0.0 {
        let known = [Stage::Llm, Stage::Tts, Stage::Stt];
        let stage = known
            .into_iter()
            .find(|stage| troubles.contains_key(&(turn, *stage)));
        let trouble = troubles
            .entry((turn, stage.unwrap_or(Stage::Llm)))
            .or_default();
        trouble.retries = trouble.retries.max(retries);
    }
}

fn tell(view: &View, turn: Option<i32>, stage: Stage, trouble: Trouble) -> Issue {
    let spoken = turn
        .and_then(|index| view.place_of(index))
        .map(|place| &view.turns[place]);
    let mut codes = trouble.codes;
    codes.dedup();
    let errors = trouble.reported.max(trouble.in_calls);
    let retries = trouble.retries.max(0.0);
    let mut parts = Vec::new();
    if errors > 0 {
        let coded = if codes.is_empty() {
            String::new()
        } else {
            format!(" ({})", codes.join(", "))
        };
        parts.push(format!("{}{coded}", count(errors, "error")));
    }
    if retries > 0.0 {
        let repeated = if retries == 1.0 { "retry" } else { "retries" };
        parts.push(format!("{retries} {repeated}"));
    }
    let cost = Some(trouble.cost_ms).filter(|ms| *ms > 0.0);
    let costing = cost
        .map(|ms| format!(", which cost {}", time(ms)))
        .unwrap_or_default();
    let description = format!("{}: {}{costing}.", stage.title(), parts.join(" and "));
    let has_failed = spoken.is_some_and(has_failed);
    let severity = if has_failed {
        Severity::Critical
    } else {
        Severity::Major
    };
    let of_latency = turn.and_then(|index| view.latency_of(index));
    let named = of_latency
        .map(|latency| latency.named(stage))
        .unwrap_or_default();
    // What another provider's model is called says nothing of this one's.
    let named = match trouble.provider.as_deref() {
        Some(provider) if named.0 != Some(provider) => (Some(provider), None),
        _ => named,
    };
    let mut issue = Issue::new(IssueType::ProviderError, severity, description)
        .in_stage(Some(stage))
        .by((named.0, trouble.model.as_deref().or(named.1)))
        .costs(cost)
        .until(spoken.and_then(|spoken| spoken.start_ms))
        .shows("errors", errors)
        .measures("retries", Some(retries))
        .measures("costMs", cost)
        .shows("codes", codes)
        .advise(match stage {
            Stage::Stt => "Reconnect at once with the audio of the last seconds, and keep a second recogniser ready.",
            Stage::Llm => "Retry early with a short time-out, raise the rate limit, and keep a second model ready to fall back to.",
            _ => "Retry early with a short time-out, and keep a second voice ready to fall back to.",
        });
    issue = match spoken {
        Some(spoken) => issue.of_turn(spoken),
        None => issue.at(trouble.at_ms),
    };
    match trouble.message {
        Some(message) => {
            let quote = format!("The error says \"{}\".", excerpt(&message));
            issue.quotes(quote, "message", excerpt(&message))
        }
        None => issue,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::ProviderError;

    #[test]
    fn an_error_and_its_retry_are_one_issue() {
        let mut call = clean(3);
        call["turns"][3]["retries"] = json!(1);
        call["errors"] = json!([{"service": "llm", "level": "warning", "turn": 2, "message": "slow down",
            "statusCode": 429, "retryAfterMs": 400, "provider": "openai"}]);
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "LLM: 1 error (429) and 1 retry, which cost 400ms."
        );
        assert_eq!((issue.turn, issue.impact_ms), (Some(3), Some(400)));
        assert_eq!(issue.provider.as_deref(), Some("openai"));
        assert_eq!(issue.severity, Severity::Major);
    }

    #[test]
    fn a_failed_turn_makes_it_critical() {
        let mut call = clean(3);
        call["turns"][3]["failed"] = json!(true);
        call["turns"][3]["llmCalls"] =
            json!([{"startMs": 7000, "endMs": 8000, "error": "timeout"}]);
        let issue = issue(&call, KIND);
        assert_eq!(
            (issue.severity, issue.impact_ms),
            (Severity::Critical, Some(1000))
        );
    }

    #[test]
    fn warnings_and_other_services_are_none() {
        let mut call = clean(3);
        call["errors"] = json!([
            {"service": "stt", "level": "warning", "turn": 3, "message": "reconnected"},
            {"service": "tool", "turn": 3, "message": "no such order"},
            {"service": "llm", "level": "warning", "turn": 3, "message": "slow", "statusCode": 399},
        ]);
        call["turns"][3]["llmCalls"] = json!([
            {"startMs": 6700, "endMs": 6900, "error": "cancelled", "cancelled": true},
            {"startMs": 6900, "firstTokenMs": 7200, "error": null, "attempt": 1},
        ]);
        assert!(found(&call, KIND).is_empty());
    }
}
