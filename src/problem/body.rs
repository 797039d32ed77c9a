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

/// Reads JSON: 400 with line and column where it is none, 422 where it says something else.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        Error::Invalid(vec![Fault::body("body", format!("must be JSON: {error}"))])
    })?;
    let mut faults = Vec::new();
    refuse_nul(&value, &mut String::new(), &mut faults);
    if !faults.is_empty() {
        return Err(Error::Unprocessable(faults));
    }
    T::deserialize(value)
        .map_err(|error| Error::Unprocessable(vec![Fault::body("body", error.to_string())]))
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

    fn complaint(json: &str) -> String {
        match parse::<Vec<String>>(json.as_bytes()) {
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
        assert_eq!(
            complaint("[1]"),
            "invalid content: body: invalid type: integer `1`, expected a string"
        );
        assert_eq!(
            complaint(r#"["a", "b\u0000"]"#),
            "invalid content: /1: must not contain NUL"
        );
    }
}
