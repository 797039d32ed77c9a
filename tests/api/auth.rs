//! Keys: how they are presented, what they open, and when they stop.

use super::support::TestServer;

#[tokio::test]
async fn a_server_is_alive_and_ready() {
    let server = TestServer::start().await;
    let anybody = server.anonymous();
    assert_eq!(
        anybody.get("/healthz").await.status(200).json()["status"],
        "ok"
    );
    assert_eq!(
        anybody.get("/readyz").await.status(200).json()["status"],
        "ready"
    );
    anybody.head("/readyz").await.status(200);
    anybody.get("/nowhere").await.problem(404, "not-found");
    let answer = anybody
        .post("/healthz", &serde_json::json!({}))
        .await
        .problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "GET,HEAD");
    let answer = anybody
        .get("/healthz?x=1")
        .await
        .problem(400, "invalid-request");
    assert_eq!(answer.faults(), ["x is no parameter here; there are none"]);
}

#[tokio::test]
async fn a_tenant_and_its_keys_can_be_made() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    acme.reader().await.get("/healthz").await.status(200);
}
