//! What a tenant sets the targets of its calls to: for all of its agents, and for one of them on top. Only
//! what differs is kept, so that a default which changes later holds for everybody who did not choose.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::analysis::Targets;
use crate::domain::fields::nearest;
use crate::domain::{Error, Fault, Result};

/// The one group that is a list.
const BACKCHANNELS: &str = "backchannels";

/// What was set, for all agents or for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Empty for all agents.
    pub agent_key: String,
    pub version: i64,
    /// Groups with those members that differ, and the list where it does.
    pub targets: Map<String, Value>,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
}

/// What one agent's calls are held to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective {
    pub targets: Targets,
    /// Of the newest setting that has a part in it; 0 where nothing was set.
    pub version: i64,
}

impl Effective {
    /// The defaults, what is set for all agents over them, and what is set for this one over both.
    pub fn of<'a>(settings: impl Iterator<Item = &'a Setting>, agent_key: Option<&str>) -> Self {
        let mut layers: Vec<&Setting> = settings
            .filter(|one| one.agent_key.is_empty() || Some(one.agent_key.as_str()) == agent_key)
            .collect();
        layers.sort_by_key(|one| !one.agent_key.is_empty());
        let version = layers.iter().map(|one| one.version).max();
        let targets = layered(layers.iter().map(|one| &one.targets));
        Self {
            targets: serde_json::from_value(Value::Object(targets)).unwrap_or_default(),
            version: version.unwrap_or_default(),
        }
    }
}

/// Layers of settings as one, the later ones on top.
fn layered<'a>(layers: impl Iterator<Item = &'a Map<String, Value>>) -> Map<String, Value> {
    let mut all = Map::new();
    for layer in layers {
        for (group, value) in layer {
            match (all.get_mut(group), value) {
                (Some(Value::Object(below)), Value::Object(above)) => {
                    below.extend(above.clone());
                }
                _ => {
                    all.insert(group.clone(), value.clone());
                }
            }
        }
    }
    all
}

/// Targets to be set, checked by themselves: names and types. A member that is null is not set.
pub fn read(given: Map<String, Value>) -> Result<Map<String, Value>> {
    let mut faults = Vec::new();
    let mut sound = Map::new();
    for (group, value) in given {
        if value.is_null() {
            continue;
        }
        if group == BACKCHANNELS {
            let is_list = |items: &Vec<Value>| items.iter().all(Value::is_string);
            match value.as_array().is_some_and(is_list) {
                true => drop(sound.insert(group, value)),
                false => faults.push(Fault::body(group, "must be a list of texts")),
            }
            continue;
        }
        let known = names(&group);
        match value {
            _ if known.is_empty() => faults.push(unknown(&group, &group, groups())),
            Value::Object(members) => {
                let members = read_group(&group, members, &known, &mut faults);
                if !members.is_empty() {
                    sound.insert(group, Value::Object(members));
                }
            }
            _ => faults.push(Fault::body(group, "must be an object")),
        }
    }
    refuse(faults).map(|()| sound)
}

fn read_group(
    group: &str,
    members: Map<String, Value>,
    known: &[&'static str],
    faults: &mut Vec<Fault>,
) -> Map<String, Value> {
    let mut sound = Map::new();
    for (name, value) in members {
        let place = format!("{group}.{name}");
        if !known.contains(&name.as_str()) {
            faults.push(unknown(&place, &name, known.iter().copied()));
        } else if value.is_number() {
            sound.insert(name, value);
        } else if !value.is_null() {
            faults.push(Fault::body(place, "must be a number"));
        }
    }
    sound
}

/// Which targets two settings differ in.
pub fn changed(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    let (before, after) = (flat(before), flat(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differs = |name: &&&String| before.get(**name) != after.get(**name);
    names
        .iter()
        .filter(differs)
        .map(|name| (*name).clone())
        .collect()
}

fn flat(targets: &Map<String, Value>) -> BTreeMap<String, &Value> {
    let mut flat = BTreeMap::new();
    for (group, value) in targets {
        match value {
            Value::Object(members) => {
                flat.extend(
                    members
                        .iter()
                        .map(|(name, value)| (format!("{group}.{name}"), value)),
                );
            }
            value => drop(flat.insert(group.clone(), value)),
        }
    }
    flat
}

/// The same complaint, about what is set for one agent.
pub fn of_agent(error: Error, agent_key: &str) -> Error {
    match error {
        Error::Unprocessable(faults) => {
            let told = faults.into_iter().map(|fault| Fault {
                message: format!(
                    "{} (together with what is set for the agent {agent_key:?})",
                    fault.message
                ),
                ..fault
            });
            Error::Unprocessable(told.collect())
        }
        other => other,
    }
}

/// Checks settings as they hold together with what lies beneath: bounds, and that no target contradicts
/// another.
pub fn check(layers: &[&Map<String, Value>]) -> Result<Targets> {
    let mut together = layered(layers.iter().copied());
    refuse(whole_numbers(&mut together))?;
    let targets: Targets = serde_json::from_value(Value::Object(together))
        .map_err(|error| Error::Unprocessable(vec![Fault::body("targets", error.to_string())]))?;
    refuse(targets.faults()).map(|()| targets)
}

/// Most targets are whole milliseconds. A number that is out of all bounds is told as such, instead of by
/// the type that cannot hold it.
fn whole_numbers(targets: &mut Map<String, Value>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for bound in Targets::bounds() {
        let Some((group, name)) = bound.name.split_once('.') else {
            continue;
        };
        let value = targets.get(group).and_then(|group| group.get(name));
        let Some(number) = value.and_then(Value::as_f64) else {
            continue;
        };
        let (min, max) = (bound.min, bound.max);
        if !(min..=max).contains(&number) {
            let message = format!("must be between {min} and {max}, got `{number}`");
            faults.push(Fault::body(bound.name, message));
        } else if is_whole(group, name) && number.fract() != 0.0 {
            faults.push(Fault::body(bound.name, "must be a whole number"));
        } else if is_whole(group, name)
            && let Some(slot) = targets.get_mut(group).and_then(|group| group.get_mut(name))
        {
            *slot = Value::from(number as u64);
        }
    }
    faults
}

/// Whether a target's default is kept as a whole number.
fn is_whole(group: &str, name: &str) -> bool {
    let defaults = serde_json::to_value(Targets::default()).unwrap_or_default();
    let default = defaults.get(group).and_then(|group| group.get(name));
    default.is_some_and(Value::is_u64)
}

fn names(group: &str) -> Vec<&'static str> {
    let of_group = Targets::bounds().filter_map(|bound| bound.name.split_once('.'));
    of_group
        .filter(|(of, _)| *of == group)
        .map(|(_, name)| name)
        .collect()
}

fn groups() -> impl Iterator<Item = &'static str> {
    let groups = Targets::bounds().filter_map(|bound| bound.name.split_once('.'));
    groups.map(|(group, _)| group).chain([BACKCHANNELS])
}

fn unknown(place: &str, name: &str, known: impl Iterator<Item = &'static str>) -> Fault {
    let message = match nearest(name, known) {
        Some(nearest) => format!("is no target here; the nearest is `{nearest}`"),
        None => "is no target here".to_owned(),
    };
    Fault::body(place, message)
}

fn refuse(faults: Vec<Fault>) -> Result<()> {
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Error::Unprocessable(faults)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn setting(agent_key: &str, version: i64, targets: Value) -> Setting {
        Setting {
            agent_key: agent_key.to_owned(),
            version,
            targets: object(targets),
            created_at: DateTime::UNIX_EPOCH,
            created_by: "key".to_owned(),
        }
    }

    fn faults<T: std::fmt::Debug>(result: Result<T>) -> Vec<String> {
        match result {
            Err(Error::Unprocessable(faults)) => {
                let told = faults
                    .into_iter()
                    .map(|fault| format!("{} {}", fault.name, fault.message));
                told.collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_agents_lie_over_all_agents_and_those_over_the_defaults() {
        let settings = [
            setting("fast", 2, json!({"stages": {"ttsMs": 300}})),
            setting("", 3, json!({"stages": {"ttsMs": 700, "llmMs": 800}})),
            setting("other", 9, json!({"turn": {"targetMs": 1}})),
        ];
        let fast = Effective::of(settings.iter(), Some("fast"));
        let stages = &fast.targets.stages;
        assert_eq!(
            (fast.version, stages.tts_ms, stages.llm_ms, stages.stt_ms),
            (3, 300, 800, 500)
        );
        let none = Effective::of(settings.iter(), None);
        assert_eq!((none.version, none.targets.stages.tts_ms), (3, 700));
        assert_eq!(Effective::of([].iter(), Some("fast")), Effective::default());
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let given = json!({"stages": {"ttsM": 1, "llmMs": "x", "sttMs": null}, "turns": {}, "turn": 5, "backchannels": [1]});
        assert_eq!(
            faults(read(object(given))),
            [
                "backchannels must be a list of texts",
                "stages.llmMs must be a number",
                "stages.ttsM is no target here; the nearest is `ttsMs`",
                "turn must be an object",
                "turns is no target here; the nearest is `turn`",
            ]
        );
        let given = object(json!({"stages": {"llmMs": -1, "ttsMs": 1e30, "sttMs": 1.5}}));
        assert_eq!(faults(check(&[&given])).len(), 3);
        let beneath = object(json!({"turn": {"targetMs": 4000, "criticalMs": 5000}}));
        let given = object(json!({"turn": {"criticalMs": 3000}}));
        assert_eq!(faults(check(&[&beneath, &given])).len(), 1);
    }

    #[test]
    fn what_changed_is_named() {
        let before = object(json!({"stages": {"llmMs": 1, "ttsMs": 2}}));
        let after = object(json!({"stages": {"llmMs": 1}, "backchannels": ["mm"]}));
        assert_eq!(changed(&before, &after), ["backchannels", "stages.ttsMs"]);
        assert!(changed(&before, &before).is_empty());
    }
}
