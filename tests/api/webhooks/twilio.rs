//! Twilio: states in any order, signatures over every spelling of the address, and what is refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{House, SECRET, SID, callback, endpoint, form, log, results, twilio_signature};
use crate::support::Client;

const BASE: &str = "https://voxray.example.org";

fn call(sid: &str) -> Vec<Vec<(&str, &str)>> {
    let common = [
        ("AccountSid", "AC00000000000000000000000000000001"),
        ("ApiVersion", "2010-04-01"),
        ("CallSid", sid),
        ("CallbackSource", "call-progress-events"),
        ("Direction", "outbound-api"),
        ("From", "+15005550006"),
        ("To", "+15005550007"),
    ];
    let told = [
        [
            ("CallStatus", "initiated"),
            ("SequenceNumber", "0"),
            ("Timestamp", "Wed, 11 Jun 2025 10:00:00 +0000"),
        ],
        [
            ("CallStatus", "ringing"),
            ("SequenceNumber", "1"),
            ("Timestamp", "Wed, 11 Jun 2025 10:00:02 +0000"),
        ],
        [
            ("CallStatus", "in-progress"),
            ("SequenceNumber", "2"),
            ("Timestamp", "Wed, 11 Jun 2025 10:00:09 +0000"),
        ],
        [
            ("CallStatus", "completed"),
            ("SequenceNumber", "3"),
            ("Timestamp", "Wed, 11 Jun 2025 10:00:58 +0000"),
        ],
    ];
    let mut callbacks: Vec<Vec<_>> = told
        .iter()
        .map(|told| [&common[..], told].concat())
        .collect();
    callbacks[3].extend([
        ("CallDuration", "49"),
        ("Duration", "1"),
        ("SipResponseCode", "200"),
    ]);
    callbacks
}

async fn shown(reader: &Client, sid: &str) -> Value {
    reader
        .get(&format!("/api/v1/conversations/{sid}"))
        .await
        .status(200)
        .json()
}

#[tokio::test]
async fn states_in_any_order_make_one_call() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
    let url = format!("{BASE}{path}");
    let vendor = house.vendor();
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]];
    for (n, order) in orders.into_iter().enumerate() {
        let sid = format!("CA0123456789abcdef0123456789abcde{n}");
        let callbacks = call(&sid);
        for at in order {
            let answer = callback(&vendor, &path, &url, &callbacks[at])
                .await
                .status(204);
            assert_eq!(answer.body, b"");
        }
        let call = shown(&manager, &sid).await;
        assert_eq!(call["status"], "completed", "{order:?}");
        assert_eq!(call["started_at"], "2025-06-11T10:00:00Z", "{order:?}");
        assert_eq!(call["answered_at"], "2025-06-11T10:00:09Z", "{order:?}");
        assert_eq!(call["ended_at"], "2025-06-11T10:00:58Z", "{order:?}");
        assert_eq!(call["direction"], "outbound", "{order:?}");
        assert_eq!(call["duration_seconds"], 49.0, "{order:?}");
    }
    assert_eq!(results(&manager, &path).await, vec!["accepted"; 12]);
    // The same again changes nothing.
    let sid = "CA0123456789abcdef0123456789abcde0";
    let before = shown(&manager, sid).await;
    for params in call(sid) {
        callback(&vendor, &path, &url, &params).await.status(204);
    }
    assert_eq!(results(&manager, &path).await[..4], vec!["duplicate"; 4]);
    assert_eq!(shown(&manager, sid).await, before);
}

#[tokio::test]
async fn what_comes_after_a_call_was_deleted_is_ignored() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
    let url = format!("{BASE}{path}");
    let callbacks = call(SID);
    callback(&house.vendor(), &path, &url, &callbacks[3])
        .await
        .status(204);
    let gone = manager.delete(&format!("/api/v1/sessions/{SID}")).await;
    gone.status(204);
    callback(&house.vendor(), &path, &url, &callbacks[2])
        .await
        .status(204);
    let recording = [
        ("CallSid", SID),
        ("RecordingSid", "RE0123456789abcdef0123456789abcdef"),
        ("RecordingStatus", "completed"),
        (
            "RecordingUrl",
            "https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1",
        ),
    ];
    callback(&house.vendor(), &path, &url, &recording)
        .await
        .status(204);
    let log = log(&manager, &path).await;
    assert_eq!(
        (&log[0]["result"], &log[1]["result"]),
        (&json!("ignored"), &json!("ignored"))
    );
    assert_eq!(log[0]["reason"], "the call was deleted");
    let reason = log[1]["reason"].as_str();
    assert!(
        reason.is_some_and(|reason| reason.starts_with("session_closed")),
        "{log:?}"
    );
    manager
        .get(&format!("/api/v1/conversations/{SID}"))
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn what_says_no_time_is_known_by_its_body() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
    let url = format!("{BASE}{path}");
    let params = [("CallSid", SID), ("CallStatus", "completed")];
    for _ in 0..2 {
        callback(&house.vendor(), &path, &url, &params)
            .await
            .status(204);
        house.server.clock.advance(chrono::TimeDelta::minutes(5));
    }
    assert_eq!(results(&manager, &path).await, ["duplicate", "accepted"]);
    assert_eq!(
        shown(&manager, SID).await["ended_at"],
        "2025-06-11T12:00:00Z"
    );
}

#[tokio::test]
async fn what_says_no_time_counts_once_however_much_comes_between() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
    let url = format!("{BASE}{path}");
    let vendor = house.vendor();
    fn undated(sid: &str) -> [(&str, &str); 3] {
        [
            ("CallSid", sid),
            ("CallStatus", "completed"),
            ("CallDuration", "30"),
        ]
    }
    callback(&vendor, &path, &url, &undated(SID))
        .await
        .status(204);
    let before = shown(&manager, SID).await;
    for n in 0..101 {
        let sid = format!("CA{n:032x}");
        callback(&vendor, &path, &url, &undated(&sid))
            .await
            .status(204);
    }
    house.server.clock.advance(chrono::TimeDelta::minutes(5));
    callback(&vendor, &path, &url, &undated(SID))
        .await
        .status(204);
    assert_eq!(results(&manager, &path).await[0], "duplicate");
    assert_eq!(shown(&manager, SID).await, before);
    assert_eq!(before["ended_at"], "2025-06-11T12:00:00Z");
}

#[tokio::test]
async fn a_last_word_alone_is_a_whole_call() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
    let url = format!("{BASE}{path}");
    callback(&house.vendor(), &path, &url, &call(SID)[3])
        .await
        .status(204);
    let call = shown(&manager, SID).await;
    assert_eq!(
        (&call["status"], &call["duration_seconds"]),
        (&json!("completed"), &json!(49.0))
    );
    for (status, here) in [
        ("busy", "declined"),
        ("no-answer", "missed"),
        ("failed", "failed"),
        ("canceled", "failed"),
    ] {
        let sid = format!("CA0123456789abcdef0123456789abcd{:02x}", status.len());
        let params = [
            ("CallSid", sid.as_str()),
            ("CallStatus", status),
            ("SequenceNumber", "1"),
            ("Timestamp", "Wed, 11 Jun 2025 10:00:00 +0000"),
        ];
        callback(&house.vendor(), &path, &url, &params)
            .await
            .status(204);
        assert_eq!(shown(&manager, &sid).await["status"], here, "{status}");
    }
}

#[tokio::test]
async fn what_twilio_did_not_send_is_refused_and_leaves_nothing() {
    let house = House::open().await;
    let manager = house.manager().await;
    let account = "AC00000000000000000000000000000009";
    let path = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
    let bound = endpoint(
        &manager,
        "twilio",
        json!({ "public_url": BASE, "account_sid": account }),
    )
    .await;
    let url = format!("{BASE}{path}");
    let vendor = house.vendor();
    let params = &call(SID)[3];
    let send = async |signature: Option<String>, params: &[(&str, &str)]| {
        let body = form(params);
        let answer = vendor.send(Method::POST, &path, |request| {
            let request = match signature {
                Some(signature) => request.header("x-twilio-signature", signature),
                None => request,
            };
            request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body)
        });
        answer.await
    };
    send(None, params).await.problem(403, "invalid-signature");
    send(Some("AAAA".to_owned()), params)
        .await
        .problem(403, "invalid-signature");
    let other = twilio_signature("another token", &url, params);
    send(Some(other), params)
        .await
        .problem(403, "invalid-signature");
    // Signed, and then changed.
    let right = twilio_signature(SECRET, &url, params);
    let mut changed = params.clone();
    changed[2].1 = "CA0123456789abcdef0123456789abcdee";
    send(Some(right.clone()), &changed)
        .await
        .problem(403, "invalid-signature");
    // Right, and of an account that is not expected here.
    callback(&vendor, &bound, &format!("{BASE}{bound}"), params)
        .await
        .problem(403, "invalid-signature");
    assert_eq!(results(&manager, &path).await, ["refused"; 4]);
    let log = log(&manager, &path).await;
    assert_eq!(
        (&log[0]["status"], &log[0]["session_id"], &log[0]["event"]),
        (&json!(403), &Value::Null, &Value::Null)
    );
    manager
        .get(&format!("/api/v1/conversations/{SID}"))
        .await
        .problem(404, "not-found");
    send(Some(right), params).await.status(204);
}

#[tokio::test]
async fn more_parameters_than_a_callback_has_are_not_taken_apart() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
    let many = vec![("a", "1"); 1_001];
    let url = format!("{BASE}{path}");
    callback(&house.vendor(), &path, &url, &many)
        .await
        .problem(413, "too-large");
}

#[tokio::test]
async fn every_spelling_of_the_address_is_understood() {
    let house = House::open().await;
    let manager = house.manager().await;
    let vendor = house.vendor();
    let params = [
        ("CallSid", SID),
        ("CallStatus", "ringing"),
        ("SequenceNumber", "1"),
    ];
    for (public, signed, query, fits) in [
        ("https://v.example", "https://v.example", "", true),
        ("https://v.example/", "https://v.example:443", "", true),
        (
            "https://v.example:443",
            "https://v.example",
            "?a=1&b=%20x",
            true,
        ),
        (
            "https://v.example/below",
            "https://v.example/below",
            "?a=1",
            true,
        ),
        ("https://v.example:8443", "https://v.example:8443", "", true),
        ("https://v.example", "http://v.example", "", false),
        ("https://v.example", "https://w.example", "", false),
    ] {
        let path = endpoint(&manager, "twilio", json!({ "public_url": public })).await;
        let url = format!("{signed}{path}{query}");
        let answer = callback(&vendor, &format!("{path}{query}"), &url, &params).await;
        assert_eq!(
            answer.status,
            if fits { 204 } else { 403 },
            "{public} {url}"
        );
    }
    // Without a word about it, the address is the one of the request itself.
    let path = endpoint(&manager, "twilio", json!({})).await;
    let own = format!("{}{path}", house.server.base);
    callback(&vendor, &path, &own, &params).await.status(204);
    // Anybody can write what a proxy would: it is believed only where there is one.
    let forwarded = house
        .vendor()
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "v.example");
    let url = format!("https://v.example{path}");
    callback(&forwarded, &path, &url, &params)
        .await
        .problem(403, "invalid-signature");
    callback(&forwarded, &path, &own, &params).await.status(204);
    let behind = House::with(|settings| settings.trust_proxy = true).await;
    let manager = behind.manager().await;
    let path = endpoint(&manager, "twilio", json!({})).await;
    let url = format!("https://v.example{path}");
    let forwarded = behind
        .vendor()
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "v.example, inner");
    callback(&forwarded, &path, &url, &params).await.status(204);
}

#[tokio::test]
async fn a_body_that_is_json_is_bound_to_its_address() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
    let body =
        json!({ "CallSid": SID, "CallStatus": "in-progress", "SequenceNumber": 2 }).to_string();
    let hash = hex::encode(Sha256::digest(body.as_bytes()));
    let full = format!("{path}?bodySHA256={hash}");
    let sign = |path: &str| {
        let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).expect("a key");
        mac.update(format!("{BASE}{path}").as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    };
    let send = async |path: &str, kind: &str, body: &str| {
        let (signature, body) = (sign(path), body.to_owned());
        let vendor = house.vendor();
        let answer = vendor.send(Method::POST, path, |request| {
            request
                .header("x-twilio-signature", signature)
                .header("content-type", kind)
                .body(body)
        });
        answer.await
    };
    send(&full, "application/json", &body).await.status(204);
    assert_eq!(shown(&manager, SID).await["status"], "active");
    send(&full, "application/json", "{}")
        .await
        .problem(403, "invalid-signature");
    send(&path, "application/json", &body)
        .await
        .problem(403, "invalid-signature");
    send(&full, "text/plain", &body)
        .await
        .problem(415, "unsupported-media-type");
    assert_eq!(
        results(&manager, &path).await,
        ["invalid", "refused", "refused", "accepted"]
    );
}

#[tokio::test]
async fn a_call_that_nobody_answered_costs_nothing() {
    let house = House::open().await;
    let manager = house.manager().await;
    let path = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
    let url = format!("{BASE}{path}");
    for (n, (last, usd)) in [
        ("busy", Value::Null),
        ("no-answer", Value::Null),
        ("failed", Value::Null),
        ("canceled", Value::Null),
        ("completed", json!(0.014)),
    ]
    .into_iter()
    .enumerate()
    {
        let sid = format!("CA0123456789abcdef0123456789abcde{n}");
        let mut callbacks = call(&sid);
        if last != "completed" {
            callbacks.remove(2);
            for (name, value) in callbacks[2].iter_mut() {
                match *name {
                    "CallStatus" => *value = last,
                    "CallDuration" | "Duration" => *value = "0",
                    _ => {}
                }
            }
        }
        for params in &callbacks {
            callback(&house.vendor(), &path, &url, params)
                .await
                .status(204);
        }
        let call = shown(&manager, &sid).await;
        assert_eq!(call["cost_usd"], usd, "{last}: {call}");
    }
}
