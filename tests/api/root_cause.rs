//! Why a call felt slow: one call's issues, the lists that go by them, and sums over many calls.

use serde_json::{Value, json};
use voxray::services::analysis;

use crate::support::{Client, TestServer};

/// A call whose second answer waits long for its voice.
fn slow(id: &str, agent: &str, started_at: &str, tts_ms: i64) -> Value {
    let gap = 700 + tts_ms;
    json!({
        "session": {"sessionId": id, "startedAt": started_at, "endedAt": started_at, "status": "completed",
            "agentId": agent, "channel": "inbound", "campaign": "spring",
            "providers": {"stt": "deepgram", "llm": "openai", "tts": "elevenlabs"}},
        "turns": [
            {"index": 0, "speaker": "user", "text": "I want a table", "startMs": 0, "endMs": 1000},
            {"index": 1, "speaker": "agent", "text": "For how many?", "startMs": 1800, "endMs": 3000,
                "sttMs": 100, "endpointingMs": 100, "llmMs": 300, "ttsMs": 300},
            {"index": 2, "speaker": "user", "text": "For two of us", "startMs": 4000, "endMs": 5000},
            {"index": 3, "speaker": "agent", "text": "That is booked", "startMs": 5000 + gap, "endMs": 7000 + gap,
                "sttMs": 100, "endpointingMs": 100, "llmMs": 500, "ttsMs": tts_ms}
        ]
    })
}

async fn send(ingestor: &Client, calls: &[Value]) {
    let body = json!({ "calls": calls });
    let answer = ingestor.post("/v1/ingest/calls", &body).await.status(200);
    assert_eq!(answer.json()["accepted"], calls.len());
}

async fn ids(reader: &Client, path: &str) -> Vec<String> {
    let list = reader.get(path).await.status(200).json();
    let items = list["data"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| item["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn a_slow_turn_is_named_with_its_stage() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    send(
        &acme.ingestor().await,
        &[slow("one", "desk", "2025-06-11T10:00:00Z", 2300)],
    )
    .await;
    let reader = acme.transcripts().await;
    let path = "/v1/observability/sessions/one/root-cause";
    let found = reader.get(path).await.status(200).json();
    let issues = found["issues"].as_array().unwrap();
    let issue = issues
        .iter()
        .find(|issue| issue["type"] == "high_latency")
        .expect("an issue");
    assert_eq!(
        (&issue["turn"], &issue["stage"], &issue["provider"]),
        (&json!(3), &json!("tts"), &json!("elevenlabs"))
    );
    assert!(
        issue["description"].as_str().unwrap().contains("2.3s"),
        "{issue}"
    );
    assert!(issue["impactMs"].as_i64().unwrap() > 0, "{issue}");
    // Nothing is known of other providers here, so none is named.
    let recommendation = issue["recommendation"].as_str().expect("a text");
    assert!(!recommendation.contains("Consider "), "{recommendation}");
    // The parts of a latency add up.
    for turn in found["turns"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|turn| !turn["gapMs"].is_null())
    {
        let stages = turn["stages"].as_array().unwrap().iter();
        let sum: i64 = stages.map(|stage| stage["ms"].as_i64().unwrap()).sum();
        assert_eq!(
            sum + turn["unexplainedMs"].as_i64().unwrap(),
            turn["gapMs"].as_i64().unwrap(),
            "{turn}"
        );
    }
    assert_eq!(
        (
            &found["coverage"]["answers"],
            &found["coverage"]["measured"]
        ),
        (&json!(2), &json!(2))
    );
    // The same to the byte, by every id, and whoever asks as often as they like.
    let again = reader.get(path).await.status(200).text();
    assert_eq!(again, reader.get(path).await.status(200).text());
    let id = found["sessionId"].as_str().unwrap();
    let by_call = reader
        .get(&format!("/v1/observability/calls/{id}/root-cause"))
        .await;
    assert_eq!(by_call.status(200).text(), again);
    reader
        .get("/v1/observability/sessions/none/root-cause")
        .await
        .problem(404, "not-found");
    let other = server.tenant("other").await.reader().await;
    other
        .get(&format!("/v1/observability/sessions/{id}/root-cause"))
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn a_good_call_has_no_issues_and_what_is_usual_is_told_beside() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let mut calls: Vec<Value> = (0..20)
        .map(|n| {
            slow(
                &format!("good-{n}"),
                "desk",
                &format!("2025-06-10T10:{n:02}:00Z"),
                300,
            )
        })
        .collect();
    calls.push(slow("slow", "desk", "2025-06-11T11:00:00Z", 2300));
    // One that fell back from the quicker provider, whose name is no advice there.
    let mut fallen = slow("fallen", "desk", "2025-06-11T11:10:00Z", 2300);
    fallen["session"]["providers"]["tts"] = json!("cartesia");
    for turn in fallen["turns"].as_array_mut().expect("turns") {
        if turn["speaker"] == "agent" {
            turn["providers"] = json!({"tts": "elevenlabs"});
        }
    }
    calls.push(fallen);
    // Another agent's voice comes from somebody quicker.
    calls.extend((0..20).map(|n| {
        let started_at = format!("2025-06-10T11:{n:02}:00Z");
        let mut call = slow(&format!("quick-{n}"), "sales", &started_at, 150);
        call["session"]["providers"]["tts"] = json!("cartesia");
        call["turns"][1]["ttsMs"] = json!(150);
        call
    }));
    send(&acme.ingestor().await, &calls).await;
    let reader = acme.reader().await;
    let good = reader
        .get("/v1/observability/sessions/good-1/root-cause")
        .await
        .status(200)
        .json();
    assert_eq!(good["issues"], json!([]));
    let slow = reader
        .get("/v1/observability/sessions/slow/root-cause")
        .await
        .status(200)
        .json();
    let recommendation = slow["issues"][0]["recommendation"].as_str();
    let recommendation = recommendation.expect("a recommendation");
    assert!(
        recommendation.contains("Consider cartesia: ")
            && recommendation.contains("40 measurements"),
        "{recommendation}"
    );
    let fallen = reader
        .get("/v1/observability/sessions/fallen/root-cause")
        .await
        .status(200)
        .json();
    let mut issues = fallen["issues"].as_array().expect("issues").iter();
    let late = issues
        .find(|issue| issue["type"] == "high_latency")
        .expect("a late answer");
    assert_eq!(
        (&late["stage"], &late["provider"]),
        (&json!("tts"), &json!("elevenlabs"))
    );
    let advice = late["recommendation"].as_str().expect("a recommendation");
    assert!(!advice.contains("Consider"), "{advice}");
    let evidence = &slow["issues"][0]["evidence"];
    assert_eq!(evidence["usualMeasurements"], 40, "{slow}");
    let usual = evidence["usualMs"].as_f64().unwrap();
    assert!((usual / 300.0 - 1.0).abs() < 0.011, "{usual}");
}

#[tokio::test]
async fn what_is_usual_is_usual_of_a_model() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    // Two models of one provider: one is quick, the other is as slow as in the call that is asked about.
    let with_model = |id: String, started_at: String, tts_ms: i64, model: Option<&str>| {
        let mut call = slow(&id, "desk", &started_at, tts_ms);
        for turn in [1, 3] {
            call["turns"][turn]["ttsMs"] = json!(tts_ms);
            if let Some(model) = model {
                call["turns"][turn]["models"] = json!({"tts": model});
            }
        }
        call
    };
    let mut calls = Vec::new();
    for n in 0..20 {
        let at = |hour: i32| format!("2025-06-10T{hour:02}:{n:02}:00Z");
        calls.push(with_model(format!("turbo-{n}"), at(10), 200, Some("turbo")));
        calls.push(with_model(format!("rich-{n}"), at(11), 2000, Some("rich")));
    }
    for (id, model) in [
        ("of-turbo", Some("turbo")),
        ("of-rich", Some("rich")),
        ("of-none", None),
        ("of-new", Some("new")),
    ] {
        calls.push(with_model(
            id.to_owned(),
            "2025-06-11T11:00:00Z".to_owned(),
            2300,
            model,
        ));
    }
    send(&acme.ingestor().await, &calls).await;
    server.analysed().await;
    let reader = acme.reader().await;
    let usual = async |id: &str| {
        let path = format!("/v1/observability/sessions/{id}/root-cause");
        let found = reader.get(&path).await.status(200).json();
        let issues = found["issues"].as_array().expect("issues");
        let issue = issues.iter().find(|issue| issue["type"] == "high_latency");
        let evidence = issue.expect("an issue")["evidence"].clone();
        (
            evidence["usualMs"].as_f64().map(f64::round),
            evidence["usualMeasurements"].clone(),
        )
    };
    let near = |(ms, count): (Option<f64>, Value), wanted: f64, measurements: i64| {
        let ms = ms.expect("a median");
        assert!((ms / wanted - 1.0).abs() < 0.02, "{ms} is not {wanted}");
        assert_eq!(count, measurements);
    };
    near(usual("of-turbo").await, 200.0, 40);
    near(usual("of-rich").await, 2000.0, 40);
    // Without a model the provider's are one.
    assert_eq!(usual("of-none").await.1, 80);
    // Of a model that was not used before, nothing is usual.
    assert_eq!(usual("of-new").await, (None, Value::Null));
}

#[tokio::test]
async fn what_is_quoted_is_withheld_and_the_issues_are_the_same() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let mut call = slow("one", "desk", "2025-06-11T10:00:00Z", 2300);
    call["turns"][2]["text"] = json!("hello, are you there?");
    call["toolCalls"] = json!([{"callId": "t", "turn": 3, "name": "book", "arguments": {"secret": "mauve"},
        "error": "mauve is sold out", "startMs": 5100, "endMs": 5200}]);
    send(&acme.ingestor().await, &[call]).await;
    let path = "/v1/observability/sessions/one/root-cause";
    let whole = acme.transcripts().await.get(path).await.status(200).json();
    let less = acme.reader().await.get(path).await.status(200).json();
    let types = |found: &Value| -> Vec<Value> {
        let issues = found["issues"].as_array().unwrap();
        issues
            .iter()
            .map(|issue| json!([issue["type"], issue["turn"], issue["impactMs"]]))
            .collect()
    };
    assert_eq!(types(&whole), types(&less));
    let tool = json!([
        "tool_error",
        3,
        whole["issues"]
            .as_array()
            .unwrap()
            .iter()
            .find(|i| i["type"] == "tool_error")
            .unwrap()["impactMs"]
    ]);
    assert!(types(&whole).contains(&tool), "{whole}");
    assert!(
        !less.to_string().contains("mauve") && !less.to_string().contains("are you there"),
        "{less}"
    );
    assert_eq!(less["contentWithheld"], true);
    assert_eq!(whole.get("contentWithheld"), None);
    assert!(whole.to_string().contains("mauve"), "{whole}");
}

#[tokio::test]
async fn a_tool_of_a_turn_that_is_not_there_is_of_none() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let mut call = slow("call-1", "desk", "2025-06-11T10:00:00Z", 300);
    call["toolCalls"] = json!([{"callId": "t", "turn": 99, "name": "find", "error": "no"}]);
    let ingestor = acme.ingestor().await;
    ingestor.post("/v1/ingest/calls", &call).await.status(200);
    let path = "/v1/observability/sessions/call-1/root-cause";
    let found = acme.reader().await.get(path).await.status(200).json();
    let issues = found["issues"].as_array().expect("issues").iter();
    let turns: Vec<&Value> = issues
        .filter(|issue| issue["type"] == "tool_error")
        .map(|issue| &issue["turn"])
        .collect();
    assert_eq!(turns, [&Value::Null], "{found}");
}

#[tokio::test]
async fn lists_go_by_what_was_found() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let ingestor = acme.ingestor().await;
    let calls: Vec<Value> = (0..6)
        .map(|n| {
            let tts_ms = if n % 2 == 0 { 2300 } else { 300 };
            slow(
                &format!("call-{n}"),
                "desk",
                &format!("2025-06-11T10:0{n}:00Z"),
                tts_ms,
            )
        })
        .collect();
    send(&ingestor, &calls).await;
    server.analysed().await;
    let reader = acme.reader().await;
    let with = ids(&reader, "/v1/observability/sessions?hasIssues=true").await;
    assert_eq!(with.len(), 3);
    assert_eq!(
        ids(&reader, "/v1/observability/sessions?issueType=high_latency").await,
        with
    );
    assert_eq!(
        ids(&reader, "/v1/observability/sessions?hasIssues=false")
            .await
            .len(),
        3
    );
    assert_eq!(
        ids(&reader, "/v1/observability/sessions?issueType=voicemail")
            .await
            .len(),
        0
    );
    let page = reader
        .get("/v1/observability/sessions?issueType=high_latency&limit=2")
        .await
        .status(200)
        .json();
    let cursor = page["nextCursor"].as_str().unwrap();
    let rest = ids(
        &reader,
        &format!("/v1/observability/sessions?issueType=high_latency&limit=2&cursor={cursor}"),
    )
    .await;
    assert_eq!(rest, with[2..]);
    let list = reader
        .get("/v1/observability/sessions")
        .await
        .status(200)
        .json();
    let flags: Vec<bool> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["hasIssues"].as_bool().unwrap())
        .collect();
    assert_eq!(flags, [false, true, false, true, false, true]);
    assert_eq!(
        ids(
            &reader,
            "/api/v1/conversations?has_issues=true&campaign=spring"
        )
        .await
        .len(),
        3
    );
    assert_eq!(
        ids(
            &reader,
            "/api/v1/conversations?issue_type=high_latency&has_issues=false"
        )
        .await
        .len(),
        0
    );
    let voice = reader
        .get("/api/v1/voice-sessions?issue_type=high_latency")
        .await
        .status(200)
        .json();
    assert_eq!(voice["total"], 3);
    let one = with[0].clone();
    let detail = reader
        .get(&format!("/api/v1/conversations/{one}"))
        .await
        .status(200)
        .json();
    assert_eq!(detail["has_issues"], true);
    reader
        .get("/v1/observability/sessions?issueType=slow")
        .await
        .problem(400, "invalid-request");
    // A correction takes the issue away.
    send(
        &ingestor,
        &[slow("call-0", "desk", "2025-06-11T10:00:00Z", 310)],
    )
    .await;
    server.analysed().await;
    assert_eq!(
        ids(&reader, "/v1/observability/sessions?hasIssues=true")
            .await
            .len(),
        2
    );
}

#[tokio::test]
async fn other_targets_give_other_issues_and_the_past_is_looked_at_again() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let calls = [
        slow("a", "desk", "2025-06-11T10:00:00Z", 700),
        slow("b", "sales", "2025-06-11T10:01:00Z", 700),
    ];
    send(&acme.ingestor().await, &calls).await;
    server.analysed().await;
    let (reader, admin) = (acme.reader().await, acme.client("admin").await);
    let path = "/v1/observability/sessions?hasIssues=true";
    assert_eq!(ids(&reader, path).await.len(), 0);
    let strict = json!({"targets": {"turn": {"target_ms": 1000}}});
    admin
        .put("/api/v1/settings/targets?agent=desk", &strict)
        .await
        .status(200);
    server.analysed().await;
    assert_eq!(ids(&reader, path).await.len(), 1);
    let found = reader
        .get("/v1/observability/sessions/a/root-cause")
        .await
        .status(200)
        .json();
    assert_eq!(
        (&found["targetsVersion"], &found["issues"][0]["type"]),
        (&json!(1), &json!("high_latency"))
    );
    let other = reader
        .get("/v1/observability/sessions/b/root-cause")
        .await
        .status(200)
        .json();
    assert_eq!(
        (&other["targetsVersion"], &other["issues"]),
        (&json!(0), &json!([]))
    );
    admin
        .put("/api/v1/settings/targets", &strict)
        .await
        .status(200);
    server.analysed().await;
    assert_eq!(ids(&reader, path).await.len(), 2);
}

#[tokio::test]
async fn two_processes_share_the_work_and_what_was_left_undone_is_taken_up() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let calls: Vec<Value> = (0..300)
        .map(|n| {
            slow(
                &format!("call-{n}"),
                "desk",
                &format!("2025-06-11T10:{:02}:{:02}Z", n / 60, n % 60),
                2300,
            )
        })
        .collect();
    send(&acme.ingestor().await, &calls).await;
    let store = &server.app.store;
    // Taken up by a process that dies: its marks stay.
    drop(
        voxray::store::analysis::take(store, server.clock.now())
            .await
            .unwrap(),
    );
    let (now, other) = (server.clock.now(), store.clone());
    let (mine, theirs) = tokio::join!(analysis::drain(store, now), analysis::drain(&other, now));
    mine.unwrap();
    theirs.unwrap();
    let reader = acme.reader().await;
    let causes = reader
        .get("/api/v1/analytics/root-causes")
        .await
        .status(200)
        .json();
    assert_eq!(
        (&causes["analysed_calls"], &causes["calls_with_issues"]),
        (&json!(300), &json!(300))
    );
}

#[tokio::test]
async fn a_clock_that_went_ahead_keeps_no_call_from_being_analysed() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    server.clock.advance(chrono::TimeDelta::hours(1));
    let call = slow("one", "desk", "2025-06-11T10:00:00Z", 2300);
    send(&acme.ingestor().await, &[call]).await;
    server.clock.advance(chrono::TimeDelta::hours(-1));
    let reader = acme.reader().await;
    let question = json!({"candidate": {"agentId": "desk"}, "metrics": ["error_rate"],
        "targets": {"error_rate": 0.1}});
    let gate = reader.post("/v1/gates/evaluate", &question).await;
    assert_eq!(gate.status(201).json()["pendingCalls"], 1);
    server.analysed().await;
    let causes = reader.get("/api/v1/analytics/root-causes").await;
    assert_eq!(causes.status(200).json()["analysed_calls"], 1);
}

#[tokio::test]
async fn causes_are_put_together() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let calls = [
        slow("a", "desk", "2025-06-11T10:00:00Z", 2300),
        slow("b", "desk", "2025-06-11T10:01:00Z", 3300),
        slow("c", "sales", "2025-06-11T10:02:00Z", 300),
        slow("d", "sales", "2025-06-09T10:02:00Z", 2300),
    ];
    send(&acme.ingestor().await, &calls).await;
    server.analysed().await;
    let reader = acme.reader().await;
    let path = "/api/v1/analytics/root-causes";
    let first = reader.get(path).await.status(200);
    let day = first.json();
    assert_eq!(
        (
            &day["analysed_calls"],
            &day["calls_with_issues"],
            &day["calls_with_issues_rate"]
        ),
        (&json!(3), &json!(2), &json!(66.7))
    );
    let by_type = &day["by_type"][0];
    assert_eq!(
        (&by_type["type"], &by_type["calls"], &by_type["occurrences"]),
        (&json!("high_latency"), &json!(2), &json!(2))
    );
    assert_eq!(day["by_stage"][0]["stage"], "tts");
    assert_eq!(
        (
            &day["by_agent"][0]["agent_key"],
            &day["by_agent"][0]["calls"]
        ),
        (&json!("desk"), &json!(2))
    );
    assert!(day["seconds_lost"].as_f64().unwrap() >= 4.0, "{day}");
    let again = reader.header("if-none-match", &first.header("etag"));
    again.get(path).await.status(304);
    let of = async |query: &str| {
        reader
            .get(&format!("{path}{query}"))
            .await
            .status(200)
            .json()["calls_with_issues"]
            .clone()
    };
    assert_eq!(of("?period=7d").await, 3);
    assert_eq!(of("?period=7d&agent_key=sales").await, 1);
    assert_eq!(of("?campaign=autumn").await, 0);
    assert_eq!(of("?started_after=2025-06-11T10:01:00Z").await, 1);
    let other = server.tenant("other").await.reader().await;
    let none = other.get(path).await.status(200).json();
    assert_eq!(
        (&none["analysed_calls"], &none["calls_with_issues_rate"]),
        (&json!(0), &json!(null))
    );
}

#[tokio::test]
async fn a_quicker_stage_would_have_saved() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let calls = [
        slow("a", "desk", "2025-06-11T10:00:00Z", 2300),
        slow("b", "desk", "2025-06-11T10:01:00Z", 300),
    ];
    send(&acme.ingestor().await, &calls).await;
    server.analysed().await;
    let reader = acme.reader().await;
    let answer = reader
        .get("/api/v1/analytics/what-if?stage=tts&ms=300")
        .await
        .status(200)
        .json();
    assert_eq!(
        answer,
        json!({
            "stage": "tts", "instead": "ms", "provider": null, "model": null, "ms": 300, "measurements": null, "calls": 2, "truncated": false, "answers": 4, "measured_answers": 4, "improved_answers": 1,
            "clock": "timestamps", "clocks": {"source": 0, "timestamps": 4, "stages": 0},
            "p50_latency_ms": {"now": 800.0, "what_if": 800.0}, "p95_latency_ms": {"now": 3000.0, "what_if": 1000.0},
            "seconds_saved": 2.0
        })
    );
    let nobody = reader
        .get("/api/v1/analytics/what-if?agent_key=nobody")
        .await
        .status(200)
        .json();
    assert_eq!(
        (&nobody["calls"], &nobody["p95_latency_ms"]["now"]),
        (&json!(0), &json!(null))
    );
    reader
        .get("/api/v1/analytics/what-if?stage=x&ms=-1")
        .await
        .problem(400, "invalid-request");
}

#[tokio::test]
async fn what_would_be_is_asked_by_what_is_usual_and_by_another_provider() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let mut calls: Vec<Value> = (0..15)
        .map(|n| {
            let started_at = format!("2025-06-10T10:{n:02}:00Z");
            let mut call = slow(&format!("own-{n}"), "desk", &started_at, 300);
            call["session"]["models"] = json!({"tts": "turbo"});
            call
        })
        .collect();
    // Another agent's voice comes from somebody quicker, with two models.
    calls.extend((0..16).map(|n| {
        let started_at = format!("2025-06-10T11:{n:02}:00Z");
        let mut call = slow(&format!("quick-{n}"), "sales", &started_at, 100);
        for (turn, model, ms) in [(1, "light", 100), (3, "rich", 200)] {
            call["turns"][turn]["providers"] = json!({"tts": "cartesia"});
            call["turns"][turn]["models"] = json!({"tts": model});
            call["turns"][turn]["ttsMs"] = json!(ms);
        }
        call
    }));
    calls.push(slow("slow", "desk", "2025-06-11T10:00:00Z", 2300));
    // What was long before is usual no more.
    calls.extend((0..40).map(|n| {
        let started_at = format!("2025-05-10T10:{n:02}:00Z");
        slow(&format!("old-{n}"), "desk", &started_at, 5000)
    }));
    send(&acme.ingestor().await, &calls).await;
    server.analysed().await;
    let reader = acme.reader().await;
    let range = "started_after=2025-06-10T00:00:00Z&started_before=2025-06-12T00:00:00Z";
    let ask = async |query: &str| {
        let path = format!("/api/v1/analytics/what-if?stage=tts&{range}&{query}");
        reader.get(&path).await.status(200).json()
    };
    let usual = ask("instead=usual&agent_key=desk").await;
    assert_eq!(
        (&usual["instead"], &usual["measurements"], &usual["calls"]),
        (&json!("usual"), &json!(32), &json!(16)),
        "{usual}"
    );
    let ms = usual["ms"].as_i64().expect("a time");
    assert!((297..=303).contains(&ms), "{usual}");
    assert_eq!(usual["improved_answers"].as_i64(), Some(1), "{usual}");
    assert_eq!(usual["p95_latency_ms"]["now"], 1000.0, "{usual}");
    // The same as by that time itself.
    let by_ms = ask(&format!("ms={ms}&agent_key=desk")).await;
    for name in ["p50_latency_ms", "p95_latency_ms", "seconds_saved"] {
        assert_eq!(usual[name], by_ms[name], "{name}");
    }
    let other = ask("provider=cartesia&agent_key=desk").await;
    assert_eq!(
        (
            &other["instead"],
            &other["provider"],
            &other["measurements"]
        ),
        (&json!("provider"), &json!("cartesia"), &json!(32)),
        "{other}"
    );
    assert_eq!(other["calls"], 16);
    let ms = other["ms"].as_i64().expect("a time");
    assert!((99..=101).contains(&ms), "{other}");
    assert!(other["seconds_saved"].as_f64() > usual["seconds_saved"].as_f64());
    // One of its models alone was measured too seldom.
    let few = ask("provider=cartesia&model=rich").await;
    assert_eq!(
        (&few["model"], &few["ms"], &few["measurements"]),
        (&json!("rich"), &json!(null), &json!(16))
    );
    assert!(few["p95_latency_ms"]["now"].as_f64().is_some(), "{few}");
    for name in ["improved_answers", "seconds_saved"] {
        assert_eq!(few[name], json!(null), "{name}");
    }
    assert_eq!(few["p95_latency_ms"]["what_if"], json!(null));
    let unknown = ask("provider=nobody").await;
    assert_eq!(
        (&unknown["ms"], &unknown["measurements"]),
        (&json!(null), &json!(0))
    );
    // One tenant's calls say nothing to another.
    let stranger = server.tenant("other").await.reader().await;
    let path = format!("/api/v1/analytics/what-if?stage=tts&{range}&provider=cartesia");
    let none = stranger.get(&path).await.status(200).json();
    assert_eq!(none["measurements"], 0);
    for (query, name) in [
        ("ms=100&instead=usual&agent_key=desk", "ms"),
        ("ms=100&provider=cartesia", "ms"),
        ("instead=usual&agent_key=desk&provider=cartesia", "instead"),
        ("model=rich", "model"),
        ("instead=usual", "agent_key"),
        ("instead=best&agent_key=desk", "instead"),
        ("stage=tool&instead=usual&agent_key=desk", "stage"),
        ("stage=endpointing&provider=cartesia", "stage"),
        ("providers=cartesia", "providers"),
    ] {
        let path = format!("/api/v1/analytics/what-if?{query}");
        let answer = reader.get(&path).await;
        let problem = answer.problem(400, "invalid-request").json();
        assert_eq!(problem["errors"][0]["name"], name, "{query}: {problem}");
    }
}

/// The only call's root cause, and what calls lost by stage and by provider.
async fn told(server: &TestServer, call: Value) -> (Value, Value) {
    let tenant = server.tenant("acme").await;
    send(&tenant.ingestor().await, &[call]).await;
    server.analysed().await;
    let reader = tenant.reader().await;
    let path = "/v1/observability/sessions/one/root-cause";
    let found = reader.get(path).await.status(200).json();
    let sums = reader
        .get("/api/v1/analytics/root-causes")
        .await
        .status(200)
        .json();
    (found, sums)
}

/// Of the second answer: each part with its provider, and how long it took.
fn parts(found: &Value) -> Vec<(String, Value, i64)> {
    let stages = found["turns"][1]["stages"].as_array().expect("stages");
    stages
        .iter()
        .map(|stage| {
            let part = stage["part"].as_str().expect("a part").to_owned();
            let ms = stage["ms"].as_i64().expect("a time");
            (part, stage["provider"].clone(), ms)
        })
        .collect()
}

#[tokio::test]
async fn an_answer_generated_ahead_waited_for_the_decision() {
    let server = TestServer::start().await;
    let mut call = slow("one", "desk", "2025-06-11T10:00:00Z", 1400);
    let turn = &mut call["turns"][3];
    turn["sttMs"] = json!(150);
    turn["endpointingMs"] = json!(1600);
    // The user ends at 5000, the turn is decided at 6750.
    turn["llmCalls"] = json!([{"startMs": 5170, "firstTokenMs": 6400}]);
    turn["ttsCalls"] = json!([{"startMs": 6800, "firstByteMs": 7050}]);
    let (found, sums) = told(&server, call).await;
    let taken = parts(&found).into_iter().map(|(part, _, ms)| (part, ms));
    let expected = [
        ("stt", 150),
        ("endpointing", 1600),
        ("llm", 0),
        ("tts", 250),
    ];
    let expected = expected.map(|(part, ms)| (part.to_owned(), ms));
    assert_eq!(taken.collect::<Vec<_>>(), expected);
    assert_eq!(found["turns"][1]["unexplainedMs"], 100);
    let issues = found["issues"].as_array().expect("issues");
    let blamed: Vec<(&Value, &Value)> = issues
        .iter()
        .map(|issue| (&issue["type"], &issue["stage"]))
        .collect();
    assert_eq!(blamed, [(&json!("high_latency"), &json!("endpointing"))]);
    assert_eq!(sums["by_stage"].as_array().map(Vec::len), Some(1), "{sums}");
    assert_eq!(sums["by_stage"][0]["stage"], "endpointing");
}

#[tokio::test]
async fn a_slow_attempt_is_not_charged_to_who_came_to_the_rescue() {
    let server = TestServer::start().await;
    let mut call = slow("one", "desk", "2025-06-11T10:00:00Z", 2900);
    call["turns"][3]["ttsMs"] = json!(200);
    call["turns"][3]["llmCalls"] = json!([
        {"startMs": 5200, "endMs": 8200, "error": "timeout", "provider": "openai", "model": "gpt-4o"},
        {"startMs": 8200, "firstTokenMs": 8400, "provider": "groq", "model": "llama"},
    ]);
    let (found, sums) = told(&server, call).await;
    assert_eq!(
        parts(&found)[2..4],
        [
            ("llm".to_owned(), json!("openai"), 3000),
            ("llm".to_owned(), json!("groq"), 200)
        ]
    );
    let issues = found["issues"].as_array().expect("issues");
    for kind in ["high_latency", "dead_air"] {
        let issue = issues.iter().find(|issue| issue["type"] == kind);
        let issue = issue.unwrap_or_else(|| panic!("no {kind}: {found}"));
        assert_eq!(
            (&issue["provider"], &issue["model"]),
            (&json!("openai"), &json!("gpt-4o"))
        );
    }
    let providers = sums["by_provider"].as_array().expect("providers");
    let lost: f64 = providers
        .iter()
        .filter(|sum| sum["provider"] == "openai")
        .filter_map(|sum| sum["seconds_lost"].as_f64())
        .sum();
    assert!(lost > 3.0, "{sums}");
    assert!(
        !providers
            .iter()
            .any(|sum| sum["provider"] == "groq" && sum["seconds_lost"].as_f64() > Some(0.0)),
        "{sums}"
    );
}

#[tokio::test]
async fn what_names_no_provider_is_the_sessions() {
    let server = TestServer::start().await;
    let mut call = slow("one", "desk", "2025-06-11T10:00:00Z", 2300);
    call["session"]["models"] = json!({"tts": "turbo"});
    let (found, sums) = told(&server, call).await;
    let providers = parts(&found).into_iter().map(|(_, provider, _)| provider);
    assert_eq!(
        providers.collect::<Vec<_>>(),
        [
            json!("deepgram"),
            json!(null),
            json!("openai"),
            json!("elevenlabs")
        ]
    );
    let issue = &found["issues"][0];
    assert_eq!(
        (&issue["type"], &issue["provider"], &issue["model"]),
        (
            &json!("high_latency"),
            &json!("elevenlabs"),
            &json!("turbo")
        )
    );
    assert_eq!(sums["by_provider"][0]["provider"], "elevenlabs");
}

#[tokio::test]
async fn a_sum_without_times_is_the_same_everywhere_and_made_of_its_parts() {
    let server = TestServer::start().await;
    let mut call = slow("one", "desk", "2025-06-11T10:00:00Z", 300);
    for turn in 0..4 {
        for name in ["startMs", "endMs"] {
            call["turns"][turn][name] = json!(null);
        }
    }
    for (name, ms) in [
        ("callbackMs", 400),
        ("playoutMs", 250),
        ("transportMs", 100),
    ] {
        call["turns"][3][name] = json!(ms);
    }
    let (found, _) = told(&server, call).await;
    assert_eq!(
        (&found["turns"][1]["gapMs"], &found["turns"][1]["gapSource"]),
        (&json!(1750), &json!("summed"))
    );
    assert_eq!(found["turns"][1]["unexplainedMs"], 0);
    let taken: Vec<i64> = parts(&found).into_iter().map(|(_, _, ms)| ms).collect();
    assert_eq!(taken, [100, 100, 400, 500, 300, 250, 100]);
}

#[tokio::test]
async fn tools_beside_each_other_are_measured_once() {
    let server = TestServer::start().await;
    let mut call = slow("one", "desk", "2025-06-11T10:00:00Z", 900);
    let tool = |n: i64| {
        json!({"callId": format!("t{n}"), "turn": 3, "name": "find", "startMs": 5300 + n * 100,
            "endMs": 6000 + n * 100})
    };
    call["toolCalls"] = json!([tool(0), tool(1), tool(2)]);
    let (found, _) = told(&server, call).await;
    let stages = found["turns"][1]["stages"].as_array().expect("stages");
    let tools = stages.iter().find(|stage| stage["part"] == "tool");
    let tools = tools.expect("tools");
    assert_eq!(
        (&tools["ms"], &tools["measuredMs"]),
        (&json!(900), &json!(900))
    );
}

#[tokio::test]
async fn what_was_thrown_away_hides_no_slow_answer() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let plain = slow("plain", "desk", "2025-06-11T10:00:00Z", 2300);
    let mut thrown = slow("thrown", "desk", "2025-06-11T10:00:00Z", 2300);
    let turns = thrown["turns"].as_array_mut().expect("turns");
    // Generated ahead, inside the user's words and right behind them, and never heard.
    for (index, start_ms) in [(50, 4500), (51, 5100)] {
        turns.push(
            json!({"index": index, "speaker": "agent", "text": "For", "cancelled": true,
            "startMs": start_ms, "endMs": start_ms + 300}),
        );
    }
    send(&acme.ingestor().await, &[plain, thrown]).await;
    let reader = acme.transcripts().await;
    let of = async |id: &str| {
        let path = format!("/v1/observability/sessions/{id}/root-cause");
        let found = reader.get(&path).await.status(200).json();
        let path = format!("/v1/observability/sessions/{id}");
        let session = reader.get(&path).await.status(200).json();
        let latency = session["metrics"]["avgTurnLatencyMs"].clone();
        (found["issues"].clone(), latency)
    };
    let (plain, thrown) = (of("plain").await, of("thrown").await);
    assert_eq!(plain, thrown);
    assert_eq!(plain.0[0]["type"], "high_latency");
}

/// A call of one question whose answer nobody hears, and one that is answered in time.
fn unheard(id: &str, silent: (&str, Value)) -> Value {
    let mut call = json!({
        "session": {"sessionId": id, "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T10:00:20Z",
            "status": "completed", "agentId": "desk"},
        "turns": [
            {"index": 0, "speaker": "user", "text": "I want a table", "startMs": 0, "endMs": 2000},
            {"index": 1, "speaker": "agent", "text": "For how many?", "startMs": 3000, "endMs": 6000},
            {"index": 2, "speaker": "user", "text": "Is that possible for tomorrow", "startMs": 9200, "endMs": 11_000},
            {"index": 3, "speaker": "agent", "text": "It is, at eight", "startMs": 11_900, "endMs": 19_000}
        ]
    });
    call["turns"][1][silent.0] = silent.1;
    call
}

#[tokio::test]
async fn a_silence_that_two_issues_tell_of_is_lost_once() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let calls = [
        unheard("played", ("playedMs", json!(0))),
        unheard("made", ("audioMs", json!(0))),
        unheard("failed", ("failed", json!(true))),
        unheard(
            "voice",
            ("ttsCalls", json!([{"startMs": 2500, "error": "no voice"}])),
        ),
    ];
    send(&acme.ingestor().await, &calls).await;
    server.analysed().await;
    let reader = acme.reader().await;
    for call in &calls {
        let id = call["session"]["sessionId"].as_str().expect("an id");
        let path = format!("/v1/observability/sessions/{id}/root-cause");
        let found = reader.get(&path).await.status(200).json();
        let issues = found["issues"].as_array().expect("issues").iter();
        let costs: Vec<Value> = issues
            .filter(|issue| issue["impactMs"].as_i64() > Some(0))
            .map(|issue| json!([issue["type"], issue["turn"], issue["impactMs"]]))
            .collect();
        // 7.2 s without a sound, of which an answer may take 1.5 and a silence 3.
        assert_eq!(
            costs,
            [
                json!(["failed_turn", 1, 5700]),
                json!(["dead_air", 2, 4200])
            ],
            "{id}"
        );
    }
    let day = reader
        .get("/api/v1/analytics/root-causes")
        .await
        .status(200)
        .json();
    assert_eq!(day["seconds_lost"], 22.8, "{day}");
    assert_eq!(day["by_agent"][0]["seconds_lost"], 22.8);
    let types: Vec<(&Value, &Value)> = day["by_type"]
        .as_array()
        .expect("types")
        .iter()
        .take(2)
        .map(|row| (&row["type"], &row["seconds_lost"]))
        .collect();
    assert_eq!(
        types,
        [
            (&json!("failed_turn"), &json!(22.8)),
            (&json!("dead_air"), &json!(16.8))
        ]
    );
}

#[tokio::test]
async fn what_follows_a_sign_of_listening_is_late_for_nobody() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let call = json!({
        "session": {"sessionId": "listening", "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T10:00:13Z",
            "status": "completed", "agentId": "desk"},
        "turns": [
            {"index": 0, "speaker": "user", "text": "What do you have", "startMs": 0, "endMs": 1500},
            {"index": 1, "speaker": "agent", "text": "There is a table by the window", "startMs": 2300, "endMs": 8300,
                "sttMs": 100, "endpointingMs": 200, "llmMs": 300, "ttsMs": 200},
            {"index": 2, "speaker": "user", "text": "mm hmm", "startMs": 3800, "endMs": 4200},
            {"index": 3, "speaker": "agent", "text": "And one outside", "startMs": 8600, "endMs": 12_000,
                "llmMs": 300, "ttsMs": 200}
        ]
    });
    send(&acme.ingestor().await, &[call]).await;
    let reader = acme.reader().await;
    let path = "/v1/observability/sessions/listening/root-cause";
    let found = reader.get(path).await.status(200).json();
    assert_eq!(found["issues"], json!([]), "{found}");
    let turns = found["turns"].as_array().expect("turns");
    let next = turns.iter().find(|turn| turn["turn"] == 3).expect("a turn");
    assert_eq!(next["gapMs"], 4400);
}
