//! Whether a version of an agent is fit to be released: the question as it is asked, and the measurements
//! that answer it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::domain::analysis::gate::{self, Against, Check, Metric, Verdict};
use crate::domain::analysis::{Clock, RULES_VERSION, Targets};
use crate::domain::analytics::Window;
use crate::domain::fact::parse_time;
use crate::domain::fields::nearest;
use crate::domain::many::ByClock;
use crate::domain::{Error, Fault, Result};

/// Where nothing else is said, so many days until now.
const DAYS: TimeDelta = TimeDelta::days(7);
const MINIMUM: i64 = 30;
const MINIMUM_MAX: i64 = 100_000;
const TOLERANCE: f64 = 0.05;
const TEXT_MAX_CHARS: usize = 255;

/// Some calls of an agent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Arm {
    pub agent_id: String,
    pub agent_version: Option<String>,
    #[serde(skip)]
    pub window: Window,
}

/// Whether the candidate's calls are as good as the baseline's, or without one good enough.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub candidate: Arm,
    pub baseline: Option<Arm>,
    /// What is looked at; none for everything that there is something to hold against.
    pub metrics: Option<Vec<Metric>>,
    /// In place of the agent's own targets.
    pub targets: Vec<(Metric, f64)>,
    /// With fewer measurements there is no verdict.
    pub minimum: usize,
    /// How much worse than the baseline is still as good, as a share of it.
    pub tolerance: f64,
}

impl Question {
    pub fn read(mut body: Map<String, Value>, now: DateTime<Utc>) -> Result<Self> {
        let mut faults = Vec::new();
        let candidate = match body.remove("candidate") {
            Some(Value::Object(arm)) => Arm::read("candidate", arm, now, &mut faults),
            _ => {
                faults.push(Fault::body("candidate", "must be given, as an object"));
                None
            }
        };
        let baseline = match body.remove("baseline") {
            None | Some(Value::Null) => None,
            Some(Value::Object(arm)) => Arm::read("baseline", arm, now, &mut faults),
            Some(_) => {
                faults.push(Fault::body("baseline", "must be an object"));
                None
            }
        };
        let metrics = metrics(body.remove("metrics"), &mut faults);
        let targets = targets(body.remove("targets"), &mut faults);
        let minimum = number(
            body.remove("minimum"),
            "minimum",
            1.0..=MINIMUM_MAX as f64,
            &mut faults,
        );
        let tolerance = number(
            body.remove("tolerance"),
            "tolerance",
            0.0..=10.0,
            &mut faults,
        );
        if minimum.is_some_and(|minimum| minimum.fract() != 0.0) {
            faults.push(Fault::body("minimum", "must be a whole number"));
        }
        let known = [
            "candidate",
            "baseline",
            "metrics",
            "targets",
            "minimum",
            "tolerance",
        ];
        refuse_unknown("", &body, &known, &mut faults);
        if baseline.is_none() {
            let untargeted = metrics.iter().flatten().filter(|metric| {
                let is_given = targets.iter().any(|(of, _)| of == *metric);
                let has_none = matches!(
                    metric,
                    Metric::DeadAirPerCallMs | Metric::ErrorRate | Metric::CostPerCallUsd
                );
                has_none && !is_given
            });
            faults.extend(untargeted.map(|metric| {
                let message =
                    "must be given where there is no baseline: the metric has no target of its own";
                Fault::body(format!("targets.{}", metric.as_str()), message)
            }));
        }
        match (candidate, faults.is_empty()) {
            (Some(candidate), true) => Ok(Self {
                candidate,
                baseline,
                metrics,
                targets,
                minimum: minimum.unwrap_or(MINIMUM as f64) as usize,
                tolerance: tolerance.unwrap_or(TOLERANCE),
            }),
            _ => Err(Error::Unprocessable(faults)),
        }
    }

    /// The targets to hold the candidate against, where there is no baseline.
    fn target(&self, metric: Metric, own: &Targets) -> Option<f64> {
        let given = self.targets.iter().find(|(of, _)| *of == metric);
        if let Some((_, target)) = given {
            return Some(*target);
        }
        match metric {
            Metric::TurnLatencyP95Ms => Some(f64::from(own.turn.target_ms)),
            Metric::DetectionP95Ms => Some(f64::from(own.interruption.detection_p95_ms)),
            Metric::StopP95Ms => Some(f64::from(own.interruption.stop_p95_ms)),
            Metric::BleedThroughP95Words => Some(own.interruption.bleed_through_p95_words),
            Metric::FalseInterruptionRate => Some(own.interruption.false_rate),
            Metric::DeadAirPerCallMs | Metric::ErrorRate | Metric::CostPerCallUsd => None,
        }
    }

    /// What is looked at, and what it is held against: a target that was given wins over the baseline.
    pub fn checks(
        &self,
        candidate: &Sample,
        baseline: Option<&Sample>,
        own: &Targets,
    ) -> Vec<Check> {
        let wanted = |metric: &Metric| {
            let metrics = self.metrics.as_ref();
            metrics.is_none_or(|metrics| metrics.contains(metric))
        };
        // The baseline is read by the candidate's clock: two clocks say nothing about each other.
        let clock = candidate.answers.most_used();
        let check = |metric: Metric| {
            let is_given = self.targets.iter().any(|(of, _)| *of == metric);
            let against = match baseline.filter(|_| !is_given) {
                Some(baseline) => Against::Baseline {
                    values: baseline.of(metric, clock),
                    tolerance: self.tolerance,
                },
                None => Against::Target(self.target(metric, own)?),
            };
            Some(gate::check(
                metric,
                candidate.of(metric, clock),
                against,
                self.minimum,
            ))
        };
        Metric::ALL
            .into_iter()
            .filter(wanted)
            .filter_map(check)
            .collect()
    }
}

impl Arm {
    fn read(
        place: &str,
        mut arm: Map<String, Value>,
        now: DateTime<Utc>,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let agent_id = text(arm.remove("agentId"), &format!("{place}.agentId"), faults);
        if agent_id.is_none() {
            faults.push(Fault::body(format!("{place}.agentId"), "must be given"));
        }
        let agent_version = text(
            arm.remove("agentVersion"),
            &format!("{place}.agentVersion"),
            faults,
        );
        let mut time = |name: &str| match arm.remove(name) {
            None | Some(Value::Null) => None,
            Some(value) => {
                let time = value.as_str().and_then(parse_time);
                if time.is_none() {
                    faults.push(Fault::body(
                        format!("{place}.{name}"),
                        "must be an RFC 3339 time such as `2025-01-31T09:30:00Z`",
                    ));
                }
                time
            }
        };
        let (after, before) = (time("startedAfter"), time("startedBefore"));
        let to = before.unwrap_or(now);
        let from = after.or(to.checked_sub_signed(DAYS)).unwrap_or(to);
        if from >= to {
            let message = "must be before `startedBefore`, or before now where that is not given";
            faults.push(Fault::body(format!("{place}.startedAfter"), message));
        }
        let known = ["agentId", "agentVersion", "startedAfter", "startedBefore"];
        refuse_unknown(&format!("{place}."), &arm, &known, faults);
        Some(Self {
            agent_id: agent_id?,
            agent_version,
            window: Window { from, to },
        })
    }
}

fn text(value: Option<Value>, name: &str, faults: &mut Vec<Fault>) -> Option<String> {
    match value {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if (1..=TEXT_MAX_CHARS).contains(&text.chars().count()) => {
            Some(text)
        }
        Some(_) => {
            let message = format!("must be a text of 1 to {TEXT_MAX_CHARS} characters");
            faults.push(Fault::body(name, message));
            None
        }
    }
}

fn number(
    value: Option<Value>,
    name: &str,
    range: std::ops::RangeInclusive<f64>,
    faults: &mut Vec<Fault>,
) -> Option<f64> {
    let value = value.filter(|value| !value.is_null())?;
    let number = value.as_f64().filter(|number| range.contains(number));
    if number.is_none() {
        let (low, high) = (range.start(), range.end());
        let message = format!("must be a number between {low} and {high}");
        faults.push(Fault::body(name, message));
    }
    number
}

fn metrics(value: Option<Value>, faults: &mut Vec<Fault>) -> Option<Vec<Metric>> {
    let value = value.filter(|value| !value.is_null())?;
    let items = value.as_array().filter(|items| !items.is_empty());
    let Some(items) = items else {
        faults.push(Fault::body(
            "metrics",
            "must be a list of at least one metric",
        ));
        return None;
    };
    let metric = |(n, item): (usize, &Value)| {
        let metric = item.as_str().and_then(Metric::parse);
        if metric.is_none() {
            let known = Metric::ALL
                .map(|metric| format!("`{}`", metric.as_str()))
                .join(", ");
            faults.push(Fault::body(
                format!("metrics/{n}"),
                format!("must be one of {known}"),
            ));
        }
        metric
    };
    Some(items.iter().enumerate().filter_map(metric).collect())
}

fn targets(value: Option<Value>, faults: &mut Vec<Fault>) -> Vec<(Metric, f64)> {
    let mut targets = Vec::new();
    match value {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => {
            for (name, value) in given {
                let place = format!("targets.{name}");
                match Metric::parse(&name) {
                    Some(metric) => {
                        let target = number(Some(value), &place, 0.0..=1e9, faults);
                        targets.extend(target.map(|target| (metric, target)));
                    }
                    None => faults.push(unknown(&place, &name, &Metric::ALL.map(Metric::as_str))),
                }
            }
        }
        Some(_) => faults.push(Fault::body("targets", "must be an object")),
    }
    targets
}

fn refuse_unknown(
    place: &str,
    rest: &Map<String, Value>,
    known: &[&'static str],
    faults: &mut Vec<Fault>,
) {
    let names = rest.keys();
    faults.extend(names.map(|name| unknown(&format!("{place}{name}"), name, known)));
}

fn unknown(place: &str, name: &str, known: &[&'static str]) -> Fault {
    Fault::misnamed(place, nearest(name, known.iter().copied()))
}

/// What was measured in the calls of an arm, by metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    pub calls: usize,
    /// More calls were there than are looked at: the newest are.
    pub is_cut: bool,
    values: [Vec<f64>; Metric::ALL.len()],
    /// How long answers took. Only those by one clock are compared.
    pub answers: ByClock<f64>,
}

impl Sample {
    pub fn add(&mut self, metric: Metric, values: impl IntoIterator<Item = f64>) {
        self.values[metric as usize].extend(values);
    }

    /// The values that are compared: of the answers those by this clock.
    pub fn of(&self, metric: Metric, clock: Option<Clock>) -> &[f64] {
        match (metric, clock) {
            (Metric::TurnLatencyP95Ms, Some(clock)) => self.answers.of(clock),
            (metric, _) => &self.values[metric as usize],
        }
    }

    /// How many measurements there are in all.
    pub fn measurements(&self) -> usize {
        self.values.iter().map(Vec::len).sum::<usize>() + self.answers.count()
    }

    /// In one order, whichever the calls were read in.
    pub fn sort(&mut self) {
        self.values
            .iter_mut()
            .chain(self.answers.values_mut())
            .for_each(|values| values.sort_by(f64::total_cmp));
    }
}

/// The verdict over all checks: without any there is nothing to go by.
pub fn verdict(checks: &[Check]) -> Verdict {
    match checks {
        [] => Verdict::InsufficientData,
        checks => Verdict::of_all(checks.iter().map(|check| check.verdict)),
    }
}

/// SHA-256 of everything that a verdict is found from: who has the same question, targets, rules and
/// measurements finds the same.
pub fn digest(question: &Value, targets: &Targets, samples: &[&Sample]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(question.to_string().as_bytes());
    hasher.update(
        serde_json::to_string(targets)
            .unwrap_or_default()
            .as_bytes(),
    );
    hasher.update(RULES_VERSION.to_be_bytes());
    for sample in samples {
        hasher.update((sample.calls as u64).to_be_bytes());
        let add = |hasher: &mut Sha256, values: &[f64]| {
            hasher.update((values.len() as u64).to_be_bytes());
            values
                .iter()
                .for_each(|value| hasher.update(value.to_bits().to_be_bytes()));
        };
        for values in &sample.values {
            add(&mut hasher, values);
        }
        for (clock, values) in sample.answers.iter() {
            add(&mut hasher, values);
            hasher.update(clock.as_str().as_bytes());
        }
    }
    hasher.finalize().into()
}
