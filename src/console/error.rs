//! What went wrong, as a page; and the way to sign in for who has not.

use askama::Template;
use axum::http::header::{ACCEPT, LOCATION};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::page;
use super::page::Frame;
use crate::problem::Problem;

/// The paths of pages.
const PAGES: [&str; 2] = ["/console", "/traces/view"];

#[derive(Template)]
#[template(path = "console/error.html")]
struct Page<'a> {
    frame: Frame,
    status: u16,
    detail: &'a str,
    faults: Vec<String>,
    request_id: &'a str,
}

/// Whether somebody looks at a page, to whom errors are told as pages too.
pub fn is_wanted(path: &str, headers: &HeaderMap) -> bool {
    let is_page = PAGES.iter().any(|page| {
        let rest = path.strip_prefix(page);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let accepted = headers.get_all(ACCEPT).iter();
    is_page
        && accepted
            .filter_map(|value| value.to_str().ok())
            .any(|text| text.contains("text/html"))
}

/// The problem as a page; who has no session is led to where one is had.
pub fn respond(problem: &Problem, method: &Method, uri: &Uri, request_id: &str) -> Response {
    let status = problem.status();
    if status == StatusCode::UNAUTHORIZED {
        let next = match *method {
            Method::GET => uri
                .path_and_query()
                .map_or("/console", |next| next.as_str()),
            // What was to be done is not done by coming back.
            _ => "/console",
        };
        let location = page::link("/console/sign-in", &[("next", next)]);
        return (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response();
    }
    let faults = problem.faults().iter();
    let page = Page {
        frame: Frame::bare(problem.title()),
        status: status.as_u16(),
        detail: problem.detail(),
        faults: faults
            .map(|fault| format!("{} {}", fault.name, fault.message))
            .collect(),
        request_id,
    };
    let mut response = page::respond(status, &page).unwrap_or_else(|_| status.into_response());
    response
        .headers_mut()
        .extend(problem.headers().iter().cloned());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_for_who_looks_at_them() {
        let html = HeaderMap::from_iter([(ACCEPT, "text/html,*/*;q=0.8".parse().unwrap())]);
        let any = HeaderMap::from_iter([(ACCEPT, "*/*".parse().unwrap())]);
        for path in ["/console", "/console/sign-in", "/traces/view/x"] {
            assert!(is_wanted(path, &html) && !is_wanted(path, &any), "{path}");
        }
        for path in ["/consoles", "/v1/traces/session/x", "/"] {
            assert!(!is_wanted(path, &html), "{path}");
        }
    }
}
