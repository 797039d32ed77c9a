//! A database that goes away: the server stays up and recovers by itself.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::{Body, Method};
use serde_json::json;
use sqlx::Connection;
use voxray::config::Settings;

use super::support::TestServer;

#[tokio::test]
async fn without_its_store_the_server_asks_to_come_back_and_then_recovers() {
    let (server, proxy) = TestServer::behind_proxy().await;
    let key = server.tenant("acme").await.key("sessions:read").await;
    let client = server.probe().await.bearer(&key);
    client.get("/readyz").await.status(200);

    proxy.go_away();
    client.get("/healthz").await.status(200);
    for path in ["/readyz", "/probe/reader"] {
        let answer = client.get(path).await.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1");
        assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    }

    proxy.come_back();
    let since = Instant::now();
    while client.get("/probe/reader").await.status != 200 {
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "the server does not recover"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.get("/readyz").await.status(200);
}

#[tokio::test]
async fn with_a_store_that_hangs_the_server_is_not_ready() {
    let (server, proxy) = TestServer::behind_proxy().await;
    let anybody = server.anonymous();
    anybody.get("/readyz").await.status(200);

    proxy.hang();
    // Again and again, since each leaves a connection behind that hangs.
    for _ in 0..3 {
        let since = Instant::now();
        let answer = anybody.get("/readyz").await.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1");
        assert!(since.elapsed() < Duration::from_secs(5));
    }
    anybody.get("/healthz").await.status(200);

    proxy.go_on();
    let since = Instant::now();
    while anybody.get("/readyz").await.status != 200 {
        assert!(since.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn connections_that_are_lost_without_a_word_are_given_up() {
    let hasty = |settings: &mut Settings| settings.request_timeout = Duration::from_millis(500);
    let (server, proxy) = TestServer::behind_proxy_with(hasty).await;
    let acme = server.tenant("acme").await;
    let (reader, ingestor) = (acme.reader().await, acme.ingestor().await);
    let fresh = reader.header("cache-control", "no-cache");
    let summary = "/api/v1/analytics/summary";
    let asked = || futures_util::future::join_all((0..10).map(|_| fresh.get(summary)));
    let told = async |at: &str| {
        let turn = json!({"type": "turn", "id": at, "sessionId": "one", "at": at, "index": 0, "speaker": "user"});
        ingestor.post("/v1/ingest/events", &turn).await.status
    };
    asked().await;
    assert_eq!(told("2025-06-11T10:00:00Z").await, 200);

    proxy.lose();
    assert!(asked().await.iter().any(|answer| answer.status == 503));
    assert_eq!(told("2025-06-11T10:00:01Z").await, 503);
    let since = Instant::now();
    while asked().await.iter().any(|answer| answer.status != 200) {
        assert!(since.elapsed() < Duration::from_secs(90), "never given up");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    while told("2025-06-11T10:00:02Z").await != 200 {
        assert!(since.elapsed() < Duration::from_secs(150), "not written");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    tokio::time::timeout(Duration::from_secs(30), server.app.store.close())
        .await
        .expect("an end");
}

#[tokio::test]
async fn connections_that_died_idle_cost_nobody_an_answer() {
    let server = TestServer::start().await;
    let anybody = server.anonymous();
    // Several connections, so that the retry might meet another dead one.
    futures_util::future::join_all((0..20).map(|_| anybody.get("/readyz"))).await;

    let mut admin = server.connect().await;
    let killed = sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .execute(&mut admin)
    .await
    .expect("killed");
    assert!(killed.rows_affected() > 0);
    for _ in 0..10 {
        anybody.get("/readyz").await.status(200);
    }
}

#[tokio::test]
async fn a_store_that_hangs_before_the_body_is_read_is_no_fault_of_the_body() {
    let server =
        TestServer::with(|settings| settings.request_timeout = Duration::from_millis(500)).await;
    let acme = server.tenant("acme").await;
    let manager = acme.client("admin").await;
    let wish =
        json!({"vendor": "twilio", "name": "main", "secret": "x".repeat(32), "settings": {}});
    let made = manager.post("/v1/admin/webhooks", &wish).await.status(201);
    let webhook = made.json()["path"].as_str().expect("a path").to_owned();
    // Nobody has asked with it yet, so that it is looked up.
    let ingestor = acme.ingestor().await;

    let mut admin = server.connect().await;
    let mut hold = admin.begin().await.expect("a transaction");
    sqlx::query("lock table api_keys, webhook_endpoints in access exclusive mode")
        .execute(&mut *hold)
        .await
        .expect("locked");

    let spans = json!({"resourceSpans": []});
    let answer = ingestor.post("/v1/traces", &spans).await.status(503);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json()["code"], 14, "{}", answer.text());
    // Nor does it matter whether the body would have come.
    let first = futures_util::stream::once(async { Ok::<_, std::io::Error>("CallSid=CA1") });
    let endless = first.chain(futures_util::stream::pending());
    let form = server
        .anonymous()
        .header("content-type", "application/x-www-form-urlencoded");
    for body in [Body::from("CallSid=CA1"), Body::wrap_stream(endless)] {
        let answer = form.post_bytes(&webhook, body).await;
        let answer = answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    hold.rollback().await.expect("unlocked");
}

/// A body of which the rest comes once it is let.
fn in_two(body: &[u8]) -> (tokio::sync::oneshot::Sender<()>, Body) {
    let (first, rest) = body.split_at(body.len() / 2);
    let (first, rest) = (first.to_vec(), rest.to_vec());
    let (let_on, may_go_on) = tokio::sync::oneshot::channel::<()>();
    let first = futures_util::stream::once(async { Ok::<_, std::io::Error>(first) });
    let rest = futures_util::stream::once(async move {
        may_go_on.await.expect("word");
        Ok(rest)
    });
    (let_on, Body::wrap_stream(first.chain(rest)))
}

#[tokio::test]
async fn audio_may_take_long_to_arrive_and_the_store_may_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let limit = Duration::from_millis(800);
    let server = TestServer::with(|settings| {
        settings.request_timeout = limit;
        settings.data_dir = folder.path().to_owned();
    });
    let server = server.await;
    let acme = server.tenant("acme").await;
    let client = acme.client("ingest:write").await;
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/recordings/auto-repairs-40-first10s.wav"
    );
    let audio = std::fs::read(path).expect("audio");
    let put = async |n: u32, body: Body| {
        let path = format!("/v1/recordings/CA{n:032}");
        let sent = client.send(Method::PUT, &path, |request| request.body(body));
        sent.await
    };
    let (let_on, body) = in_two(&audio);
    let slow = async {
        tokio::time::sleep(limit * 2).await;
        let_on.send(()).expect("somebody waits");
    };
    let (answer, ()) = futures_util::join!(put(1, body), slow);
    answer.status(200);

    let mut admin = server.connect().await;
    let mut hold = admin.begin().await.expect("a transaction");
    let lock = "lock table sessions, recordings in access exclusive mode";
    sqlx::query(lock).execute(&mut *hold).await.expect("locked");
    // Whose it is cannot be found out.
    let (_let_on, body) = in_two(&audio);
    let answer = put(2, body).await.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    hold.rollback().await.expect("unlocked");

    // It cannot be kept.
    let (let_on, body) = in_two(&audio);
    let held = async {
        tokio::time::sleep(limit / 2).await;
        let mut hold = admin.begin().await.expect("a transaction");
        sqlx::query(lock).execute(&mut *hold).await.expect("locked");
        let_on.send(()).expect("somebody waits");
        hold
    };
    let since = Instant::now();
    let (answer, hold) = futures_util::join!(put(3, body), held);
    let answer = answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(since.elapsed() < limit * 8, "{:?}", since.elapsed());
    hold.rollback().await.expect("unlocked");
    put(3, Body::from(audio)).await.status(200);
}
