//! Judging calls one after the other.

use serde_json::json;

use super::{ALL, CALL, full, ingest, signed_in, submit};
use crate::support::{Client, TestServer};

async fn queue(client: &Client, query: &str) -> (String, Vec<String>) {
    let html = client
        .get(&format!("/console/review{query}"))
        .await
        .status(200)
        .text();
    let queue = html
        .split("aria-label=\"Queue\"")
        .nth(1)
        .unwrap_or_default();
    let queue = queue.split("</nav>").next().unwrap_or_default();
    let links = queue.split("href=\"").skip(1);
    let ids =
        links.filter_map(|link| Some(link.split("id=").nth(1)?.split('"').next()?.to_owned()));
    let ids = ids.collect();
    (html, ids)
}

#[tokio::test]
async fn what_was_judged_leaves_the_queue() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let visitor = signed_in(&server, &acme, ALL).await;
    let (html, _) = queue(&visitor, "").await;
    assert!(html.contains("Nothing is left to review here"));
    ingest(&acme, &full()).await;
    let newer = "01890a5d-7c3e-7b9a-8c1d-2e3f40516274";
    let call = json!({"session": {"sessionId": newer, "startedAt": "2025-06-11T11:00:00Z", "status": "failed"},
        "turns": [{"speaker": "agent", "text": "Hello", "startMs": 0, "endMs": 900}]});
    ingest(&acme, &call).await;
    let (html, ids) = queue(&visitor, "").await;
    assert_eq!(ids, [newer, CALL]);
    assert!(html.contains("id=\"next\"") && !html.contains("id=\"previous\""));
    let (html, _) = queue(&visitor, &format!("?id={CALL}")).await;
    assert!(html.contains("id=\"previous\"") && !html.contains("id=\"next\""));

    let here = format!("/console/review?id={newer}");
    let fields = [
        ("verdict", "fail"),
        ("score", "0.25"),
        ("labels", "rude, slow"),
        ("notes", "Too\r\nslow"),
        ("turn", "0"),
        ("reviewer", "Ana"),
        ("next", &here),
    ];
    let path = format!("/console/conversations/{newer}/evaluations");
    let answer = submit(&visitor, &path, &fields).await.status(303);
    assert_eq!(answer.header("location"), here);
    let written = visitor
        .get(&format!("/api/v1/voice-sessions/{newer}/evaluations"))
        .await
        .json();
    let one = &written["data"][0];
    assert_eq!(
        (
            &one["verdict"],
            &one["score"],
            &one["labels"],
            &one["notes"],
            &one["turn"],
            &one["reviewer"]
        ),
        (
            &json!("fail"),
            &json!(0.25),
            &json!(["rude", "slow"]),
            &json!("Too\nslow"),
            &json!(0),
            &json!("Ana")
        )
    );
    // Still open, since one is there; the next one is after it.
    let (html, ids) = queue(&visitor, &format!("?id={newer}")).await;
    assert_eq!(ids, [CALL]);
    assert!(html.contains("Ana") && html.contains("id=\"next\""));
    assert_eq!(queue(&visitor, "?reviewed=yes").await.1, [newer]);
    assert_eq!(queue(&visitor, "?reviewed=any").await.1, [newer, CALL]);
    assert_eq!(
        queue(&visitor, "?reviewed=any&status=completed&tag=vip")
            .await
            .1,
        [CALL]
    );
}

#[tokio::test]
async fn tags_and_summary_are_changed_by_forms() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    ingest(&acme, &full()).await;
    let visitor = signed_in(&server, &acme, ALL).await;
    let path = format!("/console/conversations/{CALL}/edit");
    submit(
        &visitor,
        &path,
        &[("fields", "tags"), ("tags", "late, , vip")],
    )
    .await
    .status(303);
    let call = visitor
        .get(&format!("/api/v1/conversations/{CALL}"))
        .await
        .json();
    assert_eq!(
        (&call["tags"], &call["summary"]),
        (&json!(["late", "vip"]), &json!("Booked <i>two</i> seats."))
    );
    submit(
        &visitor,
        &path,
        &[("fields", "summary tags"), ("summary", ""), ("tags", "")],
    )
    .await
    .status(303);
    let call = visitor
        .get(&format!("/api/v1/conversations/{CALL}"))
        .await
        .json();
    assert_eq!(
        (&call["tags"], &call["summary"]),
        (&json!([]), &json!(null))
    );

    let path = format!("/console/conversations/{CALL}/evaluations");
    for fields in [
        &[("score", "2")][..],
        &[("score", "x")],
        &[("verdict", "odd")],
        &[("turn", "-1")],
        &[],
    ] {
        let refused = submit(&visitor, &path, fields).await.status(422);
        assert!(
            refused.text().contains("must "),
            "{fields:?}: {}",
            refused.text()
        );
    }
    submit(
        &visitor,
        "/console/conversations/nobody/edit",
        &[("fields", "tags")],
    )
    .await
    .status(404);
}
