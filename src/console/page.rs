//! What all pages have in common: their frame, and the headers that keep everything else out.

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;

use crate::auth::Viewer;
use crate::domain::Error;
use crate::problem::{Params, Query};

/// Everything comes from this server, and nothing is written into the page that runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The frame around a page.
pub struct Frame {
    pub title: String,
    /// Which entry of the navigation is open; none where there is no navigation.
    pub section: Option<&'static str>,
    /// Whether there is a session to sign out of.
    pub is_signed_in: bool,
    pub key_id: String,
}

impl Frame {
    pub fn of(viewer: &Viewer, section: &'static str, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            section: Some(section),
            is_signed_in: viewer.is_signed_in,
            key_id: viewer.key_id.clone(),
        }
    }

    /// Without navigation: nobody has signed in, or something is wrong.
    pub fn bare(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            section: None,
            is_signed_in: false,
            key_id: String::new(),
        }
    }

    pub fn is(&self, section: &str) -> bool {
        self.section == Some(section)
    }
}

/// Renders a page.
pub fn respond(status: StatusCode, page: &impl Template) -> Result<Response, Error> {
    let html = page
        .render()
        .map_err(|error| Error::Internal(format!("a page of the console: {error}")))?;
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`, with which browsers would not say where a form comes from.
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "private, no-cache"),
    ];
    Ok((status, headers, html).into_response())
}

pub fn ok(page: &impl Template) -> Result<Response, Error> {
    respond(StatusCode::OK, page)
}

/// Parameters as forms send them.
pub fn params(query: Query) -> Params {
    query.params().of_form()
}

/// A path with parameters; without a `?` where there are none.
pub fn link(path: &str, pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().filter(|(_, text)| !text.is_empty());
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    match query.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{query}"),
    }
}
