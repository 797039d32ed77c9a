//! How well agents let themselves be interrupted, and whether that is good enough to be released.

use crate::domain::Result;
use crate::domain::analysis::gate::{self, InterruptionGate};
use crate::domain::analytics::Window;
use crate::domain::many::Conduct;
use crate::domain::settings::Effective;
use crate::store::Scope;
use crate::store::analysis;
use crate::store::targets;

/// The quality of some calls.
pub struct Quality {
    pub agent_key: Option<String>,
    pub conduct: Conduct,
    pub gate: InterruptionGate,
    /// With fewer the gate has no verdict.
    pub min_interruptions: u32,
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
        let targets = &effective.targets.interruption;
        Quality {
            agent_key,
            gate: gate::of_interruptions(&conduct.counts, targets),
            min_interruptions: targets.min_interruptions,
            conduct,
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
