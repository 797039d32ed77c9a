//! Sessions by what was said in them and by how long answers took. Few sessions are found by a walk, many
//! by the indexes; both must say the same.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::support::{Client, TestServer};

const PATH: &str = "/v1/observability/sessions";

fn call(id: &str, texts: &[&str]) -> Value {
    let turns: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"speaker": "user", "text": text, "startMs": 1000 * index, "endMs": 1000 * index + 500}))
        .collect();
    json!({"session": {"sessionId": id, "agentId": id, "startedAt": "2025-06-11T10:00:00Z"}, "turns": turns})
}

async fn write(ingestor: &Client, calls: &[Value]) {
    for piece in calls.chunks(500) {
        ingestor
            .post("/v1/ingest/calls", &json!({ "calls": piece }))
            .await
            .status(200);
    }
}

/// The agents of all sessions that a query finds, page by page.
async fn found(client: &Client, query: &str) -> Vec<String> {
    let mut agents = Vec::new();
    let mut path = format!("{PATH}?limit=100&{query}");
    loop {
        let answer = client.get(&path).await.status(200);
        let body = answer.json();
        let items = body["data"].as_array().expect("a list");
        agents.extend(
            items
                .iter()
                .map(|item| item["agentId"].as_str().expect("an agent").to_owned()),
        );
        match answer
            .header("link")
            .strip_prefix('<')
            .and_then(|link| link.split_once('>'))
        {
            Some((next, _)) => path = next.to_owned(),
            None => return agents,
        }
    }
}

async fn sorted(client: &Client, query: &str) -> Vec<String> {
    let mut agents = found(client, query).await;
    agents.sort();
    agents
}

#[tokio::test]
async fn words_are_found_in_turns() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let calls = [
        call("a", &["I want a refund, please.", "Next week"]),
        call("b", &["No REFUND next week?"]),
        call("c", &["Die Rückzahlung", "don't refund_all"]),
        call("d", &["week next", "a\\b 'quoted' & | ! ( ) :* <->"]),
    ];
    write(&acme.ingestor().await, &calls).await;
    let other = server.tenant("other").await;
    write(&other.ingestor().await, &[call("x", &["refund"])]).await;
    let reader = acme.transcripts().await;
    for (query, expected) in [
        ("refund", vec!["a", "b", "c"]),
        ("Refund", vec!["a", "b", "c"]),
        ("refund+next", vec!["b"]),
        ("next+week", vec!["a", "b", "d"]),
        ("%22next+week%22", vec!["a", "b"]),
        ("please+or+quoted", vec!["a", "d"]),
        ("refund+-please", vec!["b", "c"]),
        ("R%C3%BCckzahlung", vec!["c"]),
        ("refunds", vec![]),
        ("a+%26+%7C+%21+%28+%29+%3A%2A+%3C-%3E+b", vec!["d"]),
        ("nothing", vec![]),
    ] {
        assert_eq!(
            sorted(&reader, &format!("q={query}")).await,
            expected,
            "{query}"
        );
        let total = reader
            .get(&format!("/api/v1/voice-sessions?q={query}"))
            .await
            .status(200)
            .json();
        assert_eq!(total["total"], expected.len(), "{query}");
        assert_eq!(
            total["data"].as_array().map(Vec::len),
            Some(expected.len()),
            "{query}"
        );
    }
    for nothing in ["-refund", "%3F%21", "%22%22", "+", "refund+or+-please"] {
        for path in [PATH, "/api/v1/voice-sessions", "/api/v1/conversations"] {
            let answer = reader
                .get(&format!("{path}?q={nothing}"))
                .await
                .problem(400, "invalid-request");
            assert_eq!(
                answer.faults(),
                ["q must have a word that is to be found"],
                "{nothing}"
            );
        }
    }
}

#[tokio::test]
async fn words_are_looked_for_by_those_who_may_read_them() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    write(&acme.ingestor().await, &[call("a", &["refund"])]).await;
    let reader = acme.reader().await;
    for path in [PATH, "/api/v1/voice-sessions", "/api/v1/conversations"] {
        let answer = reader
            .get(&format!("{path}?q=refund"))
            .await
            .problem(403, "missing-scope");
        assert!(
            answer.json()["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("transcripts:read")),
            "{path}"
        );
    }
    assert_eq!(found(&reader, "minLatencyMs=1").await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_corrected_is_found_as_it_is_now() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.transcripts().await);
    let turn = |at: &str, index: u8, fields: Value| {
        let mut event = json!({"type": "turn", "sessionId": "s", "at": at, "index": index});
        event
            .as_object_mut()
            .expect("fields")
            .extend(fields.as_object().expect("fields").clone());
        event
    };
    let send = async |events: Value| {
        ingestor
            .post("/v1/ingest/events", &json!({ "events": events }))
            .await
            .status(200);
    };
    let agent =
        json!({"type": "session", "sessionId": "s", "at": "2025-06-11T10:00:00Z", "agentId": "s"});
    send(json!([
        agent,
        turn(
            "2025-06-11T10:00:01Z",
            0,
            json!({"speaker": "user", "text": "wrong", "startMs": 0, "endMs": 1000})
        ),
        turn(
            "2025-06-11T10:00:02Z",
            1,
            json!({"speaker": "agent", "startMs": 4000, "endMs": 5000})
        ),
    ]))
    .await;
    assert_eq!(found(&reader, "q=wrong").await, ["s"]);
    assert_eq!(found(&reader, "minLatencyMs=3000").await, ["s"]);
    assert_eq!(found(&reader, "minLatencyMs=3001").await.len(), 0);
    assert_eq!(found(&reader, "minLatencyMs=3000&q=wrong").await, ["s"]);

    // The slowest answer turns out to have been quick, and the word another.
    send(json!([
        turn("2025-06-11T10:00:03Z", 0, json!({"text": "right"})),
        turn("2025-06-11T10:00:04Z", 1, json!({"startMs": 1400})),
    ]))
    .await;
    assert_eq!(found(&reader, "q=wrong").await.len(), 0);
    assert_eq!(found(&reader, "q=right").await, ["s"]);
    assert_eq!(found(&reader, "minLatencyMs=401").await.len(), 0);
    assert_eq!(found(&reader, "minLatencyMs=400").await, ["s"]);

    // It answers nobody any more, and a cancelled answer is none.
    send(json!([turn(
        "2025-06-11T10:00:05Z",
        1,
        json!({"cancelled": true})
    )]))
    .await;
    assert_eq!(found(&reader, "minLatencyMs=1").await.len(), 0);
}

/// More sessions than a walk looks at, so that pages come from walks, from indexes, and from both.
#[tokio::test]
async fn walks_and_indexes_agree_with_a_look_at_everything() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let mut random = StdRng::seed_from_u64(7);
    let words = ["ever", "often", "old", "seldom", "once"];
    let calls: Vec<Value> = (0..1500)
        .map(|number| {
            let mut said = vec!["ever"];
            said.extend((random.random_range(0..4) == 0).then_some("often"));
            // In many sessions, but none of the newest.
            said.extend((number < 700).then_some("old"));
            said.extend((random.random_range(0..60) == 0).then_some("seldom"));
            said.extend((number == 3).then_some("once"));
            let latency = *[100, 400, 400, 900].choose(&mut random).expect("a latency") + if number % 400 == 9 { 5000 } else { 0 };
            json!({
                "session": {"sessionId": format!("s-{number}"), "agentId": format!("s-{number}"), "channel": if number % 2 == 0 { "web" } else { "inbound" },
                    "startedAt": format!("2025-06-11T{:02}:{:02}:00Z", number / 5 / 60, number / 5 % 60), "tags": if number % 7 == 0 { vec!["seven"] } else { vec![] }},
                "turns": [
                    {"speaker": "user", "text": said.join(" "), "startMs": 0, "endMs": 1000},
                    {"speaker": "agent", "startMs": 1000 + latency, "endMs": 9000}
                ]
            })
        })
        .collect();
    write(&acme.ingestor().await, &calls).await;
    let reader = acme.transcripts().await;
    let expected = |word: Option<&str>, min: i64, tag: bool, web: bool| -> BTreeSet<String> {
        let fits = |call: &&Value| {
            let text = call["turns"][0]["text"].as_str().expect("a text");
            word.is_none_or(|word| text.split(' ').any(|said| said == word))
                && call["turns"][1]["startMs"].as_i64().expect("a start") - 1000 >= min
                && (!tag || call["session"]["tags"] != json!([]))
                && (!web || call["session"]["channel"] == "web")
        };
        let agents = calls.iter().filter(fits).map(|call| {
            call["session"]["agentId"]
                .as_str()
                .expect("an agent")
                .to_owned()
        });
        agents.collect()
    };
    let order = found(&reader, "").await;
    assert_eq!(order.len(), calls.len());
    for word in words.map(Some).into_iter().chain([None]) {
        for min in [0, 400, 900, 5000] {
            for (tag, web) in [(false, false), (true, false), (false, true)] {
                if word.is_none() && min == 0 {
                    continue;
                }
                let mut query = Vec::new();
                query.extend(word.map(|word| format!("q={word}")));
                query.extend((min > 0).then(|| format!("minLatencyMs={min}")));
                query.extend(tag.then(|| "tag=seven".to_owned()));
                query.extend(web.then(|| "channel=web".to_owned()));
                let query = query.join("&");
                let found = found(&reader, &query).await;
                let expected = expected(word, min, tag, web);
                let in_order: Vec<&String> = order
                    .iter()
                    .filter(|agent| expected.contains(*agent))
                    .collect();
                assert_eq!(found.iter().collect::<Vec<_>>(), in_order, "{query}");
            }
        }
    }
}

/// Words that are everywhere: few sessions are walked, many are not counted.
#[tokio::test]
async fn words_that_are_everywhere_are_counted_within_bounds() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let calls: Vec<Value> = (0..5_010)
        .map(|number| {
            let said = if number % 1_000 == 7 {
                ["rare", "nothing"]
            } else {
                ["ever", "ever"]
            };
            let mut call = call(&format!("s-{number}"), &[said[0], said[1], "ever or so"]);
            call["session"]["tags"] = json!(if number % 500 < 2 {
                vec!["few"]
            } else {
                vec![]
            });
            call
        })
        .collect();
    write(&acme.ingestor().await, &calls).await;
    let reader = acme.transcripts().await;
    let list = async |query: &str| reader.get(&format!("/api/v1/voice-sessions?{query}")).await;
    let total = async |query: &str| list(query).await.status(200).json()["total"].clone();
    assert_eq!(total("").await, 5_010);
    assert_eq!(total("q=rare").await, 6);
    assert_eq!(total("q=ever&tag=few").await, 22);
    assert_eq!(total("q=ever&tag=none").await, 0);
    let page = list("q=ever&tag=few&limit=5&offset=20")
        .await
        .status(200)
        .json();
    assert_eq!(page["data"].as_array().map(Vec::len), Some(2));
    let refused = list("q=ever").await.status(400);
    assert_eq!(
        refused.json()["errors"][0]["name"],
        "q",
        "{}",
        refused.json()
    );
    // What does not count takes it.
    assert_eq!(found(&reader, "q=ever&tag=few").await.len(), 22);
    let first = reader
        .get("/api/v1/conversations?q=ever")
        .await
        .status(200)
        .json();
    assert_eq!(first["has_more"], true);
    // Where many sessions are looked through for nothing, a page ends, and the next goes on behind them.
    let beyond = reader
        .get(&format!("{PATH}?limit=100&q=ever&minLatencyMs=100"))
        .await
        .status(200)
        .json();
    assert_eq!(beyond["data"], json!([]));
    assert_eq!(beyond["hasMore"], true);
    let none: Vec<String> = Vec::new();
    assert_eq!(found(&reader, "q=ever&minLatencyMs=100").await, none);
}

#[tokio::test]
async fn texts_that_are_hard_to_index_are_taken_in() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let letter = |number: u32| char::from_u32(0x10400 + number % 40).expect("a letter");
    let compound: Vec<String> = (0..25_000_u32)
        .map(|number| {
            [number, number / 40, number / 1600]
                .map(letter)
                .iter()
                .collect()
        })
        .collect();
    let long_word = "x".repeat(90_000);
    let parts = compound
        .chunks(20)
        .map(|parts| parts.join("-"))
        .collect::<Vec<_>>()
        .join(" ");
    write(
        &acme.ingestor().await,
        &[
            call("parts", &[&parts]),
            call("long", &[&long_word, "short"]),
        ],
    )
    .await;
    let reader = acme.transcripts().await;
    assert_eq!(found(&reader, "q=short").await, ["long"]);
    assert_eq!(
        found(&reader, &format!("q={}", compound[24_000])).await,
        ["parts"]
    );
}
