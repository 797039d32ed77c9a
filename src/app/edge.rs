//! The outermost layer: gives a request its id, span and metrics, and every error its problem body.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use uuid::Uuid;

use crate::console;
use crate::problem::Encoding;
use crate::problem::Problem;
use crate::problem::Whole;
use crate::telemetry;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_MAX_CHARS: usize = 128;
/// An answer depends on who asks: caches between must not mix them up.
const VARY_BY: HeaderValue = HeaderValue::from_static("Authorization, X-API-Key, Cookie");
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// A request's id: the caller's if it is safe to log, else ours.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

pub(super) async fn edge(mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let method = method_label(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let known = request.headers().get_all(IF_NONE_MATCH).iter();
    let knows_weakly = known
        .into_iter()
        .any(|known| known.as_bytes().starts_with(b"W/"));
    let page = console::is_wanted(request.uri().path(), request.headers());
    let page = page.then(|| (request.method().clone(), request.uri().clone()));
    let span = tracing::info_span!(
        "request",
        request.id = id,
        http.method = method,
        http.route = route,
        tenant.id = tracing::field::Empty,
        session.id = tracing::field::Empty,
    );
    request.extensions_mut().insert(RequestId(id.clone()));
    let status_encoding = Encoding::of_errors(route, request.headers());

    let in_flight = telemetry::InFlight::enter();
    let started = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);
    let mut response = span.in_scope(|| match page {
        Some((method, uri)) => told_as_page(response, &method, &uri, &id),
        None => told(response, &id, status_encoding),
    });

    let status = response.status();
    telemetry::answered(route, method, status, started.elapsed());
    span.in_scope(|| {
        tracing::debug!(
            status = status.as_u16(),
            elapsed_ms = elapsed_ms(started),
            "answered"
        )
    });
    // For those who are given the same answer.
    if let Some(matched) = matched
        && response.extensions().get::<Whole>().is_some()
    {
        response.extensions_mut().insert(matched);
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    response.headers_mut().append(VARY, VARY_BY);
    told_by_coding(&mut response, knows_weakly);
    // Whatever says nothing else is one tenant's, and may change at once.
    if !response.headers().contains_key(CACHE_CONTROL) {
        response.headers_mut().insert(CACHE_CONTROL, PRIVATE);
    }
    response
}

/// An answer that comes compressed or not has one strong ETag only for the bytes as they are; and who has it already
/// is told that it may come otherwise, by the ETag that he had it under.
fn told_by_coding(response: &mut Response, knows_weakly: bool) {
    let is_unchanged = response.status() == StatusCode::NOT_MODIFIED;
    let is_compressed = response.headers().contains_key(CONTENT_ENCODING);
    let is_weak = is_compressed || is_unchanged && knows_weakly;
    let headers = response.headers_mut();
    if is_unchanged {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
    let strong = headers
        .get(ETAG)
        .filter(|etag| is_weak && etag.as_bytes().starts_with(b"\""));
    let weak = strong.map(|etag| [b"W/", etag.as_bytes()].concat());
    if let Some(weak) = weak.and_then(|weak| HeaderValue::from_bytes(&weak).ok()) {
        headers.insert(ETAG, weak);
    }
}

/// Writes an error's body with the request's id. A library's bare status becomes a problem too.
fn told(mut response: Response, id: &str, otlp: Option<Encoding>) -> Response {
    let over = |problem: Problem, response| match otlp {
        Some(encoding) => problem.render_status_over(response, encoding),
        None => problem.render_over(response, id),
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return over(problem, response);
    }
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() || has_own_body(&response) {
        return response;
    }
    over(Problem::from_status(status), response)
}

/// The same for who looks at a page.
fn told_as_page(mut response: Response, method: &Method, uri: &Uri, id: &str) -> Response {
    let status = response.status();
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if !status.is_client_error() && !status.is_server_error()
            || has_own_body(&response) =>
        {
            return response;
        }
        None => Problem::from_status(status),
    };
    let mut page = console::respond(&problem, method, uri, id);
    if let Some(allow) = response.headers_mut().remove(ALLOW) {
        page.headers_mut().insert(ALLOW, allow);
    }
    page
}

/// Whether somebody has written an error body on purpose: no library here answers in JSON or HTML.
fn has_own_body(response: &Response) -> bool {
    let declared = response
        .headers()
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    declared.is_some_and(|declared| !declared.starts_with(b"text/plain"))
}

pub(super) fn request_id(headers: &HeaderMap) -> String {
    let is_safe = |id: &&str| {
        (1..=REQUEST_ID_MAX_CHARS).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    let given = headers
        .get(X_REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .filter(is_safe);
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Bounded: anybody can make up a method.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn elapsed_ms(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1000.0
}
