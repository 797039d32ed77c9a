//! A database that goes away: the server stays up and recovers by itself.

use std::time::{Duration, Instant};

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
