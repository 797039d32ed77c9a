//! A room's name is no name of one session: it finds the newest, and joins a record of the room with the one
//! session that was in it then.

use voxray::services::rooms;
use voxray::store::Scope;

use super::*;

async fn quiet() -> (TestServer, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let server =
        TestServer::without_work_with(|settings| settings.data_dir = folder.path().to_owned());
    (server.await, folder)
}

/// What an application tells of a call in the room, from and to so many seconds behind 10:00.
fn call(name: &str, from_s: i64, to_s: i64) -> Value {
    let time = |seconds: i64| {
        chrono::DateTime::from_timestamp(1_749_636_000 + seconds, 0)
            .expect("a time")
            .to_rfc3339()
    };
    json!({
        "session": {"sessionId": name, "agentId": "front-desk", "startedAt": time(from_s), "endedAt": time(to_s),
            "externalIds": [{"kind": "livekit_room_name", "id": "call-1"}]},
        "turns": [{"speaker": "agent", "text": "Hello", "startMs": 0, "endMs": 900}],
    })
}

/// The same from a tracer that knows no room's SID.
fn span(name: &str, from_s: i64, to_s: i64) -> Value {
    let nanos = |seconds: i64| ((1_749_636_000 + seconds) * 1_000_000_000).to_string();
    let attributes = json!([
        {"key": "session.id", "value": {"stringValue": name}},
        {"key": "lk.room_name", "value": {"stringValue": "call-1"}},
        {"key": "input.value", "value": {"stringValue": "Hello"}},
    ]);
    json!({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "own"}, "spans": [{
        "traceId": format!("{:032x}", 7), "spanId": format!("{:016x}", 7), "name": "turn",
        "startTimeUnixNano": nanos(from_s), "endTimeUnixNano": nanos(to_s), "attributes": attributes}]}]}]})
}

enum Told {
    Call(Value),
    Spans(Value),
    Hook(Value),
}

/// How many sessions there are in the end, and what each of these names leads to.
async fn seen(told: &[&Told], names: &[&str]) -> (usize, Vec<Value>) {
    let (server, _folder) = quiet().await;
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    for told in told {
        match told {
            Told::Call(body) => drop(client.post("/v1/ingest/calls", body).await.status(200)),
            Told::Spans(body) => drop(client.post("/v1/traces", body).await.status(200)),
            Told::Hook(body) => drop(hook(&server, body).await.status(200)),
        }
    }
    let (store, writer) = (&server.app.store, &server.app.writer);
    let early = rooms::join_due(store, writer, server.clock.now()).await;
    assert_eq!(early.expect("work"), 0, "more may come");
    for _ in 0..3 {
        server.clock.advance(TimeDelta::seconds(61));
        let joined = rooms::join_due(store, writer, server.clock.now()).await;
        joined.expect("work");
    }
    let listed = client
        .get("/v1/observability/sessions")
        .await
        .status(200)
        .json();
    let mut found = Vec::new();
    for name in names {
        let path = format!("/v1/observability/sessions/{name}");
        let told = client.get(&path).await.status(200).json();
        found.push(told["externalId"].clone());
    }
    (listed["data"].as_array().map_or(0, Vec::len), found)
}

fn orders(told: &[Told]) -> Vec<Vec<&Told>> {
    let forth: Vec<&Told> = told.iter().collect();
    let back: Vec<&Told> = told.iter().rev().collect();
    let mut mixed = forth.clone();
    mixed.rotate_left(1);
    vec![forth, back, mixed]
}

fn room() -> [Told; 2] {
    [
        Told::Hook(room_event("room_started", 0)),
        Told::Hook(room_event("room_finished", 100)),
    ]
}

#[tokio::test]
async fn a_room_s_record_joins_the_one_session_of_its_time() {
    let names = ["RM_hook", "agent-1", "call-1"];
    let [started, finished] = room();
    let told = [started, Told::Call(call("agent-1", 59, 90)), finished];
    for order in orders(&told) {
        assert_eq!(seen(&order, &names).await, (1, vec![json!("agent-1"); 3]));
    }
    let [started, finished] = room();
    let told = [started, finished, Told::Spans(span("agent-1", 2, 90))];
    for order in orders(&told) {
        assert_eq!(seen(&order, &names).await, (1, vec![json!("RM_hook"); 3]));
    }
}

#[tokio::test]
async fn of_several_or_of_none_at_that_time_nothing_is_joined() {
    let [started, finished] = room();
    let told = [
        started,
        Told::Call(call("agent-1", 10, 90)),
        Told::Call(call("agent-2", 20, 80)),
        finished,
    ];
    for order in orders(&told) {
        let (count, names) = seen(&order, &["RM_hook", "agent-1", "call-1"]).await;
        assert_eq!(count, 3);
        assert_eq!(
            names,
            ["RM_hook", "agent-1", "agent-2"],
            "a name finds the newest"
        );
    }
    let [started, finished] = room();
    let told = [started, Told::Call(call("agent-1", 61, 90)), finished];
    for order in orders(&told) {
        let (count, names) = seen(&order, &["RM_hook", "agent-1", "call-1"]).await;
        assert_eq!(
            (count, names),
            (
                2,
                vec![json!("RM_hook"), json!("agent-1"), json!("agent-1")]
            )
        );
    }
    // The one of its time among others of the name.
    let [started, finished] = room();
    let told = [
        Told::Call(call("agent-1", 10, 90)),
        started,
        Told::Call(call("agent-2", 3600, 3700)),
        Told::Call(call("agent-3", -3600, -3500)),
        finished,
    ];
    for order in orders(&told) {
        let (count, names) = seen(&order, &["RM_hook", "agent-2", "call-1"]).await;
        assert_eq!(
            (count, names),
            (
                3,
                vec![json!("agent-1"), json!("agent-2"), json!("agent-2")]
            )
        );
    }
}

#[tokio::test]
async fn a_conversation_that_is_called_by_its_room_s_id_is_in_that_room() {
    for attribute in ["session.id", "conversation.id", "langfuse.session.id"] {
        let mut spans = span("RM_hook", 5, 95);
        spans["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"][0]["key"] =
            json!(attribute);
        let [started, finished] = room();
        let told = [started, Told::Spans(spans), finished];
        for order in orders(&told) {
            let (count, names) = seen(&order, &["RM_hook", &format!("{:032x}", 7)]).await;
            assert_eq!(
                (count, names),
                (1, vec![json!("RM_hook"); 2]),
                "{attribute}"
            );
        }
    }
}

#[tokio::test]
async fn a_record_that_could_not_be_joined_is_joined_later() {
    // So many bytes wait that the tenant, or everybody, is asked to come back.
    for waiting in [20 << 20, 64 << 20] {
        let (server, _folder) = quiet().await;
        let acme = server.tenant("acme").await;
        let client = with_key(&acme, SECRET).await;
        hook(&server, &room_event("room_started", 0))
            .await
            .status(200);
        client
            .post("/v1/ingest/calls", &call("agent-1", 59, 90))
            .await
            .status(200);
        let (store, writer) = (&server.app.store, &server.app.writer);
        let scope = Scope::for_worker(store, acme.id);
        let held = writer.admit(&scope, waiting).expect("room");
        server.clock.advance(TimeDelta::seconds(61));
        let tried = rooms::join_due(store, writer, server.clock.now()).await;
        assert_eq!(tried.unwrap_or_default(), 0);
        drop(held);
        server.clock.advance(TimeDelta::minutes(6));
        let joined = rooms::join_due(store, writer, server.clock.now()).await;
        assert_eq!(joined.expect("work"), 1);
        let list = client.get("/v1/observability/sessions").await.json();
        assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test]
async fn a_clock_that_went_ahead_keeps_no_record_waiting() {
    let (server, _folder) = quiet().await;
    let acme = server.tenant("acme").await;
    let client = with_key(&acme, SECRET).await;
    server.clock.advance(TimeDelta::hours(1));
    client
        .post("/v1/ingest/calls", &call("agent-1", 59, 90))
        .await
        .status(200);
    hook(&server, &room_event("room_started", 0))
        .await
        .status(200);
    server.clock.advance(TimeDelta::hours(-1));
    let (store, writer) = (&server.app.store, &server.app.writer);
    server.clock.advance(TimeDelta::seconds(61));
    let joined = rooms::join_due(store, writer, server.clock.now()).await;
    assert_eq!(joined.expect("work"), 1);
}
