//! The native doors, seen through the readers.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use voxray::services::silence;

use crate::support::{Client, TestServer};

fn call(id: &str) -> Value {
    json!({
        "session": {
            "sessionId": id, "agentId": "agent_xyz", "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T10:05:30Z",
            "channel": "inbound", "tags": ["vip"], "callSid": "CA0123456789abcdef0123456789abcdef"
        },
        "turns": [
            {"speaker": "agent", "text": "Hello! How can I help?", "startMs": 0, "endMs": 1200, "sttMs": 0, "llmMs": 450, "ttsMs": 380},
            {"speaker": "user", "text": "A table for two", "startMs": 2000, "endMs": 3000, "sttMs": 120},
            {"speaker": "agent", "text": "For when?", "startMs": 3850, "endMs": 4500, "llmMs": 300, "ttsMs": 200}
        ],
        "toolCalls": [{"callId": "t1", "turn": 2, "name": "find_table", "arguments": {"seats": 2}, "result": {"free": true}, "startMs": 3100, "endMs": 3200}]
    })
}

/// A call is told live by events, then as a document that leaves out how and when it began and ended.
#[tokio::test]
async fn what_a_call_leaves_out_overrules_no_event() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let door = acme.ingestor().await;
    let reader = acme.client("sessions:read").await;
    for (session, is_call_first) in [("events-first", false), ("call-first", true)] {
        let event = json!({"type": "session", "id": "end", "sessionId": session, "at": "2025-06-11T10:05:30Z",
            "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T10:05:30Z", "status": "missed"});
        let call = json!({
            "session": {"sessionId": session, "connectedAt": "2025-06-11T10:00:03Z"},
            "turns": [{"speaker": "agent", "startMs": 0, "endMs": 9000}]
        });
        let mut bodies = [
            ("/v1/ingest/events", json!([event])),
            ("/v1/ingest/calls", call),
        ];
        if is_call_first {
            bodies.reverse();
        }
        for (path, body) in bodies {
            door.post(path, &body).await.status(200);
        }

        let path = format!("/api/v1/conversations/{session}");
        let shown = reader.get(&path).await.status(200).json();
        assert_eq!(shown["status"], "missed", "{session}");
        assert_eq!(shown["started_at"], "2025-06-11T10:00:00Z", "{session}");
        assert_eq!(shown["ended_at"], "2025-06-11T10:05:30Z", "{session}");
        let states: Vec<&Value> = shown["status_history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| &step["status"])
            .collect();
        assert_eq!(states, ["missed"], "{session}");
    }
    let range = "started_after=2025-06-11T00:00:00Z&started_before=2025-06-12T00:00:00Z";
    let path = format!("/api/v1/analytics/summary?{range}");
    let summary = reader.get(&path).await.status(200).json();
    assert_eq!(summary["missed_calls"], 2);
    assert_eq!(summary["avg_duration_seconds"], 330.0);
}

/// What a call that is over leaves out counts where nobody states it, and gives way as soon as somebody does.
#[tokio::test]
async fn what_a_call_leaves_out_counts_where_nobody_states_it() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let door = acme.ingestor().await;
    let reader = acme.client("sessions:read").await;
    let say = async |id: &str, at: &str, fields: Value| {
        let mut event = json!({"type": "session", "id": id, "sessionId": "live", "at": at});
        for (name, value) in fields.as_object().unwrap() {
            event[name] = value.clone();
        }
        door.post("/v1/ingest/events", &json!([event]))
            .await
            .status(200);
        let path = "/api/v1/conversations/live";
        let shown = reader.get(path).await.status(200).json();
        [&shown["status"], &shown["ended_at"]].map(|value| value.as_str().map(str::to_owned))
    };
    let is = |status: &str, ended_at: Option<&str>| {
        [Some(status.to_owned()), ended_at.map(str::to_owned)]
    };

    let active = json!({"startedAt": "2025-06-11T10:00:00Z", "status": "active"});
    let first = say("start", "2025-06-11T10:00:00Z", active).await;
    assert_eq!(first, is("active", None));
    let call = json!({
        "session": {"sessionId": "live", "startedAt": "2025-06-11T10:00:00Z"},
        "turns": [{"speaker": "agent", "startMs": 0, "endMs": 9000}]
    });
    door.post("/v1/ingest/calls", &call).await.status(200);
    let tagged = say("tags", "2025-06-11T10:00:01Z", json!({"tags": ["vip"]})).await;
    assert_eq!(tagged, is("completed", Some("2025-06-11T10:00:09Z")));

    let stated = json!({"endedAt": "2025-06-11T10:05:30Z", "status": "declined"});
    let declined = say("end", "2025-06-11T10:05:30Z", stated).await;
    assert_eq!(declined, is("declined", Some("2025-06-11T10:05:30Z")));
    let back = json!({"endedAt": null, "status": null});
    let back = say("end", "2025-06-11T10:05:31Z", back).await;
    assert_eq!(back, is("completed", Some("2025-06-11T10:00:09Z")));
}

#[tokio::test]
async fn a_call_is_at_once_visible() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let answer = acme
        .ingestor()
        .await
        .post("/v1/ingest/calls", &call("first"))
        .await
        .status(200)
        .json();
    assert_eq!(
        answer,
        json!({"accepted": 1, "duplicates": 0, "rejected": []})
    );

    let reader = acme.client("sessions:read,transcripts:read").await;
    let list = reader
        .get("/v1/observability/sessions")
        .await
        .status(200)
        .json();
    assert_eq!(list["data"][0]["turns"], 3);
    assert_eq!(list["data"][0]["status"], "completed");
    assert_eq!(list["hasMore"], false);

    let detail = reader
        .get("/v1/observability/sessions/first")
        .await
        .status(200)
        .json();
    assert_eq!(detail["id"], list["data"][0]["id"]);
    assert_eq!(
        detail["metrics"],
        json!({"totalDurationMs": 330_000, "avgTurnLatencyMs": 850, "toolExecutions": 1, "measuredTurns": 1, "answeredTurns": 1})
    );
    assert_eq!(
        detail["turns"][2]["sttMs"], 120,
        "the user's side belongs to the answer"
    );
    assert_eq!(detail["turns"][2]["latencySource"], "derived");
    assert_eq!(
        detail["turns"][2]["toolCalls"][0]["result"],
        json!({"free": true})
    );

    let voice = reader
        .get("/api/v1/voice-sessions?call_sid=CA0123456789abcdef0123456789abcdef")
        .await
        .status(200)
        .json();
    assert_eq!(voice["total"], 1);
    assert_eq!(voice["data"][0]["duration_seconds"], 330.0);
    assert_eq!(voice["data"][0]["transcript"][1]["text"], "A table for two");

    let again = acme
        .ingestor()
        .await
        .post("/v1/ingest/calls", &call("first"))
        .await
        .status(200)
        .json();
    assert_eq!(
        again,
        json!({"accepted": 0, "duplicates": 1, "rejected": []})
    );
}

#[tokio::test]
async fn a_bad_event_never_sinks_its_neighbours() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let good = |id: &str| json!({"id": id, "type": "turn", "sessionId": "s", "at": "2025-06-11T10:00:01Z", "index": 0, "speaker": "user"});
    let mut bad = good("b");
    bad["at"] = json!("2025-06-13T10:00:00Z");
    bad["sttMs"] = json!(-1);
    bad["speaker"] = json!("robot");
    let answer = ingestor
        .post(
            "/v1/ingest/events",
            &json!({"events": [good("a"), bad, good("a")]}),
        )
        .await
        .status(207)
        .json();
    assert_eq!(
        (&answer["accepted"], &answer["duplicates"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(answer["rejected"][0]["index"], 1);
    let names: Vec<&str> = answer["rejected"][0]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["at", "speaker", "sttMs"]);

    let mut changed = good("a");
    changed["text"] = json!("other words");
    let conflict = ingestor
        .post("/v1/ingest/events", &json!({"events": [changed]}))
        .await
        .status(207)
        .json();
    assert!(
        conflict["rejected"][0]["errors"][0]["message"]
            .as_str()
            .unwrap()
            .starts_with("conflicting_duplicate")
    );
}

#[tokio::test]
async fn unknown_fields_are_kept_and_named() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let event = json!({"id": "1", "type": "turn", "sessionId": "s", "at": "2025-06-11T10:00:01Z", "index": 0, "sttMS": 5, "providers": {"sst": "x"}});
    let answer = acme
        .ingestor()
        .await
        .post("/v1/ingest/events", &json!({"events": [event]}))
        .await
        .status(200)
        .json();
    assert_eq!(answer["accepted"], 1);
    assert_eq!(answer["warnings"][0]["name"], "providers.sst");
    assert!(
        answer["warnings"][1]["message"]
            .as_str()
            .unwrap()
            .contains("`sttMs`")
    );
}

#[tokio::test]
async fn a_silent_session_ends_and_a_later_fact_reopens_it() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.reader().await);
    let event = |id: &str, at: &str, kind: Value| {
        let mut event = json!({"id": id, "sessionId": "s", "at": at});
        event
            .as_object_mut()
            .unwrap()
            .extend(kind.as_object().unwrap().clone());
        json!({"events": [event]})
    };
    let patience = silence::Patience {
        active: Duration::from_secs(1800),
        unanswered: Duration::from_secs(600),
    };
    let end = async || {
        silence::end_silent(
            &server.app.store,
            &server.app.writer,
            patience,
            server.clock.now(),
        )
        .await
        .unwrap()
    };
    let status = async || {
        let detail = reader
            .get("/v1/observability/sessions/s")
            .await
            .status(200)
            .json();
        (
            detail["status"].clone(),
            detail["endReason"].clone(),
            detail["endedAt"].clone(),
        )
    };
    ingestor
        .post(
            "/v1/ingest/events",
            &event(
                "1",
                "2025-06-11T11:59:00Z",
                json!({"type": "session", "status": "ringing"}),
            ),
        )
        .await
        .status(200);
    assert_eq!(end().await, 0);
    server.clock.advance(chrono::TimeDelta::minutes(11));
    assert_eq!(end().await, 1);
    assert_eq!(
        status().await,
        (
            json!("missed"),
            json!("no_end_seen"),
            json!("2025-06-11T11:59:00Z")
        )
    );

    ingestor
        .post(
            "/v1/ingest/events",
            &event(
                "2",
                "2025-06-11T12:01:00Z",
                json!({"type": "session", "status": "active"}),
            ),
        )
        .await
        .status(200);
    assert_eq!(status().await, (json!("active"), json!(null), json!(null)));
    server.clock.advance(chrono::TimeDelta::minutes(31));
    assert_eq!(end().await, 1);
    assert_eq!(
        status().await,
        (
            json!("completed"),
            json!("no_end_seen"),
            json!("2025-06-11T12:01:00Z")
        )
    );
    assert_eq!(end().await, 0, "what has ended is not ended again");
}

/// Events of one session about few enough things that they meet: partial turns, tools, states.
fn events(random: &mut StdRng, session: &str) -> Vec<Value> {
    let statuses = ["ringing", "active", "completed", "failed"];
    let mut events = Vec::new();
    for n in 0..random.random_range(5..40) {
        let at = format!("2025-06-11T10:{:02}:{:02}Z", n / 60 + 1, n % 60);
        let ms = random.random_range(0..20) * 250;
        let turn = random.random_range(0..6);
        let mut event = match random.random_range(0..10) {
            0 => {
                json!({"type": "session", "status": statuses[random.random_range(0..4)], "tags": [format!("t{turn}")], "providers": {"llm": "openai"}})
            }
            1 => {
                json!({"type": "tool_call", "callId": format!("c{}", turn % 3), "turn": turn, "name": "look_up", "startMs": ms, "endMs": ms + 100})
            }
            2 => {
                json!({"type": "error", "service": "llm", "level": "error", "message": "rate limit", "turn": turn})
            }
            3 => {
                json!({"type": "interruption", "turn": turn, "detectionMs": ms, "stopMs": ms + 80})
            }
            4 => {
                json!({"type": "turn", "index": turn, "text": format!("text {n}"), "usage": {"promptTokens": n}})
            }
            5 => {
                json!({"type": "turn", "index": turn, "llmMs": ms + 1, "ttsMs": 90, "sttMs": 40, "startMs": null})
            }
            _ => {
                json!({"type": "turn", "index": turn, "speaker": if turn % 2 == 0 { "agent" } else { "user" }, "startMs": ms, "endMs": ms + 200, "sttMs": 30.5})
            }
        };
        event["id"] = json!(n.to_string());
        event["at"] = json!(at);
        event["sessionId"] = json!(session);
        events.push(event);
    }
    events
}

/// What every reader says of a tenant, but for what is counted while a test runs.
async fn everything(client: &Client, session: &str) -> Vec<Value> {
    let mut answers = Vec::new();
    for path in [
        "/v1/observability/sessions?limit=5".to_owned(),
        format!("/v1/observability/sessions/{session}"),
        format!("/v1/observability/sessions/{session}/root-cause"),
        "/api/v1/voice-sessions?tag=t1".to_owned(),
        format!("/api/v1/voice-sessions/{session}"),
    ] {
        answers.push(client.get(&path).await.status(200).json());
    }
    answers
}

#[tokio::test]
async fn any_order_split_and_repetition_gives_the_same_answers() {
    let server = TestServer::start().await;
    for seed in 0..12 {
        let mut random = StdRng::seed_from_u64(seed);
        let session = uuid::Uuid::from_u128(u128::from(seed) + 77).to_string();
        let given = events(&mut random, &session);
        let mut told = Vec::new();
        for order in 0..4 {
            let tenant = server.tenant(&format!("tenant-{seed}-{order}")).await;
            let ingestor = tenant.ingestor().await;
            let mut delivered = given.clone();
            if order > 0 {
                delivered.shuffle(&mut random);
                delivered.extend(
                    given
                        .iter()
                        .filter(|_| random.random_bool(0.2))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
            }
            // All at once, in twos and threes, one by one.
            let size = [delivered.len(), 3, 1, 7][order];
            for batch in delivered.chunks(size) {
                ingestor
                    .post("/v1/ingest/events", &json!({"events": batch}))
                    .await
                    .status(200);
            }
            server.analysed().await;
            told.push(everything(&tenant.transcripts().await, &session).await);
        }
        for order in 1..4 {
            assert_eq!(told[0], told[order], "seed {seed}, order {order}");
        }
    }
}
