//! Interruption quality: what is counted, over which calls, and the gate over it.

use serde_json::{Value, json};

use crate::support::{Client, TestServer};

const PATH: &str = "/v1/observability/sessions/interruption-quality";

/// A call in which the caller interrupts the agent, as its source measured it.
fn interrupted(
    id: &str,
    agent: &str,
    started_at: &str,
    (detection_ms, stop_ms): (i64, i64),
    is_false: bool,
) -> Value {
    json!({
        "session": {"sessionId": id, "agentId": agent, "startedAt": started_at, "endedAt": started_at, "status": "completed"},
        "turns": [
            {"index": 0, "speaker": "agent", "text": "Our opening hours are from nine in the morning until", "startMs": 0,
                "endMs": 2000 + stop_ms, "interrupted": true},
            {"index": 1, "speaker": "user", "text": "Stop, I only want to book", "startMs": 2000, "endMs": 4000},
            {"index": 2, "speaker": "agent", "text": "Of course, for when?", "startMs": 4700, "endMs": 6500}
        ],
        "interruptions": [{"turn": 0, "atMs": 2000, "detectionMs": detection_ms, "stopMs": stop_ms,
            "bleedThroughWords": 2, "isFalse": is_false}]
    })
}

async fn send(ingestor: &Client, calls: &[Value]) {
    let answer = ingestor
        .post("/v1/ingest/calls", &json!({ "calls": calls }))
        .await;
    assert_eq!(answer.status(200).json()["accepted"], calls.len());
}

#[tokio::test]
async fn what_was_measured_is_put_together() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let reader = acme.reader().await;
    let none = reader.get(PATH).await.status(200).json();
    assert_eq!(
        (&none["sessions"], &none["interruptions"], &none["byAgent"]),
        (&json!(0), &json!(0), &json!([]))
    );
    assert_eq!(
        (
            &none["stopLatencyMs"]["p95"],
            &none["falseInterruptionRate"]
        ),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(none["gate"]["verdict"], "insufficient_data");
    let calls: Vec<Value> = (0..40)
        .map(|n| {
            interrupted(
                &format!("c{n}"),
                if n < 30 { "desk" } else { "sales" },
                &format!("2025-06-11T10:{n:02}:00Z"),
                (200 + n, 500 + n),
                false,
            )
        })
        .collect();
    send(&acme.ingestor().await, &calls).await;
    server.analysed().await;
    let fresh = reader.header("cache-control", "no-cache");
    let all = fresh.get(PATH).await.status(200).json();
    assert_eq!(
        (&all["sessions"], &all["interruptions"], &all["agentTurns"]),
        (&json!(40), &json!(40), &json!(80))
    );
    let detection = &all["detectionLatencyMs"];
    assert_eq!(
        (&detection["avg"], &detection["p95"], &detection["samples"]),
        (&json!(220), &json!(237), &json!(40))
    );
    assert_eq!(all["stopLatencyMs"]["p50"], 519);
    let words = &all["bleedThroughWords"];
    assert_eq!(
        (&words["total"], &words["max"], &words["p95"]),
        (&json!(80.0), &json!(2.0), &json!(2.0))
    );
    assert_eq!(
        (&all["falseInterruptions"], &all["falseInterruptionRate"]),
        (&json!(0), &json!(0.0))
    );
    assert_eq!(all["gate"]["verdict"], "pass", "{all}");
    let agents: Vec<(&Value, &Value)> = all["byAgent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| (&a["agentId"], &a["interruptions"]))
        .collect();
    assert_eq!(
        agents,
        [(&json!("desk"), &json!(30)), (&json!("sales"), &json!(10))]
    );
    assert_eq!(all["byAgent"][1]["gate"]["verdict"], "insufficient_data");
    let desk = fresh
        .get(&format!("{PATH}?agentId=desk"))
        .await
        .status(200)
        .json();
    assert_eq!(
        (&desk["interruptions"], &desk["sessions"]),
        (&json!(30), &json!(30))
    );
    let part = fresh
        .get(&format!(
            "{PATH}?startedAfter=2025-06-11T10:10:00Z&startedBefore=2025-06-11T10:20:00Z"
        ))
        .await;
    assert_eq!(part.status(200).json()["sessions"], 10);
    let other = server.tenant("other").await.reader().await;
    assert_eq!(other.get(PATH).await.status(200).json()["sessions"], 0);
}

#[tokio::test]
async fn the_gate_goes_by_the_agents_own_targets() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let calls: Vec<Value> = (0..40)
        .map(|n| {
            interrupted(
                &format!("c{n}"),
                "desk",
                &format!("2025-06-11T10:{n:02}:00Z"),
                (300, 700),
                n < 8,
            )
        })
        .collect();
    send(&acme.ingestor().await, &calls).await;
    server.analysed().await;
    let reader = acme.reader().await.header("cache-control", "no-cache");
    let all = reader.get(PATH).await.status(200).json();
    assert_eq!(
        (&all["falseInterruptions"], &all["falseInterruptionRate"]),
        (&json!(8), &json!(20.0)),
        "{all}"
    );
    assert_eq!(all["gate"]["verdict"], "fail");
    let check = &all["gate"]["checks"][3];
    assert_eq!(
        *check,
        json!({"metric": "falseInterruptionRate", "value": 20.0, "target": 10.0, "pass": false, "samples": 40})
    );
    let lax = json!({"targets": {"interruption": {"false_rate": 0.3, "min_interruptions": 10}}});
    acme.client("admin")
        .await
        .put("/api/v1/settings/targets?agent=desk", &lax)
        .await
        .status(200);
    let desk = reader
        .get(&format!("{PATH}?agentId=desk"))
        .await
        .status(200)
        .json();
    assert_eq!(
        (&desk["gate"]["verdict"], &desk["gate"]["minInterruptions"]),
        (&json!("pass"), &json!(10))
    );
    assert_eq!(
        reader.get(PATH).await.status(200).json()["gate"]["verdict"],
        "fail"
    );
}

#[tokio::test]
async fn an_unchanged_answer_is_a_304_and_faults_are_told() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let reader = acme.reader().await;
    let first = reader.get(PATH).await.status(200);
    let again = reader.header("if-none-match", &first.header("etag"));
    again.get(PATH).await.status(304);
    let wrong = reader
        .get(&format!(
            "{PATH}?agent=x&startedAfter=2025-06-12T00:00:00Z&period=2h"
        ))
        .await;
    assert_eq!(wrong.problem(400, "invalid-request").faults().len(), 3);
    acme.ingestor()
        .await
        .get(PATH)
        .await
        .problem(403, "missing-scope");
}

#[tokio::test]
async fn what_was_thrown_away_is_no_turn() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let mut turns = Vec::new();
    for n in 0..5 {
        let at = 10_000 * n;
        turns.push(
            json!({"index": 2 * n, "speaker": "user", "text": format!("Question number {n}"),
            "startMs": at, "endMs": at + 2000}),
        );
        turns.push(
            json!({"index": 2 * n + 1, "speaker": "agent", "text": format!("Answer number {n}"),
            "startMs": at + 2900, "endMs": at + 6000}),
        );
    }
    for n in 0..3 {
        turns.push(
            json!({"index": 20 + n, "speaker": "agent", "cancelled": true,
            "startMs": 10_000 * n + 2500, "endMs": 10_000 * n + 2600}),
        );
    }
    let call = json!({"session": {"sessionId": "thrown", "agentId": "desk", "status": "completed",
        "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T10:00:47Z"}, "turns": turns});
    send(&acme.ingestor().await, &[call]).await;
    server.analysed().await;
    let reader = acme.reader().await.header("cache-control", "no-cache");
    let all = reader.get(PATH).await.status(200).json();
    assert_eq!(
        (&all["agentTurns"], &all["byAgent"][0]["agentTurns"]),
        (&json!(5), &json!(5))
    );
}
