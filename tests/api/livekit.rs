//! LiveKit's doors: uploads of the real SDK, webhooks, and the keys that sign them.

mod rooms;

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use prost::Message;
use reqwest::{Body, Method};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::Connection;
use tempfile::TempDir;

use super::support::{Answer, Client, Tenant, TestServer};

const KEY: &str = "APItest";
const SECRET: &str = "a-secret-that-nobody-guesses-0123456789";
const ALL: &str = "sessions:read,transcripts:read,ingest:write,admin";
const BOUNDARY: &str = "multipart/form-data; boundary=";

/// A server with a place for recordings.
async fn server() -> (TestServer, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::with(|settings| settings.data_dir = folder.path().to_owned());
    (server.await, folder)
}

/// Somebody of a tenant whose LiveKit key is known.
async fn with_key(tenant: &Tenant<'_>, secret: &str) -> Client {
    let client = tenant.client(ALL).await;
    let key = json!({"keyName": KEY, "secret": secret});
    client
        .post("/v1/admin/livekit-keys", &key)
        .await
        .status(201);
    client
}

fn sign(claims: &Value, secret: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!(
        "{}.{}",
        part(&json!({"alg": "HS256", "typ": "JWT"})),
        part(claims)
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

fn claims(server: &TestServer) -> Value {
    let now = server.clock.now().timestamp();
    json!({
        "iss": KEY, "sub": "", "nbf": now, "exp": now + 6 * 3600, "observability": {"write": true},
    })
}

/// An agent with the tenant's key.
fn agent(server: &TestServer, secret: &str) -> Client {
    server.anonymous().bearer(&sign(&claims(server), secret))
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    std::fs::read(format!("{folder}/{name}")).expect("a fixture")
}

/// The form that the SDK sent, and how it declared it.
fn form() -> (String, Vec<u8>) {
    let body = fixture("livekit/recording.form");
    let line = body.split(|byte| *byte == b'\r').next().expect("a line");
    let boundary = String::from_utf8_lossy(&line[2..]).into_owned();
    (format!("{BOUNDARY}{boundary}"), body)
}

async fn upload(agent: &Client, declared: &str, body: Vec<u8>) -> Answer {
    let agent = agent.header("content-type", declared);
    agent.post_bytes("/observability/recordings/v0", body).await
}

async fn export(agent: &Client, signal: &str, body: Vec<u8>) -> Answer {
    let agent = agent.header("content-type", "application/x-protobuf");
    let agent = agent.header("content-encoding", "gzip");
    let path = format!("/observability/{signal}/otlp/v0");
    agent.post_bytes(&path, body).await
}

async fn session(client: &Client, external: &str) -> Value {
    let path = format!("/v1/observability/sessions/{external}");
    client.get(&path).await.status(200).json()
}

async fn the_session(client: &Client) -> Value {
    let list = client
        .get("/v1/observability/sessions")
        .await
        .status(200)
        .json();
    let sessions = list["data"].as_array().expect("sessions").clone();
    assert_eq!(sessions.len(), 1, "{list}");
    session(client, sessions[0]["id"].as_str().expect("an id")).await
}

#[tokio::test]
async fn a_session_that_the_sdk_uploads_is_seen_and_heard() {
    let (server, _folder) = server().await;
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    let agent = agent(&server, SECRET);
    let (declared, body) = form();
    let kept = upload(&agent, &declared, body.clone())
        .await
        .status(200)
        .json();
    assert_eq!(kept["recording"], true, "{kept}");
    assert_eq!(kept["rejected"], 0, "{kept}");
    let answer = export(&agent, "logs", fixture("livekit/logs.pb.gz"))
        .await
        .status(200);
    assert_eq!(answer.body, [0_u8; 0], "{}", answer.text());

    let seen = the_session(&client).await;
    assert_eq!(seen["id"], kept["sessionId"]);
    assert_eq!(seen["status"], "completed", "{seen:#}");
    assert_eq!(seen["agentId"], "harbor-support", "{seen:#}");
    assert_eq!(seen["startedAt"], "2025-06-11T10:00:00Z");
    assert_eq!(seen["endedAt"], "2025-06-11T10:00:10Z");
    let id = kept["sessionId"].as_str().expect("an id");

    let path = format!("/api/v1/voice-sessions/{id}");
    let whole = client.get(&path).await.status(200).json();
    let tags: Vec<&str> = whole["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for tag in [
        "language:en",
        "appointment:booked",
        "lk.success",
        "lk.judge.politeness:pass",
    ] {
        assert!(tags.contains(&tag), "{tags:?}");
    }
    let path = format!("/api/v1/voice-sessions/{id}/evaluations");
    let found = client.get(&path).await.status(200).json();
    let mut judges: Vec<_> = found["data"]
        .as_array()
        .expect("evaluations")
        .iter()
        .map(|one| {
            (
                one["reviewer"].clone(),
                one["score"].clone(),
                one["verdict"].clone(),
            )
        })
        .collect();
    judges.sort_by_key(|judge| judge.0.to_string());
    assert_eq!(
        judges,
        [
            (json!("livekit:accuracy"), json!(0.5), Value::Null),
            (json!("livekit:outcome"), json!(1.0), json!("pass")),
            (json!("livekit:politeness"), json!(1.0), json!("pass")),
        ]
    );

    let recording = client
        .get(&format!("/v1/recordings/{id}"))
        .await
        .status(200)
        .json();
    assert_eq!(recording["format"], "ogg");
    assert_eq!(recording["startedAt"], "2025-06-11T10:00:00.200Z");
    let audio = client
        .get(&format!("/v1/recordings/{id}/audio"))
        .await
        .status(200);
    assert_eq!(audio.body, fixture("recordings/silence-2s.opus"));

    // What is sent again changes nothing.
    let again = upload(&agent, &declared, body).await.status(200).json();
    assert_eq!(
        (&again["accepted"], &again["rejected"]),
        (&json!(0), &json!(0))
    );
    export(&agent, "logs", fixture("livekit/logs.pb.gz"))
        .await
        .status(200);
    assert_eq!(the_session(&client).await, seen);
}

#[tokio::test]
async fn a_chat_history_is_turns_and_tools() {
    let (server, _folder) = server().await;
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    let (declared, body) = form();
    let kept = upload(&agent(&server, SECRET), &declared, body)
        .await
        .status(200)
        .json();
    let id = kept["sessionId"].as_str().expect("an id");
    let path = format!("/api/v1/conversations/{id}");
    let seen = client.get(&path).await.status(200).json();
    let turns = seen["transcript"].as_array().expect("turns");
    let texts: Vec<_> = turns
        .iter()
        .map(|turn| turn["text"].as_str().expect("a text"))
        .collect();
    assert_eq!(
        texts,
        [
            "Thanks for calling.",
            "Where is order A1044?",
            "It has shipped.",
            "Thank you!"
        ],
        "{seen:#}"
    );
    let seen = session(&client, id).await.to_string();
    for part in ["lookup_order", "A1044", "shipped"] {
        assert!(seen.contains(part), "{seen}");
    }
    // What Python prints is read as the value that it is.
    assert!(seen.contains(r#""result":{"#), "{seen}");
}

#[tokio::test]
async fn traces_and_metrics_of_a_room_are_one_session() {
    let (server, _folder) = server().await;
    server.clock.advance(TimeDelta::days(529));
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    let agent = agent(&server, SECRET);
    for number in ["0001", "0003", "0004", "0006"] {
        let body = fixture(&format!("otlp/livekit-signals/{number}-traces.pb"));
        let answer = export(&agent, "traces", zipped(&body)).await.status(200);
        assert_eq!(answer.header("content-type"), "application/x-protobuf");
        assert_eq!(answer.body, [0_u8; 0], "{}", answer.text());
    }
    let metrics = fixture("otlp/livekit-signals/0002-metrics.pb");
    export(&agent, "metrics", zipped(&metrics))
        .await
        .status(200);
    let seen = the_session(&client).await;
    assert_eq!(seen["status"], "completed", "{seen:#}");
    let path = format!(
        "/api/v1/conversations/{}",
        seen["id"].as_str().expect("an id")
    );
    let whole = client.get(&path).await.status(200).json();
    let expected: Value =
        serde_json::from_slice(&fixture("otlp/livekit-signals.expected.json")).expect("JSON");
    let said: Vec<_> = expected["sessions"][0]["turns"]
        .as_array()
        .expect("turns")
        .iter()
        .map(|turn| &turn["text"])
        .collect();
    let seen: Vec<_> = whole["transcript"]
        .as_array()
        .expect("turns")
        .iter()
        .map(|turn| &turn["text"])
        .collect();
    assert_eq!(seen, said);
}

fn zipped(body: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("bytes");
    encoder.finish().expect("bytes")
}

#[tokio::test]
async fn whoever_s_secret_verifies_is_who_uploads() {
    let (server, _folder) = server().await;
    let (acme, other) = (server.tenant("acme").await, server.tenant("other").await);
    // Both know a key of this name.
    let theirs = with_key(&other, "the-other-s-secret-9876543210").await;
    let ours = with_key(&acme, SECRET).await;
    let (declared, body) = form();
    upload(&agent(&server, SECRET), &declared, body)
        .await
        .status(200);
    the_session(&ours).await;
    let list = theirs
        .get("/v1/observability/sessions")
        .await
        .status(200)
        .json();
    assert_eq!(list["data"], json!([]));
}

#[tokio::test]
async fn only_a_valid_token_opens() {
    let (server, _folder) = server().await;
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    let good = claims(&server);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut claims = good.clone();
        change(&mut claims);
        sign(&claims, SECRET)
    };
    let now = server.clock.now().timestamp();
    let refused = [
        ("a wrong secret", sign(&good, "another-secret-0123456789")),
        ("another key", with(&|c| c["iss"] = json!("APIother"))),
        ("expired", with(&|c| c["exp"] = json!(now - 61))),
        ("not yet", with(&|c| c["nbf"] = json!(now + 61))),
        ("no end", with(&|c| c["exp"] = Value::Null)),
        (
            "no grant",
            with(&|c| c["observability"] = json!({"write": false})),
        ),
        ("no token", "nonsense".to_owned()),
        (
            "unsigned",
            format!(
                "{}.",
                sign(&good, SECRET).rsplit_once('.').expect("parts").0
            ),
        ),
        ("an API key", acme.key("ingest:write").await),
    ];
    let (declared, body) = form();
    for (what, token) in refused {
        let agent = server.anonymous().bearer(&token);
        let answer = upload(&agent, &declared, body.clone()).await.status(401);
        assert_eq!(
            answer.header("content-type"),
            "application/x-protobuf",
            "{what}"
        );
        for signal in ["traces", "logs", "metrics"] {
            let answer = export(&agent, signal, zipped(b"")).await.status(401);
            // The SDK stops for good when it reads this.
            assert!(!answer.text().contains("disabled"), "{what}");
        }
    }
    server
        .anonymous()
        .post_bytes("/observability/recordings/v0", body.clone())
        .await
        .status(401);
    let list = client
        .get("/v1/observability/sessions")
        .await
        .status(200)
        .json();
    assert_eq!(list["data"], json!([]));
    // Clocks may be a minute apart.
    for token in [
        with(&|c| c["exp"] = json!(now - 59)),
        with(&|c| c["nbf"] = json!(now + 59)),
    ] {
        upload(&server.anonymous().bearer(&token), &declared, body.clone())
            .await
            .status(200);
    }
}

#[derive(Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[tokio::test]
async fn a_form_that_is_none_is_refused_and_leaves_nothing() {
    let (server, _folder) = server().await;
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    let agent = agent(&server, SECRET);
    let (declared, body) = form();
    let part = |name: &str, content: &[u8]| {
        let mut form =
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").into_bytes();
        form.extend_from_slice(content);
        form.extend_from_slice(b"\r\n--b--\r\n");
        form
    };
    let declared_b = format!("{BOUNDARY}b");
    let room = [&[0x0a, 0x04][..], b"RM_1"].concat();
    let bad: Vec<(&str, u16, &str, Vec<u8>)> = vec![
        ("cut off", 400, &declared, body[..body.len() / 2].to_vec()),
        ("no form", 400, &declared_b, b"nonsense".to_vec()),
        ("no header", 400, &declared_b, part("chat_history", b"{}")),
        (
            "a broken header",
            400,
            &declared_b,
            part("header", b"\xff\xff\xff"),
        ),
        ("no room", 400, &declared_b, part("header", b"")),
        ("no media type", 415, "application/json", body.clone()),
        (
            "a long header",
            413,
            &declared_b,
            part("header", &vec![0; (1 << 20) + 1]),
        ),
    ];
    for (what, status, declared, body) in bad {
        let answer = upload(&agent, declared, body).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        if status == 415 {
            continue;
        }
        let told = Status::decode(answer.body.as_slice()).expect("a status");
        assert!(!told.message.is_empty(), "{what}");
    }
    let list = client
        .get("/v1/observability/sessions")
        .await
        .status(200)
        .json();
    assert_eq!(list["data"], json!([]));
    // A header alone is a session.
    upload(&agent, &declared_b, part("header", &room))
        .await
        .status(200);
    the_session(&client).await;
}

/// A webhook with this body, signed as a LiveKit server does.
async fn hook(server: &TestServer, body: &Value) -> Answer {
    let body = body.to_string();
    let mut claims = claims(server);
    claims["sha256"] = json!(STANDARD.encode(Sha256::digest(body.as_bytes())));
    let token = sign(&claims, SECRET);
    send_hook(server, &token, body).await
}

async fn send_hook(server: &TestServer, token: &str, body: String) -> Answer {
    let client = server.anonymous().header("authorization", token);
    let client = client.header("content-type", "application/webhook+json");
    client
        .send(Method::POST, "/v1/webhooks/livekit", |request| {
            request.body(body)
        })
        .await
}

/// 10:00 and so many seconds, as webhooks write it.
fn at(seconds: i64) -> String {
    (1_749_636_000 + seconds).to_string()
}

fn room_event(name: &str, seconds: i64) -> Value {
    json!({
        "event": name, "id": format!("EV_{name}"), "createdAt": at(seconds),
        "room": {"sid": "RM_hook", "name": "call-1", "creationTime": at(0)},
    })
}

#[tokio::test]
async fn webhooks_tell_of_rooms_and_callers() {
    let (server, _folder) = server().await;
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    let mut joined = room_event("participant_joined", 2);
    joined["participant"] = json!({
        "sid": "PA_1", "identity": "sip_+15550100", "kind": "SIP", "joinedAt": at(2),
        "attributes": {
            "sip.phoneNumber": "+15550100", "sip.trunkPhoneNumber": "+15550199",
            "sip.twilio.callSid": "CA0123456789abcdef0123456789abcdef", "sip.ruleID": "SDR_1",
        },
    });
    let mut left = room_event("participant_left", 90);
    left["participant"] = joined["participant"].clone();
    left["participant"]["disconnectReason"] = json!("CLIENT_INITIATED");
    let mut egress = room_event("egress_ended", 95);
    egress.as_object_mut().expect("an object").remove("room");
    egress["egressInfo"] = json!({
        "egressId": "EG_1", "roomId": "RM_hook", "roomName": "call-1", "status": "EGRESS_COMPLETE",
        "fileResults": [{"filename": "call-1.ogg", "location": "https://bucket/call-1.ogg",
            "startedAt": "1749636000000000000", "duration": "90000000000", "size": "5280000"}],
    });
    let finished = room_event("room_finished", 100);
    // The last first.
    for event in [
        &finished,
        &egress,
        &left,
        &room_event("room_started", 0),
        &joined,
    ] {
        let answer = hook(&server, event).await.status(200).json();
        assert_eq!(answer["accepted"], 1, "{event} {answer}");
    }
    let seen = the_session(&client).await;
    assert_eq!(seen["status"], "completed", "{seen:#}");
    assert_eq!(seen["startedAt"], "2025-06-11T10:00:00Z");
    assert_eq!(seen["endedAt"], "2025-06-11T10:01:40Z");
    assert_eq!(
        (&seen["channel"], &seen["from"], &seen["to"]),
        (&json!("inbound"), &json!("+15550100"), &json!("+15550199"))
    );
    let path = format!(
        "/api/v1/conversations/{}",
        seen["id"].as_str().expect("an id")
    );
    let whole = client.get(&path).await.status(200).json().to_string();
    for part in ["+15550100", "https://bucket/call-1.ogg"] {
        assert!(whole.contains(part), "{part} in {whole}");
    }
    // The carrier's id leads to it too.
    let path = "/v1/observability/sessions/CA0123456789abcdef0123456789abcdef";
    assert_eq!(client.get(path).await.status(200).json()["id"], seen["id"]);
    // Sent again, it changes nothing.
    let again = hook(&server, &finished).await.status(200).json();
    assert_eq!(again, json!({"accepted": 0, "duplicates": 1, "ignored": 0}));
    // Nothing of a call.
    let track = hook(&server, &room_event("track_published", 3))
        .await
        .status(200)
        .json();
    assert_eq!(track, json!({"accepted": 0, "duplicates": 0, "ignored": 1}));
}

#[tokio::test]
async fn a_call_by_sip_goes_the_way_that_its_rule_says() {
    for (rule, channel, from, to) in [
        (Some("SDR_1"), "inbound", "+15550100", "+15550199"),
        (None, "outbound", "+15550199", "+15550100"),
    ] {
        let mut attributes = json!({"phoneNumber": "+15550100", "trunkPhoneNumber": "+15550199",
            "trunkID": "ST_1", "callID": "SCL_1"});
        if let Some(rule) = rule {
            attributes["ruleID"] = json!(rule);
        }
        let under = |prefix: &str| -> Vec<(String, Value)> {
            let each = attributes.as_object().expect("an object").iter();
            each.map(|(name, value)| (format!("{prefix}{name}"), value.clone()))
                .collect()
        };
        let mut joined = room_event("participant_joined", 2);
        let own: serde_json::Map<String, Value> = under("sip.").into_iter().collect();
        joined["participant"] =
            json!({"sid": "PA_1", "identity": "sip_1", "kind": "SIP", "attributes": own});
        let told = under("lk.sip.")
            .into_iter()
            .map(|(name, value)| json!({"key": name, "value": {"stringValue": value}}));
        let spans = json!({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "livekit-agents"}, "spans": [{
            "traceId": format!("{:032x}", 7), "spanId": format!("{:016x}", 7), "name": "agent_session",
            "startTimeUnixNano": format!("{}000000000", at(0)), "endTimeUnixNano": format!("{}000000000", at(9)),
            "attributes": told.collect::<Vec<Value>>()}]}]}]});
        for is_hook in [true, false] {
            let (server, _folder) = server().await;
            let acme = server.tenant("acme").await;
            let client = with_key(&acme, SECRET).await;
            if is_hook {
                hook(&server, &joined).await.status(200);
            } else {
                client.post("/v1/traces", &spans).await.status(200);
            }
            let seen = the_session(&client).await;
            let way = [&seen["channel"], &seen["from"], &seen["to"]];
            assert_eq!(way, [channel, from, to], "{is_hook} {seen:#}");
        }
    }
}

fn caller_left(reason: &str) -> Value {
    let mut left = room_event("participant_left", 20);
    left["participant"] = json!({
        "sid": "PA_1", "identity": "sip_+15550100", "kind": "SIP", "joinedAt": at(2), "disconnectReason": reason,
    });
    left
}

#[tokio::test]
async fn who_declines_or_is_not_there_has_completed_nothing() {
    for (reason, status) in [
        ("USER_REJECTED", "declined"),
        ("USER_UNAVAILABLE", "missed"),
        ("SIP_TRUNK_FAILURE", "failed"),
        ("CLIENT_INITIATED", "completed"),
    ] {
        let told = [
            room_event("room_started", 0),
            caller_left(reason),
            room_event("room_finished", 40),
        ];
        for order in [[0, 1, 2], [2, 1, 0]] {
            let (server, _folder) = server().await;
            let acme = server.tenant("acme").await;
            let client = with_key(&acme, SECRET).await;
            for place in order {
                hook(&server, &told[place]).await.status(200);
            }
            let seen = the_session(&client).await;
            assert_eq!(seen["status"], status, "{seen:#}");
            assert_eq!(seen["endedAt"], "2025-06-11T10:00:40Z", "{seen:#}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_of_livekit_is_signed_by_its_tenant_s_keys_and_has_a_log() {
    let (server, _folder) = server().await;
    let (acme, other) = (server.tenant("acme").await, server.tenant("other").await);
    let client = with_key(&acme, SECRET).await;
    with_key(&other, "another-secret-0123456789").await;
    let wish = json!({"vendor": "livekit", "name": "rooms"});
    let with_secret = json!({"vendor": "livekit", "name": "rooms", "secret": "whatever"});
    let refused = client.post("/v1/admin/webhooks", &with_secret).await;
    refused.problem(422, "invalid-content");
    let made = client.post("/v1/admin/webhooks", &wish).await.status(201);
    let made = made.json();
    assert_eq!(made["secret"], Value::Null);
    let path = made["path"].as_str().expect("a path").to_owned();
    let send = async |event: &Value, secret: &str, body: &str| {
        let mut claims = claims(&server);
        claims["sha256"] = json!(STANDARD.encode(Sha256::digest(event.to_string().as_bytes())));
        let sender = server.anonymous();
        let sender = sender.header("authorization", &sign(&claims, secret));
        let sender = sender.header("content-type", "application/webhook+json");
        sender.post_bytes(&path, body.to_owned()).await
    };
    let started = room_event("room_started", 0);
    let body = started.to_string();
    for expected in ["accepted", "duplicate"] {
        let told = send(&started, SECRET, &body).await.status(200).json();
        assert_eq!(told["result"], expected);
    }
    let track = room_event("track_published", 3);
    let told = send(&track, SECRET, &track.to_string()).await.status(200);
    assert_eq!(told.json()["result"], "ignored");
    // By another tenant's key, and for another body.
    let foreign = send(&started, "another-secret-0123456789", &body).await;
    foreign.problem(403, "invalid-signature");
    let changed = send(&started, SECRET, "{}").await;
    changed.problem(403, "invalid-signature");
    let id = made["id"].as_str().expect("an id");
    let path = format!("/v1/admin/webhooks/{id}/deliveries");
    let log = client.get(&path).await.status(200).json();
    let lines = log["data"].as_array().expect("lines");
    let results: Vec<_> = lines
        .iter()
        .map(|line| (line["result"].as_str(), line["event"].as_str()))
        .collect();
    assert_eq!(
        results,
        [
            (Some("refused"), None),
            (Some("refused"), None),
            (Some("ignored"), Some("track_published")),
            (Some("duplicate"), Some("room_started")),
            (Some("accepted"), Some("room_started")),
        ]
    );
    let seen = the_session(&client).await;
    assert_eq!(lines[3]["session_id"].as_str().map(str::len), Some(36));
    assert_eq!(seen["status"], "active");
}

#[tokio::test]
async fn a_key_with_its_secret_is_one_tenant_s() {
    let (server, _folder) = server().await;
    let (acme, other) = (server.tenant("acme").await, server.tenant("other").await);
    with_key(&acme, SECRET).await;
    let client = other.client(ALL).await;
    let path = "/v1/admin/livekit-keys";
    let same = json!({"keyName": KEY, "secret": SECRET});
    let answer = client.post(path, &same).await.problem(409, "conflict");
    assert!(!answer.text().contains("acme") && !answer.text().contains(SECRET));
    // A name alone may be known to several.
    with_key(&other, "another-secret-0123456789").await;
}

#[tokio::test]
async fn a_failed_job_is_an_error() {
    let (server, _folder) = server().await;
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    let event = json!({
        "event": "agent_job_ended", "id": "EV_job", "createdAt": at(30),
        "job": {"id": "AJ_1", "agentName": "harbor", "room": {"sid": "RM_job", "name": "call-2"},
            "state": {"status": "JS_FAILED", "error": "worker crashed"}},
    });
    hook(&server, &event).await.status(200);
    let seen = the_session(&client).await;
    assert_eq!(seen["agentId"], "harbor", "{seen:#}");
    let errors = client.get("/api/v1/analytics/errors").await.status(200);
    assert!(
        errors.text().contains("worker crashed"),
        "{}",
        errors.text()
    );
}

#[tokio::test]
async fn a_webhook_is_believed_by_its_signature_only() {
    let (server, _folder) = server().await;
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    let body = room_event("room_started", 0).to_string();
    let hash = |body: &str| json!(STANDARD.encode(Sha256::digest(body.as_bytes())));
    let mut good = claims(&server);
    good["sha256"] = hash(&body);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        sign(&claims, SECRET)
    };
    let now = server.clock.now().timestamp();
    for (what, token) in [
        ("a wrong secret", sign(&good, "another-secret-0123456789")),
        ("another body", with("sha256", hash("{}"))),
        ("no hash", with("sha256", Value::Null)),
        ("replayed later", with("exp", json!(now - 301))),
        ("no token", String::new()),
    ] {
        let answer = send_hook(&server, &token, body.clone()).await;
        answer.problem(401, "unauthenticated");
        let list = client
            .get("/v1/observability/sessions")
            .await
            .status(200)
            .json();
        assert_eq!(list["data"], json!([]), "{what}");
    }
    let mut broken = good.clone();
    broken["sha256"] = hash("no JSON");
    let answer = send_hook(&server, &sign(&broken, SECRET), "no JSON".to_owned()).await;
    answer.problem(400, "invalid-request");
    // With the word that servers leave out, too, and at the other path.
    let token = format!("Bearer {}", sign(&good, SECRET));
    send_hook(&server, &token, body.clone()).await.status(200);
    let client = server.anonymous().header("authorization", &token);
    let again = client.header("content-type", "application/webhook+json");
    again
        .post_bytes("/v1/ingest/livekit", body)
        .await
        .status(200);
}

#[tokio::test]
async fn secrets_go_in_and_never_come_out() {
    let (server, _folder) = server().await;
    let (acme, other) = (server.tenant("acme").await, server.tenant("other").await);
    let client = with_key(&acme, SECRET).await;
    let list = client.get("/v1/admin/livekit-keys").await.status(200);
    assert!(!list.text().contains(SECRET));
    let keys = list.json()["data"].as_array().expect("keys").clone();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0]["keyName"], KEY);
    let path = format!(
        "/v1/admin/livekit-keys/{}",
        keys[0]["id"].as_str().expect("an id")
    );
    // Nobody else's.
    other
        .client(ALL)
        .await
        .delete(&path)
        .await
        .problem(404, "not-found");
    for bad in [
        json!({"keyName": "", "secret": SECRET}),
        json!({"keyName": "a", "secret": "short"}),
        json!({"keyName": "a b", "secret": SECRET}),
    ] {
        let answer = client.post("/v1/admin/livekit-keys", &bad).await;
        let answer = answer.problem(422, "invalid-content");
        assert!(!answer.text().contains(SECRET));
    }
    let (declared, body) = form();
    upload(&agent(&server, SECRET), &declared, body.clone())
        .await
        .status(200);
    client.delete(&path).await.status(204);
    client.delete(&path).await.problem(404, "not-found");
    let audit = client.get("/api/v1/audit-log").await.status(200);
    assert!(
        audit.text().contains("livekit_key.add") && audit.text().contains("livekit_key.remove")
    );
    assert!(!audit.text().contains(SECRET));
    // It opens nothing any more.
    upload(&agent(&server, SECRET), &declared, body)
        .await
        .status(401);
}

/// Every request of a capture, packed.
fn capture(name: &str) -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/otlp");
    let files = std::fs::read_dir(format!("{folder}/{name}")).expect("a capture");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|file| file.to_string_lossy().contains("-traces.pb"));
    files.sort();
    let packed = |file: &std::path::PathBuf| {
        let body = std::fs::read(file).expect("a body");
        match file.extension().is_some_and(|ending| ending == "gz") {
            true => body,
            false => zipped(&body),
        }
    };
    files.iter().map(packed).collect()
}

/// What a tenant sees of its one session, without ids that are its own.
async fn told(client: &Client) -> Value {
    let mut seen = the_session(client).await;
    let path = format!(
        "/api/v1/conversations/{}",
        seen["id"].as_str().expect("an id")
    );
    let mut whole = client.get(&path).await.status(200).json();
    for one in [&mut seen, &mut whole] {
        let members = one.as_object_mut().expect("an object");
        members.remove("id");
        // Found out later, by a worker.
        members.remove("has_issues");
    }
    json!([seen, whole])
}

#[tokio::test]
async fn the_order_of_uploads_does_not_matter() {
    let (server, _folder) = server().await;
    server.clock.advance(TimeDelta::days(529));
    for name in ["livekit-bargein", "livekit-errors", "livekit-text"] {
        let requests = capture(name);
        let mut seen = Vec::new();
        for (order, secret) in [
            "forwards-0123456789",
            "backwards-0123456789",
            "twice-0123456789",
        ]
        .into_iter()
        .enumerate()
        {
            let tenant = server.tenant(&format!("{name}-{order}")).await;
            let secret = format!("{name}-{secret}");
            let client = with_key(&tenant, &secret).await;
            let agent = agent(&server, &secret);
            let mut bodies: Vec<&Vec<u8>> = requests.iter().collect();
            match order {
                0 => {}
                1 => bodies.reverse(),
                _ => bodies.extend(requests.iter().rev()),
            }
            for body in bodies {
                export(&agent, "traces", body.clone()).await.status(200);
            }
            seen.push(told(&client).await);
        }
        assert_eq!(seen[0], seen[1], "{name}");
        assert_eq!(seen[0], seen[2], "{name}");
    }
}

#[tokio::test]
async fn a_barge_in_and_the_answer_s_latency_are_as_measured() {
    let (server, _folder) = server().await;
    server.clock.advance(TimeDelta::days(529));
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    for body in capture("livekit-bargein") {
        export(&agent(&server, SECRET), "traces", body)
            .await
            .status(200);
    }
    let seen = told(&client).await;
    let turns = seen[1]["transcript"].as_array().expect("turns");
    assert_eq!(turns.len(), 8, "{seen:#}");
    // As the loudspeaker's clock had it: 1007, 1128, 1029 and 749 ms.
    let average = seen[0]["metrics"]["avgTurnLatencyMs"].as_f64();
    let average = average.expect("a latency");
    assert!((average - 978.0).abs() < 40.0, "{average}");
    // What the application cut off is no interruption.
    let interruptions = seen[1]["interruptions"].as_array().expect("interruptions");
    let turns: Vec<_> = interruptions.iter().map(|one| &one["turn"]).collect();
    assert_eq!(turns, [&json!(1), &json!(3)], "{seen:#}");
}

/// Uploads the chat history of a room.
async fn upload_chat(agent: &Client, room: &str, items: Value) -> Answer {
    let length = u8::try_from(room.len()).expect("a short name");
    let header = [&[0x0a, length][..], room.as_bytes()].concat();
    let history = json!({ "items": items });
    let mut form = Vec::new();
    for (name, content) in [
        ("header", header),
        ("chat_history", history.to_string().into_bytes()),
    ] {
        form.extend(
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").into_bytes(),
        );
        form.extend(content);
        form.extend(b"\r\n");
    }
    form.extend(b"--b--\r\n");
    upload(agent, &format!("{BOUNDARY}b"), form).await
}

/// What is told of a session's errors: service, level, code and turn.
fn errors_of(seen: &Value) -> Vec<Value> {
    let errors = seen["errors"].as_array().expect("errors").iter();
    let told = errors.map(|e| json!([e["service"], e["level"], e["code"], e["turn"]]));
    told.collect()
}

#[tokio::test]
async fn a_tool_that_failed_is_one_error_whoever_tells_of_it() {
    let (server, _folder) = server().await;
    server.clock.advance(TimeDelta::days(529));
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    let agent = agent(&server, SECRET);
    let at = |second: f64| 1_795_236_920.0 + second;
    // As in the spans, and a tool that ran when all was said.
    let items = json!([
        {"type": "message", "id": "m1", "role": "user", "content": ["Order B two two."], "created_at": at(0.0)},
        {"type": "function_call", "id": "f1", "call_id": "call_c5ba4de1f3e2", "name": "lookup_order",
         "arguments": "{\"order_id\": \"B22\"}", "created_at": at(1.0)},
        {"type": "function_call_output", "id": "f2", "call_id": "call_c5ba4de1f3e2", "name": "lookup_order",
         "output": "order not found", "is_error": true, "created_at": at(2.0)},
        {"type": "message", "id": "m2", "role": "assistant", "content": ["Goodbye."], "created_at": at(3.0)},
        {"type": "function_call", "id": "f3", "call_id": "c2", "name": "end_call", "arguments": "{}", "created_at": at(4.0)},
        {"type": "function_call_output", "id": "f4", "call_id": "c2", "name": "end_call", "output": "None",
         "is_error": false, "created_at": at(4.0)},
    ]);
    upload_chat(&agent, "RM_driver0004", items)
        .await
        .status(200);
    let seen = the_session(&client).await;
    assert_eq!(
        errors_of(&seen),
        [json!(["tool", "error", "tool_error", 1])]
    );
    let tools = seen["turns"][1]["toolCalls"].as_array().expect("tools");
    assert_eq!(tools.len(), 2, "both are of the last answer: {seen:#}");
    let path = "/api/v1/analytics/errors?service=tool&started_after=2026-11-20T00:00:00Z";
    let listed = client.get(path).await.status(200).json();
    assert_eq!(listed["items"][0]["code"], "tool_error", "{listed}");
    assert_eq!(listed["total"], 1, "{listed}");

    // The spans tell it better, and it is still the same.
    for body in capture("livekit-errors") {
        export(&agent, "traces", body).await.status(200);
    }
    let seen = the_session(&client).await;
    let told = errors_of(&seen);
    let of_tools: Vec<&Value> = told.iter().filter(|error| error[0] == "tool").collect();
    assert_eq!(
        of_tools,
        [
            &json!(["tool", "error", "tool_error", 3]),
            &json!(["tool", "error", "tool_error", 5])
        ],
        "{seen:#}"
    );
}

#[tokio::test]
async fn an_upload_may_come_slowly_and_is_not_held_by_a_store_that_hangs() {
    let folder = tempfile::tempdir().expect("a folder");
    let limit = Duration::from_millis(800);
    let server = TestServer::with(|settings| {
        settings.data_dir = folder.path().to_owned();
        settings.request_timeout = limit;
    });
    let server = server.await;
    server.clock.advance(TimeDelta::days(529));
    let acme = server.tenant("acme").await;
    with_key(&acme, SECRET).await;
    let agent = agent(&server, SECRET);
    let items = json!([{"type": "message", "id": "m1", "role": "user", "content": ["Hi"], "created_at": 1_795_236_920.0}]);
    let mut admin = server.connect().await;
    // The one is needed to know who it is, the other to keep it.
    for lock in [
        "lock table livekit_keys in access exclusive mode",
        "lock table sessions in access exclusive mode",
    ] {
        let mut hold = admin.begin().await.expect("a transaction");
        sqlx::query(lock).execute(&mut *hold).await.expect("locked");
        let since = Instant::now();
        let answer = upload_chat(&agent, "RM_slow", items.clone()).await;
        assert_eq!(answer.status, 503, "{lock}");
        assert_eq!(answer.header("retry-after"), "1", "{lock}");
        assert!(
            String::from_utf8_lossy(&answer.body).contains("google.rpc.RetryInfo"),
            "{lock}"
        );
        assert!(since.elapsed() < limit * 5, "{lock}");
        hold.rollback().await.expect("unlocked");
    }
    upload_chat(&agent, "RM_slow", items).await.status(200);
    let (declared, body) = form();
    let (first, rest) = body.split_at(body.len() / 2);
    let (first, rest) = (first.to_vec(), rest.to_vec());
    let body = stream::iter([first, rest]).then(move |piece| async move {
        tokio::time::sleep(limit).await;
        Ok::<_, std::io::Error>(piece)
    });
    let agent = agent.header("content-type", &declared);
    let path = "/observability/recordings/v0";
    agent
        .post_bytes(path, Body::wrap_stream(body))
        .await
        .status(200);
}

#[tokio::test]
async fn an_upload_and_spans_are_one_session_and_the_spans_turns_count() {
    let (server, _folder) = server().await;
    server.clock.advance(TimeDelta::days(529));
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    let agent = agent(&server, SECRET);
    // A chat history of the room that the spans are of.
    let items = json!([{"type": "message", "id": "item_1", "role": "user",
        "content": ["Something else."], "created_at": 1_795_236_920.0}]);
    upload_chat(&agent, "RM_driver0002", items)
        .await
        .status(200);
    let seen = told(&client).await;
    assert_eq!(
        seen[1]["transcript"][0]["text"], "Something else.",
        "{seen:#}"
    );
    for body in capture("livekit-bargein") {
        export(&agent, "traces", body).await.status(200);
    }
    let seen = told(&client).await;
    assert_eq!(
        seen[1]["transcript"].as_array().map(Vec::len),
        Some(8),
        "{seen:#}"
    );
    assert_eq!(
        seen[1]["transcript"][0]["text"],
        "What is your return policy?"
    );
}

/// What spans know of the user.
#[derive(Clone, Copy)]
enum Heard {
    Nothing,
    Voice,
    Words(&'static str),
}

/// What the agent of a room says, and the user before it.
fn spans(room: &str, user: Heard) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let span = |n: u64, name: &str, said: Option<Value>| {
        let nanos = |seconds: u64| ((1_795_236_900 + seconds) * 1_000_000_000).to_string();
        let attributes: Vec<Value> = said.into_iter().chain([text("room_id", room)]).collect();
        json!({"traceId": format!("{:032x}", 11), "spanId": format!("{n:016x}"), "parentSpanId": format!("{:016x}", 99),
            "name": name, "startTimeUnixNano": nanos(10 * n), "endTimeUnixNano": nanos(10 * n + 2), "attributes": attributes})
    };
    let user = match user {
        Heard::Nothing => None,
        Heard::Voice => Some(span(1, "user_speaking", None)),
        Heard::Words(said) => Some(span(1, "user_turn", Some(text("lk.user_transcript", said)))),
    };
    let answer = text("lk.response.text", "We are open the whole day.");
    let agent = span(2, "agent_turn", Some(answer));
    let spans: Vec<Value> = user.into_iter().chain([agent]).collect();
    json!({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "livekit-agents"}, "spans": spans}]}]})
}

/// What an agent reports when its session is over, as a log record of its SDK.
fn report(room: &str, ended_at: f64) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let number = |key: &str, value: f64| json!({"key": key, "value": {"doubleValue": value}});
    let record = json!({
        "timeUnixNano": "1795236900000000000", "body": {"stringValue": "session report"},
        "attributes": [text("room_id", room), text("job_id", "AJ_1"), text("agent_name", "front-desk"),
                       number("session.report_timestamp", ended_at)],
    });
    json!({"resourceLogs": [{"scopeLogs": [{"scope": {"name": "chat_history"}, "logRecords": [record]}]}]})
}

#[tokio::test]
async fn a_session_that_uploads_or_reports_is_over_though_no_span_and_no_summary_say_so() {
    let (server, _folder) = server().await;
    server.clock.advance(TimeDelta::days(529));
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    let agent = agent(&server, SECRET);
    let items = json!([{"type": "message", "id": "item_1", "role": "user", "content": ["Hello."],
                        "created_at": 1_795_236_910.0}]);
    upload_chat(&agent, "RM_upload", items).await.status(200);
    let body = report("RM_report", 1_795_236_925.5);
    let sent = agent.post("/observability/logs/otlp/v0", &body).await;
    sent.status(200);
    for (room, ended_at) in [
        ("RM_upload", "2026-11-21T04:55:10Z"),
        ("RM_report", "2026-11-21T04:55:25.500Z"),
    ] {
        let seen = session(&client, room).await;
        assert_eq!(seen["status"], "completed", "{seen:#}");
        assert_eq!(seen["endedAt"], ended_at);
    }
}

#[tokio::test]
async fn a_room_that_no_server_knows_is_one_session_in_spans_and_uploads() {
    let (server, _folder) = server().await;
    server.clock.advance(TimeDelta::days(529));
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    let agent = agent(&server, SECRET);
    let room = "SRM_0a1b2c3d4e5f";
    let items = json!([{"type": "message", "id": "item_1", "role": "user", "content": ["Hello."],
                        "created_at": 1_795_236_910.0}]);
    upload_chat(&agent, room, items).await.status(200);
    let body = spans(room, Heard::Words("Hello."));
    client.post("/v1/traces", &body).await.status(200);
    let seen = the_session(&client).await;
    let answer = &seen["turns"][1];
    assert_eq!(answer["text"], "We are open the whole day.", "{seen:#}");
}

#[tokio::test]
async fn what_the_user_said_is_told_by_the_chat_history_where_no_span_knows_it() {
    let (server, _folder) = server().await;
    server.clock.advance(TimeDelta::days(529));
    let message = |id: &str, role: &str, said: &str, at: f64| json!({"type": "message", "id": id, "role": role, "content": [said], "created_at": at});
    let history = json!([
        message("item_1", "user", "When are you open?", 1_795_236_911.0),
        message(
            "item_2",
            "assistant",
            "We are open all day.",
            1_795_236_921.0
        ),
    ]);
    // Of a voice the words are the history's and all else is the spans'.
    let told_as = [
        (
            Heard::Nothing,
            ["When are you open?", "We are open all day."],
        ),
        (
            Heard::Voice,
            ["When are you open?", "We are open the whole day."],
        ),
        (
            Heard::Words("When do you open?"),
            ["When do you open?", "We are open the whole day."],
        ),
    ];
    for (place, (user, expected)) in told_as.into_iter().enumerate() {
        for spans_first in [true, false] {
            let acme = server.tenant(&format!("acme-{place}-{spans_first}")).await;
            let secret = format!("{SECRET}-{place}-{spans_first}");
            let client = with_key(&acme, &secret).await;
            let agent = agent(&server, &secret);
            for is_spans in [spans_first, !spans_first] {
                match is_spans {
                    true => client.post("/v1/traces", &spans("RM_realtime", user)).await,
                    false => upload_chat(&agent, "RM_realtime", history.clone()).await,
                }
                .status(200);
            }
            let seen = told(&client).await;
            let transcript = seen[1]["transcript"].as_array().expect("a transcript");
            let said: Vec<_> = transcript.iter().map(|turn| &turn["text"]).collect();
            assert_eq!(said, expected, "{seen:#}");
        }
    }
}

#[tokio::test]
async fn what_an_application_had_said_is_told_by_the_chat_history_where_no_span_knows_it() {
    let (server, _folder) = server().await;
    server.clock.advance(TimeDelta::days(529));
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let span = |n: u64, name: &str, seconds: (u64, u64), said: Option<Value>| {
        let nanos = |seconds: u64| ((1_795_236_900 + seconds) * 1_000_000_000).to_string();
        let attributes: Vec<Value> = said
            .into_iter()
            .chain([text("room_id", "RM_node")])
            .collect();
        json!({"traceId": format!("{:032x}", 12), "spanId": format!("{n:016x}"), "parentSpanId": format!("{:016x}", 99),
            "name": name, "startTimeUnixNano": nanos(seconds.0), "endTimeUnixNano": nanos(seconds.1), "attributes": attributes})
    };
    let spans = [
        span(1, "tts_node", (1, 2), None),
        span(2, "agent_speaking", (2, 4), None),
        span(
            3,
            "user_turn",
            (5, 7),
            Some(text("lk.user_transcript", "When are you open?")),
        ),
        span(
            4,
            "agent_turn",
            (8, 12),
            Some(text("lk.response.text", "All day.")),
        ),
    ];
    let spans = json!({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "livekit-agents"}, "spans": spans}]}]});
    let message = |id: &str, role: &str, said: &str, at: f64| json!({"type": "message", "id": id, "role": role, "content": [said], "created_at": at});
    let history = |more: bool| {
        let mut items = vec![
            message(
                "item_1",
                "assistant",
                "Thanks for calling.",
                1_795_236_902.0,
            ),
            message("item_2", "user", "When are you open?", 1_795_236_906.0),
            message("item_3", "assistant", "All day.", 1_795_236_909.0),
        ];
        // Whose sound this was, nobody knows.
        let unheard = message("item_4", "assistant", "Are you there?", 1_795_236_920.0);
        items.extend(more.then_some(unheard));
        Value::from(items)
    };
    for (place, (more, expected)) in [(false, json!("Thanks for calling.")), (true, Value::Null)]
        .into_iter()
        .enumerate()
    {
        for spans_first in [true, false] {
            let name = format!("says-{place}-{spans_first}");
            let acme = server.tenant(&name).await;
            let secret = format!("{SECRET}-{name}");
            let client = with_key(&acme, &secret).await;
            let agent = agent(&server, &secret);
            for is_spans in [spans_first, !spans_first] {
                match is_spans {
                    true => client.post("/v1/traces", &spans).await,
                    false => upload_chat(&agent, "RM_node", history(more)).await,
                }
                .status(200);
            }
            let seen = told(&client).await;
            let transcript = seen[1]["transcript"].as_array().expect("a transcript");
            let turns = the_session(&client).await["turns"].clone();
            assert_eq!(turns[0]["text"], expected, "{turns:#}");
            let said = transcript.iter().map(|turn| &turn["text"]);
            let said: Vec<_> = said.filter(|text| **text != expected).collect();
            assert_eq!(said, ["When are you open?", "All day."], "{seen:#}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_failed_in_silence_has_no_latency() {
    let (server, _folder) = server().await;
    server.clock.advance(TimeDelta::days(529));
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    for body in capture("livekit-errors") {
        export(&agent(&server, SECRET), "traces", body)
            .await
            .status(200);
    }
    let seen = the_session(&client).await;
    assert_eq!(seen["status"], "failed", "{seen:#}");
    let turns = seen["turns"].as_array().expect("turns");
    assert_eq!(turns[7]["failed"], true, "{seen:#}");
    assert_eq!(turns[7]["latencyMs"], Value::Null, "{seen:#}");
    let errors: Vec<_> = seen["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| (&error["service"], &error["level"], &error["turn"]))
        .collect();
    assert_eq!(
        errors,
        [
            (&json!("llm"), &json!("warning"), &json!(1)),
            (&json!("tool"), &json!("error"), &json!(3)),
            (&json!("tool"), &json!("error"), &json!(5)),
            (&json!("llm"), &json!("error"), &json!(7)),
        ]
    );
}

/// What a program, or the SDK, logs while its job is in a room.
fn logged(
    room: &str,
    logger: &str,
    severity: u32,
    message: &str,
    exception: Option<&str>,
) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let raised = exception.into_iter().flat_map(|message| {
        [
            text("exception.type", "RuntimeError"),
            text("exception.message", message),
        ]
    });
    let named = [
        text("room_id", room),
        text("job_id", "AJ_1"),
        text("lk.agent_name", "front-desk"),
    ];
    let record = json!({
        "timeUnixNano": "1795236922000000000", "severityNumber": severity, "body": {"stringValue": message},
        "attributes": named.into_iter().chain(raised).collect::<Vec<_>>(),
    });
    json!({"resourceLogs": [{"scopeLogs": [{"scope": {"name": logger}, "logRecords": [record]}]}]})
}

#[tokio::test]
async fn what_a_job_logs_as_an_error_is_one_of_its_session_and_told_once() {
    let (server, _folder) = server().await;
    server.clock.advance(TimeDelta::days(529));
    let crash = (
        "livekit.agents",
        17,
        "unhandled exception while running the job task",
        Some("no config"),
    );
    let own = ("front-desk.crm", 17, "CRM is away: 503", None);
    let unclosed = ("asyncio", 17, "Unclosed client session", None);
    let warning = ("front-desk.crm", 13, "CRM is slow", None);
    let messages = |seen: &Value| {
        let errors = seen["errors"].as_array().expect("errors");
        let mut told: Vec<_> = errors
            .iter()
            .map(|error| error["message"].to_string())
            .collect();
        told.sort();
        told
    };
    for (room, spans_come) in [
        ("RM_crashed", None),
        ("RM_late", Some(false)),
        ("RM_early", Some(true)),
    ] {
        let acme = server
            .tenant(&room.to_ascii_lowercase().replace('_', "-"))
            .await;
        let secret = format!("{SECRET}-{room}");
        let client = with_key(&acme, &secret).await;
        let agent = agent(&server, &secret);
        let body = spans(room, Heard::Words("Hello."));
        if spans_come == Some(true) {
            client.post("/v1/traces", &body).await.status(200);
        }
        for (logger, severity, message, exception) in [crash, own, unclosed, warning] {
            let record = logged(room, logger, severity, message, exception);
            let sent = agent.post("/observability/logs/otlp/v0", &record).await;
            sent.status(200);
        }
        if spans_come == Some(false) {
            client.post("/v1/traces", &body).await.status(200);
        }
        let seen = session(&client, room).await;
        let mut expected = vec![r#""CRM is away: 503""#];
        if spans_come.is_none() {
            expected.push(r#""unhandled exception while running the job task: no config""#);
        }
        assert_eq!(messages(&seen), expected, "{room} {seen:#}");
        assert_eq!(seen["agentId"], "front-desk");
    }
}
