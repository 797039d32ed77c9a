//! JSON bodies, with every complaint placed.

use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Kind, Payload, Problem};
use crate::domain::{Error, Fault};

/// A JSON value: in, refused with its place where it is wrong; out, as it is.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                &Kind::UNSUPPORTED_MEDIA_TYPE,
                "`Content-Type` must be `application/json`",
            ));
        }
        let Payload(bytes) = Payload::from_request(request, state).await?;
        Ok(Self(parse(&bytes)?))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        whole(axum::Json(self.0).into_response())
    }
}

/// Marks a response whose body is in memory, so that it may be given to several who ask the same at once.
#[derive(Clone, Copy)]
pub struct Whole;

/// Marks a response as [`Whole`].
pub fn whole(mut response: Response) -> Response {
    response.extensions_mut().insert(Whole);
    response
}

/// Whether the body is declared to be JSON of some kind.
pub fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = declared
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads a JSON object: 400 with line and column where it is no JSON, 422 where it says something else.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let value = parse_any(bytes)?;
    let refused = |message| Error::Unprocessable(vec![Fault::body("body", message)]);
    if !value.is_object() {
        return Err(refused(format!("must be an object, got {}", kind(&value))));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (place, complaint) = (error.path().to_string(), error.inner().to_string());
        match missing(&complaint) {
            Some(name) => {
                Error::Unprocessable(vec![Fault::body(within(&place, name), "is required")])
            }
            None => refused(in_json_words(&complaint)),
        }
    })
}

/// The field that is not there, if that is the complaint.
fn missing(complaint: &str) -> Option<&str> {
    complaint.strip_prefix("missing field `")?.strip_suffix('`')
}

/// A field's name behind the place of the object that it belongs to; the body itself is `.`.
fn within(place: &str, name: &str) -> String {
    match place {
        "." => name.to_owned(),
        place => format!("{place}.{name}"),
    }
}

/// The same for JSON of any shape.
fn parse_any(bytes: &[u8]) -> Result<Value, Error> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        Error::Invalid(vec![Fault::body("body", format!("must be JSON: {error}"))])
    })?;
    let mut faults = Vec::new();
    refuse_nul(&value, &mut String::new(), &mut faults);
    match faults.is_empty() {
        true => Ok(value),
        false => Err(Error::Unprocessable(faults)),
    }
}

/// What JSON calls a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A complaint of the parser, which has words of its own for what JSON calls arrays and objects.
fn in_json_words(complaint: &str) -> String {
    complaint
        .replace("type: sequence", "type: array")
        .replace("type: map", "type: object")
        .replace("expected a sequence", "expected an array")
        .replace("expected a map", "expected an object")
}

/// No text of ours holds NUL, and Postgres takes none.
fn refuse_nul(value: &Value, place: &mut String, faults: &mut Vec<Fault>) {
    let length = place.len();
    match value {
        Value::String(text) if text.contains('\0') => {
            faults.push(Fault::body(place.as_str(), "must not contain NUL"));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                place.push_str(&format!("/{index}"));
                refuse_nul(item, place, faults);
                place.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                place.push_str(&format!("/{}", name.replace('\0', "")));
                if name.contains('\0') {
                    faults.push(Fault::body(place.as_str(), "must not have NUL in its name"));
                }
                refuse_nul(field, place, faults);
                place.truncate(length);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only read into")]
    struct Body {
        names: Vec<String>,
        more: Option<std::collections::BTreeMap<String, String>>,
        parts: Option<Vec<Part>>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only read into")]
    struct Part {
        size: u8,
    }

    fn complaint(json: &str) -> String {
        match parse::<Body>(json.as_bytes()) {
            Ok(_) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn malformed_json_says_where() {
        assert_eq!(
            complaint("[\"a\",\n  nope]"),
            "invalid request: body: must be JSON: expected ident at line 2 column 4"
        );
        assert!(complaint(r#"["\ud800"]"#).contains("at line 1 column"));
        assert!(complaint("").contains("at line 1 column 0"));
    }

    #[test]
    fn json_of_another_shape_is_invalid_content() {
        for (json, expected) in [
            ("[]", "body: must be an object, got an array"),
            (r#"[["a"], null]"#, "body: must be an object, got an array"),
            ("null", "body: must be an object, got null"),
            ("1", "body: must be an object, got a number"),
            (
                r#"{"names": [1]}"#,
                "body: invalid type: integer `1`, expected a string",
            ),
            (
                r#"{"names": {}}"#,
                "body: invalid type: object, expected an array",
            ),
            (
                r#"{"names": [], "more": []}"#,
                "body: invalid type: array, expected an object",
            ),
            (r#"["a", "b\u0000"]"#, "/1: must not contain NUL"),
            ("{}", "names: is required"),
            (
                r#"{"names": [], "parts": [{"size": 1}, {}]}"#,
                "parts[1].size: is required",
            ),
        ] {
            assert_eq!(
                complaint(json),
                format!("invalid content: {expected}"),
                "{json}"
            );
        }
    }
}
