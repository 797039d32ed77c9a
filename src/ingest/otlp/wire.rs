//! An export request taken apart, down to items that are still raw: whatever is wrong with one of them
//! spoils no other. All signals have the same shape: resources, in these scopes, in these items.

use axum::body::Bytes;
use axum::http::HeaderMap;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use crate::domain::Fault;
use crate::domain::json;
use crate::problem::Encoding;
use crate::problem::Kind;
use crate::problem::Problem;

use super::json::{readable, repaired};
use super::refuse_more_than;
use super::texts::{self, Texts};

/// What a signal's levels are called in JSON, and that each may also be written with underscores.
pub struct Names {
    pub groups: [&'static str; 2],
    pub scopes: [&'static str; 2],
    pub items: [&'static str; 2],
}

pub const SPANS: Names = Names {
    groups: ["resourceSpans", "resource_spans"],
    scopes: ["scopeSpans", "scope_spans"],
    items: ["spans", "spans"],
};
pub const LOGS: Names = Names {
    groups: ["resourceLogs", "resource_logs"],
    scopes: ["scopeLogs", "scope_logs"],
    items: ["logRecords", "log_records"],
};
pub const METRICS: Names = Names {
    groups: ["resourceMetrics", "resource_metrics"],
    scopes: ["scopeMetrics", "scope_metrics"],
    items: ["metrics", "metrics"],
};

/// Items of one tracer in one process.
pub struct Group<T> {
    pub resource: Resource,
    pub scope: InstrumentationScope,
    /// Each as it was read, or why it could not be.
    pub items: Vec<Result<T, String>>,
}

/// How the body is written, as its sender declares.
pub fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    Encoding::declared(headers).ok_or_else(|| {
        Problem::new(
            &Kind::UNSUPPORTED_MEDIA_TYPE,
            "`Content-Type` must be `application/x-protobuf` or `application/json`",
        )
    })
}

/// Takes a body apart. Refuses it as a whole only where its frame is broken.
pub fn split<T: Texts + DeserializeOwned>(
    bytes: Bytes,
    encoding: Encoding,
    names: &Names,
) -> Result<Vec<Group<T>>, Problem> {
    match encoding {
        Encoding::Protobuf => {
            let broken = |error| malformed(format!("must be OTLP: {error}"));
            refuse_more_than(count(&bytes).map_err(broken)?)?;
            from_protobuf(bytes).map_err(broken)
        }
        Encoding::Json => {
            // Some editors put a byte order mark before the text.
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
            let text = std::str::from_utf8(bytes)
                .map_err(|error| malformed(format!("must be UTF-8: {error}")))?;
            from_json(text, names).map_err(|error| malformed(format!("must be OTLP/JSON: {error}")))
        }
    }
}

fn malformed(message: String) -> Problem {
    Problem::new(
        &Kind::INVALID_REQUEST,
        format!("the body is malformed: it {message}"),
    )
    .with_faults(vec![Fault::body("body", message)])
}

#[derive(Message)]
struct Request {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    groups: Vec<Bytes>,
}

/// A resource, or a scope, and what is in it.
#[derive(Message)]
struct Level {
    #[prost(bytes = "bytes", tag = "1")]
    about: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    within: Vec<Bytes>,
}

/// How many items a body has, which are many times as large once they are read.
fn count(bytes: &Bytes) -> Result<usize, prost::DecodeError> {
    let mut count = 0;
    for group in Request::decode(bytes.clone())?.groups {
        for scope in Level::decode(group)?.within {
            count += Level::decode(scope)?.within.len();
        }
    }
    Ok(count)
}

fn from_protobuf<T: Texts>(bytes: Bytes) -> Result<Vec<Group<T>>, prost::DecodeError> {
    let mut groups = Vec::new();
    for group in Request::decode(bytes)?.groups {
        let group = Level::decode(group)?;
        // Without its resource a span still says most of what it says.
        let resource = texts::decoded::<Resource>(group.about).unwrap_or_default();
        for scope in group.within {
            let scope = Level::decode(scope)?;
            let items = scope.within.into_iter();
            groups.push(Group {
                resource: resource.clone(),
                scope: texts::decoded(scope.about).unwrap_or_default(),
                items: items
                    .map(|item| texts::decoded(item).map_err(|error| error.to_string()))
                    .collect(),
            });
        }
    }
    Ok(groups)
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

fn from_json<T: DeserializeOwned>(
    text: &str,
    names: &Names,
) -> Result<Vec<Group<T>>, serde_json::Error> {
    let mut groups = Vec::new();
    let request: Members<'_> = serde_json::from_str(text)?;
    for group in list(&request, &names.groups)? {
        let group: Members<'_> = serde_json::from_str(group)?;
        let resource: Resource = about(&group, "resource");
        for scope in list(&group, &names.scopes)? {
            let scope: Members<'_> = serde_json::from_str(scope)?;
            let items = list(&scope, &names.items)?;
            groups.push(Group {
                resource: resource.clone(),
                scope: about(&scope, "scope"),
                items: items.into_iter().map(item).collect(),
            });
        }
    }
    Ok(groups)
}

fn list<'a>(members: &Members<'a>, names: &[&str]) -> Result<Vec<&'a str>, serde_json::Error> {
    let Some(list) = names.iter().find_map(|name| members.get(*name)) else {
        return Ok(Vec::new());
    };
    let items: Option<Vec<&RawValue>> = serde_json::from_str(list.get())?;
    Ok(items
        .unwrap_or_default()
        .into_iter()
        .map(RawValue::get)
        .collect())
}

fn about<T: DeserializeOwned + Default>(members: &Members<'_>, name: &str) -> T {
    let about = members.get(name);
    about
        .and_then(|raw| item(raw.get()).ok())
        .unwrap_or_default()
}

fn item<T: DeserializeOwned>(raw: &str) -> Result<T, String> {
    let value = json::parse(raw.as_bytes()).map_err(|error| error.to_string())?;
    let value = repaired(value);
    T::deserialize(&value).or_else(|error| {
        let readable = T::deserialize(readable(value));
        readable.map_err(|_| error.to_string())
    })
}
