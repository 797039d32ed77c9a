//! The sample answers of the documents that the dialects come from, rebuilt: data is sent so that the
//! endpoint must answer with the documented values, and names, types, nesting and values are compared.
//! Ids and cursors have another shape than the samples' placeholders.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::{Client, TestServer, now};

/// Everything that `expected` names is there with that value; what is ours may stand beside it.
#[track_caller]
pub fn assert_within(expected: &Value, answer: &Value, path: &str) {
    match expected {
        Value::Object(members) => {
            for (name, value) in members {
                let found = answer.get(name);
                let found = found.unwrap_or_else(|| panic!("{path}: no `{name}` in {answer}"));
                assert_within(value, found, &format!("{path}.{name}"));
            }
        }
        Value::Array(items) => {
            let found = answer.as_array().map(Vec::as_slice).unwrap_or_default();
            assert_eq!(items.len(), found.len(), "{path}: {answer}");
            for (at, (item, found)) in items.iter().zip(found).enumerate() {
                assert_within(item, found, &format!("{path}[{at}]"));
            }
        }
        _ => assert_eq!(expected, answer, "{path}"),
    }
}

fn is_session_id(value: &Value) -> bool {
    let hex = value.as_str().and_then(|id| id.strip_prefix("sess_"));
    hex.is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Twelve turns: the greeting, five answers of which four are measured and take 850 ms on average, and
/// what the caller says before each.
fn documented_call(id: &str, started_at: &str, ended_at: &str) -> Value {
    let greeting = json!({
        "index": 0, "speaker": "agent", "text": "Hello! How can I help?", "startMs": 0, "endMs": 1200,
        "sttMs": 0, "llmMs": 450, "ttsMs": 380
    });
    let mut turns = vec![greeting];
    for (round, gap) in [800, 900, 700, 1000].into_iter().enumerate() {
        let at = 5_000 + 10_000 * round;
        turns.push(json!({
            "index": turns.len(), "speaker": "user", "text": "And then?", "startMs": at, "endMs": at + 1_000
        }));
        turns.push(json!({
            "index": turns.len(), "speaker": "agent", "text": "Like so.",
            "startMs": at + 1_000 + gap, "endMs": at + 4_000
        }));
    }
    // An answer that overlaps the question is no measurement.
    turns.push(json!({
        "index": 9, "speaker": "user", "text": "Thank you, goodbye", "startMs": 60_000, "endMs": 62_000
    }));
    turns.push(json!({
        "index": 10, "speaker": "agent", "text": "Goodbye", "startMs": 61_900, "endMs": 63_000
    }));
    turns.push(json!({
        "index": 11, "speaker": "user", "text": "Bye", "startMs": 63_500, "endMs": 64_000
    }));
    let tools: Vec<Value> = (0..3)
        .map(|n| json!({ "callId": format!("tool-{n}"), "turn": 2, "name": "look_up" }))
        .collect();
    json!({
        "session": {
            "sessionId": id, "agentId": "agent_xyz", "startedAt": started_at, "endedAt": ended_at,
            "status": "completed"
        },
        "turns": turns,
        "toolCalls": tools,
    })
}

async fn send(ingestor: &Client, call: &Value) {
    let answer = ingestor.post("/v1/ingest/calls", call).await;
    let expected = json!({ "accepted": 1, "duplicates": 0, "rejected": [] });
    assert_eq!(answer.status(200).json(), expected);
}

#[tokio::test]
async fn observability_lists_and_details_sessions_as_documented() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let (start, end) = ("2026-03-21T10:00:00Z", "2026-03-21T10:05:30Z");
    let day: DateTime<Utc> = "2026-03-21T12:00:00Z".parse().expect("a time");
    server.clock.advance(day - now());
    send(&ingestor, &documented_call("abc123", start, end)).await;
    send(
        &ingestor,
        &documented_call("xyz", "2026-03-21T09:00:00Z", "2026-03-21T09:05:30Z"),
    )
    .await;

    let reader = acme.transcripts().await;
    let list = reader.get("/v1/observability/sessions?agentId=agent_xyz&limit=1");
    let list = list.await.status(200).json();
    let sample = json!({
        "data": [{
            "agentId": "agent_xyz",
            "startedAt": "2026-03-21T10:00:00Z",
            "endedAt": "2026-03-21T10:05:30Z",
            "turns": 12,
            "status": "completed"
        }],
        "hasMore": true
    });
    assert_within(&sample, &list, "sessions");
    assert!(is_session_id(&list["data"][0]["id"]), "{list}");
    assert!(list["nextCursor"].is_string(), "{list}");

    let id = list["data"][0]["id"].as_str().expect("an id");
    let path = format!("/v1/observability/sessions/{id}");
    let detail = reader.get(&path).await.status(200).json();
    assert_eq!(detail["id"], id);
    assert_eq!(detail["agentId"], "agent_xyz");
    let greeting = json!({
        "index": 0,
        "speaker": "agent",
        "text": "Hello! How can I help?",
        "startMs": 0,
        "endMs": 1200,
        "sttMs": 0,
        "llmMs": 450,
        "ttsMs": 380
    });
    assert_within(&greeting, &detail["turns"][0], "turns[0]");
    let metrics =
        json!({ "totalDurationMs": 330_000, "avgTurnLatencyMs": 850, "toolExecutions": 3 });
    assert_within(&metrics, &detail["metrics"], "metrics");
}

#[tokio::test]
async fn voice_sessions_have_the_documented_fields() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let call_sid = "CA0123456789abcdef0123456789abcdef";
    let call = json!({
        "session": {
            "sessionId": "first", "agentId": "meal-agent", "callSid": call_sid, "streamId": "MZ77",
            "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T10:01:00Z",
            "summary": "Asked for a table", "tags": ["booking", "vip"]
        },
        "turns": [
            { "speaker": "agent", "text": "Hello", "startMs": 0, "endMs": 900 },
            { "speaker": "user", "text": "A table for two", "startMs": 1500, "endMs": 3000 }
        ],
        "toolCalls": [{
            "callId": "t1", "turn": 1, "name": "find_table", "arguments": { "seats": 2 }, "error": "full",
            "startMs": 3100, "endMs": 3200
        }]
    });
    send(&acme.ingestor().await, &call).await;
    let reader = acme.transcripts().await;
    let list = reader
        .get("/api/v1/voice-sessions?limit=25&offset=0&status=completed&stream_id=MZ77&agent_key=meal-agent")
        .await
        .status(200)
        .json();
    let expected = json!({
        "data": [{
            "stream_id": "MZ77",
            "call_sid": call_sid,
            "transcript": [
                { "index": 0, "speaker": "agent", "text": "Hello", "start_ms": 0, "end_ms": 900 },
                { "index": 1, "speaker": "user", "text": "A table for two", "start_ms": 1500, "end_ms": 3000 }
            ],
            "function_calls": [{
                "id": "t1", "name": "find_table", "arguments": { "seats": 2 }, "result": null, "error": "full",
                "status": "error", "turn": 1, "start_ms": 3100, "duration_ms": 100
            }],
            "summary": "Asked for a table",
            "tags": ["booking", "vip"]
        }],
        "total": 1,
        "limit": 25,
        "offset": 0
    });
    assert_within(&expected, &list, "voice-sessions");
}
