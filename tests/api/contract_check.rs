//! The check that every answer passes: it finds what `openapi.yaml` does not describe.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::support::contract::{document, faults, verify};

/// An answer to `GET /api/v1/analytics/active-calls` with all its headers.
fn found_in(status: u16, body: &Value, change: impl FnOnce(&mut HeaderMap)) -> String {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-request-id", "1"),
        ("vary", "Authorization, X-API-Key, Cookie"),
        ("etag", "\"0123456789abcdef01234567\""),
        ("cache-control", "private, no-cache"),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    change(&mut headers);
    let body = body.to_string();
    let found = verify(
        "GET",
        "/api/v1/analytics/active-calls?channel=web",
        status,
        &headers,
        body.as_bytes(),
    );
    found.err().unwrap_or_default().join("\n")
}

#[test]
fn what_the_document_does_not_describe_is_found() {
    let sound = json!({ "count": 3 });
    let as_it_is = |_: &mut HeaderMap| {};
    assert_eq!(found_in(200, &sound, as_it_is), "");
    for (body, expected) in [
        (json!({}), "/: \"count\" is a required property"),
        (
            json!({ "count": "3" }),
            "/count: \"3\" is not of type \"integer\"",
        ),
        (
            json!({ "count": -1 }),
            "/count: -1 is less than the minimum of 0",
        ),
        (json!({ "count": 3, "more": 1 }), "'more' was unexpected"),
    ] {
        let found = found_in(200, &body, as_it_is);
        assert!(found.contains(expected), "{found}");
    }
    assert!(found_in(418, &sound, as_it_is).contains("only the statuses 200, 304, 400"));
    assert!(found_in(304, &sound, as_it_is).contains("a body where none is described"));
    let found = found_in(200, &sound, |headers| {
        headers.remove("etag");
        headers.insert("cache-control", HeaderValue::from_static("public"));
        headers.insert("content-type", HeaderValue::from_static("text/html"));
    });
    for expected in [
        "header `ETag`: is missing",
        "header `Cache-Control`",
        "the content type is `text/html`",
    ] {
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn only_documented_paths_methods_and_words_pass() {
    let headers = HeaderMap::new();
    let found = |verb: &str, path: &str| {
        verify(verb, path, 200, &headers, b"")
            .expect_err("faults")
            .join("\n")
    };
    assert!(found("GET", "/nowhere").contains("there is no such path"));
    assert!(found("PUT", "/healthz").contains("no such method"));
    assert!(found("GET", "/v1/observability/sessions/a/b").contains("there is no such path"));
    assert!(found("GET", "/docs/a/b.css").contains("header `x-request-id`: is missing"));

    let schema = &document()["components"]["schemas"]["VoiceSession"];
    let example = &document()["components"]["examples"]["VoiceSessionWithheld"]["value"];
    assert_eq!(faults(schema, example), [""; 0]);
    let mut leak = example.clone();
    leak["transcript"][0]["text"] = json!("hello");
    assert!(faults(schema, &leak)[0].starts_with("/transcript/0/text"));
}
