//! What the check of every answer lets pass, and what it does not.

use std::panic::catch_unwind;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use voxray::problem::Kind;

use crate::support::contract::{check, document, faults};

const LIST: &str = "/v1/observability/sessions";

fn headers(media_type: &'static str, more: &[(&'static str, &'static str)]) -> HeaderMap {
    let common = [
        ("content-type", media_type),
        ("x-request-id", "r1"),
        ("vary", "Authorization, X-API-Key, Cookie"),
    ];
    let all = common.iter().chain(more);
    all.map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    })
    .collect()
}

fn list() -> Value {
    let item = json!({
        "id": "sess_01890a5d7c3e7b9a8c1d2e3f40516273", "agentId": null, "startedAt": "2025-06-11T10:00:00Z",
        "endedAt": "2025-06-11T10:00:00.500Z", "turns": 0, "status": "completed", "hasIssues": false
    });
    json!({ "data": [item], "nextCursor": null, "hasMore": false })
}

/// What the check complains about; empty if about nothing.
fn complaint(method: &str, path: &str, status: u16, headers: &HeaderMap, body: &Value) -> String {
    let body = body.to_string();
    match catch_unwind(|| check(method, path, status, headers, body.as_bytes())) {
        Ok(()) => String::new(),
        Err(cause) => *cause.downcast::<String>().expect("a message"),
    }
}

/// The list with something else at a place.
fn list_with(pointer: &str, value: Value) -> Value {
    let mut list = list();
    *list.pointer_mut(pointer).expect("a place in the list") = value;
    list
}

fn problem(status: u16) -> Value {
    let kind = Kind::ALL.iter().find(|kind| kind.status.as_u16() == status);
    let code = kind.map_or("none", |kind| kind.code);
    json!({
        "type": format!("urn:voxray:problem:{code}"), "title": "Not found", "status": status, "detail": "none", "requestId": "r1"
    })
}

#[test]
fn described_answers_pass() {
    let json = headers("application/json", &[]);
    assert_eq!(
        complaint(
            "GET",
            "/v1/observability/sessions?limit=1",
            200,
            &json,
            &list()
        ),
        ""
    );
    let problems = headers("application/problem+json", &[]);
    assert_eq!(
        complaint("GET", "/nowhere", 404, &problems, &problem(404)),
        ""
    );
    let with_allow = headers("application/problem+json", &[("allow", "GET,HEAD")]);
    assert_eq!(complaint("BREW", LIST, 405, &with_allow, &problem(405)), "");
}

#[test]
fn bodies_of_another_shape_are_caught() {
    let json = headers("application/json", &[]);
    let caught = |list: Value, expected: &str| {
        let complaint = complaint("GET", LIST, 200, &json, &list);
        assert!(complaint.contains(expected), "{expected}: {complaint}");
    };
    let mut less = list();
    less["data"][0]
        .as_object_mut()
        .expect("an item")
        .remove("agentId");
    caught(less, "`/data/0`: \"agentId\" is a required property");
    let mut more = list();
    more["data"][0]["extra"] = json!(1);
    caught(more, "`/data/0`: Additional properties");
    caught(list_with("/data/0/turns", json!("24")), "`/data/0/turns`");
    caught(
        list_with("/data/0/status", json!("odd")),
        "`/data/0/status`",
    );
    caught(
        list_with("/data/0/startedAt", json!("2025-06-11T10:00:00+02:00")),
        "`/data/0/startedAt`",
    );
    caught(
        list_with("/data/0/startedAt", json!("2025-13-11T10:00:00Z")),
        "`/data/0/startedAt`",
    );
    caught(
        list_with("/data/0/startedAt", json!("2025-06-11T10:00:00.000Z")),
        "`/data/0/startedAt`",
    );
    caught(list_with("/hasMore", json!(true)), "`/nextCursor`");
    caught(list_with("/nextCursor", json!("AQ")), "`/nextCursor`");
    caught(
        list_with("/data/0/startedAt", Value::Null),
        "`/data/0/startedAt`",
    );
}

#[test]
fn other_statuses_types_and_headers_are_caught() {
    let json = headers("application/json", &[]);
    let problems = headers("application/problem+json", &[]);
    let without_id = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))]
        .into_iter()
        .collect();
    let mut without_vary = json.clone();
    without_vary.remove("vary");
    let text = headers("text/plain", &[]);
    let odd_link = headers("application/json", &[("link", "elsewhere")]);
    let (ok, no) = (list(), problem(404));
    let another_id = json!({
        "type": "urn:voxray:problem:not-found", "title": "Not found", "status": 404, "detail": "none", "requestId": "r2"
    });
    for (method, path, status, headers, body, expected) in [
        ("GET", LIST, 201, &json, &ok, "no such status"),
        ("GET", LIST, 404, &problems, &no, "no such status"),
        (
            "GET",
            LIST,
            400,
            &problems,
            &no,
            "the problem's status is 404",
        ),
        (
            "GET",
            LIST,
            400,
            &problems,
            &no,
            "the problem's type is \"urn:voxray:problem:not-found\"",
        ),
        (
            "GET",
            LIST,
            200,
            &without_vary,
            &ok,
            "the header Vary is missing",
        ),
        ("GET", LIST, 400, &json, &no, "an error is a problem"),
        (
            "GET",
            LIST,
            401,
            &problems,
            &problem(401),
            "the header WWW-Authenticate is missing",
        ),
        (
            "GET",
            LIST,
            200,
            &text,
            &ok,
            "no content of type `text/plain`",
        ),
        (
            "GET",
            LIST,
            200,
            &without_id,
            &ok,
            "the header x-request-id is missing",
        ),
        ("GET", LIST, 200, &odd_link, &ok, "header Link"),
        ("GET", "/nowhere", 200, &json, &ok, "the path is not there"),
        (
            "GET",
            "/nowhere",
            404,
            &problems,
            &another_id,
            "the problem's request id is",
        ),
        ("DELETE", LIST, 200, &json, &ok, "the path is there"),
        (
            "GET",
            "/api/v1/analytics/summary",
            304,
            &json,
            &ok,
            "a body where none is described",
        ),
    ] {
        let complaint = complaint(method, path, status, headers, body);
        assert!(complaint.contains(expected), "{expected}: {complaint}");
    }
}

#[test]
fn content_beside_the_mark_that_it_is_withheld_is_caught() {
    let schema = "/components/schemas/SessionDetail";
    let mut leak = document()["components"]["examples"]["SessionDetail"]["value"].clone();
    assert!(faults(schema, &leak).is_empty());
    leak["contentWithheld"] = json!(true);
    let found = faults(schema, &leak).join("\n");
    for place in ["/summary", "/extracted", "/from", "/turns/0/text"] {
        assert!(!leak.pointer(place).is_none_or(Value::is_null), "{place}");
        assert!(found.contains(&format!("`{place}`")), "{place}: {found}");
    }
}
