//! A browser that is signed in: the cookie that stands for a key, and telling our own pages from others.
//!
//! The cookie holds `vxs_<public id of the key>_<secret>`. Scripts cannot read it, and other sites' pages do not
//! make a browser send it.

use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};
use chrono::TimeDelta;
use url::Url;

use super::key::{Generated, Presented};
use super::secret;

const NAME: &str = "voxray_session";
const PREFIX: &str = "vxs_";
/// A working day, so that nobody is asked twice in one.
pub const LIFETIME: TimeDelta = TimeDelta::hours(12);
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Makes a session for a key.
pub fn generate(key_id: &str) -> Generated {
    secret::generate(PREFIX, key_id)
}

/// The session that a request's cookie names; nothing if there is none of the right shape.
pub fn session(headers: &HeaderMap) -> Option<Presented> {
    let cookies = headers.get_all(COOKIE).iter();
    let cookies = cookies.filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == NAME)
            .then(|| secret::parse(PREFIX, value))
            .flatten()
    })
}

/// The cookie that signs a browser in.
pub fn cookie(text: &str, headers: &HeaderMap, public: Option<&Url>) -> String {
    let seconds = LIFETIME.num_seconds();
    format!(
        "{NAME}={text}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{}",
        secure(headers, public)
    )
}

/// The cookie that signs it out.
pub fn no_cookie(headers: &HeaderMap, public: Option<&Url>) -> String {
    format!(
        "{NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{}",
        secure(headers, public)
    )
}

/// Whoever ends TLS before this server says so, or the settings do; then the cookie is for TLS alone.
fn secure(headers: &HeaderMap, public: Option<&Url>) -> &'static str {
    if public.is_some_and(|url| url.scheme() == "https") {
        return "; Secure";
    }
    let told = headers.get(X_FORWARDED_PROTO);
    let told = told.and_then(|value| value.to_str().ok());
    let first = told.and_then(|text| text.split(',').next());
    match first {
        Some(scheme) if scheme.trim().eq_ignore_ascii_case("https") => "; Secure",
        _ => "",
    }
}

/// Whether a page of this server sent the request. Browsers say so themselves where the connection is one to
/// trust; else the page's origin must be the host that was asked.
pub fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    if let Some(site) = text(&SEC_FETCH_SITE) {
        return site == "same-origin";
    }
    let origin = text(&ORIGIN).and_then(|origin| origin.split_once("://"));
    matches!((origin, text(&HOST)), (Some((_, from)), Some(host)) if from.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.map(pair).collect()
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let session = generate("abcDEF012345");
        let cookies = format!("a=b; voxray_session={}; c", session.text);
        let found = super::session(&headers(&[("cookie", &cookies)])).unwrap();
        assert_eq!((found.id, found.hash), (session.id, session.hash));
        for none in ["", "voxray_session=", "voxray_session=vxs_a_b", "x=y"] {
            assert!(super::session(&headers(&[("cookie", none)])).is_none());
        }
    }

    #[test]
    fn the_cookie_is_secure_where_the_connection_is() {
        let plain = cookie("x", &HeaderMap::new(), None);
        assert!(plain.contains("; HttpOnly; SameSite=Strict") && !plain.contains("Secure"));
        let behind = headers(&[("x-forwarded-proto", "https, http")]);
        assert!(cookie("x", &behind, None).ends_with("; Secure"));
        assert!(no_cookie(&behind, None).contains("Max-Age=0"));
        let public = |text: &str| Url::parse(text).unwrap();
        let is_secure =
            |text| cookie("x", &HeaderMap::new(), Some(&public(text))).ends_with("; Secure");
        assert!(is_secure("https://a.example") && !is_secure("http://a.example"));
    }

    #[test]
    fn only_own_pages_are_of_the_same_origin() {
        let host = ("host", "a.example:8787");
        let is = |pairs: &[(&'static str, &str)]| is_same_origin(&headers(pairs));
        assert!(is(&[("sec-fetch-site", "same-origin")]));
        assert!(is(&[host, ("origin", "http://a.example:8787")]));
        assert!(!is(&[host]));
        assert!(!is(&[host, ("origin", "null")]));
        assert!(!is(&[host, ("origin", "http://a.example")]));
        for site in ["same-site", "cross-site", "none", ""] {
            let origin = ("origin", "http://a.example:8787");
            assert!(!is(&[host, origin, ("sec-fetch-site", site)]), "{site}");
        }
    }
}
