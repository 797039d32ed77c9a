//! Every list of every dialect keeps the same promises on paging. A list is an entry in `LISTS`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Answer, Client, TestServer};

/// A list, and where things are in its answers.
struct List {
    path: &'static str,
    style: Style,
    /// The list in the body, and an item's own name.
    items: &'static str,
    id: &'static str,
    limit_default: usize,
    limit_max: usize,
    /// Names of its parameters for the range: from, to.
    range: [&'static str; 2],
}

enum Style {
    /// Members of the body: the next cursor, whether there is more.
    Cursor {
        next: &'static str,
        more: &'static str,
    },
    /// The last offset that is taken.
    Offset { max: usize },
}

const LISTS: &[List] = &[
    List {
        path: "/v1/observability/sessions",
        style: Style::Cursor {
            next: "nextCursor",
            more: "hasMore",
        },
        items: "data",
        id: "id",
        limit_default: 20,
        limit_max: 100,
        range: ["startedAfter", "startedBefore"],
    },
    List {
        path: "/api/v1/conversations",
        style: Style::Cursor {
            next: "next_cursor",
            more: "has_more",
        },
        items: "data",
        id: "id",
        limit_default: 20,
        limit_max: 100,
        range: ["started_after", "started_before"],
    },
    List {
        path: "/api/v1/voice-sessions",
        style: Style::Offset { max: 100_000 },
        items: "data",
        id: "id",
        limit_default: 25,
        limit_max: 200,
        range: ["started_after", "started_before"],
    },
];

const SESSIONS: usize = 47;

/// A session a second, three of each start alike; so ties lie across the ends of pages.
fn session(number: usize) -> Value {
    let second = number / 3;
    json!({"session": {
        "sessionId": format!("s-{number}"),
        "startedAt": format!("2025-06-11T10:00:{second:02}Z"),
        "endedAt": "2025-06-11T11:00:00Z",
    }})
}

async fn write(ingestor: &Client, calls: Vec<Value>) {
    let answer = ingestor
        .post("/v1/ingest/calls", &json!({ "calls": calls }))
        .await;
    answer.status(200);
}

async fn seed(ingestor: &Client) {
    write(ingestor, (0..SESSIONS).map(session).collect()).await;
}

/// A page of the list with these parameters besides.
async fn page(list: &List, client: &Client, query: &str) -> Answer {
    client.get(&format!("{}?{query}", list.path)).await
}

fn ids(list: &List, answer: &Answer) -> Vec<String> {
    let body = answer.json();
    let items = body[list.items].as_array().expect("a list");
    items
        .iter()
        .map(|item| item[list.id].as_str().expect("an id").to_owned())
        .collect()
}

/// What leads to the next page, without and with the header; none on the last page.
fn next(list: &List, answer: &Answer, seen: usize) -> (Option<String>, Option<String>) {
    let body = answer.json();
    let told = match list.style {
        Style::Cursor { next, more } => {
            let cursor = body[next].as_str();
            assert_eq!(body[more], cursor.is_some(), "{}", list.path);
            cursor.map(|cursor| format!("cursor={cursor}"))
        }
        Style::Offset { .. } => {
            let total = body["total"].as_u64().expect("a total") as usize;
            (seen < total).then(|| format!("offset={seen}"))
        }
    };
    let link = answer.header("link");
    let link = link.strip_prefix('<').map(|link| {
        link.strip_suffix(">; rel=\"next\"")
            .expect("a link to what is next")
            .to_owned()
    });
    assert_eq!(told.is_some(), link.is_some(), "{}: {link:?}", list.path);
    (told, link)
}

/// All pages, by what the bodies say; what happens between two pages is up to the caller.
async fn walk(
    list: &List,
    client: &Client,
    limit: usize,
    mut between: impl AsyncFnMut(usize),
) -> Vec<Vec<String>> {
    let mut pages: Vec<Vec<String>> = Vec::new();
    let mut start = String::new();
    loop {
        let answer = page(list, client, &format!("limit={limit}&{start}"))
            .await
            .status(200);
        pages.push(ids(list, &answer));
        let seen = pages.iter().map(Vec::len).sum();
        let (Some(told), _) = next(list, &answer, seen) else {
            return pages;
        };
        start = told;
        between(pages.len()).await;
    }
}

#[tokio::test]
async fn every_walk_is_complete_and_repeats_nothing() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    seed(&acme.ingestor().await).await;
    let reader = acme.reader().await;
    for list in LISTS {
        let whole = ids(list, &page(list, &reader, "limit=100").await.status(200));
        assert_eq!(
            whole.iter().collect::<BTreeSet<_>>().len(),
            SESSIONS,
            "{}",
            list.path
        );
        for limit in [1, 2, 7, SESSIONS - 1, SESSIONS, SESSIONS + 1] {
            let pages = walk(list, &reader, limit, async |_| ()).await;
            assert_eq!(pages.concat(), whole, "{} by {limit}", list.path);
            assert_eq!(
                pages.len(),
                SESSIONS.div_ceil(limit),
                "{} by {limit}",
                list.path
            );
            let full = pages.iter().rev().skip(1).all(|page| page.len() == limit);
            assert!(full, "{} by {limit}", list.path);
        }
    }
}

#[tokio::test]
async fn the_header_leads_the_same_way() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    seed(&acme.ingestor().await).await;
    let reader = acme.reader().await;
    for list in LISTS {
        let expected = walk(list, &reader, 10, async |_| ()).await;
        let [from, to] = list.range;
        // What is in the query stays in it.
        let mut path = format!(
            "{}?limit=10&{from}=2025-06-11T09:00:00Z&{to}=2025-06-11T12:00:00%2B00:00",
            list.path
        );
        let mut pages = Vec::new();
        loop {
            let answer = reader.get(&path).await.status(200);
            pages.push(ids(list, &answer));
            match next(list, &answer, pages.iter().map(Vec::len).sum()) {
                (_, Some(link)) => path = link,
                _ => break,
            }
        }
        assert_eq!(pages, expected, "{}", list.path);
    }
}

#[tokio::test]
async fn a_cursor_keeps_its_place_while_rows_come_and_go() {
    for list in LISTS {
        if !matches!(list.style, Style::Cursor { .. }) {
            continue;
        }
        let server = TestServer::start().await;
        let acme = server.tenant("acme").await;
        let (ingestor, reader) = (acme.ingestor().await, acme.reader().await);
        seed(&ingestor).await;
        let before = ids(list, &page(list, &reader, "limit=100").await.status(200));
        let mut database = server.connect().await;
        let mut deleted: Vec<String> = Vec::new();
        let pages = walk(list, &reader, 5, async |number| {
            // One newer than all, one with a start that ties lie on, one older than all.
            let mut calls = vec![
                session(1000 + number),
                session(2000 + number),
                session(3000 + number),
            ];
            for (call, second) in calls.iter_mut().zip([59, number % 16, 0]) {
                call["session"]["startedAt"] = json!(format!("2025-06-11T10:00:{second:02}.5Z"));
            }
            calls[2]["session"]["startedAt"] = json!("2025-06-11T09:59:00Z");
            write(&ingestor, calls).await;
            // The last row shown, on which the cursor was made, and one that is still to come.
            for place in [5 * number - 1, 5 * number + 3] {
                let Some(id) = before.get(place) else {
                    continue;
                };
                sqlx::query(
                    "delete from sessions where tenant_id = $1 and replace(id::text, '-', '') = $2",
                )
                .bind(acme.id.0)
                .bind(id.trim_start_matches("sess_").replace('-', ""))
                .execute(&mut database)
                .await
                .expect("a session deleted");
                deleted.push(id.clone());
            }
        })
        .await;
        let seen: Vec<String> = pages.concat();
        let once: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(once.len(), seen.len(), "{}: none twice", list.path);
        for id in before.iter().filter(|id| !deleted.contains(id)) {
            assert!(
                once.contains(id),
                "{}: {id} was there all the time",
                list.path
            );
        }
        let order: Vec<&String> = seen.iter().filter(|id| before.contains(id)).collect();
        let expected: Vec<&String> = before.iter().filter(|id| once.contains(id)).collect();
        assert_eq!(order, expected, "{}", list.path);
        assert!(
            seen.len() > before.len() - deleted.len(),
            "{}: older ones came along",
            list.path
        );
    }
}

#[tokio::test]
async fn equal_starts_have_one_order() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let alike = (0..30).map(|number| {
        let mut call = session(number);
        call["session"]["startedAt"] = json!("2025-06-11T10:00:00.123Z");
        call
    });
    write(&acme.ingestor().await, alike.collect()).await;
    let reader = acme.reader().await;
    for list in LISTS {
        let whole = ids(list, &page(list, &reader, "limit=100").await.status(200));
        let mut sorted = whole.clone();
        sorted.sort();
        sorted.reverse();
        assert_eq!(whole, sorted, "{}", list.path);
        assert_eq!(
            walk(list, &reader, 4, async |_| ()).await.concat(),
            whole,
            "{}",
            list.path
        );
    }
}

#[tokio::test]
async fn limits_have_bounds_and_a_default() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    seed(&acme.ingestor().await).await;
    let reader = acme.reader().await;
    for list in LISTS {
        let by_default = page(list, &reader, "").await.status(200);
        assert_eq!(
            ids(list, &by_default).len(),
            list.limit_default,
            "{}",
            list.path
        );
        let most = page(list, &reader, &format!("limit={}", list.limit_max)).await;
        assert_eq!(
            ids(list, &most.status(200)).len(),
            SESSIONS,
            "{}",
            list.path
        );
        for bad in [
            "0",
            "-1",
            &(list.limit_max + 1).to_string(),
            "ten",
            "",
            "1.5",
        ] {
            let answer = page(list, &reader, &format!("limit={bad}"))
                .await
                .problem(400, "invalid-request");
            let expected = format!("between 1 and {}", list.limit_max);
            assert!(
                answer.faults()[0].contains(&expected),
                "{} {bad}: {:?}",
                list.path,
                answer.faults()
            );
        }
    }
}

#[tokio::test]
async fn cursors_that_are_none_or_belong_elsewhere_are_refused() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    seed(&acme.ingestor().await).await;
    let reader = acme.reader().await;
    for list in LISTS {
        let Style::Cursor { next, .. } = list.style else {
            continue;
        };
        let first = page(list, &reader, "limit=5").await.status(200).json();
        let cursor = first[next].as_str().expect("a cursor");
        let mut tampered = cursor.to_owned();
        let flipped = if tampered.remove(4) == 'A' { 'B' } else { 'A' };
        tampered.insert(4, flipped);
        let bad = [
            "",
            "sess_xyz",
            "%00",
            &cursor[1..],
            &cursor[..cursor.len() - 2],
            &format!("{cursor}AAAA"),
            &tampered,
        ];
        for bad in bad {
            let answer = page(list, &reader, &format!("cursor={bad}"))
                .await
                .problem(400, "invalid-request");
            assert!(
                answer.faults()[0].starts_with("cursor "),
                "{} {bad}: {:?}",
                list.path,
                answer.faults()
            );
        }
        let [from, _] = list.range;
        let other = format!("{from}=2025-06-11T10:00:00Z&cursor={cursor}");
        let answer = page(list, &reader, &other)
            .await
            .problem(400, "invalid-request");
        assert!(
            answer.faults()[0].contains("other filters"),
            "{}",
            list.path
        );
        // The size of a page is no filter.
        page(list, &reader, &format!("limit=3&cursor={cursor}"))
            .await
            .status(200);
    }
}

#[tokio::test]
async fn past_the_end_there_is_nothing() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    seed(&acme.ingestor().await).await;
    let reader = acme.reader().await;
    for list in LISTS {
        let [_, to] = list.range;
        let none = page(list, &reader, &format!("{to}=2025-06-10T00:00:00Z"))
            .await
            .status(200);
        assert_eq!(ids(list, &none).len(), 0, "{}", list.path);
        assert_eq!(next(list, &none, 0), (None, None), "{}", list.path);
        let Style::Offset { max } = list.style else {
            continue;
        };
        for offset in [SESSIONS, SESSIONS + 1, max] {
            let answer = page(list, &reader, &format!("offset={offset}"))
                .await
                .status(200);
            assert_eq!(ids(list, &answer).len(), 0, "{} from {offset}", list.path);
            assert_eq!(
                answer.json()["total"],
                SESSIONS,
                "{} from {offset}",
                list.path
            );
            assert_eq!(answer.header("link"), "", "{} from {offset}", list.path);
        }
        for bad in ["-1", &(max + 1).to_string(), "ten"] {
            let answer = page(list, &reader, &format!("offset={bad}"))
                .await
                .problem(400, "invalid-request");
            let expected = format!("between 0 and {max}");
            assert!(
                answer.faults()[0].contains(&expected),
                "{} {bad}: {:?}",
                list.path,
                answer.faults()
            );
        }
    }
}
