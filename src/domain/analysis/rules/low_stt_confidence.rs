//! A turn of the user that recognition was not sure of.

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::provided::Provided;
use super::super::view::{Spoken, View};
use super::tell::excerpt;

pub fn find(view: &View) -> Vec<Issue> {
    let unsure = |turn: &Spoken| {
        // Zero is how sources write that they do not know.
        let confidence = turn.turn.confidence.filter(|value| *value > 0.0)?;
        (confidence < view.targets.thresholds.low_confidence).then_some(confidence)
    };
    view.user_turns()
        .filter_map(|(_, turn)| Some(tell(view, turn, unsure(turn)?)))
        .collect()
}

fn tell(view: &View, turn: &Spoken, confidence: f64) -> Issue {
    let thresholds = &view.targets.thresholds;
    let target = thresholds.low_confidence;
    let is_major = confidence < thresholds.very_low_confidence;
    let severity = if is_major {
        Severity::Major
    } else {
        Severity::Minor
    };
    let description = format!(
        "Recognition was only {:.0}% sure of the user's words (target: \u{2265}{:.0}%).",
        (confidence * 100.0).floor(),
        target * 100.0
    );
    let by = Provided::of(None, turn.turn, view.input.session, Stage::Stt);
    let issue = Issue::new(IssueType::LowSttConfidence, severity, description)
        .of_turn(turn)
        .in_stage(Some(Stage::Stt))
        .by(by.names())
        .shows("confidence", (confidence * 1000.0).round() / 1000.0)
        .shows("target", target)
        .advise("Read names and numbers back, give the recogniser key terms and the language, and use a model for 8 kHz audio on the telephone.");
    match &turn.turn.text {
        Some(text) if !text.trim().is_empty() => issue.quotes(
            format!("It understood \"{}\".", excerpt(text)),
            "text",
            excerpt(text),
        ),
        _ => issue,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, found};
    use super::*;

    #[test]
    fn below_the_threshold_it_is_told() {
        for (confidence, expected) in [
            (0.70, None),
            (0.699, Some(Severity::Minor)),
            (0.50, Some(Severity::Minor)),
            (0.499, Some(Severity::Major)),
            (0.0, None),
        ] {
            let mut call = clean(3);
            call["turns"][2]["confidence"] = json!(confidence);
            let found = found(&call, IssueType::LowSttConfidence);
            assert_eq!(
                found.first().map(|issue| issue.severity),
                expected,
                "{confidence}"
            );
            if let Some(issue) = found.first() {
                assert_eq!(issue.turn, Some(2));
                assert!(!issue.description.contains("Margaret"));
            }
        }
    }
}
