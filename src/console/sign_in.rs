//! `/console/sign-in` and `/console/sign-out`: a key in, a cookie out.

use askama::Template;
use axum::extract::State;
use axum::http::header::{LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use url::Url;

use super::page;
use super::page::Frame;
use crate::app::App;
use crate::app::Now;
use crate::auth::Viewer;
use crate::auth::browser;
use crate::auth::key;
use crate::domain::Error;
use crate::problem::Form;
use crate::problem::Kind;
use crate::problem::Problem;
use crate::problem::Query;

const HOME: &str = "/console";

#[derive(Template)]
#[template(path = "console/sign_in.html")]
struct Page {
    frame: Frame,
    next: String,
    complaint: Option<&'static str>,
}

/// `GET /console/sign-in`
pub async fn show(query: Query) -> Result<Response, Problem> {
    let mut params = page::params(query);
    let next = params.parse("next", |text| Ok(text.to_owned()));
    params.finish()?;
    Ok(page::ok(&Page::of(next.as_deref(), None))?)
}

/// `POST /console/sign-in`
pub async fn enter(
    State(app): State<App>,
    Now(now): Now,
    headers: HeaderMap,
    query: Query,
    form: Form,
) -> Result<Response, Problem> {
    query.params().finish()?;
    // Nobody is to be signed in by somebody else's page.
    if !browser::is_same_origin(&headers) {
        let detail = "sign in from the page at /console/sign-in";
        return Err(Problem::new(&Kind::CROSS_ORIGIN, detail));
    }
    let next = form.text("next");
    let refuse = |complaint| -> Result<Response, Problem> {
        let page = Page::of(next, Some(complaint));
        let mut response = page::respond(StatusCode::UNAUTHORIZED, &page)?;
        let challenge = HeaderValue::from_static("Bearer realm=\"voxray\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        Ok(response)
    };
    let key = form.text("key").unwrap_or_default().trim();
    let Some(key) = key::parse(key) else {
        return refuse("This is no API key: one begins with vxr_ and has 55 characters.");
    };
    let public = app.settings.public_url.as_ref();
    let cookie = match app.keyring.sign_in(&key, now).await? {
        None => return refuse("This API key is unknown, expired or revoked."),
        Some((_, None)) => return refuse("This API key lacks the scope sessions:read."),
        Some((_, Some(text))) => browser::cookie(&text, &headers, public),
    };
    // Who signs in again does not leave the old session behind.
    if let Some(old) = browser::session(&headers) {
        app.keyring.sign_out(&old, now).await?;
    }
    redirect(&own(next), &cookie)
}

/// `POST /console/sign-out`
pub async fn leave(
    State(app): State<App>,
    Now(now): Now,
    _: Viewer,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    query.params().finish()?;
    if let Some(session) = browser::session(&headers) {
        app.keyring.sign_out(&session, now).await?;
    }
    redirect(
        "/console/sign-in",
        &browser::no_cookie(&headers, app.settings.public_url.as_ref()),
    )
}

impl Page {
    fn of(next: Option<&str>, complaint: Option<&'static str>) -> Self {
        Self {
            frame: Frame::bare("Sign in"),
            next: own(next),
            complaint,
        }
    }
}

fn redirect(location: &str, cookie: &str) -> Result<Response, Problem> {
    let text = |text: &str| {
        HeaderValue::from_str(text).map_err(|error| Error::Internal(error.to_string()))
    };
    let headers = [(LOCATION, text(location)?), (SET_COOKIE, text(cookie)?)];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

/// Where to go on: a page of ours, else the first one. Read as a browser reads it, which takes `\` for `/` and
/// leaves out line breaks.
pub fn own(next: Option<&str>) -> String {
    let here = "http://here.invalid";
    let url = Url::parse(here).and_then(|here| here.join(next.unwrap_or(HOME)));
    let Ok(url) = url else { return HOME.to_owned() };
    let path = url.path();
    let is_page =
        path == HOME || path.starts_with("/console/") || path.starts_with("/traces/view/");
    let is_way_in = path.starts_with("/console/sign-");
    if url.origin().ascii_serialization() != here || !is_page || is_way_in {
        return HOME.to_owned();
    }
    match url.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::own;

    #[test]
    fn one_goes_on_to_own_pages_only() {
        for page in [
            "/console",
            "/console?status=failed&q=a%20b",
            "/console/conversations/x?tab=media",
            "/traces/view/a%2Fb",
        ] {
            assert_eq!(own(Some(page)), page);
        }
        for other in [
            "//evil.example/console",
            "/\\evil.example/console",
            "\\\\evil.example/console",
            "/\t/evil.example/console",
            "https://evil.example/console",
            "javascript:alert(1)",
            "/console/../v1/recordings/x/audio",
            "/console/sign-out",
            "/docs",
            "http:console",
            "",
        ] {
            let to = own(Some(other));
            assert!(to == "/console" || to == "/", "{other}: {to}");
        }
        assert_eq!(own(None), "/console");
    }
}
