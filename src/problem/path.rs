//! Path parameters: bounded, clean text before anything else looks at them.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::Problem;
use super::params::{check_text, fault_in};
use crate::domain::{Error, Place};

/// The path's parameters: `Path(id): Path<String>`, or a tuple.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let refuse = |name: &str, message: String| {
            Error::Invalid(vec![fault_in(Place::Path, name, message)])
        };
        let raw = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| refuse("path", "must be valid UTF-8".to_owned()))?;
        for (name, value) in &raw {
            check_text(value).map_err(|message| refuse(name, message))?;
        }
        let path = axum::extract::Path::from_request_parts(parts, state)
            .await
            .map_err(|error| refuse("path", error.body_text()))?;
        Ok(Self(path.0))
    }
}
