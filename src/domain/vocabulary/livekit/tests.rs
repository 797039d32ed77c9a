//! Captures of the real SDK, with what truly happened: each is understood in any order, and any part of it
//! without harm.

mod aside;
mod pieces;
mod unheard;
mod versions;

use std::io::Read as _;
use std::path::Path;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Map, Value, json};

use crate::domain::event::{Event, Kind};
use crate::domain::vocabulary;
use crate::domain::vocabulary::Gist;

const CAPTURES: [&str; 8] = [
    "livekit-basic",
    "livekit-bargein",
    "livekit-errors",
    "livekit-slow",
    "livekit-text",
    "livekit-batch",
    "livekit-signals",
    "livekit13-basic",
];

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/otlp"))
}

/// The gists of a capture, session by session, in the order of arrival.
fn gists(capture: &str) -> Vec<Vec<Gist>> {
    let mut files: Vec<_> = std::fs::read_dir(folder().join(capture))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("-traces."))
        .collect();
    files.sort();
    let mut sessions: Vec<Vec<Gist>> = Vec::new();
    for file in files {
        let mut bytes = std::fs::read(&file).unwrap();
        if file.extension().is_some_and(|extension| extension == "gz") {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(bytes.as_slice())
                .read_to_end(&mut plain)
                .unwrap();
            bytes = plain;
        }
        for fields in spans(&bytes) {
            let Some(gist) = vocabulary::gist(&fields) else {
                continue;
            };
            let same = |session: &&mut Vec<Gist>| session[0].trace_id == gist.trace_id;
            match sessions.iter_mut().find(same) {
                Some(session) => session.push(gist),
                None => sessions.push(vec![gist]),
            }
        }
    }
    sessions
}

/// The span facts of a request.
fn spans(bytes: &[u8]) -> Vec<Map<String, Value>> {
    let request = ExportTraceServiceRequest::decode(bytes).unwrap();
    let mut facts = Vec::new();
    for resource in request.resource_spans {
        let own = resource.resource.map(|r| attributes(r.attributes));
        for scope in resource.scope_spans {
            let name = scope.scope.map(|scope| scope.name);
            for span in scope.spans {
                let time = |nanos: u64| {
                    let time = chrono::DateTime::from_timestamp_nanos(nanos as i64);
                    time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
                };
                let events = span
                    .events
                    .into_iter()
                    .map(|event| {
                        json!({"name": event.name, "at": time(event.time_unix_nano),
                        "attributes": attributes(event.attributes)})
                    })
                    .collect::<Vec<Value>>();
                let status = span
                    .status
                    .map(|s| json!({"code": s.code, "message": s.message}));
                let parent =
                    (!span.parent_span_id.is_empty()).then(|| hex::encode(&span.parent_span_id));
                let fact = json!({
                    "traceId": hex::encode(&span.trace_id), "spanId": hex::encode(&span.span_id),
                    "parentSpanId": parent, "name": span.name,
                    "startedAt": time(span.start_time_unix_nano), "endedAt": time(span.end_time_unix_nano),
                    "status": status, "attributes": attributes(span.attributes), "events": events,
                    "scope": {"name": name}, "resource": {"attributes": own},
                });
                facts.push(fact.as_object().cloned().unwrap());
            }
        }
    }
    facts
}

fn attributes(list: Vec<KeyValue>) -> Value {
    let pairs = list.into_iter();
    Value::Object(pairs.map(|pair| (pair.key, value(pair.value))).collect())
}

fn value(value: Option<AnyValue>) -> Value {
    use any_value::Value::*;
    match value.and_then(|value| value.value) {
        Some(StringValue(text)) => text.into(),
        Some(BoolValue(flag)) => flag.into(),
        Some(IntValue(number)) => number.into(),
        Some(DoubleValue(number)) => number.into(),
        Some(ArrayValue(list)) => list
            .values
            .into_iter()
            .map(|v| self::value(Some(v)))
            .collect(),
        _ => Value::Null,
    }
}

fn expected(capture: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(format!("{capture}.expected.json"))).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    expected["sessions"].as_array().cloned().unwrap()
}

/// Of several sessions the one that says what was said in this one.
fn truth(capture: &str, events: &[Event]) -> Value {
    let start = session(events)["startedAt"].as_str().unwrap();
    let start: chrono::DateTime<chrono::Utc> = start.parse().unwrap();
    let off = |truth: &Value| {
        let told = truth["startedAt"].as_f64().unwrap();
        ((start.timestamp_micros() as f64 / 1e6 - told).abs() * 1e6) as i64
    };
    expected(capture).into_iter().min_by_key(off).unwrap()
}

fn session(events: &[Event]) -> &Map<String, Value> {
    &events
        .iter()
        .find(|event| event.kind == Kind::Session)
        .unwrap()
        .fields
}

fn of(events: &[Event], kind: Kind) -> Vec<&Map<String, Value>> {
    events
        .iter()
        .filter(|event| event.kind == kind)
        .map(|event| event.fields.fields())
        .collect()
}

/// Whether a measured time is the true one, within 15 % and what a busy
/// machine adds.
fn said(events: &[Event]) -> Vec<&str> {
    let turns = of(events, Kind::Turn).into_iter();
    turns.map(|turn| turn["text"].as_str().unwrap()).collect()
}

fn is_near(measured: &Value, truth: &Value) -> bool {
    match (measured.as_f64(), truth.as_f64()) {
        (Some(measured), Some(truth)) => (measured - truth).abs() <= 350.0 + truth * 0.15,
        (None, None) => true,
        _ => false,
    }
}

fn is_close(measured: &Value, truth: &Value, ms: f64) -> bool {
    let difference = measured
        .as_f64()
        .zip(truth.as_f64())
        .map(|(a, b)| (a - b).abs());
    difference.is_some_and(|difference| difference <= ms)
}

#[test]
fn turns_are_what_was_said_and_when() {
    for capture in CAPTURES {
        for gists in gists(capture) {
            let events = vocabulary::interpret(&gists);
            let truth = truth(capture, &events);
            let turns = of(&events, Kind::Turn);
            let told = truth["turns"].as_array().unwrap();
            assert_eq!(turns.len(), told.len(), "{capture}: {turns:#?}");
            for (turn, told) in turns.iter().zip(told) {
                let at = format!("{capture} {told}: {turn:#?}");
                assert_eq!(turn["index"], told["index"], "{at}");
                assert_eq!(turn["speaker"], told["speaker"], "{at}");
                let text = turn.get("text").cloned().unwrap_or_else(|| json!(""));
                assert_eq!(text, told["text"], "{at}");
                let (start, end) = match told["speaker"].as_str() {
                    Some("user") => (&told["startMs"], &told["endMs"]),
                    _ => (&told["audioStartMs"], &told["audioEndMs"]),
                };
                if !start.is_null() {
                    assert!(is_close(&turn["startMs"], start, 150.0), "{at}");
                    assert!(is_close(&turn["endMs"], end, 40.0), "{at}");
                }
                let latency = &told["responseLatencyMs"];
                if let (Some(measured), false) = (turn.get("latencyMs"), latency.is_null()) {
                    assert!(is_close(measured, latency, 30.0), "{at}");
                }
                if !told["sttMs"].is_null() {
                    // The SDK counts from the end of speech, which it notices 300 ms later.
                    let noticed = json!(turn["sttMs"].as_f64().unwrap() - 300.0);
                    assert!(is_near(&noticed, &told["sttMs"]), "{at}");
                }
            }
        }
    }
}

#[test]
fn stages_and_usage_are_what_the_providers_saw() {
    for capture in CAPTURES {
        for gists in gists(capture) {
            let events = vocabulary::interpret(&gists);
            let truth = truth(capture, &events);
            let mut sums = Map::new();
            let told = truth["turns"].as_array().unwrap();
            for (turn, told) in of(&events, Kind::Turn).into_iter().zip(told) {
                let at = format!("{capture} {told}: {turn:#?}");
                let none = Vec::new();
                let list = |value: Option<&Value>| {
                    value.and_then(Value::as_array).unwrap_or(&none).clone()
                };
                let (calls, true_calls) = (list(turn.get("llmCalls")), list(told.get("llmCalls")));
                assert_eq!(calls.len(), true_calls.len(), "{at}");
                for (call, true_call) in calls.iter().zip(&true_calls) {
                    let took = |from: &str| Some(call[from].as_f64()? - call["startMs"].as_f64()?);
                    assert!(
                        is_near(&json!(took("firstTokenMs")), &true_call["ttftMs"]),
                        "{at}"
                    );
                    assert_eq!(
                        call.get("error").is_some(),
                        !true_call["error"].is_null(),
                        "{at}"
                    );
                    assert_eq!(call["model"], true_call["model"], "{at}");
                }
                let (calls, true_calls) = (list(turn.get("ttsCalls")), list(told.get("ttsCalls")));
                assert_eq!(calls.len(), true_calls.len(), "{at}");
                for (call, true_call) in calls.iter().zip(&true_calls) {
                    let took = call["firstByteMs"].as_f64().zip(call["startMs"].as_f64());
                    // 1.3 counts what it waited for before it could speak at all.
                    let slack = if capture.starts_with("livekit13") {
                        100.0
                    } else {
                        0.0
                    };
                    let took = json!(took.map(|(to, from)| (to - from - slack).max(0.0)));
                    assert!(is_near(&took, &true_call["ttfbMs"]), "{at}");
                }
                let usage = turn.get("usage").and_then(Value::as_object);
                for (name, count) in usage.into_iter().flatten() {
                    let sum = sums.get(name).and_then(Value::as_i64).unwrap_or_default();
                    sums.insert(name.clone(), json!(sum + count.as_i64().unwrap()));
                }
            }
            let totals = &truth["totals"];
            let sum = |name: &str| sums.get(name).cloned().unwrap_or_else(|| json!(0));
            assert_eq!(sum("promptTokens"), totals["inputTokens"], "{capture}");
            assert_eq!(sum("completionTokens"), totals["outputTokens"], "{capture}");
            assert_eq!(sum("cachedTokens"), totals["cachedTokens"], "{capture}");
            assert_eq!(sum("ttsCharacters"), totals["ttsCharacters"], "{capture}");
        }
    }
}

#[test]
fn tools_errors_and_interruptions_are_told_once() {
    for capture in CAPTURES {
        for gists in gists(capture) {
            let events = vocabulary::interpret(&gists);
            let truth = truth(capture, &events);
            let turns = truth["turns"].as_array().unwrap();
            let tools = of(&events, Kind::ToolCall);
            let told: Vec<(usize, &Value)> = turns
                .iter()
                .enumerate()
                .flat_map(|(at, turn)| {
                    turn["toolCalls"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(move |t| (at, t))
                })
                .collect();
            assert_eq!(tools.len(), told.len(), "{capture}: {tools:#?}");
            for (tool, (turn, told)) in tools.iter().zip(told) {
                let at = format!("{capture} {told}: {tool:#?}");
                assert_eq!(tool["turn"], turn, "{at}");
                assert_eq!(tool["name"], told["name"], "{at}");
                assert_eq!(tool["arguments"], told["arguments"], "{at}");
                assert_eq!(tool.contains_key("error"), !told["error"].is_null(), "{at}");
                let result = tool.get("result").cloned().unwrap_or_default();
                assert_eq!(result, told["result"], "{at}");
                let took = tool["endMs"].as_f64().unwrap() - tool["startMs"].as_f64().unwrap();
                assert!(is_close(&json!(took), &told["durationMs"], 40.0), "{at}");
            }
            let errors = of(&events, Kind::Error);
            let count = |service: &str| {
                errors
                    .iter()
                    .filter(|error| error["service"] == service)
                    .count()
            };
            assert_eq!(
                json!(count("llm")),
                truth["totals"]["llmErrors"],
                "{capture}: {errors:#?}"
            );
            assert_eq!(
                json!(count("tool")),
                truth["totals"]["toolErrors"],
                "{capture}"
            );
            assert_eq!(
                json!(count("tts")),
                truth["totals"]["ttsErrors"],
                "{capture}"
            );
            assert_eq!(count("workflow"), 0, "{capture}");
            // The application's own stop is none.
            let barge_ins = turns.iter().filter(|turn| turn["bargeIn"] == true).count();
            let interruptions = of(&events, Kind::Interruption);
            assert_eq!(
                interruptions.len(),
                barge_ins,
                "{capture}: {interruptions:#?}"
            );
            let marked = of(&events, Kind::Turn)
                .iter()
                .filter(|turn| turn.get("interrupted") == Some(&json!(true)))
                .count();
            assert_eq!(marked, barge_ins, "{capture}");
        }
    }
}

#[test]
fn a_repaired_attempt_is_a_warning_and_a_silent_answer_fails_the_call() {
    let gists = gists("livekit-errors").remove(0);
    let events = vocabulary::interpret(&gists);
    let errors: Vec<_> = of(&events, Kind::Error)
        .into_iter()
        .filter(|error| error["service"] == "llm")
        .map(|error| {
            (
                error["level"].clone(),
                error["statusCode"].clone(),
                error["turn"].clone(),
                error["message"].clone(),
            )
        })
        .collect();
    let message = "Error code: 400 - This model's maximum context length is 128000 tokens.";
    assert_eq!(
        errors,
        [
            (
                json!("warning"),
                json!(429),
                json!(1),
                json!("Error code: 429 - Rate limit reached for gpt-4o-mini.")
            ),
            (json!("error"), json!(400), json!(7), json!(message)),
        ]
    );
    assert_eq!(session(&events)["status"], "failed");
    let turns = of(&events, Kind::Turn);
    assert_eq!(turns[7]["failed"], true);
    assert_eq!(turns[1]["retries"], 1);
}

#[test]
fn the_session_says_who_and_when() {
    for capture in CAPTURES {
        for gists in gists(capture) {
            let events = vocabulary::interpret(&gists);
            let (session, truth) = (session(&events), truth(capture, &events));
            let is_old = capture.starts_with("livekit13");
            let agent = if is_old {
                json!("harbor-voice")
            } else {
                truth["agent"].clone()
            };
            assert_eq!(session["agentId"], agent, "{capture}");
            let time = |name: &str| {
                let time: chrono::DateTime<chrono::Utc> =
                    session[name].as_str().unwrap().parse().unwrap();
                json!(time.timestamp_micros() as f64 / 1e3)
            };
            let truly = |name: &str| json!(truth[name].as_f64().unwrap() * 1e3);
            assert!(
                is_close(&time("startedAt"), &truly("startedAt"), 20.0),
                "{capture}"
            );
            // The driver's end is that of the SDK's close, which waits up to 2 s for words that nobody says.
            let [ended, closed] =
                [time("endedAt"), truly("endedAt")].map(|ms| ms.as_f64().unwrap());
            assert!(
                (-20.0..2100.0).contains(&(closed - ended)),
                "{capture} {ended} {closed}"
            );
            if !is_old {
                for (stage, model) in session["models"].as_object().unwrap() {
                    assert_eq!(model, &truth["models"][stage], "{capture}");
                }
                assert_eq!(session["endReason"], "user_initiated", "{capture}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_order_is_understood_alike(capture in 0..CAPTURES.len(), seed in any::<u64>()) {
        for session in gists(CAPTURES[capture]) {
            let once = vocabulary::interpret(&session);
            let mut shuffled = session.clone();
            shuffled.sort_by_key(|gist| crate::domain::event::canonical_hash(
                json!({"seed": seed, "span": gist.span_id}).as_object().unwrap(),
            ));
            shuffled.extend_from_slice(&session[..session.len() / 2]);
            prop_assert_eq!(vocabulary::interpret(&shuffled), once);
        }
    }

    #[test]
    fn any_part_of_a_session_is_understood_without_harm(capture in 0..CAPTURES.len(), seed in any::<u64>()) {
        for session in gists(CAPTURES[capture]) {
            let is_there = |gist: &Gist| {
                let span = json!({"seed": seed, "span": gist.span_id});
                crate::domain::event::canonical_hash(span.as_object().unwrap())[0] & 1 == 1
            };
            let some: Vec<Gist> = session.into_iter().filter(is_there).collect();
            let events = vocabulary::interpret(&some);
            for event in &events {
                let found = crate::domain::fields::check(event.kind, &event.fields, chrono::DateTime::<chrono::Utc>::MAX_UTC - crate::domain::fields::FUTURE_MAX);
                prop_assert!(found.faults.is_empty(), "{:?}", found.faults);
            }
            let mut identities: Vec<_> = events.iter().map(|event| (event.kind, &event.id)).collect();
            let count = identities.len();
            identities.sort();
            identities.dedup();
            prop_assert_eq!(identities.len(), count);
        }
    }
}

/// A gist that is read back from where it is kept says the same.
#[test]
fn a_gist_survives_being_kept() {
    for gist in CAPTURES.iter().flat_map(|capture| gists(capture)).flatten() {
        let kept = serde_json::to_string(&gist).unwrap();
        assert_eq!(serde_json::from_str::<Gist>(&kept).unwrap(), gist);
    }
}

/// A session of which only the seconds matter: an answer that is heard twice, around a tool that takes long.
fn bridged(name: &str, from: f64, to: f64, attributes: Value) -> Gist {
    let start = chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
    let at = |seconds: f64| {
        let at = start + chrono::TimeDelta::milliseconds((seconds * 1e3) as i64);
        at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
    };
    let id = |name: &str| format!("{name}@{from}");
    let parent = match name {
        "agent_session" => None,
        "user_turn" | "agent_turn" => Some("agent_session@0".to_owned()),
        "llm_request" => Some(id("llm_node")),
        "user_speaking" => Some("user_turn@0.5".to_owned()),
        _ => Some("agent_turn@2.5".to_owned()),
    };
    let span = json!({
        "traceId": "t", "spanId": id(name), "parentSpanId": parent, "name": name,
        "startedAt": at(from), "endedAt": at(to), "attributes": attributes, "scope": {"name": "livekit-agents"},
    });
    vocabulary::gist(span.as_object().unwrap()).unwrap()
}

/// `second` is what the second step generated, `told` what the answer's own span says of it, `is_heard` whether the
/// second step was heard.
fn answer_around_a_tool(second: &str, told: &str, is_heard: bool) -> Map<String, Value> {
    let text = |text: &str| json!({"lk.pii.response.text": text});
    let generated =
        |said: &str, ttft: f64| json!({"lk.pii.response.text": said, "lk.response.ttft": ttft});
    let request = |ttft: f64| json!({"gen_ai.response.time_to_first_chunk": ttft});
    let mut session = vec![
        bridged("agent_session", 0.0, 20.0, json!({})),
        bridged(
            "user_turn",
            0.5,
            2.5,
            json!({"lk.pii.user_transcript": "Where is C3?"}),
        ),
        bridged("user_speaking", 0.5, 2.0, json!({})),
        bridged("agent_turn", 2.5, 12.0, text(told)),
        bridged("llm_node", 2.5, 2.9, generated("One moment please. ", 0.2)),
        bridged("llm_request", 2.5, 2.9, request(0.2)),
        bridged("agent_speaking", 3.0, 3.8, json!({})),
        bridged(
            "function_tool",
            2.9,
            6.0,
            json!({"lk.function_tool.name": "lookup"}),
        ),
        bridged("llm_node", 6.0, 10.2, generated(second, 4.0)),
        bridged("llm_request", 6.0, 10.2, request(4.0)),
    ];
    if is_heard {
        session.push(bridged("agent_speaking", 10.3, 11.2, json!({})));
    }
    let events = vocabulary::interpret(&session);
    session.reverse();
    assert_eq!(vocabulary::interpret(&session), events, "in any order");
    of(&events, Kind::Turn)[1].clone()
}

#[test]
fn all_steps_of_an_answer_that_were_heard_are_its_text() {
    let whole = "One moment please. C3 has shipped.";
    for (second, told, is_heard, text) in [
        ("C3 has shipped.", "C3 has shipped.", true, whole),
        // Cut off, and cut off before anything of the second step was heard.
        (
            "C3 has shipped. And B2 too.",
            "C3 has shipped.",
            true,
            whole,
        ),
        (
            "C3 has shipped.",
            "One moment please.",
            false,
            "One moment please.",
        ),
        (
            "One moment please.",
            "One moment please.",
            false,
            "One moment please.",
        ),
        (
            "One moment please.",
            "One moment",
            true,
            "One moment please. One moment",
        ),
        // What was heard is not literally what was generated.
        ("<b>C3</b> has shipped.", "C3 has shipped.", true, whole),
    ] {
        let turn = answer_around_a_tool(second, told, is_heard);
        assert_eq!(turn["text"], text, "{second:?} was heard as {told:?}");
    }
}

#[test]
fn the_first_token_is_of_the_generation_that_was_waited_for() {
    let turn = answer_around_a_tool("C3 has shipped.", "C3 has shipped.", true);
    assert_eq!(turn["llmMs"], 200.0);
    assert_eq!(
        turn["llmCalls"].as_array().map(Vec::len),
        Some(2),
        "all are told"
    );
}

#[test]
fn who_called_is_told_by_whether_a_rule_let_the_call_in() {
    let placed = json!({"lk.sip.callID": "SCL_1", "lk.pii.sip.phoneNumber": "+15550100", "lk.sip.trunkPhoneNumber": "+15550199"});
    let mut let_in = placed.clone();
    let_in["lk.sip.ruleID"] = json!("SDR_1");
    for (attributes, expected) in [
        (placed, ["outbound", "+15550199", "+15550100"]),
        (let_in, ["inbound", "+15550100", "+15550199"]),
    ] {
        let gist = unheard::span("session", "agent_session", (0.0, 9.0), attributes);
        let told = ["channel", "from", "to"].map(|name| gist.session[name].clone());
        assert_eq!(json!(told), json!(expected));
    }
}
