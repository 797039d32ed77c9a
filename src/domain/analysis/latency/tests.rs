use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::analysis::IssueType;
use crate::domain::analysis::fixture::{analysis, clean, delay, found, issue};

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
    // Begun before the user had ended, and done before the turn was decided.
    let mut call = clean(2);
    call["turns"][1]["llmCalls"] = json!([{"startMs": 2000, "firstTokenMs": 2900}]);
    let latency = latency_of(&call, 1);
    assert_eq!(latency.stage_ms(Stage::Llm), Some(0.0));
    assert_eq!(latency.unexplained_ms, Some(300.0));
    assert_eq!(measured(&latency, Part::Llm), [900.0]);
}

fn measured(latency: &TurnLatency, part: Part) -> Vec<f64> {
    let of_part = latency
        .segments
        .iter()
        .filter(|segment| segment.part == part);
    of_part.map(|segment| segment.measured_ms).collect()
}

/// An answer that was generated ahead, heard so long after the user's end at 2600 ms.
fn generated_ahead(endpointing_ms: i64, first_token_ms: i64, tts: [i64; 2], gap: i64) -> Value {
    let mut call = clean(2);
    delay(&mut call, 1, gap - 900);
    let turn = &mut call["turns"][1];
    turn["latencyMs"] = json!(null);
    turn["endpointingMs"] = json!(endpointing_ms);
    let at = |ms: i64| 2600 + ms;
    turn["llmCalls"] = json!([{"startMs": at(170), "firstTokenMs": at(first_token_ms)}]);
    turn["ttsCalls"] = json!([{"startMs": at(tts[0]), "firstByteMs": at(tts[1])}]);
    call
}

#[test]
fn an_answer_generated_ahead_waits_for_the_decision_not_for_the_model() {
    let call = generated_ahead(1600, 1400, [1800, 2050], 2100);
    assert_eq!(
        stages(&latency_of(&call, 1)),
        [
            (Stage::Stt, 150.0),
            (Stage::Endpointing, 1600.0),
            (Stage::Llm, 0.0),
            (Stage::Tts, 250.0),
            (Stage::Unexplained, 100.0),
        ]
    );
    let slow = issue(&call, IssueType::HighLatency);
    assert_eq!(slow.stage, Some(Stage::Endpointing));
    // Of what goes on behind the decision the rest is waited for.
    let call = generated_ahead(500, 1400, [1400, 1650], 1700);
    assert_eq!(latency_of(&call, 1).stage_ms(Stage::Llm), Some(750.0));
}

#[test]
fn a_slow_decision_in_a_turn_in_time_is_told_though_the_model_took_as_long() {
    let call = generated_ahead(1200, 1200, [1350, 1480], 1500);
    assert!(found(&call, IssueType::HighLatency).is_empty());
    let slow = issue(&call, IssueType::SlowEndpointing);
    assert_eq!(slow.evidence["endpointingMs"], 1200);
}

#[test]
fn without_times_too_the_decision_comes_first() {
    let mut call = clean(2);
    for (name, ms) in [("sttMs", 250), ("endpointingMs", 400), ("llmMs", 400)] {
        call["turns"][1][name] = json!(ms);
    }
    assert_eq!(
        stages(&latency_of(&call, 1)),
        [
            (Stage::Stt, 250.0),
            (Stage::Endpointing, 400.0),
            (Stage::Llm, 50.0),
            (Stage::Tts, 200.0),
            (Stage::Unexplained, 0.0),
        ]
    );
    // By a clock that begins later the decision is not in the gap.
    call["turns"][1]["latencyMs"] = json!(600);
    let latency = latency_of(&call, 1);
    assert_eq!(latency.stage_ms(Stage::Llm), Some(400.0));
    assert_eq!(latency.stage_ms(Stage::Stt), Some(0.0));
}

#[test]
fn who_took_the_time_is_told_by_call() {
    let mut call = clean(2);
    delay(&mut call, 1, 2900);
    let turn = &mut call["turns"][1];
    turn["latencyMs"] = json!(3800);
    turn["llmCalls"] = json!([
        {"startMs": 3000, "endMs": 6000, "error": "timeout", "provider": "openai", "model": "gpt-4o"},
        {"startMs": 6000, "firstTokenMs": 6200, "provider": "groq", "model": "llama"},
    ]);
    turn["ttsCalls"] = json!([{"startMs": 6200, "firstByteMs": 6400}]);
    let latency = latency_of(&call, 1);
    let by_call = |part: Part| -> Vec<(Option<String>, f64)> {
        let of_part = latency
            .segments
            .iter()
            .filter(|segment| segment.part == part);
        of_part
            .map(|segment| (segment.provider.clone(), segment.ms))
            .collect()
    };
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(
        by_call(Part::Llm),
        [(named("openai"), 3000.0), (named("groq"), 200.0)]
    );
    assert_eq!(latency.stage_ms(Stage::Llm), Some(3200.0));
    assert_eq!(latency.named(Stage::Llm), (Some("openai"), Some("gpt-4o")));
    assert_eq!(
        latency.brought_by(Stage::Llm),
        (Some("groq"), Some("llama"))
    );
    for kind in [IssueType::HighLatency, IssueType::DeadAir] {
        let issue = issue(&call, kind);
        assert_eq!(
            (issue.stage, issue.provider),
            (Some(Stage::Llm), named("openai")),
            "{kind:?}"
        );
    }
    // Tried again with the same it is one thing.
    call["turns"][1]["llmCalls"][1]["provider"] = json!("openai");
    call["turns"][1]["llmCalls"][1]["model"] = json!("gpt-4o");
    assert_eq!(measured(&latency_of(&call, 1), Part::Llm), [3200.0]);
}

#[test]
fn a_voice_that_failed_before_another_spoke_was_waited_for() {
    let mut call = clean(2);
    delay(&mut call, 1, 2100);
    call["turns"][1]["latencyMs"] = json!(3000);
    call["turns"][1]["ttsCalls"] = json!([
        {"startMs": 3300, "endMs": 5400, "error": "refused", "provider": "elevenlabs"},
        {"startMs": 5400, "firstByteMs": 5600, "provider": "cartesia"},
    ]);
    let latency = latency_of(&call, 1);
    assert_eq!(latency.stage_ms(Stage::Tts), Some(2300.0));
    assert_eq!(latency.unexplained_ms, Some(0.0));
    assert_eq!(latency.named(Stage::Tts), (Some("elevenlabs"), None));
    assert_eq!(latency.brought_by(Stage::Tts), (Some("cartesia"), None));
}

#[test]
fn what_names_nobody_is_provided_by_whom_the_session_names() {
    let mut call = clean(2);
    call["session"]["providers"] = json!({"stt": "deepgram", "llm": "openai", "tts": "elevenlabs"});
    call["session"]["models"] = json!({"stt": "nova-3", "llm": "gpt-4o"});
    call["turns"][3]["providers"] = json!({"llm": "groq"});
    let named = |turn: i32| {
        let latency = latency_of(&call, turn);
        [Stage::Stt, Stage::Endpointing, Stage::Llm, Stage::Tts].map(|stage| {
            let (provider, model) = latency.named(stage);
            (provider.map(str::to_owned), model.map(str::to_owned))
        })
    };
    let both = |provider: &str, model: &str| (Some(provider.to_owned()), Some(model.to_owned()));
    let only = |provider: &str| (Some(provider.to_owned()), None);
    let deepgram = both("deepgram", "nova-3");
    assert_eq!(
        named(1),
        [
            deepgram.clone(),
            (None, None),
            both("openai", "gpt-4o"),
            only("elevenlabs")
        ]
    );
    // The session's model is its own provider's, and no other's.
    assert_eq!(
        named(3),
        [deepgram, (None, None), only("groq"), only("elevenlabs")]
    );
}

/// An answer without any time of its own.
fn without_times() -> Value {
    let mut call = clean(2);
    for turn in [0, 1] {
        call["turns"][turn]["startMs"] = json!(null);
        call["turns"][turn]["endMs"] = json!(null);
    }
    call["turns"][1]["latencyMs"] = json!(null);
    call
}

#[test]
fn a_sum_is_made_of_all_its_parts() {
    let mut call = without_times();
    for (name, ms) in [
        ("sttMs", 200),
        ("endpointingMs", 300),
        ("llmMs", 500),
        ("ttsMs", 300),
        ("callbackMs", 400),
        ("playoutMs", 250),
        ("transportMs", 100),
    ] {
        call["turns"][1][name] = json!(ms);
    }
    let latency = latency_of(&call, 1);
    assert_eq!(
        (latency.gap_ms, latency.clock),
        (Some(2050.0), Some(Clock::Stages))
    );
    assert_eq!(latency.unexplained_ms, Some(0.0));
    for segment in &latency.segments {
        assert_eq!(segment.ms, segment.measured_ms, "{segment:?}");
    }
}

#[test]
fn tools_beside_each_other_were_measured_as_long_as_any_of_them_ran() {
    let mut call = clean(2);
    delay(&mut call, 1, 900);
    call["turns"][1]["latencyMs"] = json!(1800);
    let tool = |from: i64| json!({"turn": 1, "name": "find", "startMs": from, "endMs": from + 700});
    call["toolCalls"] = json!([tool(3300), tool(3400), tool(3500)]);
    let latency = latency_of(&call, 1);
    assert_eq!(latency.stage_ms(Stage::Tool), Some(900.0));
    assert_eq!(measured(&latency, Part::Tool), [900.0]);
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
            let provider = if rest < 1000.0 { "groq" } else { "openai" };
            json!({"startMs": start, (first): start + first_ms, "endMs": start + first_ms + rest,
                "cancelled": cancelled, "error": failed.then_some("no"), "provider": provider})
        };
        calls.into_iter().map(call).collect()
    })
}

proptest! {
    /// Nothing runs beside anything else here: each part took what it was measured at.
    #[test]
    fn what_lies_one_behind_the_other_takes_its_time(
        ms in prop::collection::vec(1i64..3000, 4),
        between in prop::collection::vec(0i64..500, 3),
        latency in prop_oneof![Just(None), (-300i64..300).prop_map(Some)],
    ) {
        let mut call = clean(2);
        let [stt, endpointing, llm, tts] = ms[..] else { unreachable!() };
        let asked = 2600 + stt + endpointing + between[0];
        let spoken = asked + llm + between[1];
        let gap = spoken + tts + between[2] - 2600;
        delay(&mut call, 1, gap - 900);
        let turn = &mut call["turns"][1];
        turn["sttMs"] = json!(stt);
        turn["endpointingMs"] = json!(endpointing);
        turn["llmCalls"] = json!([{"startMs": asked, "firstTokenMs": asked + llm}]);
        turn["ttsCalls"] = json!([{"startMs": spoken, "firstByteMs": spoken + tts}]);
        // By another clock the wait may begin earlier, never later than its parts allow.
        let by_source = latency.map(|by| gap + by.max(-between.iter().sum::<i64>()));
        turn["latencyMs"] = json!(by_source);
        let latency = latency_of(&call, 1);
        for segment in &latency.segments {
            prop_assert!((segment.ms - segment.measured_ms).abs() < 1e-6, "{segment:?}");
        }
    }

    #[test]
    fn what_is_made_of_an_answer_fits_behind_the_decision(
        stt in 0.0f64..2000.0,
        endpointing in 1.0f64..2000.0,
        gap in 0i64..6000,
        llm in intervals("firstTokenMs"),
        tts in intervals("firstByteMs"),
    ) {
        let mut call = clean(2);
        delay(&mut call, 1, gap - 900);
        let turn = &mut call["turns"][1];
        turn["latencyMs"] = json!(null);
        turn["sttMs"] = json!(stt);
        turn["endpointingMs"] = json!(endpointing);
        turn["llmCalls"] = llm;
        turn["ttsCalls"] = tts;
        let latency = latency_of(&call, 1);
        let decided = latency.segments.iter().filter(|segment| segment.part.is_before_decision());
        let (ms, measured) = decided.fold((0.0, 0.0), |sum, segment| {
            (sum.0 + segment.ms, sum.1 + segment.measured_ms)
        });
        if measured <= gap as f64 {
            prop_assert!((ms - measured).abs() < 1e-6, "{ms} of {measured}");
        }
    }

    #[test]
    fn a_sum_leaves_nothing_unexplained(flat in prop::collection::vec(ms(), 9)) {
        let names = ["sttMs", "endpointingMs", "llmMs", "ttsMs", "callbackMs", "aggregationMs",
            "playoutMs", "transportMs", "telephonyMs"];
        let mut call = without_times();
        for (name, ms) in names.iter().zip(flat) {
            call["turns"][1][name] = ms;
        }
        let latency = latency_of(&call, 1);
        // What is too short to be a network's is summed, and told as nobody's.
        prop_assert!(latency.unexplained_ms.is_none_or(|rest| rest < 3.0 + 1e-6));
        for segment in latency.segments.iter().filter(|_| latency.gap_ms.is_some()) {
            prop_assert!((segment.ms - segment.measured_ms).abs() < 1e-6, "{segment:?}");
        }
    }

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
