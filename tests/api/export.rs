//! The export: the list's items, all of them, in a stream.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use voxray::api::voice_sessions::export::{COLUMNS, Format};
use voxray::domain::record::Filter;
use voxray::services::export::{BATCH_SESSIONS, BATCH_TURNS, Export};
use voxray::store::Scope;

use crate::support::{Client, TestServer};

const CALLS: &str = "/v1/ingest/calls";
const VOICE: &str = "/api/v1/voice-sessions";
const EXPORT: &str = "/api/v1/voice-sessions/export";

fn call(n: usize) -> Value {
    let status = ["completed", "failed", "active", "missed"][n % 4];
    let minute = n % 50;
    json!({
        "session": {
            "sessionId": format!("c{n}"), "agentId": format!("agent-{}", n % 3), "status": status,
            "startedAt": format!("2025-06-1{}T10:{minute:02}:00Z", n % 2), "summary": format!("summary {n}"),
            "tags": [format!("t{}", n % 5)], "callSid": format!("CA{n}"), "streamId": format!("MZ{n}")
        },
        "turns": [{"speaker": "agent", "text": format!("Hello {n}"), "startMs": 0, "endMs": 900}],
        "evaluations": if n.is_multiple_of(7) { json!([{"score": 0.5, "notes": "note"}]) } else { json!([]) }
    })
}

async fn fill(client: &Client, count: usize) {
    let all: Vec<usize> = (0..count).collect();
    for some in all.chunks(500) {
        let calls: Vec<Value> = some.iter().map(|n| call(*n)).collect();
        client
            .post(CALLS, &json!({ "calls": calls }))
            .await
            .status(200);
    }
}

async fn exported(client: &Client, query: &str) -> Vec<Value> {
    let text = client
        .get(&format!("{EXPORT}?{query}"))
        .await
        .status(200)
        .text();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

async fn listed(client: &Client, query: &str) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let page = client
            .get(&format!("{VOICE}?limit=200&offset={}&{query}", all.len()))
            .await
            .status(200)
            .json();
        all.extend(page["data"].as_array().expect("a page").iter().cloned());
        if all.len() as u64 >= page["total"].as_u64().expect("a total") {
            return all;
        }
    }
}

#[tokio::test]
async fn an_export_is_the_whole_list_whatever_the_filter() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    fill(&acme.ingestor().await, 260).await;
    server
        .tenant("other")
        .await
        .ingestor()
        .await
        .post(CALLS, &call(1))
        .await
        .status(200);
    let edit = json!({"summary": "edited", "tags": ["t1", "mine"]});
    acme.client("reviews:write")
        .await
        .patch(&format!("{VOICE}/c2"), &edit)
        .await
        .status(200);
    for client in [acme.reader().await, acme.transcripts().await] {
        for (query, at_least) in [
            ("", 260),
            ("agent_key=agent-1", 80),
            ("status=failed", 60),
            ("status=reviewed", 30),
            ("tag=t1", 50),
            ("tag=mine", 1),
            ("call_sid=CA7", 1),
            ("stream_id=MZ8", 1),
            ("started_after=2025-06-11T10:10:00Z", 90),
            (
                "started_before=2025-06-11T00:00:00Z&agent_key=agent-2&tag=t2",
                5,
            ),
            ("agent_key=nobody", 0),
        ] {
            let lines = exported(&client, query).await;
            assert!(lines.len() >= at_least, "{query}: {}", lines.len());
            assert_eq!(lines, listed(&client, query).await, "{query}");
        }
    }
    let withheld = exported(&acme.reader().await, "tag=mine").await;
    assert_eq!(
        (&withheld[0]["content_withheld"], &withheld[0]["summary"]),
        (&json!(true), &Value::Null)
    );
    let told = exported(&acme.transcripts().await, "tag=mine").await;
    assert_eq!(told[0]["summary"], "edited");
    acme.client("transcripts:read")
        .await
        .get(EXPORT)
        .await
        .problem(403, "missing-scope");
    for query in [
        "limit=5",
        "format=xml",
        "started_after=2025-06-12T00:00:00Z&started_before=2025-06-11T00:00:00Z",
    ] {
        acme.reader()
            .await
            .get(&format!("{EXPORT}?{query}"))
            .await
            .problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn csv_comes_back_as_it_went_whatever_the_text() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let hostile = [
        "=HYPERLINK(\"http://evil\",\"x\")",
        "+1",
        "-2+3",
        "@SUM(A1)",
        "\tx",
        "\rx",
        "a,b;\"c\"\r\nd\ne",
        "'quoted",
        "é 😀 \u{202e}x",
        " =1",
    ];
    let calls: Vec<Value> = hostile
        .iter()
        .enumerate()
        .map(|(n, text)| {
            json!({"session": {
                "sessionId": format!("c{n}"), "startedAt": format!("2025-06-11T10:0{n}:00Z"), "summary": text,
                "agentId": text, "tags": [text, "z"], "costUsd": 0.0125, "metadata": {"text": text}
            }})
        })
        .collect();
    acme.ingestor()
        .await
        .post(CALLS, &json!({ "calls": calls }))
        .await
        .status(200);
    let answer = acme
        .transcripts()
        .await
        .get(&format!("{EXPORT}?format=csv"))
        .await
        .status(200);
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"voice-sessions-20250611T120000Z.csv\""
    );
    let mut reader = csv::Reader::from_reader(answer.body.as_slice());
    assert_eq!(
        reader
            .headers()
            .expect("a header row")
            .iter()
            .collect::<Vec<_>>(),
        COLUMNS
    );
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("rows");
    assert_eq!(rows.len(), hostile.len());
    let column = |name: &str| {
        COLUMNS
            .iter()
            .position(|column| *column == name)
            .expect("a column")
    };
    for (row, text) in rows.iter().zip(hostile.iter().rev()) {
        let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let safe = |text: &str| {
            if is_formula {
                format!("'{text}")
            } else {
                text.to_owned()
            }
        };
        assert_eq!(&row[column("summary")], safe(text));
        assert_eq!(&row[column("agent_key")], safe(text));
        let tag = text.replace(';', r"\;");
        assert_eq!(&row[column("tags")], safe(&format!("{tag}; z")));
        assert_eq!(&row[column("cost_usd")], "0.0125");
        let metadata: Value = serde_json::from_str(&row[column("metadata")]).expect("JSON");
        assert_eq!(metadata["text"], *text);
    }
    let empty = acme
        .reader()
        .await
        .get(&format!("{EXPORT}?format=csv&tag=none"))
        .await
        .status(200);
    assert_eq!(empty.text(), format!("{}\r\n", COLUMNS.join(",")));
    let withheld = acme
        .reader()
        .await
        .get(&format!("{EXPORT}?format=csv"))
        .await
        .status(200)
        .text();
    assert!(
        !withheld.contains("metadata\":") && withheld.contains(",true\r\n"),
        "{withheld}"
    );
}

#[tokio::test]
async fn thousands_of_sessions_come_in_batches_of_bounded_size() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    fill(&ingestor, 2_300).await;
    let turns: Vec<Value> = (0..900)
        .map(|n| json!({"speaker": "agent", "index": n}))
        .collect();
    for n in 0..5 {
        let long = json!({"session": {"sessionId": format!("long{n}"), "startedAt": "2025-06-11T11:00:00Z"}, "turns": turns});
        ingestor.post(CALLS, &long).await.status(200);
    }
    let scope = Scope::for_operator(&server.app.store, acme.id);
    let mut export = Export::new(&scope, None, Filter::default(), &server.app.traffic)
        .await
        .expect("an export");
    let (mut ids, mut batches) = (BTreeSet::new(), 0);
    while let Some(records) = export.next().await.expect("a batch") {
        let turns: i64 = records.iter().map(|record| record.turns.len() as i64).sum();
        assert!(
            records.len() <= BATCH_SESSIONS && (turns <= BATCH_TURNS || records.len() == 1),
            "{} sessions, {turns} turns",
            records.len()
        );
        ids.extend(records.iter().map(|record| record.id));
        batches += 1;
    }
    assert_eq!(ids.len(), 2_305);
    assert!(batches >= 2_305 / BATCH_SESSIONS, "{batches}");
    assert_eq!(exported(&acme.reader().await, "").await.len(), 2_305);
}

/// As slow as a test may be to see something that must happen soon.
async fn soon(what: &str, is: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}

/// Enough that no buffer between server and client holds it all.
async fn large(client: &Client) {
    let text = "a long story ".repeat(7_000);
    for n in 0..12 {
        let calls: Vec<Value> = (0..25)
            .map(|m| json!({"session": {"sessionId": format!("c{n}-{m}"), "startedAt": "2025-06-11T10:00:00Z", "summary": text}}))
            .collect();
        client
            .post(CALLS, &json!({ "calls": calls }))
            .await
            .status(200);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_work_and_only_so_many_run_at_once() {
    let timeout = Duration::from_secs(3);
    let server = TestServer::with(|settings| settings.request_timeout = timeout).await;
    let acme = server.tenant("acme").await;
    let patient = server.beside().await;
    let key = acme.key("ingest:write").await;
    large(&patient.anonymous().bearer(&key)).await;
    let client = acme.transcripts().await;
    let mut first = client.streamed(EXPORT).await;
    let second = client.streamed(EXPORT).await;
    assert_eq!(
        (first.status().as_u16(), second.status().as_u16()),
        (200, 200)
    );
    assert_eq!(server.app.exports.running(), 2);
    let refused = client.get(EXPORT).await.problem(503, "unavailable");
    assert!(refused.json()["detail"].to_string().contains("2 exports"));
    drop(second);
    soon("the end of the second export", || {
        server.app.exports.running() == 1
    })
    .await;

    // Longer than the time limit of a request: only the start of an answer is under it.
    let mut bytes = 0;
    let mut chunks = 0;
    while let Some(chunk) = first.chunk().await.expect("a chunk") {
        if chunks == 0 {
            tokio::time::sleep(timeout + Duration::from_millis(200)).await;
        }
        bytes += chunk.len();
        chunks += 1;
    }
    assert!(
        bytes > 300 * 90_000 && chunks > 5,
        "{bytes} bytes in {chunks} chunks"
    );
    soon("the end of the first export", || {
        server.app.exports.running() == 0
    })
    .await;
}

#[tokio::test]
async fn head_tells_the_same_and_starts_nothing() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    large(&acme.ingestor().await).await;
    let client = acme.transcripts().await;
    let mut held = Vec::new();
    while server.app.exports.running() < 2 {
        held.push(client.streamed(EXPORT).await);
    }
    for format in ["jsonl", "csv"] {
        let path = format!("{EXPORT}?format={format}");
        let head = client.head(&path).await.status(200);
        assert!(head.body.is_empty());
        assert_eq!(head.header("content-length"), "");
        let name = format!("attachment; filename=\"voice-sessions-20250611T120000Z.{format}\"");
        assert_eq!(head.header("content-disposition"), name);
    }
    assert_eq!(server.app.exports.running(), 2);
    client
        .head(&format!("{EXPORT}?format=xml"))
        .await
        .status(400);
    client.head(&format!("{EXPORT}?q=-no")).await.status(400);
    let reader = acme.reader().await;
    reader.head(&format!("{EXPORT}?q=word")).await.status(403);
}

#[tokio::test]
async fn trouble_in_between_breaks_the_connection_off() {
    let (server, proxy) = TestServer::behind_proxy().await;
    let acme = server.tenant("acme").await;
    large(&acme.ingestor().await).await;
    let mut answer = acme.transcripts().await.streamed(EXPORT).await;
    assert_eq!(answer.status().as_u16(), 200);
    proxy.go_away();
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "a part was given out as the whole");
}

#[tokio::test]
async fn a_search_needs_the_right_to_what_was_said_here_too() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let path = format!("{EXPORT}?q=refund");
    let answer = acme.reader().await.get(&path).await;
    answer.problem(403, "missing-scope");
    let path = format!("{EXPORT}?q=-refund");
    let answer = acme.transcripts().await.get(&path).await;
    answer.problem(400, "invalid-request");
}

#[tokio::test]
async fn the_formats_are_those_of_the_document() {
    let schema = crate::support::contract::operation("GET", EXPORT)
        .0
        .expect("an operation");
    let parameters = schema.value()["parameters"].to_string();
    let words = json!(Format::ALL.map(Format::as_str));
    assert!(parameters.contains(&words.to_string()), "{parameters}");
    let text = schema.value()["description"].to_string();
    for column in COLUMNS {
        assert!(
            text.contains(&format!("`{column}`")),
            "{column} is not described"
        );
    }
}

#[tokio::test]
async fn the_command_writes_what_the_server_sends() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    fill(&acme.ingestor().await, 120).await;
    let folder =
        std::env::temp_dir().join(format!("voxray-export-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&folder).expect("a folder");
    for format in Format::ALL.map(Format::as_str) {
        let sent = acme
            .transcripts()
            .await
            .get(&format!("{EXPORT}?format={format}"))
            .await
            .status(200);
        let file = folder.join(format);
        let out = file.to_str().expect("a path");
        for to_file in [&["--out", out][..], &[]] {
            let ran = tokio::process::Command::new(env!("CARGO_BIN_EXE_voxray"))
                .args(["export", "--tenant", "acme", "--format", format])
                .args(to_file)
                .env_clear()
                .env("DATABASE_URL", server.database_url())
                .output()
                .await
                .expect("the program runs");
            assert!(
                ran.status.success(),
                "{}",
                String::from_utf8_lossy(&ran.stderr)
            );
            let written = if to_file.is_empty() {
                ran.stdout
            } else {
                std::fs::read(&file).expect("a file")
            };
            assert!(written == sent.body, "{format} {to_file:?}");
        }
    }
    assert_eq!(
        std::fs::read_dir(&folder).expect("a folder").count(),
        2,
        "no part is left"
    );
    std::fs::remove_dir_all(&folder).expect("it goes");
}
