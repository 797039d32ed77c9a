//! Who provided a stage of a turn, and with what: as its call says, else the turn, else the session.

use serde_json::Value;

use super::issue::Stage;
use crate::domain::session::Session;
use crate::domain::turn::Turn;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provided {
    pub provider: Option<String>,
    pub model: Option<String>,
}

impl Provided {
    /// Nobody provides what is no service.
    pub fn of(call: Option<&Value>, turn: &Turn, session: &Session, stage: Stage) -> Self {
        let Some(service) = stage.measured_as() else {
            return Self::default();
        };
        let of_call = |name: &str| call?.get(name)?.as_str();
        let levels = [
            (of_call("provider"), of_call("model")),
            (
                member(turn, "providers", stage),
                member(turn, "models", stage),
            ),
            (
                session.providers.of(service).map(String::as_str),
                session.model_of(service),
            ),
        ];
        let provider = levels.iter().find_map(|(provider, _)| *provider);
        // What is said of another provider's model is not said of this one's.
        let may_be_its = |named: &Option<&str>| named.is_none() || *named == provider;
        let model = levels
            .iter()
            .filter(|(named, _)| may_be_its(named))
            .find_map(|(_, model)| *model);
        Self {
            provider: provider.map(str::to_owned),
            model: model.map(str::to_owned),
        }
    }

    pub fn names(&self) -> (Option<&str>, Option<&str>) {
        (self.provider.as_deref(), self.model.as_deref())
    }
}

fn member<'a>(turn: &'a Turn, object: &str, stage: Stage) -> Option<&'a str> {
    turn.extra.get(object)?.get(stage.as_str())?.as_str()
}
