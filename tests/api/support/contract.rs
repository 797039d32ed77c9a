//! Every answer that a test sees passes here: it must be one that `openapi.yaml` describes.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::Validator;
use reqwest::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use serde_json::{Map, Value, json};
use voxray::problem::Kind;

const PROBLEM: &str = "/components/schemas/Problem";
/// What is answered where there is no such path: just that, or that the server is not ready for any.
const ANYWHERE: [u16; 2] = [404, 503];

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("../../../openapi.yaml")).expect("openapi.yaml is YAML")
});

pub fn document() -> &'static Value {
    &DOCUMENT
}

/// A place in the document: its JSON pointer, references followed.
#[derive(Clone, Debug)]
pub struct Node(String);

impl Node {
    pub fn at(pointer: &str) -> Option<Self> {
        let mut pointer = pointer.to_owned();
        while let Some(target) = document().pointer(&pointer)?.get("$ref") {
            pointer = target.as_str()?.strip_prefix('#')?.to_owned();
        }
        Some(Self(pointer))
    }

    pub fn child(&self, name: &str) -> Option<Self> {
        Self::at(&self.pointer_to(name))
    }

    pub fn pointer_to(&self, name: &str) -> String {
        format!("{}/{}", self.0, name.replace('~', "~0").replace('/', "~1"))
    }

    pub fn value(&self) -> &'static Value {
        document().pointer(&self.0).unwrap_or(&Value::Null)
    }

    /// Its members; none if it is no object.
    pub fn members(&self) -> impl Iterator<Item = (&'static String, Self)> {
        let members: Option<&'static Map<String, Value>> = self.value().as_object();
        members.into_iter().flatten().map(|(name, _)| {
            let child = self.child(name);
            (name, child.expect("a reference that leads somewhere"))
        })
    }
}

/// What is wrong with a value, by the schema at a pointer. Empty if nothing is.
pub fn faults(schema: &str, value: &Value) -> Vec<String> {
    let errors = validator(schema);
    let errors = errors.iter_errors(value);
    errors
        .map(|error| format!("`{}`: {error}", error.instance_path()))
        .collect()
}

/// Compiled once for all tests.
fn validator(pointer: &str) -> Arc<Validator> {
    static COMPILED: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> =
        LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let compile = || {
        let schema = document().pointer(pointer).expect("a schema");
        // All references lead to the components.
        let whole = json!({ "allOf": [schema], "components": document()["components"] });
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&whole);
        Arc::new(validator.unwrap_or_else(|error| panic!("{pointer} is no schema: {error}")))
    };
    compiled
        .entry(pointer.to_owned())
        .or_insert_with(compile)
        .clone()
}

/// Fails the test whose request got an answer that the document does not describe.
#[track_caller]
pub fn check(method: &str, path: &str, status: u16, headers: &HeaderMap, body: &[u8]) {
    let is_preflight = method == "OPTIONS" && headers.contains_key("access-control-allow-methods");
    if is_preflight {
        return;
    }
    let answer = Answer {
        is_head: method == "HEAD",
        status,
        headers,
        body: unpacked(headers, body),
    };
    let verb = if answer.is_head { "GET" } else { method };
    let faults = answer.faults(verb, path.split('?').next().unwrap_or(path));
    assert!(
        faults.is_empty(),
        "openapi.yaml does not describe what `{method} {path}` answered, {status}:\n  {}\n{}",
        faults.join("\n  "),
        String::from_utf8_lossy(&answer.body)
    );
}

/// The operation at a path, literal segments before parameters; and whether there is such a path at all.
pub fn operation(verb: &str, path: &str) -> (Option<Node>, bool) {
    let paths = Node::at("/paths").expect("paths");
    let matching = paths
        .members()
        .filter_map(|(template, node)| Some((literals_in_match(template, path)?, node)));
    let Some((_, item)) = matching.max_by_key(|(literals, _)| *literals) else {
        return (None, false);
    };
    (item.child(&verb.to_ascii_lowercase()), true)
}

fn is_page(path: &str) -> bool {
    path == "/console" || path.starts_with("/console/") || path.starts_with("/traces/view/")
}

/// How many segments are the template's own, if the path fits it.
fn literals_in_match(template: &str, path: &str) -> Option<usize> {
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    let fits = |(segment, given): (&&str, &&str)| {
        segment == given || segment.starts_with('{') && !given.is_empty()
    };
    let is_match = template.len() == path.len() && template.iter().zip(&path).all(fits);
    is_match.then(|| template.iter().zip(&path).filter(|(a, b)| a == b).count())
}

struct Answer<'a> {
    is_head: bool,
    status: u16,
    headers: &'a HeaderMap,
    body: Vec<u8>,
}

impl Answer<'_> {
    fn faults(&self, verb: &str, path: &str) -> Vec<String> {
        let is_error = self.status >= 400;
        // Who looks at pages is told errors as pages.
        if is_error && is_page(path) && self.media_type() == "text/html" {
            let known = operation(verb, path).0.and_then(|operation| {
                operation
                    .child("responses")?
                    .child(&self.status.to_string())
            });
            let is_known = known.is_some() || [404, 405].contains(&self.status);
            return match is_known {
                true => Vec::new(),
                false => vec!["the operation has no such status".to_owned()],
            };
        }
        let mut faults = if is_error && !self.is_described(verb, path) {
            self.problem_faults()
        } else {
            Vec::new()
        };
        match operation(verb, path) {
            (Some(operation), _) => match operation
                .child("responses")
                .and_then(|all| all.child(&self.status.to_string()))
            {
                Some(response) => faults.extend(self.response_faults(&response)),
                None => faults.push("the operation has no such status".to_owned()),
            },
            (None, true) if self.status == 405 && self.headers.contains_key(ALLOW) => {}
            (None, false) if ANYWHERE.contains(&self.status) => {}
            (None, has_path) => faults.push(format!(
                "there is no such operation; the path is {}",
                if has_path { "there" } else { "not there" }
            )),
        }
        faults
    }

    /// Whether the operation tells its errors in this media type too: as a protocol has it that is not ours.
    fn is_described(&self, verb: &str, path: &str) -> bool {
        let (operation, _) = operation(verb, path);
        let responses = operation.and_then(|operation| operation.child("responses"));
        let response = responses.and_then(|all| all.child(&self.status.to_string()));
        let content = response.and_then(|response| response.child("content"));
        self.media_type() != "application/problem+json"
            && content.is_some_and(|content| content.child(self.media_type()).is_some())
    }

    /// Whatever went wrong, it is told in one way.
    fn problem_faults(&self) -> Vec<String> {
        if self.is_head {
            return Vec::new();
        }
        if self.media_type() != "application/problem+json" {
            return vec![format!(
                "an error is a problem, not `{}`",
                self.media_type()
            )];
        }
        let problem: Value = match serde_json::from_slice(&self.body) {
            Ok(problem) => problem,
            Err(error) => return vec![format!("the problem is no JSON: {error}")],
        };
        let mut faults = faults(PROBLEM, &problem);
        if problem["status"] != self.status {
            faults.push(format!("the problem's status is {}", problem["status"]));
        }
        // Several kinds may share a status.
        let is_of_status = |kind: &&&Kind| kind.status.as_u16() == self.status;
        let mut codes = Kind::ALL.iter().filter(is_of_status).map(|kind| kind.code);
        if !codes.any(|code| problem["type"] == format!("urn:voxray:problem:{code}")) {
            faults.push(format!("the problem's type is {}", problem["type"]));
        }
        if problem["requestId"] != self.header("x-request-id").unwrap_or_default() {
            faults.push(format!(
                "the problem's request id is {}",
                problem["requestId"]
            ));
        }
        faults
    }

    fn response_faults(&self, response: &Node) -> Vec<String> {
        let mut faults = self.header_faults(response);
        match response.child("content") {
            Some(content) => faults.extend(self.content_faults(&content)),
            None if self.body.is_empty() => {}
            None => faults.push("there is a body where none is described".to_owned()),
        }
        faults
    }

    fn header_faults(&self, response: &Node) -> Vec<String> {
        let mut faults = Vec::new();
        let described = response.child("headers");
        for (name, header) in described.iter().flat_map(Node::members) {
            match self.header(name) {
                Some(text) => {
                    let number = text.parse::<u64>().ok().map(Value::from);
                    let schema = header.pointer_to("schema");
                    // A header is text; whether it may be read as a number is up to its schema.
                    let as_text = self::faults(&schema, &Value::from(text));
                    let fits =
                        number.is_some_and(|number| self::faults(&schema, &number).is_empty());
                    if !fits {
                        faults.extend(
                            as_text
                                .iter()
                                .map(|fault| format!("header {name}: {fault}")),
                        );
                    }
                }
                None if header.value()["required"] == true => {
                    faults.push(format!("the header {name} is missing"));
                }
                None => {}
            }
        }
        faults
    }

    fn content_faults(&self, content: &Node) -> Vec<String> {
        let declared = self.media_type();
        let range = declared.split('/').next().unwrap_or_default();
        let keys = [declared.to_owned(), format!("{range}/*"), "*/*".to_owned()];
        let Some(media) = keys.iter().find_map(|key| content.child(key)) else {
            return vec![format!("it has no content of type `{declared}`")];
        };
        let schema = media.pointer_to("schema");
        if self.is_head || document().pointer(&schema).is_none() {
            return Vec::new();
        }
        let body = if declared.ends_with("json") {
            serde_json::from_slice(&self.body).map_err(|error| format!("no JSON: {error}"))
        } else {
            let text = String::from_utf8(self.body.clone());
            text.map(Value::from)
                .map_err(|error| format!("no text: {error}"))
        };
        body.map_or_else(|fault| vec![fault], |body| faults(&schema, &body))
    }

    /// All values of a header, joined.
    fn header(&self, name: &str) -> Option<String> {
        let values = self.headers.get_all(name).iter();
        let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Without its parameters.
    fn media_type(&self) -> &str {
        let declared = self.headers.get(CONTENT_TYPE);
        let declared = declared
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        declared.split(';').next().unwrap_or_default().trim()
    }
}

fn unpacked(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    if headers
        .get(CONTENT_ENCODING)
        .is_none_or(|encoding| encoding != "gzip")
        || body.is_empty()
    {
        return body.to_vec();
    }
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(body);
    reader.read_to_end(&mut unpacked).expect("gzip");
    unpacked
}
