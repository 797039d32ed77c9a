//! Whatever arrives in whatever order, summed up meanwhile or not: every endpoint says what a count over
//! the final state says.

mod folding;
mod recount;

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use voxray::services::retention;
use voxray::services::retention::Gone;
use voxray::store::{Scope, rollups};

use crate::support::{Client, TestServer};
use recount::{Question, State};

const SESSIONS: usize = 40;
const ROUNDS: usize = 8;
const EVENTS: usize = 120;

/// One of some words, or none.
fn any(random: &mut StdRng, words: &[&str]) -> Value {
    let n = random.random_range(0..=words.len());
    words.get(n).map_or(Value::Null, |word| json!(word))
}

/// A moment of the days before, often in one of a few hours.
fn moment(random: &mut StdRng) -> String {
    let hour = if random.random_bool(0.5) {
        8
    } else {
        random.random_range(0..24)
    };
    let (day, minute, second) = (
        random.random_range(1..=11),
        random.random_range(0..60),
        random.random_range(0..60),
    );
    let at = format!("2025-06-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
    at.min("2025-06-11T11:59:00Z".to_owned())
}

/// Something that a source says about a call; `n` numbers what is said.
fn event(random: &mut StdRng, n: usize) -> Value {
    let mut event = match random.random_range(0..4) {
        0 | 1 => session(random),
        2 => turn(random),
        _ => {
            json!({"type": "error", "service": any(random, &["stt", "llm", "tool"]), "message": "said",
            "level": if random.random_bool(0.5) { "error" } else { "warning" }, "id": format!("error-{}", random.random_range(0..3))})
        }
    };
    event["sessionId"] = json!(format!("call-{}", random.random_range(0..SESSIONS)));
    event["at"] = json!(moment(random));
    if event["id"].is_null() {
        event["id"] = json!(format!("event-{n}"));
    }
    event
}

fn session(random: &mut StdRng) -> Value {
    let mut event = json!({"type": "session"});
    let started_at = moment(random);
    let name = any(random, &["Booking", "Reserving", "Ordering"]);
    let workflow = json!({"id": any(random, &["w1", "w2"]), "slug": any(random, &["book", "order"]), "name": name});
    let providers = json!({"stt": any(random, &["deepgram"]), "llm": any(random, &["openai", "mistral"]), "tts": any(random, &["cartesia"])});
    let said = [
        ("startedAt", json!(started_at)),
        (
            "status",
            any(
                random,
                &["active", "completed", "failed", "missed", "declined"],
            ),
        ),
        ("endedAt", json!(moment(random))),
        ("agentId", any(random, &["ann", "bob"])),
        ("channel", any(random, &["web", "inbound"])),
        ("campaign", any(random, &["june"])),
        ("workflow", workflow),
        ("providers", providers),
    ];
    for (name, value) in said {
        if random.random_bool(0.6) {
            event[name] = value;
        }
    }
    // Only told in two pieces a call may end before it starts.
    if event["startedAt"].is_string() {
        event["endedAt"] = Value::Null;
    }
    event
}

fn turn(random: &mut StdRng) -> Value {
    let index = random.random_range(0..6);
    let speaker = ["user", "agent"][index % 2];
    let mut event = json!({"type": "turn", "index": index, "speaker": speaker, "startMs": index * 1000, "endMs": index * 1000 + 500});
    let ms = |random: &mut StdRng| json!(f64::from(random.random_range(1..20_000)) / 10.0);
    if speaker == "user" {
        event["sttMs"] = ms(random);
    } else {
        (event["llmMs"], event["ttsMs"]) = (ms(random), ms(random));
        event["cancelled"] = json!(random.random_bool(0.1));
    }
    if random.random_bool(0.5) {
        event["providers"] =
            json!({"stt": "whisper", "llm": any(random, &["openai", "groq"]), "tts": "piper"});
    }
    event
}

fn question(random: &mut StdRng) -> Question {
    let (mut from, mut to) = (moment(random), moment(random));
    if from > to {
        std::mem::swap(&mut from, &mut to);
    }
    if from == to {
        to = "2025-06-11T11:59:30Z".to_owned();
    }
    if random.random_bool(0.2) {
        // Whole days.
        (from, to) = (
            "2025-06-03T00:00:00Z".to_owned(),
            "2025-06-09T00:00:00Z".to_owned(),
        );
    }
    let filter = |value: Value| value.as_str().map(str::to_owned);
    let is_filtered = random.random_bool(0.5);
    let mut maybe = |words: &[&str]| {
        if is_filtered {
            filter(any(random, words))
        } else {
            None
        }
    };
    Question {
        agent_key: maybe(&["ann"]),
        workflow: maybe(&["w1", "book"]),
        channel: maybe(&["web"]),
        campaign: maybe(&["june"]),
        from: from.parse().expect("a time"),
        to: to.parse().expect("a time"),
    }
}

async fn send(ingestor: &Client, events: &[Value]) {
    let body = json!({ "events": events });
    let answer = ingestor.post("/v1/ingest/events", &body).await;
    for rejected in answer.json()["rejected"].as_array().expect("a list") {
        // Nothing else is wrong with them but that they may be too late.
        let why = rejected["errors"][0]["message"].as_str();
        assert!(
            why.is_some_and(|why| why.starts_with("session_closed")),
            "{rejected}"
        );
    }
}

/// A list's total, however it is counted, is the number of its items. All fit on one page.
async fn total_is_what_the_page_has(reader: &Client, random: &mut StdRng) {
    let mut query = "limit=200".to_owned();
    let statuses = [
        "active",
        "completed",
        "failed",
        "missed",
        "declined",
        "queued",
        "reviewed",
    ];
    for (name, value) in [
        ("status", any(random, &statuses)),
        ("agent_key", any(random, &["ann", "bob", "nobody"])),
    ] {
        if let Some(value) = value.as_str() {
            query.push_str(&format!("&{name}={value}"));
        }
    }
    let (a, b) = (moment(random), moment(random));
    let (from, to) = if a < b { (a, b) } else { (b, a) };
    if random.random_bool(0.4) {
        query.push_str(&format!("&started_after={from}"));
    }
    if from < to && random.random_bool(0.4) {
        query.push_str(&format!("&started_before={to}"));
    }
    let answer = reader
        .get(&format!("/api/v1/voice-sessions?{query}"))
        .await
        .status(200);
    let body = answer.json();
    let items = body["data"].as_array().expect("a list").len();
    assert_eq!(body["total"], json!(items), "{query}");
}

/// Some time goes by, with or without the worker looking what is due; and somebody wants a call gone.
async fn let_go(server: &TestServer, manager: &Client, random: &mut StdRng) -> Gone {
    let mut gone = Gone::default();
    server
        .clock
        .advance(TimeDelta::hours(random.random_range(12..72)));
    for _ in 0..random.random_range(0..3) {
        let done = retention::round(&server.app.store, server.clock.now()).await;
        gone.add(done.expect("a store"));
    }
    if random.random_bool(0.6) {
        let call = format!("/api/v1/sessions/call-{}", random.random_range(0..SESSIONS));
        manager.delete(&call).await;
    }
    gone
}

#[tokio::test]
async fn every_endpoint_says_what_a_recount_says_of_what_is_left() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let scope = Scope::for_worker(&server.app.store, acme.id);
    let (ingestor, reader) = (acme.ingestor().await, acme.transcripts().await);
    let manager = acme.client("admin").await;
    let periods = json!({"content_days": 3, "metrics_days": 8});
    let set = manager.put("/api/v1/settings/retention", &periods).await;
    set.status(200);
    let mut random = StdRng::seed_from_u64(20_250_901);
    let mut gone = Gone::default();
    for round in 0..2 * ROUNDS {
        let events: Vec<Value> = (0..EVENTS / 2)
            .map(|n| event(&mut random, round * EVENTS + n))
            .collect();
        for chunk in events.chunks(17) {
            send(&ingestor, chunk).await;
        }
        if random.random_bool(0.5) {
            let drained = rollups::drain(&server.app.store, server.clock.now()).await;
            assert!(drained.expect("a store"), "nobody else keeps these rollups");
        }
        gone.add(let_go(&server, &manager, &mut random).await);
        // What has gone is right at once, before anything is summed up again.
        let state = State::load(&server.database_url(), acme.id.0).await;
        for _ in 0..4 {
            recount::compare(&reader, &state, &question(&mut random)).await;
        }
        for _ in 0..4 {
            total_is_what_the_page_has(&reader, &mut random).await;
        }
        assert_eq!(rollups::verify(&scope).await.expect("a store"), []);
    }
    assert!(gone.closed > 20 && gone.deleted > 20, "{gone:?}");
}

#[tokio::test]
async fn every_endpoint_says_what_a_recount_says() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    // What another tenant's calls say must have no part in it.
    let other = server.tenant("other").await.ingestor().await;
    let (ingestor, reader) = (acme.ingestor().await, acme.transcripts().await);
    let mut random = StdRng::seed_from_u64(20_250_611);
    for round in 0..ROUNDS {
        let mut events: Vec<Value> = (0..EVENTS)
            .map(|n| event(&mut random, round * EVENTS + n))
            .collect();
        let again: Vec<Value> = (0..EVENTS / 6)
            .map(|_| events[random.random_range(0..events.len())].clone())
            .collect();
        events.extend(again);
        events.shuffle(&mut random);
        // Same id and same time with other content is a contradiction, which is refused.
        let mut said = std::collections::BTreeMap::new();
        events.retain(|event| {
            let key = [
                &event["sessionId"],
                &event["type"],
                &event["id"],
                &event["at"],
            ]
            .map(Value::to_string);
            said.entry(key).or_insert_with(|| event.clone()) == event
        });
        for chunk in events.chunks(23) {
            send(&ingestor, chunk).await;
        }
        send(&other, &events[..20]).await;
        if round % 3 > 0 {
            let drained = rollups::drain(&server.app.store, server.clock.now()).await;
            assert!(drained.expect("a store"), "nobody else keeps these rollups");
        }
        let state = State::load(&server.database_url(), acme.id.0).await;
        for _ in 0..6 {
            recount::compare(&reader, &state, &question(&mut random)).await;
        }
        for _ in 0..10 {
            total_is_what_the_page_has(&reader, &mut random).await;
        }
    }
    let scope = Scope::for_worker(&server.app.store, acme.id);
    assert_eq!(rollups::verify(&scope).await.expect("a store"), []);
}
