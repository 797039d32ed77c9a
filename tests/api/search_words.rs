//! What a word is when calls are looked for by what was said in them, whatever the locale of the database.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, Row};
use voxray::domain::words::{self, Question};
use voxray::services::words::round;

use crate::support::{Client, Tenant, TestServer};

const LISTS: [&str; 3] = [
    "/v1/observability/sessions",
    "/api/v1/voice-sessions",
    "/api/v1/conversations",
];

/// What is said, and what finds it.
const SAID: [(&str, &[&str]); 15] = [
    (
        "that’s “fine” — thank you…",
        &["fine", "you", "that's", "that’s", "“fine”", "FINE thank"],
    ),
    (
        "¿Cómo estás?",
        &["cómo", "Cómo", "CÓMO", "Co\u{301}mo", "estás"],
    ),
    ("好的，退款。谢谢", &["退款", "谢谢", "好的", "款"]),
    (
        "call 555-123-4567",
        &["4567", "555", "555-123-4567", "\"123 4567\""],
    ),
    ("order #A-77 at 3-4pm", &["77", "4pm", "#A-77", "a-77"]),
    ("please say yes/no now", &["yes", "no", "yes/no"]),
    ("Sure.Let me check", &["sure", "let", "sure.let"]),
    ("first word：second", &["word", "second", "ｗｏｒｄ"]),
    (
        "see http://example.com/path?x=1 now",
        &[
            "http://example.com/path?x=1",
            "example.com",
            "path",
            "\"x 1\"",
        ],
    ),
    ("Überweisung", &["überweisung", "ÜBERWEISUNG"]),
    ("Frau MÜLLER", &["müller", "Müller"]),
    ("ΤΗΛΕΦΩΝΟΣ", &["τηλεφωνος", "τηλεφωνοσ"]),
    ("สวัสดีครับ", &["สวัสดี", "ครับ"]),
    (
        "mail me@host.org a_b <b>bold</b> 50%",
        &["me@host.org", "host", "a_b", "bold", "50%"],
    ),
    (
        "re\u{AD}fund\u{A0}now, 1e5x 12e",
        &["refund", "refund now", "1e5x", "12e"],
    ),
];

fn call(id: &str, text: &str) -> Value {
    json!({
        "session": {"sessionId": id, "agentId": id, "startedAt": "2025-06-11T10:00:00Z"},
        "turns": [{"speaker": "user", "text": text, "startMs": 0, "endMs": 500}]
    })
}

async fn write(ingestor: &Client, calls: &[Value]) {
    ingestor
        .post("/v1/ingest/calls", &json!({ "calls": calls }))
        .await
        .status(200);
}

/// The agent of a call in which something of [`SAID`] is said.
fn name(said: usize) -> String {
    format!("said-{said}")
}

async fn write_all(tenant: &Tenant<'_>) {
    let said = SAID.iter().enumerate();
    let calls: Vec<Value> = said.map(|(n, (text, _))| call(&name(n), text)).collect();
    write(&tenant.ingestor().await, &calls).await;
}

async fn agents(client: &Client, path: &str, question: &str) -> Vec<String> {
    let question = utf8_percent_encode(question, NON_ALPHANUMERIC);
    let answer = client.get(&format!("{path}?q={question}")).await;
    let body = answer.status(200).json();
    let items = body["data"].as_array().expect("a list");
    let agent = |item: &Value| {
        let key = item.get("agentId").or_else(|| item.get("agent_key"));
        key.and_then(Value::as_str).expect("an agent").to_owned()
    };
    items.iter().map(agent).collect()
}

#[tokio::test]
async fn words_are_found_whatever_stands_between_them() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    write_all(&acme).await;
    let reader = acme.transcripts().await;
    for (n, (_, questions)) in SAID.iter().enumerate() {
        for question in *questions {
            for path in LISTS {
                assert_eq!(
                    agents(&reader, path, question).await,
                    [name(n)],
                    "{path}: {question}"
                );
            }
            let shown = utf8_percent_encode(question, NON_ALPHANUMERIC);
            let export = format!("/api/v1/voice-sessions/export?q={shown}");
            let lines = reader.get(&export).await.status(200).text();
            assert_eq!(lines.lines().count(), 1, "{question}");
            let page = format!("/console?q={shown}");
            let page = reader.get(&page).await.status(200).text();
            let links = page.split("\"/console/conversations/").skip(1);
            let calls: BTreeSet<&str> = links.map(|link| &link[..36]).collect();
            assert_eq!(calls.len(), 1, "{question}: {calls:?}");
        }
    }
    for (question, found) in [
        ("谢退", vec![]),
        ("款谢", vec!["said-2"]),
        ("\"now first\"", vec![]),
        ("fine -thank", vec![]),
        ("fine or 退款", vec!["said-0", "said-2"]),
        ("word -“second”", vec![]),
        ("müll", vec![]),
    ] {
        let mut agents = agents(&reader, LISTS[1], question).await;
        agents.sort();
        assert_eq!(agents, found, "{question}");
    }
}

#[tokio::test]
async fn no_question_breaks_the_search() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    write(&acme.ingestor().await, &[call("a", "That’s all: a, b")]).await;
    let reader = acme.transcripts().await;
    let get = async |path: &str, question: &str| {
        let question = utf8_percent_encode(question, NON_ALPHANUMERIC);
        reader.get(&format!("{path}?q={question}")).await
    };
    let ligatures = "\u{FDFA}".repeat(255);
    let hostile = [
        "a\"",
        "\"a",
        "\"a b",
        "a \"\" b",
        "-\"a",
        "a -",
        "- a",
        "or a",
        "a or",
        "a or or b",
        "\\'a:*",
        "a <-> b",
        "!a & (b | c",
        "a:b:c:*",
        "'",
        "\u{1}a",
        "a\u{301}\u{301}",
        &ligatures,
        "OR -or",
        "1e999 0x1f -5",
    ];
    let mut lengthy: Vec<String> = vec![
        "x".repeat(255),
        "\"".repeat(255),
        "-".repeat(254) + "a",
        "退".repeat(255),
    ];
    lengthy.push("a or ".repeat(50) + "a");
    for question in hostile
        .into_iter()
        .chain(lengthy.iter().map(String::as_str))
    {
        for path in LISTS {
            let answer = get(path, question).await;
            assert!(
                [200, 400].contains(&answer.status),
                "{question}: {}",
                answer.text()
            );
        }
    }
    for nothing in [
        "-",
        "\"",
        "\"\"",
        "— …",
        "-“a”",
        "❤\u{FE0F}",
        "\u{301}",
        "- \" ' !",
        "-a -b",
    ] {
        for path in LISTS {
            let answer = get(path, nothing).await.problem(400, "invalid-request");
            assert_eq!(
                answer.faults(),
                ["q must have a word that is to be found"],
                "{nothing}"
            );
        }
    }
    for refused in ["a\0b", &"x".repeat(256)] {
        get(LISTS[0], refused).await.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn a_cursor_goes_with_its_question() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    write(
        &acme.ingestor().await,
        &[call("a", "that’s it"), call("b", "that's it")],
    )
    .await;
    let reader = acme.transcripts().await;
    let page = async |query: &str| reader.get(&format!("{}?limit=1&{query}", LISTS[0])).await;
    let first = page("q=that%27s").await.status(200).json();
    let cursor = first["nextCursor"].as_str().expect("a cursor").to_owned();
    let second = page(&format!("q=that%27s&cursor={cursor}"))
        .await
        .status(200)
        .json();
    assert_ne!(first["data"][0]["agentId"], second["data"][0]["agentId"]);
    assert_eq!(second["hasMore"], false);
    page(&format!("q=that&cursor={cursor}"))
        .await
        .problem(400, "invalid-request");
}

/// Turns of before have a text and no words.
async fn as_of_before(connection: &mut PgConnection) {
    for statement in [
        "update turns set words = null",
        "insert into wordless_sessions (tenant_id, session_id) select tenant_id, id from sessions",
    ] {
        sqlx::query(statement)
            .execute(&mut *connection)
            .await
            .expect("written");
    }
}

async fn waiting(connection: &mut PgConnection) -> i64 {
    let count = sqlx::query_scalar("select count(*) from wordless_sessions");
    count.fetch_one(connection).await.expect("a number")
}

#[tokio::test]
async fn earlier_turns_are_found_once_they_have_been_read() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    write_all(&acme).await;
    // More sessions than one round takes, and more turns than are read at once.
    let many: Vec<Value> = (0..30)
        .map(|n| call(&format!("c{n}"), "plain words"))
        .collect();
    write(&acme.ingestor().await, &many).await;
    let mut long = call("long", "the first");
    let turns = (1..230).map(|n| json!({"speaker": "user", "text": format!("“{n}th”"), "startMs": n * 1000, "endMs": n * 1000 + 1}));
    long["turns"].as_array_mut().expect("turns").extend(turns);
    write(&acme.ingestor().await, &[long]).await;
    let mut connection = server.connect().await;
    let kept = "select session_id, index, words from turns order by 1, 2";
    let kept = async |connection: &mut PgConnection| {
        let rows = sqlx::query(kept)
            .fetch_all(connection)
            .await
            .expect("turns");
        let words = rows.iter().map(|row| row.get::<Option<String>, _>("words"));
        words.collect::<Vec<_>>()
    };
    let written = kept(&mut connection).await;
    assert_eq!(written.iter().flatten().count(), SAID.len() + 229);
    as_of_before(&mut connection).await;
    let reader = acme.transcripts().await;
    assert!(agents(&reader, LISTS[0], "fine").await.is_empty());
    assert!(agents(&reader, LISTS[0], "229th").await.is_empty());

    // What is being written to is left for later, and nobody waits for it.
    let mut other = server.connect().await;
    let mut writing = other.begin().await.expect("a transaction");
    sqlx::query("select from sessions where agent_key = 'long' for no key update")
        .execute(&mut *writing)
        .await
        .expect("a lock");
    let store = &server.app.store;
    let all = async || while round(store).await.expect("a round") {};
    tokio::join!(all(), all());
    all().await;
    assert_eq!(waiting(&mut connection).await, 1);
    assert!(agents(&reader, LISTS[0], "229th").await.is_empty());
    writing.rollback().await.expect("the end of it");
    assert!(!round(store).await.expect("a round"));
    assert_eq!(waiting(&mut connection).await, 0);
    assert_eq!(kept(&mut connection).await, written);
    for (n, (_, questions)) in SAID.iter().enumerate() {
        assert_eq!(agents(&reader, LISTS[0], questions[0]).await, [name(n)]);
    }
    assert_eq!(agents(&reader, LISTS[0], "229th").await, ["long"]);
    assert!(!round(store).await.expect("a round"));
}

#[tokio::test]
async fn the_server_reads_earlier_turns_by_itself() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    write_all(&acme).await;
    let mut connection = server.connect().await;
    as_of_before(&mut connection).await;
    let _other = server.beside().await;
    while waiting(&mut connection).await > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let reader = acme.transcripts().await;
    assert_eq!(agents(&reader, LISTS[0], "fine").await, [name(0)]);
}

/// Random texts out of pieces.
fn texts(pieces: &[&str], count: usize, seed: u64) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut text = || {
        let length = random.random_range(0..14);
        let picked = (0..length).map(|_| *pieces.choose(&mut random).expect("a piece"));
        picked.collect::<String>()
    };
    (0..count).map(|_| text()).collect()
}

/// What has no words beside it must be read by Postgres as we read it.
#[tokio::test]
async fn postgres_reads_plain_texts_as_we_do() {
    let server = TestServer::without_work().await;
    let mut connection = server.connect().await;
    let pieces = [
        "a", "B", "the", "don", "t", "e", "E", "x", "http", "www", "com", "amp", "0", "1", "12",
        "007", " ", " ", " ", "\n", "\t", "\r\n", ",", "?", "!", ";", "'", "\"", "(", ")", ".",
        ". ", "...", ":", ": ", ".\"", ":)", ".'",
    ];
    let made = texts(&pieces, 60_000, 7);
    let plain: Vec<String> = made
        .into_iter()
        .filter(|text| words::beside(text).is_none())
        .collect();
    assert!(plain.len() > 20_000, "{}", plain.len());
    let normal: Vec<String> = plain.iter().map(|text| words::of(text)).collect();
    let other: Vec<String> = sqlx::query_scalar(
        "select text from unnest($1::text[], $2::text[]) as t (text, words)
          where to_tsvector('simple', text) <> to_tsvector('simple', words)",
    )
    .bind(&plain)
    .bind(&normal)
    .fetch_all(&mut connection)
    .await
    .expect("an answer");
    assert_eq!(other, Vec::<String>::new());
}

/// Whatever is said is found by itself, and by each of its parts.
#[tokio::test]
async fn postgres_finds_words_by_their_question() {
    let server = TestServer::without_work().await;
    let mut connection = server.connect().await;
    let pieces = [
        "a",
        "B",
        "don",
        "’",
        "t",
        "e",
        "E",
        "é",
        "e\u{301}",
        "Ü",
        "ß",
        "ς",
        "İ",
        "ﬁ",
        "12",
        "0",
        "x",
        ".",
        "/",
        "-",
        "@",
        "<",
        ">",
        "&",
        "_",
        "%",
        ":",
        "http://",
        "www",
        ".com",
        " ",
        " ",
        "\u{A0}",
        "退",
        "款",
        "ガ",
        "ｶﾞ",
        "วั",
        "ส",
        "한",
        "न",
        "मस्",
        "№",
        "½",
        "²",
        "😀",
        "\u{200D}",
        "\u{FE0F}",
        "\u{AD}",
        "٣",
        "“",
        "…",
        "\u{FDFA}",
    ];
    let said = texts(&pieces, 20_000, 11);
    let normal: Vec<String> = said.iter().map(|text| words::of(text)).collect();
    // As a phrase, and as terms: no piece is an operator.
    let asked = |text: &String| Question::asked(&format!("\"{text}\"")).as_str().to_owned();
    let phrases: Vec<String> = said.iter().map(asked).collect();
    let terms: Vec<String> = said
        .iter()
        .map(|text| text.replace(" -", " ").trim_start_matches('-').to_owned())
        .map(|text| Question::asked(&text).as_str().to_owned())
        .collect();
    let missed: Vec<String> = sqlx::query_scalar(
        "select words from unnest($1::text[], $2::text[], $3::text[]) as t (words, phrase, terms)
          where words <> ''
            and not (to_tsvector('simple', words) @@ websearch_to_tsquery('simple', phrase)
                     and (terms ~ '-\"' or to_tsvector('simple', words) @@ websearch_to_tsquery('simple', terms)))",
    )
    .bind(&normal)
    .bind(&phrases)
    .bind(&terms)
    .fetch_all(&mut connection)
    .await
    .expect("an answer");
    assert_eq!(missed, Vec::<String>::new());
}

/// Texts that are hard to index: of most distinct words, and of most letters behind a character.
#[tokio::test]
async fn the_longest_texts_are_taken_in() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ligatures: Vec<char> =
        "\u{FDF2}\u{FDF3}\u{FDF4}\u{FDF5}\u{FDF6}\u{FDF7}\u{FDF8}\u{FDF9}ﷰﷱ㋏㍱"
            .chars()
            .collect();
    let mut dense = String::new();
    for n in 0..25_000_usize {
        let digit =
            |power: usize| ligatures[n / ligatures.len().pow(power as u32) % ligatures.len()];
        dense.extend(['\u{FDFA}', digit(0), digit(1), digit(2)]);
    }
    let han: String = (0..100_000)
        .filter_map(|n| char::from_u32(0x20000 + n % 42_000))
        .collect();
    let marks = "a".to_owned() + &"\u{301}".repeat(99_999);
    let calls = [
        call("dense", &dense),
        call("han", &han),
        call("marks", &marks),
    ];
    for call in calls {
        write(&acme.ingestor().await, &[call]).await;
    }
    let reader = acme.transcripts().await;
    assert_eq!(agents(&reader, LISTS[0], "عليه").await, ["dense"]);
    assert_eq!(
        agents(&reader, LISTS[0], "\u{20010}\u{20011}").await,
        ["han"]
    );
}

/// However the words are looked for by the index, one plan for all values uses it.
#[tokio::test]
async fn the_index_on_words_is_used() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let mut long = call("long", "the first");
    let turns = (1..1_500).map(|n| json!({"speaker": "user", "text": format!("“{n}th” of them")}));
    long["turns"].as_array_mut().expect("turns").extend(turns);
    write(&acme.ingestor().await, &[long]).await;
    let mut connection = server.connect().await;
    for statement in [
        "analyze turns",
        "set plan_cache_mode = force_generic_plan",
        "prepare search (uuid, text) as
         select count(*) from turns t
          where t.tenant_id = $1 and t.text is not null
            and to_tsvector('simple', coalesce(t.words, t.text)) @@ websearch_to_tsquery('simple', $2)",
    ] {
        sqlx::query(statement).execute(&mut connection).await.expect("prepared");
    }
    let explain = "explain execute search ('00000000-0000-0000-0000-000000000001', '\"a\"')";
    let rows = sqlx::query(explain)
        .fetch_all(&mut connection)
        .await
        .expect("a plan");
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(
        plan.iter().any(|line| line.contains("turns_by_words")),
        "{plan:#?}"
    );
}
