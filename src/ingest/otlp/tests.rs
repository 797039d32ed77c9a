//! What is understood of real captures, in any order and split.

use std::path::{Path, PathBuf};

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use proptest::prelude::*;
use prost::Message;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::domain::event::{Event, Kind, SessionRef, Submission};
use crate::domain::ids::TenantId;
use crate::domain::vocabulary;
use crate::domain::vocabulary::Gist;
use crate::problem::Encoding;

use super::span_items;
use super::value::ATTRIBUTES_MAX;

const TENANT: TenantId = TenantId(Uuid::nil());

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/otlp")
}

fn now() -> DateTime<Utc> {
    "2026-11-22T00:00:00Z".parse().expect("a time")
}

/// The requests of a capture, in the order in which they were sent.
fn files(capture: &str, encoding: Encoding) -> Vec<PathBuf> {
    let endings: &[&str] = match encoding {
        Encoding::Protobuf => &["-traces.pb", "-traces.pb.gz"],
        Encoding::Json => &["-traces.json"],
    };
    let files = std::fs::read_dir(folder().join(capture)).expect("a capture");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.retain(|file| {
        let name = file.to_string_lossy();
        endings.iter().any(|ending| name.ends_with(ending))
    });
    files.sort();
    assert!(!files.is_empty(), "{capture} has no requests");
    files
}

/// Spans of a capture, in the order in which they were sent.
fn spans(capture: &str, encoding: Encoding) -> Vec<(SessionRef, Event)> {
    let files = files(capture, encoding);
    files.iter().flat_map(|file| read(file, encoding)).collect()
}

fn body(file: &Path) -> Bytes {
    let mut bytes = std::fs::read(file).expect("a body");
    if file.to_string_lossy().ends_with(".gz") {
        let mut plain = Vec::new();
        let mut packed = flate2::read::GzDecoder::new(&bytes[..]);
        std::io::Read::read_to_end(&mut packed, &mut plain).expect("gzip");
        bytes = plain;
    }
    Bytes::from(bytes)
}

fn read(file: &Path, encoding: Encoding) -> Vec<(SessionRef, Event)> {
    let bytes = body(file);
    let items = span_items(TENANT, &bytes, encoding, now()).expect("OTLP");
    let events = items.into_iter().map(|item| match item.content {
        Ok((session, Submission::Event(_, event))) => (session, event),
        Ok(_) => panic!("not a span"),
        Err(faults) => panic!("{faults:?}"),
    });
    events.collect()
}

fn gists(spans: &[(SessionRef, Event)]) -> Vec<Gist> {
    spans
        .iter()
        .filter_map(|(_, event)| vocabulary::gist(&event.fields))
        .collect()
}

fn expected(capture: &str) -> Value {
    let text = std::fs::read(folder().join(format!("{capture}.expected.json")));
    serde_json::from_slice(&text.expect("what happened")).expect("JSON")
}

/// The fields of all events of a kind, in order.
fn of(events: &[Event], kind: Kind) -> Vec<&Map<String, Value>> {
    events
        .iter()
        .filter(|event| event.kind == kind)
        .map(|event| event.fields.fields())
        .collect()
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("a number, got {value}"))
}

/// As far as a framework's clock may be from what truly happened.
#[track_caller]
fn near(got: &Value, truth: &Value, what: &str) {
    let (got, truth) = (number(got), number(truth));
    let off = (got - truth).abs();
    assert!(
        off <= 300.0 + truth * 0.15,
        "{what}: {got} is not near {truth}"
    );
}

/// One conversation as it was understood, against what happened in it.
fn compare(events: &[Event], truth: &Value, measures_latency: bool) {
    let session = of(events, Kind::Session)[0];
    let turns = of(events, Kind::Turn);
    let told = truth["turns"].as_array().expect("turns");
    let said = |turn: &Map<String, Value>| (turn["speaker"].clone(), turn["text"].clone());
    let got: Vec<_> = turns.iter().map(|turn| said(turn)).collect();
    let want: Vec<_> = told
        .iter()
        .map(|t| (t["speaker"].clone(), t["text"].clone()))
        .collect();
    assert_eq!(got, want);
    let totals = &truth["totals"];
    let tools = of(events, Kind::ToolCall);
    let errors = of(events, Kind::Error);
    let of_service = |service: &str| errors.iter().filter(|e| e["service"] == service).count();
    assert_eq!(tools.len(), totals["toolCalls"], "tools");
    let failed = tools
        .iter()
        .filter(|tool| tool.contains_key("error"))
        .count();
    assert_eq!(failed, totals["toolErrors"], "tools that failed");
    assert_eq!(
        of(events, Kind::Interruption).len(),
        totals["interruptions"],
        "interruptions"
    );
    assert_eq!(
        of_service("llm"),
        totals["llmErrors"],
        "errors of generations"
    );
    assert_eq!(session["usage"]["promptTokens"], totals["inputTokens"]);
    assert_eq!(session["usage"]["completionTokens"], totals["outputTokens"]);
    if truth["ended"].is_string() {
        assert_eq!(session["status"], truth["ended"]);
    }
    for (turn, truth) in turns.iter().zip(told) {
        let index = &truth["index"];
        assert_eq!(&turn["index"], index);
        let is_set = turn
            .get("interrupted")
            .and_then(Value::as_bool)
            .unwrap_or_default();
        assert_eq!(
            is_set,
            truth["interrupted"].as_bool().unwrap_or_default(),
            "turn {index}"
        );
        let calls = truth["llmCalls"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let good = calls.iter().rfind(|call| call["error"].is_null());
        if let Some(call) = good {
            near(&turn["llmMs"], &call["ttftMs"], "llmMs");
            let generated = turn["llmCalls"].as_array().expect("generations");
            assert_eq!(generated.len(), calls.len(), "turn {index}");
        }
        let speech = truth["ttsCalls"].as_array().and_then(|calls| calls.first());
        if let Some(call) = speech.filter(|call| call["error"].is_null()) {
            near(&turn["ttsMs"], &call["ttfbMs"], "ttsMs");
        }
        if truth["sttMs"].is_number() {
            near(&turn["sttMs"], &truth["sttMs"], "sttMs");
        }
        if let Some(latency) = truth.get("responseLatencyMs").filter(|_| measures_latency) {
            near(&turn["latencyMs"], latency, "latencyMs");
        }
        let start = truth.get("audioStartMs").or(truth.get("startMs"));
        if let Some(start) = start {
            near(&turn["startMs"], start, "startMs");
        }
        for call in truth["toolCalls"].as_array().into_iter().flatten() {
            let tool = tools.iter().find(|tool| tool["callId"] == call["callId"]);
            let tool = tool.unwrap_or_else(|| panic!("no {call}"));
            assert_eq!(tool["name"], call["name"]);
            assert_eq!(tool["arguments"], call["arguments"]);
            assert_eq!(&tool["turn"], index);
            if call["error"].is_null() {
                assert_eq!(tool["result"], call["result"]);
            }
            if let Some(took) = call.get("durationMs") {
                let ms = number(&tool["endMs"]) - number(&tool["startMs"]);
                near(&Value::from(ms), took, "a tool");
            }
        }
    }
}

fn one_session(capture: &str) -> (Vec<(SessionRef, Event)>, Value) {
    let truth = expected(capture);
    (
        spans(capture, Encoding::Protobuf),
        truth["sessions"][0].clone(),
    )
}

#[test]
fn pipecat_is_what_happened() {
    for capture in [
        "pipecat-basic",
        "pipecat-basic-reshuffled",
        "pipecat-bargein",
        "pipecat-errors",
        "pipecat-slow",
    ] {
        println!("{capture}");
        let (spans, truth) = one_session(capture);
        let events = vocabulary::interpret(&gists(&spans));
        compare(&events, &truth, true);
        let session = of(&events, Kind::Session)[0];
        assert_eq!(session["models"], truth["models"]);
        assert!(
            spans
                .iter()
                .any(|(session, _)| session.external_id == truth["externalId"])
        );
    }
}

#[test]
fn pipecat_of_before_is_what_happened() {
    let (spans, truth) = one_session("pipecat098-basic");
    compare(&vocabulary::interpret(&gists(&spans)), &truth, false);
}

#[test]
fn each_conversation_of_one_request_is_its_own() {
    let spans = spans("pipecat-batch", Encoding::Protobuf);
    let truth = expected("pipecat-batch");
    let sessions = truth["sessions"].as_array().expect("sessions");
    assert!(sessions.len() > 1);
    for truth in sessions {
        let own: Vec<_> = spans
            .iter()
            .filter(|(session, _)| session.external_id == truth["externalId"])
            .cloned()
            .collect();
        compare(&vocabulary::interpret(&gists(&own)), truth, true);
    }
}

#[test]
fn a_failed_synthesis_is_suspected_and_the_last_turn_was_not_cut_off() {
    let (spans, _) = one_session("pipecat-errors");
    let events = vocabulary::interpret(&gists(&spans));
    let errors = of(&events, Kind::Error);
    let told: Vec<_> = errors.iter().map(|e| (&e["service"], &e["turn"])).collect();
    let want = [("llm", 1), ("tts", 9), ("tool", 5), ("tool", 7)];
    let mut want: Vec<_> = want.map(|(s, t)| (Value::from(s), Value::from(t))).into();
    let mut told: Vec<_> = told
        .into_iter()
        .map(|(s, t)| (s.clone(), t.clone()))
        .collect();
    for list in [&mut want, &mut told] {
        list.sort_by_key(|(service, turn)| (service.to_string(), turn.to_string()));
    }
    assert_eq!(told, want);
    let llm = errors
        .iter()
        .find(|e| e["service"] == "llm")
        .expect("an error");
    assert_eq!(
        (&llm["statusCode"], &llm["code"]),
        (&Value::from(400), &Value::from("openai.BadRequestError"))
    );
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns[1]["failed"], true, "{:?}", turns[1]);
    assert!(!turns[1].contains_key("latencyMs"), "nobody heard it");
    assert!(
        turns[3].contains_key("latencyMs"),
        "the exchange's first answer that was heard"
    );
}

#[test]
fn an_interruption_began_when_the_user_did() {
    let (spans, truth) = one_session("pipecat-bargein");
    let events = vocabulary::interpret(&gists(&spans));
    let told = of(&events, Kind::Interruption);
    assert_eq!(told.len(), 2);
    for interruption in told {
        let turn = interruption["turn"].as_u64().expect("a turn") as usize;
        let began = &truth["turns"][turn + 1]["startMs"];
        let off = number(&interruption["atMs"]) - number(began);
        assert!(off.abs() <= 30.0, "{interruption:?} began at {began}");
    }
}

#[test]
fn nobody_spoke_over_whom_before_spans_had_a_length() {
    let (spans, truth) = one_session("pipecat098-basic");
    assert_eq!(truth["totals"]["interruptions"], 0);
    let events = vocabulary::interpret(&gists(&spans));
    let turns = of(&events, Kind::Turn);
    for pair in turns.windows(2) {
        assert!(
            number(&pair[0]["endMs"]) <= number(&pair[1]["startMs"]),
            "{pair:?}"
        );
    }
}

#[test]
fn what_an_application_adds_to_the_conversation_is_the_session_s() {
    let (spans, _) = one_session("pipecat-bargein");
    let events = vocabulary::interpret(&gists(&spans));
    let session = of(&events, Kind::Session)[0];
    assert_eq!(session["callSid"], "CA00000000000000000000000000000002");
    assert_eq!(session["metadata"]["customer.tier"], "gold");
    assert_eq!(session["agentId"], "harbor-voice");
    let ids: Vec<&str> = session["externalIds"]
        .as_array()
        .expect("ids")
        .iter()
        .filter_map(|id| id["id"].as_str())
        .collect();
    for id in [
        "call-20260321-0002",
        "lf-session-77",
        "CA00000000000000000000000000000002",
    ] {
        assert!(ids.contains(&id), "{ids:?}");
    }
}

#[test]
fn openinference_is_what_happened() {
    let (spans, truth) = one_session("openinference-basic");
    let names: std::collections::BTreeSet<_> = spans.iter().map(|(s, _)| &s.external_id).collect();
    assert_eq!(names.len(), 1, "three traces, one conversation");
    let events = vocabulary::interpret(&gists(&spans));
    let session = of(&events, Kind::Session)[0];
    assert_eq!(session["agentId"], truth["agent"]);
    assert_eq!(session["transport"], "webrtc");
    assert_eq!(
        session["usage"]["promptTokens"],
        truth["totals"]["inputTokens"]
    );
    assert_eq!(
        session["usage"]["completionTokens"],
        truth["totals"]["outputTokens"]
    );
    let turns = of(&events, Kind::Turn);
    let mut turns = turns.iter();
    let mut generations = truth["llmCalls"].as_array().expect("generations").iter();
    for exchange in truth["exchanges"].as_array().expect("exchanges") {
        let user = turns.next().expect("a user's turn");
        assert_eq!(
            (&user["speaker"], &user["text"]),
            (&Value::from("user"), &exchange["user"])
        );
        near(&user["sttMs"], &Value::from(60), "sttMs");
        let agent = turns.next().expect("an answer");
        assert_eq!(agent["speaker"], "agent");
        assert_eq!(
            agent.get("text").unwrap_or(&Value::Null),
            &exchange["agent"]
        );
        assert_eq!(agent.contains_key("failed"), !exchange["error"].is_null());
        let calls = agent["llmCalls"].as_array().expect("generations");
        assert_eq!(calls.len(), exchange["llmCalls"]);
        for (call, truth) in calls.iter().zip(generations.by_ref()) {
            if truth["error"].is_null() {
                assert_eq!(call["promptTokens"], truth["inputTokens"]);
                let first = number(&call["firstTokenMs"]) - number(&call["startMs"]);
                near(&Value::from(first), &truth["ttftMs"], "a first token");
            }
        }
    }
    let tools = of(&events, Kind::ToolCall);
    assert_eq!(tools.len(), 1);
    assert_eq!(tools[0]["arguments"]["order_id"], "A1044");
    assert_eq!(tools[0]["result"]["status"], "shipped");
    assert_eq!(tools[0]["turn"], 1);
    let errors = of(&events, Kind::Error);
    assert_eq!(
        errors.len(),
        1,
        "an error that its exchange repeats is one: {errors:?}"
    );
    assert_eq!(
        (&errors[0]["service"], &errors[0]["statusCode"]),
        (&Value::from("llm"), &Value::from(429))
    );
}

const CAPTURES: [&str; 6] = [
    "pipecat-basic",
    "pipecat-bargein",
    "pipecat-errors",
    "pipecat-slow",
    "pipecat098-basic",
    "openinference-basic",
];

#[test]
fn json_says_the_same_as_protobuf() {
    for capture in CAPTURES {
        let bare = |encoding| -> Vec<(String, Map<String, Value>)> {
            let spans = spans(capture, encoding);
            spans
                .into_iter()
                .map(|(session, event)| (session.external_id, event.fields.into_fields()))
                .collect()
        };
        assert_eq!(bare(Encoding::Json), bare(Encoding::Protobuf), "{capture}");
    }
}

/// The gists of a capture, each span's attributes and its process's behind as many others that say little.
fn crowded(capture: &str) -> Vec<Gist> {
    let crowd = |attributes: &mut Vec<KeyValue>| {
        let value = AnyValue {
            value: Some(any_value::Value::IntValue(1)),
        };
        let one = |n| KeyValue {
            key: format!("a{n}"),
            value: Some(value.clone()),
            ..KeyValue::default()
        };
        attributes.splice(0..0, (0..3_000).map(one));
    };
    let mut found = Vec::new();
    for file in files(capture, Encoding::Protobuf) {
        let mut request = ExportTraceServiceRequest::decode(body(&file)).expect("OTLP");
        for group in &mut request.resource_spans {
            crowd(&mut group.resource.get_or_insert_default().attributes);
            let spans = group.scope_spans.iter_mut().flat_map(|s| &mut s.spans);
            spans.for_each(|span| crowd(&mut span.attributes));
        }
        let body = Bytes::from(request.encode_to_vec());
        let items = span_items(TENANT, &body, Encoding::Protobuf, now()).expect("OTLP");
        found.extend(items.into_iter().filter_map(|item| match item.content {
            Ok((_, Submission::Event(_, event))) => vocabulary::gist(&event.fields),
            _ => None,
        }));
    }
    found
}

#[test]
fn what_is_read_outlives_any_crowd_beside_it() {
    for capture in CAPTURES.into_iter().chain(MORE_CAPTURES) {
        let told = |mut gists: Vec<Gist>| {
            gists.sort_by(|a, b| (&a.trace_id, &a.span_id).cmp(&(&b.trace_id, &b.span_id)));
            // What an application adds to a conversation is shown, whatever it is: the crowd too.
            for gist in &mut gists {
                gist.session.remove("metadata");
            }
            gists
        };
        let alone = told(gists(&spans(capture, Encoding::Protobuf)));
        assert_eq!(told(crowded(capture)), alone, "{capture}");
    }
}

#[test]
fn a_crowd_of_one_family_takes_no_place_of_what_is_read() {
    let said = |name: &str, value: Value| json!({"key": name, "value": value});
    let text = |text: &str| json!({"stringValue": text});
    let mut attributes = vec![
        said("session.id", text("the-conversation-of-a-long-name")),
        said("gen_ai.operation.name", text("chat")),
        said("gen_ai.request.model", text("gpt-4o")),
        said("gen_ai.usage.input_tokens", json!({"intValue": "11"})),
        said("gen_ai.usage.output_tokens", json!({"intValue": "7"})),
    ];
    for n in 0..1_500 {
        for family in ["gen_ai.x", "langfuse.trace.metadata.", "session.id"] {
            attributes.push(said(&format!("{family}{n}"), text("v")));
        }
        attributes.push(said(
            &format!("llm.input_messages.{n}.message.role"),
            text("user"),
        ));
    }
    let request = json!({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "own"}, "spans": [{
        "traceId": format!("{:032x}", 1), "spanId": format!("{:016x}", 1), "name": "chat gpt-4o",
        "startTimeUnixNano": "1749636000000000000", "endTimeUnixNano": "1749636001000000000",
        "attributes": attributes,
    }]}]}]});
    let body = Bytes::from(request.to_string());
    let mut items = span_items(TENANT, &body, Encoding::Json, now()).expect("OTLP");
    let Ok((session, Submission::Event(_, event))) = items.remove(0).content else {
        panic!("not a span");
    };
    assert_eq!(session.external_id, "the-conversation-of-a-long-name");
    let kept = event.fields["attributes"].as_object().expect("attributes");
    assert_eq!(kept.len(), ATTRIBUTES_MAX);
    let gist = vocabulary::gist(&event.fields).expect("a generation");
    let counts = ["promptTokens", "completionTokens"].map(|name| gist.fields[name].clone());
    assert_eq!(gist.fields["model"], "gpt-4o");
    assert_eq!(counts, [11, 7].map(Value::from));
}

const MORE_CAPTURES: [&str; 5] = [
    "livekit-basic",
    "livekit-errors",
    "livekit-text",
    "livekit13-basic",
    "langfuse-v5-voice",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Gists come one by one, in any order, some twice: the same is understood in the end.
    #[test]
    fn order_does_not_matter(capture in 0..CAPTURES.len(), seed in any::<u64>()) {
        use rand::seq::SliceRandom;
        use rand::{RngExt, SeedableRng};
        let gists = gists(&spans(CAPTURES[capture], Encoding::Protobuf));
        let whole = vocabulary::interpret(&gists);
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut shuffled = gists.clone();
        let again = random.random_range(0..gists.len());
        shuffled.push(gists[again].clone());
        shuffled.shuffle(&mut random);
        prop_assert_eq!(vocabulary::interpret(&shuffled), whole);
        // Whatever is known so far is sound.
        let cut = random.random_range(0..=shuffled.len());
        for event in vocabulary::interpret(&shuffled[..cut]) {
            let found = crate::domain::fields::check(event.kind, &event.fields, now());
            prop_assert!(found.faults.is_empty(), "{:?}", found.faults);
        }
    }
}
