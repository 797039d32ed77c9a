//! What is legal and seldom: halves of characters, calls that are too long, times that nobody says, words of other
//! callbacks than those of the state.

use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};

use super::vendors::{NOW_MS, from_elevenlabs, from_retell, from_vapi, session};
use super::{House, SECRET, SID, callback, deliver, endpoint, log, results};
use crate::support::Client;

const BASE: &str = "https://voxray.example.org";
const START_MS: i64 = 1_749_636_000_000;

/// Retell's word on a call that began at 10:00:00, with more that it says.
fn ended(call_id: &str, more: &Value) -> Value {
    let mut call =
        json!({ "call_id": call_id, "call_status": "ended", "start_timestamp": START_MS });
    if let (Some(call), Some(more)) = (call.as_object_mut(), more.as_object()) {
        call.extend(more.clone());
    }
    json!({ "event": "call_ended", "call": call })
}

async fn result_of_retell(vendor: &Client, path: &str, body: &str) -> Value {
    let told = from_retell(vendor, path, body, NOW_MS).await;
    told.status(200).json()
}

async fn result_of_elevenlabs(vendor: &Client, path: &str, body: &Value) -> Value {
    let told = from_elevenlabs(vendor, path, &body.to_string(), NOW_MS / 1000).await;
    told.status(200).json()
}

#[tokio::test]
async fn half_a_character_costs_no_call() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "retell", json!({})).await;
    let said = json!({ "transcript_object": [{"role": "agent", "content": "HALF"}, {"role": "user", "content": "Yo"}] });
    let body = ended("call_half", &said).to_string();
    let body = body.replace("HALF", "Hi \\ud83d");
    let told = result_of_retell(&house.vendor(), &path, &body).await;
    assert_eq!(told["result"], "accepted");
    let turns = session(&manager, "call_half").await["turns"].take();
    assert_eq!(turns[0]["text"], "Hi \u{fffd}");
    assert_eq!(turns[1]["text"], "Yo");
}

#[tokio::test]
async fn a_time_that_cannot_be_costs_no_other() {
    let house = House::open().await;
    let manager = house.manager().await;
    let vendor = house.vendor();
    let vapi = endpoint(&manager, "vapi", json!({})).await;
    for (call_id, connected) in [
        ("far", "9999-12-31T23:59:59Z"),
        ("unset", "1970-01-01T00:00:05Z"),
    ] {
        let report = json!({ "message": { "type": "end-of-call-report", "endedReason": "customer-ended-call",
            "timestamp": START_MS + 61_000, "startedAt": connected, "endedAt": "2025-06-11T10:01:00Z",
            "call": {"id": call_id, "createdAt": "2025-06-11T10:00:00Z"} } });
        from_vapi(&vendor, &vapi, &report).await.status(200);
        let shown = session(&manager, call_id).await;
        assert_eq!(shown["startedAt"], "2025-06-11T10:00:00Z", "{call_id}");
        assert_eq!(shown["endedAt"], "2025-06-11T10:01:00Z", "{call_id}");
    }
    let retell = endpoint(&manager, "retell", json!({})).await;
    let said = json!({ "start_timestamp": null, "end_timestamp": START_MS + 60_000, "duration_ms": 45_000 });
    let body = ended("call_unbegun", &said).to_string();
    result_of_retell(&vendor, &retell, &body).await;
    let shown = session(&manager, "call_unbegun").await;
    assert_eq!(shown["startedAt"], "2025-06-11T10:00:15Z");
    assert_eq!(shown["metrics"]["totalDurationMs"], 45_000);
}

/// What Retell's transcript says as: where a turn stands, whose it is, its words, when it was said, and its latency.
async fn said_in(manager: &Client, vendor: &Client, path: &str, timed: [bool; 3]) -> Vec<Value> {
    let at = [
        ("agent", "Hello", 0.1),
        ("user", "A table", 1.0),
        ("agent", "When?", 2.2),
    ];
    let call_id = format!("call_{timed:?}");
    let entries = at.iter().zip(timed).map(|((role, word, start), is_timed)| {
        let words = json!([{"word": word, "start": start, "end": start + 0.5}]);
        json!({"role": role, "content": word, "words": if is_timed { words } else { json!([]) }})
    });
    let said = json!({"transcript_object": entries.collect::<Vec<_>>(), "latency": {"e2e": {"values": [850]}}});
    let body = ended(&call_id, &said).to_string();
    assert_eq!(
        result_of_retell(vendor, path, &body).await["result"],
        "accepted"
    );
    let turns = session(manager, &call_id).await["turns"].take();
    let turn = |turn: &Value| {
        let untimed = &turn["metadata"]["untimed"];
        json!([
            turn["index"],
            turn["text"],
            turn["startMs"],
            turn["endMs"],
            untimed,
            turn["latencyMs"]
        ])
    };
    turns.as_array().expect("turns").iter().map(turn).collect()
}

#[tokio::test]
async fn a_turn_without_a_time_stays_where_the_transcript_has_it() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "retell", json!({})).await;
    let vendor = house.vendor();
    let (hello, table, when) = (
        json!([0, "Hello", 100, 600, null, null]),
        json!([1, "A table", 1000, 1500, null, null]),
        json!([2, "When?", 2200, 2700, null, 850]),
    );
    for (timed, expected) in [
        ([true; 3], [hello.clone(), table.clone(), when.clone()]),
        (
            [false, true, true],
            [
                json!([0, "Hello", 0, null, true, null]),
                table,
                when.clone(),
            ],
        ),
        (
            [true, false, true],
            [hello, json!([1, "A table", 600, null, true, null]), when],
        ),
        // Where nothing has a time, nothing stands before anything by it.
        (
            [false; 3],
            [
                json!([0, "Hello", null, null, null, null]),
                json!([1, "A table", null, null, null, null]),
                json!([2, "When?", null, null, null, 850]),
            ],
        ),
    ] {
        let found = said_in(&manager, &vendor, &path, timed).await;
        assert_eq!(found, expected, "{timed:?}");
    }
}

#[tokio::test]
async fn a_number_that_is_none_costs_no_call() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "retell", json!({})).await;
    let said =
        json!({ "duration_ms": "NONE", "transcript_object": [{"role": "user", "content": "Yo"}] });
    let body = ended("call_nan", &said).to_string();
    for (call_id, number) in [("call_nan", "NaN"), ("call_huge", "1e400")] {
        let body = body
            .replace("\"NONE\"", number)
            .replace("call_nan", call_id);
        let told = result_of_retell(&house.vendor(), &path, &body).await;
        assert_eq!(told["result"], "accepted", "{number}");
        let shown = session(&manager, call_id).await;
        assert_eq!(
            (&shown["turns"][0]["text"], &shown["endedAt"]),
            (&json!("Yo"), &json!(null))
        );
    }
}

#[tokio::test]
async fn a_report_that_is_a_larger_tree_than_any_call_is_refused() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "vapi", json!({})).await;
    let report = |messages: usize| {
        let one = r#"{"role":"bot","message":"a"}"#;
        let messages = vec![one; messages].join(",");
        format!(
            r#"{{"message":{{"type":"end-of-call-report","call":{{"id":"c{}"}},"artifact":{{"messages":[{messages}]}}}}}}"#,
            messages.len()
        )
    };
    let header = ("x-vapi-secret", SECRET);
    let vendor = house.vendor();
    let long = deliver(&vendor, &path, header, &report(20_000)).await;
    long.status(200);
    let heavy = deliver(&vendor, &path, header, &report(120_000)).await;
    heavy.problem(413, "too-large");
    assert_eq!(results(&manager, &path).await, ["invalid", "accepted"]);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_stands_in_the_log() {
    let house = House::with(|settings| settings.body_limit_bytes = 4096).await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "retell", json!({})).await;
    let packed = |headers: [(&'static str, &'static str); 2], bytes: usize| {
        let (vendor, path) = (house.vendor(), path.clone());
        async move {
            let send = |request: RequestBuilder| {
                let request = request.header("content-type", "application/json");
                let add = |request: RequestBuilder, (name, value)| request.header(name, value);
                headers
                    .into_iter()
                    .fold(request, add)
                    .body(vec![b' '; bytes])
            };
            vendor.send(Method::POST, &path, send).await
        }
    };
    let signed = ("x-retell-signature", "v=1,d=00");
    let large = packed([signed, ("x-more", "1")], 5000).await;
    large.problem(413, "too-large");
    let unknown = packed([signed, ("content-encoding", "br")], 10).await;
    unknown.problem(415, "unsupported-media-type");
    // Who is nobody learns nothing else.
    let nobody = packed([("x-more", "1"), ("content-encoding", "br")], 5000).await;
    nobody.problem(403, "invalid-signature");
    let lines = log(&manager, &path).await;
    let told = |line: &Value| json!([line["result"], line["status"]]);
    let told: Vec<Value> = lines.iter().map(told).collect();
    let expected = [
        json!(["refused", 403]),
        json!(["invalid", 415]),
        json!(["invalid", 413]),
    ];
    assert_eq!(told, expected);
    assert_eq!(lines[2]["reason"], "the body is larger than 4096 bytes");
}

#[tokio::test]
async fn nul_in_a_name_or_an_address_is_no_fault_of_ours() {
    let house = House::open().await;
    let manager = house.manager().await;
    let vendor = house.vendor();
    let elevenlabs = endpoint(&manager, "elevenlabs", json!({})).await;
    let judged = json!({ "evaluation_criteria_results": {"polite\0": {"result": "success"}} });
    let body = json!({ "type": "post_call_transcription", "event_timestamp": START_MS / 1000,
        "data": {"conversation_id": "conv_nul", "analysis": judged} });
    let told = result_of_elevenlabs(&vendor, &elevenlabs, &body).await;
    assert_eq!(told["result"], "accepted");
    let retell = endpoint(&manager, "retell", json!({})).await;
    let recorded = json!({ "recording_url": "https://a.example/\0.wav" });
    let body = ended("call_nul", &recorded).to_string();
    let told = result_of_retell(&vendor, &retell, &body).await;
    assert_eq!(told["result"], "accepted");
    let twilio = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
    let url = format!("{BASE}{twilio}");
    for params in [
        [
            ("CallSid", SID),
            ("StreamSid", "MZ1"),
            ("StreamEvent", "stream-\0"),
        ],
        [
            ("CallSid", SID),
            ("RecordingUrl", "https://api.twilio.com/\0"),
            ("RecordingStatus", "completed"),
        ],
    ] {
        callback(&vendor, &twilio, &url, &params).await.status(204);
    }
    assert_eq!(results(&manager, &twilio).await, ["accepted", "accepted"]);
}

#[tokio::test]
async fn a_call_with_more_turns_than_may_be_is_kept_up_to_there() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "retell", json!({})).await;
    let turns = (0..2001)
        .map(|n| json!({"role": (["agent", "user"][n % 2]), "content": format!("word {n}")}));
    let said = json!({ "transcript_object": turns.collect::<Vec<_>>(), "call_cost": {"combined_cost": 250} });
    let body = ended("call_long", &said).to_string();
    let told = result_of_retell(&house.vendor(), &path, &body).await;
    assert_eq!(told["result"], "accepted");
    let shown = session(&manager, "call_long").await;
    assert_eq!(shown["turns"].as_array().map(Vec::len), Some(2000));
    assert_eq!(shown["turns"][1999]["text"], "word 1999");
    assert_eq!(shown["metadata"]["retell"]["turnsLeftOut"], 1);
    assert_eq!(shown["cost"]["totalUsd"], 2.5);
}

#[tokio::test]
async fn what_is_too_much_for_a_new_session_is_told_and_leaves_nothing() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "elevenlabs", json!({})).await;
    let transcription = |criteria: usize| {
        let judged = (0..criteria).map(|n| (n.to_string(), json!({"result": "success"})));
        json!({ "type": "post_call_transcription", "event_timestamp": START_MS / 1000, "data": {
            "conversation_id": "conv_much", "metadata": {"phone_call": {"call_sid": SID}},
            "analysis": {"evaluation_criteria_results": Map::from_iter(judged)} } })
    };
    let vendor = house.vendor();
    let told = result_of_elevenlabs(&vendor, &path, &transcription(60_001)).await;
    assert_eq!(told["result"], "ignored");
    let reason = told["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("session_full"), "{reason}");
    let shown = manager.get("/v1/observability/sessions/conv_much").await;
    shown.status(404);
    let told = result_of_elevenlabs(&vendor, &path, &transcription(1)).await;
    assert_eq!(told["result"], "accepted");
    assert_eq!(session(&manager, "conv_much").await["callId"], SID);
}

#[tokio::test]
async fn an_end_that_nobody_tells_is_not_known() {
    let house = House::open().await;
    let manager = house.manager().await;
    let vendor = house.vendor();
    let retell = endpoint(&manager, "retell", json!({})).await;
    for (call_id, lasted, end) in [
        ("call_lasted", json!(45_000), json!("2025-06-11T10:00:45Z")),
        ("call_open", Value::Null, Value::Null),
    ] {
        let body = ended(call_id, &json!({ "duration_ms": lasted }));
        result_of_retell(&vendor, &retell, &body.to_string()).await;
        let shown = session(&manager, call_id).await;
        assert_eq!(shown["status"], "completed");
        assert_eq!(shown["endedAt"], end, "{call_id}");
    }
    // A report without a date says the same whenever it comes.
    let vapi = endpoint(&manager, "vapi", json!({})).await;
    let elevenlabs = endpoint(&manager, "elevenlabs", json!({})).await;
    let report = json!({ "message": { "type": "end-of-call-report", "endedReason": "customer-ended-call",
        "startedAt": "2025-06-11T10:00:00Z", "call": {"id": "vapi_open"} } });
    let failed = json!({ "message": { "type": "end-of-call-report", "endedReason": "assistant-not-found",
        "call": {"id": "vapi_failed"} } });
    let transcription = json!({ "type": "post_call_transcription", "data": { "conversation_id": "conv_open",
        "metadata": {"start_time_unix_secs": START_MS / 1000} } });
    let mut before = None;
    for _ in 0..2 {
        from_vapi(&vendor, &vapi, &report).await.status(200);
        from_vapi(&vendor, &vapi, &failed).await.status(200);
        result_of_elevenlabs(&vendor, &elevenlabs, &transcription).await;
        let mut shown = Vec::new();
        for id in ["vapi_open", "vapi_failed", "conv_open"] {
            let told = session(&manager, id).await;
            assert_eq!(told["endedAt"], Value::Null, "{id}");
            shown.push(told);
        }
        assert_eq!(shown[1]["status"], "failed");
        assert_eq!(*before.get_or_insert_with(|| shown.clone()), shown);
        house.server.clock.advance(chrono::TimeDelta::minutes(5));
    }
    assert_eq!(
        results(&manager, &vapi).await,
        ["duplicate", "duplicate", "accepted", "accepted"]
    );
    assert_eq!(
        results(&manager, &elevenlabs).await,
        ["duplicate", "accepted"]
    );
}

#[tokio::test]
async fn who_only_names_the_state_does_not_say_since_when() {
    let house = House::open().await;
    let state = |status: &'static str, sequence: &'static str, time: &'static str| {
        vec![
            ("CallStatus", status),
            ("SequenceNumber", sequence),
            ("Timestamp", time),
        ]
    };
    let dated = [
        state("initiated", "0", "Wed, 11 Jun 2025 10:00:00 +0000"),
        state("in-progress", "2", "Wed, 11 Jun 2025 10:00:05 +0000"),
        [
            state("completed", "3", "Wed, 11 Jun 2025 10:01:05 +0000"),
            vec![("CallDuration", "60")],
        ]
        .concat(),
    ];
    // Speech that was heard, and the end of the leg that was dialled from this one.
    let others = [
        vec![
            ("CallStatus", "in-progress"),
            ("UnstableSpeechResult", "yes"),
        ],
        vec![
            ("CallStatus", "completed"),
            ("DialCallStatus", "completed"),
            ("DialCallDuration", "20"),
        ],
    ];
    for (number, order) in [[dated.as_slice(), &others], [&others, &dated]]
        .into_iter()
        .enumerate()
    {
        let acme = house.server.tenant(&format!("acme-{number}")).await;
        let manager = acme.client("sessions:read,transcripts:read,admin").await;
        let path = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
        let url = format!("{BASE}{path}");
        for params in order.concat() {
            let call = [
                ("CallSid", SID),
                ("Direction", "inbound"),
                ("To", "+14155550007"),
            ];
            callback(&house.vendor(), &path, &url, &[&call, &params[..]].concat())
                .await
                .status(204);
        }
        let shown = session(&manager, SID).await;
        assert_eq!(shown["startedAt"], "2025-06-11T10:00:00Z");
        assert_eq!(shown["answeredAt"], "2025-06-11T10:00:05Z");
        assert_eq!(shown["endedAt"], "2025-06-11T10:01:05Z");
        assert_eq!(shown["cost"]["totalUsd"], 0.0085, "{}", shown["cost"]);
    }
}

#[tokio::test]
async fn what_called_a_tool_is_paid_for_and_every_model_at_its_price() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "elevenlabs", json!({})).await;
    let used = |model: &str, read: u32, cached: u32, written: u32| {
        json!({ "model_usage": { model: { "input": {"tokens": read}, "input_cache_read": {"tokens": cached},
            "output_total": {"tokens": written} } } })
    };
    let body = json!({ "type": "post_call_transcription", "event_timestamp": START_MS / 1000 + 60, "data": {
        "conversation_id": "conv_tools", "status": "done",
        "transcript": [
            {"role": "user", "message": "A table", "time_in_call_secs": 2},
            {"role": "agent", "message": null, "time_in_call_secs": 3, "llm_usage": used("gpt-4o", 600, 400, 100),
             "tool_calls": [{"request_id": "t", "tool_name": "find", "params_as_json": "{\"seats\": "}]},
            {"role": null, "message": "nobody", "time_in_call_secs": 4},
            {"role": "agent", "message": "At eight?", "time_in_call_secs": 5,
             "llm_usage": used("gpt-4o-mini", 1000, 0, 100)},
            {"role": "agent", "message": null, "time_in_call_secs": 7, "llm_usage": used("gpt-4o", 1000, 0, 0)},
        ],
        "metadata": {"start_time_unix_secs": START_MS / 1000, "call_duration_secs": 20} } });
    let told = result_of_elevenlabs(&house.vendor(), &path, &body).await;
    assert_eq!(told["result"], "accepted");
    let shown = session(&manager, "conv_tools").await;
    assert_eq!(shown["usage"]["promptTokens"], 3000);
    assert_eq!(shown["usage"]["cachedTokens"], 400);
    assert_eq!(shown["usage"]["completionTokens"], 200);
    // Who said what is told, or nobody said it.
    let speakers: Vec<&Value> = shown["turns"]
        .as_array()
        .expect("turns")
        .iter()
        .map(|turn| &turn["speaker"])
        .collect();
    assert_eq!(speakers, ["user", "agent"]);
    let gpt_4o = 1600.0 * 2.5 + 400.0 * 1.25 + 100.0 * 10.0;
    let gpt_4o_mini = 1000.0 * 0.15 + 100.0 * 0.6;
    let usd: f64 = (gpt_4o + gpt_4o_mini) / 1e6;
    assert_eq!(
        shown["cost"]["totalUsd"],
        (usd * 1e6).round() / 1e6,
        "{}",
        shown["cost"]
    );
}

#[tokio::test]
async fn what_several_models_used_in_one_sum_has_no_price_and_items_that_say_their_cost_have_one() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "vapi", json!({})).await;
    let report = |id: &str, cost: Value| {
        let model = |name: &str| {
            json!({ "type": "model", "model": {"provider": "openai", "model": name}, "promptTokens": 1000,
                "completionTokens": 100, "cost": cost })
        };
        json!({ "message": { "type": "end-of-call-report", "timestamp": START_MS + 60_000,
            "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T10:00:50Z",
            "endedReason": "customer-ended-call", "call": {"id": id, "type": "webCall"},
            "costs": [model("gpt-4o"), model("gpt-4o-mini")] } })
    };
    for (id, each, total) in [
        ("vapi_a", Value::Null, Value::Null),
        ("vapi_b", json!(0.25), json!(0.5)),
    ] {
        from_vapi(&house.vendor(), &path, &report(id, each))
            .await
            .status(200);
        let shown = session(&manager, id).await;
        assert_eq!(shown["cost"]["totalUsd"], total, "{}", shown["cost"]);
        assert_eq!(shown["usage"]["promptTokens"], 2000);
    }
}
