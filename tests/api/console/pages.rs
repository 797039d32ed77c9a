//! The list, the frame of all pages, and errors.

use serde_json::json;

use super::{ALL, CALL, browser, full, ingest, signed_in, slow};
use crate::support::TestServer;

#[tokio::test]
async fn pages_are_closed_to_everything_else() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    ingest(&acme, &full()).await;
    let visitor = signed_in(&server, &acme, ALL).await;
    let call = format!("/console/conversations/{CALL}");
    for path in [
        "/console",
        "/console/sign-in",
        "/console/dashboard",
        "/console/review",
        &call,
        &format!("{call}?tab=media"),
        &format!("{call}?tab=debug"),
        &format!("/traces/view/{CALL}-turn-1"),
        "/console/nowhere",
    ] {
        let page = visitor.get(path).await;
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(page.header("cache-control"), "private, no-cache");
        let html = page.text();
        for absent in [
            "<script>",
            "<style",
            " style=\"",
            " onclick",
            "//cdn",
            "https://",
        ] {
            assert!(!html.contains(absent), "{path}: {absent}");
        }
        // What a page asks for is there, and may be kept.
        for part in html.split("/console/assets/").skip(1) {
            let file = part.split('"').next().expect("a name");
            let file = visitor
                .get(&format!("/console/assets/{file}"))
                .await
                .status(200);
            assert!(file.header("cache-control").contains("immutable"));
        }
        assert!(html.len() < 60_000, "{path}: {} bytes", html.len());
    }
    visitor.get("/console/assets/console.css").await.status(404);
}

#[tokio::test]
async fn errors_are_pages_for_who_looks_at_pages() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let visitor = signed_in(&server, &acme, ALL).await;
    let missing = visitor
        .get("/console/conversations/nobody")
        .await
        .status(404);
    assert_eq!(missing.header("content-type"), "text/html; charset=utf-8");
    let id = missing.header("x-request-id");
    assert!(missing.text().contains(&id) && missing.text().contains("no such session"));
    let faulty = visitor
        .get("/console?status=odd&type=fax")
        .await
        .status(400);
    assert!(
        faulty.text().contains("must be one of"),
        "{}",
        faulty.text()
    );
    let nowhere = browser(&server).get("/console/nowhere").await;
    assert!(nowhere.status(404).text().contains("<h1>Not found</h1>"));
    // Programs are told as ever.
    let program = server.anonymous();
    program
        .get("/console")
        .await
        .problem(401, "unauthenticated");
    browser(&server)
        .get("/v1/observability/sessions")
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_list_is_what_the_address_says() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let empty = signed_in(&server, &acme, ALL).await;
    assert!(
        empty
            .get("/console")
            .await
            .status(200)
            .text()
            .contains("No conversations yet")
    );
    for (id, status, channel, hour) in [
        ("one", "completed", "inbound", 8),
        ("two", "failed", "outbound", 9),
        ("three", "missed", "web", 10),
        ("four", "active", "inbound", 11),
    ] {
        let started = format!("2025-06-11T{hour:02}:00:00Z");
        ingest(&acme, &json!({"session": {"sessionId": id, "agentId": id, "status": status, "channel": channel,
            "campaign": "spring", "tags": [id, "all"], "startedAt": started},
            "turns": [{"speaker": "user", "text": format!("word{id} common"), "startMs": 0, "endMs": 10}]}))
        .await;
    }
    let visitor = signed_in(&server, &acme, ALL).await;
    let shown = async |query: &str| -> Vec<String> {
        let html = visitor
            .get(&format!("/console{query}"))
            .await
            .status(200)
            .text();
        let cells = html.split("<tr id=").skip(1);
        let agent = |row: &str| {
            let names = ["one", "two", "three", "four"];
            names
                .iter()
                .find(|name| row.contains(&format!("<td>{name}</td>")))
                .map(|name| (*name).to_owned())
        };
        cells.filter_map(agent).collect()
    };
    assert_eq!(shown("").await, ["four", "three", "two", "one"]);
    for (query, expected) in [
        ("?status=failed", vec!["two"]),
        ("?type=inbound", vec!["four", "one"]),
        ("?type=web&status=missed&agent_key=&q=", vec!["three"]),
        ("?tag=two", vec!["two"]),
        ("?agent_key=one", vec!["one"]),
        ("?q=wordthree", vec!["three"]),
        ("?campaign=spring&status=completed", vec!["one"]),
        ("?range=last_24_hours&status=active", vec!["four"]),
        ("?from=2025-06-11T09:00&to=2025-06-11T10:00", vec!["two"]),
        ("?from=2025-06-11T10:30&range=this_month", vec!["four"]),
        ("?status=queued", vec![]),
    ] {
        assert_eq!(shown(query).await, expected, "{query}");
    }
    let html = visitor.get("/console").await.text();
    for chip in [
        "All <small>4</small>",
        "Completed <small>1</small>",
        "Missed <small>1</small>",
    ] {
        assert!(html.contains(chip), "{chip}: {html}");
    }
    let html = visitor.get("/console?status=queued").await.text();
    assert!(html.contains("No conversation fits these filters"));
}

#[tokio::test]
async fn pages_of_the_list_skip_and_repeat_nothing() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let lines: Vec<String> = (0..120)
        .map(|n| {
            let started = format!("2025-06-11T08:{:02}:00Z", n / 3);
            json!({"session": {"sessionId": format!("n{n}"), "agentId": "a&b", "startedAt": started}}).to_string()
        })
        .collect();
    let ingestor = acme
        .ingestor()
        .await
        .header("content-type", "application/x-ndjson");
    ingestor
        .post_bytes("/v1/ingest/calls", lines.join("\n"))
        .await
        .status(200);
    let visitor = signed_in(&server, &acme, "sessions:read").await;
    let mut path = "/console?agent_key=a%26b".to_owned();
    // The first page with all that it asks for, not compressed.
    let first = visitor.get("/console").await.status(200).text();
    let mut bytes = first.len();
    for part in first.split("/console/assets/").skip(1) {
        let file = part.split('"').next().expect("a name");
        let file = visitor.get(&format!("/console/assets/{file}")).await;
        bytes += file.body.len();
    }
    assert!(bytes < 100_000, "{bytes} bytes");
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = visitor.get(&path).await.status(200).text();
        pages += 1;
        seen.extend(
            page.split("<tr id=\"c-")
                .skip(1)
                .map(|row| row[..36].to_owned()),
        );
        let Some((before, _)) = page.split_once("\">Older</a>") else {
            break;
        };
        let link = before.rsplit("href=\"").next().expect("a link");
        path = link.replace("&#38;", "&").replace("&amp;", "&");
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((count, seen.len(), pages), (120, 120, 3));
}

#[tokio::test]
async fn the_list_goes_by_what_was_found_wrong() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    for n in 0..55 {
        ingest(&acme, &slow(&format!("slow{n}"), 10)).await;
    }
    ingest(
        &acme,
        &json!({"session": {"sessionId": "fine", "startedAt": "2025-06-11T11:00:00Z"}}),
    )
    .await;
    server.analysed().await;
    let visitor = signed_in(&server, &acme, "sessions:read").await;
    let rows = |html: &str| html.matches("<tr id=\"c-").count();
    let html = visitor.get("/console?issues=none").await.status(200).text();
    assert_eq!(
        (rows(&html), html.matches(">issues</span>").count()),
        (1, 0)
    );
    for choice in ["any", "high_latency"] {
        let path = format!("/console?agent_key=desk&issues={choice}");
        let html = visitor.get(&path).await.status(200).text();
        assert_eq!(
            (rows(&html), html.matches(">issues</span>").count()),
            (50, 50)
        );
        assert!(
            html.contains(&format!("<option value=\"{choice}\" selected>")),
            "{html}"
        );
        let (before, _) = html.split_once("\">Older</a>").expect("more");
        let link = before.rsplit("href=\"").next().expect("a link");
        assert!(link.contains(&format!("issues={choice}")), "{link}");
        let more = visitor.get(&link.replace("&#38;", "&")).await.status(200);
        assert_eq!(rows(&more.text()), 5, "{choice}");
    }
    let none = visitor.get("/console?issues=voicemail").await.text();
    assert!(
        none.contains("No conversation fits these filters"),
        "{none}"
    );
    let odd = visitor.get("/console?issues=odd").await.status(400);
    assert!(
        odd.text()
            .contains("must be `any`, `none` or a type of issue")
    );
    // The queue of reviews goes by the same.
    let queue = visitor.get("/console/review?issues=none").await.status(200);
    assert!(!queue.text().contains("<b>desk</b>"));
}
