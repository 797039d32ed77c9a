//! An answer that the model had to break off.

use serde_json::Value;

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::overlap::says_interrupted;
use super::super::path::{is_true, list};
use super::super::view::{Spoken, View};

/// How providers say that the limit was reached.
const LENGTH: [&str; 5] = [
    "length",
    "max_tokens",
    "max_output_tokens",
    "model_length",
    "token_limit",
];

pub fn find(view: &View) -> Vec<Issue> {
    let cut = view
        .agent_turns()
        .filter(|(_, turn)| !turn.turn.cancelled && !says_interrupted(turn) && is_truncated(turn));
    cut.map(|(_, turn)| tell(view, turn)).collect()
}

fn is_truncated(turn: &Spoken) -> bool {
    let last = list(turn.turn, "llmCalls")
        .filter(|call| !is_true(call, "cancelled") && !is_true(call, "beside"))
        .last();
    let of_call = last.and_then(|call| call.get("finishReason")?.as_str());
    let of_turn = turn.turn.extra.get("finishReason").and_then(Value::as_str);
    let reason = of_call.or(of_turn).map(str::to_lowercase);
    reason.is_some_and(|reason| LENGTH.contains(&reason.as_str()))
}

fn tell(view: &View, turn: &Spoken) -> Issue {
    let tokens = crate::domain::turn::used(&turn.turn.extra, "completionTokens");
    let after = tokens
        .map(|tokens| format!(" after {tokens} tokens"))
        .unwrap_or_default();
    let description = format!("The model's answer was cut off by its length limit{after}.");
    let latency = view.latency_of(turn.turn.index);
    Issue::new(IssueType::TruncatedResponse, Severity::Minor, description)
        .of_turn(turn)
        .in_stage(Some(Stage::Llm))
        .by(latency
            .map(|latency| latency.brought_by(Stage::Llm))
            .unwrap_or_default())
        .measures("completionTokens", tokens)
        .advise("Raise the limit of tokens, or ask the model for shorter answers.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::TruncatedResponse;

    #[test]
    fn a_length_limit_is_told_unless_somebody_interrupted() {
        let mut call = clean(3);
        call["turns"][3]["finishReason"] = json!("length");
        call["turns"][3]["usage"] = json!({"completionTokens": 64});
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "The model's answer was cut off by its length limit after 64 tokens."
        );
        call["turns"][3]["interrupted"] = json!(true);
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn the_last_generation_counts() {
        let mut call = clean(3);
        call["turns"][3]["llmCalls"] = json!([
            {"startMs": 6800, "firstTokenMs": 6900, "finishReason": "max_tokens"},
            {"startMs": 6900, "firstTokenMs": 7100, "finishReason": "stop"},
        ]);
        assert!(found(&call, KIND).is_empty());
    }
}
