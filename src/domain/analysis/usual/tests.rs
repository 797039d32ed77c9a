use serde_json::json;

use super::*;
use crate::domain::analysis::IssueType;
use crate::domain::analysis::fixture::{analysis, clean};

fn usual(ms: f64, measurements: u64) -> Usual {
    let mut usual = Usual::default();
    let key = UsualKey::new(Stage::Llm, Some("openai"), None);
    usual.add(key, UsualValue { ms, measurements });
    usual
}

fn slow() -> Analysis {
    let mut call = clean(10);
    for n in [5, 9] {
        call["turns"][n]["llmMs"] = json!(2400);
        call["turns"][n]["latencyMs"] = json!(3000);
        call["turns"][n]["providers"] = json!({"llm": "openai"});
    }
    analysis(&call)
}

#[test]
fn what_is_usual_is_evidence_and_changes_no_issue() {
    let analysis = slow();
    let plain = issues_with(&analysis, &Usual::default());
    assert_eq!(plain, analysis.issues);
    let told = issues_with(&analysis, &usual(400.0, 30));
    assert_eq!(told.len(), plain.len());
    for (told, plain) in told.iter().zip(&plain) {
        assert_eq!(
            (told.kind, told.turn, &told.description),
            (plain.kind, plain.turn, &plain.description)
        );
    }
    let slow = told
        .iter()
        .find(|issue| issue.kind == IssueType::HighLatency)
        .unwrap();
    assert_eq!(slow.evidence["usualMs"], 400);
    assert_eq!(slow.evidence["usualMeasurements"], 30);
    assert_eq!(
        slow.evidence["counterfactual"],
        json!({"stage": "llm", "p95Ms": 3000, "p95IfUsualMs": 1000, "turns": 10, "replaced": 2})
    );
}

#[test]
fn too_few_measurements_are_not_usual() {
    assert!(usual(400.0, 29).is_empty());
}

#[test]
fn what_is_wanted_is_what_was_measured() {
    let wanted = wanted(&slow());
    assert!(wanted.contains(&UsualKey::new(Stage::Llm, Some("openai"), None)));
    assert!(wanted.contains(&UsualKey::new(Stage::Tts, None, None)));
    assert!(wanted.iter().all(|key| key.stage != Stage::Tool));
}
