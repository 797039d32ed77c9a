//! A call that a carrier tells of, and an agent that joined it: who knows when it began, was answered and ended.

use serde_json::{Value, json};

use super::{House, SECRET, SID, callback, deliver, endpoint};
use crate::support::Client;

const BASE: &str = "https://voxray.example.org";
const VAPI_CALL: &str = "7b0f5a34-1f6e-4c7f-9d5c-2f9f2f0d3a11";
/// 10:00:00, when it rings.
const START_S: i64 = 1_749_636_000;

/// What is sent by whom.
#[derive(Clone, Debug)]
enum Told {
    Callback(Vec<(&'static str, &'static str)>),
    Spans(Value),
    Vapi(Value),
}

/// It rings at 10:00:00, is answered 5 s later and over 61 s after that.
fn carrier() -> Vec<Told> {
    let of = |status, sequence, time, more: &[(&'static str, &'static str)]| {
        let told = [
            ("CallSid", SID),
            ("Direction", "inbound"),
            ("From", "+15005550006"),
            ("To", "+15005550007"),
            ("CallStatus", status),
            ("SequenceNumber", sequence),
            ("Timestamp", time),
        ];
        Told::Callback([&told, more].concat())
    };
    vec![
        of("ringing", "1", "Wed, 11 Jun 2025 10:00:00 +0000", &[]),
        of("in-progress", "2", "Wed, 11 Jun 2025 10:00:05 +0000", &[]),
        of(
            "completed",
            "3",
            "Wed, 11 Jun 2025 10:01:06 +0000",
            &[("CallDuration", "61")],
        ),
    ]
}

/// The agent's spans: it joins at 9 s and asks what is answered from 11 to 12 s.
fn spans() -> Told {
    let span = |id: u64, name: &str, (from, to): (i64, i64), more: &[(&str, &str)]| {
        let nanos = |second: i64| ((START_S + second) * 1_000_000_000).to_string();
        let attributes = more
            .iter()
            .map(|(key, value)| json!({"key": key, "value": {"stringValue": value}}));
        json!({
            "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": format!("{id:016x}"),
            "parentSpanId": if id > 1 { format!("{:016x}", id - 1) } else { String::new() },
            "name": name, "kind": 1, "startTimeUnixNano": nanos(from), "endTimeUnixNano": nanos(to),
            "attributes": attributes.collect::<Vec<_>>(),
        })
    };
    let spans = [
        span(1, "conversation", (9, 66), &[("telephony.call_sid", SID)]),
        span(2, "turn", (9, 14), &[("turn.number", "1")]),
        span(3, "tts", (11, 12), &[("text", "Good morning.")]),
    ];
    let scoped = json!({"scope": {"name": "pipecat.turn"}, "spans": spans});
    Told::Spans(json!({"resourceSpans": [{"scopeSpans": [scoped]}]}))
}

fn vapi() -> Told {
    Told::Vapi(json!({ "message": {
        "type": "end-of-call-report", "timestamp": (START_S + 70) * 1000, "endedReason": "customer-ended-call",
        "startedAt": "2025-06-11T10:00:08Z", "endedAt": "2025-06-11T10:01:06Z",
        "call": {"id": VAPI_CALL, "type": "outboundPhoneCall", "phoneCallProviderId": SID},
        "artifact": {"messages": [
            {"role": "bot", "message": "Hello", "time": 1000, "endTime": 2000, "secondsFromStart": 1.5}]},
    }}))
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

/// What is shown of the call once all of it has come, in this order, without the ids that follow from the tenant.
async fn seen(house: &House, number: usize, order: &[Told]) -> Value {
    let acme = house.server.tenant(&format!("acme-{number}")).await;
    let manager = acme
        .client("sessions:read,transcripts:read,ingest:write,admin")
        .await;
    let twilio = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
    let vapi = endpoint(&manager, "vapi", json!({})).await;
    let vendor = house.vendor();
    for told in order {
        tell(&manager, &vendor, (&twilio, &vapi), told).await;
    }
    let listed = manager
        .get("/v1/observability/sessions")
        .await
        .status(200)
        .json();
    assert_eq!(
        listed["data"].as_array().map(Vec::len),
        Some(1),
        "{order:?}"
    );
    let path = format!("/v1/observability/calls/{SID}");
    let mut shown = manager.get(&path).await.status(200).json();
    shown["id"].take();
    shown["sessionId"].take();
    shown
}

async fn tell(manager: &Client, vendor: &Client, (twilio, vapi): (&str, &str), told: &Told) {
    match told {
        Told::Callback(params) => {
            let url = format!("{BASE}{twilio}");
            let answer = callback(vendor, twilio, &url, params).await;
            answer.status(204);
        }
        Told::Spans(body) => drop(manager.post("/v1/traces", body).await.status(200)),
        Told::Vapi(body) => {
            let secret = ("x-vapi-secret", SECRET);
            let answer = deliver(vendor, vapi, secret, &body.to_string()).await;
            answer.status(200);
        }
    }
}

/// Start, answer, end, length and the place of the first turn, the same in every order.
async fn times(told: &[Told]) -> Vec<Value> {
    let house = House::open().await;
    let mut first: Option<Value> = None;
    for (number, order) in orders(told).into_iter().enumerate() {
        let shown = seen(&house, number, &order).await;
        let first = first.get_or_insert_with(|| shown.clone());
        assert_eq!(&shown, first, "{order:?}");
    }
    let first = first.expect("an order");
    ["startedAt", "answeredAt", "endedAt"]
        .iter()
        .map(|name| first[*name].clone())
        .chain([first["metrics"]["totalDurationMs"].clone()])
        .chain([first["turns"][0]["startMs"].clone()])
        .collect()
}

#[tokio::test]
async fn the_carrier_s_start_and_answer_survive_an_agent_that_joins_later() {
    let expected = |turn_start_ms: i64| {
        vec![
            json!("2025-06-11T10:00:00Z"),
            json!("2025-06-11T10:00:05Z"),
            json!("2025-06-11T10:01:06Z"),
            json!(66_000),
            json!(turn_start_ms),
        ]
    };
    let [ringing, answered, completed] = carrier().try_into().expect("three");
    let four = [ringing, answered, completed, spans()];
    assert_eq!(times(&four).await, expected(11_000));
    let [ringing, answered, completed, _] = four;
    let four = [ringing, answered, completed, vapi()];
    assert_eq!(times(&four).await, expected(9_500));
    let [_, answered, completed, report] = four;
    // Without the ringing the answer is the first that is known of it.
    let mut later = expected(6_000);
    (later[0], later[3]) = (json!("2025-06-11T10:00:05Z"), json!(61_000));
    assert_eq!(times(&[answered, completed, report, spans()]).await, later);
}

#[tokio::test]
async fn what_a_call_costs_follows_from_the_carrier_s_answer() {
    let house = House::open().await;
    let told: Vec<Told> = carrier().into_iter().chain([spans()]).collect();
    for told in [carrier(), told] {
        let acme = house.server.tenant(&format!("acme-{}", told.len())).await;
        let manager = acme
            .client("sessions:read,transcripts:read,ingest:write,admin")
            .await;
        let twilio = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
        for told in &told {
            tell(&manager, &house.vendor(), (&twilio, ""), told).await;
        }
        let path = format!("/api/v1/conversations/{SID}");
        let call = manager.get(&path).await.status(200).json();
        assert_eq!(call["duration_seconds"], 61.0, "{call}");
        // Two minutes were begun.
        assert_eq!(call["cost_usd"], 0.017, "{call}");
    }
}

/// A span of a tracer that gives its conversation this name, under this attribute.
fn named(attribute: &str, name: &str) -> Value {
    let nanos = |second: i64| ((START_S + second) * 1_000_000_000).to_string();
    json!({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "own"}, "spans": [{
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "00f067aa0ba902b7", "name": "turn", "kind": 1,
        "startTimeUnixNano": nanos(9), "endTimeUnixNano": nanos(12), "attributes": [
            {"key": attribute, "value": {"stringValue": name}},
            {"key": "input.value", "value": {"stringValue": "Hello"}},
        ],
    }]}]}]})
}

#[tokio::test]
async fn a_conversation_that_is_called_by_its_carrier_s_id_is_that_call() {
    let house = House::open().await;
    let langfuse = json!({"batch": [{"id": "e1", "type": "trace-create", "timestamp": "2025-06-11T10:00:09Z",
        "body": {"id": "t1", "sessionId": SID, "input": "Hello", "timestamp": "2025-06-11T10:00:09Z"}}]});
    let spans = |name| ("/v1/traces", 200, named(name, SID));
    let tracers = [
        spans("session.id"),
        spans("conversation.id"),
        spans("gen_ai.conversation.id"),
        ("/api/public/ingestion", 207, langfuse),
    ];
    for (number, (path, status, body)) in tracers.iter().enumerate() {
        for is_first in [true, false] {
            let acme = house.server.tenant(&format!("{number}-{is_first}")).await;
            let manager = acme
                .client("sessions:read,transcripts:read,ingest:write,admin")
                .await;
            let twilio = endpoint(&manager, "twilio", json!({ "public_url": BASE })).await;
            if is_first {
                manager.post(path, body).await.status(*status);
            }
            for told in carrier() {
                tell(&manager, &house.vendor(), (&twilio, ""), &told).await;
            }
            if !is_first {
                manager.post(path, body).await.status(*status);
            }
            let listed = manager.get("/v1/observability/sessions").await.status(200);
            let listed = listed.json();
            assert_eq!(
                listed["data"].as_array().map(Vec::len),
                Some(1),
                "{path} {listed}"
            );
        }
    }
}

#[tokio::test]
async fn a_word_that_is_a_path_names_no_conversation() {
    let house = House::open().await;
    for (number, word) in ["export", "interruption-quality", "root-cause"]
        .into_iter()
        .enumerate()
    {
        let acme = house.server.tenant(&format!("acme-{number}")).await;
        let client = acme.client("sessions:read,ingest:write").await;
        let body = named("session.id", word);
        client.post("/v1/traces", &body).await.status(200);
        let path = "/v1/observability/sessions/4bf92f3577b34da6a3ce929d0e0e4736";
        let told = client.get(path).await.status(200).json();
        assert_eq!(told["externalIds"], Value::Null, "{told}");
    }
}

#[tokio::test]
async fn moments_are_whole_milliseconds() {
    let house = House::open().await;
    let acme = house.server.tenant("acme").await;
    let client = acme
        .client("sessions:read,transcripts:read,ingest:write")
        .await;
    let call = json!({
        "session": {"sessionId": "one", "startedAt": "2025-06-11T10:00:00Z", "endedAt": "2025-06-11T10:01:00Z"},
        "turns": [{"speaker": "agent", "text": "Hello", "startMs": 0, "endMs": 900}],
        "errors": [{"message": "away", "atMs": 2080.808}],
        "interruptions": [{"turn": 0, "atMs": 400, "audioStoppedMs": 3435.877}],
    });
    client.post("/v1/ingest/calls", &call).await.status(200);
    let told = client.get("/v1/observability/sessions/one").await;
    let told = told.status(200).json();
    assert_eq!(told["errors"][0]["atMs"].to_string(), "2081");
    let stopped = &told["interruptions"][0]["audioStoppedMs"];
    assert_eq!(stopped.to_string(), "3436");
}
