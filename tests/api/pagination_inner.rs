//! The lists that are no lists of sessions keep the promises on paging, too. A list is an entry in `LISTS`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Client, Tenant, TestServer};

/// A list, and where things are in its answers.
struct List {
    path: &'static str,
    items: &'static str,
    id: &'static str,
    /// The query of a page beyond the last one, and of pages that are none.
    beyond: &'static str,
    bad: &'static [&'static str],
}

const LISTS: &[List] = &[
    List {
        path: "/v1/traces/session/many?",
        items: "traces",
        id: "traceId",
        beyond: "page=1000",
        bad: &["page=0", "page=-1", "page=one", "limit=0", "limit=101"],
    },
    List {
        path: "/api/v1/analytics/errors?",
        items: "items",
        id: "id",
        beyond: "offset=47",
        bad: &["offset=-1", "offset=one", "limit=0", "limit=201"],
    },
    List {
        path: "/api/v1/voice-sessions/many/evaluations?",
        items: "data",
        id: "id",
        beyond: "offset=47",
        bad: &["offset=-1", "offset=one", "limit=0", "limit=201"],
    },
    List {
        path: "/api/v1/audit-log?action=evaluation.create&",
        items: "data",
        id: "seq",
        beyond: "before=2020-01-01T00:00:00Z",
        bad: &["cursor=none", "cursor=", "limit=0", "limit=101"],
    },
];

const ITEMS: usize = 47;

/// One session with as many traces, errors, evaluations and entries in the audit log; times are alike in threes.
async fn seed(tenant: &Tenant<'_>) {
    let spans: Vec<Value> = (0..ITEMS)
        .map(|n| json!({"traceId": format!("t-{n}"), "spanId": "a", "startedAt": format!("2025-06-11T10:00:{:02}Z", n / 3)}))
        .collect();
    let errors: Vec<Value> = (0..ITEMS)
        .map(|n| json!({"id": format!("e-{n}"), "message": "no answer", "atMs": n / 3 * 1000}))
        .collect();
    let call = json!({
        "session": {"sessionId": "many", "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T11:00:00Z"},
        "spans": spans,
        "errors": errors,
    });
    let ingestor = tenant.ingestor().await;
    ingestor
        .post("/v1/ingest/calls", &json!({"calls": [call]}))
        .await
        .status(200);
    let reviewer = tenant
        .client("sessions:read,transcripts:read,reviews:write")
        .await;
    for _ in 0..ITEMS {
        let evaluation = json!({"verdict": "pass"});
        reviewer
            .post("/api/v1/voice-sessions/many/evaluations", &evaluation)
            .await
            .status(201);
    }
}

/// All pages, as the header leads through them.
async fn walk(list: &List, client: &Client, limit: usize) -> Vec<Vec<String>> {
    let mut path = format!("{}limit={limit}", list.path);
    let mut pages = Vec::new();
    loop {
        let answer = client.get(&path).await.status(200);
        pages.push(ids(list, &answer.json()));
        let link = answer.header("link");
        let Some((next, _)) = link.strip_prefix('<').and_then(|link| link.split_once('>')) else {
            return pages;
        };
        path = next.to_owned();
    }
}

fn ids(list: &List, body: &Value) -> Vec<String> {
    let items = body[list.items].as_array().expect("a list");
    items.iter().map(|item| item[list.id].to_string()).collect()
}

#[tokio::test]
async fn inner_lists_are_complete_repeat_nothing_and_end() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    seed(&acme).await;
    let reader = acme.client("admin,sessions:read,transcripts:read").await;
    for list in LISTS {
        let whole = walk(list, &reader, ITEMS).await.concat();
        let once: BTreeSet<&String> = whole.iter().collect();
        assert_eq!((once.len(), whole.len()), (ITEMS, ITEMS), "{}", list.path);
        for limit in [1, 2, 7, ITEMS - 1, ITEMS + 1] {
            let pages = walk(list, &reader, limit).await;
            assert_eq!(pages.concat(), whole, "{} by {limit}", list.path);
            assert_eq!(
                pages.len(),
                ITEMS.div_ceil(limit),
                "{} by {limit}",
                list.path
            );
        }
        let beyond = reader.get(&format!("{}{}", list.path, list.beyond)).await;
        let beyond = beyond.status(200);
        assert_eq!(ids(list, &beyond.json()).len(), 0, "{}", list.path);
        assert_eq!(beyond.header("link"), "", "{}", list.path);
        for bad in list.bad {
            let answer = reader.get(&format!("{}{bad}", list.path)).await;
            let answer = answer.problem(400, "invalid-request");
            let name = bad.split('=').next().unwrap_or_default();
            assert!(answer.faults()[0].starts_with(name), "{} {bad}", list.path);
        }
    }
}
