use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::analysis::fixture::{analysis, clean, delay};

fn latency_of(call: &Value, turn: i32) -> TurnLatency {
    let turns = analysis(call).turns;
    turns
        .into_iter()
        .find(|latency| latency.turn == turn)
        .unwrap()
}

fn stages(latency: &TurnLatency) -> Vec<(Stage, f64)> {
    let all = Stage::ALL.into_iter();
    all.filter_map(|stage| Some((stage, latency.stage_ms(stage)?)))
        .collect()
}

#[test]
fn the_stages_add_up_to_the_gap() {
    let latency = latency_of(&clean(2), 1);
    assert_eq!(
        stages(&latency),
        [
            (Stage::Stt, 150.0),
            (Stage::Endpointing, 250.0),
            (Stage::Llm, 300.0),
            (Stage::Tts, 200.0),
            (Stage::Unexplained, 0.0),
        ]
    );
    assert_eq!(
        (latency.gap_ms, latency.clock),
        (Some(900.0), Some(Clock::Source))
    );
}

#[test]
fn what_was_not_measured_is_missing_not_fast() {
    let mut call = clean(2);
    call["turns"][1]["ttsMs"] = json!(0.9);
    call["turns"][1]["sttMs"] = json!(0);
    let latency = latency_of(&call, 1);
    assert_eq!(latency.missing, [Stage::Stt, Stage::Tts]);
    assert_eq!(latency.stage_ms(Stage::Tts), None);
    assert_eq!(latency.unexplained_ms, Some(350.0));
}

#[test]
fn a_cancelled_generation_never_counts() {
    let mut call = clean(2);
    call["turns"][1]["cancelled"] = json!(true);
    assert!(
        analysis(&call)
            .turns
            .iter()
            .all(|latency| latency.turn != 1)
    );
    let mut call = clean(2);
    call["turns"][1]["llmCalls"] = json!([
        {"startMs": 2700, "firstTokenMs": 2702, "cancelled": true},
        {"startMs": 3000, "firstTokenMs": 3300, "provider": "openai", "model": "gpt-4o"},
    ]);
    let latency = latency_of(&call, 1);
    assert_eq!(latency.stage_ms(Stage::Llm), Some(300.0));
    assert_eq!(latency.named(Stage::Llm), (Some("openai"), Some("gpt-4o")));
}

#[test]
fn tools_beside_each_other_count_once_and_the_way_through_them_adds_up() {
    let mut call = clean(2);
    delay(&mut call, 1, 1300);
    call["turns"][1]["latencyMs"] = json!(null);
    call["turns"][1]["llmCalls"] = json!([
        {"startMs": 3000, "firstTokenMs": 3200, "endMs": 3300},
        {"startMs": 4300, "firstTokenMs": 4600, "endMs": 5500},
    ]);
    let tool =
        |from: i64, to: i64| json!({"turn": 1, "name": "find", "startMs": from, "endMs": to});
    call["toolCalls"] = json!([tool(3300, 4300), tool(3400, 4200)]);
    let latency = latency_of(&call, 1);
    assert_eq!(
        (latency.gap_ms, latency.clock),
        (Some(2200.0), Some(Clock::Timestamps))
    );
    assert_eq!(latency.stage_ms(Stage::Tool), Some(1000.0));
    assert_eq!(latency.stage_ms(Stage::Llm), Some(600.0));
    assert_eq!(latency.unexplained_ms, Some(0.0));
    assert_eq!(latency.dominant(), Some((Stage::Tool, 1000.0)));
    assert!(latency.used_tool);
}

#[test]
fn what_ran_beside_the_users_speech_takes_no_time() {
    // Begun before the user had ended.
    let mut call = clean(2);
    call["turns"][1]["llmCalls"] = json!([{"startMs": 2000, "firstTokenMs": 2900}]);
    let latency = latency_of(&call, 1);
    assert_eq!(latency.stage_ms(Stage::Llm), Some(300.0));
    let llm = latency
        .segments
        .iter()
        .find(|segment| segment.part == Part::Llm);
    assert_eq!(llm.map(|segment| segment.measured_ms), Some(900.0));
}

#[test]
fn an_overlap_has_stages_but_no_gap() {
    let mut call = clean(2);
    delay(&mut call, 1, -1000);
    let latency = latency_of(&call, 1);
    assert_eq!((latency.gap_ms, latency.unexplained_ms), (None, None));
    assert_eq!(latency.stage_ms(Stage::Llm), Some(300.0));
    assert_eq!(
        analysis(&call).coverage,
        Coverage {
            answers: 2,
            measured: 1,
            complete: 1
        }
    );
}

fn ms() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(0)),
        (0.0f64..4000.0).prop_map(|ms| json!(ms)),
    ]
}

fn intervals(first: &'static str) -> impl Strategy<Value = Value> {
    let one = (
        0.0f64..6000.0,
        0.0f64..2000.0,
        0.0f64..2000.0,
        any::<bool>(),
        any::<bool>(),
    );
    prop::collection::vec(one, 0..4).prop_map(move |calls| {
        let call = |(start, first_ms, rest, cancelled, failed): (f64, f64, f64, bool, bool)| {
            json!({"startMs": start, (first): start + first_ms, "endMs": start + first_ms + rest,
                "cancelled": cancelled, "error": failed.then_some("no")})
        };
        calls.into_iter().map(call).collect()
    })
}

proptest! {
    #[test]
    fn stages_and_the_rest_are_always_the_gap(
        flat in prop::collection::vec(ms(), 9),
        latency_ms in ms(),
        gap in -2000i64..6000,
        llm in intervals("firstTokenMs"),
        tts in intervals("firstByteMs"),
        tools in prop::collection::vec((0i64..6000, 0i64..3000), 0..4),
    ) {
        let names = ["sttMs", "endpointingMs", "llmMs", "ttsMs", "callbackMs", "aggregationMs",
            "playoutMs", "transportMs", "telephonyMs"];
        let mut call = clean(2);
        delay(&mut call, 1, gap - 900);
        for (name, ms) in names.iter().zip(flat) {
            call["turns"][1][name] = ms;
        }
        call["turns"][1]["latencyMs"] = latency_ms;
        call["turns"][1]["llmCalls"] = llm;
        call["turns"][1]["ttsCalls"] = tts;
        call["toolCalls"] = tools.iter().map(|(from, ms)| {
            json!({"turn": 1, "name": "find", "startMs": from, "endMs": from + ms})
        }).collect();
        for latency in analysis(&call).turns {
            let explained: f64 = latency.segments.iter().map(|segment| segment.ms).sum();
            for segment in &latency.segments {
                prop_assert!(segment.ms >= 0.0 && segment.measured_ms > 0.0);
                prop_assert!(segment.ms <= segment.measured_ms + 1e-6);
                prop_assert!(!latency.missing.contains(&segment.stage));
            }
            match (latency.gap_ms, latency.unexplained_ms) {
                (Some(gap), Some(rest)) => {
                    prop_assert!(rest >= 0.0);
                    prop_assert!((explained + rest - gap).abs() < 1e-6, "{explained} + {rest} != {gap}");
                }
                (gap, rest) => prop_assert_eq!((gap, rest), (None, None)),
            }
        }
    }
}
