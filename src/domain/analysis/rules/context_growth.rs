//! A prompt that grows with every turn, and a model that takes longer with it.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::path::{generations, has_error};
use super::super::view::{Spoken, View};
use super::tell::time;
use crate::domain::turn;

const TURNS_MIN: usize = 5;
const CORRELATION_MIN: f64 = 0.6;
const FACTOR: f64 = 1.5;

pub fn find(view: &View) -> Vec<Issue> {
    of_session(view).into_iter().collect()
}

fn of_session(view: &View) -> Option<Issue> {
    let grown: Vec<(&Spoken, f64, f64)> = view
        .agent_turns()
        .filter_map(|(_, spoken)| {
            view.latency_of(spoken.turn.index)?.stage_ms(Stage::Llm)?;
            Some((spoken, prompt_tokens(spoken)?, spoken.turn.llm_ms?))
        })
        .collect();
    if grown.len() < TURNS_MIN {
        return None;
    }
    let tokens: Vec<f64> = grown.iter().map(|turn| turn.1).collect();
    let times: Vec<f64> = grown.iter().map(|turn| turn.2).collect();
    let ((_, first_tokens, first_ms), (last, last_tokens, last_ms)) =
        (grown.first()?, grown.last()?);
    let correlation = correlation(&ranks(&tokens), &ranks(&times))?;
    if correlation < CORRELATION_MIN || *last_ms < first_ms * FACTOR || last_tokens <= first_tokens
    {
        return None;
    }
    let description = format!(
        "The prompt grew from {first_tokens} to {last_tokens} tokens, and the LLM's first token came after {} instead of {}.",
        time(*last_ms),
        time(*first_ms)
    );
    let named = view
        .latency_of(last.turn.index)
        .map(|latency| latency.brought_by(Stage::Llm));
    Some(
        Issue::new(IssueType::ContextGrowth, Severity::Minor, description)
            .of_turn(last)
            .in_stage(Some(Stage::Llm))
            .by(named.unwrap_or_default())
            .costs(Some(last_ms - first_ms))
            .until(last.start_ms)
            .measures("firstTokens", Some(*first_tokens))
            .measures("lastTokens", Some(*last_tokens))
            .measures("firstLlmMs", Some(*first_ms))
            .measures("lastLlmMs", Some(*last_ms))
            .shows("rankCorrelation", (correlation * 100.0).round() / 100.0)
            .shows("turns", grown.len())
            .advise("Trim or summarise the history, and keep the beginning of the prompt the same so that it can be cached."),
    )
}

/// What the generation that spoke was given to read.
fn prompt_tokens(spoken: &Spoken) -> Option<f64> {
    let calls = generations(spoken.turn);
    let made_it = calls.into_iter().rfind(|call| !has_error(call));
    made_it
        .and_then(|call| call.get("promptTokens")?.as_f64())
        .or_else(|| turn::used(&spoken.turn.extra, "promptTokens"))
        .filter(|tokens| *tokens > 0.0)
}

/// Each value's place among all, equal ones sharing theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let is_equal = |n: &&usize| values[**n] == values[order[from]];
        let to = from + order[from..].iter().take_while(is_equal).count().max(1);
        let shared = (from + to - 1) as f64 / 2.0;
        order[from..to].iter().for_each(|n| ranks[*n] = shared);
        from = to;
    }
    ranks
}

/// Pearson's coefficient; none where one side does not vary.
fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut both, mut only_a, mut only_b) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        both += (x - mean_a) * (y - mean_b);
        only_a += (x - mean_a).powi(2);
        only_b += (y - mean_b).powi(2);
    }
    let scale = (only_a * only_b).sqrt();
    (scale > 0.0).then(|| both / scale)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    fn growing(ms: &[i64]) -> Value {
        let mut call = clean(ms.len());
        for (n, ms) in ms.iter().enumerate() {
            let turn = &mut call["turns"][2 * n + 1];
            turn["llmMs"] = json!(ms);
            turn["usage"] = json!({"promptTokens": 1000 + 800 * n});
        }
        call
    }

    #[test]
    fn time_that_grows_with_the_prompt_is_told() {
        let issue = issue(
            &growing(&[300, 320, 350, 330, 450]),
            IssueType::ContextGrowth,
        );
        assert_eq!(
            issue.description,
            "The prompt grew from 1000 to 4200 tokens, and the LLM's first token came after 450ms instead of 300ms."
        );
        assert_eq!(issue.impact_ms, Some(150));
    }

    #[test]
    fn it_takes_enough_turns_growth_and_order() {
        for times in [
            &[300, 320, 350, 450][..],
            &[300, 320, 350, 330, 449],
            &[300, 500, 480, 310, 450],
        ] {
            assert!(
                found(&growing(times), IssueType::ContextGrowth).is_empty(),
                "{times:?}"
            );
        }
    }

    #[test]
    fn equal_values_share_their_rank() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 9.0]), [1.5, 0.0, 1.5, 3.0]);
        assert_eq!(correlation(&[1.0, 1.0], &[1.0, 2.0]), None);
    }
}
