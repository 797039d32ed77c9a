//! What every answer has, and what no answer tells.

use reqwest::Method;

use super::support::TestServer;

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_problems() {
    let server = TestServer::start().await;
    let anybody = server.anonymous();
    anybody.get("/nowhere").await.problem(404, "not-found");
    anybody.get("/healthz/").await.problem(404, "not-found");
    anybody.get("//").await.problem(404, "not-found");
    let answer = anybody
        .post("/healthz", &serde_json::json!({}))
        .await
        .problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "GET,HEAD");
    anybody
        .send(
            Method::from_bytes(b"BREW").expect("a method"),
            "/healthz",
            |r| r,
        )
        .await
        .problem(405, "method-not-allowed");
    let answer = anybody.head("/nowhere").await.status(404);
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_says_what_it_depends_on() {
    let server = TestServer::start().await;
    let anybody = server.anonymous();
    let answer = anybody
        .header("x-request-id", "trace-1.a:b_C")
        .get("/nowhere")
        .await
        .problem(404, "not-found");
    assert_eq!(answer.header("x-request-id"), "trace-1.a:b_C");
    for unsafe_id in ["", "a b", "a\"b", "<script>", &"x".repeat(129)] {
        let answer = anybody
            .header("x-request-id", unsafe_id)
            .get("/healthz")
            .await
            .status(200);
        assert_eq!(answer.header("x-request-id").len(), 36, "{unsafe_id}");
    }
    let answer = anybody.get("/healthz").await.status(200);
    assert!(
        answer
            .header("vary")
            .contains("Authorization, X-API-Key, Cookie")
    );
}

#[tokio::test]
async fn failures_tell_no_cause() {
    let server = TestServer::start().await;
    let probe = server.probe().await;
    for (path, status, code) in [
        ("/probe/fail/internal", 500, "internal"),
        ("/probe/panic", 500, "internal"),
        ("/probe/fail/unavailable", 503, "unavailable"),
    ] {
        let answer = probe.get(path).await.problem(status, code);
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_caller_who_should_wait_is_told_how_long() {
    let server = TestServer::start().await;
    let probe = server.probe().await;
    assert_eq!(
        probe
            .get("/probe/fail/unavailable")
            .await
            .status(503)
            .header("retry-after"),
        "1"
    );
    let answer = probe
        .get("/probe/fail/throttled")
        .await
        .problem(429, "too-many-requests");
    assert_eq!(answer.header("retry-after"), "7");
    assert_eq!(answer.header("ratelimit-reset"), "7");
    assert_eq!(answer.header("ratelimit-limit"), "16");
    assert_eq!(answer.header("ratelimit-remaining"), "0");
    probe
        .get("/probe/fail/conflict")
        .await
        .problem(409, "conflict");
}

#[tokio::test]
async fn only_larger_bodies_are_compressed() {
    let server = TestServer::start().await;
    let probe = server.probe().await.header("accept-encoding", "gzip");
    let large = probe.get("/probe/large").await.status(200);
    assert_eq!(large.header("content-encoding"), "gzip");
    assert!(large.body.len() < 1000);
    assert_eq!(
        probe
            .get("/healthz")
            .await
            .status(200)
            .header("content-encoding"),
        ""
    );
}

#[tokio::test]
async fn only_named_origins_may_call_from_a_page() {
    let closed = TestServer::start().await;
    let page = closed.anonymous().header("origin", "https://dash.example");
    assert_eq!(
        page.get("/healthz")
            .await
            .status(200)
            .header("access-control-allow-origin"),
        ""
    );

    let open = TestServer::with(|settings| {
        settings.cors_origins = vec!["https://dash.example".parse().expect("an origin")];
    })
    .await;
    let page = open.anonymous().header("origin", "https://dash.example");
    let answer = page.get("/healthz").await.status(200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://dash.example"
    );
    for exposed in [
        "etag",
        "link",
        "x-request-id",
        "retry-after",
        "ratelimit-remaining",
    ] {
        assert!(
            answer
                .header("access-control-expose-headers")
                .contains(exposed),
            "{exposed}"
        );
    }
    let preflight = page
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization,x-api-key")
        .send(Method::OPTIONS, "/healthz", |request| request)
        .await
        .status(200);
    assert!(["x-api-key", "last-event-id"].iter().all(|name| {
        preflight
            .header("access-control-allow-headers")
            .contains(name)
    }));

    let stranger = open
        .anonymous()
        .header("origin", "https://elsewhere.example");
    assert_eq!(
        stranger
            .get("/healthz")
            .await
            .status(200)
            .header("access-control-allow-origin"),
        ""
    );
}
