//! The console: signing in and out, and what its pages show to whom.

mod calls;
mod dashboard;
mod in_browser;
mod pages;
mod review;
mod screenshots;
mod session;
mod webdriver;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Tenant, TestServer};

pub const ALL: &str = "sessions:read,transcripts:read,reviews:write";
pub const CALL: &str = "01890a5d-7c3e-7b9a-8c1d-2e3f40516273";

/// A browser: it looks at pages, and tells where a form comes from.
pub fn browser(server: &TestServer) -> Client {
    let accept = "text/html,application/xhtml+xml,*/*;q=0.8";
    let origin = server.base.clone();
    server
        .anonymous()
        .header("accept", accept)
        .header("origin", &origin)
}

pub async fn submit(client: &Client, path: &str, fields: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let media_type = "application/x-www-form-urlencoded";
    let with =
        |request: reqwest::RequestBuilder| request.header("content-type", media_type).body(body);
    client.send(Method::POST, path, with).await
}

/// What the cookie holds that an answer sets.
pub fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie");
    set.split(';').next().unwrap_or_default().to_owned()
}

/// A browser that has signed in with a new key.
pub async fn signed_in(server: &TestServer, tenant: &Tenant<'_>, scopes: &str) -> Client {
    let key = tenant.key(scopes).await;
    let answer = submit(&browser(server), "/console/sign-in", &[("key", &key)]).await;
    let answer = answer.status(303);
    browser(server).header("cookie", &cookie(&answer))
}

pub async fn ingest(tenant: &Tenant<'_>, call: &Value) {
    let answer = tenant.ingestor().await.post("/v1/ingest/calls", call).await;
    assert_eq!(answer.status(200).json()["rejected"], json!([]));
}

/// A call in which something of everything happens.
pub fn full() -> Value {
    json!({
        "session": {
            "sessionId": CALL, "agentId": "maître d'", "channel": "inbound", "campaign": "spring <b>",
            "workflow": {"slug": "booking", "name": "Table booking"}, "startedAt": "2025-06-11T10:00:00Z",
            "answeredAt": "2025-06-11T10:00:04Z", "endedAt": "2025-06-11T10:05:30.500Z", "status": "completed", "tags": ["vip"],
            "costUsd": 0.184, "summary": "Booked <i>two</i> seats.", "extracted": {"seats": 2}, "from": "+15550142",
            "callSid": "CA0123456789abcdef0123456789abcdef"
        },
        "turns": [
            {"speaker": "user", "text": "A table for two, please", "startMs": 1000, "endMs": 3000},
            {"speaker": "agent", "text": "I have one at eight or one at nine", "startMs": 4000, "endMs": 6000,
             "sttMs": 120, "endpointingMs": 80, "llmMs": 400, "ttsMs": 180, "latencyMs": 1000, "interrupted": true,
             "playedMs": 2000, "audioMs": 4000},
            {"speaker": "user", "text": "Eight", "startMs": 5800, "endMs": 6500}
        ],
        "toolCalls": [{"callId": "t1", "turn": 1, "name": "find_table", "arguments": {"seats": "secret-input"},
            "result": {"free": "secret-result"}, "startMs": 3300, "endMs": 3400}],
        "interruptions": [{"turn": 1, "atMs": 5800, "detectionMs": 120, "stopMs": 200, "bleedThroughWords": 1}],
        "errors": [{"service": "tts", "level": "warning", "code": "slow", "message": "came very late", "turn": 1}]
    })
}

/// A call whose second answer waits long for its voice, and in which the agent is interrupted.
pub fn slow(id: &str, hour: u32) -> Value {
    let started_at = format!("2025-06-11T{hour:02}:30:00Z");
    json!({
        "session": {"sessionId": id, "startedAt": started_at, "endedAt": started_at, "status": "completed",
            "agentId": "desk", "channel": "inbound",
            "providers": {"stt": "deepgram", "llm": "openai", "tts": "elevenlabs"}},
        "turns": [
            {"index": 0, "speaker": "user", "text": "I want a table", "startMs": 0, "endMs": 1000},
            {"index": 1, "speaker": "agent", "text": "For how many?", "startMs": 1800, "endMs": 3000,
                "sttMs": 100, "endpointingMs": 100, "llmMs": 300, "ttsMs": 300},
            {"index": 2, "speaker": "user", "text": "For two of us, hello, are you there?", "startMs": 4000, "endMs": 5000},
            {"index": 3, "speaker": "agent", "text": "That is booked", "startMs": 8000, "endMs": 10000,
                "sttMs": 100, "endpointingMs": 100, "llmMs": 500, "ttsMs": 2300, "interrupted": true},
            {"index": 4, "speaker": "user", "text": "Stop, I only want to know the price", "startMs": 9800, "endMs": 12000}
        ],
        "toolCalls": [{"callId": "t", "turn": 3, "name": "book", "arguments": {"secret": "mauve"},
            "error": "mauve is sold out", "startMs": 5100, "endMs": 5200}],
        "interruptions": [{"turn": 3, "atMs": 9800, "detectionMs": 120, "stopMs": 200, "bleedThroughWords": 1}]
    })
}
