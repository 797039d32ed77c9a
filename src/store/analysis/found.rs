//! What was found in ranges of calls: sums where they are up to date, calls where they are not.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;

use crate::domain::Result;
use crate::domain::analytics::{Dimension, Dimensions, Window};
use crate::domain::digest::Digest;
use crate::domain::found::{CauseKey, CauseSum, CauseSums, ConductSums, Issue, Share};
use crate::domain::many::{Cause, Causes, Conduct};
use crate::domain::session::Providers;
use crate::store::analytics::range::found_over_range;
use crate::store::columns::unreadable;
use crate::store::failure::{failure, read_whole};
use crate::store::scope::Scope;

use super::sample::is_of_agents_only;

struct CauseRow {
    agent_key: Option<String>,
    is_outside: bool,
    calls: i64,
    causes: Option<Vec<u8>>,
    issues: Option<String>,
}

/// What went wrong by type, by stage, by provider and by agent.
pub async fn causes(scope: &Scope, window: Window, dimensions: &Dimensions) -> Result<Causes> {
    read_whole(&scope.analytics, || sum_causes(scope, window, dimensions)).await
}

async fn sum_causes(scope: &Scope, window: Window, dimensions: &Dimensions) -> Result<Causes> {
    // Agents are always told apart in their own sums.
    let is_of_agents = is_of_agents_only(dimensions);
    let apart = match is_of_agents {
        true => 0,
        false => dimensions.bits() | Dimension::Agent.bit(),
    };
    let mut connection = scope.analytics.acquire().await.map_err(failure)?;
    let mut rows = found_over_range!(
        CauseRow,
        scope,
        (window, window.cover_nearest()),
        (is_of_agents, dimensions, apart),
        r#"agent_key, is_outside as "is_outside!", calls as "calls!", causes, issues"#,
        "where calls > 0"
    )
    .fetch(&mut *connection);
    let (mut inside, mut outside) = (ByAgent::default(), ByAgent::default());
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        let part = if row.is_outside {
            &mut outside
        } else {
            &mut inside
        };
        part.add(row)?;
    }
    drop(rows);
    connection.done();
    inside.take(&outside);
    Ok(told(inside.calls, &inside.causes, inside.agents))
}

/// What went wrong in some calls, in all and by agent.
#[derive(Default)]
struct ByAgent {
    calls: i64,
    causes: CauseSums,
    agents: BTreeMap<Option<String>, CauseSum>,
}

impl ByAgent {
    fn add(&mut self, row: CauseRow) -> Result<()> {
        self.calls = self.calls.saturating_add(row.calls);
        let of_agent = match row.causes {
            Some(bytes) => {
                let merged = self.causes.merge_bytes(&bytes);
                merged.ok_or_else(|| unreadable("causes", bytes.len()))?
            }
            None => {
                let causes = causes_of(None, row.issues.as_deref())?;
                self.causes.merge(&causes);
                causes.of(&CauseKey::All)
            }
        };
        if of_agent.calls > 0 {
            let agent = self.agents.entry(row.agent_key).or_default();
            agent.merge(&of_agent);
        }
        Ok(())
    }

    fn take(&mut self, part: &Self) {
        self.calls = self.calls.saturating_sub(part.calls);
        self.causes.take(&part.causes);
        for (agent_key, sum) in &part.agents {
            if let Some(agent) = self.agents.get_mut(agent_key) {
                agent.take(sum);
            }
        }
        self.agents.retain(|_, sum| sum.calls > 0);
    }
}

fn told(calls: i64, all: &CauseSums, agents: BTreeMap<Option<String>, CauseSum>) -> Causes {
    let cause = |sum: &CauseSum| Cause {
        calls: sum.calls,
        critical_calls: sum.critical_calls,
        occurrences: sum.occurrences,
        impact_ms: sum.impact_ms,
        ..Cause::default()
    };
    let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
    let mut causes = Causes {
        calls,
        ..Causes::default()
    };
    for (key, sum) in all.iter() {
        let cause = cause(sum);
        match key {
            CauseKey::All => causes.all = cause,
            CauseKey::Type(kind) => causes.by_type.push(Cause {
                kind: named(kind),
                ..cause
            }),
            CauseKey::Stage(stage) => causes.by_stage.push(Cause {
                stage: named(stage),
                ..cause
            }),
            CauseKey::Provider(provider, stage) => causes.by_provider.push(Cause {
                provider: named(provider),
                stage: named(stage),
                ..cause
            }),
        }
    }
    causes.by_agent = agents
        .into_iter()
        .map(|(agent_key, sum)| Cause {
            agent_key,
            ..cause(&sum)
        })
        .collect();
    causes.sort();
    causes
}

struct ConductRow {
    agent_key: Option<String>,
    is_outside: bool,
    calls: i64,
    conduct: Option<Vec<u8>>,
    agent_turns: Option<i64>,
    score: Option<f64>,
    interruptions: Option<String>,
}

/// How agents let themselves be interrupted and took turns, by agent; none for calls that name none.
pub async fn by_agent(
    scope: &Scope,
    window: Window,
    agent_key: Option<&str>,
) -> Result<BTreeMap<Option<String>, Conduct>> {
    read_whole(&scope.analytics, || sum_conduct(scope, window, agent_key)).await
}

async fn sum_conduct(
    scope: &Scope,
    window: Window,
    agent_key: Option<&str>,
) -> Result<BTreeMap<Option<String>, Conduct>> {
    let dimensions = of_agent(agent_key);
    let mut connection = scope.analytics.acquire().await.map_err(failure)?;
    let mut rows = found_over_range!(
        ConductRow,
        scope,
        (window, window.cover_nearest()),
        (true, dimensions, 0i16),
        r#"agent_key, is_outside as "is_outside!", calls as "calls!", conduct, agent_turns, score, interruptions"#,
        "where calls > 0"
    )
    .fetch(&mut *connection);
    let mut agents: BTreeMap<Option<String>, (i64, ConductSums)> = BTreeMap::new();
    let mut outside = Vec::new();
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        let conduct = conduct_of(
            row.conduct.as_deref(),
            row.agent_turns,
            row.score,
            row.interruptions.as_deref(),
        )?;
        if row.is_outside {
            outside.push((row.agent_key, row.calls, conduct));
            continue;
        }
        let (calls, sums) = agents.entry(row.agent_key).or_default();
        *calls = calls.saturating_add(row.calls);
        sums.merge(&conduct);
    }
    drop(rows);
    connection.done();
    for (agent_key, outside_calls, conduct) in outside {
        if let Some((calls, sums)) = agents.get_mut(&agent_key) {
            *calls = calls.saturating_sub(outside_calls);
            sums.take(&conduct);
        }
    }
    agents.retain(|_, (calls, _)| *calls > 0);
    let told = |(agent, (calls, sums)): (_, (i64, ConductSums))| (agent, sums.told(calls));
    Ok(agents.into_iter().map(told).collect())
}

struct StagesRow {
    is_call: bool,
    is_outside: bool,
    stages: Vec<u8>,
    stt_provider: Option<String>,
    llm_provider: Option<String>,
    tts_provider: Option<String>,
}

/// How long the stages of calls took, of one agent's or of all, by provider and model.
pub async fn stages(scope: &Scope, window: Window, agent_key: Option<&str>) -> Result<Digest> {
    read_whole(&scope.analytics, || sum_stages(scope, window, agent_key)).await
}

async fn sum_stages(scope: &Scope, window: Window, agent_key: Option<&str>) -> Result<Digest> {
    let dimensions = of_agent(agent_key);
    let mut connection = scope.analytics.acquire().await.map_err(failure)?;
    let mut rows = found_over_range!(
        StagesRow,
        scope,
        (window, window.cover_nearest()),
        (true, dimensions, 0i16),
        r#"is_call as "is_call!", is_outside as "is_outside!", stages as "stages!", stt_provider, llm_provider, tts_provider"#,
        ""
    )
    .fetch(&mut *connection);
    let (mut stages, mut outside) = (Digest::default(), Digest::default());
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        let wrong = || unreadable("digest", row.stages.len());
        let part = if row.is_outside {
            &mut outside
        } else {
            &mut stages
        };
        if row.is_call {
            let digest = Digest::from_bytes(&row.stages).ok_or_else(wrong)?;
            let providers = Providers {
                stt: row.stt_provider,
                llm: row.llm_provider,
                tts: row.tts_provider,
            };
            part.merge_models(&digest, |stage| providers.of(stage).cloned());
        } else {
            part.merge_bytes(&row.stages).ok_or_else(wrong)?;
        }
    }
    drop(rows);
    connection.done();
    stages.take(&outside);
    Ok(stages)
}

fn of_agent(agent_key: Option<&str>) -> Dimensions {
    Dimensions {
        agent_key: agent_key.map(str::to_owned),
        ..Dimensions::default()
    }
}

/// What went wrong as it is summed up already, be it of one call; else told from the call's issues.
pub(in crate::store) fn causes_of(sums: Option<&[u8]>, issues: Option<&str>) -> Result<CauseSums> {
    if let Some(bytes) = sums {
        return CauseSums::from_bytes(bytes).ok_or_else(|| unreadable("causes", bytes.len()));
    }
    let Some(text) = issues else {
        return Ok(CauseSums::default());
    };
    let issues: Vec<Issue> =
        serde_json::from_str(text).map_err(|error| unreadable("session_issues", error))?;
    Ok(CauseSums::of_call(&issues, None))
}

/// How calls went on as it is summed up already, be it of one call; else told from what is kept of the call.
pub(in crate::store) fn conduct_of(
    sums: Option<&[u8]>,
    agent_turns: Option<i64>,
    score: Option<f64>,
    interruptions: Option<&str>,
) -> Result<ConductSums> {
    if let Some(bytes) = sums {
        return ConductSums::from_bytes(bytes).ok_or_else(|| unreadable("conduct", bytes.len()));
    }
    let interruptions = interruptions
        .map(|text| {
            serde_json::from_str(text)
                .map_err(|error| unreadable("session_analyses.interruptions", error))
        })
        .transpose()?;
    Ok(ConductSums::of_call(&Share {
        agent_turns: agent_turns.unwrap_or_default(),
        score,
        interruptions,
    }))
}
