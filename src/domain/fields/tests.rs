use serde_json::json;

use super::*;

fn faults(kind: Kind, item: Value) -> Vec<String> {
    let item = item.as_object().cloned().unwrap();
    let found = check(kind, &item, DateTime::UNIX_EPOCH).faults;
    found
        .into_iter()
        .map(|f| format!("{} {}", f.name, f.message))
        .collect()
}

#[test]
fn free_values_and_unknown_fields_are_bounded() {
    let large = "x".repeat(FREE_MAX_BYTES - 8);
    assert_eq!(
        faults(Kind::Session, json!({"metadata": {"a": large}})),
        [""; 0]
    );
    let larger = "x".repeat(FREE_MAX_BYTES - 7);
    let message = format!(
        "must be at most 262144 bytes of JSON, got {}",
        FREE_MAX_BYTES + 1
    );
    assert_eq!(
        faults(Kind::Session, json!({"metadata": {"a": larger}})),
        [format!("metadata {message}")]
    );
    let huge = "x".repeat(FREE_MAX_BYTES);
    let found = faults(
        Kind::ToolCall,
        json!({"result": [huge], "other": huge, "error": huge, "arguments": {"a": [1]}}),
    );
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn an_offset_is_at_most_a_week() {
    assert_eq!(
        faults(Kind::Turn, json!({"index": 0, "startMs": 604_800_000})),
        [""; 0]
    );
    assert_eq!(
        faults(Kind::Turn, json!({"index": 0, "startMs": 604_800_001})),
        ["startMs must be between 0 and 604800000, got `604800001`"]
    );
}
