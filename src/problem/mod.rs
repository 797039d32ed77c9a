//! Every error as `application/problem+json` (RFC 9457), and the extractors whose refusals are
//! problems too. The only place that names a status for a domain error.
//!
//! A handler's `Problem` travels as a response extension; `app::edge` writes the body, since only
//! there the request's id is known. Imports `domain`.

mod body;
mod form;
mod params;
mod path;
mod payload;
mod status;

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::{Error, Fault};

pub use body::{Json, Whole, is_json, parse, whole};
pub use form::Form;
pub use params::{Params, Query, check_text};
pub use path::Path;
pub use payload::{BodyLimit, Oversized, Payload, Upload};
pub use status::Encoding;

/// What went wrong with a request, as it is told to whoever sent it.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static Kind,
    detail: String,
    faults: Vec<Fault>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A sort of problem. `type` on the wire is `urn:voxray:problem:<code>`.
#[derive(Debug)]
pub struct Kind {
    pub status: StatusCode,
    pub code: &'static str,
    pub title: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $status:ident, $code:literal, $title:literal;)*) => {
        impl Kind {
            $(pub const $name: Self = Self { status: StatusCode::$status, code: $code, title: $title };)*
            /// All of them. Of several with one status the first is the general one.
            pub const ALL: &'static [&'static Self] = &[$(&Self::$name),*];
        }
    };
}

kinds! {
    INVALID_REQUEST = BAD_REQUEST, "invalid-request", "Invalid request";
    UNAUTHENTICATED = UNAUTHORIZED, "unauthenticated", "No valid API key";
    MISSING_SCOPE = FORBIDDEN, "missing-scope", "The API key lacks a scope";
    INVALID_SIGNATURE = FORBIDDEN, "invalid-signature", "The signature is not valid";
    CROSS_ORIGIN = FORBIDDEN, "cross-origin", "Not from a page of this server";
    NOT_FOUND = NOT_FOUND, "not-found", "Not found";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed";
    REQUEST_TIMEOUT = REQUEST_TIMEOUT, "request-timeout", "The request took too long to arrive";
    CONFLICT = CONFLICT, "conflict", "Conflict";
    CALL_IN_PROGRESS = CONFLICT, "call_in_progress", "The call is still in progress";
    GONE = GONE, "gone", "Deleted";
    TOO_LARGE = PAYLOAD_TOO_LARGE, "too-large", "The body is too large";
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type";
    RANGE_NOT_SATISFIABLE = RANGE_NOT_SATISFIABLE, "range-not-satisfiable", "There is no such range";
    INVALID_CONTENT = UNPROCESSABLE_ENTITY, "invalid-content", "Invalid content";
    TOO_MANY_REQUESTS = TOO_MANY_REQUESTS, "too-many-requests", "Too many requests";
    INTERNAL = INTERNAL_SERVER_ERROR, "internal", "Internal error";
    UNAVAILABLE = SERVICE_UNAVAILABLE, "unavailable", "Temporarily unavailable";
    STORAGE_FULL = INSUFFICIENT_STORAGE, "storage-full", "No room for more audio";
}

/// How long a caller should wait for a store that is away: it may be back at once.
const UNAVAILABLE_RETRY_SECONDS: u64 = 1;

impl Problem {
    pub fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self {
            status: kind.status,
            kind,
            detail: detail.into(),
            faults: Vec::new(),
            headers: Vec::new(),
        }
    }

    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }

    /// Says more precisely what is wrong.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// No usable key: says why, and how to present one.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        let challenge = HeaderValue::from_static("Bearer realm=\"voxray\"");
        Self::new(&Kind::UNAUTHENTICATED, detail).with_header(WWW_AUTHENTICATE, challenge)
    }

    /// Names another way to present a key than usual, where it is no usable key that is wrong.
    pub fn with_challenge(mut self, challenge: &'static str) -> Self {
        let challenges = self
            .headers
            .iter_mut()
            .filter(|(name, _)| name == WWW_AUTHENTICATE);
        for (_, told) in challenges {
            *told = HeaderValue::from_static(challenge);
        }
        self
    }

    /// Too much at once, or not there: asks to come again after so many seconds.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(&Kind::UNAVAILABLE, detail)
            .with_header(RETRY_AFTER, HeaderValue::from(UNAVAILABLE_RETRY_SECONDS))
    }

    /// The problem that a bare status from a library stands for.
    pub fn from_status(status: StatusCode) -> Self {
        let kind = Kind::ALL
            .iter()
            .find(|kind| kind.status == status)
            .copied()
            .unwrap_or({
                if status.is_server_error() {
                    &Kind::INTERNAL
                } else {
                    &Kind::INVALID_REQUEST
                }
            });
        let detail = match status {
            StatusCode::NOT_FOUND => "there is nothing at this path".to_owned(),
            StatusCode::METHOD_NOT_ALLOWED => {
                "this path has no such method; the `Allow` header lists those it has".to_owned()
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                "`Content-Encoding` must be `gzip`, `zstd` or absent".to_owned()
            }
            _ => kind.title.to_lowercase(),
        };
        Self {
            status,
            ..Self::new(kind, detail)
        }
    }

    /// What is told about it.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn title(&self) -> &'static str {
        self.kind.title
    }

    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What it tells besides its body.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Writes itself as the body of a response whose headers, those about its body aside, stay.
    pub fn render_over(self, response: Response, request_id: &str) -> Response {
        let (mut parts, _) = response.into_parts();
        let rendered = self.render(Some(request_id));
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.extend(rendered.headers().clone());
        parts.status = rendered.status();
        Response::from_parts(parts, rendered.into_body())
    }

    fn render(&self, request_id: Option<&str>) -> Response {
        let wire = Wire {
            r#type: format!("urn:voxray:problem:{}", self.kind.code),
            title: self.kind.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id,
            errors: self.faults.iter().map(WireFault::from).collect(),
        };
        let mut response = (self.status, axum::Json(wire)).into_response();
        response.headers_mut().extend(self.headers.iter().cloned());
        response.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
        response
    }
}

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

impl From<Error> for Problem {
    /// The cause is logged here, once, and never sent.
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(what) => Self::new(&Kind::NOT_FOUND, format!("no such {what}")),
            Error::Invalid(faults) => {
                Self::new(&Kind::INVALID_REQUEST, summary("the request", &faults))
                    .with_faults(faults)
            }
            Error::Unprocessable(faults) => {
                Self::new(&Kind::INVALID_CONTENT, summary("the content", &faults))
                    .with_faults(faults)
            }
            Error::Conflict(text) => Self::new(&Kind::CONFLICT, text),
            Error::Gone(what) => Self::new(&Kind::GONE, format!("the {what} was deleted")),
            Error::CallInProgress => Self::new(
                &Kind::CALL_IN_PROGRESS,
                "the call is still going on; its recording is complete once it has ended",
            ),
            Error::TooLarge(text) => Self::new(&Kind::TOO_LARGE, text),
            Error::StorageFull(text) => Self::new(&Kind::STORAGE_FULL, text),
            Error::Unsupported(text) => Self::new(&Kind::UNSUPPORTED_MEDIA_TYPE, text),
            Error::Throttled { limit, retry_after } => {
                let seconds = HeaderValue::from(retry_after.as_secs().max(1));
                Self::new(
                    &Kind::TOO_MANY_REQUESTS,
                    "this tenant has too much waiting, try again later",
                )
                .with_header(RETRY_AFTER, seconds.clone())
                .with_header(
                    HeaderName::from_static("ratelimit-limit"),
                    HeaderValue::from(limit),
                )
                .with_header(
                    HeaderName::from_static("ratelimit-remaining"),
                    HeaderValue::from(0),
                )
                .with_header(HeaderName::from_static("ratelimit-reset"), seconds)
            }
            Error::Unavailable(cause) => {
                tracing::warn!(cause, "the store is unavailable");
                Self::unavailable("the store is unavailable, try again shortly")
            }
            Error::Internal(cause) => {
                tracing::error!(cause, "a request failed");
                Self::new(
                    &Kind::INTERNAL,
                    "something went wrong here; the log has it under the request's id",
                )
            }
        }
    }
}

fn summary(what: &str, faults: &[Fault]) -> String {
    match faults {
        [fault] => format!("{what} has a fault: `{}` {}", fault.name, fault.message),
        _ => format!("{what} has {} faults", faults.len()),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.render(None);
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<WireFault<'a>>,
}

#[derive(Serialize)]
struct WireFault<'a> {
    r#in: &'static str,
    name: &'a str,
    message: &'a str,
}

impl<'a> From<&'a Fault> for WireFault<'a> {
    fn from(fault: &'a Fault) -> Self {
        Self {
            r#in: fault.place.as_str(),
            name: &fault.name,
            message: &fault.message,
        }
    }
}
