//! What is usual for an agent, said beside what was measured in one call. It is looked up when somebody
//! reads, and never makes an issue or takes one away.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::issue::{Issue, Stage};
use super::latency::TurnLatency;
use super::{Analysis, whatif};
use crate::domain::analytics::Window;
use crate::domain::digest::Entry;

/// With fewer measurements nothing is called usual.
pub const USUAL_MIN: u64 = 30;
/// What is usual is what it was in the days before.
const USUAL_DAYS: TimeDelta = TimeDelta::days(7);

/// The days whose calls tell what is usual at a moment; none only where the calendar begins.
pub fn days_before(to: DateTime<Utc>) -> Option<Window> {
    let from = to.checked_sub_signed(USUAL_DAYS)?;
    Some(Window { from, to })
}

/// What a value is usual for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsualKey {
    pub stage: Stage,
    /// Empty where none is named.
    pub provider: String,
    pub model: String,
}

impl UsualKey {
    pub fn new(stage: Stage, provider: Option<&str>, model: Option<&str>) -> Self {
        Self {
            stage,
            provider: provider.unwrap_or_default().to_owned(),
            model: model.unwrap_or_default().to_owned(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UsualValue {
    /// The median.
    pub ms: f64,
    pub measurements: u64,
}

impl UsualValue {
    /// Of what was measured, be it enough or not; none where nothing was.
    pub fn of(measured: &Entry) -> Option<Self> {
        Some(Self {
            ms: measured.percentile_ms(0.5)?,
            measurements: measured.count,
        })
    }

    pub fn is_enough(&self) -> bool {
        self.measurements >= USUAL_MIN && self.ms.is_finite() && self.ms >= 0.0
    }
}

/// The agent's own medians of the days before a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usual(BTreeMap<UsualKey, UsualValue>);

impl Usual {
    /// What rests on too little is not taken.
    pub fn add(&mut self, key: UsualKey, value: UsualValue) {
        if value.is_enough() {
            self.0.insert(key, value);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn of(
        &self,
        stage: Stage,
        provider: Option<&str>,
        model: Option<&str>,
    ) -> Option<UsualValue> {
        self.0.get(&UsualKey::new(stage, provider, model)).copied()
    }

    fn of_turn(&self, turn: &TurnLatency, stage: Stage) -> Option<UsualValue> {
        let (provider, model) = turn.named(stage);
        self.of(stage, provider, model)
    }
}

/// What a session's analysis is asked for to look up what was usual: every stage, provider and model that
/// an issue blames or that a turn measured, once each.
pub fn wanted(analysis: &Analysis) -> Vec<UsualKey> {
    let mut keys = std::collections::BTreeSet::new();
    for turn in &analysis.turns {
        for segment in &turn.segments {
            let (provider, model) = turn.named(segment.stage);
            keys.insert(UsualKey::new(segment.stage, provider, model));
        }
    }
    for issue in &analysis.issues {
        if let Some(stage) = issue.stage {
            let (provider, model) = (issue.provider.as_deref(), issue.model.as_deref());
            keys.insert(UsualKey::new(stage, provider, model));
        }
    }
    keys.into_iter().collect()
}

/// The issues, with what is usual and what the call's p95 would have been with it.
pub fn issues_with(analysis: &Analysis, usual: &Usual) -> Vec<Issue> {
    let mut if_usual: BTreeMap<Stage, Option<Value>> = BTreeMap::new();
    let mut issues = analysis.issues.clone();
    for issue in &mut issues {
        let Some(stage) = issue.stage else { continue };
        let (provider, model) = (issue.provider.as_deref(), issue.model.as_deref());
        let Some(value) = usual.of(stage, provider, model) else {
            continue;
        };
        let evidence = &mut issue.evidence;
        evidence.insert("usualMs".to_owned(), number(value.ms));
        evidence.insert("usualMeasurements".to_owned(), value.measurements.into());
        if issue.impact_ms.is_none() {
            continue;
        }
        let whole = if_usual
            .entry(stage)
            .or_insert_with(|| counterfactual(&analysis.turns, stage, usual));
        if let Some(whole) = whole {
            evidence.insert("counterfactual".to_owned(), whole.clone());
        }
    }
    issues
}

fn counterfactual(turns: &[TurnLatency], stage: Stage, usual: &Usual) -> Option<Value> {
    let answer = whatif::p95(turns, stage, |turn| Some(usual.of_turn(turn, stage)?.ms))?;
    Some(json!({
        "stage": stage.as_str(),
        "p95Ms": number(answer.before_ms),
        "p95IfUsualMs": number(answer.after_ms),
        "turns": answer.turns,
        "replaced": answer.replaced,
    }))
}

/// A number as it is shown: to the tenth.
pub(super) fn number(ms: f64) -> Value {
    let tenths = (ms * 10.0).round() / 10.0;
    if tenths.fract() == 0.0 && tenths.abs() < 1e15 {
        Value::from(tenths as i64)
    } else {
        Value::from(tenths)
    }
}

#[cfg(test)]
mod tests;
