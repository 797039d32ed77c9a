//! `GET /api/v1/settings/targets` and `PUT`

use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::format;
use crate::app::{App, Now};
use crate::auth::Admin;
use crate::domain::{Error, Fault};
use crate::problem::Json;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::targets;
use crate::services::targets::{Change, Told};

pub async fn get(State(_): State<App>, admin: Admin, query: Query) -> Result<Json<Body>, Problem> {
    let mut params = query.params();
    let agent = params.text("agent");
    params.finish()?;
    let told = targets::get(&admin.scope, agent.as_deref()).await?;
    Ok(Json(Body::of(agent, told)))
}

pub async fn put(
    State(_): State<App>,
    admin: Admin,
    Now(now): Now,
    query: Query,
    Json(body): Json<Map<String, Value>>,
) -> Result<Json<Body>, Problem> {
    let mut params = query.params();
    let agent = params.text("agent");
    params.finish()?;
    let (given, over) = read(body)?;
    let change = Change {
        targets: given,
        over,
        key_id: admin.key_id,
        now,
    };
    let told = targets::set(&admin.scope, agent.as_deref(), change).await;
    Ok(Json(Body::of(agent, told.map_err(in_snake_case)?)))
}

/// The targets, and the version that they are to follow.
fn read(mut body: Map<String, Value>) -> Result<(Map<String, Value>, Option<i64>), Error> {
    let mut faults = Vec::new();
    let given = match body.remove("targets") {
        Some(Value::Object(given)) => given,
        _ => {
            faults.push(Fault::body("targets", "must be given, as an object"));
            Map::new()
        }
    };
    let over = match body.remove("version") {
        None | Some(Value::Null) => None,
        Some(version) => {
            let version = version.as_i64().filter(|version| *version >= 0);
            if version.is_none() {
                faults.push(Fault::body("version", "must be a whole number from 0 on"));
            }
            version
        }
    };
    let unknown = body
        .keys()
        .map(|name| Fault::no_field(name, &["targets", "version"]));
    faults.extend(unknown);
    match faults.is_empty() {
        true => Ok((camel(given), over)),
        false => Err(Error::Unprocessable(faults)),
    }
}

#[derive(Serialize)]
pub struct Body {
    agent: Option<String>,
    version: i64,
    updated_at: Option<String>,
    updated_by: Option<String>,
    overrides: Map<String, Value>,
    targets: Map<String, Value>,
    targets_version: i64,
}

impl Body {
    fn of(agent: Option<String>, told: Told) -> Self {
        let Told { own, effective } = told;
        let targets = match serde_json::to_value(effective.targets) {
            Ok(Value::Object(targets)) => targets,
            _ => Map::new(),
        };
        Self {
            agent,
            version: own.as_ref().map_or(0, |own| own.version),
            updated_at: own.as_ref().map(|own| format::time(own.created_at)),
            updated_by: own.as_ref().map(|own| own.created_by.clone()),
            overrides: own.map_or_else(Map::new, |own| renamed(own.targets, &snake)),
            targets: renamed(targets, &snake),
            targets_version: effective.version,
        }
    }
}

/// Before a name that is none in snake_case: so the domain does not know it, and it is told back as it was sent. No
/// body has this character.
const AS_SENT: char = '\0';

/// As the domain names them.
fn camel(targets: Map<String, Value>) -> Map<String, Value> {
    let name = |name: &str| {
        let mut parts = name.split('_');
        let first = parts.next().unwrap_or_default().to_owned();
        let camel = parts.fold(first, |name, part| {
            let mut letters = part.chars();
            let initial = letters.next().map(|c| c.to_ascii_uppercase());
            name + &initial.into_iter().chain(letters).collect::<String>()
        });
        match snake(&camel) == name {
            true => camel,
            false => format!("{AS_SENT}{name}"),
        }
    };
    renamed(targets, &name)
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn renamed(object: Map<String, Value>, name: &impl Fn(&str) -> String) -> Map<String, Value> {
    let members = object.into_iter().map(|(key, value)| {
        let value = match value {
            Value::Object(members) => Value::Object(
                members
                    .into_iter()
                    .map(|(key, value)| (name(&key), value))
                    .collect(),
            ),
            other => other,
        };
        (name(&key), value)
    });
    members.collect()
}

/// Faults by the names that this dialect has.
fn in_snake_case(error: Error) -> Error {
    match error {
        Error::Unprocessable(faults) => {
            let told = faults.into_iter().map(|fault| Fault {
                name: told(&fault.name),
                message: snake_words(&fault.message),
                ..fault
            });
            Error::Unprocessable(told.collect())
        }
        other => other,
    }
}

/// A name within a group, or a group's.
fn told(name: &str) -> String {
    match name.split_once(AS_SENT) {
        Some((before, sent)) => format!("{}{sent}", snake(before)),
        None => snake(name),
    }
}

/// Names that stand between backticks.
fn snake_words(message: &str) -> String {
    let part = |(n, part): (usize, &str)| match n % 2 {
        0 => part.to_owned(),
        _ => snake(part),
    };
    let parts: Vec<String> = message.split('`').enumerate().map(part).collect();
    parts.join("`")
}
