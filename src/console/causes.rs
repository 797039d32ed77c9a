//! What went wrong in the calls of the dashboard's period, by what it cost callers, and how well agents let themselves
//! be interrupted.

use super::charts::percent;
use super::format;
use super::page;
use crate::auth::Viewer;
use crate::domain::Result;
use crate::domain::analysis::gate::{Metric, TargetCheck, Verdict};
use crate::domain::analysis::{IssueType, Stage};
use crate::domain::analytics::{Dimensions, Window};
use crate::domain::many::Cause;
use crate::services::analysis;
use crate::services::analysis::Quality;

/// Shown of providers and of agents.
const ROWS: usize = 10;

/// Root causes.
pub struct Causes {
    pub analysed: String,
    pub calls: String,
    pub lost: String,
    pub rows: Vec<CauseRow>,
    pub by_provider: Vec<CauseRow>,
}

pub struct CauseRow {
    pub name: String,
    pub provider: String,
    /// The calls, where the list can show just these.
    pub link: Option<String>,
    /// Its part of the most that any cost.
    pub width: String,
    pub lost: String,
    pub calls: String,
    pub critical: String,
    pub occurrences: String,
}

/// How interruptions went.
pub struct Interruptions {
    /// Whether other choices than the agent were made, which these numbers do not know.
    pub is_wider: bool,
    pub is_empty: bool,
    pub gate: Gate,
    pub checks: Vec<CheckRow>,
    pub facts: Vec<(&'static str, String)>,
    pub agents: Vec<AgentRow>,
}

pub struct Gate {
    pub kind: &'static str,
    pub told: String,
}

pub struct CheckRow {
    pub name: &'static str,
    pub value: String,
    pub target: String,
    pub verdict: Gate,
    pub measurements: String,
}

pub struct AgentRow {
    pub name: String,
    pub interruptions: String,
    pub stop: String,
    pub false_rate: String,
    pub gate: Gate,
}

impl Causes {
    pub async fn load(viewer: &Viewer, window: Window, dimensions: &Dimensions) -> Result<Self> {
        let found = analysis::causes(&viewer.scope, window, dimensions).await?;
        let most = |causes: &[Cause]| causes.iter().map(|cause| cause.impact_ms).max();
        let (most_ms, most_provider_ms) = (most(&found.by_type), most(&found.by_provider));
        let kinds = found.by_type.iter().map(|cause| {
            let kind = cause.kind.as_deref().unwrap_or_default();
            let link = IssueType::parse(kind).and_then(|kind| link(kind, window, dimensions));
            CauseRow::of(cause, format::title(kind), link, most_ms)
        });
        let providers = found.by_provider.iter().map(|cause| {
            let stage = cause.stage.as_deref().and_then(Stage::parse);
            let name = stage.map_or("–", Stage::title).to_owned();
            CauseRow::of(cause, name, None, most_provider_ms)
        });
        Ok(Self {
            analysed: format::count(found.calls),
            calls: format::count(found.all.calls),
            lost: format::seconds(found.all.impact_ms),
            rows: kinds.collect(),
            by_provider: providers.take(ROWS).collect(),
        })
    }
}

impl CauseRow {
    fn of(cause: &Cause, name: String, link: Option<String>, most_ms: Option<i64>) -> Self {
        let most_ms = most_ms.filter(|ms| *ms > 0).unwrap_or(1);
        Self {
            name,
            provider: cause.provider.clone().unwrap_or_default(),
            link,
            width: percent(cause.impact_ms as f64 / most_ms as f64),
            lost: format::seconds(cause.impact_ms),
            calls: format::count(cause.calls),
            critical: format::count(cause.critical_calls),
            occurrences: format::count(cause.occurrences),
        }
    }
}

/// The calls of the period that have such an issue; none where the list knows a choice not. It goes by whole minutes.
fn link(kind: IssueType, window: Window, dimensions: &Dimensions) -> Option<String> {
    if dimensions.workflow.is_some() {
        return None;
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let from = window.from.format("%Y-%m-%dT%H:%M").to_string();
    Some(page::link(
        "/console",
        &[
            ("from", &from),
            ("type", &text(&dimensions.channel)),
            ("campaign", &text(&dimensions.campaign)),
            ("agent_key", &text(&dimensions.agent_key)),
            ("issues", kind.as_str()),
        ],
    ))
}

impl Interruptions {
    pub async fn load(viewer: &Viewer, window: Window, dimensions: &Dimensions) -> Result<Self> {
        let agent = dimensions.agent_key.as_deref();
        let (all, parts) = analysis::quality(&viewer.scope, window, agent).await?;
        let other = Dimensions {
            agent_key: None,
            ..dimensions.clone()
        };
        let counts = &all.conduct.counts;
        let rate = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), shown_rate);
        let known = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        let count = |number: u64| format::count(i64::try_from(number).unwrap_or(i64::MAX));
        Ok(Self {
            is_wider: !other.is_all(),
            is_empty: counts.overlaps == 0 && counts.interruptions == 0,
            gate: Gate::of(&all),
            checks: all.gate.checks.iter().filter_map(CheckRow::of).collect(),
            facts: vec![
                ("Interruptions", count(counts.interruptions)),
                (
                    "False interruptions",
                    rate(counts.false_interruption_rate()),
                ),
                ("Missed barge-ins", rate(counts.missed_barge_in_rate())),
                (
                    "Agent talked over the user",
                    rate(counts.agent_interrupts_rate()),
                ),
                ("Recovered", rate(counts.recovery_rate())),
                (
                    "Turn-taking score",
                    known(all.conduct.score.map(|score| format!("{score:.2}"))),
                ),
            ],
            agents: parts.iter().take(ROWS).map(AgentRow::of).collect(),
        })
    }
}

impl Gate {
    fn of(quality: &Quality) -> Self {
        let (kind, told) = match quality.gate.verdict {
            Verdict::Pass => ("good", "passes".to_owned()),
            Verdict::Fail => ("bad", "fails".to_owned()),
            Verdict::InsufficientData => {
                let told = quality.conduct.counts.interruptions;
                let needed = quality.min_interruptions;
                (
                    "",
                    format!("not enough data: {told} of {needed} interruptions"),
                )
            }
        };
        Self { kind, told }
    }
}

impl CheckRow {
    fn of(check: &TargetCheck) -> Option<Self> {
        let words = |words: f64| format!("{words:.1} words");
        let (name, shown): (_, fn(f64) -> String) = match check.metric {
            Metric::DetectionP95Ms => ("Noticed after, p95", format::ms),
            Metric::StopP95Ms => ("Silent after, p95", format::ms),
            Metric::BleedThroughP95Words => ("Words said on, p95", words),
            Metric::FalseInterruptionRate => ("False interruptions", shown_rate),
            _ => return None,
        };
        let (kind, told) = match check.pass {
            Some(true) => ("good", "passes"),
            Some(false) => ("bad", "fails"),
            None => ("", "not measured"),
        };
        Some(Self {
            name,
            value: check.value.map_or_else(|| "–".to_owned(), shown),
            target: shown(check.target),
            verdict: Gate {
                kind,
                told: told.to_owned(),
            },
            measurements: format::count(i64::try_from(check.measurements).unwrap_or(i64::MAX)),
        })
    }
}

impl AgentRow {
    fn of(quality: &Quality) -> Self {
        let counts = &quality.conduct.counts;
        let stop = counts.stop_ms.percentile(0.95);
        let known = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        Self {
            name: quality
                .agent_key
                .clone()
                .unwrap_or_else(|| "not named".to_owned()),
            interruptions: format::count(i64::try_from(counts.interruptions).unwrap_or(i64::MAX)),
            stop: known(stop.map(format::ms)),
            false_rate: known(counts.false_interruption_rate().map(shown_rate)),
            gate: Gate::of(quality),
        }
    }
}

fn shown_rate(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
