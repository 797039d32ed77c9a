//! Bad input is told in full, by table, and is never a 5xx.

use serde_json::json;

use super::support::TestServer;

#[tokio::test]
async fn parameters_are_refused_with_what_was_expected() {
    let server = TestServer::start().await;
    let probe = server.probe().await;
    let cases = [
        ("limit=0", "limit must be between 1 and 100, got `0`"),
        ("limit=101", "limit must be between 1 and 100, got `101`"),
        ("limit=-1", "limit must be between 1 and 100, got `-1`"),
        (
            "limit=ten",
            "limit must be a whole number between 1 and 100, got `ten`",
        ),
        (
            "limit=1.5",
            "limit must be a whole number between 1 and 100, got `1.5`",
        ),
        (
            "limit=",
            "limit must be a whole number between 1 and 100, got ``",
        ),
        (
            "limit=9223372036854775808",
            "limit must be a whole number between 1 and 100, got `9223372036854775808`",
        ),
        ("limit=1&limit=2", "limit must be given once only"),
        ("ratio=NaN", "ratio must be between 0 and 1, got `NaN`"),
        ("ratio=1e999", "ratio must be between 0 and 1, got `1e999`"),
        ("period=2h", "period must be one of `1h`, `24h`, got `2h`"),
        (
            "hasIssues=yes",
            "hasIssues must be one of `true`, `false`, got `yes`",
        ),
        (
            "startedAfter=1969-12-31T23:59:59Z",
            "startedAfter must not be before 1970, got `1969-12-31T23:59:59Z`",
        ),
        (
            "startedAfter=20000-01-01T00:00:00Z",
            "startedAfter must be an RFC 3339 time such as `2025-01-31T09:30:00Z`, got `20000-01-01T00:00:00Z`",
        ),
        (
            "startedAfter=2025-02-30T00:00:00Z",
            "startedAfter must be an RFC 3339 time such as `2025-01-31T09:30:00Z`, got `2025-02-30T00:00:00Z`",
        ),
        (
            "startedAfter=2025-01-02T00:00:00Z&startedBefore=2025-01-01T00:00:00Z",
            "startedAfter must be before `startedBefore`",
        ),
        ("q=", "q must not be empty"),
        ("q=a%00b", "q must not contain NUL"),
        ("q=%ff", "q must be valid UTF-8"),
        (
            "limt=5",
            "limt is no parameter here; the nearest is `limit`",
        ),
        (
            "startedafter=x",
            "startedafter is no parameter here; the nearest is `startedAfter`",
        ),
    ];
    for (query, expected) in cases {
        let answer = probe
            .get(&format!("/probe/params?{query}"))
            .await
            .problem(400, "invalid-request");
        assert_eq!(answer.faults(), [expected], "{query}");
        assert_eq!(answer.json()["errors"][0]["in"], "query");
    }
    let long = format!("/probe/params?q={}", "x".repeat(10_000));
    assert_eq!(
        probe.get(&long).await.status(400).faults(),
        ["q must have at most 255 characters, got 10000"]
    );
}

#[tokio::test]
async fn all_faults_come_at_once() {
    let server = TestServer::start().await;
    let answer = server
        .probe()
        .await
        .get("/probe/params?limit=0&period=x&nope=1&q=")
        .await
        .problem(400, "invalid-request");
    assert_eq!(answer.faults().len(), 4);
    assert_eq!(answer.json()["detail"], "the request has 4 faults");
}

#[tokio::test]
async fn good_parameters_pass() {
    let server = TestServer::start().await;
    let query = "limit=5&ratio=0.5&period=1h&startedAfter=2025-01-01T02:00:00+02:00&q=%C3%A9t%C3%A9+x&hasIssues=true";
    let json = server
        .probe()
        .await
        .get(&format!("/probe/params?{query}"))
        .await
        .status(200)
        .json();
    assert_eq!(
        json,
        json!({ "limit": 5, "ratio": 0.5, "period": "1h", "after": "2025-01-01T00:00:00Z", "q": "été x", "flag": true })
    );
}

#[tokio::test]
async fn paths_are_bounded_clean_text() {
    let server = TestServer::start().await;
    let probe = server.probe().await;
    for path in ["a%00b", "%ff", "%F0%28%8C%28", &"x".repeat(256)] {
        let answer = probe
            .get(&format!("/probe/path/{path}"))
            .await
            .problem(400, "invalid-request");
        assert_eq!(answer.json()["errors"][0]["in"], "path", "{path}");
    }
    probe
        .get("/probe/number/-1")
        .await
        .problem(400, "invalid-request");
    assert_eq!(
        probe
            .get("/probe/path/%C3%A9%2F%2E%2E")
            .await
            .status(200)
            .text(),
        "é/.."
    );
}

#[tokio::test]
async fn json_is_refused_where_it_is_wrong() {
    let server = TestServer::start().await;
    let probe = server
        .probe()
        .await
        .header("content-type", "application/json");
    let deep = "[".repeat(10_000);
    let malformed = [
        ("", "line 1 column 0"),
        ("{", "line 1 column 1"),
        ("{\"name\": \"a\",\n \"count\" 1}", "line 2 column 10"),
        (r#"{"name": "\ud800", "count": 1}"#, "line 1 column"),
        ("{\"name\": \"a\u{1}\", \"count\": 1}", "line 1 column"),
        (r#"{"name": "a", "count": 1e99999}"#, "number out of range"),
        (deep.as_str(), "recursion limit exceeded"),
    ];
    for (body, place) in malformed {
        let answer = probe
            .post_bytes("/probe/json", body.to_owned())
            .await
            .problem(400, "invalid-request");
        assert!(
            answer.text().contains(place),
            "{body:.40}: {}",
            answer.text()
        );
    }
    let invalid = [
        "[]",
        "null",
        r#"{"name": "a"}"#,
        r#"{"name": "a", "count": -1}"#,
        r#"{"name": "a", "count": 256}"#,
        r#"{"name": "a", "count": 99999999999999999999999}"#,
        r#"{"name": "a\u0000", "count": 1}"#,
        r#"{"name\u0000": "a", "count": 1}"#,
        r#"{"name": "a", "count": 1, "more": 1}"#,
    ];
    for body in invalid {
        probe
            .post_bytes("/probe/json", body)
            .await
            .problem(422, "invalid-content");
    }
    let array = probe
        .post_bytes("/probe/json", r#"["a", 1]"#)
        .await
        .problem(422, "invalid-content");
    assert_eq!(array.faults(), ["body must be an object, got an array"]);
    probe
        .post_bytes("/probe/json", vec![0xff, 0xfe])
        .await
        .problem(400, "invalid-request");
    probe
        .post_bytes("/probe/json", r#"{"name": "a", "count": 1}"#)
        .await
        .status(200);
}

#[tokio::test]
async fn a_body_of_another_type_is_refused() {
    let server = TestServer::start().await;
    let probe = server.probe().await;
    let body = r#"{"name": "a", "count": 1}"#;
    for media in ["text/plain", "application/xml", "application/jsonx", "json"] {
        let answer = probe
            .header("content-type", media)
            .post_bytes("/probe/json", body)
            .await;
        answer.problem(415, "unsupported-media-type");
    }
    probe
        .post_bytes("/probe/json", body)
        .await
        .problem(415, "unsupported-media-type");
    for media in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.x+json",
    ] {
        probe
            .header("content-type", media)
            .post_bytes("/probe/json", body)
            .await
            .status(200);
    }
}
