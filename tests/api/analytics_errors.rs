//! The list of errors: which, in what order, how many, and what is told to whom.

use serde_json::{Value, json};

use crate::support::{Client, TestServer};

fn error(id: &str, at: &str, service: &str, level: &str) -> Value {
    json!({"id": id, "at": format!("2025-06-11T{at}Z"), "service": service, "level": level, "code": format!("code-{id}"),
        "message": format!("said {id}"), "details": {"why": id}})
}

fn call(id: &str, started_at: &str, agent: &str, errors: &[Value]) -> Value {
    json!({"session": {"sessionId": id, "startedAt": format!("2025-06-11T{started_at}Z"), "status": "failed", "agentId": agent,
        "channel": "web", "campaign": "june", "workflow": {"slug": "booking"}}, "errors": errors})
}

async fn list(client: &Client, query: &str) -> Value {
    let path = format!("/api/v1/analytics/errors{query}");
    client
        .header("cache-control", "no-cache")
        .get(&path)
        .await
        .status(200)
        .json()
}

/// The codes, in order, and the total.
fn codes(answer: &Value) -> (Vec<&str>, i64) {
    let items = answer["items"].as_array().expect("items");
    let codes = items
        .iter()
        .map(|item| item["code"].as_str().expect("a code"));
    (codes.collect(), answer["total"].as_i64().expect("a total"))
}

async fn two_calls(server: &TestServer) -> crate::support::Tenant<'_> {
    let acme = server.tenant("acme").await;
    let calls = [
        call(
            "one",
            "08:00:00",
            "first",
            &[
                error("b", "08:02:00", "llm", "warning"),
                error("a", "08:02:00", "stt", "error"),
                error("c", "08:01:00", "llm", "error"),
            ],
        ),
        call(
            "two",
            "09:00:00",
            "second",
            &[error("d", "07:00:00", "tool", "error")],
        ),
    ];
    let ingestor = acme.ingestor().await;
    let body = json!({ "calls": calls });
    ingestor.post("/v1/ingest/calls", &body).await.status(200);
    acme
}

#[tokio::test]
async fn errors_are_listed_newest_first_and_counted() {
    let server = TestServer::start().await;
    let acme = two_calls(&server).await;
    let reader = acme.transcripts().await;
    let all = list(&reader, "").await;
    assert_eq!(
        codes(&all),
        (vec!["code-b", "code-a", "code-c", "code-d"], 4)
    );
    let first = &all["items"][0];
    let id = first["call_id"].as_str().expect("an id");
    assert_eq!(
        *first,
        json!({"id": format!("{id}-2"), "call_id": id, "timestamp": "2025-06-11T08:02:00Z", "service": "llm", "level": "warning",
            "code": "code-b", "message": "said b", "details": {"why": "b"}, "agent": "first"})
    );
    assert_eq!(all["items"][2]["id"], format!("{id}-0"));
    for (query, expected, total) in [
        ("?service=llm", vec!["code-b", "code-c"], 2),
        ("?level=error", vec!["code-a", "code-c", "code-d"], 3),
        ("?service=llm&level=error", vec!["code-c"], 1),
        ("?agent_key=second", vec!["code-d"], 1),
        (
            "?workflow=booking&channel=web&campaign=june&service=tool",
            vec!["code-d"],
            1,
        ),
        ("?campaign=july", vec![], 0),
        // The range is on the call's start, not on the error's time.
        ("?started_after=2025-06-11T08:30:00Z", vec!["code-d"], 1),
        (
            "?started_before=2025-06-11T09:00:00Z",
            vec!["code-b", "code-a", "code-c"],
            3,
        ),
        ("?limit=2&offset=1", vec!["code-a", "code-c"], 4),
        ("?offset=100000", vec![], 4),
        ("?period=1h", vec![], 0),
    ] {
        assert_eq!(
            codes(&list(&reader, query).await),
            (expected, total),
            "{query}"
        );
    }
}

#[tokio::test]
async fn the_link_leads_from_page_to_page() {
    let server = TestServer::start().await;
    let acme = two_calls(&server).await;
    let reader = acme.transcripts().await;
    let mut path = "/api/v1/analytics/errors?level=error&limit=2".to_owned();
    let mut seen = Vec::new();
    loop {
        // The second time from memory.
        reader.get(&path).await.status(200);
        let page = reader.get(&path).await.status(200);
        let json = page.json();
        seen.extend(codes(&json).0.into_iter().map(str::to_owned));
        let link = page.header("link");
        let Some(next) = link
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
        else {
            assert_eq!(link, "");
            break;
        };
        path = next.to_owned();
    }
    assert_eq!(seen, ["code-a", "code-c", "code-d"]);
}

#[tokio::test]
async fn what_was_said_is_told_only_to_those_who_may_know() {
    let server = TestServer::start().await;
    let acme = two_calls(&server).await;
    let (transcripts, reader) = (acme.transcripts().await, acme.reader().await);
    let path = "/api/v1/analytics/errors";
    // In this order: the answer in memory is not one for everybody.
    let whole = transcripts.get(path).await.status(200);
    let withheld = reader.get(path).await.status(200);
    assert_eq!(whole.json()["items"][0]["message"], "said b");
    assert!(whole.json()["content_withheld"].is_null());
    let json = withheld.json();
    assert_eq!(json["content_withheld"], true);
    assert_eq!(json["items"][0]["message"], "code-b");
    assert!(json["items"][0]["details"].is_null());
    assert!(!withheld.text().contains("said"), "{}", withheld.text());
    // Nor does the tag of the one answer stand for the other.
    let known = reader.header("if-none-match", &whole.header("etag"));
    known.get(path).await.status(200);
    let known = reader.header("if-none-match", &withheld.header("etag"));
    assert!(known.get(path).await.status(304).body.is_empty());
}

#[tokio::test]
async fn errors_follow_their_call_when_its_start_moves() {
    let server = TestServer::start().await;
    let acme = two_calls(&server).await;
    let (ingestor, reader) = (acme.ingestor().await, acme.reader().await);
    let noon = "?started_after=2025-06-11T10:00:00Z";
    assert_eq!(list(&reader, noon).await["total"], 0);
    // Told about the session alone: no error is written again.
    let moved = json!({"type": "session", "sessionId": "one", "id": "moved", "at": "2025-06-11T12:00:30Z", "startedAt": "2025-06-11T11:00:00Z"});
    let body = json!({"events": [moved]});
    ingestor.post("/v1/ingest/events", &body).await.status(200);
    assert_eq!(
        codes(&list(&reader, noon).await),
        (vec!["code-b", "code-a", "code-c"], 3)
    );
}

#[tokio::test]
async fn another_tenants_errors_are_not_there_and_wrong_filters_are_told() {
    let server = TestServer::start().await;
    two_calls(&server).await;
    let reader = server.tenant("other").await.transcripts().await;
    assert_eq!(list(&reader, "").await, json!({"items": [], "total": 0}));
    for (query, fault) in [
        ("?service=asr", "service must be one of"),
        ("?level=fatal", "level must be one of"),
        ("?limit=201", "limit must be between"),
        (
            "?offset=100001",
            "offset must be between 0 and 100000, got `100001`: narrow the filters, or ask for a shorter range",
        ),
        ("?offset=-1", "offset must be between"),
    ] {
        let path = format!("/api/v1/analytics/errors{query}");
        let answer = reader.get(&path).await.problem(400, "invalid-request");
        assert!(
            answer.faults()[0].starts_with(fault),
            "{query}: {:?}",
            answer.faults()
        );
    }
}
