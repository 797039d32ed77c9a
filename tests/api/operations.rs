//! Health, the contract, the API reference, metrics.

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use voxray::app::App;
use voxray::config::Settings;
use voxray::store::{Store, parse_url};
use voxray::telemetry;

use super::support::{Client, TestServer};

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
    assert!(anybody.head("/readyz").await.status(200).body.is_empty());
}

#[tokio::test]
async fn a_server_without_its_schema_is_alive_but_not_ready() {
    let server = TestServer::start().await;
    let store = Store::connect(parse_url(&server.database_url()).expect("a URL"), 1);
    let app = App::new(store.clone(), server.clock.clone(), Settings::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let anybody = Client::new(&format!(
        "http://{}",
        listener.local_addr().expect("an address")
    ));
    tokio::spawn(axum::serve(listener, voxray::app::router(app)).into_future());

    anybody.get("/healthz").await.status(200);
    anybody.get("/readyz").await.problem(503, "unavailable");
    let answer = anybody.get("/docs").await.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    store.migrate().await.expect("migrated");
    anybody.get("/readyz").await.status(200);
}

#[tokio::test]
async fn the_contract_is_the_same_in_both_forms() {
    let server = TestServer::start().await;
    let anybody = server.anonymous();
    let yaml = anybody.get("/openapi.yaml").await.status(200);
    assert_eq!(yaml.header("content-type"), "application/yaml");
    let json = anybody.get("/openapi.json").await.status(200);
    assert_eq!(json.header("content-type"), "application/json");
    let from_yaml: Value = serde_saphyr::from_str(&yaml.text()).expect("YAML");
    assert_eq!(json.json(), from_yaml);
    assert!(from_yaml["paths"]["/healthz"].is_object());
}

#[tokio::test]
async fn the_reference_needs_nothing_from_elsewhere() {
    let server = TestServer::start().await;
    let anybody = server.anonymous();
    let page = anybody.get("/docs").await.status(200);
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'none'; script-src 'self'")
    );
    let html = page.text();
    assert!(!html.contains("://"), "{html}");
    let links: Vec<_> = html
        .split("\"/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(links.len(), 6);
    for link in links {
        let answer = anybody.get(&format!("/{link}")).await.status(200);
        assert!(
            !answer.body.is_empty() && !answer.header("content-type").is_empty(),
            "{link}"
        );
    }
    let start = anybody
        .get("/docs/swagger-initializer.js")
        .await
        .status(200)
        .text();
    assert!(
        start.contains("/openapi.json") && start.contains(r#""validatorUrl": "none""#),
        "{start}"
    );
    anybody.get("/docs/../Cargo.toml").await.status(404);
    anybody
        .get("/docs/no-such-file")
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn metrics_have_a_listener_of_their_own() {
    let handle = telemetry::collect().expect("metrics");
    let server = TestServer::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let stop = CancellationToken::new();
    tokio::spawn(telemetry::serve_metrics(listener, handle, stop.clone()));

    server.anonymous().get("/readyz").await.status(200);
    server
        .anonymous()
        .get("/metrics")
        .await
        .problem(404, "not-found");
    // What was not taken is counted, too.
    let ingestor = server.tenant("acme").await.ingestor().await;
    let span = json!({"traceId": "abcd", "spanId": "ab", "name": "bad"});
    let spans = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
    ingestor.post("/v1/traces", &spans).await.status(200);
    let point = json!({"timeUnixNano": "1749636000000000000", "asInt": "42"});
    let points = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "a", "gauge": {"dataPoints": [point]}}]}]}]});
    ingestor.post("/v1/metrics", &points).await.status(200);
    let large = "x".repeat(11 << 20);
    ingestor.post("/v1/traces", &json!(large)).await.status(413);
    let text = reqwest::get(format!("{base}/metrics"))
        .await
        .expect("an answer")
        .text()
        .await
        .expect("a text");
    for line in [
        r#"voxray_http_requests_total{route="/readyz",method="GET",status="200"}"#,
        r#"voxray_http_request_duration_seconds_bucket{route="/readyz",method="GET",le="1"}"#,
        r#"voxray_http_requests_total{route="unmatched",method="GET",status="404"}"#,
        "voxray_http_requests_in_flight",
        r#"voxray_store_connections{pool="oltp"}"#,
        r#"voxray_ingest_items_total{outcome="rejected"}"#,
        r#"voxray_otlp_unused_total{signal="metrics"}"#,
        r#"voxray_http_requests_total{route="/v1/traces",method="POST",status="413"}"#,
    ] {
        assert!(text.contains(line), "no {line} in:\n{text}");
    }
    assert!(!text.contains("tenant"));
    stop.cancel();
}
