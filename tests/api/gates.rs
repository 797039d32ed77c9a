//! Release gates: what they compare, what they say, and that they are kept.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{Client, TestServer};

/// `count` calls of a version with one answer each, all about `gap_ms` long.
fn calls(version: &str, count: i64, gap_ms: i64, failed: i64) -> Vec<Value> {
    (0..count)
        .map(|n| {
            let started_at = format!("2025-06-11T09:{:02}:{:02}Z", n / 60, n % 60);
            let gap = gap_ms + n % 10;
            json!({
                "session": {"sessionId": format!("{version}-{n}"), "agentId": "desk", "agentVersion": version,
                    "startedAt": started_at, "endedAt": started_at,
                    "status": if n < failed { "failed" } else { "completed" }, "costUsd": 0.01},
                "turns": [
                    {"speaker": "user", "text": "Are you open?", "startMs": 0, "endMs": 1000},
                    {"speaker": "agent", "text": "We are", "startMs": 1000 + gap, "endMs": 3000 + gap}
                ]
            })
        })
        .collect()
}

async fn send(ingestor: &Client, calls: &[Value]) {
    let answer = ingestor
        .post("/v1/ingest/calls", &json!({ "calls": calls }))
        .await;
    assert_eq!(answer.status(200).json()["accepted"], calls.len());
}

fn arm(version: &str) -> Value {
    json!({"agentId": "desk", "agentVersion": version})
}

#[tokio::test]
async fn a_slower_version_fails_and_an_equal_one_passes() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    for (version, gap_ms) in [("v1", 800), ("v2", 801), ("v3", 1400)] {
        send(&ingestor, &calls(version, 60, gap_ms, 0)).await;
    }
    server.analysed().await;
    let reader = acme.reader().await;
    let metrics = json!(["turn_latency_p95_ms", "error_rate", "cost_per_call_usd"]);
    let gate = async |candidate: &str| {
        let question =
            json!({"candidate": arm(candidate), "baseline": arm("v1"), "metrics": metrics});
        let answer = reader
            .post("/v1/gates/evaluate", &question)
            .await
            .status(201);
        let report = answer.json();
        let path = answer.header("location");
        assert_eq!(
            path,
            format!("/v1/gates/{}", report["id"].as_str().unwrap())
        );
        assert_eq!(reader.get(&path).await.status(200).json(), report);
        report
    };
    let (equal, slower) = (gate("v2").await, gate("v3").await);
    assert_eq!(equal["verdict"], "pass", "{equal}");
    assert_eq!(
        (&equal["candidate"]["calls"], &equal["baseline"]["calls"]),
        (&json!(60), &json!(60))
    );
    assert_eq!(slower["verdict"], "fail", "{slower}");
    let check = &slower["checks"][0];
    assert_eq!(
        (&check["metric"], &check["verdict"]),
        (&json!("turn_latency_p95_ms"), &json!("fail"))
    );
    assert_eq!(
        (&check["value"], &check["target"], &check["measurements"]),
        (&json!(1409.0), &json!(809.0), &json!(60))
    );
    assert_eq!(slower["checks"][1]["verdict"], "pass");
    // The same again, from the same inputs.
    let again = gate("v3").await;
    assert_eq!(
        (&again["checks"], &again["inputsDigest"]),
        (&slower["checks"], &slower["inputsDigest"])
    );
    assert_ne!(again["inputsDigest"], equal["inputsDigest"]);
    // Another tenant's is not there.
    let other = server.tenant("other").await.reader().await;
    let path = format!("/v1/gates/{}", again["id"].as_str().unwrap());
    other.get(&path).await.problem(404, "not-found");
    other
        .get("/v1/gates/nonsense")
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn without_a_baseline_targets_decide() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    send(&acme.ingestor().await, &calls("v1", 40, 1000, 4)).await;
    server.analysed().await;
    let reader = acme.reader().await;
    let gate = async |question: Value| {
        reader
            .post("/v1/gates/evaluate", &question)
            .await
            .status(201)
            .json()
    };
    let own = gate(json!({"candidate": arm("v1"), "metrics": ["turn_latency_p95_ms"]})).await;
    assert_eq!(
        (&own["verdict"], &own["checks"][0]["target"]),
        (&json!("pass"), &json!(1500.0))
    );
    assert_eq!(own["baseline"], Value::Null);
    let strict = json!({"candidate": arm("v1"), "metrics": ["turn_latency_p95_ms", "error_rate"],
        "targets": {"turn_latency_p95_ms": 900, "error_rate": 0.2}});
    let strict = gate(strict).await;
    let checks = strict["checks"].as_array().unwrap().iter();
    let verdicts: Vec<&Value> = checks.map(|check| &check["verdict"]).collect();
    assert_eq!(verdicts, ["fail", "pass"]);
    assert_eq!(strict["verdict"], "fail");
    assert_eq!(strict["checks"][1]["value"], 0.1);
    // Nobody interrupted it: of that nothing can be said.
    let all = gate(json!({"candidate": arm("v1")})).await;
    assert_eq!(all["verdict"], "insufficient_data", "{all}");
    let few =
        gate(json!({"candidate": arm("v1"), "metrics": ["turn_latency_p95_ms"], "minimum": 41}))
            .await;
    assert_eq!(few["verdict"], "insufficient_data");
    let nobody = gate(json!({"candidate": {"agentId": "nobody"}})).await;
    assert_eq!(
        (&nobody["verdict"], &nobody["candidate"]["calls"]),
        (&json!("insufficient_data"), &json!(0))
    );
}

#[tokio::test]
async fn clocks_are_told_and_never_mixed() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    // Most answers were measured by the source, some only by the times of turns, and those are slower.
    let mut mixed = calls("v2", 50, 900, 0);
    for call in &mut mixed[..40] {
        call["turns"][1]["latencyMs"] = json!(950);
    }
    for call in &mut mixed[40..] {
        let start = call["turns"][1]["startMs"].as_i64().unwrap() + 4000;
        call["turns"][1]["startMs"] = json!(start);
        call["turns"][1]["endMs"] = json!(start + 2000);
    }
    let ingestor = acme.ingestor().await;
    send(&ingestor, &mixed).await;
    send(&ingestor, &calls("v1", 40, 900, 0)).await;
    server.analysed().await;
    let reader = acme.reader().await;
    let gate = async |question: Value| {
        reader
            .post("/v1/gates/evaluate", &question)
            .await
            .status(201)
            .json()
    };
    let metrics = json!(["turn_latency_p95_ms"]);
    let own = gate(json!({"candidate": arm("v2"), "metrics": metrics})).await;
    let check = &own["checks"][0];
    assert_eq!(
        (&check["clock"], &check["value"], &check["measurements"]),
        (&json!("source"), &json!(950.0), &json!(40))
    );
    assert_eq!(
        own["candidate"]["clocks"],
        json!({"source": 40, "timestamps": 10, "stages": 0})
    );
    assert_eq!(
        (&own["verdict"], &own["candidate"]["truncated"]),
        (&json!("pass"), &json!(false))
    );
    // The baseline knows another clock only: of that nothing follows.
    let question = json!({"candidate": arm("v2"), "baseline": arm("v1"), "metrics": metrics});
    let other = gate(question).await;
    assert_eq!(other["verdict"], "insufficient_data");
    assert_eq!(other["checks"][0]["baselineMeasurements"], 0);
    assert_eq!(other["baseline"]["clocks"]["timestamps"], 40);
    // Turned round, enough of the candidate's are by the same clock if fewer are wanted.
    let question =
        json!({"candidate": arm("v1"), "baseline": arm("v2"), "metrics": metrics, "minimum": 10});
    let turned = gate(question).await;
    assert_eq!(turned["checks"][0]["clock"], "timestamps");
    assert_eq!(turned["verdict"], "pass", "{turned}");
    // A gate that was kept before clocks were told knows of none.
    let mut connection = server.connect().await;
    let older = "update gates set report = ((report::jsonb #- '{candidate,clocks}') #- '{checks,0,clock}')::text";
    sqlx::query(older)
        .execute(&mut connection)
        .await
        .expect("done");
    let path = format!("/v1/gates/{}", own["id"].as_str().expect("an id"));
    let older = reader.get(&path).await.status(200).json();
    assert_eq!(
        (&older["candidate"]["clocks"], &older["checks"][0]["clock"]),
        (&Value::Null, &Value::Null)
    );
    // What-if goes by the same rule.
    let answer = reader
        .get("/api/v1/analytics/what-if?stage=unexplained&ms=100")
        .await
        .status(200)
        .json();
    assert_eq!(
        (&answer["clock"], &answer["measured_answers"]),
        (&json!("timestamps"), &json!(50))
    );
    assert_eq!(answer["clocks"]["source"], 40);
}

#[tokio::test]
async fn a_metric_without_a_target_needs_something_to_be_held_against() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    send(&ingestor, &calls("v1", 40, 900, 0)).await;
    send(&ingestor, &calls("v2", 40, 900, 0)).await;
    server.analysed().await;
    let reader = acme.reader().await;
    let metrics = json!(["dead_air_per_call_ms", "error_rate", "turn_latency_p95_ms"]);
    let alone = json!({"candidate": arm("v1"), "metrics": metrics});
    let names = reader
        .post("/v1/gates/evaluate", &alone)
        .await
        .problem(422, "invalid-content")
        .fault_names();
    assert_eq!(
        names,
        ["targets.dead_air_per_call_ms", "targets.error_rate"]
    );
    let mut targeted = alone.clone();
    targeted["targets"] = json!({"dead_air_per_call_ms": 100, "error_rate": 0});
    let mut compared = alone.clone();
    compared["baseline"] = arm("v2");
    for question in [targeted, compared] {
        let found = reader
            .post("/v1/gates/evaluate", &question)
            .await
            .status(201)
            .json();
        assert_eq!(found["verdict"], "pass", "{found}");
        assert_eq!(found["checks"].as_array().unwrap().len(), 3);
    }
    // Not asked for, they are not looked at.
    let all = json!({"candidate": arm("v1")});
    let all = reader
        .post("/v1/gates/evaluate", &all)
        .await
        .status(201)
        .json();
    let checks = all["checks"].as_array().unwrap().iter();
    assert!(checks.clone().count() > 0);
    assert!(checks.clone().all(|check| check["metric"] != "error_rate"));
}

#[tokio::test]
async fn calls_that_are_not_analysed_yet_leave_it_open() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    send(&ingestor, &calls("v1", 40, 900, 0)).await;
    server.analysed().await;
    // Nobody analyses these.
    send(&ingestor, &calls("v2", 3, 900, 0)).await;
    let reader = acme.reader().await;
    let metrics = json!(["turn_latency_p95_ms"]);
    let question =
        json!({"candidate": {"agentId": "desk"}, "baseline": arm("v1"), "metrics": metrics});
    let open = reader
        .post("/v1/gates/evaluate", &question)
        .await
        .status(201)
        .json();
    assert_eq!(
        (&open["verdict"], &open["pendingCalls"]),
        (&json!("insufficient_data"), &json!(3))
    );
    // What it found meanwhile is told, and would have passed.
    assert_eq!(open["checks"][0]["verdict"], "pass");
    assert_eq!(open["candidate"]["calls"], 40);
    // Other calls' analyses are not waited for.
    let question = json!({"candidate": arm("v1"), "metrics": metrics});
    let others = reader.post("/v1/gates/evaluate", &question).await;
    assert_eq!(others.status(201).json()["pendingCalls"], 0);
    // Once somebody does, it goes on.
    let question = json!({"candidate": {"agentId": "desk"}, "metrics": metrics});
    let (asked, ()) = tokio::join!(
        reader.post("/v1/gates/evaluate", &question),
        server.analysed()
    );
    let done = asked.status(201).json();
    assert_eq!(
        (
            &done["verdict"],
            &done["pendingCalls"],
            &done["candidate"]["calls"]
        ),
        (&json!("pass"), &json!(0), &json!(43))
    );
}

#[tokio::test]
async fn analyses_by_other_targets_than_todays_leave_it_open() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    send(&ingestor, &calls("v1", 40, 900, 0)).await;
    server.analysed().await;
    acme.client("admin")
        .await
        .put(
            "/api/v1/settings/targets",
            &json!({"targets": {"stages": {"tts_ms": 400}}}),
        )
        .await
        .status(200);
    // Nobody has analysed them again.
    let question = json!({"candidate": arm("v1"), "metrics": ["turn_latency_p95_ms"]});
    let reader = acme.reader().await;
    let open = reader.post("/v1/gates/evaluate", &question).await;
    let open = open.status(201).json();
    assert_eq!(
        (&open["verdict"], &open["pendingCalls"]),
        (&json!("insufficient_data"), &json!(40))
    );
    server.analysed().await;
    let done = reader.post("/v1/gates/evaluate", &question).await;
    let done = done.status(201).json();
    assert_eq!(
        (&done["verdict"], &done["pendingCalls"]),
        (&json!("pass"), &json!(0))
    );
}

#[tokio::test]
async fn a_wrong_question_is_refused_with_all_its_faults() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let reader = acme.reader().await;
    let wrong = json!({
        "candidate": {"agent": "desk", "startedAfter": "yesterday"}, "baseline": 5, "metrics": ["speed"],
        "targets": {"error_rte": 1}, "minimum": 0, "tolerance": "x", "more": 1
    });
    let names = reader
        .post("/v1/gates/evaluate", &wrong)
        .await
        .problem(422, "invalid-content")
        .fault_names();
    assert_eq!(
        names,
        [
            "candidate.agentId",
            "candidate.startedAfter",
            "candidate.agent",
            "baseline",
            "metrics/0",
            "targets.error_rte",
            "minimum",
            "tolerance",
            "more"
        ]
    );
    let array = reader
        .post("/v1/gates/evaluate", &json!([]))
        .await
        .problem(422, "invalid-content");
    assert_eq!(array.faults(), ["body must be an object, got an array"]);
    acme.ingestor()
        .await
        .post("/v1/gates/evaluate", &json!({}))
        .await
        .problem(403, "missing-scope");
}

/// Runs `voxray gate` against a server, and answers its exit code and what it printed.
async fn command(server: &TestServer, key: &str, more: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_voxray"))
        .args(["gate", "--url", &server.base])
        .args(more)
        .env("VOXRAY_API_KEY", key)
        .env_remove("DATABASE_URL")
        .output()
        .await
        .expect("the program runs");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.code().unwrap_or(-1), text)
}

#[tokio::test]
async fn the_command_says_it_by_its_exit_code() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    send(&ingestor, &calls("v1", 40, 800, 0)).await;
    send(&ingestor, &calls("v2", 40, 1600, 0)).await;
    server.analysed().await;
    let key = acme.key("sessions:read").await;
    // The command's clock is the system's; the server's stands in 2025.
    let run = async |more: &[&str]| {
        command(
            &server,
            &key,
            &[
                &["--agent", "desk", "--metric", "turn_latency_p95_ms"],
                more,
            ]
            .concat(),
        )
        .await
    };
    let (code, text) = run(&["--agent-version", "v1"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("pass: gate "), "{text}");
    let (code, text) = run(&[
        "--agent-version",
        "v2",
        "--baseline-version",
        "v1",
        "--json",
    ])
    .await;
    assert_eq!(code, 1, "{text}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["verdict"], "fail");
    assert_eq!(run(&["--agent-version", "v3"]).await.0, 2);
    let (code, text) = run(&["--started-after", "yesterday"]).await;
    assert_eq!(code, 3);
    assert!(text.contains("candidate.startedAfter must be"), "{text}");
    assert_eq!(run(&["--metric", "speed"]).await.0, 3);
    assert_eq!(
        command(&server, "vxr_wrong", &["--agent", "desk"]).await.0,
        3
    );
    let (code, text) = command(&server, &key, &["--help"]).await;
    assert_eq!(code, 0);
    assert!(
        text.contains("insufficient data, 3 error") && text.contains("Examples:"),
        "{text}"
    );
}
