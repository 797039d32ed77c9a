//! What calls are held to: told, and set.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::Result;
use crate::domain::settings::{self, Effective, Setting};
use crate::store::Scope;
use crate::store::targets;

/// What is set for all agents or for one, and what its calls are held to.
pub struct Told {
    pub own: Option<Setting>,
    pub effective: Effective,
}

pub async fn get(scope: &Scope, agent: Option<&str>) -> Result<Told> {
    let agents: Vec<String> = agent.into_iter().map(str::to_owned).collect();
    let settings = targets::of_agents(scope, &agents).await?;
    let effective = Effective::of(settings.iter(), agent);
    let key = agent.unwrap_or_default();
    let own = settings.into_iter().find(|one| one.agent_key == key);
    Ok(Told { own, effective })
}

/// A change of what is set for all agents or for one.
pub struct Change {
    /// Everything that is to differ from what lies beneath.
    pub targets: Map<String, Value>,
    /// The version that it is made over; none for whatever there is.
    pub over: Option<i64>,
    pub key_id: String,
    pub now: DateTime<Utc>,
}

/// Sets them, checked with all that is set besides. Answers what holds now.
pub async fn set(scope: &Scope, agent: Option<&str>, change: Change) -> Result<Told> {
    let given = settings::read(change.targets)?;
    let author = targets::Author {
        key_id: change.key_id,
        at: change.now,
        over: change.over,
    };
    let key = agent.unwrap_or_default();
    let make = |all: &[Setting]| {
        let find = |key: &str| all.iter().find(|one| one.agent_key == key);
        let nothing = Map::new();
        let of = |key: &str| find(key).map_or(&nothing, |one| &one.targets);
        let changed = settings::changed(of(key), &given);
        match key {
            "" => {
                settings::check(&[&given])?;
                // What is set for one agent must still make sense over it.
                for one in all.iter().filter(|one| !one.agent_key.is_empty()) {
                    settings::check(&[&given, &one.targets])
                        .map_err(|error| settings::of_agent(error, &one.agent_key))?;
                }
            }
            _ => drop(settings::check(&[of(""), &given])?),
        }
        Ok((given, changed))
    };
    targets::set(scope, key, author, make).await?;
    get(scope, agent).await
}
