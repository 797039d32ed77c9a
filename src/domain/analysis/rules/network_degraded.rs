//! A network that loses or delays audio.

use super::super::input::NetworkSample;
use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::view::View;
use super::tell::{count, time};

pub fn find(view: &View) -> Vec<Issue> {
    of_session(view).into_iter().collect()
}

/// How bad the worst sample was; none where nothing was measured.
#[derive(Default)]
struct Worst {
    loss_percent: Option<f64>,
    jitter_ms: Option<f64>,
    rtt_ms: Option<f64>,
    mos: Option<f64>,
}

fn of_session(view: &View) -> Option<Issue> {
    let mut bad: Vec<&NetworkSample> = view
        .input
        .network
        .iter()
        .filter(|s| is_bad(view, s))
        .collect();
    bad.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
    let (first, last) = (bad.first()?, bad.last()?);
    let mut worst = Worst::default();
    for sample in &bad {
        worst.loss_percent = highest(worst.loss_percent, sample.loss_percent);
        worst.jitter_ms = highest(worst.jitter_ms, sample.jitter_ms);
        worst.rtt_ms = highest(worst.rtt_ms, sample.rtt_ms);
        let mos = sample.mos.filter(|mos| *mos > 0.0);
        worst.mos = worst
            .mos
            .map_or(mos, |known| Some(known.min(mos.unwrap_or(known))));
    }
    let turns = turns(view, &bad);
    let description = format!(
        "The network was poor in {} of {}, first at {}: {}.",
        bad.len(),
        count(view.input.network.len(), "measurement"),
        time(first.at_ms),
        told(view, &worst).join(", ")
    );
    Some(
        Issue::new(IssueType::NetworkDegraded, Severity::Major, description)
            .in_stage(Some(Stage::Transport))
            .at(Some(first.at_ms))
            .shows("turns", turns)
            .shows("samples", view.input.network.len())
            .shows("poorSamples", bad.len())
            .measures("sinceMs", Some(first.at_ms))
            .measures("untilMs", Some(last.at_ms))
            .measures("lossPercent", worst.loss_percent)
            .measures("jitterMs", worst.jitter_ms)
            .measures("rttMs", worst.rtt_ms)
            .measures("mos", worst.mos)
            .advise("Use the media edge nearest to the caller, a codec that hides losses (Opus with FEC), and a wider jitter buffer while it lasts."),
    )
}

fn is_bad(view: &View, sample: &NetworkSample) -> bool {
    let limits = &view.targets.thresholds;
    sample
        .loss_percent
        .is_some_and(|loss| loss > limits.loss_percent)
        || sample
            .jitter_ms
            .is_some_and(|ms| ms > f64::from(limits.jitter_ms))
        || sample
            .rtt_ms
            .is_some_and(|ms| ms > f64::from(limits.rtt_ms))
        || sample.mos.is_some_and(|mos| mos > 0.0 && mos < limits.mos)
}

fn highest(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// The worst of each that is beyond its limit.
fn told(view: &View, worst: &Worst) -> Vec<String> {
    let limits = &view.targets.thresholds;
    let mut told = Vec::new();
    if let Some(loss) = worst
        .loss_percent
        .filter(|loss| *loss > limits.loss_percent)
    {
        told.push(format!("{loss:.1}% loss (limit: {}%)", limits.loss_percent));
    }
    if let Some(ms) = worst
        .jitter_ms
        .filter(|ms| *ms > f64::from(limits.jitter_ms))
    {
        told.push(format!(
            "jitter of {} (limit: {}ms)",
            time(ms),
            limits.jitter_ms
        ));
    }
    if let Some(ms) = worst.rtt_ms.filter(|ms| *ms > f64::from(limits.rtt_ms)) {
        told.push(format!(
            "round trips of {} (limit: {}ms)",
            time(ms),
            limits.rtt_ms
        ));
    }
    if let Some(mos) = worst.mos.filter(|mos| *mos < limits.mos) {
        told.push(format!("a MOS of {mos:.1} (limit: {})", limits.mos));
    }
    told
}

/// The turns that were being spoken.
fn turns(view: &View, bad: &[&NetworkSample]) -> Vec<i32> {
    let spoken = |from: f64, to: f64| {
        let first = bad.partition_point(|sample| sample.at_ms < from);
        bad.get(first).is_some_and(|sample| sample.at_ms <= to)
    };
    let heard = view
        .turns
        .iter()
        .filter_map(|turn| Some((turn.turn.index, turn.interval()?)));
    heard
        .filter(|(_, (from, to))| spoken(*from, *to))
        .map(|(index, _)| index)
        .take(50)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::NetworkDegraded;

    #[test]
    fn each_limit_by_itself() {
        let bad = |sample: Value| {
            let mut call = clean(2);
            call["network"] = json!([sample]);
            !found(&call, KIND).is_empty()
        };
        assert!(
            bad(json!({"atMs": 1, "lossPercent": 3.1}))
                && !bad(json!({"atMs": 1, "lossPercent": 3}))
        );
        assert!(
            bad(json!({"atMs": 1, "jitterMs": 31})) && !bad(json!({"atMs": 1, "jitterMs": 30}))
        );
        assert!(bad(json!({"atMs": 1, "rttMs": 401})) && !bad(json!({"atMs": 1, "rttMs": 400})));
        assert!(bad(json!({"atMs": 1, "mos": 3.4})) && !bad(json!({"atMs": 1, "mos": 3.5})));
        assert!(!bad(json!({"atMs": 1, "mos": 0})));
    }

    #[test]
    fn since_when_and_which_turns() {
        let mut call = clean(2);
        call["network"] = json!([
            {"atMs": 1000, "lossPercent": 0.1, "rttMs": 90},
            {"atMs": 8000, "lossPercent": 6.5, "rttMs": 120},
            {"atMs": 4000, "lossPercent": 4.0, "rttMs": 450},
        ]);
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "The network was poor in 2 of 3 measurements, first at 4s: 6.5% loss (limit: 3%), round trips of 450ms (limit: 400ms)."
        );
        assert_eq!(issue.evidence["turns"], json!([1, 2]));
    }
}
