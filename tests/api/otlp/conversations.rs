//! A trace may tell of several conversations. Whose a span is follows from all spans that have come, so that
//! order, split and repetition do not matter.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::{Value, json};

use crate::support::{Client, TestServer};

use super::{TRACES, capture, expected, list, server, single_spans, told};

/// A span of one trace: `attributes` are texts, numbers or flags.
pub(super) fn span(
    trace: u8,
    id: u8,
    parent: u8,
    name: &str,
    seconds: (f64, f64),
    attributes: &Value,
) -> Value {
    let nanos = |second: f64| (1_749_636_000_000_000_000 + (second * 1e9) as i64).to_string();
    let attributes = attributes.as_object().into_iter().flatten();
    let attributes: Vec<Value> = attributes
        .map(|(key, value)| match value {
            Value::String(_) => json!({"key": key, "value": {"stringValue": value}}),
            Value::Bool(_) => json!({"key": key, "value": {"boolValue": value}}),
            _ => json!({"key": key, "value": {"doubleValue": value}}),
        })
        .collect();
    let mut span = json!({
        "traceId": format!("{trace:032x}"), "spanId": format!("{id:016x}"), "name": name,
        "startTimeUnixNano": nanos(seconds.0), "endTimeUnixNano": nanos(seconds.1), "attributes": attributes,
    });
    if parent > 0 {
        span["parentSpanId"] = json!(format!("{parent:016x}"));
    }
    span
}

pub(super) fn request(spans: &[Value]) -> Value {
    json!({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "pipecat"}, "spans": spans}]}]})
}

fn sid(number: u8) -> String {
    format!("CA{number:032x}")
}

/// One exchange as Pipecat traces it; only the turn may name its conversation.
fn exchange(trace: u8, id: u8, parent: u8, start: f64, names: &Value, words: &str) -> Vec<Value> {
    let mut turn = json!({"turn.number": f64::from(id), "turn.was_interrupted": false,
        "turn.user_bot_latency_seconds": 0.8});
    for (name, value) in names.as_object().into_iter().flatten() {
        turn[name] = value.clone();
    }
    let stt = json!({"transcript": format!("{words}?"), "metrics.ttfb": 0.3});
    let llm = json!({"output": format!("{words}."), "metrics.ttfb": 0.25, "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 100.0, "gen_ai.usage.output_tokens": 20.0});
    let tts =
        json!({"text": format!("{words}."), "metrics.ttfb": 0.12, "metrics.character_count": 30.0});
    vec![
        span(trace, id, parent, "turn", (start, start + 5.0), &turn),
        span(trace, id + 1, id, "stt", (start + 0.5, start + 1.4), &stt),
        span(trace, id + 2, id, "llm", (start + 1.5, start + 2.0), &llm),
        span(trace, id + 3, id, "tts", (start + 1.8, start + 2.6), &tts),
    ]
}

/// A worker with one trace for all its calls: only turns say whose they are, and not all of them.
fn worker() -> Vec<Value> {
    let mut spans = vec![span(
        1,
        1,
        0,
        "worker",
        (0.0, 100.0),
        &json!({"session.id": "worker-7"}),
    )];
    for (place, name) in ["one", "two", "three"].into_iter().enumerate() {
        let place = place as u8;
        let (root, start) = (10 + 40 * place, 10.0 * f64::from(place));
        let names = json!({"conversation.id": name});
        spans.push(span(
            1,
            root,
            1,
            "conversation",
            (start, start + 20.0),
            &names,
        ));
        spans.extend(exchange(1, root + 5, root, start + 1.0, &names, name));
        spans.extend(exchange(
            1,
            root + 15,
            root,
            start + 7.0,
            &json!({}),
            "And then",
        ));
    }
    spans
}

/// Two calls, each of which is named in two ways; of one the root never comes. A second trace is of one of them.
fn calls() -> Vec<Value> {
    let mut spans = Vec::new();
    let first = json!({"conversation.id": "one", "telephony.call_sid": sid(1)});
    let second = json!({"conversation.id": "two", "telephony.call_sid": sid(2)});
    spans.push(span(1, 10, 0, "conversation", (1.0, 20.0), &first));
    spans.extend(exchange(
        1,
        15,
        10,
        2.0,
        &json!({"conversation.id": "one"}),
        "First",
    ));
    spans.extend(exchange(1, 25, 10, 9.0, &json!({}), "Second"));
    spans.push(span(1, 50, 0, "conversation", (30.0, 50.0), &second));
    spans.extend(exchange(
        1,
        55,
        50,
        31.0,
        &json!({"telephony.call_sid": sid(2)}),
        "Third",
    ));
    spans.extend(exchange(
        1,
        95,
        90,
        70.0,
        &json!({"conversation.id": "three"}),
        "Fourth",
    ));
    spans.extend(exchange(
        2,
        15,
        0,
        12.0,
        &json!({"conversation.id": "one"}),
        "Fifth",
    ));
    spans
}

/// Names that only their trace has in common, until it turns out to tell of two conversations.
fn loose() -> Vec<Value> {
    let mut spans = exchange(
        1,
        10,
        0,
        1.0,
        &json!({"telephony.call_sid": sid(1)}),
        "First",
    );
    spans.extend(exchange(
        1,
        20,
        0,
        8.0,
        &json!({"conversation.id": "one"}),
        "Second",
    ));
    spans.extend(exchange(
        1,
        30,
        0,
        16.0,
        &json!({"conversation.id": "two"}),
        "Third",
    ));
    spans.extend(exchange(1, 40, 0, 24.0, &json!({}), "Fourth"));
    spans.extend(exchange(
        2,
        10,
        0,
        32.0,
        &json!({"conversation.id": "two"}),
        "Fifth",
    ));
    spans
}

/// All that readers see of all sessions, without ids that differ from tenant to tenant.
async fn seen(reader: &Client) -> Vec<Value> {
    let listed = reader
        .get("/v1/observability/sessions?limit=100")
        .await
        .status(200)
        .json();
    let mut all = Vec::new();
    for item in list(&listed["data"]) {
        let id = item["id"].as_str().expect("an id").to_owned();
        let detail = reader
            .get(&format!("/v1/observability/sessions/{id}"))
            .await
            .status(200)
            .json();
        let traces = reader
            .get(&format!("/v1/traces/session/{id}"))
            .await
            .status(200)
            .json();
        let mut spans = Vec::new();
        for trace in list(&traces["traces"]) {
            let trace = trace["traceId"].as_str().expect("an id");
            let path = format!("/v1/traces/session/{id}/{trace}");
            spans.push(reader.get(&path).await.status(200).json());
        }
        let uuid = uuid::Uuid::parse_str(id.trim_start_matches("sess_"))
            .expect("a UUID")
            .to_string();
        let told = json!({"detail": detail, "traces": traces, "spans": spans}).to_string();
        let told = told.replace(&id, "ID").replace(&uuid, "ID");
        all.push(serde_json::from_str::<Value>(&told).expect("JSON"));
    }
    all.sort_by_key(|told| told["detail"]["externalId"].to_string());
    all
}

/// The spans of a capture, in exports of many shapes.
fn deliveries(spans: &[Value]) -> Vec<(String, Vec<Vec<Value>>)> {
    let single = |spans: Vec<Value>| spans.into_iter().map(|span| vec![span]).collect::<Vec<_>>();
    let reversed: Vec<Value> = spans.iter().rev().cloned().collect();
    let doubled = [spans.to_vec(), reversed.clone()].concat();
    let mut all = vec![
        ("one by one".to_owned(), single(spans.to_vec())),
        ("children first".to_owned(), single(reversed.clone())),
        ("reversed".to_owned(), vec![reversed]),
        ("doubled".to_owned(), vec![doubled, spans.to_vec()]),
    ];
    for seed in 0..10 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut spans = [spans, &spans[..spans.len() / 3]].concat();
        spans.shuffle(&mut random);
        let mut parts = Vec::new();
        while !spans.is_empty() {
            let size = *[1, 1, 2, 3, 5, 9].choose(&mut random).expect("a size");
            parts.push(spans.split_off(spans.len().saturating_sub(size)));
        }
        all.push((format!("shuffled by {seed}"), parts));
    }
    all
}

async fn told_alike(spans: &[Value], names: &[&str]) -> Vec<Value> {
    let server = TestServer::start().await;
    let acme = server.tenant("whole").await;
    acme.ingestor()
        .await
        .post(TRACES, &request(spans))
        .await
        .status(200);
    let whole = seen(&acme.transcripts().await).await;
    let told: Vec<&str> = whole
        .iter()
        .filter_map(|told| told["detail"]["externalId"].as_str())
        .collect();
    assert_eq!(told, names);
    for (place, (how, parts)) in deliveries(spans).into_iter().enumerate() {
        let tenant = server.tenant(&format!("tenant-{place}")).await;
        let ingestor = tenant.ingestor().await;
        for part in parts {
            let answer = ingestor.post(TRACES, &request(&part)).await.status(200);
            assert_eq!(answer.json(), json!({}));
        }
        let reader = tenant.transcripts().await;
        let told = seen(&reader).await;
        assert_eq!(told.len(), whole.len(), "{how}: {}", json!(told));
        for (one, other) in told.iter().zip(&whole) {
            let differences = differences(one, other);
            assert!(differences.is_empty(), "{how}: {differences:#?}");
        }
        // The trace itself means the conversation that it began with.
        let trace = format!("/v1/observability/sessions/{:032x}", 1);
        let first = reader.get(&trace).await.status(200).json();
        let starts = whole.iter().map(|told| &told["detail"]["startedAt"]);
        let earliest = starts.filter_map(Value::as_str).min();
        assert_eq!(first["startedAt"].as_str(), earliest, "{how}");
    }
    whole
}

/// Where two answers differ.
fn differences(one: &Value, other: &Value) -> Vec<String> {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => a
            .iter()
            .flat_map(|(name, value)| {
                let inner = differences(value, &b[name]).into_iter();
                inner.map(move |place| format!("{name}.{place}"))
            })
            .collect(),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .flat_map(|(place, (a, b))| {
                let inner = differences(a, b).into_iter();
                inner.map(move |inner| format!("{place}.{inner}"))
            })
            .collect(),
        _ if one == other => Vec::new(),
        _ => vec![format!(": {one} and {other}")],
    }
}

fn texts(told: &Value) -> Vec<String> {
    let turns = list(&told["detail"]["turns"]).into_iter();
    turns
        .map(|turn| turn["text"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn conversations_of_a_worker_s_trace_come_apart_in_any_order() {
    let told = told_alike(&worker(), &["one", "three", "two"]).await;
    for told in &told {
        let name = told["detail"]["externalId"].as_str().expect("a name");
        let said = [
            format!("{name}?"),
            format!("{name}."),
            "And then?".to_owned(),
            "And then.".to_owned(),
        ];
        assert_eq!(texts(told), said);
        assert_eq!(
            told["detail"]["usage"]["totalTokens"], 240,
            "{}",
            told["detail"]
        );
    }
}

#[tokio::test]
async fn conversations_with_several_names_come_apart_in_any_order() {
    let told = told_alike(&calls(), &[&sid(1), &sid(2), "three"]).await;
    assert_eq!(
        texts(&told[0]),
        ["First?", "First.", "Second?", "Second.", "Fifth?", "Fifth."]
    );
    assert_eq!(list(&told[0]["traces"]["traces"]).len(), 2);
    assert_eq!(texts(&told[1]), ["Third?", "Third."]);
    assert_eq!(texts(&told[2]), ["Fourth?", "Fourth."]);
}

#[tokio::test]
async fn names_that_had_only_a_trace_in_common_come_apart_in_any_order() {
    let told = told_alike(&loose(), &["one", "two"]).await;
    assert_eq!(
        texts(&told[0]),
        [
            "First?", "First.", "Second?", "Second.", "Fourth?", "Fourth."
        ]
    );
    assert_eq!(texts(&told[1]), ["Third?", "Third.", "Fifth?", "Fifth."]);
}

/// What two captures hold, as if one worker had traced both calls in one trace.
fn captured(names: [&str; 2]) -> Vec<Value> {
    let mut all = Vec::new();
    for name in names {
        for mut one in single_spans(&capture(name)) {
            one["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] =
                json!(format!("{:032x}", 1));
            all.push(one["resourceSpans"][0].take());
        }
    }
    all
}

#[tokio::test]
async fn captures_in_one_trace_come_apart_in_any_order() {
    let server = server().await;
    for (number, names) in [
        ["pipecat-basic", "pipecat-errors"],
        ["pipecat-slow", "pipecat-bargein"],
    ]
    .into_iter()
    .enumerate()
    {
        let spans = captured(names);
        let mut orders = vec![vec![spans.clone()]];
        let single = |spans: &[Value]| spans.iter().map(|span| vec![span.clone()]).collect();
        orders.push(single(&spans));
        orders.push(single(&spans.iter().rev().cloned().collect::<Vec<_>>()));
        for seed in 0..3 {
            let mut shuffled = [&spans[..], &spans[..spans.len() / 4]].concat();
            shuffled.shuffle(&mut StdRng::seed_from_u64(seed));
            orders.push(shuffled.chunks(7).map(<[Value]>::to_vec).collect());
        }
        let mut first = None;
        for (place, order) in orders.into_iter().enumerate() {
            let tenant = server.tenant(&format!("tenant-{number}-{place}")).await;
            let ingestor = tenant.ingestor().await;
            for part in order {
                let answer = ingestor
                    .post(TRACES, &json!({"resourceSpans": part}))
                    .await
                    .status(200);
                assert_eq!(answer.json(), json!({}));
            }
            let reader = tenant.transcripts().await;
            let seen = seen(&reader).await;
            for name in names {
                let truth = &expected(name)["sessions"][0];
                let id = truth["externalId"].as_str().expect("a name");
                let path = format!("/v1/observability/sessions/{id}");
                told(&reader.get(&path).await.status(200).json(), truth, name);
            }
            let first = first.get_or_insert_with(|| seen.clone());
            assert_eq!(seen.len(), 2, "{names:?} {place}");
            for (one, other) in seen.iter().zip(first.iter()) {
                let differences = differences(one, other);
                assert!(
                    differences.is_empty(),
                    "{names:?} {place}: {differences:#?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn conversations_come_apart_when_all_spans_come_at_once() {
    let server = TestServer::start().await;
    for (number, spans) in [worker(), calls(), loose()].into_iter().enumerate() {
        let whole = server.tenant(&format!("whole-{number}")).await;
        let ingestor = whole.ingestor().await;
        ingestor.post(TRACES, &request(&spans)).await.status(200);
        let whole = seen(&whole.transcripts().await).await;
        let tenant = server.tenant(&format!("tenant-{number}")).await;
        let ingestor = tenant.ingestor().await;
        let mut shuffled = spans;
        shuffled.shuffle(&mut StdRng::seed_from_u64(number as u64));
        let deliveries = shuffled.iter().map(|span| {
            let (ingestor, body) = (ingestor.clone(), request(std::slice::from_ref(span)));
            async move { ingestor.post(TRACES, &body).await.status(200).json() }
        });
        for answer in futures_util::future::join_all(deliveries).await {
            assert_eq!(answer, json!({}));
        }
        let told = seen(&tenant.transcripts().await).await;
        assert_eq!(told.len(), whole.len(), "{}", json!(told));
        for (one, other) in told.iter().zip(&whole) {
            let differences = differences(one, other);
            assert!(differences.is_empty(), "{number}: {differences:#?}");
        }
    }
}

/// Start and length in ms of a conversation that these spans tell of, whichever of them comes first.
async fn placed(spans: &[Value], name: &str) -> (Value, Value) {
    let mut back = spans.to_vec();
    back.reverse();
    let mut seen = Vec::new();
    for order in [spans.to_vec(), back] {
        let server = server().await;
        let acme = server.tenant("acme").await;
        let ingestor = acme.ingestor().await;
        for span in &order {
            ingestor
                .post(TRACES, &request(std::slice::from_ref(span)))
                .await
                .status(200);
        }
        let path = format!("/v1/observability/sessions/{name}");
        let told = acme.reader().await.get(&path).await.status(200).json();
        seen.push((
            told["startedAt"].clone(),
            told["metrics"]["totalDurationMs"].clone(),
        ));
    }
    assert_eq!(seen[0], seen[1]);
    seen.swap_remove(0)
}

#[tokio::test]
async fn a_worker_s_span_is_no_part_of_its_first_conversation() {
    let mut spans = vec![span(1, 1, 0, "worker", (0.0, 60.0), &json!({}))];
    for (place, name) in ["one", "two", "three"].into_iter().enumerate() {
        let start = 5.0 + 15.0 * place as f64;
        let names = json!({"conversation.id": name});
        let (root, id) = (10 + 20 * place as u8, 11 + 20 * place as u8);
        spans.push(span(
            1,
            root,
            1,
            "conversation",
            (start, start + 9.0),
            &names,
        ));
        spans.extend(exchange(1, id, root, start + 1.0, &names, name));
    }
    let (start, length_ms) = placed(&spans, "one").await;
    assert_eq!(
        (start, length_ms),
        (json!("2025-06-11T10:00:05Z"), json!(9000))
    );
}

#[tokio::test]
async fn a_span_by_another_clock_moves_no_conversation_that_has_come_whole() {
    let names = json!({"conversation.id": "one"});
    let mut spans = vec![span(1, 1, 0, "conversation", (0.0, 9.0), &names)];
    spans.extend(exchange(1, 10, 1, 1.0, &names, "Open"));
    let hours = 5.0 * 3600.0;
    spans.push(span(1, 50, 1, "GET /db", (-hours, 1.0 - hours), &names));
    spans.push(span(1, 51, 1, "upload", (8.0, 40.0), &names));
    let (start, length_ms) = placed(&spans, "one").await;
    assert_eq!(
        (start, length_ms),
        (json!("2025-06-11T10:00:00Z"), json!(9000))
    );
}
