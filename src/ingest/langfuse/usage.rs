//! What an observation used and cost, in the several ways that Langfuse's API takes it.

use serde_json::{Map, Value};

use crate::domain::tokens;

const COSTS: &[(&str, &str)] = &[
    ("inputCost", "input"),
    ("outputCost", "output"),
    ("totalCost", "total"),
];
/// What `usage` counts where it does not say.
const TOKENS: &str = "TOKENS";

/// Counts and costs. What `usageDetails` and `costDetails` say counts more than the older `usage`.
pub fn read(body: &Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    let object = |name: &str| body.get(name).and_then(Value::as_object);
    let (mut used, mut costs) = (Map::new(), Map::new());
    if let Some(details) = object("usageDetails") {
        counts(details, "", &mut used);
    }
    if let Some(details) = object("costDetails") {
        costs = numbers(details);
    }
    if let Some(usage) = object("usage") {
        let unit = usage.get("unit").and_then(Value::as_str).unwrap_or(TOKENS);
        if used.is_empty() {
            let of_unit = if unit.eq_ignore_ascii_case(TOKENS) {
                String::new()
            } else {
                format!("_{}", unit.to_ascii_lowercase())
            };
            counts(usage, &of_unit, &mut used);
        }
        for (theirs, ours) in COSTS {
            if let Some(value) = usage.get(*theirs).filter(|value| value.is_number()) {
                costs.entry(*ours).or_insert_with(|| value.clone());
            }
        }
    }
    (used, costs)
}

fn counts(given: &Map<String, Value>, suffix: &str, into: &mut Map<String, Value>) {
    let counts = tokens::observed(given).into_iter();
    let counts = counts.filter(|(name, _)| !COSTS.iter().any(|(cost, _)| cost == name));
    into.extend(counts.map(|(name, count)| (format!("{name}{suffix}"), count)));
}

fn numbers(members: &Map<String, Value>) -> Map<String, Value> {
    let numbers = members.iter().filter(|(_, value)| value.is_number());
    numbers
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn used(body: Value) -> (Value, Value) {
        let (used, costs) = read(body.as_object().unwrap());
        (Value::from(used), Value::from(costs))
    }

    #[test]
    fn every_way_of_counting_is_one() {
        let counts = json!({"input": 90, "output": 10, "total": 100});
        for usage in [
            json!({"usageDetails": {"input": 90, "output": 10, "total": 100}}),
            json!({"usageDetails": {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}}),
            json!({"usage": {"promptTokens": 90, "completionTokens": 10, "totalTokens": 100}}),
            json!({"usage": {"input": 90, "output": 10, "total": 100, "unit": "TOKENS"}}),
        ] {
            assert_eq!(used(usage).0, counts);
        }
    }

    #[test]
    fn parts_and_costs_are_kept() {
        let (counts, costs) = used(json!({
            "usageDetails": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4, "x": null}},
            "usage": {"input": 1, "totalCost": 0.5},
            "costDetails": {"input": 0.1}
        }));
        assert_eq!(counts, json!({"input": 9, "input_cached_tokens": 4}));
        assert_eq!(costs, json!({"input": 0.1, "total": 0.5}));
        let (counts, _) = used(json!({"usage": {"input": 12, "unit": "CHARACTERS"}}));
        assert_eq!(counts, json!({"input_characters": 12}));
    }
}
