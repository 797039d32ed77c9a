//! Recordings: real audio in, out whole and in part, and gone; before, during and after its call.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use voxray::config::Settings;
use voxray::domain::ids::SessionId;
use voxray::services::recordings;
use voxray::services::retention;
use voxray::store::Scope;

use super::support::{Answer, Client, TestServer};

const WAV: &str = "auto-repairs-40-first10s.wav";
const MULAW: &str = "auto0-mono-first15s-mulaw.wav";
const SID: &str = "CA0123456789abcdef0123456789abcdef";
const ALL: &str = "sessions:read,transcripts:read,ingest:write,admin";

/// A server whose recordings lie in a folder that goes with the test.
pub struct Studio {
    pub server: TestServer,
    folder: TempDir,
}

impl Studio {
    async fn open() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = TestServer::with(|settings| {
            settings.data_dir = folder.path().to_owned();
            change(settings);
        });
        Self {
            server: server.await,
            folder,
        }
    }

    /// Somebody of a new tenant who may do everything.
    async fn anybody(&self) -> Client {
        self.server.tenant("acme").await.client(ALL).await
    }

    /// Files in object storage.
    fn objects(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().join("recordings")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.display().to_string());
                }
            }
        }
        found
    }
}

fn file(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/recordings");
    std::fs::read(format!("{folder}/{name}")).expect("a fixture")
}

async fn put(client: &Client, call: &str, body: impl Into<reqwest::Body>) -> Answer {
    let body = body.into();
    let path = format!("/v1/recordings/{call}");
    client
        .send(Method::PUT, &path, |request| request.body(body))
        .await
}

async fn delete(client: &Client, call: &str) -> Answer {
    let path = format!("/v1/recordings/{call}");
    client.send(Method::DELETE, &path, |request| request).await
}

/// A call with this id, SID and status.
async fn call(client: &Client, id: &str, sid: Option<&str>, status: &str) {
    let session = json!({
        "sessionId": id, "callSid": sid, "status": status, "startedAt": "2025-06-11T11:59:00Z",
        "endedAt": if status == "completed" { json!("2025-06-11T11:59:30Z") } else { Value::Null },
    });
    let answer = client
        .post("/v1/ingest/calls", &json!({ "session": session }))
        .await;
    assert_eq!(answer.status(200).json()["accepted"], 1);
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[tokio::test]
async fn every_kind_of_audio_is_measured() {
    let studio = Studio::open().await;
    let acme = studio.anybody().await;
    // As the makers of the files measured them, with other programs.
    for (name, format, duration_ms, slack_ms, channels, rate) in [
        (WAV, "wav", 10_000, 0, 2, 8000),
        (MULAW, "wav", 15_000, 0, 1, 8000),
        ("auto-repairs-49-first20s.flac", "flac", 20_000, 0, 2, 8000),
        (
            "synth-hvb-010d38f5ada54e0d.mp3",
            "mp3",
            35_431,
            300,
            2,
            8000,
        ),
    ] {
        call(&acme, name, None, "completed").await;
        let bytes = file(name);
        let kept = put(&acme, name, bytes.clone()).await.status(200).json();
        let known = acme
            .get(&format!("/v1/recordings/{name}"))
            .await
            .status(200)
            .json();
        for (field, value) in kept.as_object().expect("an object") {
            assert_eq!(known[field], *value, "{name} {field}");
        }
        assert_eq!(known["format"], format, "{name}");
        let measured_ms = known["durationMs"].as_i64().expect("a duration");
        assert!(
            (measured_ms - duration_ms).abs() <= slack_ms,
            "{name}: {measured_ms}"
        );
        assert_eq!(known["channels"], channels, "{name}");
        assert_eq!(known["sampleRateHz"], rate, "{name}");
        assert_eq!(known["sizeBytes"], bytes.len(), "{name}");
        assert_eq!(known["sha256"], sha256(&bytes), "{name}");
        assert_eq!(known["createdAt"], "2025-06-11T12:00:00Z");
        let waveform = known["waveform"].as_array().expect("a waveform");
        assert_eq!(waveform.len(), channels, "{name}");
        for peaks in waveform {
            assert_eq!(peaks.as_array().map(Vec::len), Some(400), "{name}");
        }
    }
}

/// The loudest moments were found by a few lines of Python over the same samples.
#[tokio::test]
async fn the_waveform_is_loud_where_the_audio_is() {
    let studio = Studio::open().await;
    let acme = studio.anybody().await;
    put(&acme, SID, file(WAV)).await.status(200);
    let known = acme.get(&format!("/v1/recordings/{SID}")).await.json();
    for (channel, at, peak, silent) in [(0, 131, 0.85, 190_i64), (1, 282, 0.75, 298)] {
        let peaks: Vec<f64> =
            serde_json::from_value(known["waveform"][channel].clone()).expect("peaks");
        let loudest = peaks.iter().copied().fold(0.0, f64::max);
        assert_eq!(loudest, peak);
        let index = peaks
            .iter()
            .position(|one| *one == loudest)
            .expect("a peak");
        assert!(index.abs_diff(at) <= 1, "{index}");
        // Below 0.02, which two decimals blur.
        let quiet = peaks.iter().filter(|one| **one < 0.02).count();
        assert!((quiet as i64 - silent).abs() <= 20, "{quiet}");
        assert_eq!(peaks[0], 0.0);
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_has_a_length_and_no_waveform() {
    let studio = Studio::open().await;
    let acme = studio.anybody().await;
    put(&acme, SID, file("silence-2s.opus")).await.status(200);
    let known = acme
        .get(&format!("/v1/recordings/{SID}"))
        .await
        .status(200)
        .json();
    assert_eq!(known["format"], "ogg");
    assert_eq!(known["durationMs"], 2000);
    assert_eq!(known["channels"], 1);
    assert_eq!(known["waveform"], Value::Null);
}

#[tokio::test]
async fn audio_is_served_whole_and_in_part() {
    let studio = Studio::open().await;
    let acme = studio.anybody().await;
    call(&acme, "c", Some(SID), "completed").await;
    let bytes = file(WAV);
    put(&acme, "c", bytes.clone()).await.status(200);
    let known = acme.get("/v1/recordings/c").await.status(200);
    assert!(known.header("vary").starts_with("Accept, "));
    let path = known.json()["audioUrl"]
        .as_str()
        .expect("a path")
        .to_owned();

    let whole = acme.get(&path).await.status(200);
    assert!(whole.body == bytes);
    let etag = format!("\"{}\"", sha256(&bytes));
    for (name, value) in [
        ("etag", etag.as_str()),
        ("accept-ranges", "bytes"),
        ("content-type", "audio/wav"),
        ("content-length", "320044"),
    ] {
        assert_eq!(whole.header(name), value);
    }
    assert!(
        whole
            .header("content-disposition")
            .starts_with("inline; filename=\"sess_")
    );

    let size = bytes.len();
    for (range, from, to) in [
        ("bytes=0-99", 0, 100),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=320000-", 320_000, size),
        ("bytes=-44", size - 44, size),
        ("bytes=320000-9999999", 320_000, size),
    ] {
        let part = acme.header("range", range).get(&path).await.status(206);
        assert!(part.body == bytes[from..to], "{range}");
        let place = format!("bytes {from}-{}/{size}", to - 1);
        assert_eq!(part.header("content-range"), place, "{range}");
        assert_eq!(
            part.header("content-length"),
            (to - from).to_string(),
            "{range}"
        );
        assert_eq!(part.header("etag"), etag, "{range}");
    }
    for range in ["bytes=320044-", "bytes=-0"] {
        let none = acme.header("range", range).get(&path).await;
        let none = none.problem(416, "range-not-satisfiable");
        assert_eq!(none.header("content-range"), "bytes */320044", "{range}");
    }
    for range in ["bytes=0-1,5-6", "lines=0-1", "bytes=9-2"] {
        let whole = acme.header("range", range).get(&path).await.status(200);
        assert_eq!(whole.body.len(), size, "{range}");
    }
}

#[tokio::test]
async fn what_is_known_already_is_not_sent_again() {
    let studio = Studio::open().await;
    let acme = studio.anybody().await;
    let bytes = file(MULAW);
    put(&acme, SID, bytes.clone()).await.status(200);
    let path = format!("/v1/recordings/{SID}/audio");
    let etag = format!("\"{}\"", sha256(&bytes));
    for tags in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
        let known = acme
            .header("if-none-match", &tags)
            .get(&path)
            .await
            .status(304);
        assert!(known.body.is_empty());
        assert_eq!(known.header("etag"), etag);
    }
    acme.header("if-none-match", "\"other\"")
        .get(&path)
        .await
        .status(200);
    let part = acme.header("range", "bytes=0-9");
    part.header("if-range", &etag).get(&path).await.status(206);
    for other in [
        "\"other\"",
        "Wed, 11 Jun 2025 12:00:00 GMT",
        &format!("W/{etag}"),
    ] {
        let whole = part.header("if-range", other).get(&path).await.status(200);
        assert_eq!(whole.body.len(), bytes.len(), "{other}");
    }
}

#[tokio::test]
async fn audio_is_asked_for_in_three_ways() {
    let studio = Studio::open().await;
    let acme = studio.anybody().await;
    let bytes = file(MULAW);
    put(&acme, SID, bytes.clone()).await.status(200);
    let path = format!("/v1/recordings/{SID}");
    let audio = acme
        .header("accept", "audio/*")
        .get(&path)
        .await
        .status(200);
    assert!(audio.body == bytes);
    assert!(audio.header("vary").starts_with("Accept, "));
    let part = acme
        .header("accept", "audio/wav")
        .header("range", "bytes=-4");
    assert!(part.get(&path).await.status(206).body == bytes[bytes.len() - 4..]);
    let saved = acme
        .get(&format!("{path}/audio?download=1"))
        .await
        .status(200);
    let expected = format!("attachment; filename=\"{SID}.wav\"");
    assert_eq!(saved.header("content-disposition"), expected);

    let head = acme.head(&format!("{path}/audio")).await.status(200);
    assert_eq!(head.header("content-length"), bytes.len().to_string());
    assert!(head.body.is_empty());
    let head = acme
        .header("range", "bytes=0-9")
        .head(&format!("{path}/audio"))
        .await
        .status(200);
    assert_eq!(head.header("content-length"), bytes.len().to_string());
    let head = acme.head(&path).await.status(200);
    assert_eq!(head.header("content-type"), "application/json");
}

#[tokio::test]
async fn the_same_bytes_change_nothing_and_others_replace() {
    let studio = Studio::open().await;
    let acme = studio.anybody().await;
    let path = format!("/v1/recordings/{SID}");
    let first = put(&acme, SID, file(MULAW)).await.status(200).json();
    let before = studio.objects();
    assert_eq!(before.len(), 1);
    studio.server.clock.advance(TimeDelta::minutes(1));
    assert_eq!(put(&acme, SID, file(MULAW)).await.status(200).json(), first);
    assert_eq!(studio.objects(), before);
    assert_eq!(
        acme.get(&path).await.json()["createdAt"],
        "2025-06-11T12:00:00Z"
    );

    let placed = format!("{SID}?startedAt=2025-06-11T11:58:00Z&startOffsetMs=2400");
    put(&acme, &placed, file(MULAW)).await.status(200);
    let known = acme.get(&path).await.json();
    assert_eq!(known["startedAt"], "2025-06-11T11:58:00Z");
    assert_eq!(known["startOffsetMs"], 2400);

    let other = put(&acme, SID, file(WAV)).await.status(200).json();
    assert_eq!(other["durationMs"], 10_000);
    assert_eq!(studio.objects().len(), 1);
    assert!(acme.get(&format!("{path}/audio")).await.status(200).body == file(WAV));
}

#[tokio::test]
async fn what_is_no_audio_or_too_much_is_refused_and_not_kept() {
    let studio = Studio::with(|settings| {
        settings.recordings_limit_bytes = 200_000;
        settings.body_limit_bytes = 10_000;
    })
    .await;
    let acme = studio.anybody().await;
    for bytes in [
        b"".as_slice(),
        b"%PDF-1.7 is no audio",
        b"<html><audio></audio></html>",
    ] {
        put(&acme, SID, bytes)
            .await
            .problem(415, "unsupported-media-type");
    }
    let typed = acme.header("content-type", "audio/wav");
    put(&typed, SID, "no audio, whatever the header says")
        .await
        .problem(415, "unsupported-media-type");
    for broken in [
        &file(WAV)[..40],
        b"fLaC and then nothing of the kind",
        &[0xff, 0xfb, 0x90, 0x64, 0, 0, 0, 0],
    ] {
        put(&acme, SID, broken.to_vec())
            .await
            .problem(422, "invalid-content");
    }
    // Larger than other bodies may be, and not larger than a recording may be.
    put(&acme, SID, file(MULAW)).await.status(200);
    let large = file(WAV);
    put(&acme, SID, large.clone())
        .await
        .problem(413, "too-large");
    // Its length is not said before, or is that of what it unpacks to.
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        large.chunks(9000).map(|c| Ok(c.to_vec())).collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    put(&acme, SID, stream).await.problem(413, "too-large");
    let packed = zstd::encode_all(vec![0; 300_000].as_slice(), 0).expect("packed");
    put(&acme.header("content-encoding", "zstd"), SID, packed)
        .await
        .problem(413, "too-large");
    let packed = zstd::encode_all(file(MULAW).as_slice(), 0).expect("packed");
    put(&acme.header("content-encoding", "zstd"), SID, packed)
        .await
        .status(200);

    let wrong = format!("{SID}?startOffsetMs=1.5&startedAt=then&started=1");
    let faults = put(&acme, &wrong, file(MULAW))
        .await
        .problem(400, "invalid-request")
        .faults();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert_eq!(studio.objects().len(), 1);
    let spool = std::fs::read_dir(studio.folder.path().join("spool")).expect("a spool");
    assert_eq!(spool.count(), 0);
}

#[tokio::test]
async fn a_recording_can_be_had_once_its_call_is_over() {
    let studio = Studio::open().await;
    let acme = studio.anybody().await;
    for status in ["queued", "ringing", "active"] {
        call(&acme, status, None, status).await;
        put(&acme, status, file(MULAW)).await.status(200);
        for path in ["", "/audio"] {
            let path = format!("/v1/recordings/{status}{path}");
            acme.get(&path).await.problem(409, "call_in_progress");
        }
    }
    call(&acme, "active", None, "completed").await;
    acme.get("/v1/recordings/active").await.status(200);

    call(&acme, "silent", None, "completed").await;
    for unknown in ["silent", "nobody", SID] {
        for path in ["", "/audio"] {
            let path = format!("/v1/recordings/{unknown}{path}");
            acme.get(&path).await.problem(404, "not-found");
        }
        delete(&acme, unknown).await.problem(404, "not-found");
    }
    put(&acme, "nobody", file(MULAW))
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn of_several_legs_of_a_call_the_recorded_one_is_heard() {
    let studio = Studio::open().await;
    let acme = studio.anybody().await;
    call(&acme, "first-leg", Some(SID), "completed").await;
    put(&acme, SID, file(MULAW)).await.status(200);
    let later = json!({"session": {"sessionId": "second-leg", "callSid": SID, "status": "completed",
        "startedAt": "2025-06-11T11:59:10Z", "endedAt": "2025-06-11T11:59:40Z"}});
    acme.post("/v1/ingest/calls", &later).await.status(200);
    for path in [
        format!("/v1/recordings/{SID}"),
        "/v1/recordings/first-leg".to_owned(),
    ] {
        assert_eq!(acme.get(&path).await.status(200).json()["callId"], SID);
        acme.get(&format!("{path}/audio")).await.status(200);
    }
    acme.get("/v1/recordings/second-leg")
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn what_is_deleted_is_gone_for_good() {
    let studio = Studio::open().await;
    let acme = studio.anybody().await;
    call(&acme, "c", Some(SID), "completed").await;
    put(&acme, "c", file(MULAW)).await.status(200);
    assert!(delete(&acme, SID).await.status(204).body.is_empty());
    assert_eq!(studio.objects(), Vec::<String>::new());
    for path in ["c", "c/audio", SID] {
        acme.get(&format!("/v1/recordings/{path}"))
            .await
            .problem(410, "gone");
    }
    delete(&acme, "c").await.problem(410, "gone");
    put(&acme, "c", file(MULAW)).await.problem(410, "gone");
}

#[tokio::test]
async fn conversations_say_what_can_be_listened_to_and_the_log_who_deleted_it() {
    let studio = Studio::open().await;
    let client = studio.anybody().await;
    call(&client, "heard", Some(SID), "completed").await;
    call(&client, "unheard", None, "completed").await;
    put(&client, SID, file(WAV)).await.status(200);
    let list = client.get("/api/v1/conversations").await.status(200).json();
    let recorded: Vec<&Value> = list["data"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|item| item["has_recording"] == true)
        .collect();
    assert_eq!(recorded.len(), 1, "{list}");
    let path = "/api/v1/conversations/heard";
    let heard = client.get(path).await.status(200).json();
    assert_eq!(heard["id"], recorded[0]["id"]);
    let audio = heard["recording"]["audio_url"].as_str().expect("a path");
    assert_eq!(client.get(audio).await.status(200).body, file(WAV));
    let unheard = client.get("/api/v1/conversations/unheard").await;
    assert_eq!(unheard.status(200).json()["recording"], Value::Null);

    delete(&client, SID).await.status(204);
    let heard = client.get(path).await.status(200).json();
    assert_eq!(heard["has_recording"], false);
    let log = client.get("/api/v1/audit-log?action=recording.delete");
    let log = log.await.status(200).json();
    assert_eq!(log["data"].as_array().map(Vec::len), Some(1), "{log}");
    assert_eq!(log["data"][0]["object_type"], "recording");
}

#[tokio::test]
async fn audio_goes_with_what_was_said() {
    let studio = Studio::open().await;
    let client = studio.anybody().await;
    call(&client, "closed", Some(SID), "completed").await;
    put(&client, SID, file(WAV)).await.status(200);
    call(&client, "gone", None, "completed").await;
    put(&client, "gone", file(MULAW)).await.status(200);
    assert_eq!(studio.objects().len(), 2);
    client.delete("/api/v1/sessions/gone").await.status(204);
    assert_eq!(studio.objects().len(), 1);
    client
        .get("/v1/recordings/gone")
        .await
        .problem(404, "not-found");
    put(&client, "gone", file(MULAW)).await.problem(410, "gone");

    let (store, clock) = (&studio.server.app.store, &studio.server.clock);
    clock.advance(TimeDelta::days(91));
    let gone = retention::round(store, clock.now()).await.expect("a store");
    assert_eq!(gone.closed, 1);
    let objects = &studio.server.app.objects;
    let removed = recordings::remove_leftovers(store, objects, clock.now()).await;
    removed.expect("removed");
    assert_eq!(studio.objects(), [""; 0]);
    client
        .get(&format!("/v1/recordings/{SID}"))
        .await
        .problem(410, "gone");
    put(&client, SID, file(WAV)).await.problem(410, "gone");
}

#[tokio::test]
async fn a_tenant_has_as_much_audio_as_it_may() {
    let (wav, mulaw) = (file(WAV), file(MULAW));
    let quota = wav.len() + mulaw.len() - 1;
    let studio =
        Studio::with(|settings| settings.recordings_quota_bytes = Some(quota as u64)).await;
    let client = studio.anybody().await;
    let used = async |recordings: i64, bytes: usize| {
        let usage = client.get("/api/v1/usage/recordings").await.status(200);
        let told = json!({"recordings": recordings, "size_bytes": bytes, "quota_bytes": quota});
        assert_eq!(usage.json(), told);
    };
    for id in ["one", "two"] {
        call(&client, id, None, "completed").await;
    }
    used(0, 0).await;
    put(&client, "one", wav.clone()).await.status(200);
    put(&client, "one", wav.clone()).await.status(200);
    used(1, wav.len()).await;
    put(&client, "two", mulaw.clone())
        .await
        .problem(507, "storage-full");
    // Where nobody says how much will come, it is refused all the same.
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(mulaw.clone())]);
    put(&client, "two", reqwest::Body::wrap_stream(chunks))
        .await
        .problem(507, "storage-full");
    used(1, wav.len()).await;
    assert_eq!(studio.objects().len(), 1);
    // In its place there is room, and for what comes after it has gone.
    put(&client, "one", mulaw.clone()).await.status(200);
    used(1, mulaw.len()).await;
    client.delete("/api/v1/sessions/one").await.status(204);
    used(0, 0).await;
    put(&client, "two", wav.clone()).await.status(200);
    delete(&client, "two").await.status(204);
    used(0, 0).await;
    // A neighbour has a quota of its own.
    let other = studio.server.tenant("other").await.client(ALL).await;
    call(&other, "one", None, "completed").await;
    put(&other, "one", wav).await.status(200);
    used(0, 0).await;
}

#[tokio::test]
async fn nobody_hears_a_neighbours_call() {
    let studio = Studio::open().await;
    let (one, other) = (
        studio.server.tenant("acme").await,
        studio.server.tenant("neighbour").await,
    );
    let (acme, neighbour) = (one.client(ALL).await, other.client(ALL).await);
    call(&acme, "c", Some(SID), "completed").await;
    let kept = put(&acme, "c", file(MULAW)).await.status(200).json();
    let id = kept["sessionId"].as_str().expect("an id").to_owned();
    let without_id = |answer: Answer| {
        let mut problem = answer.problem(404, "not-found").json();
        problem["requestId"] = Value::Null;
        problem
    };
    for known in ["c", SID, id.as_str()] {
        for path in ["", "/audio"] {
            let theirs = neighbour
                .get(&format!("/v1/recordings/{known}{path}"))
                .await;
            let nobodys = neighbour
                .get(&format!("/v1/recordings/sess_{}{path}", "7".repeat(32)))
                .await;
            assert_eq!(without_id(theirs), without_id(nobodys));
        }
        without_id(delete(&neighbour, known).await);
    }
    // Under an id that is the neighbour's too, each has their own.
    put(&neighbour, SID, file(WAV)).await.status(200);
    assert_eq!(
        acme.get(&format!("/v1/recordings/{SID}")).await.json()["sizeBytes"],
        file(MULAW).len()
    );
    for tenant in [one.id, other.id] {
        let folder = format!("/recordings/{tenant}/");
        let theirs = studio
            .objects()
            .into_iter()
            .filter(|object| object.contains(&folder));
        assert_eq!(theirs.count(), 1);
    }
}

#[tokio::test]
async fn audio_may_come_before_its_call_and_waits_a_day() {
    let studio = Studio::open().await;
    let server = &studio.server;
    let tenant = server.tenant("acme").await;
    let acme = tenant.client(ALL).await;
    let scope = Scope::for_worker(&server.app.store, tenant.id);
    let uuid = "01890a5d-7c3e-7b9a-8c1d-2e3f40516273";
    for early in [SID, uuid] {
        let kept = put(&acme, early, file(MULAW)).await.status(200).json();
        assert_eq!(kept["callId"], early);
        assert_eq!(kept["sessionId"], Value::Null);
        acme.get(&format!("/v1/recordings/{early}/audio"))
            .await
            .status(200);
    }
    put(&acme, "call-42", file(MULAW))
        .await
        .problem(404, "not-found");

    call(&acme, "call-42", Some(SID), "completed").await;
    let by_id = acme.get("/v1/recordings/call-42").await.status(200).json();
    let by_sid = acme
        .get(&format!("/v1/recordings/{SID}"))
        .await
        .status(200)
        .json();
    assert_eq!(by_id, by_sid);
    assert_eq!(by_id["callId"], SID);
    let id = SessionId::from_reference(tenant.id, "call-42");
    assert_eq!(by_id["sessionId"], id.prefixed());
    let nobody = SessionId::from_reference(tenant.id, "nobody");
    let recorded = recordings::has_recordings(&scope, &[nobody, id])
        .await
        .expect("an answer");
    assert_eq!(recorded.into_iter().collect::<Vec<_>>(), [id]);
    // What comes under another of the call's ids takes its place.
    put(&acme, "call-42", file(WAV)).await.status(200);
    assert_eq!(studio.objects().len(), 2);

    let drop_early =
        || recordings::drop_early(&server.app.store, &server.app.objects, server.clock.now());
    server.clock.advance(TimeDelta::hours(23));
    assert_eq!(drop_early().await.expect("an answer"), 0);
    server.clock.advance(TimeDelta::hours(2));
    assert_eq!(drop_early().await.expect("an answer"), 1);
    acme.get(&format!("/v1/recordings/{uuid}"))
        .await
        .problem(404, "not-found");
    assert_eq!(studio.objects().len(), 1);
    server.clock.advance(TimeDelta::hours(48));
    assert_eq!(drop_early().await.expect("an answer"), 0);
    acme.get("/v1/recordings/call-42/audio").await.status(200);
    // The call that came under a UUID would be another one now.
    put(&acme, uuid, file(MULAW)).await.status(200);
}

/// Somebody else's server: audio, redirects, and what is no use.
async fn source() -> String {
    use axum::http::StatusCode;
    use axum::response::Redirect;
    use axum::routing::get;
    let to = |place: &'static str| get(async move || Redirect::temporary(place));
    #[expect(clippy::disallowed_methods, reason = "routes of the tests' own")]
    let router = axum::Router::new()
        .route("/audio", get(async || file(MULAW)))
        .route("/large", get(async || vec![0; 200_000]))
        .route("/text", get(async || "no audio"))
        .route("/missing", get(async || StatusCode::NOT_FOUND))
        .route("/moved", to("/moved/again"))
        .route("/moved/again", to("audio"))
        .route("/moved/audio", get(async || file(MULAW)))
        .route("/round", to("/round"))
        .route("/inside", to("http://10.0.0.1/audio"))
        .route("/metadata", to("http://169.254.169.254/latest/meta-data"))
        .route("/file", to("file:///etc/passwd"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(axum::serve(listener, router).into_future());
    address.to_string()
}

async fn fetch(client: &Client, url: &str) -> Answer {
    let body = json!({ "url": url, "startOffsetMs": 1200 });
    let path = format!("/v1/recordings/{SID}");
    client
        .send(Method::PUT, &path, |request| request.json(&body))
        .await
}

#[tokio::test]
async fn audio_is_fetched_from_an_allowed_host_only() {
    let source = source().await;
    let allowed = source.clone();
    let studio = Studio::with(|settings| {
        settings.recordings_limit_bytes = 150_000;
        settings.recordings_rules.allowed_hosts = vec![allowed];
        settings.recordings_rules.allow_private = true;
    })
    .await;
    let acme = studio.anybody().await;
    for (path, why) in [
        ("missing", "status 404"),
        ("round", "more than 5 times"),
        (
            "inside",
            "`10.0.0.1` is not in VOXRAY_RECORDINGS_ALLOWED_HOSTS",
        ),
        (
            "metadata",
            "`169.254.169.254` is not in VOXRAY_RECORDINGS_ALLOWED_HOSTS",
        ),
        ("file", "must begin with `https://`"),
    ] {
        let answer = fetch(&acme, &format!("http://{source}/{path}")).await;
        let faults = answer.problem(422, "invalid-content").faults();
        assert!(
            faults[0].starts_with("url ") && faults[0].contains(why),
            "{path}: {faults:?}"
        );
    }
    fetch(&acme, &format!("http://{source}/large"))
        .await
        .problem(413, "too-large");
    fetch(&acme, &format!("http://{source}/text"))
        .await
        .problem(415, "unsupported-media-type");
    fetch(&acme, "no URL").await.problem(422, "invalid-content");
    let body = json!({ "url": 5, "startedAt": "then", "startOffsetMs": 1.5, "start": 1 });
    let path = format!("/v1/recordings/{SID}");
    let wrong = acme.send(Method::PUT, &path, |request| request.json(&body));
    let faults = wrong.await.problem(422, "invalid-content").faults();
    let places: Vec<_> = faults
        .iter()
        .filter_map(|it| it.split(' ').next())
        .collect();
    assert_eq!(places, ["start", "url", "startedAt", "startOffsetMs"]);
    assert_eq!(studio.objects(), Vec::<String>::new());

    for path in ["audio", "moved"] {
        let kept = fetch(&acme, &format!("http://{source}/{path}"))
            .await
            .status(200)
            .json();
        assert_eq!(kept["sha256"], sha256(&file(MULAW)), "{path}");
    }
    let known = acme
        .get(&format!("/v1/recordings/{SID}"))
        .await
        .status(200)
        .json();
    assert_eq!(known["startOffsetMs"], 1200);
    assert_eq!(known["startedAt"], Value::Null);
}

#[tokio::test]
async fn a_private_address_is_refused_even_where_its_host_is_allowed() {
    let source = source().await;
    let port = source.rsplit(':').next().expect("a port").to_owned();
    let hosts = ["127.0.0.1", "localhost", "[::1]", "[::ffff:7f00:1]"];
    let allowed: Vec<String> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
    let studio = Studio::with(|settings| settings.recordings_rules.allowed_hosts = allowed).await;
    let acme = studio.anybody().await;
    for host in hosts {
        let answer = fetch(&acme, &format!("http://{host}:{port}/audio")).await;
        let faults = answer.problem(422, "invalid-content").faults();
        assert!(faults[0].contains("public address"), "{host}: {faults:?}");
    }

    let none = Studio::open().await;
    let acme = none.anybody().await;
    let faults = fetch(&acme, "https://example.org/a.wav")
        .await
        .problem(422, "invalid-content")
        .faults();
    assert!(
        faults[0].contains("VOXRAY_RECORDINGS_ALLOWED_HOSTS"),
        "{faults:?}"
    );
}

#[tokio::test]
async fn a_slow_upload_has_its_own_time() {
    let studio = Studio::with(|settings| {
        settings.request_timeout = Duration::from_millis(100);
        settings.recordings_timeout = Duration::from_secs(60);
    })
    .await;
    let acme = studio.anybody().await;
    let halves: Arc<[Vec<u8>]> = file(MULAW).chunks(70_000).map(<[u8]>::to_vec).collect();
    let slow = futures_util::stream::unfold((halves, 0), |(halves, at)| async move {
        let half = halves.get(at)?.clone();
        tokio::time::sleep(Duration::from_millis(200)).await;
        Some((Ok::<_, std::io::Error>(half), (halves, at + 1)))
    });
    put(&acme, SID, reqwest::Body::wrap_stream(slow))
        .await
        .status(200);
}

#[tokio::test]
async fn what_could_not_be_removed_is_removed_later() {
    let studio = Studio::open().await;
    let acme = studio.anybody().await;
    call(&acme, "c", None, "completed").await;
    put(&acme, "c", file(MULAW)).await.status(200);
    let [object] = &studio.objects()[..] else {
        panic!("one object");
    };
    // Something else stands where the audio was, and cannot be removed like it.
    std::fs::remove_file(object).expect("removed");
    std::fs::create_dir_all(format!("{object}/blocked")).expect("a folder");
    delete(&acme, "c").await.status(204);
    let gone = acme.get("/v1/recordings/c").await;
    gone.problem(410, "gone");
    assert!(std::path::Path::new(object).exists());

    std::fs::remove_dir_all(object).expect("removed");
    std::fs::write(object, "audio").expect("written");
    let app = &studio.server.app;
    recordings::remove_leftovers(&app.store, &app.objects, app.clock.now())
        .await
        .expect("looked for");
    assert_eq!(studio.objects(), Vec::<String>::new());
}
