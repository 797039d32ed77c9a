//! The dashboard tells what the analytics tell.

use serde_json::json;

use super::{ALL, full, ingest, signed_in, slow};
use crate::support::TestServer;

#[tokio::test]
async fn the_dashboard_tells_what_the_analytics_tell() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    ingest(&acme, &full()).await;
    ingest(&acme, &json!({"session": {"sessionId": "x", "status": "failed", "channel": "web", "startedAt": "2025-06-11T11:30:00Z",
        "endedAt": "2025-06-11T11:31:00Z"}}))
    .await;
    let visitor = signed_in(&server, &acme, ALL).await;
    let html = visitor.get("/console/dashboard").await.status(200).text();
    let summary = visitor.get("/api/v1/analytics/summary").await.json();
    assert_eq!(summary["total_calls"], 2);
    let p95 = summary["p95_turn_latency_ms"].as_f64().expect("a number");
    // Near the 1,000 ms that were measured, with a separator or not.
    let p95 = match p95.round() as i64 {
        ms @ 990..1_000 => format!("{ms} ms"),
        ms @ 1_000..=1_010 => format!("1,0{:02} ms", ms - 1_000),
        ms => panic!("{ms} ms"),
    };
    for present in [
        "<dt>Calls</dt><dd>2</dd>",
        "<dt>Success rate</dt><dd>50.0 %</dd>",
        &format!("<dt>Answer after, p95</dt><dd>{p95}</dd>"),
        "<dt>Cost</dt><dd>$0.18</dd>",
        "2025-06-11 10:00: 1 calls, 1 completed, 0 failed",
        "2025-06-11 11:00: 1 calls, 0 completed, 1 failed",
        "Table booking",
        "tts warning",
        "data-every=\"30\"",
        "data-every=\"10\"",
    ] {
        assert!(html.contains(present), "{present}: {html}");
    }
    let web = visitor
        .get("/console/dashboard?channel=web&period=1h")
        .await
        .text();
    assert!(web.contains("<dt>Calls</dt><dd>1</dd>") && !web.contains("Table booking"));
    let none = visitor
        .get("/console/dashboard?agent_key=nobody")
        .await
        .text();
    assert!(none.contains("No call started in this period."));
}

#[tokio::test]
async fn a_part_of_the_dashboard_is_told_alone() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    ingest(&acme, &full()).await;
    let visitor = signed_in(&server, &acme, ALL).await;
    for part in [
        "summary",
        "active",
        "volume",
        "causes",
        "interruptions",
        "providers",
        "workflows",
        "errors",
    ] {
        let path = format!("/console/dashboard?part={part}&period=30d");
        let html = visitor.get(&path).await.status(200).text();
        let ids: Vec<&str> = html.split("data-every").collect();
        let more = if part == "summary" { 3 } else { 2 };
        assert_eq!(ids.len(), more, "{part}: {html}");
        assert!(
            html.contains(&format!("id=\"{part}\"")) && !html.contains("<html"),
            "{html}"
        );
    }
    visitor.get("/console/dashboard?part=all").await.status(400);
}

#[tokio::test]
async fn root_causes_and_interruptions_are_told_as_by_the_api() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    ingest(&acme, &slow("one", 11)).await;
    ingest(&acme, &slow("two", 10)).await;
    server.analysed().await;
    let visitor = signed_in(&server, &acme, "sessions:read").await;
    let path = "/console/dashboard?period=24h&agent_key=desk";
    let html = visitor.get(path).await.status(200).text();
    let causes = visitor.get("/api/v1/analytics/root-causes").await.json();
    let lost = causes["seconds_lost"].as_f64().expect("a number");
    assert!(lost > 1.0, "{causes}");
    let types = causes["by_type"].as_array().expect("a list");
    let high = types.iter().find(|one| one["type"] == "high_latency");
    let high = &high.expect("a slow turn");
    assert_eq!(high["calls"], 2);
    let of_type = high["seconds_lost"].as_f64().expect("a number");
    for present in [
        format!("{lost:.1} s lost in 2 of 2 analysed calls"),
        format!("<td class=\"number\">{of_type:.1} s</td><td class=\"number\">2</td>"),
        "agent_key=desk&#38;issues=high_latency\">High latency</a>".to_owned(),
        "<td>TTS</td>".to_owned(),
        "not enough data: 2 of ".to_owned(),
        "Silent after, p95</td><td class=\"number\">200 ms</td>".to_owned(),
    ] {
        assert!(html.contains(&present), "{present}: {html}");
    }
    assert!(!html.contains("do not narrow it"), "{html}");
    // The link leads to the calls.
    let (before, _) = html.split_once("\">High latency</a>").expect("a link");
    let link = before.rsplit("href=\"").next().expect("an address");
    let list = visitor.get(&link.replace("&#38;", "&")).await.status(200);
    assert_eq!(list.text().matches("<tr id=\"c-").count(), 2);
    // What these numbers cannot be narrowed by, is told; what was not, is not there.
    let web = "/console/dashboard?period=24h&channel=web";
    let web = visitor.get(web).await.status(200).text();
    assert!(web.contains("do not narrow it"), "{web}");
    assert!(web.contains("Nothing was found in the calls of this period."));
    let hour = visitor.get("/console/dashboard?period=1h").await.text();
    assert!(hour.contains("lost in 1 of 1 analysed calls"), "{hour}");
    let nobody = "/console/dashboard?agent_key=nobody";
    let nobody = visitor.get(nobody).await.text();
    assert!(nobody.contains("Nobody talked over the other"), "{nobody}");
}
