//! Vapi, Retell and ElevenLabs: whole calls by their reports, in any order, and what is refused.

use serde_json::{Value, json};

use super::{House, SECRET, SID, deliver, endpoint, hex_hmac, log, results};
use crate::support::{Answer, Client};

const VAPI_CALL: &str = "7b0f5a34-1f6e-4c7f-9d5c-2f9f2f0d3a11";
/// The tests' now, in ms.
pub(super) const NOW_MS: i64 = 1_749_643_200_000;

fn vapi_report() -> Value {
    json!({ "message": {
        "type": "end-of-call-report", "timestamp": 1_749_636_331_000_i64, "endedReason": "customer-ended-call",
        "startedAt": "2025-06-11T10:00:00.000Z", "endedAt": "2025-06-11T10:05:30.000Z", "cost": 0.21,
        "call": {"id": VAPI_CALL, "type": "inboundPhoneCall", "assistantId": "a1", "phoneCallProviderId": SID,
                 "customer": {"number": "+15005550006"}},
        "analysis": {"summary": "A table for two.", "successEvaluation": "true"},
        "artifact": {
            "messages": [
                {"role": "system", "message": "Be kind.", "secondsFromStart": 0},
                {"role": "bot", "message": "Hello", "time": 1000, "endTime": 2200, "secondsFromStart": 0.1},
                {"role": "user", "message": "A table", "time": 3000, "endTime": 3900, "secondsFromStart": 2.0},
                {"role": "tool_calls", "secondsFromStart": 3.0, "toolCalls": [
                    {"id": "t1", "function": {"name": "find_table", "arguments": "{\"seats\":2}"}}]},
                {"role": "tool_call_result", "toolCallId": "t1", "name": "find_table", "result": "two", "secondsFromStart": 3.2},
                {"role": "bot", "message": "Of course", "time": 4850, "endTime": 5600, "secondsFromStart": 3.85},
            ],
            "performanceMetrics": {"turnLatencies": [{"modelLatency": 450, "voiceLatency": 380,
                "transcriberLatency": 20, "endpointingLatency": 100, "turnLatency": 950}]},
        },
    }})
}

pub(super) async fn from_vapi(vendor: &Client, path: &str, message: &Value) -> Answer {
    deliver(
        vendor,
        path,
        ("x-vapi-secret", SECRET),
        &message.to_string(),
    )
    .await
}

pub(super) async fn session(reader: &Client, id: &str) -> Value {
    let path = format!("/v1/observability/sessions/{id}");
    reader.get(&path).await.status(200).json()
}

#[tokio::test]
async fn a_report_of_vapi_is_a_whole_call() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "vapi", json!({})).await;
    let vendor = house.vendor();
    let state = json!({ "message": { "type": "status-update", "status": "in-progress",
        "timestamp": 1_749_636_000_000_i64, "call": { "id": VAPI_CALL, "type": "inboundPhoneCall" } } });
    let told = from_vapi(&vendor, &path, &state).await.status(200).json();
    assert_eq!(told, json!({ "result": "accepted", "reason": null }));
    assert_eq!(session(&manager, VAPI_CALL).await["status"], "active");
    from_vapi(&vendor, &path, &vapi_report()).await.status(200);
    let whole = session(&manager, VAPI_CALL).await;
    assert_eq!(
        (&whole["status"], &whole["startedAt"]),
        (&json!("completed"), &json!("2025-06-11T10:00:00Z"))
    );
    let turns = whole["turns"].as_array().expect("turns");
    assert_eq!(turns.len(), 3);
    for (name, value) in [
        ("text", json!("Of course")),
        ("sttMs", json!(20)),
        ("endpointingMs", json!(100)),
        ("llmMs", json!(450)),
        ("ttsMs", json!(380)),
        ("startMs", json!(3850)),
        ("endMs", json!(4600)),
    ] {
        assert_eq!(turns[2][name], value, "{name}");
    }
    assert_eq!(turns[2]["toolCalls"][0]["name"], "find_table");
    let call = manager
        .get(&format!("/api/v1/conversations/{SID}"))
        .await
        .status(200)
        .json();
    assert_eq!(
        (&call["cost_usd"], &call["summary"]),
        (&json!(0.21), &json!("A table for two."))
    );
    assert_eq!(
        (&whole["from"], &call["direction"]),
        (&json!("+15005550006"), &json!("inbound"))
    );

    // Again: known. A later one counts.
    let again = from_vapi(&vendor, &path, &vapi_report())
        .await
        .status(200)
        .json();
    assert_eq!(
        again,
        json!({"result": "duplicate", "reason": "it is known already"})
    );
    let mut other = vapi_report();
    other["message"]["cost"] = json!(7);
    other["message"]["timestamp"] = json!(1_749_636_332_000_i64);
    other["message"]["unknown"] = json!({ "deep": [1] });
    from_vapi(&vendor, &path, &other).await.status(200);
    let call = manager
        .get(&format!("/api/v1/conversations/{SID}"))
        .await
        .json();
    assert_eq!(call["cost_usd"], 7.0);
    // Of no use, and never a reason to stop sending.
    let parts = "the end-of-call report says it all";
    for (kind, why) in [
        ("transcript", parts),
        ("transcript[transcriptType=\"final\"]", parts),
        (
            "tool-calls",
            "this server records calls and answers nothing",
        ),
        ("hang", parts),
        ("brand-new", "this server knows no such event"),
    ] {
        let message = json!({ "message": { "type": kind, "call": { "id": VAPI_CALL } } });
        let told = from_vapi(&vendor, &path, &message).await.status(200).json();
        assert_eq!(told, json!({"result": "ignored", "reason": why}), "{kind}");
    }
    let log = log(&manager, &path).await;
    assert_eq!(
        (&log[0]["event"], &log[0]["session_id"]),
        (&json!("brand-new"), &Value::Null)
    );
    assert_eq!(
        (&log[5]["event"], &log[5]["session_id"]),
        (&json!("end-of-call-report"), &json!(VAPI_CALL))
    );
}

#[tokio::test]
async fn vapi_is_believed_by_its_secret_or_by_its_signature() {
    let house = House::open().await;
    let manager = house.manager().await;
    let plain = endpoint(&manager, "vapi", json!({})).await;
    let vendor = house.vendor();
    let body = vapi_report().to_string();
    deliver(&vendor, &plain, ("x-vapi-secret", "wrong"), &body)
        .await
        .problem(403, "invalid-signature");
    deliver(&vendor, &plain, ("x-other", SECRET), &body)
        .await
        .problem(403, "invalid-signature");
    for bearer in [
        format!("Bearer {SECRET}"),
        format!("bearer {SECRET}"),
        SECRET.to_owned(),
    ] {
        deliver(&vendor, &plain, ("authorization", &bearer), &body)
            .await
            .status(200);
    }
    let elsewhere = endpoint(&manager, "vapi", json!({ "secret_header": "x-token" })).await;
    for token in [format!("Bearer {SECRET}"), SECRET.to_owned()] {
        deliver(&vendor, &elsewhere, ("x-token", &token), &body)
            .await
            .status(200);
    }
    deliver(&vendor, &elsewhere, ("x-vapi-secret", SECRET), &body)
        .await
        .problem(403, "invalid-signature");

    let way = json!({ "public_url": "https://voxray.example.org", "signature": {
        "payload_format": "{svix-id}.{method}.{url}.{timestamp}.{body}", "message_id_header": "x-message" } });
    let all = endpoint(&manager, "vapi", way).await;
    let signed = format!("m1.POST.https://voxray.example.org{all}.{NOW_MS}.");
    let signature = hex_hmac(SECRET, &[signed.as_bytes(), body.as_bytes()]);
    for (id, status) in [("m1", 200), ("m2", 403)] {
        let vendor = vendor
            .header("x-timestamp", &NOW_MS.to_string())
            .header("x-message", id);
        let answer = deliver(&vendor, &all, ("x-signature", &signature), &body).await;
        assert_eq!(answer.status, status, "{id}");
    }

    let signed = endpoint(&manager, "vapi", json!({ "signature": {} })).await;
    let send = async |ms: i64, given: &str, body: &str| {
        let vendor = vendor.header("x-timestamp", &ms.to_string());
        let signature = hex_hmac(SECRET, &[format!("{ms}.").as_bytes(), given.as_bytes()]);
        deliver(&vendor, &signed, ("x-signature", &signature), body).await
    };
    send(NOW_MS, &body, "{}")
        .await
        .problem(403, "invalid-signature");
    send(NOW_MS - 301_000, &body, &body)
        .await
        .problem(403, "invalid-signature");
    send(NOW_MS + 301_000, &body, &body)
        .await
        .problem(403, "invalid-signature");
    // The secret alone is not enough where bodies are signed.
    deliver(&vendor, &signed, ("x-vapi-secret", SECRET), &body)
        .await
        .problem(403, "invalid-signature");
    send(NOW_MS - 299_000, &body, &body).await.status(200);
    assert_eq!(results(&manager, &signed).await[1..], vec!["refused"; 4]);
}

fn retell(kind: &str) -> Value {
    let mut call = json!({
        "call_id": "call_1", "agent_id": "ag_1", "agent_version": 3, "call_status": "ended",
        "call_type": "phone_call", "direction": "inbound", "from_number": "+15005550006",
        "start_timestamp": 1_749_636_000_000_i64, "end_timestamp": 1_749_636_330_000_i64,
        "disconnection_reason": "user_hangup", "telephony_identifier": {"twilio_call_sid": SID},
        "transcript_object": [
            {"role": "agent", "content": "Hello", "words": [{"word": "Hello", "start": 0.1, "end": 0.5}]},
            {"role": "user", "content": "Hi", "words": [{"word": "Hi", "start": 1.0, "end": 1.4}]},
            {"role": "agent", "content": "Well", "words": [{"word": "Well", "start": 2.2, "end": 2.6}]},
        ],
        "latency": {"e2e": {"values": [850]}, "llm": {"values": [450]}},
        "call_cost": {"combined_cost": 12.5},
    });
    if kind == "call_started" {
        call = json!({ "call_id": "call_1", "agent_id": "ag_1", "call_status": "ongoing",
            "start_timestamp": 1_749_636_000_000_i64, "telephony_identifier": {"twilio_call_sid": SID} });
    }
    if kind == "call_analyzed" {
        call["call_analysis"] = json!({ "call_summary": "A chat.", "call_successful": true });
    }
    json!({ "event": kind, "call": call })
}

pub(super) async fn from_retell(vendor: &Client, path: &str, body: &str, at_ms: i64) -> Answer {
    let digest = hex_hmac(SECRET, &[body.as_bytes(), at_ms.to_string().as_bytes()]);
    let header = format!("v={at_ms},d={digest}");
    deliver(vendor, path, ("x-retell-signature", &header), body).await
}

#[tokio::test]
async fn retell_s_analysis_counts_whenever_it_comes() {
    for order in [
        ["call_started", "call_ended", "call_analyzed"],
        ["call_analyzed", "call_ended", "call_started"],
    ] {
        let house = House::open().await;
        let manager = house.manager().await;
        let path = endpoint(&manager, "retell", json!({})).await;
        for kind in order {
            from_retell(&house.vendor(), &path, &retell(kind).to_string(), NOW_MS)
                .await
                .status(200);
        }
        let call = manager
            .get(&format!("/api/v1/conversations/{SID}"))
            .await
            .status(200)
            .json();
        assert_eq!(
            (&call["summary"], &call["status"]),
            (&json!("A chat."), &json!("completed")),
            "{order:?}"
        );
        assert_eq!(
            (&call["cost_usd"], &call["turns"]),
            (&json!(0.125), &json!(3)),
            "{order:?}"
        );
        let id = call["id"].as_str().expect("an id");
        let turns = session(&manager, id).await["turns"].clone();
        assert_eq!(
            (&turns[2]["llmMs"], &turns[2]["startMs"]),
            (&json!(450), &json!(2200)),
            "{order:?}"
        );
        // A retry, signed anew.
        from_retell(
            &house.vendor(),
            &path,
            &retell("call_analyzed").to_string(),
            NOW_MS + 60_000,
        )
        .await
        .status(200);
        assert_eq!(results(&manager, &path).await[0], "duplicate");
    }
}

#[tokio::test]
async fn retell_and_elevenlabs_are_believed_by_fresh_signatures_only() {
    let house = House::open().await;
    let manager = house.manager().await;
    let vendor = house.vendor();
    let path = endpoint(&manager, "retell", json!({})).await;
    let body = retell("call_ended").to_string();
    from_retell(&vendor, &path, &body, NOW_MS - 301_000)
        .await
        .problem(403, "invalid-signature");
    // A bare digest of the body, as some snippets make it, is none.
    let bare = hex_hmac(SECRET, &[body.as_bytes()]);
    deliver(&vendor, &path, ("x-retell-signature", &bare), &body)
        .await
        .problem(403, "invalid-signature");
    let digest = hex_hmac(SECRET, &[b"{}", NOW_MS.to_string().as_bytes()]);
    let other = format!("v={NOW_MS},d={digest}");
    deliver(&vendor, &path, ("x-retell-signature", &other), &body)
        .await
        .problem(403, "invalid-signature");
    from_retell(&vendor, &path, "{", NOW_MS)
        .await
        .problem(400, "invalid-request");
    from_retell(&vendor, &path, "[]", NOW_MS).await.status(200);
    assert_eq!(
        results(&manager, &path).await,
        ["ignored", "invalid", "refused", "refused", "refused"]
    );

    let path = endpoint(&manager, "elevenlabs", json!({})).await;
    let body = transcription().to_string();
    for (age_s, status) in [(1801, 403), (-1801, 403), (1799, 200)] {
        let answer = from_elevenlabs(&vendor, &path, &body, NOW_MS / 1000 - age_s).await;
        assert_eq!(answer.status, status, "{age_s}");
    }
    let t = NOW_MS / 1000;
    let v1 = format!(
        "t={t},v1={}",
        hex_hmac(SECRET, &[format!("{t}.{body}").as_bytes()])
    );
    deliver(&vendor, &path, ("elevenlabs-signature", &v1), &body)
        .await
        .problem(403, "invalid-signature");
}

fn transcription() -> Value {
    json!({ "type": "post_call_transcription", "event_timestamp": 1_749_636_400, "data": {
        "agent_id": "agent_1", "conversation_id": "conv_1", "status": "done",
        "transcript": [
            {"role": "agent", "message": "Hello", "time_in_call_secs": 0},
            {"role": "user", "message": "Hi", "time_in_call_secs": 2},
            {"role": "agent", "message": "Well", "time_in_call_secs": 4, "interrupted": true,
             "conversation_turn_metrics": {"metrics": {"convai_llm_service_ttfb": {"elapsed_time": 0.45}}}},
        ],
        "metadata": {"start_time_unix_secs": 1_749_636_000, "call_duration_secs": 330, "cost_fiat": 0.3,
            "phone_call": {"type": "twilio", "direction": "inbound", "external_number": "+15005550006",
                "agent_number": "+15005550007", "call_sid": SID, "stream_sid": "MZ1"}},
        "analysis": {"call_successful": "success", "transcript_summary": "A chat."},
    }})
}

pub(super) async fn from_elevenlabs(vendor: &Client, path: &str, body: &str, at_s: i64) -> Answer {
    let digest = hex_hmac(SECRET, &[format!("{at_s}.").as_bytes(), body.as_bytes()]);
    let header = format!("t={at_s},v0={digest}");
    deliver(vendor, path, ("elevenlabs-signature", &header), body).await
}

#[tokio::test]
async fn elevenlabs_sends_the_words_and_the_audio_in_any_order() {
    use base64::Engine;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/recordings");
    let audio =
        std::fs::read(format!("{folder}/synth-hvb-010d38f5ada54e0d.mp3")).expect("a fixture");
    let audio = base64::engine::general_purpose::STANDARD.encode(audio);
    let audio = json!({ "type": "post_call_audio", "event_timestamp": 1_749_636_410,
        "data": { "agent_id": "agent_1", "conversation_id": "conv_1", "full_audio": audio } });
    for words_first in [true, false] {
        let house = House::open().await;
        let manager = house.manager().await;
        let path = endpoint(&manager, "elevenlabs", json!({})).await;
        let mut bodies = [transcription().to_string(), audio.to_string()];
        if !words_first {
            bodies.reverse();
        }
        for body in &bodies {
            from_elevenlabs(&house.vendor(), &path, body, NOW_MS / 1000)
                .await
                .status(200);
        }
        let call = manager
            .get(&format!("/api/v1/conversations/{SID}"))
            .await
            .status(200)
            .json();
        assert_eq!(
            (&call["turns"], &call["cost_usd"]),
            (&json!(3), &json!(0.3))
        );
        assert_eq!(call["ended_at"], "2025-06-11T10:05:30Z");
        let whole = session(&manager, "conv_1").await;
        let cut_off = &whole["interruptions"][0];
        assert_eq!(
            (&cut_off["turn"], &cut_off["source"], &cut_off["estimated"]),
            (&json!(2), &json!("user"), &json!(true)),
            "{whole}"
        );
        let heard = manager
            .get(&format!("/v1/recordings/{SID}"))
            .await
            .status(200)
            .json();
        assert_eq!(
            (&heard["status"], &heard["format"]),
            (&json!("available"), &json!("mp3"))
        );
        for body in &bodies {
            let told = from_elevenlabs(&house.vendor(), &path, body, NOW_MS / 1000).await;
            assert_eq!(told.status(200).json()["result"], "duplicate");
        }
        // What is deleted is not taken again, and no reason to try again.
        manager
            .delete(&format!("/v1/recordings/{SID}"))
            .await
            .status(204);
        let told = from_elevenlabs(&house.vendor(), &path, &audio.to_string(), NOW_MS / 1000).await;
        assert_eq!(told.status(200).json()["result"], "ignored");
    }
}

#[tokio::test]
async fn audio_that_is_none_is_refused() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "elevenlabs", json!({})).await;
    for (audio, status) in [("%%%%", 422), ("aGVsbG8gd29ybGQ=", 415)] {
        let body = json!({ "type": "post_call_audio", "event_timestamp": 1_749_636_410,
            "data": { "conversation_id": "conv_1", "full_audio": audio } });
        let answer =
            from_elevenlabs(&house.vendor(), &path, &body.to_string(), NOW_MS / 1000).await;
        assert_eq!(answer.status, status, "{audio}");
    }
    assert_eq!(results(&manager, &path).await, ["invalid", "invalid"]);
}

/// Of two messages of one moment the same one counts, whichever comes first, and the other is told.
#[tokio::test]
async fn of_two_words_of_one_moment_one_counts_in_either_order() {
    let house = House::open().await;
    let mut other = vapi_report();
    other["message"]["cost"] = json!(7);
    let status = |reason: &str| {
        json!({ "message": { "type": "status-update", "status": "ended", "endedReason": reason,
            "timestamp": 1_749_636_000_000_i64, "call": { "id": VAPI_CALL } } })
    };
    let cases = [
        [vapi_report(), other],
        [status("customer-busy"), status("customer-did-not-answer")],
    ];
    for (place, pair) in cases.into_iter().enumerate() {
        let mut seen = Vec::new();
        for order in [[0, 1], [1, 0]] {
            let tenant = house
                .server
                .tenant(&format!("tenant-{place}-{}", order[0]))
                .await;
            let manager = tenant.client("sessions:read,transcripts:read,admin").await;
            let path = endpoint(&manager, "vapi", json!({})).await;
            let mut told = Vec::new();
            for which in order {
                let answer = from_vapi(&house.vendor(), &path, &pair[which]).await;
                told.push(answer.status(200).json()["result"].clone());
            }
            assert_eq!(told[0], "accepted");
            let log = log(&manager, &path).await;
            match told[1] == "accepted" {
                true => assert_eq!(log[0]["reason"], Value::Null),
                false => assert_eq!(log[0]["reason"], "something newer is known"),
            }
            let path = format!("/api/v1/conversations/{VAPI_CALL}");
            let call = manager.get(&path).await.status(200).json();
            seen.push((
                call["cost_usd"].clone(),
                call["status"].clone(),
                told[1] == "accepted",
            ));
        }
        assert_eq!(
            (&seen[0].0, &seen[0].1),
            (&seen[1].0, &seen[1].1),
            "{seen:?}"
        );
        assert_ne!(seen[0].2, seen[1].2, "one of them counts: {seen:?}");
    }
}

/// The log says why nothing came of a delivery.
#[tokio::test]
async fn what_is_ignored_is_told_with_its_reason() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "vapi", json!({})).await;
    let vapi = |message: Value| {
        let vendor = house.vendor();
        let path = path.clone();
        async move {
            let answer = from_vapi(&vendor, &path, &json!({ "message": message })).await;
            answer.status(200);
        }
    };
    let at = 1_749_636_000_000_i64;
    let call = json!({ "id": VAPI_CALL });
    vapi(json!({ "type": "status-update", "status": "in-progress", "timestamp": at })).await;
    vapi(json!({ "type": "status-update", "status": "thinking", "timestamp": at, "call": call }))
        .await;
    vapi(json!({ "type": "status-update", "timestamp": at, "call": call })).await;
    // Of a call that nobody has heard of: it is one from now on.
    let update =
        json!({ "type": "status-update", "status": "in-progress", "timestamp": at, "call": call });
    vapi(update.clone()).await;
    vapi(update.clone()).await;
    let mut stale = update;
    stale["timestamp"] = json!(at - 60_000);
    vapi(stale).await;
    let told: Vec<(Value, Value)> = log(&manager, &path)
        .await
        .iter()
        .rev()
        .map(|line| (line["result"].clone(), line["reason"].clone()))
        .collect();
    let expected = [
        ("ignored", json!("it names no call")),
        ("ignored", json!("this server knows no status `thinking`")),
        ("ignored", json!("it names no status")),
        ("accepted", Value::Null),
        ("duplicate", json!("it is known already")),
        ("duplicate", json!("something newer is known")),
    ];
    let expected = expected.map(|(result, reason)| (json!(result), reason));
    assert_eq!(told, expected);
}

#[tokio::test]
async fn an_end_before_the_start_is_no_end() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "retell", json!({})).await;
    for (call_id, lasted, ended) in [
        ("call_a", Value::Null, Value::Null),
        ("call_b", json!(90_000), json!("2025-06-11T10:01:30Z")),
    ] {
        let body = json!({ "event": "call_ended", "call": { "call_id": call_id, "call_status": "ended",
            "start_timestamp": 1_749_636_000_000_i64, "end_timestamp": 1_749_630_000_000_i64, "duration_ms": lasted,
            "disconnection_reason": "user_hangup" } });
        from_retell(&house.vendor(), &path, &body.to_string(), NOW_MS)
            .await
            .status(200);
        let path = format!("/v1/observability/sessions/{call_id}");
        let told = manager.get(&path).await.status(200).json();
        assert_eq!(told["startedAt"], "2025-06-11T10:00:00Z", "{told}");
        assert_eq!(told["endedAt"], ended, "{told}");
    }
}

/// How a call came to its end, once these have come in this order.
async fn history(house: &House, vendor: &str, number: usize, order: &[Value]) -> [Value; 4] {
    let acme = house.server.tenant(&format!("{vendor}-{number}")).await;
    let manager = acme.client("sessions:read,transcripts:read,admin").await;
    let path = endpoint(&manager, vendor, json!({})).await;
    for told in order {
        let answer = match vendor {
            "vapi" => from_vapi(&house.vendor(), &path, told).await,
            _ => from_retell(&house.vendor(), &path, &told.to_string(), NOW_MS).await,
        };
        answer.status(200);
    }
    let call = manager.get(&format!("/api/v1/conversations/{SID}")).await;
    let call = call.status(200).json();
    ["status_history", "started_at", "answered_at", "ended_at"].map(|name| call[name].clone())
}

#[tokio::test]
async fn how_a_call_came_to_its_end_is_told_whatever_came_first_or_twice() {
    let state = |status: &str, ms: i64| {
        json!({"message": {"type": "status-update", "status": status, "timestamp": 1_749_636_000_000_i64 + ms,
            "endedReason": (status == "ended").then_some("customer-ended-call"),
            "call": {"id": VAPI_CALL, "type": "inboundPhoneCall", "phoneCallProviderId": SID}}})
    };
    let step = |status: &str, at: &str, source: &str| json!({"status": status, "at": at, "source": source});
    let vapi = [
        state("queued", -2_000),
        state("in-progress", 0),
        state("ended", 330_200),
        vapi_report(),
    ];
    let of_vapi = json!([
        step("queued", "2025-06-11T09:59:58Z", "vapi"),
        step("active", "2025-06-11T10:00:00Z", "vapi"),
        step("completed", "2025-06-11T10:05:30Z", "vapi"),
    ]);
    let [queued, active, ended, report] = vapi;
    let vapi_orders = [
        vec![&queued, &active, &ended, &report],
        vec![&report, &ended, &active, &queued],
        vec![&active, &report, &queued, &ended],
        vec![&queued, &active, &ended, &report, &active, &report, &queued],
    ];
    let [started, ended, analyzed] = ["call_started", "call_ended", "call_analyzed"].map(retell);
    let of_retell = json!([
        step("active", "2025-06-11T10:00:00Z", "retell"),
        step("completed", "2025-06-11T10:05:30Z", "retell"),
    ]);
    let retell_orders = [
        vec![&started, &ended, &analyzed],
        vec![&analyzed, &ended, &started],
        vec![&ended, &started, &analyzed],
        vec![&started, &ended, &started, &analyzed, &ended],
    ];
    let house = House::open().await;
    for (vendor, orders, expected) in [
        ("vapi", vapi_orders, of_vapi),
        ("retell", retell_orders, of_retell),
    ] {
        let mut first: Option<[Value; 4]> = None;
        for (number, order) in orders.into_iter().enumerate() {
            let order: Vec<Value> = order.into_iter().cloned().collect();
            let told = history(&house, vendor, number, &order).await;
            assert_eq!(told[0], expected, "{vendor} {number}");
            assert_eq!(
                first.get_or_insert_with(|| told.clone()),
                &told,
                "{vendor} {number}"
            );
        }
    }
}

#[tokio::test]
async fn a_call_of_vapi_s_starts_with_the_attempt_and_lasts_from_the_answer() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "vapi", json!({})).await;
    let created = json!("2025-06-11T09:59:52Z");
    for (status, ms) in [("queued", -8_000), ("in-progress", 0)] {
        let state = json!({"message": {"type": "status-update", "status": status, "timestamp": 1_749_636_000_000_i64 + ms,
            "call": {"id": VAPI_CALL, "type": "inboundPhoneCall", "createdAt": created}}});
        from_vapi(&house.vendor(), &path, &state).await.status(200);
    }
    let mut report = vapi_report();
    report["message"]["call"]["createdAt"] = created.clone();
    from_vapi(&house.vendor(), &path, &report).await.status(200);
    let call = manager.get(&format!("/api/v1/conversations/{SID}")).await;
    let call = call.status(200).json();
    assert_eq!(call["started_at"], created, "{call}");
    assert_eq!(call["answered_at"], "2025-06-11T10:00:00Z", "{call}");
    assert_eq!(call["duration_seconds"], 330.0, "{call}");
    assert_eq!(call["status_history"][0]["at"], created, "{call}");
    // Vapi counts from the answer.
    let whole = session(&manager, VAPI_CALL).await;
    let starts: Vec<&Value> = whole["turns"]
        .as_array()
        .expect("turns")
        .iter()
        .map(|turn| &turn["startMs"])
        .collect();
    assert_eq!(starts, [8_100, 10_000, 11_850]);
    assert_eq!(whole["turns"][2]["latencyMs"], 950);
}

#[tokio::test]
async fn who_could_not_be_had_has_ended_no_call_of_vapi_s() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "vapi", json!({})).await;
    for (reason, status, by, service) in [
        ("customer-ended-call", "completed", "user", None),
        ("customer-did-not-answer", "missed", "system", None),
        ("customer-busy", "declined", "system", None),
        ("assistant-not-found", "failed", "system", Some("workflow")),
        (
            "assistant-join-timed-out",
            "failed",
            "system",
            Some("workflow"),
        ),
        ("no-server-available", "failed", "system", Some("workflow")),
        (
            "pipeline-no-available-llm-model",
            "failed",
            "system",
            Some("llm"),
        ),
        (
            "twilio-reported-customer-misdialed",
            "failed",
            "system",
            Some("workflow"),
        ),
    ] {
        let mut report = vapi_report();
        report["message"]["endedReason"] = json!(reason);
        report["message"]["call"] = json!({"id": reason, "type": "outboundPhoneCall"});
        from_vapi(&house.vendor(), &path, &report).await.status(200);
        let told = session(&manager, reason).await;
        assert_eq!(
            (&told["status"], &told["endedBy"]),
            (&json!(status), &json!(by)),
            "{reason}"
        );
        let errors: Vec<Value> = told["errors"]
            .as_array()
            .expect("errors")
            .iter()
            .map(|error| json!([error["service"], error["code"]]))
            .collect();
        let expected: Vec<Value> = service
            .iter()
            .map(|service| json!([service, reason]))
            .collect();
        assert_eq!(errors, expected, "{reason}");
    }
    let summary = manager
        .get("/api/v1/analytics/summary")
        .await
        .status(200)
        .json();
    assert_eq!(summary["failed_calls"], 5, "{summary}");
}

#[tokio::test]
async fn a_tool_that_failed_is_an_error_by_every_vendor_s_report() {
    let house = House::open().await;
    let mut vapi = vapi_report();
    let result = &mut vapi["message"]["artifact"]["messages"][4];
    result["error"] = json!("no such table");
    result["result"] = Value::Null;
    let mut retell = retell("call_ended");
    retell["call"]["transcript_with_tool_calls"] = json!([
        {"role": "agent", "content": "Hello", "words": []},
        {"role": "tool_call_invocation", "tool_call_id": "t1", "name": "find_table", "arguments": "{}"},
        {"role": "tool_call_result", "tool_call_id": "t1", "content": "no such table", "successful": false},
    ]);
    let mut elevenlabs = transcription();
    elevenlabs["data"]["transcript"] = json!([
        {"role": "agent", "message": "One moment", "time_in_call_secs": 3,
         "tool_calls": [{"request_id": "t1", "tool_name": "find_table", "params_as_json": "{}"}],
         "tool_results": [{"request_id": "t1", "tool_name": "find_table", "result_value": "no such table",
                           "is_error": true, "tool_latency_secs": 0.5}]},
    ]);
    for (vendor, body, id, at) in [
        ("vapi", vapi, VAPI_CALL, "2025-06-11T10:00:03.200Z"),
        ("retell", retell, "call_1", "2025-06-11T10:05:30Z"),
        (
            "elevenlabs",
            elevenlabs,
            "conv_1",
            "2025-06-11T10:00:03.500Z",
        ),
    ] {
        let acme = house.server.tenant(vendor).await;
        let manager = acme.client("sessions:read,transcripts:read,admin").await;
        let path = endpoint(&manager, vendor, json!({})).await;
        let answer = match vendor {
            "vapi" => from_vapi(&house.vendor(), &path, &body).await,
            "retell" => from_retell(&house.vendor(), &path, &body.to_string(), NOW_MS).await,
            _ => from_elevenlabs(&house.vendor(), &path, &body.to_string(), NOW_MS / 1000).await,
        };
        answer.status(200);
        let told = session(&manager, id).await;
        let errors = told["errors"].as_array().expect("errors");
        assert_eq!(errors.len(), 1, "{vendor}: {told}");
        for (name, value) in [
            ("service", json!("tool")),
            ("code", json!("tool_error")),
            ("message", json!("no such table")),
        ] {
            assert_eq!(errors[0][name], value, "{vendor}: {told}");
        }
        let listed = manager.get("/api/v1/analytics/errors?service=tool").await;
        let listed = listed.status(200).json();
        assert_eq!(listed["total"], 1, "{vendor}: {listed}");
        assert_eq!(listed["items"][0]["timestamp"], at, "{vendor}: {listed}");
    }
}
