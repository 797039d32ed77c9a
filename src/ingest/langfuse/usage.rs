//! What an observation used and cost, in the several ways that Langfuse's API takes it.

use serde_json::{Map, Value};

/// Counts that OpenAI's API and older SDKs name otherwise.
const NAMES: &[(&str, &str)] = &[
    ("promptTokens", "input"),
    ("prompt_tokens", "input"),
    ("input_tokens", "input"),
    ("completionTokens", "output"),
    ("completion_tokens", "output"),
    ("output_tokens", "output"),
    ("totalTokens", "total"),
    ("total_tokens", "total"),
];
/// Counts within counts, and what their names begin with here.
const DETAILS: &[(&str, &str)] = &[
    ("prompt_tokens_details", "input_"),
    ("input_tokens_details", "input_"),
    ("completion_tokens_details", "output_"),
    ("output_tokens_details", "output_"),
];
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
    for (name, value) in given {
        let prefix = DETAILS.iter().find(|(detail, _)| detail == name);
        match (prefix, value) {
            (Some((_, prefix)), Value::Object(members)) => {
                for (name, value) in numbers(members) {
                    into.insert(format!("{prefix}{name}{suffix}"), value);
                }
            }
            (None, Value::Number(_)) if !COSTS.iter().any(|(cost, _)| cost == name) => {
                let renamed = NAMES.iter().find(|(theirs, _)| theirs == name);
                let name = renamed.map_or(name.as_str(), |(_, ours)| ours);
                into.insert(format!("{name}{suffix}"), value.clone());
            }
            _ => {}
        }
    }
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
