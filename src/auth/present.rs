//! The four ways to present a key: `Authorization: Bearer`, `Token` or `Basic`, and `x-api-key`.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::key::{self, Presented};
use crate::domain::{Error, Fault, Place};
use crate::problem::Problem;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const HOW: &str = "send one as `Authorization: Bearer KEY` or `x-api-key: KEY`";

/// The one key that a request presents, however often.
pub fn presented(headers: &HeaderMap) -> Result<Presented, Problem> {
    let authorization = headers
        .get_all(AUTHORIZATION)
        .iter()
        .map(|value| from_authorization(value.as_bytes()));
    let plain = headers
        .get_all(X_API_KEY)
        .iter()
        // Some proxies and clients send the header without a key in it.
        .filter(|value| !value.is_empty())
        .map(|value| from_text(value.as_bytes()));
    let mut keys = authorization.chain(plain);
    let Some(first) = keys.next() else {
        return Err(Problem::unauthenticated(format!(
            "there is no API key in the request: {HOW}"
        )));
    };
    for other in keys {
        if other != first {
            let message = "two different API keys are presented, send one only".to_owned();
            let fault = Fault {
                place: Place::Header,
                name: "authorization".to_owned(),
                message,
            };
            return Err(Error::Invalid(vec![fault]).into());
        }
    }
    first.ok_or_else(|| {
        Problem::unauthenticated(format!(
            "what is presented is no API key of this server: {HOW}"
        ))
    })
}

/// Whether a request presents anything that may be a key.
pub fn is_presented(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || headers.contains_key(X_API_KEY)
}

fn from_authorization(value: &[u8]) -> Option<Presented> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let (scheme, credentials) = text.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => key::parse(credentials.trim()),
        "basic" => from_basic(credentials.trim()),
        _ => None,
    }
}

/// User: the key's public id. Password: the key.
fn from_basic(credentials: &str) -> Option<Presented> {
    let decoded = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    key::parse(password).filter(|key| key.id == user)
}

fn from_text(value: &[u8]) -> Option<Presented> {
    key::parse(std::str::from_utf8(value).ok()?.trim())
}
