//! Who is signed in, for how long, and what a cookie is good for.

use chrono::TimeDelta;
use serde_json::json;
use voxray::store::api_keys;

use super::{ALL, CALL, browser, cookie, full, ingest, signed_in, submit};
use crate::support::TestServer;

#[tokio::test]
async fn a_key_opens_a_session_and_the_session_ends_with_sign_out() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let key = acme.key(ALL).await;
    for home in ["/", "/console/"] {
        let home = browser(&server).get(home).await.status(303);
        assert_eq!(home.header("location"), "/console");
    }
    let page = browser(&server).get("/console/sign-in").await.status(200);
    assert!(page.text().contains("name=\"key\""));
    let next = "/console/dashboard?period=7d";
    let fields = [("key", key.as_str()), ("next", next)];
    let answer = submit(&browser(&server), "/console/sign-in", &fields).await;
    let answer = answer.status(303);
    assert_eq!(answer.header("location"), next);
    let set = answer.header("set-cookie");
    for part in [
        "; Path=/",
        "; HttpOnly",
        "; SameSite=Strict",
        "; Max-Age=43200",
    ] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Secure") && !set.contains(&key), "{set}");
    let visitor = browser(&server).header("cookie", &cookie(&answer));
    let list = visitor.get("/console").await.status(200).text();
    assert!(list.contains("Sign out") && !list.contains(&key));
    // The API too: the console's scripts ask it.
    visitor.get("/api/v1/conversations").await.status(200);

    let out = submit(&visitor, "/console/sign-out", &[]).await.status(303);
    assert_eq!(out.header("location"), "/console/sign-in");
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    let gone = visitor.get("/console?status=failed").await.status(303);
    let to = "/console/sign-in?next=%2Fconsole%3Fstatus%3Dfailed";
    assert_eq!(gone.header("location"), to);
}

#[tokio::test]
async fn behind_tls_the_cookie_is_for_tls_alone() {
    let server = TestServer::start().await;
    let key = server.tenant("acme").await.key(ALL).await;
    let behind = browser(&server).header("x-forwarded-proto", "https");
    let answer = submit(&behind, "/console/sign-in", &[("key", &key)]).await;
    assert!(
        answer
            .status(303)
            .header("set-cookie")
            .ends_with("; Secure")
    );
}

#[tokio::test]
async fn no_session_is_had_without_a_key_that_reads() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let expired = acme
        .key_until(ALL, Some(server.clock.now() - TimeDelta::hours(1)))
        .await;
    for (key, complaint) in [
        ("", "no API key"),
        ("vxr_nonsense", "no API key"),
        (expired.as_str(), "expired or revoked"),
        (
            &acme.key("ingest:write,admin").await,
            "lacks the scope sessions:read",
        ),
    ] {
        let answer = submit(&browser(&server), "/console/sign-in", &[("key", key)]).await;
        let answer = answer.status(401);
        assert_eq!(answer.header("set-cookie"), "");
        assert!(
            answer.text().contains(complaint),
            "{key}: {}",
            answer.text()
        );
    }
    let json = json!({ "key": acme.key(ALL).await });
    let answer = browser(&server).post("/console/sign-in", &json).await;
    answer.status(415);
}

#[tokio::test]
async fn one_is_led_to_own_pages_only() {
    let server = TestServer::start().await;
    let key = server.tenant("acme").await.key(ALL).await;
    for next in [
        "//evil.example",
        "https://evil.example/console",
        "/\\evil.example",
        "/v1/x",
    ] {
        let fields = [("key", key.as_str()), ("next", next)];
        let answer = submit(&browser(&server), "/console/sign-in", &fields).await;
        assert_eq!(answer.status(303).header("location"), "/console", "{next}");
    }
}

#[tokio::test]
async fn a_session_ends_with_its_key_or_by_itself() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let key = acme.key(ALL).await;
    let answer = submit(&browser(&server), "/console/sign-in", &[("key", &key)]).await;
    let visitor = browser(&server).header("cookie", &cookie(&answer));
    visitor.get("/console").await.status(200);
    let id = key.split('_').nth(1).expect("a public id");
    let store = &server.app.store;
    api_keys::revoke(store, id, server.clock.now())
        .await
        .expect("a key to revoke");
    // Another process remembers nothing of it.
    let beside = server.beside().await;
    let there = browser(&beside).header("cookie", &cookie(&answer));
    there.get("/console").await.status(303);

    let visitor = signed_in(&server, &acme, ALL).await;
    visitor.get("/console").await.status(200);
    server.clock.advance(TimeDelta::hours(12));
    visitor.get("/console").await.status(303);
}

#[tokio::test]
async fn what_others_pages_send_is_refused() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    ingest(&acme, &full()).await;
    let key = acme.key(ALL).await;
    let answer = submit(&browser(&server), "/console/sign-in", &[("key", &key)]).await;
    let cookie = cookie(&answer);
    let path = format!("/console/conversations/{CALL}/evaluations");
    let fields = [("verdict", "pass")];
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("x-nothing", "said"),
    ] {
        let other = server
            .anonymous()
            .header("cookie", &cookie)
            .header(name, value);
        let refused = submit(&other, &path, &fields).await;
        refused.problem(403, "cross-origin");
        let json = json!({ "verdict": "pass" });
        let api = format!("/api/v1/voice-sessions/{CALL}/evaluations");
        other.post(&api, &json).await.problem(403, "cross-origin");
        let stranger = server.anonymous().header(name, value);
        submit(&stranger, "/console/sign-in", &[("key", &key)])
            .await
            .problem(403, "cross-origin");
        // Looking is harmless: what is seen stays with the page that asked, which is ours.
        other.get("/console").await.status(200);
    }
    let own = server.anonymous().header("cookie", &cookie);
    let own = own.header("sec-fetch-site", "same-origin");
    submit(&own, &path, &fields).await.status(303);
    // A socket is opened by whoever likes to: browsers do not ask.
    let socket = server
        .anonymous()
        .header("cookie", &cookie)
        .header("origin", "https://evil.example");
    let socket = socket
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    socket.get("/ws/calls").await.problem(403, "cross-origin");
}

#[tokio::test]
async fn a_session_has_the_rights_of_its_key_and_no_others() {
    let server = TestServer::start().await;
    let (acme, other) = (server.tenant("acme").await, server.tenant("other").await);
    ingest(&acme, &full()).await;
    let reader = signed_in(&server, &acme, "sessions:read").await;
    let path = format!("/console/conversations/{CALL}/evaluations");
    let refused = submit(&reader, &path, &[("verdict", "pass")])
        .await
        .status(403);
    assert!(refused.text().contains("reviews:write"));
    reader.get("/console?q=table").await.status(403);
    let stranger = signed_in(&server, &other, ALL).await;
    let missing = stranger
        .get(&format!("/console/conversations/{CALL}"))
        .await;
    assert!(missing.status(404).text().contains("no such session"));
    // A key in the request is what counts, whatever the cookie says.
    let both = stranger.bearer(&acme.key(ALL).await);
    both.get(&format!("/console/conversations/{CALL}"))
        .await
        .status(200);
}

#[tokio::test]
async fn a_trace_is_opened_after_signing_in() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    ingest(&acme, &full()).await;
    let path = format!("/traces/view/{CALL}-turn-1");
    let led = browser(&server).get(&path).await.status(303);
    let next = format!("/console/sign-in?next=%2Ftraces%2Fview%2F{CALL}-turn-1");
    assert_eq!(led.header("location"), next);
    let html = browser(&server).get(&next).await.status(200).text();
    assert!(
        html.contains(&format!("name=\"next\" value=\"{path}\"")),
        "{html}"
    );
    let visitor = signed_in(&server, &acme, ALL).await;
    visitor.get(&path).await.status(200);
}

#[tokio::test]
async fn streams_end_with_the_session_that_opened_them() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let visitor = signed_in(&server, &acme, ALL).await;
    let mut stream = visitor.streamed("/api/v1/sse/calls/stream").await;
    assert_eq!(stream.status(), 200);
    let first = stream.chunk().await.expect("a message").expect("more");
    assert!(String::from_utf8_lossy(&first).contains("connected"));
    submit(&visitor, "/console/sign-out", &[]).await.status(303);
    let rest = async {
        let mut text = String::new();
        while let Some(chunk) = stream.chunk().await.expect("a message") {
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        text
    };
    let limit = std::time::Duration::from_secs(5);
    let rest = tokio::time::timeout(limit, rest)
        .await
        .expect("an end within 5 s");
    assert!(rest.contains("key_ended"), "{rest}");
}
