//! The native doors, seen through the readers.

use serde_json::{Value, json};

use crate::support::TestServer;

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

#[tokio::test]
async fn a_call_is_at_once_visible() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let answer = acme.ingestor().await.post("/v1/ingest/calls", &call("first")).await.status(200).json();
    assert_eq!(answer, json!({"accepted": 1, "duplicates": 0, "rejected": []}));

    let reader = acme.client("sessions:read,transcripts:read").await;
    let list = reader.get("/v1/observability/sessions").await.status(200).json();
    assert_eq!(list["data"][0]["turns"], 3);
    assert_eq!(list["data"][0]["status"], "completed");
    assert_eq!(list["hasMore"], false);

    let detail = reader.get("/v1/observability/sessions/first").await.status(200).json();
    assert_eq!(detail["id"], list["data"][0]["id"]);
    assert_eq!(detail["metrics"], json!({"totalDurationMs": 330_000, "avgTurnLatencyMs": 850, "toolExecutions": 1, "measuredTurns": 1, "answeredTurns": 1}));
    assert_eq!(detail["turns"][2]["sttMs"], 120, "the user's side belongs to the answer");
    assert_eq!(detail["turns"][2]["latencySource"], "derived");
    assert_eq!(detail["turns"][2]["toolCalls"][0]["result"], json!({"free": true}));

    let voice = reader.get("/api/v1/voice-sessions?call_sid=CA0123456789abcdef0123456789abcdef").await.status(200).json();
    assert_eq!(voice["total"], 1);
    assert_eq!(voice["data"][0]["duration_seconds"], 330.0);
    assert_eq!(voice["data"][0]["transcript"][1]["text"], "A table for two");

    let again = acme.ingestor().await.post("/v1/ingest/calls", &call("first")).await.status(200).json();
    assert_eq!(again, json!({"accepted": 0, "duplicates": 1, "rejected": []}));
}
