//! What a session may hold, what may share a name in it, and what is made of doubtful statements.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use voxray::services::silence;

use crate::support::{Client, TestServer};

const SESSIONS: &str = "/v1/observability/sessions/s";

fn call(at: Option<&str>, lists: Value) -> Value {
    let mut call = json!({"session": {"sessionId": "s", "startedAt": "2025-06-11T10:00:00Z"}});
    if let Some(at) = at {
        call["at"] = json!(at);
    }
    for (name, list) in lists.as_object().expect("an object") {
        call[name] = list.clone();
    }
    call
}

fn event(kind: &str, id: &str, at: &str, fields: Value) -> Value {
    let mut event = json!({"type": kind, "id": id, "sessionId": "s", "at": at});
    let members = fields.as_object().expect("an object").clone();
    event.as_object_mut().expect("an object").extend(members);
    event
}

/// Number accepted, and the first complaint of each refused item.
async fn send(client: &Client, path: &str, items: Value) -> (Value, Vec<String>) {
    let answer = client.post(path, &items).await.json();
    let refused = answer["rejected"].as_array().expect("a list");
    let told = refused.iter().map(|item| {
        let first = &item["errors"][0];
        format!(
            "{} {}",
            first["name"].as_str().expect("a text"),
            first["message"].as_str().expect("a text")
        )
    });
    (answer["accepted"].clone(), told.collect())
}

#[tokio::test]
async fn a_call_whose_items_share_a_name_is_refused_whole() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let shared = call(None, json!({"turns": [{}, {}, {}, {"index": 1}]}));
    let told = send(&ingestor, "/v1/ingest/calls", shared).await;
    let fault = "turns[3].index is the index of turns[1] too".to_owned();
    assert_eq!(told, (json!(0), vec![fault]));
    acme.reader()
        .await
        .get(SESSIONS)
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn a_corrected_call_has_the_room_of_the_one_it_replaces() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    for (at, first) in [("2025-06-11T11:00:00Z", 1), ("2025-06-11T11:00:01Z", 0)] {
        let turns: Vec<Value> = (first..first + 2000).map(|n| json!({"index": n})).collect();
        let whole = call(Some(at), json!({"turns": turns}));
        let told = send(&ingestor, "/v1/ingest/calls", whole).await;
        assert_eq!(told, (json!(1), vec![]));
    }
    let detail = acme.reader().await.get(SESSIONS).await.status(200).json();
    assert_eq!(detail["turns"].as_array().unwrap().len(), 2000);
    assert_eq!(detail["turns"][0]["index"], 0);
}

#[tokio::test]
async fn a_session_takes_so_many_words_about_itself() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let events: Vec<Value> = (0..1001)
        .map(|n| {
            event(
                "session",
                &n.to_string(),
                "2025-06-11T10:00:00Z",
                json!({"voice": "v"}),
            )
        })
        .collect();
    let told = send(&ingestor, "/v1/ingest/events", json!({"events": events})).await;
    let full = "sessionId session_full: at most 1000 facts may speak of one thing".to_owned();
    assert_eq!(told, (json!(1000), vec![full]));
    // In a later batch, and as a repetition.
    let told = send(
        &ingestor,
        "/v1/ingest/events",
        json!([events[7], events[1000]]),
    )
    .await;
    assert_eq!((told.0, told.1.len()), (json!(0), 1));
}

#[tokio::test]
async fn a_session_holds_so_much_text() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let large = "x".repeat(250_000);
    let mut accepted = 0;
    for batch in 0..3 {
        let events: Vec<Value> = (0..30)
            .map(|n| {
                let details = json!({"message": "m", "details": {"a": large}});
                event(
                    "error",
                    &format!("{batch}-{n}"),
                    "2025-06-11T10:00:00Z",
                    details,
                )
            })
            .collect();
        let told = send(&ingestor, "/v1/ingest/events", json!({"events": events})).await;
        accepted += told.0.as_i64().unwrap();
        let full = "sessionId session_full: a session holds at most 16 MiB besides spans";
        assert!(told.1.iter().all(|fault| fault == full), "{:?}", told.1);
    }
    assert_eq!(accepted, 67, "of 250 kB each");
    let end = event(
        "session",
        "end",
        "2025-06-11T10:05:00Z",
        json!({"status": "failed"}),
    );
    let told = send(&ingestor, "/v1/ingest/events", json!([end])).await;
    assert_eq!(told, (json!(1), vec![]), "a full session can end");
}

#[tokio::test]
async fn a_session_keeps_its_source_s_name_for_it() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.reader().await);
    let uuid = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    let upper = uuid.to_uppercase();
    let prefixed = format!("sess_{}", uuid.replace('-', ""));
    let spellings = [uuid, prefixed.as_str(), upper.as_str(), uuid];
    for (n, spelling) in spellings.iter().enumerate() {
        let mut event = event("session", &n.to_string(), "2025-06-11T10:00:00Z", json!({}));
        event["sessionId"] = json!(spelling);
        send(&ingestor, "/v1/ingest/events", json!([event])).await;
    }
    let read = async |id: &str| {
        let path = format!("/v1/observability/sessions/{id}");
        reader.get(&path).await.status(200).json()
    };
    assert_eq!(read(uuid).await["externalId"], upper);
    let own = event("session", "a", "2025-06-11T10:00:00Z", json!({}));
    send(&ingestor, "/v1/ingest/events", json!([own])).await;
    let mut later = event("session", "b", "2025-06-11T10:00:01Z", json!({}));
    later["sessionId"] = read("s").await["id"].clone();
    send(&ingestor, "/v1/ingest/events", json!([later])).await;
    assert_eq!(read("s").await["externalId"], "s");
}

#[tokio::test]
async fn only_a_tool_s_error_is_a_failure() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let tools = json!({"toolCalls": [
        {"callId": "a", "failed": true, "result": 1},
        {"callId": "b", "error": false, "result": 1},
        {"callId": "c", "error": "no answer"},
    ]});
    send(
        &acme.ingestor().await,
        "/v1/ingest/calls",
        call(None, tools),
    )
    .await;
    for reader in [acme.reader().await, acme.transcripts().await] {
        let voice = reader.get("/api/v1/voice-sessions/s").await.status(200);
        let voice = voice.json();
        let calls = voice["function_calls"].as_array().unwrap();
        let status: Vec<&Value> = calls.iter().map(|tool| &tool["status"]).collect();
        assert_eq!(status, ["ok", "ok", "error"]);
    }
}

#[tokio::test]
async fn usage_is_told_part_by_part_to_everybody_alike() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let mut whole = call(
        None,
        json!({"turns": [
            {"usage": {"promptTokens": 10, "completionTokens": 1}},
            {"llmCalls": [{"promptTokens": 20, "completionTokens": 2}, {"completionTokens": 4}]},
        ]}),
    );
    whole["session"]["usage"] = json!({"promptTokens": 500});
    send(&ingestor, "/v1/ingest/calls", whole).await;
    for reader in [acme.reader().await, acme.transcripts().await] {
        let usage = reader.get(SESSIONS).await.status(200).json()["usage"].clone();
        assert_eq!(usage["promptTokens"], 500);
        assert_eq!(usage["completionTokens"], 7);
        assert_eq!(usage["totalTokens"], 507);
    }
    let mut judged = call(
        None,
        json!({"turns": [{"usage": {"promptTokens": 10, "completionTokens": 1}}]}),
    );
    judged["session"]["sessionId"] = json!("judged");
    judged["session"]["llmCalls"] =
        json!([{"promptTokens": 170, "completionTokens": 19, "error": "said in confidence"}]);
    send(&ingestor, "/v1/ingest/calls", judged).await;
    for reader in [acme.reader().await, acme.transcripts().await] {
        let detail = reader.get("/v1/observability/sessions/judged").await;
        let usage = detail.status(200).json()["usage"].clone();
        assert_eq!(usage["promptTokens"], 180);
        assert_eq!(usage["totalTokens"], 200);
    }
    let voice = acme.reader().await;
    let voice = voice.get("/api/v1/voice-sessions/judged").await.status(200);
    assert!(!voice.text().contains("confidence"));
    let mut silent = call(None, json!({}));
    silent["session"]["sessionId"] = json!("silent");
    send(&ingestor, "/v1/ingest/calls", silent).await;
    let detail = acme.reader().await;
    let detail = detail.get("/v1/observability/sessions/silent").await;
    assert_eq!(
        detail.status(200).json()["usage"]["totalTokens"],
        Value::Null
    );
}

#[tokio::test]
async fn a_call_without_a_time_ends_when_it_says_not_when_it_came() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let mut open = call(None, json!({"turns": [{"startMs": 0, "endMs": 61_000}]}));
    open["session"]["status"] = json!("active");
    send(&acme.ingestor().await, "/v1/ingest/calls", open).await;
    server.clock.advance(TimeDelta::hours(1));
    let patience = silence::Patience {
        active: Duration::from_secs(1800),
        unanswered: Duration::from_secs(600),
    };
    let (store, writer) = (&server.app.store, &server.app.writer);
    let ended = silence::end_silent(store, writer, patience, server.clock.now()).await;
    assert_eq!(ended.unwrap(), 1);
    let detail = acme.reader().await.get(SESSIONS).await.status(200).json();
    assert_eq!(detail["endReason"], "no_end_seen");
    assert_eq!(detail["endedAt"], "2025-06-11T10:01:01Z");
}

#[tokio::test]
async fn a_repetition_is_known_however_fine_its_time_and_its_numbers() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let sent = |number: Value| {
        let fields = json!({"message": "m", "details": {"n": number}});
        json!([event(
            "error",
            "e",
            "2025-06-11T10:00:00.123456789Z",
            fields
        )])
    };
    for (number, expected) in [
        (json!(5), ("accepted", 200)),
        (json!(5.0), ("duplicates", 200)),
        (json!(5.5), ("rejected", 207)),
    ] {
        let answer = ingestor.post("/v1/ingest/events", &sent(number)).await;
        let answer = answer.status(expected.1).json();
        assert!(
            answer[expected.0] == 1 || answer[expected.0].is_array(),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_page_of_large_sessions_is_whole_though_never_in_memory_at_once() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let text = "word ".repeat(19_000);
    let turns = vec![json!({"speaker": "user", "text": text}); 30];
    for n in 0..4 {
        let call = json!({
            "session": {"sessionId": format!("large{n}"), "startedAt": format!("2025-06-11T10:0{n}:00Z")},
            "turns": turns,
        });
        let answer = ingestor.post("/v1/ingest/calls", &call).await;
        assert_eq!(answer.status(200).json()["accepted"], 1);
    }
    let reader = acme.transcripts().await;
    let answer = reader.get("/api/v1/voice-sessions?limit=3").await;
    // Written as it is read: nobody knows its length beforehand.
    assert_eq!(answer.header("content-length"), "");
    assert!(answer.header("link").contains("offset=3"));
    let page = answer.status(200).json();
    assert_eq!((&page["total"], &page["limit"]), (&json!(4), &json!(3)));
    let starts: Vec<&Value> = page["data"]
        .as_array()
        .expect("a page")
        .iter()
        .map(|session| &session["started_at"])
        .collect();
    assert_eq!(
        starts,
        [
            "2025-06-11T10:03:00Z",
            "2025-06-11T10:02:00Z",
            "2025-06-11T10:01:00Z"
        ]
    );
    assert_eq!(page["data"][2]["transcript"][29]["text"], json!(text));
}
