//! Recordings that vendors announce: fetched with the endpoint's credentials, tried again, given up.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use voxray::services::fetches;

use super::vendors::from_vapi;
use super::{House, SECRET, SID, callback, endpoint, results};
use crate::support::Client;

const BASE: &str = "https://voxray.example.org";
const ACCOUNT: &str = "AC00000000000000000000000000000001";

/// Somebody else's server: what it was asked with, and how often it fails first.
#[derive(Clone, Default)]
struct Source {
    asked: Arc<Mutex<Vec<String>>>,
    paths: Arc<Mutex<Vec<String>>>,
    failures: Arc<Mutex<Vec<u16>>>,
    /// Asked, it does not answer.
    is_stuck: Arc<AtomicBool>,
}

impl Source {
    async fn open(failures: &[u16]) -> (Self, String) {
        let source = Self {
            failures: Arc::new(Mutex::new(failures.to_vec())),
            ..Self::default()
        };
        let own = source.clone();
        let answer = move |uri: Uri, headers: HeaderMap| {
            let source = own.clone();
            async move {
                let path = uri.path().to_owned();
                source.paths.lock().expect("a lock").push(path);
                let answer = source.answer(&headers);
                if source.is_stuck.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
                answer
            }
        };
        #[expect(clippy::disallowed_methods, reason = "routes of the tests' own")]
        let router = axum::Router::new()
            .route(
                "/2010-04-01/Accounts/{account}/Recordings/{sid}",
                axum::routing::get(answer.clone()),
            )
            .route("/audio", axum::routing::get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        tokio::spawn(axum::serve(listener, router).into_future());
        (source, address)
    }

    fn answer(&self, headers: &HeaderMap) -> axum::response::Response {
        let given = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        self.asked
            .lock()
            .expect("a lock")
            .push(given.unwrap_or_default().to_owned());
        let failure = self.failures.lock().expect("a lock").pop();
        match failure.and_then(|status| StatusCode::from_u16(status).ok()) {
            Some(status) => status.into_response(),
            None => audio().into_response(),
        }
    }
}

fn audio() -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/recordings");
    std::fs::read(format!("{folder}/auto-repairs-40-first10s.wav")).expect("a fixture")
}

struct Studio {
    house: House,
    manager: Client,
    path: String,
    source: Source,
    host: String,
}

impl Studio {
    async fn open(failures: &[u16]) -> Self {
        let (source, host) = Source::open(failures).await;
        let allowed = host.clone();
        let house = House::with(|settings| {
            settings.recordings_rules.allowed_hosts = vec![allowed];
            settings.recordings_rules.allow_private = true;
        })
        .await;
        let manager = house.manager().await;
        let path = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
        Self {
            house,
            manager,
            path,
            source,
            host,
        }
    }

    fn url(&self, sid: &str) -> String {
        format!(
            "http://{}/2010-04-01/Accounts/{ACCOUNT}/Recordings/{sid}",
            self.host
        )
    }

    async fn tell(&self, params: &[(&str, &str)]) {
        let params = [&[("CallSid", SID)][..], params].concat();
        let url = format!("{BASE}{}", self.path);
        callback(&self.house.vendor(), &self.path, &url, &params)
            .await
            .status(204);
    }

    async fn announce(&self, url: &str) {
        self.tell(&[
            ("RecordingSid", "RE1"),
            ("RecordingStatus", "completed"),
            ("RecordingUrl", url),
            ("RecordingChannels", "2"),
            ("RecordingStartTime", "Wed, 11 Jun 2025 10:00:09 +0000"),
        ])
        .await;
    }

    async fn end(&self) {
        self.tell(&[
            ("CallStatus", "completed"),
            ("SequenceNumber", "3"),
            ("Timestamp", "Wed, 11 Jun 2025 10:00:58 +0000"),
        ])
        .await;
    }

    /// Fetches whatever is due; how many tries that were.
    async fn work(&self) -> usize {
        let app = &self.house.server.app;
        let mut tries = 0;
        while fetches::next(&app.fetch_kit(), app.clock.now())
            .await
            .expect("a store")
        {
            tries += 1;
        }
        tries
    }

    async fn shown(&self) -> Value {
        self.manager
            .get(&format!("/v1/recordings/{SID}"))
            .await
            .status(200)
            .json()
    }

    fn tries(&self) -> usize {
        self.source.asked.lock().expect("a lock").len()
    }

    /// Has another server at work that has asked a source which does not answer.
    async fn other_at_work(&self, lease: Duration) -> JoinHandle<voxray::domain::Result<bool>> {
        self.source.is_stuck.store(true, Ordering::Relaxed);
        let app = &self.house.server.app;
        let (mut kit, now) = (app.fetch_kit(), app.clock.now());
        let before = self.tries();
        kit.lease = lease;
        let other = tokio::spawn(async move { fetches::next(&kit, now).await });
        while self.tries() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.source.is_stuck.store(false, Ordering::Relaxed);
        other
    }

    /// Until when the recording is somebody's to fetch.
    async fn is_held_until(&self) -> DateTime<Utc> {
        let mut connection = self.house.server.connect().await;
        sqlx::query_scalar("select due_at from recording_fetches")
            .fetch_one(&mut connection)
            .await
            .expect("a row")
    }
}

#[tokio::test]
async fn what_a_server_left_behind_is_fetched_by_another_a_minute_later() {
    let studio = Studio::open(&[]).await;
    studio.end().await;
    studio.announce(&studio.url("RE1")).await;
    studio.other_at_work(fetches::LEASE).await.abort();
    studio.house.server.clock.advance(TimeDelta::seconds(59));
    assert_eq!(studio.work().await, 0, "it may still be at work");
    assert_eq!(studio.shown().await["status"], "processing");
    studio.house.server.clock.advance(TimeDelta::seconds(2));
    assert_eq!(studio.work().await, 1);
    assert_eq!(studio.shown().await["status"], "available");
}

#[tokio::test]
async fn what_no_server_lives_through_is_given_up() {
    let studio = Studio::open(&[]).await;
    studio.end().await;
    studio.announce(&studio.url("RE1")).await;
    for _ in 0..6 {
        studio.other_at_work(fetches::LEASE).await.abort();
        studio.house.server.clock.advance(TimeDelta::seconds(61));
    }
    studio.work().await;
    let shown = studio.shown().await;
    assert_eq!(
        (&shown["status"], &shown["failureReason"], studio.tries()),
        (
            &json!("failed"),
            &json!("the server stopped in the midst of the last try"),
            6
        )
    );
}

#[tokio::test]
async fn what_a_server_is_long_at_is_left_to_it() {
    let studio = Studio::open(&[]).await;
    studio.end().await;
    studio.announce(&studio.url("RE1")).await;
    let lease = Duration::from_millis(300);
    let first = studio.house.server.clock.now() + lease;
    let other = studio.other_at_work(lease).await;
    while studio.is_held_until().await < first + lease {
        assert!(!other.is_finished(), "it is still at work");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    studio
        .house
        .server
        .clock
        .advance(TimeDelta::milliseconds(300));
    assert_eq!(studio.work().await, 0);
}

/// A call of this number, whose recording is announced at the studio's source.
async fn announced(studio: &Studio, vendor: &Client, path: &str, number: u32) -> String {
    let (sid, url) = (format!("CA{number:032x}"), format!("{BASE}{path}"));
    let (recording, at) = (format!("RE{number}"), studio.url(&format!("RE{number}")));
    let ended = [
        ("CallSid", sid.as_str()),
        ("CallStatus", "completed"),
        ("Timestamp", "Wed, 11 Jun 2025 10:00:58 +0000"),
    ];
    let recorded = [
        ("CallSid", sid.as_str()),
        ("RecordingSid", &recording),
        ("RecordingStatus", "completed"),
        ("RecordingUrl", &at),
    ];
    for params in [&ended[..], &recorded] {
        callback(vendor, path, &url, params).await.status(204);
    }
    sid
}

/// However slow one tenant's sources are, another's recordings come.
#[tokio::test]
async fn a_tenant_whose_sources_do_not_answer_leaves_one_hand_to_others() {
    let studio = Studio::open(&[]).await;
    let vendor = studio.house.vendor();
    for number in 1..=3 {
        announced(&studio, &vendor, &studio.path, number).await;
    }
    let lease = Duration::from_secs(3600);
    let stuck = [
        studio.other_at_work(lease).await,
        studio.other_at_work(lease).await,
    ];
    assert_eq!(studio.work().await, 0, "it has two already");
    let neighbour = studio.house.server.tenant("globex").await;
    let neighbour = neighbour
        .client("sessions:read,transcripts:read,admin")
        .await;
    let path = endpoint(&neighbour, "twilio", json!({ "public_url": BASE })).await;
    let sid = announced(&studio, &vendor, &path, 4).await;
    assert_eq!(studio.work().await, 1);
    let shown = neighbour.get(&format!("/v1/recordings/{sid}")).await;
    assert_eq!(shown.status(200).json()["status"], "available");
    for task in stuck {
        task.abort();
        assert!(task.await.is_err_and(|error| error.is_cancelled()));
    }
    assert_eq!(studio.work().await, 1, "what it had no hand for");
}

#[tokio::test]
async fn a_recording_is_fetched_with_the_account_s_credentials() {
    let studio = Studio::open(&[]).await;
    studio.end().await;
    studio.announce(&studio.url("RE1")).await;
    let waiting = studio.shown().await;
    assert_eq!(
        (&waiting["status"], &waiting["audioUrl"]),
        (&json!("processing"), &Value::Null)
    );
    assert_eq!(
        (&waiting["callId"], &waiting["startedAt"]),
        (&json!(SID), &json!("2025-06-11T10:00:09Z"))
    );
    let audio_path = format!("/v1/recordings/{SID}/audio");
    studio
        .manager
        .get(&audio_path)
        .await
        .problem(409, "conflict");
    assert_eq!(studio.work().await, 1);
    let there = studio.shown().await;
    assert_eq!(
        (&there["status"], &there["channels"]),
        (&json!("available"), &json!(2))
    );
    assert_eq!(there["startedAt"], "2025-06-11T10:00:09Z");
    assert_eq!(
        studio.manager.get(&audio_path).await.status(200).body,
        audio()
    );
    let expected = format!("Basic {}", STANDARD.encode(format!("{ACCOUNT}:{SECRET}")));
    assert_eq!(*studio.source.asked.lock().expect("a lock"), [expected]);
    // Announced again: it is here.
    studio.announce(&studio.url("RE1")).await;
    assert_eq!(studio.work().await, 0);
    assert_eq!(
        results(&studio.manager, &studio.path).await,
        ["duplicate", "accepted", "accepted"]
    );
    // Another recording of the same call takes its place.
    studio.announce(&studio.url("RE2")).await;
    assert_eq!((studio.work().await, studio.tries()), (1, 2));
}

#[tokio::test]
async fn a_recording_may_be_announced_before_its_call() {
    let studio = Studio::open(&[]).await;
    studio.announce(&studio.url("RE1")).await;
    assert_eq!(studio.work().await, 1);
    studio.end().await;
    assert_eq!(studio.shown().await["status"], "available");
}

#[tokio::test]
async fn what_fails_is_tried_again_after_pauses_that_grow() {
    let studio = Studio::open(&[503, 404]).await;
    studio.end().await;
    studio.announce(&studio.url("RE1")).await;
    assert_eq!(studio.work().await, 1);
    assert_eq!(studio.shown().await["status"], "processing");
    studio.house.server.clock.advance(TimeDelta::seconds(9));
    assert_eq!(studio.work().await, 0, "too early");
    studio.house.server.clock.advance(TimeDelta::seconds(3));
    assert_eq!(studio.work().await, 1);
    studio.house.server.clock.advance(TimeDelta::seconds(59));
    assert_eq!(studio.work().await, 0, "too early");
    studio.house.server.clock.advance(TimeDelta::seconds(13));
    assert_eq!(studio.work().await, 1);
    assert_eq!(
        (studio.shown().await["status"].clone(), studio.tries()),
        (json!("available"), 3)
    );
}

#[tokio::test]
async fn what_goes_on_failing_is_given_up_with_a_reason() {
    let studio = Studio::open(&[500; 9]).await;
    studio.end().await;
    studio.announce(&studio.url("RE1")).await;
    for _ in 0..9 {
        studio.work().await;
        studio.house.server.clock.advance(TimeDelta::hours(3));
    }
    assert_eq!(studio.tries(), 6);
    let failed = studio.shown().await;
    assert_eq!(failed["status"], "failed");
    assert_eq!(
        failed["failureReason"],
        "the recording must lead to audio: the source answers with status 500"
    );
    let audio_path = format!("/v1/recordings/{SID}/audio");
    studio
        .manager
        .get(&audio_path)
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn what_cannot_succeed_is_tried_once() {
    for (failures, url, why) in [
        (&[403][..], None, "status 403"),
        (
            &[],
            Some("http://10.0.0.1/RE1"),
            "host that this server may fetch from",
        ),
        (&[], Some("file:///etc/passwd"), "must begin with"),
        (&[], Some("nowhere"), "must be a URL"),
        (
            &[],
            Some("https://u:p@api.twilio.com/x"),
            "user or a password",
        ),
    ] {
        let studio = Studio::open(failures).await;
        studio.end().await;
        let own = studio.url("RE1");
        studio.announce(url.unwrap_or(&own)).await;
        assert_eq!(studio.work().await, 1, "{why}");
        studio.house.server.clock.advance(TimeDelta::hours(3));
        assert_eq!(studio.work().await, 0, "{why}");
        let failed = studio.shown().await;
        let told = failed["failureReason"].as_str().unwrap_or_default();
        assert!(
            failed["status"] == "failed" && told.contains(why),
            "{failed}"
        );
    }
}

/// As whoever has put the credentials right, and has the vendor send its report once more.
#[tokio::test]
async fn what_was_given_up_is_tried_anew_when_it_is_announced_again() {
    let studio = Studio::open(&[401]).await;
    studio.end().await;
    studio.announce(&studio.url("RE1")).await;
    assert_eq!(studio.work().await, 1);
    assert_eq!(studio.shown().await["status"], "failed");
    studio
        .tell(&[("RecordingSid", "RE1"), ("RecordingStatus", "absent")])
        .await;
    assert_eq!(studio.work().await, 0, "that there is none is no reason");
    studio.announce(&studio.url("RE1")).await;
    assert_eq!(studio.shown().await["status"], "processing");
    assert_eq!((studio.work().await, studio.tries()), (1, 2));
    assert_eq!(studio.shown().await["status"], "available");
}

#[tokio::test]
async fn what_a_tenant_allows_does_not_open_the_private_network() {
    let (source, host) = Source::open(&[]).await;
    let house = House::with(|settings| settings.recordings_rules.allow_private = true).await;
    let manager = house.manager().await;
    let settings = json!({ "public_url": BASE, "allowed_hosts": [host] });
    let path = endpoint(&manager, "twilio", settings).await;
    let url = format!("http://{host}/audio");
    let params = [
        ("CallSid", SID),
        ("RecordingSid", "RE1"),
        ("RecordingStatus", "completed"),
        ("RecordingUrl", &url),
    ];
    callback(&house.vendor(), &path, &format!("{BASE}{path}"), &params)
        .await
        .status(204);
    let app = &house.server.app;
    assert!(
        fetches::next(&app.fetch_kit(), app.clock.now())
            .await
            .expect("a store")
    );
    let failed = manager
        .get(&format!("/v1/recordings/{SID}"))
        .await
        .status(200)
        .json();
    assert!(
        failed["failureReason"]
            .as_str()
            .is_some_and(|why| why.contains("public address")),
        "{failed}"
    );
    assert!(source.asked.lock().expect("a lock").is_empty());
}

#[tokio::test]
async fn credentials_stay_with_the_host_they_are_for() {
    let (other, other_host) = Source::open(&[]).await;
    let studio = Studio::open(&[]).await;
    // Another port is another origin, though the host is the same.
    let moved = format!("http://{other_host}/audio");
    #[expect(clippy::disallowed_methods, reason = "routes of the tests' own")]
    let router = axum::Router::new().route(
        "/Accounts/{account}/RE1",
        axum::routing::get(async move || axum::response::Redirect::temporary(&moved)),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let first = listener.local_addr().expect("an address").to_string();
    tokio::spawn(axum::serve(listener, router).into_future());
    let house = House::with(|settings| {
        settings.recordings_rules.allowed_hosts = vec![first.clone(), other_host.clone()];
        settings.recordings_rules.allow_private = true;
    })
    .await;
    let studio = Studio {
        manager: house.manager().await,
        house,
        ..studio
    };
    let path = endpoint(&studio.manager, "twilio", json!({ "public_url": BASE })).await;
    let studio = Studio { path, ..studio };
    studio.end().await;
    studio
        .announce(&format!("http://{first}/Accounts/{ACCOUNT}/RE1"))
        .await;
    assert_eq!(studio.work().await, 1);
    assert_eq!(studio.shown().await["status"], "available");
    assert_eq!(*other.asked.lock().expect("a lock"), [""]);
}

#[tokio::test]
async fn that_there_is_none_is_told() {
    let studio = Studio::open(&[]).await;
    studio.end().await;
    studio
        .tell(&[("RecordingSid", "RE1"), ("RecordingStatus", "in-progress")])
        .await;
    studio
        .manager
        .get(&format!("/v1/recordings/{SID}"))
        .await
        .problem(404, "not-found");
    studio
        .tell(&[
            ("RecordingSid", "RE1"),
            ("RecordingStatus", "absent"),
            ("ErrorCode", "16101"),
        ])
        .await;
    let none = studio.shown().await;
    assert_eq!(
        (&none["status"], &none["failureReason"]),
        (
            &json!("failed"),
            &json!("Twilio has no recording: it was too short")
        )
    );
    assert_eq!(studio.work().await, 0);
}

#[tokio::test]
async fn that_there_is_no_second_one_takes_nothing_away() {
    for is_first in [true, false] {
        let studio = Studio::open(&[]).await;
        let none = [("RecordingSid", "RE2"), ("RecordingStatus", "absent")];
        if is_first {
            studio.tell(&none).await;
        }
        studio.announce(&studio.url("RE1")).await;
        if !is_first {
            studio.tell(&none).await;
        }
        studio.end().await;
        assert_eq!(studio.shown().await["status"], "processing", "{is_first}");
        assert_eq!(studio.work().await, 1);
        assert_eq!(studio.shown().await["status"], "available", "{is_first}");
    }
}

/// Which recordings were asked for, of a call whose two recordings are announced in this order, and whose doors learn in
/// the end that they tell of one call.
async fn asked_for(order: &[&str], is_fetched_between: bool) -> Vec<String> {
    let studio = Studio::open(&[]).await;
    let vapi = endpoint(&studio.manager, "vapi", json!({})).await;
    let call = |more: Value| {
        let mut message = json!({"type": "end-of-call-report", "timestamp": 1_749_636_070_000_i64,
            "endedReason": "customer-ended-call", "call": {"id": "v1"}});
        for (name, value) in more.as_object().expect("an object") {
            message[name] = value.clone();
        }
        json!({ "message": message })
    };
    for told in order {
        match *told {
            "vapi" => {
                // A minute before the carrier's.
                let report = call(
                    json!({"startedAt": "2025-06-11T09:59:09Z", "endedAt": "2025-06-11T10:00:50Z",
                    "call": {"id": "v1", "createdAt": "2025-06-11T09:59:05Z"},
                    "artifact": {"recordingUrl": studio.url("vapi")}}),
                );
                from_vapi(&studio.house.vendor(), &vapi, &report)
                    .await
                    .status(200);
            }
            sid => studio.announce(&studio.url(sid)).await,
        }
        if is_fetched_between {
            studio.work().await;
        }
    }
    studio.end().await;
    let joined = call(json!({"type": "status-update", "status": "in-progress",
        "timestamp": 1_749_636_010_000_i64, "call": {"id": "v1", "phoneCallProviderId": SID}}));
    from_vapi(&studio.house.vendor(), &vapi, &joined)
        .await
        .status(200);
    studio.work().await;
    let shown = studio.shown().await;
    assert_eq!(shown["status"], "available", "{order:?} {shown}");
    assert_eq!(
        shown["startedAt"], "2025-06-11T10:00:09Z",
        "{order:?} {shown}"
    );
    studio.source.paths.lock().expect("a lock").clone()
}

#[tokio::test]
async fn of_two_recordings_of_a_call_the_later_counts_whichever_was_announced_first() {
    for is_fetched_between in [true, false] {
        for order in [["vapi", "RE1"], ["RE1", "vapi"]] {
            let asked = asked_for(&order, is_fetched_between).await;
            let last = asked.iter().filter(|path| path.ends_with("RE1")).count();
            assert_eq!(last, 1, "{order:?} {asked:?}");
        }
    }
}

#[tokio::test]
async fn what_a_native_call_names_is_fetched_from_a_host_of_the_settings() {
    let studio = Studio::open(&[]).await;
    let acme = studio.house.server.tenant("other").await;
    let client = acme
        .client("ingest:write,sessions:read,transcripts:read")
        .await;
    let call = |id: &str, url: String| {
        json!({ "session": { "sessionId": id, "startedAt": "2025-06-11T10:00:00Z",
            "endedAt": "2025-06-11T10:01:00Z", "recording": { "url": url, "startOffsetMs": 1200 } } })
    };
    let here = call("here", format!("http://{}/audio", studio.host));
    let elsewhere = call("elsewhere", "https://elsewhere.example/a.wav".to_owned());
    for sent in [&here, &elsewhere, &here] {
        client.post("/v1/ingest/calls", sent).await.status(200);
    }
    assert_eq!(studio.work().await, 1);
    let shown = client.get("/v1/recordings/here").await.status(200).json();
    assert_eq!(
        (&shown["status"], &shown["startOffsetMs"]),
        (&json!("available"), &json!(1200))
    );
    let other = client.get("/v1/recordings/elsewhere").await;
    other.problem(404, "not-found");
}

#[tokio::test]
async fn an_address_that_is_signed_anew_is_no_other_recording() {
    let studio = Studio::open(&[403]).await;
    let path = endpoint(&studio.manager, "vapi", json!({})).await;
    let vendor = studio.house.vendor();
    let tell = async |signature: &str| {
        let message = json!({ "message": { "type": "end-of-call-report", "timestamp": 1_749_636_058_000_i64,
            "endedReason": "customer-ended-call", "call": { "id": "c", "phoneCallProviderId": SID },
            "artifact": { "stereoRecordingUrl": format!("http://{}/audio", studio.host),
                "presignedStereoUrl": format!("http://{}/audio?X-Amz-Signature={signature}", studio.host) } } });
        let answer = from_vapi(&vendor, &path, &message).await;
        answer.status(200).json()["result"].clone()
    };
    assert_eq!(tell("1").await, "accepted");
    assert_eq!(studio.work().await, 1);
    assert_eq!(studio.shown().await["status"], "failed");
    // Its time was over: with a new one it may be had.
    assert_eq!(tell("2").await, "accepted");
    assert_eq!(studio.work().await, 1);
    assert_eq!(studio.shown().await["status"], "available");
    assert_eq!(tell("3").await, "duplicate");
    assert_eq!((studio.work().await, studio.tries()), (0, 2));
}
