//! Every answer that a test sees passes here: it must be one that `openapi.yaml` describes, to the
//! header and the field.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::Validator;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use serde_json::Value;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("../../../openapi.yaml")).expect("openapi.yaml is YAML")
});

/// What a path that is none may answer, and by which of the document's responses.
const NO_PATH: [(u16, &str); 3] = [(404, "NotFound"), (413, "TooLarge"), (503, "Unavailable")];
const NO_METHOD: [(u16, &str); 3] = [
    (405, "MethodNotAllowed"),
    (413, "TooLarge"),
    (503, "Unavailable"),
];

/// How many faults of one answer are shown.
const FAULTS_SHOWN: usize = 10;

pub fn document() -> &'static Value {
    &DOCUMENT
}

/// Fails the test whose request got an answer that the document does not describe.
#[track_caller]
pub fn check(method: &str, path: &str, status: u16, headers: &HeaderMap, body: &[u8]) {
    // Answered by a layer in front of all operations.
    if method == "OPTIONS" && headers.contains_key("access-control-allow-methods") {
        return;
    }
    if let Err(faults) = verify(method, path, status, headers, body) {
        panic!(
            "`{method} {path}` answered {status} as openapi.yaml does not say:\n  {}\n{}",
            faults.join("\n  "),
            String::from_utf8_lossy(body)
        );
    }
}

/// What an answer has that the document does not describe, and the other way round.
pub fn verify(
    method: &str,
    path: &str,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), Vec<String>> {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let is_head = method == "HEAD";
    let verb = if is_head { "GET" } else { method };
    let response = response(verb, path, status).map_err(|fault| vec![fault])?;
    let mut faults = header_faults(response, headers);
    faults.extend(body_faults(response, headers, body, is_head));
    faults.truncate(FAULTS_SHOWN);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

/// What is wrong with a value, each fault with its place. Empty if nothing is.
pub fn faults(schema: &'static Value, value: &Value) -> Vec<String> {
    let validator = validator(schema);
    validator
        .iter_errors(value)
        .map(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "/" } else { &place };
            format!("{place}: {error}")
        })
        .collect()
}

/// Follows references into the document.
pub fn resolve(node: &'static Value) -> &'static Value {
    let mut node = node;
    while let Some(reference) = node.get("$ref").and_then(Value::as_str) {
        let pointer = reference.strip_prefix('#').unwrap_or(reference);
        node = document()
            .pointer(pointer)
            .unwrap_or_else(|| panic!("`{reference}` leads nowhere"));
    }
    node
}

fn response(verb: &str, path: &str, status: u16) -> Result<&'static Value, String> {
    let outside = |known: &[(u16, &str)], what: &str| {
        let found = known.iter().find(|(known, _)| *known == status);
        let (_, name) = found.ok_or_else(|| format!("{what}, so the status cannot be {status}"))?;
        Ok(&document()["components"]["responses"][name])
    };
    let Some(item) = path_item(path) else {
        return outside(&NO_PATH, "there is no such path");
    };
    let Some(operation) = item.get(verb.to_ascii_lowercase()) else {
        return outside(&NO_METHOD, "the path has no such method");
    };
    let responses = &operation["responses"];
    let known = || {
        let statuses = responses.as_object().into_iter().flatten();
        statuses
            .map(|(status, _)| status.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let response = responses.get(status.to_string());
    response
        .map(resolve)
        .ok_or_else(|| format!("the operation has only the statuses {}", known()))
}

/// Literal segments go before parameters, as in the router.
fn path_item(path: &str) -> Option<&'static Value> {
    let items = document()["paths"].as_object()?.iter();
    items
        .filter_map(|(template, item)| Some((literals(template, item, path)?, item)))
        .max_by_key(|(literals, _)| *literals)
        .map(|(_, item)| item)
}

/// How many segments are the template's own, where the path fits it.
fn literals(template: &str, item: &Value, path: &str) -> Option<usize> {
    let wanted: Vec<&str> = template.split('/').collect();
    let given: Vec<&str> = if takes_slashes(item) {
        path.splitn(wanted.len(), '/').collect()
    } else {
        path.split('/').collect()
    };
    let fits = |(wanted, given): (&&str, &&str)| {
        wanted == given || wanted.starts_with('{') && !given.is_empty()
    };
    (wanted.len() == given.len() && wanted.iter().zip(&given).all(fits))
        .then(|| wanted.iter().zip(&given).filter(|(w, g)| w == g).count())
}

/// Whether the last parameter is the whole rest of the path.
fn takes_slashes(item: &Value) -> bool {
    let parameters = item["get"]["parameters"].as_array();
    let mut parameters = parameters.into_iter().flatten();
    parameters.any(|parameter| parameter["x-voxray-slashes"] == true)
}

fn header_faults(response: &'static Value, headers: &HeaderMap) -> Vec<String> {
    let described = response["headers"].as_object().into_iter().flatten();
    let mut found = Vec::new();
    for (name, header) in described {
        let header = resolve(header);
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .collect();
        if values.is_empty() {
            if header["required"] == true {
                found.push(format!("header `{name}`: is missing"));
            }
            continue;
        }
        let text = values.join(", ");
        let schema = &header["schema"];
        let value = match (&resolve(schema)["type"], text.parse::<i64>()) {
            (Value::String(kind), Ok(number)) if kind == "integer" => Value::from(number),
            _ => Value::from(text),
        };
        let of_header = |fault: String| format!("header `{name}`: {fault}");
        found.extend(faults(schema, &value).into_iter().map(of_header));
    }
    found
}

fn body_faults(
    response: &'static Value,
    headers: &HeaderMap,
    body: &[u8],
    is_head: bool,
) -> Vec<String> {
    let Some(content) = response.get("content").and_then(Value::as_object) else {
        return match body.is_empty() {
            true => Vec::new(),
            false => vec!["there is a body where none is described".to_owned()],
        };
    };
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = declared
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let Some(media) = content.get(media_type) else {
        let known: Vec<_> = content.keys().map(String::as_str).collect();
        return vec![format!(
            "the content type is `{media_type}`, not {}",
            known.join(" or ")
        )];
    };
    let Some(schema) = media.get("schema").filter(|_| !is_head) else {
        return Vec::new();
    };
    let body = plain(headers, body);
    let value = if media_type.ends_with("json") {
        serde_json::from_slice(&body).map_err(|error| format!("the body is no JSON: {error}"))
    } else {
        String::from_utf8(body)
            .map(Value::from)
            .map_err(|error| format!("the body is no text: {error}"))
    };
    match value {
        Ok(value) => faults(schema, &value),
        Err(fault) => vec![fault],
    }
}

fn plain(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding == "gzip")
    {
        let mut reader = flate2::read::GzDecoder::new(body);
        reader.read_to_end(&mut plain).expect("a gzip body");
    } else {
        plain.extend_from_slice(body);
    }
    plain
}

/// Each schema is compiled once for all tests. The document never moves: a schema's address names it.
fn validator(schema: &'static Value) -> Arc<Validator> {
    static COMPILED: LazyLock<Mutex<HashMap<usize, Arc<Validator>>>> =
        LazyLock::new(Mutex::default);
    let compile = || {
        // References lead to the components, from wherever they stand.
        let whole = serde_json::json!({
            "allOf": [schema],
            "components": document()["components"],
        });
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&whole);
        Arc::new(validator.unwrap_or_else(|error| panic!("no schema: {error}\n{schema}")))
    };
    let address = std::ptr::from_ref(schema).addr();
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    compiled.entry(address).or_insert_with(compile).clone()
}
