//! How well agents let themselves be interrupted, and whether that is good enough to be released.

use crate::domain::Result;
use crate::domain::analysed::Conduct;
use crate::domain::analysis::InterruptionCounts;
use crate::domain::analysis::gate::Verdict;
use crate::domain::analysis::targets::InterruptionTargets;
use crate::domain::analytics::Window;
use crate::domain::settings::Effective;
use crate::store::Scope;
use crate::store::analysis;
use crate::store::targets;

/// What the gate looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    DetectionP95,
    StopP95,
    BleedThroughP95,
    FalseRate,
}

/// One measured against its target. The rate is a share of 1.
pub struct Check {
    pub metric: Metric,
    pub value: Option<f64>,
    pub target: f64,
    /// None where nothing is measured.
    pub pass: Option<bool>,
}

pub struct Gate {
    pub verdict: Verdict,
    pub checks: Vec<Check>,
    /// Fewer interruptions give no verdict.
    pub min_interruptions: u32,
}

/// The quality of some calls.
pub struct Quality {
    pub agent_key: Option<String>,
    pub conduct: Conduct,
    pub gate: Gate,
}

/// Of all calls of a range (or all of an agent), and of each agent's, those with most interruptions first.
pub async fn quality(
    scope: &Scope,
    window: Window,
    agent_key: Option<&str>,
) -> Result<(Quality, Vec<Quality>)> {
    let by_agent = analysis::by_agent(scope, window, agent_key).await?;
    let mut agents: Vec<String> = by_agent.keys().flatten().cloned().collect();
    agents.extend(agent_key.map(str::to_owned));
    let settings = targets::of_agents(scope, &agents).await?;
    let quality = |agent_key: Option<String>, conduct: Conduct| {
        let effective = Effective::of(settings.iter(), agent_key.as_deref());
        let gate = Gate::of(&conduct.counts, &effective.targets.interruption);
        Quality {
            agent_key,
            conduct,
            gate,
        }
    };
    let mut all = Conduct::default();
    by_agent.values().for_each(|conduct| all.merge(conduct));
    let mut parts: Vec<Quality> = by_agent
        .into_iter()
        .map(|(agent, conduct)| quality(agent, conduct))
        .collect();
    parts.sort_by_key(|one| std::cmp::Reverse(one.conduct.counts.interruptions));
    Ok((quality(agent_key.map(str::to_owned), all), parts))
}

impl Gate {
    fn of(counts: &InterruptionCounts, targets: &InterruptionTargets) -> Self {
        let checks = [
            (
                Metric::DetectionP95,
                counts.detection_ms.percentile(0.95),
                f64::from(targets.detection_p95_ms),
            ),
            (
                Metric::StopP95,
                counts.stop_ms.percentile(0.95),
                f64::from(targets.stop_p95_ms),
            ),
            (
                Metric::BleedThroughP95,
                counts.bleed_through_words.percentile(0.95),
                targets.bleed_through_p95_words,
            ),
            (
                Metric::FalseRate,
                counts.false_interruption_rate(),
                targets.false_rate,
            ),
        ];
        let checks = checks.map(|(metric, value, target)| Check {
            metric,
            value,
            target,
            pass: value.map(|value| value <= target),
        });
        let verdict = if counts.interruptions < u64::from(targets.min_interruptions) {
            Verdict::InsufficientData
        } else {
            Verdict::of_all(checks.iter().map(|check| match check.pass {
                Some(true) => Verdict::Pass,
                Some(false) => Verdict::Fail,
                None => Verdict::InsufficientData,
            }))
        };
        Self {
            verdict,
            checks: checks.into(),
            min_interruptions: targets.min_interruptions,
        }
    }
}
