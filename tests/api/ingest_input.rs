//! Bad input at the native doors: a clear rejection, never a 5xx, and the rest of the batch is kept.

use serde_json::{Value, json};

use crate::support::{Client, TestServer};

fn turn(id: &str) -> Value {
    json!({"id": id, "type": "turn", "sessionId": "s", "at": "2025-06-11T10:00:00Z", "index": 0})
}

fn with(name: &str, value: Value) -> Value {
    let mut event = turn("bad");
    event[name] = value;
    event
}

async fn ndjson(client: &Client, body: impl Into<Vec<u8>>) -> crate::support::Answer {
    client
        .header("content-type", "application/x-ndjson")
        .post_bytes("/v1/ingest/events", body.into())
        .await
}

#[tokio::test]
async fn every_bad_event_is_told_and_its_neighbour_kept() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let long = "x".repeat(10_000);
    let cases = [
        (with("type", json!("tune")), "type", "must be one of"),
        (with("type", Value::Null), "type", "is required"),
        (with("sessionId", Value::Null), "sessionId", "is required"),
        (
            with("sessionId", json!("")),
            "sessionId",
            "must not be empty",
        ),
        (
            with("sessionId", json!(long)),
            "sessionId",
            "at most 255 characters, got 10000",
        ),
        (with("sessionId", json!("export")), "sessionId", "reserved"),
        (with("sessionId", json!("..")), "sessionId", "reserved"),
        (
            with("sessionId", json!("00000000-0000-0000-0000-000000000000")),
            "sessionId",
            "nil",
        ),
        (with("sessionId", json!("a\u{0}b")), "sessionId", "NUL"),
        (with("id", json!(7)), "id", "must be a text"),
        (with("at", json!("yesterday")), "at", "RFC 3339"),
        (
            with("at", json!("1969-12-31T23:59:59Z")),
            "at",
            "before 1970",
        ),
        (
            with("at", json!("2025-06-12T12:00:01Z")),
            "at",
            "more than a day ahead",
        ),
        (
            with("at", json!("292277026596-12-04T15:30:07Z")),
            "at",
            "RFC 3339",
        ),
        (with("at", Value::Null), "at", "is required"),
        (with("index", Value::Null), "index", "is required"),
        (with("index", json!(1.5)), "index", "whole number"),
        (with("index", json!(-1)), "index", "between 0"),
        (with("startMs", json!(-5)), "startMs", "between 0"),
        (with("latencyMs", json!(-1)), "latencyMs", "between 0"),
        (with("startMs", json!(1e300)), "startMs", "between 0"),
        (
            with("speaker", json!("robot")),
            "speaker",
            "`agent`, `user`",
        ),
        (with("text", json!("a\u{0}")), "text", "NUL"),
        (
            with("text", json!("x".repeat(100_001))),
            "text",
            "at most 100000 characters",
        ),
        (
            with("words", json!([{"word": 5}])),
            "words[0].word",
            "must be a text",
        ),
        (
            with("metadata", json!({"a": {"b\u{0}": 1}})),
            "metadata",
            "NUL",
        ),
        (with("usage", json!([])), "usage", "must be an object"),
    ];
    for (n, (bad, name, message)) in cases.into_iter().enumerate() {
        let answer = ingestor
            .post(
                "/v1/ingest/events",
                &json!({"events": [bad, turn(&format!("good-{n}"))]}),
            )
            .await
            .status(207)
            .json();
        assert_eq!(
            (&answer["accepted"], &answer["rejected"][0]["index"]),
            (&json!(1), &json!(0)),
            "{name}: {answer}"
        );
        let error = &answer["rejected"][0]["errors"][0];
        assert_eq!(error["name"], name, "{answer}");
        assert!(
            error["message"].as_str().expect("text").contains(message),
            "{name}: {error}"
        );
    }
    let times = json!({"id": "t", "type": "turn", "sessionId": "s", "at": "2025-06-11T10:00:00Z", "index": 1, "startMs": 10, "endMs": 9});
    let answer = ingestor
        .post("/v1/ingest/events", &json!({"events": [times]}))
        .await
        .status(207)
        .json();
    assert_eq!(answer["rejected"][0]["errors"][0]["name"], "endMs");
}

#[tokio::test]
async fn what_is_no_json_spoils_only_itself() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let lines = format!(
        "{}\nnot json\n\n{}\n{}\n[1]\n",
        turn("1"),
        r#"{"id":"2","type":"turn","sessionId":"s","at":"2025-06-11T10:00:00Z","index":1,"text":"\ud800"}"#,
        r#"{"id":"3","type":"turn","sessionId":"s","at":"2025-06-11T10:00:00Z","index":1e999}"#,
    );
    let answer = ndjson(&ingestor, lines).await.status(207).json();
    assert_eq!(answer["accepted"], 1);
    let indexes: Vec<i64> = answer["rejected"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|r| r["index"].as_i64())
        .collect();
    assert_eq!(indexes, [1, 2, 3, 4]);
    // In a list of one body, too.
    let body = r#"{"events": [{"id":"5","type":"turn","sessionId":"s","at":"2025-06-11T10:00:00Z","index":1,"text":"\ud800 x"}]}"#;
    let json = ingestor.header("content-type", "application/json");
    let answer = json
        .post_bytes("/v1/ingest/events", body)
        .await
        .status(207)
        .json();
    assert!(
        answer["rejected"][0]["errors"][0]["message"]
            .as_str()
            .expect("text")
            .starts_with("must be JSON: unexpected end of hex escape at line 1"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_body_that_is_wrong_as_a_whole_is_refused() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme
        .ingestor()
        .await
        .header("content-type", "application/json");
    let malformed = ingestor
        .post_bytes("/v1/ingest/events", "{\"events\": [\n  {\"id\": }\n]}")
        .await
        .problem(400, "invalid-request");
    assert!(
        malformed.faults()[0].contains("line 2 column 10"),
        "{:?}",
        malformed.faults()
    );
    ingestor
        .post_bytes("/v1/ingest/events", vec![b'"', 0xff, b'"'])
        .await
        .problem(400, "invalid-request");
    ingestor
        .post_bytes("/v1/ingest/events", "{\"events\": 7}")
        .await
        .problem(422, "invalid-content");
    ingestor
        .post_bytes("/v1/ingest/events", "7")
        .await
        .problem(422, "invalid-content");
    let many: Vec<Value> = (0..5_001).map(|n| turn(&n.to_string())).collect();
    ingestor
        .post_bytes("/v1/ingest/events", json!({"events": many}).to_string())
        .await
        .problem(413, "too-large");
    acme.ingestor()
        .await
        .header("content-type", "text/csv")
        .post_bytes("/v1/ingest/events", "a,b")
        .await
        .problem(415, "unsupported-media-type");
    let deep = format!(
        "{{\"events\": [{{\"metadata\": {}1{}}}]}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let answer = ingestor.post_bytes("/v1/ingest/events", deep).await;
    assert!((200..500).contains(&answer.status), "{}", answer.text());
}

#[tokio::test]
async fn a_call_says_all_its_faults_with_their_places() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let call = json!({"session": {"sessionId": "c", "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T09:00:00Z"},
        "turns": [{"speaker": "user"}, {"speaker": "cat", "sttMs": "1"}], "toolCalls": {}, "turnz": []});
    let answer = acme
        .ingestor()
        .await
        .post("/v1/ingest/calls", &call)
        .await
        .status(207)
        .json();
    let names: Vec<&str> = answer["rejected"][0]["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|e| e["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "session.endedAt",
            "turns[1].speaker",
            "turns[1].sttMs",
            "toolCalls"
        ]
    );
    assert_eq!(answer["rejected"][0]["id"], "c");
    let timeless =
        json!({"session": {"sessionId": "d"}, "turns": [{"speaker": "user", "startMs": 0}]});
    let answer = acme
        .ingestor()
        .await
        .post("/v1/ingest/calls", &timeless)
        .await
        .status(207)
        .json();
    assert_eq!(
        answer["rejected"][0]["errors"][0]["name"],
        "session.startedAt"
    );
    let nulls = json!({"session": {"sessionId": "f", "startedAt": null, "answeredAt": "2025-06-11T10:00:00Z", "status": null, "endedAt": null}});
    acme.ingestor()
        .await
        .post("/v1/ingest/calls", &nulls)
        .await
        .status(200);
    let detail = acme
        .reader()
        .await
        .get("/v1/observability/sessions/f")
        .await
        .json();
    assert_eq!(
        (&detail["startedAt"], &detail["status"]),
        (&json!("2025-06-11T10:00:00Z"), &json!("completed"))
    );
    let misspelt =
        json!({"session": {"sessionId": "e", "startedAt": "2025-06-11T10:00:00Z"}, "turnz": []});
    let answer = acme
        .ingestor()
        .await
        .post("/v1/ingest/calls", &misspelt)
        .await
        .status(200)
        .json();
    assert_eq!(
        answer["warnings"][0]["message"],
        "is not known and left out; did you mean `turns`?"
    );
}

#[tokio::test]
async fn a_call_sent_again_replaces_the_first() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.transcripts().await);
    let call = |texts: &[&str]| {
        let turns: Vec<Value> = texts
            .iter()
            .enumerate()
            .map(|(n, text)| json!({"speaker": "user", "text": text, "startMs": n * 1000}))
            .collect();
        json!({"session": {"sessionId": "c", "startedAt": "2025-06-11T10:00:00Z"}, "turns": turns})
    };
    let texts = async || {
        let detail = reader
            .get("/v1/observability/sessions/c")
            .await
            .status(200)
            .json();
        let turns = detail["turns"].as_array().expect("turns").clone();
        turns
            .iter()
            .map(|turn| turn["text"].as_str().expect("text").to_owned())
            .collect::<Vec<_>>()
    };
    ingestor
        .post("/v1/ingest/calls", &call(&["one", "two", "three"]))
        .await
        .status(200);
    ingestor
        .post("/v1/ingest/calls", &call(&["one", "TWO"]))
        .await
        .status(200);
    assert_eq!(texts().await, ["one", "TWO"]);
    // A version with a time of its own that is older than what is there changes nothing.
    let mut old = call(&["older"]);
    old["at"] = json!("2025-06-11T10:30:00Z");
    assert_eq!(
        ingestor
            .post("/v1/ingest/calls", &old)
            .await
            .status(200)
            .json()["duplicates"],
        1
    );
    assert_eq!(texts().await, ["one", "TWO"]);
}

#[tokio::test]
async fn content_is_withheld_without_the_right_to_it() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let secret = "SECRET";
    let call = json!({
        "session": {"sessionId": "c", "startedAt": "2025-06-11T10:00:00Z", "from": format!("+1555{secret}42"), "to": format!("{secret}17"), "summary": secret,
            "metadata": {"k": secret}, "extracted": {"k": secret}, "tags": ["vip"], "surprise": secret, "models": {"llm": "m", "note": secret}, "usage": {"promptTokens": 3, "note": secret}},
        "turns": [{"speaker": "user", "text": secret, "sttText": secret, "words": [{"word": secret}], "metadata": {"k": secret}, "surprise": secret}],
        "toolCalls": [{"callId": "t", "turn": 0, "name": "find", "arguments": secret, "result": [secret], "error": {"m": secret}, "surprise": secret}],
        "errors": [{"service": "llm", "level": "error", "code": "rate_limit", "message": secret, "details": {"k": secret}, "surprise": secret}],
        "interruptions": [{"turn": 0, "text": secret, "surprise": secret}],
        "evaluations": [{"reviewer": "r", "score": 0.5, "notes": secret}],
    });
    acme.ingestor()
        .await
        .post("/v1/ingest/calls", &call)
        .await
        .status(200);
    let paths = [
        "/v1/observability/sessions/c",
        "/api/v1/voice-sessions/c",
        "/api/v1/voice-sessions",
        "/v1/observability/sessions",
    ];
    let (reader, all) = (acme.reader().await, acme.transcripts().await);
    for path in paths {
        let told = reader.get(path).await.status(200).text();
        assert!(!told.contains(secret), "{path}: {told}");
    }
    let detail = reader.get(paths[0]).await.json();
    assert_eq!(detail["contentWithheld"], true);
    assert_eq!(
        (&detail["from"], &detail["tags"]),
        (&json!("***********42"), &json!(["vip"]))
    );
    assert_eq!(
        (&detail["errors"][0]["message"], &detail["turns"][0]["text"]),
        (&json!("rate_limit"), &Value::Null)
    );
    let voice = reader.get(paths[1]).await.json();
    assert_eq!(
        (
            &voice["content_withheld"],
            &voice["function_calls"][0]["status"],
            &voice["reviewed"]
        ),
        (&json!(true), &json!("error"), &json!(true))
    );
    let whole = all.get(paths[0]).await.json();
    assert_eq!(
        (&whole["summary"], whole.get("contentWithheld")),
        (&json!(secret), None)
    );
}

#[tokio::test]
async fn a_list_is_complete_while_it_grows_and_a_cursor_keeps_to_its_filters() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.reader().await);
    let call = |n: usize| json!({"session": {"sessionId": format!("c{n}"), "startedAt": format!("2025-06-11T10:00:{:02}Z", n / 3), "agentId": "a", "tags": ["t"]}});
    let send = async |from: usize, to: usize| {
        let calls: Vec<Value> = (from..to).map(call).collect();
        ingestor
            .post("/v1/ingest/calls", &json!({"calls": calls}))
            .await
            .status(200);
    };
    send(0, 23).await;
    for filter in ["", "&agentId=a", "&tag=t&startedAfter=2025-06-11T10:00:00Z"] {
        let mut seen: Vec<String> = Vec::new();
        let mut next = format!("/v1/observability/sessions?limit=5{filter}");
        loop {
            let page = reader.get(&next).await.status(200);
            let json = page.json();
            seen.extend(
                json["data"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|item| item["id"].as_str().expect("an id").to_owned()),
            );
            assert_eq!(json["hasMore"], json["nextCursor"].is_string());
            let Some(cursor) = json["nextCursor"].as_str() else {
                assert_eq!(page.header("link"), "");
                break;
            };
            let link = page.header("link");
            next = link
                .trim_start_matches('<')
                .split('>')
                .next()
                .expect("a link")
                .to_owned();
            assert!(
                link.ends_with("; rel=\"next\"") && next.contains(cursor),
                "{link}"
            );
            // Newer sessions do not disturb who reads on.
            if filter.is_empty() {
                send(60 + seen.len(), 61 + seen.len()).await;
            }
        }
        let unique: std::collections::BTreeSet<&String> = seen.iter().collect();
        assert_eq!(unique.len(), seen.len(), "nothing twice");
        assert!(seen.len() >= 23, "{filter}: {}", seen.len());
    }
    let cursor = reader
        .get("/v1/observability/sessions?limit=5")
        .await
        .json()["nextCursor"]
        .as_str()
        .expect("a cursor")
        .to_owned();
    let other = reader
        .get(&format!(
            "/v1/observability/sessions?limit=5&agentId=a&cursor={cursor}"
        ))
        .await
        .problem(400, "invalid-request");
    assert!(
        other.faults()[0].contains("other filters"),
        "{:?}",
        other.faults()
    );
    reader
        .get("/v1/observability/sessions?cursor=sess_xyz")
        .await
        .problem(400, "invalid-request");
    let past = reader
        .get("/api/v1/voice-sessions?offset=500")
        .await
        .status(200)
        .json();
    assert_eq!(
        (
            &past["data"],
            past["total"].as_i64().is_some_and(|total| total >= 23)
        ),
        (&json!([]), true)
    );
}

#[tokio::test]
async fn a_neighbours_session_is_as_absent_as_one_that_never_was() {
    let server = TestServer::start().await;
    let (acme, other) = (server.tenant("acme").await, server.tenant("other").await);
    let id = "3fa85f64-5717-4562-b3fc-2c963f66afa6";
    let call = json!({"session": {"sessionId": id, "startedAt": "2025-06-11T10:00:00Z"}});
    acme.ingestor()
        .await
        .post("/v1/ingest/calls", &call)
        .await
        .status(200);
    let reader = other.reader().await.header("x-request-id", "same");
    for path in ["/v1/observability/sessions/", "/api/v1/voice-sessions/"] {
        let theirs = reader
            .get(&format!("{path}{id}"))
            .await
            .problem(404, "not-found");
        let nobodys = reader
            .get(&format!("{path}{}", uuid::Uuid::new_v4()))
            .await
            .problem(404, "not-found");
        assert_eq!(theirs.body, nobodys.body);
    }
    assert_eq!(
        other
            .reader()
            .await
            .get("/v1/observability/sessions")
            .await
            .json()["data"],
        json!([])
    );
}

#[tokio::test]
async fn what_nobody_understands_is_told_within_bounds() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let mut event: serde_json::Map<String, Value> =
        (0..50_000).map(|n| (format!("f{n}"), json!(1))).collect();
    event.insert("type".to_owned(), json!("session"));
    event.insert("sessionId".to_owned(), json!("many"));
    event.insert("at".to_owned(), json!("2025-06-11T10:00:00Z"));
    let ingestor = acme.ingestor().await;
    let sent = json!({ "events": [event] });
    let answer = ingestor.post("/v1/ingest/events", &sent).await.status(200);
    let json = answer.json();
    assert_eq!(json["accepted"], 1);
    assert_eq!(json["warnings"].as_array().map(Vec::len), Some(20));

    let words: Vec<Value> = (0..5_000).map(|_| json!({ "startMs": -1 })).collect();
    let call = json!({
        "session": { "sessionId": "wrong", "startedAt": "2025-06-11T10:00:00Z" },
        "turns": [{ "speaker": "user", "words": words }]
    });
    let answer = ingestor.post("/v1/ingest/calls", &call).await.status(207);
    let json = answer.json();
    let told = json["rejected"][0]["errors"].as_array().map(Vec::len);
    assert_eq!(told, Some(100));
}
