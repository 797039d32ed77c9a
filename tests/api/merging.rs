//! One call that several sources tell of is one session, whichever of them comes first.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Client, Tenant, TestServer};

const SID: &str = "CA0123456789abcdef0123456789abcdef";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CONVERSATION: &str = "conv-17";

/// A way in, and what is sent there.
type Delivery = (&'static str, Value);

fn span(
    id: u64,
    parent: Option<u64>,
    name: &str,
    seconds: (f64, f64),
    attributes: &[(&str, Value)],
) -> Value {
    let nanos = |second: f64| (1_749_636_000_000_000_000 + (second * 1e9) as i64).to_string();
    let attributes: Vec<Value> = attributes
        .iter()
        .map(|(key, value)| {
            let value = match value {
                Value::String(text) => json!({"stringValue": text}),
                Value::Bool(flag) => json!({"boolValue": flag}),
                Value::Number(number) if number.is_i64() => json!({"intValue": number.to_string()}),
                number => json!({"doubleValue": number}),
            };
            json!({"key": key, "value": value})
        })
        .collect();
    let mut span = json!({
        "traceId": TRACE, "spanId": format!("{id:016x}"), "name": name, "kind": 1,
        "startTimeUnixNano": nanos(seconds.0), "endTimeUnixNano": nanos(seconds.1), "attributes": attributes,
    });
    if let Some(parent) = parent {
        span["parentSpanId"] = json!(format!("{parent:016x}"));
    }
    span
}

fn export(scope: &str, spans: Vec<Value>) -> Delivery {
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "harbor-voice"}}]},
        "scopeSpans": [{"scope": {"name": scope}, "spans": spans}],
    }]});
    ("/v1/traces", body)
}

/// One exchange as Pipecat exports it: services first, which name only their trace; then what names the
/// conversation; last the whole, which names the call.
fn services() -> Delivery {
    export(
        "pipecat",
        vec![
            span(
                3,
                Some(2),
                "stt",
                (1.0, 2.4),
                &[
                    ("transcript", json!("Are you open?")),
                    ("metrics.ttfb", json!(0.3)),
                ],
            ),
            span(
                4,
                Some(2),
                "llm",
                (2.5, 3.0),
                &[
                    ("output", json!("Yes.")),
                    ("metrics.ttfb", json!(0.25)),
                    ("gen_ai.request.model", json!("gpt-4o-mini")),
                ],
            ),
            span(
                5,
                Some(2),
                "tts",
                (2.8, 3.6),
                &[("text", json!("Yes.")), ("metrics.ttfb", json!(0.12))],
            ),
        ],
    )
}

fn turn() -> Delivery {
    export(
        "pipecat.turn",
        vec![span(
            2,
            Some(1),
            "turn",
            (0.5, 6.0),
            &[
                ("conversation.id", json!(CONVERSATION)),
                ("turn.number", json!(1)),
                ("turn.was_interrupted", json!(false)),
                ("turn.user_bot_latency_seconds", json!(0.82)),
            ],
        )],
    )
}

fn root() -> Delivery {
    export(
        "pipecat.turn",
        vec![span(
            1,
            None,
            "conversation",
            (0.0, 7.0),
            &[
                ("conversation.id", json!(CONVERSATION)),
                ("telephony.call_sid", json!(SID)),
                ("agent.name", json!("harbor")),
            ],
        )],
    )
}

/// What the application itself says, under a name of its own.
fn native() -> Delivery {
    let event = json!({"type": "session", "id": "e1", "at": "2025-06-11T10:00:09Z", "sessionId": "mine",
        "callSid": SID, "campaign": "spring", "status": "completed", "startedAt": "2025-06-11T10:00:00Z"});
    ("/v1/ingest/events", json!({"events": [event]}))
}

fn orders<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    (0..items.len())
        .flat_map(|first| {
            let mut rest = items.to_vec();
            let item = rest.remove(first);
            orders(&rest).into_iter().map(move |mut order| {
                order.insert(0, item.clone());
                order
            })
        })
        .collect()
}

async fn deliver(ingestor: &Client, (path, body): &Delivery) {
    ingestor.post(path, body).await.status(200);
}

/// The session under this name, without the ids that follow from the tenant.
async fn session(reader: &Client, name: &str) -> (String, Value) {
    let mut body = reader
        .get(&format!("/v1/observability/sessions/{name}"))
        .await
        .status(200)
        .json();
    let id = body["id"].take().as_str().expect("an id").to_owned();
    (id, body)
}

async fn told_in(server: &TestServer, number: usize, order: &[Delivery]) -> (Value, usize) {
    let acme: Tenant<'_> = server.tenant(&format!("acme-{number}")).await;
    let (ingestor, reader) = (acme.ingestor().await, acme.transcripts().await);
    for delivery in order {
        deliver(&ingestor, delivery).await;
    }
    let (id, body) = session(&reader, SID).await;
    for name in [CONVERSATION, TRACE, &id] {
        assert_eq!(
            session(&reader, name).await,
            (id.clone(), body.clone()),
            "{name}"
        );
    }
    let list = reader
        .get("/v1/observability/sessions")
        .await
        .status(200)
        .json();
    let count = list["data"].as_array().map_or(0, Vec::len);
    (body, count)
}

#[tokio::test]
async fn whatever_comes_first_one_call_is_one_session() {
    let server = TestServer::start().await;
    let mut first: Option<Value> = None;
    let all = [services(), turn(), root(), native()];
    for (number, order) in orders(&all).into_iter().enumerate() {
        let paths: Vec<&Value> = order.iter().map(|(_, body)| body).collect();
        let (body, count) = told_in(&server, number, &order).await;
        assert_eq!(count, 1, "{paths:?}");
        assert_eq!(body["turns"].as_array().map(Vec::len), Some(2), "{body}");
        assert_eq!(body["turns"][1]["latencyMs"], 820.0, "{body}");
        assert_eq!(body["agentId"], "harbor", "{body}");
        let first = first.get_or_insert_with(|| body.clone());
        assert_eq!(&body, first, "{paths:?}");
    }
    assert_eq!(rows_without_a_session(&server).await, 0);
}

/// Rows of the tables that have no foreign key to their session.
async fn rows_without_a_session(server: &TestServer) -> i64 {
    let mut connection = server.connect().await;
    let question = "
        select count(*)
          from (select tenant_id, session_id from facts
                 union all
                select tenant_id, session_id from turns
                 union all
                select tenant_id, session_id from spans) r
         where not exists (select from sessions s where s.tenant_id = r.tenant_id and s.id = r.session_id)";
    let count = sqlx::query_scalar(question).fetch_one(&mut connection);
    count.await.expect("a number")
}

#[tokio::test]
async fn what_hangs_on_a_session_moves_with_it() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.transcripts().await);
    deliver(&ingestor, &services()).await;
    let (unnamed, _) = session(&reader, TRACE).await;
    let reviewer = acme
        .client("sessions:read,transcripts:read,reviews:write")
        .await;
    let path = format!("/api/v1/voice-sessions/{unnamed}");
    let edit = json!({"summary": "Opening hours.", "tags": ["hours"]});
    reviewer.patch(&path, &edit).await.status(200);
    let evaluation = json!({"verdict": "pass", "notes": "good"});
    let evaluations = format!("{path}/evaluations");
    reviewer.post(&evaluations, &evaluation).await.status(201);
    let audio = std::fs::read("tests/fixtures/recordings/silence-2s.opus").expect("audio");
    let recording = format!("/v1/recordings/{unnamed}");
    let sent = audio.clone();
    let kept = ingestor
        .send(Method::PUT, &recording, |request| request.body(sent))
        .await;
    assert!(kept.status < 300, "{}", kept.text());
    deliver(&ingestor, &turn()).await;
    deliver(&ingestor, &root()).await;
    deliver(&ingestor, &native()).await;
    let (named, _) = session(&reader, "mine").await;
    assert_ne!(named, unnamed);
    // By the old id as by the new one.
    for id in [&unnamed, &named] {
        let one = reader.get(&format!("/api/v1/voice-sessions/{id}")).await;
        let one = one.status(200).json();
        assert_eq!(one["summary"], "Opening hours.", "{one}");
        assert_eq!(one["tags"], json!(["hours"]), "{one}");
        assert_eq!(one["evaluations"][0]["notes"], "good", "{one}");
        let played = reader.get(&format!("/v1/recordings/{id}/audio")).await;
        assert_eq!(played.status(200).body, audio);
    }
    let tagged = reader
        .get("/api/v1/voice-sessions?tag=hours")
        .await
        .status(200);
    assert_eq!(tagged.json()["total"], 1);
}

#[tokio::test]
async fn what_becomes_part_of_another_while_it_is_deleted_is_deleted_there() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, admin) = (acme.ingestor().await, acme.client("admin").await);
    let reader = acme.transcripts().await;
    deliver(&ingestor, &turn()).await;
    let (part, _) = session(&reader, CONVERSATION).await;
    deliver(&ingestor, &native()).await;
    // The part is being taken up into the other, and whoever deletes it has to wait for that.
    let mut connection = server.connect().await;
    let run = [
        "begin",
        "select id from sessions where external_id = 'conv-17' for update",
    ];
    for statement in run {
        sqlx::query(statement)
            .execute(&mut connection)
            .await
            .expect("a lock");
    }
    let path = format!("/api/v1/sessions/{part}");
    let deleted = admin.delete(&path);
    let taken_up = async {
        server.until_somebody_waits().await;
        for statement in [
            "update session_aliases a set session_id = (select id from sessions where external_id = 'mine')
              where session_id = (select id from sessions where external_id = 'conv-17')",
            "insert into session_aliases (tenant_id, kind, value, session_id)
             select p.tenant_id, 0, p.id::text, m.id from sessions p, sessions m
              where p.external_id = 'conv-17' and m.external_id = 'mine'",
            "delete from sessions where external_id = 'conv-17'",
            "commit",
        ] {
            sqlx::query(statement)
                .execute(&mut connection)
                .await
                .expect("a merger");
        }
    };
    let (deleted, ()) = tokio::join!(deleted, taken_up);
    deleted.status(204);
    let list = reader.get("/v1/observability/sessions").await.status(200);
    assert_eq!(list.json()["data"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn sessions_that_are_named_apart_stay_apart() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.reader().await);
    let leg = |name: &str| {
        json!({"type": "session", "id": name, "at": "2025-06-11T10:00:09Z", "sessionId": name, "callSid": SID,
            "startedAt": "2025-06-11T10:00:00Z"})
    };
    let events = json!({"events": [leg("one"), leg("two")]});
    deliver(&ingestor, &("/v1/ingest/events", events)).await;
    deliver(&ingestor, &root()).await;
    let list = reader.get("/v1/observability/sessions").await.status(200);
    assert_eq!(list.json()["data"].as_array().map(Vec::len), Some(2));
}

/// What Langfuse's ingestion API is told of the trace, under a conversation that the spans do not name.
async fn deliver_langfuse(ingestor: &Client, id: &str, conversation: &str) {
    let event = json!({"id": id, "type": "trace-create", "timestamp": "2025-06-11T10:00:08Z", "body": {
        "id": TRACE, "timestamp": "2025-06-11T10:00:00Z", "sessionId": conversation, "userId": "caller-7",
        "tags": ["spring"]}});
    let body = json!({"batch": [event]});
    let answer = ingestor.post("/api/public/ingestion", &body).await;
    answer.status(207);
}

#[tokio::test]
async fn a_trace_joins_what_names_it_before_its_spans_and_after() {
    let server = TestServer::start().await;
    let mut first: Option<Value> = None;
    for (number, order) in orders(&["services", "turn", "langfuse"]).iter().enumerate() {
        let acme = server.tenant(&format!("acme-{number}")).await;
        let (ingestor, reader) = (acme.ingestor().await, acme.transcripts().await);
        for door in order {
            match *door {
                "services" => deliver(&ingestor, &services()).await,
                "turn" => deliver(&ingestor, &turn()).await,
                _ => deliver_langfuse(&ingestor, "e1", "application-9").await,
            }
        }
        let (id, mut body) = session(&reader, TRACE).await;
        // Two names of one kind: whose id is smaller, which follows from the tenant's.
        let name = body["externalId"].take();
        let names = [CONVERSATION, "application-9"];
        assert!(names.iter().any(|known| name == **known), "{name}");
        for name in names {
            assert_eq!(session(&reader, name).await.0, id, "{name} in {order:?}");
        }
        let list = reader.get("/v1/observability/sessions").await.status(200);
        let count = list.json()["data"].as_array().map(Vec::len);
        assert_eq!(count, Some(1), "{order:?}");
        assert_eq!(body["turns"][1]["latencyMs"], 820.0, "{body}");
        let first = first.get_or_insert_with(|| body.clone());
        assert_eq!(&body, first, "{order:?}");
    }
}

#[tokio::test]
async fn conversations_that_have_a_trace_without_spans_in_common_stay_apart() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.reader().await);
    deliver_langfuse(&ingestor, "e1", "application-8").await;
    deliver_langfuse(&ingestor, "e2", "application-9").await;
    let list = reader.get("/v1/observability/sessions").await.status(200);
    assert_eq!(list.json()["data"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_neighbours_names_lead_nowhere() {
    let server = TestServer::start().await;
    let (acme, other) = (server.tenant("acme").await, server.tenant("other").await);
    for delivery in [services(), turn(), root()] {
        deliver(&acme.ingestor().await, &delivery).await;
    }
    let reader = other.transcripts().await;
    for name in [SID, CONVERSATION, TRACE] {
        let answer = reader
            .get(&format!("/v1/observability/sessions/{name}"))
            .await;
        answer.problem(404, "not-found");
    }
}

#[tokio::test]
async fn doors_that_learn_of_a_call_at_once_make_one_session() {
    let server = TestServer::start().await;
    let acme = server.tenant("acme").await;
    let (ingestor, reader) = (acme.ingestor().await, acme.reader().await);
    for n in 0..20 {
        let sid = format!("CA{n:032x}");
        let (path, mut spans) = export(
            "app",
            vec![span(
                n + 1,
                None,
                "call",
                (0.0, 1.0),
                &[("telephony.call_sid", json!(sid)), ("nothing", json!(true))],
            )],
        );
        let span = &mut spans["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        span["traceId"] = json!(format!("{:032x}", n + 1));
        // An empty list, as the canonical JSON of protobuf has it.
        span["attributes"][1]["value"] = json!({"arrayValue": {}});
        let event = json!({"type": "session", "id": "e", "at": "2025-06-11T10:00:09Z",
            "sessionId": format!("native-{n}"), "callSid": sid});
        let events = json!({"events": [event]});
        let (told, traced) = tokio::join!(
            ingestor.post("/v1/ingest/events", &events),
            ingestor.post(path, &spans),
        );
        told.status(200);
        assert_eq!(traced.status(200).json(), json!({}));
        let list = reader
            .get(&format!("/api/v1/voice-sessions?call_sid={sid}"))
            .await
            .status(200);
        assert_eq!(list.json()["total"], 1, "{}", list.text());
    }
    let all = reader.get("/api/v1/voice-sessions").await.status(200);
    assert_eq!(all.json()["total"], 20);
}
