//! Compares what one version of an agent does with what another did, or with fixed targets: bootstrap
//! confidence intervals, always drawn alike, so that the same measurements give the same verdict.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::distribution::Distribution;
use super::interruption::InterruptionCounts;
use super::targets::InterruptionTargets;
use super::whatif::percentile;

/// Drawn so often; a bound of an interval then moves by less than it is wide.
const DRAWS: usize = 1000;
const SEED: u64 = 0x766f_7872_6179;
/// Of very many measurements an even part is looked at: it is exact enough, and bounds the work.
const VALUES_MAX: usize = 5000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Pass,
    Fail,
    InsufficientData,
}

impl Verdict {
    pub const ALL: [Self; 3] = [Self::Pass, Self::Fail, Self::InsufficientData];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::InsufficientData => "insufficient_data",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }

    /// One failure fails all; without one, a gap in the data leaves all open.
    pub fn of_all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::Pass;
        for verdict in verdicts {
            match verdict {
                Self::Fail => return Self::Fail,
                Self::InsufficientData => all = Self::InsufficientData,
                Self::Pass => {}
            }
        }
        all
    }
}

/// What is compared. Less is better for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// One value a turn.
    TurnLatencyP95Ms,
    /// One value an interruption.
    DetectionP95Ms,
    StopP95Ms,
    BleedThroughP95Words,
    /// One value a judged stop: 1 where nobody wanted it, else 0.
    FalseInterruptionRate,
    /// One value a call.
    DeadAirPerCallMs,
    ErrorRate,
    CostPerCallUsd,
}

impl Metric {
    pub const ALL: [Self; 8] = [
        Self::TurnLatencyP95Ms,
        Self::DetectionP95Ms,
        Self::StopP95Ms,
        Self::BleedThroughP95Words,
        Self::FalseInterruptionRate,
        Self::DeadAirPerCallMs,
        Self::ErrorRate,
        Self::CostPerCallUsd,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::TurnLatencyP95Ms => "turn_latency_p95_ms",
            Self::DetectionP95Ms => "detection_p95_ms",
            Self::StopP95Ms => "stop_p95_ms",
            Self::BleedThroughP95Words => "bleed_through_p95_words",
            Self::FalseInterruptionRate => "false_interruption_rate",
            Self::DeadAirPerCallMs => "dead_air_per_call_ms",
            Self::ErrorRate => "error_rate",
            Self::CostPerCallUsd => "cost_per_call_usd",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }

    fn statistic(self) -> Statistic {
        match self {
            Self::TurnLatencyP95Ms
            | Self::DetectionP95Ms
            | Self::StopP95Ms
            | Self::BleedThroughP95Words => Statistic::P95,
            _ => Statistic::Mean,
        }
    }
}

#[derive(Clone, Copy)]
enum Statistic {
    P95,
    Mean,
}

impl Statistic {
    fn of(self, values: &mut [f64]) -> Option<f64> {
        match self {
            Self::P95 => percentile(values, 0.95),
            Self::Mean if values.is_empty() => None,
            Self::Mean => Some(values.iter().sum::<f64>() / values.len() as f64),
        }
    }
}

/// What a metric is held against.
#[derive(Clone, Copy, Debug)]
pub enum Against<'a> {
    /// At most so much.
    Target(f64),
    /// At most what these values give, plus this share of it.
    Baseline { values: &'a [f64], tolerance: f64 },
}

/// The outcome of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    pub metric: Metric,
    pub verdict: Verdict,
    pub value: Option<f64>,
    /// The target, or the baseline's own value.
    pub target: Option<f64>,
    /// Of the value, or with a baseline of the difference, 95 % of the draws lie within.
    pub interval: Option<(f64, f64)>,
    pub measurements: usize,
    pub baseline_measurements: Option<usize>,
}

/// Holds values against a target or a baseline. It fails only where the data show it: the whole interval
/// lies beyond. A target also fails where the value itself is beyond it.
pub fn check(metric: Metric, values: &[f64], against: Against<'_>, min: usize) -> Check {
    let statistic = metric.statistic();
    let values = thinned(values);
    let value = statistic.of(&mut values.clone());
    let (target, interval, enough, beyond) = match against {
        Against::Target(target) => {
            let interval = interval_of(metric, &[&values], |drawn| statistic.of(&mut drawn[0]));
            let beyond = value.is_some_and(|value| value > target);
            (Some(target), interval, values.len() >= min, beyond)
        }
        Against::Baseline {
            values: baseline,
            tolerance,
        } => {
            let baseline = thinned(baseline);
            let target = statistic.of(&mut baseline.clone());
            let interval = interval_of(metric, &[&values, &baseline], |drawn| {
                let [ours, theirs] = drawn else { return None };
                Some(statistic.of(ours)? - statistic.of(theirs)?)
            });
            let allowed = target.unwrap_or_default().abs() * tolerance;
            let beyond = interval.is_some_and(|(low, _)| low > allowed);
            let enough = values.len() >= min && baseline.len() >= min;
            (target, interval, enough, beyond)
        }
    };
    let verdict = match (enough && value.is_some() && target.is_some(), beyond) {
        (false, _) => Verdict::InsufficientData,
        (true, true) => Verdict::Fail,
        (true, false) => Verdict::Pass,
    };
    Check {
        metric,
        verdict,
        value,
        target,
        interval,
        measurements: values.len(),
        baseline_measurements: match against {
            Against::Target(_) => None,
            Against::Baseline { values, .. } => Some(thinned(values).len()),
        },
    }
}

/// A number held against its target; `pass` is none where nothing was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetCheck {
    pub metric: Metric,
    pub value: Option<f64>,
    pub target: f64,
    pub pass: Option<bool>,
    pub measurements: u64,
}

/// How well interruptions went, against a tenant's targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterruptionGate {
    pub verdict: Verdict,
    pub checks: Vec<TargetCheck>,
}

/// Holds what sessions amount to against the targets. What no source measured plays no part, but for how long the
/// agent took to stop: every source that knows when somebody speaks knows it, and it is what the caller feels.
pub fn of_interruptions(
    counts: &InterruptionCounts,
    targets: &InterruptionTargets,
) -> InterruptionGate {
    let p95 = |metric, values: &Distribution, target: f64| {
        (metric, values.percentile(0.95), target, values.count())
    };
    let found = [
        p95(
            Metric::DetectionP95Ms,
            &counts.detection_ms,
            f64::from(targets.detection_p95_ms),
        ),
        p95(
            Metric::StopP95Ms,
            &counts.stop_ms,
            f64::from(targets.stop_p95_ms),
        ),
        p95(
            Metric::BleedThroughP95Words,
            &counts.bleed_through_words,
            targets.bleed_through_p95_words,
        ),
        (
            Metric::FalseInterruptionRate,
            counts.false_interruption_rate(),
            targets.false_rate,
            counts.judged_stops,
        ),
    ];
    let check =
        |(metric, value, target, measurements): (Metric, Option<f64>, f64, u64)| TargetCheck {
            metric,
            value,
            target,
            pass: value.map(|value| value <= target),
            measurements,
        };
    let checks: Vec<TargetCheck> = found.map(check).into();
    let is_enough = counts.interruptions >= u64::from(targets.min_interruptions);
    let fails = checks.iter().any(|check| check.pass == Some(false));
    let verdict = match (is_enough, fails) {
        (false, _) => Verdict::InsufficientData,
        (true, true) => Verdict::Fail,
        (true, false) if counts.stop_ms.count() == 0 => Verdict::InsufficientData,
        (true, false) => Verdict::Pass,
    };
    InterruptionGate { verdict, checks }
}

/// What makes sense of the values, in order (so that the order in which they come plays no part), and no
/// more than are looked at.
fn thinned(values: &[f64]) -> Vec<f64> {
    let mut values: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    if values.len() <= VALUES_MAX {
        return values;
    }
    let step = values.len() as f64 / VALUES_MAX as f64;
    let middle = |n: usize| values[((n as f64 + 0.5) * step) as usize % values.len()];
    (0..VALUES_MAX).map(middle).collect()
}

/// Between which values 95 % of the draws lie.
fn interval_of(
    metric: Metric,
    samples: &[&Vec<f64>],
    statistic: impl Fn(&mut [Vec<f64>]) -> Option<f64>,
) -> Option<(f64, f64)> {
    if samples.iter().any(|sample| sample.is_empty()) {
        return None;
    }
    let mut rng = StdRng::seed_from_u64(SEED ^ metric as u64);
    let mut drawn: Vec<Vec<f64>> = samples.iter().map(|s| vec![0.0; s.len()]).collect();
    let mut results = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        for (slots, sample) in drawn.iter_mut().zip(samples) {
            slots.fill_with(|| sample[rng.random_range(0..sample.len())]);
        }
        results.extend(statistic(&mut drawn));
    }
    let low = percentile(&mut results, 0.025)?;
    Some((low, percentile(&mut results, 0.975)?))
}

#[cfg(test)]
mod tests;
