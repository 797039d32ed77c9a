//! How calls go: what was said first, the numbers later, or all of a call because somebody wants it gone; and
//! that nothing of it comes back.

use chrono::TimeDelta;
use serde_json::{Value, json};
use voxray::services::retention;
use voxray::services::retention::Gone;
use voxray::services::silence;
use voxray::store::{Scope, rollups};

use crate::support::{Client, TestServer};

const ALL: &str = "sessions:read,transcripts:read,ingest:write,reviews:write,admin";
const SETTINGS: &str = "/api/v1/settings/retention";
const SID: &str = "CA0123456789abcdef0123456789abcdef";
/// Words that must be nowhere once they have gone.
const SECRET: &str = "marmalade";

fn call(id: &str) -> Value {
    let secret = |what: &str| format!("{what} {SECRET}");
    json!({
        "at": "2025-06-11T10:30:00Z",
        "session": {
            "sessionId": id, "agentId": "ann", "callSid": SID, "status": "completed", "campaign": "june",
            "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T10:01:30Z", "channel": "inbound",
            "from": "+12025550123", "to": "+12025550199", "summary": secret("summary"), "tags": ["vip"],
            "endReason": secret("they said"), "metadata": {"note": secret("meta")}, "extracted": {"jam": SECRET},
            "providers": {"llm": "openai"}
        },
        "turns": [
            {"speaker": "user", "text": secret("I want —"), "startMs": 0, "endMs": 1000, "words": [{"text": SECRET, "startMs": 0, "endMs": 500}]},
            {"speaker": "agent", "text": secret("Here is"), "startMs": 1500, "endMs": 2500, "llmMs": 400, "ttsMs": 90, "sttMs": 80,
             "metadata": {"jam": SECRET}}
        ],
        "toolCalls": [{"id": "t1", "name": "shop", "turn": 1, "arguments": {"jam": SECRET}, "error": secret("no"), "startMs": 1100, "endMs": 1400}],
        "interruptions": [{"id": "i1", "atMs": 2000, "text": SECRET, "turn": 1}],
        "errors": [{"id": "e1", "service": "tool", "level": "error", "code": "no_jam", "message": secret("no"), "details": {"jam": SECRET}, "at": "2025-06-11T10:01:00Z"}],
        "evaluations": [{"id": "v1", "reviewer": "robot", "score": 0.5, "notes": secret("hm")}],
        "speech": [{"speaker": "user", "startMs": 0, "endMs": 1000}],
        "spans": [{"traceId": "tr1", "spanId": "s1", "name": "llm", "startedAt": "2025-06-11T10:00:01Z", "endedAt": "2025-06-11T10:00:02Z",
                   "attributes": {"gen_ai.prompt": SECRET, "gen_ai.request.temperature": 0.5}, "statusMessage": SECRET}]
    })
}

async fn send(client: &Client, id: &str) {
    let answer = client.post("/v1/ingest/calls", &call(id)).await.status(200);
    assert_eq!(answer.json()["rejected"], json!([]));
}

/// Everything that readers may see of a call.
async fn all_of(client: &Client, id: &str) -> String {
    let client = &client.header("cache-control", "no-cache");
    let mut told = String::new();
    for path in [
        format!("/v1/observability/sessions/{id}"),
        format!("/v1/observability/sessions/{id}/root-cause"),
        format!("/api/v1/conversations/{id}"),
        format!("/api/v1/voice-sessions/{id}"),
        format!("/v1/traces/session/{id}"),
        "/api/v1/analytics/errors".to_owned(),
        "/api/v1/voice-sessions/export".to_owned(),
    ] {
        told += &client.get(&path).await.status(200).text();
    }
    let traces = client.get(&format!("/v1/traces/session/{id}")).await.json();
    for trace in traces["traces"].as_array().expect("traces") {
        let trace = trace["traceId"].as_str().expect("an id");
        let path = format!("/v1/traces/session/{id}/{trace}");
        told += &client.get(&path).await.status(200).text();
    }
    told
}

/// The tables in which a text is found.
#[expect(
    clippy::disallowed_methods,
    reason = "every table is asked, by its name"
)]
async fn tables_with(server: &TestServer, text: &str) -> Vec<String> {
    let mut connection = server.connect().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables where table_schema = 'public' order by 1",
    )
    .fetch_all(&mut connection)
    .await
    .expect("tables");
    assert!(tables.len() > 30, "{tables:?}");
    let mut found = Vec::new();
    for table in tables {
        let question =
            format!("select exists (select 1 from {table} t where t::text like '%' || $1 || '%')");
        let is_there: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(question))
            .bind(text)
            .fetch_one(&mut connection)
            .await
            .expect("an answer");
        found.extend(is_there.then_some(table));
    }
    found
}

async fn pass_days(server: &TestServer, days: i64) {
    server.clock.advance(TimeDelta::days(days));
    // Somebody may ask for a while, until nothing more is due.
    while !round(server).await.is_nothing() {}
}

async fn round(server: &TestServer) -> Gone {
    let done = retention::round(&server.app.store, server.clock.now()).await;
    done.expect("a store")
}

async fn rollups_are_right(server: &TestServer, scope: &Scope) {
    let drained = rollups::drain(&server.app.store, server.clock.now()).await;
    assert!(drained.expect("a store"), "nobody else keeps these rollups");
    assert_eq!(rollups::verify(scope).await.expect("a store"), []);
}

#[tokio::test]
async fn what_was_said_goes_first_and_the_call_later() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let scope = Scope::for_worker(&server.app.store, acme.id);
    let client = acme.client(ALL).await;
    send(&client, "c1").await;
    let edit = json!({"summary": format!("my {SECRET}"), "tags": ["mine"]});
    client
        .patch("/api/v1/voice-sessions/c1", &edit)
        .await
        .status(200);
    server.analysed().await;
    assert!(all_of(&client, "c1").await.contains(SECRET));
    let shown = acme.reader().await;
    let before = shown
        .get("/v1/observability/sessions/c1")
        .await
        .status(200)
        .json();
    let summary = client
        .get("/api/v1/analytics/summary?period=30d")
        .await
        .json();

    server.clock.advance(TimeDelta::days(89));
    assert!(round(&server).await.is_nothing(), "not due yet");
    pass_days(&server, 2).await;
    let told = all_of(&client, "c1").await;
    let left = told
        .find(SECRET)
        .map(|at| &told[at.saturating_sub(300)..at + SECRET.len()]);
    assert_eq!(left, None);
    let words = client
        .get(&format!("/api/v1/conversations?q={SECRET}"))
        .await
        .json();
    assert_eq!(words["data"], json!([]));
    assert_eq!(tables_with(&server, SECRET).await, [""; 0]);
    // The numbers are as they were.
    let mut after = shown
        .get("/v1/observability/sessions/c1")
        .await
        .status(200)
        .json();
    let deleted_at = after
        .as_object_mut()
        .map(|after| after.remove("contentDeletedAt"));
    assert_eq!(deleted_at, Some(Some(json!("2025-09-10T12:00:00Z"))));
    assert_eq!(after, before);
    for path in ["/api/v1/conversations/c1", "/api/v1/voice-sessions/c1"] {
        let told = client.get(path).await.status(200).json();
        assert_eq!(told["content_deleted_at"], "2025-09-10T12:00:00Z", "{path}");
    }
    let traces = client.get("/v1/traces/session/c1").await.status(200).json();
    let trace = traces["traces"][0]["traceId"].as_str().expect("a trace");
    let trace = client
        .get(&format!("/v1/traces/session/c1/{trace}"))
        .await
        .status(200)
        .json()["trace"]
        .clone();
    let causes = client
        .get("/v1/observability/sessions/c1/root-cause")
        .await
        .status(200)
        .json();
    for told in [trace, causes] {
        assert_eq!(told["contentDeletedAt"], "2025-09-10T12:00:00Z", "{told}");
    }
    let range = "started_after=2025-06-01T00:00:00Z&started_before=2025-06-12T00:00:00Z";
    let later = client
        .get(&format!("/api/v1/analytics/summary?{range}"))
        .await
        .json();
    for name in [
        "total_calls",
        "completed_calls",
        "p95_turn_latency_ms",
        "avg_duration_seconds",
    ] {
        assert_eq!(later[name], summary[name], "{name}");
    }
    rollups_are_right(&server, &scope).await;
    // People may still write.
    let again = json!({"summary": "short"});
    client
        .patch("/api/v1/voice-sessions/c1", &again)
        .await
        .status(200);
    let review = json!({"reviewer": "bob", "score": 0.9});
    client
        .post("/api/v1/voice-sessions/c1/evaluations", &review)
        .await
        .status(201);
    server.analysed().await;

    pass_days(&server, 310).await;
    client
        .get("/v1/observability/sessions/c1")
        .await
        .problem(404, "not-found");
    let none = client
        .header("cache-control", "no-cache")
        .get(&format!("/api/v1/analytics/summary?{range}"))
        .await
        .json();
    assert_eq!(none["total_calls"], 0);
    rollups_are_right(&server, &scope).await;
    refused(&client, "c1").await;

    pass_days(&server, 401).await;
    send(&client, "c1").await;
}

/// Whatever is said of the call, by whatever name, is told to be too late.
async fn refused(client: &Client, id: &str) {
    let answer = client
        .post("/v1/ingest/calls", &call(id))
        .await
        .status(207)
        .json();
    assert_eq!(answer["accepted"], 0);
    let told = answer["rejected"][0]["errors"][0]["message"]
        .as_str()
        .expect("a message");
    assert!(told.starts_with("session_closed"), "{told}");
    let event = json!({"events": [
        {"type": "turn", "sessionId": id, "id": "late", "at": "2025-06-11T10:00:00Z", "index": 7, "speaker": "user", "text": "late"},
        {"type": "session", "sessionId": "another", "id": "late", "at": "2025-06-11T10:00:00Z", "startedAt": "2025-06-11T10:00:00Z"}
    ]});
    let answer = client
        .post("/v1/ingest/events", &event)
        .await
        .status(207)
        .json();
    assert_eq!(
        answer["rejected"].as_array().map(Vec::len),
        Some(1),
        "{answer}"
    );
    assert_eq!(answer["rejected"][0]["index"], 0);
    let put = client
        .send(
            reqwest::Method::PUT,
            &format!("/v1/recordings/{SID}"),
            |r| r.body("RIFF"),
        )
        .await;
    put.problem(410, "gone");
}

fn span(trace: u8, span: u8, conversation: Option<&str>) -> Value {
    let named =
        conversation.map(|id| json!({"key": "conversation.id", "value": {"stringValue": id}}));
    let span = json!({
        "traceId": format!("{trace:032x}"), "spanId": format!("{span:016x}"), "name": "turn",
        "startTimeUnixNano": "1749636000000000000", "endTimeUnixNano": "1749636001000000000",
        "attributes": named.into_iter().collect::<Vec<_>>()
    });
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
}

#[tokio::test]
async fn a_tracer_is_told_in_part_that_it_is_too_late() {
    let server = TestServer::without_work().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let trace = async |sent: Value| client.post("/v1/traces", &sent).await.status(200).json();
    assert_eq!(trace(span(1, 1, Some("one"))).await, json!({}));
    client.delete("/api/v1/sessions/one").await.status(204);
    // By its conversation, and by the trace alone, whatever else comes with it.
    for late in [span(1, 2, Some("one")), span(2, 3, Some("one"))] {
        let told = trace(late).await;
        assert_eq!(told["partialSuccess"]["rejectedSpans"], "1", "{told}");
        let reason = told["partialSuccess"]["errorMessage"].as_str();
        assert!(
            reason.is_some_and(|reason| reason.contains("session_closed")),
            "{told}"
        );
    }
    assert_eq!(
        trace(span(1, 4, None)).await["partialSuccess"]["rejectedSpans"],
        "1"
    );
    // A trace may tell of several conversations.
    assert_eq!(trace(span(1, 5, Some("two"))).await, json!({}));
    client
        .get("/v1/observability/sessions/two")
        .await
        .status(200);
}

#[tokio::test]
async fn late_words_do_not_open_a_closed_call() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let client = acme.client(ALL).await;
    send(&client, "c1").await;
    pass_days(&server, 91).await;
    let before = client
        .get("/api/v1/voice-sessions/c1")
        .await
        .status(200)
        .json();
    refused(&client, "c1").await;
    let after = client
        .get("/api/v1/voice-sessions/c1")
        .await
        .status(200)
        .json();
    assert_eq!(after, before);
    // What comes in late counts from then: an old call that is imported stays for its time.
    server.clock.advance(TimeDelta::days(900));
    let mut old = call("old");
    old["session"]["callSid"] = json!("CA00000000000000000000000000000001");
    client.post("/v1/ingest/calls", &old).await.status(200);
    assert_eq!(round(&server).await.closed, 0);
    assert!(all_of(&client, "old").await.contains(SECRET));
}

#[tokio::test]
async fn a_call_that_somebody_wants_gone_is_gone() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let scope = Scope::for_worker(&server.app.store, acme.id);
    let client = acme.client(ALL).await;
    let other = server.tenant("other").await.client(ALL).await;
    send(&client, "c1").await;
    send(&other, "c1").await;
    rollups_are_right(&server, &scope).await;
    let id = client
        .get("/api/v1/voice-sessions/c1")
        .await
        .status(200)
        .json()["id"]
        .clone();
    acme.client("reviews:write,sessions:read,ingest:write")
        .await
        .delete("/api/v1/sessions/c1")
        .await
        .problem(403, "missing-scope");
    client
        .delete("/api/v1/sessions/nobody")
        .await
        .problem(404, "not-found");
    client
        .delete(&format!("/api/v1/sessions/{SID}"))
        .await
        .status(204);
    client
        .get("/v1/observability/sessions/c1")
        .await
        .problem(404, "not-found");
    client
        .delete("/api/v1/sessions/c1")
        .await
        .problem(404, "not-found");
    // Right before anything is summed up again, and after.
    let summary = "/api/v1/analytics/summary?period=30d";
    let fresh = client.header("cache-control", "no-cache");
    assert_eq!(fresh.get(summary).await.json()["total_calls"], 0);
    rollups_are_right(&server, &scope).await;
    assert_eq!(fresh.get(summary).await.json()["total_calls"], 0);
    // That it is gone is still to be told to those who watch.
    let mut left = tables_with(&server, id.as_str().expect("an id")).await;
    left.retain(|table| table != "live_outbox" && table != "live_events");
    assert_eq!(left, ["audit_log", "session_tombstones", "tombstone_names"]);
    let log = client
        .get("/api/v1/audit-log?action=session.delete")
        .await
        .status(200)
        .json();
    assert_eq!(log["data"][0]["object_id"], id);
    assert_eq!(log["data"][0]["fields"], json!([]));
    refused(&client, "c1").await;
    // A native call of another name is another call, though it shares the carrier's.
    send(&client, "c2").await;
    // The neighbour's is as it was.
    assert!(all_of(&other, "c1").await.contains(SECRET));
}

#[tokio::test]
async fn a_call_is_deleted_though_somebody_else_is_at_its_rows() {
    let server = TestServer::without_work().await;
    let client = server.tenant("acme").await.client(ALL).await;
    let mut connection = server.connect().await;
    for call in ["c1", "c2", "c3", "c4", "c5"] {
        send(&client, call).await;
        for statement in ["begin", "select id from facts for update"] {
            sqlx::query(statement)
                .execute(&mut connection)
                .await
                .expect("locks");
        }
        // Each has what the other wants: the database gives one of them up, mostly the one that has waited longer.
        let other = async {
            server.until_somebody_waits().await;
            let update = sqlx::query("update sessions set touched_at = touched_at")
                .execute(&mut connection)
                .await;
            sqlx::query("rollback")
                .execute(&mut connection)
                .await
                .expect("the end");
            update
        };
        let path = format!("/api/v1/sessions/{call}");
        let (deleted, update) = tokio::join!(client.delete(&path), other);
        deleted.status(204);
        let gone = client
            .get(&format!("/v1/observability/sessions/{call}"))
            .await;
        gone.problem(404, "not-found");
        match update {
            Ok(_) => return,
            // The other was given up: that the server did not try again says nothing.
            Err(error) => {
                let code = error.as_database_error().and_then(|told| told.code());
                assert_eq!(code.as_deref(), Some("40P01"), "{error}");
            }
        }
    }
    panic!("the database never gave the server up");
}

#[tokio::test]
async fn a_call_removed_by_hand_comes_back_as_if_it_had_never_been() {
    let server = TestServer::without_work().await;
    let client = server.tenant("acme").await.client(ALL).await;
    send(&client, "c1").await;
    let detail = "/v1/observability/sessions/c1";
    let before = client.get(detail).await.status(200).json();
    let mut connection = server.connect().await;
    sqlx::query("delete from sessions")
        .execute(&mut connection)
        .await
        .expect("removed");
    client.get(detail).await.problem(404, "not-found");
    let mut shorter = call("c1");
    shorter["turns"] = json!([call("c1")["turns"][0]]);
    let answer = client.post("/v1/ingest/calls", &shorter).await.status(200);
    assert_eq!(answer.json()["accepted"], 1);
    let after = client.get(detail).await.status(200).json();
    assert_eq!(after["turns"].as_array().map(Vec::len), Some(1), "{after}");
    assert_eq!(after["turns"][0], before["turns"][0]);
}

#[tokio::test]
async fn a_tenant_sets_how_long_its_calls_are_kept() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let client = acme.client(ALL).await;
    let told = client.get(SETTINGS).await.status(200).json();
    assert_eq!(
        told["effective"],
        json!({"content_days": 90, "metrics_days": 400})
    );
    assert_eq!(
        (&told["content_days"], &told["updated_at"]),
        (&Value::Null, &Value::Null)
    );
    acme.reader()
        .await
        .get(SETTINGS)
        .await
        .problem(403, "missing-scope");

    let wrong = json!({"content_days": 0, "metrics_days": "always", "days": 3});
    let faults = client
        .put(SETTINGS, &wrong)
        .await
        .problem(422, "invalid-content")
        .faults();
    assert_eq!(faults.len(), 3, "{faults:?}");
    let longer = json!({"content_days": "forever"});
    client
        .put(SETTINGS, &longer)
        .await
        .problem(422, "invalid-content");

    let forever = json!({"content_days": "forever", "metrics_days": "forever"});
    let told = client.put(SETTINGS, &forever).await.status(200).json();
    assert_eq!(told["effective"], forever);
    send(&client, "c1").await;
    pass_days(&server, 3_000).await;
    assert!(all_of(&client, "c1").await.contains(SECRET));

    let short = json!({"content_days": 10, "metrics_days": null});
    let told = client.put(SETTINGS, &short).await.status(200).json();
    assert_eq!(
        told["effective"],
        json!({"content_days": 10, "metrics_days": 400})
    );
    assert_eq!(
        round(&server).await,
        Gone {
            closed: 1,
            ..Gone::default()
        }
    );
    assert_eq!(
        round(&server).await,
        Gone {
            deleted: 1,
            ..Gone::default()
        }
    );
    let log = client
        .get("/api/v1/audit-log?action=retention.update")
        .await
        .status(200)
        .json();
    assert_eq!(log["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        log["data"][0]["fields"],
        json!(["content_days", "metrics_days"])
    );
}

#[tokio::test]
async fn calls_that_go_on_are_kept_and_many_go_in_pieces() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let client = acme.client(ALL).await;
    let calls: Vec<Value> = (0..120)
        .map(|n| json!({"session": {"sessionId": format!("c{n}"), "startedAt": "2025-06-11T10:00:00Z",
            "status": if n == 0 { "active" } else { "completed" }}, "turns": [{"speaker": "user", "text": SECRET}]}))
        .collect();
    client
        .post("/v1/ingest/calls", &json!({"calls": calls}))
        .await
        .status(200);
    server.clock.advance(TimeDelta::days(100));
    // Two processes at once share the work.
    let (store, now) = (&server.app.store, server.clock.now());
    let mut closed = 0;
    for _ in 0..3 {
        let (one, other) = tokio::join!(retention::round(store, now), retention::round(store, now));
        closed += one.expect("a store").closed + other.expect("a store").closed;
    }
    assert_eq!(closed, 119);
    assert!(round(&server).await.is_nothing());
    let going_on = client
        .get("/api/v1/voice-sessions/c0")
        .await
        .status(200)
        .text();
    assert!(going_on.contains(SECRET));
}

#[tokio::test]
async fn what_goes_on_is_not_drawn_to_what_is_over() {
    let server = TestServer::without_work().await;
    let acme = server.tenant("acme").await;
    let scope = Scope::for_worker(&server.app.store, acme.id);
    let client = acme.client(ALL).await;
    let known_as = |sent: Value, sid: &str| {
        let mut sent = sent;
        let attribute = json!({"key": "call_sid", "value": {"stringValue": sid}});
        sent["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"] = json!([attribute]);
        sent
    };
    // A tracer tells of a call, which is closed in time.
    let trace = known_as(span(1, 1, None), SID);
    client.post("/v1/traces", &trace).await.status(200);
    let path = format!("/v1/observability/sessions/{SID}");
    let old = client.get(&path).await.status(200).json()["id"].clone();
    let minutes = std::time::Duration::from_secs(600);
    let patience = silence::Patience {
        active: minutes,
        unanswered: minutes,
    };
    let (store, writer) = (&server.app.store, &server.app.writer);
    server.clock.advance(TimeDelta::days(2));
    let ended = silence::end_silent(store, writer, patience, server.clock.now()).await;
    assert_eq!(ended.expect("a store"), 1);
    pass_days(&server, 91).await;
    let closed = client.get(&path).await.status(200).json();
    assert_eq!(closed["contentDeletedAt"], "2025-09-12T12:00:00Z");

    // One that goes on learns of the same name: neither becomes part of the other.
    let say = |id: &str, fields: Value| {
        let mut event =
            json!({"type": "session", "sessionId": "n1", "id": id, "at": server.clock.now()});
        for (name, value) in fields.as_object().expect("fields") {
            event[name] = value.clone();
        }
        json!({"events": [event]})
    };
    let events = "/v1/ingest/events";
    let begun = say(
        "begun",
        json!({"startedAt": server.clock.now(), "status": "active"}),
    );
    client.post(events, &begun).await.status(200);
    let learnt = say("learnt", json!({"callSid": SID, "status": "completed"}));
    client.post(events, &learnt).await.status(200);
    let new = client
        .get("/v1/observability/sessions/n1")
        .await
        .status(200)
        .json();
    assert_eq!(new["status"], "completed");
    assert_ne!(new["id"], old);
    let path = format!(
        "/v1/observability/sessions/{}",
        old.as_str().expect("an id")
    );
    let after = client.get(&path).await.status(200).json();
    assert_eq!(after["id"], old);
    // What the tracer says of the call still comes too late.
    let told = client.post("/v1/traces", &trace).await.status(200).json();
    assert_eq!(told["partialSuccess"]["rejectedSpans"], "1", "{told}");
    rollups_are_right(&server, &scope).await;
}
