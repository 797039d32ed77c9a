//! What generated calls promise, over two weeks of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{CALL_MAX, Detail, Plan, calls, cast, live};

const PLAN: Plan = Plan {
    seed: 42,
    calls_per_day: 150.0,
    detail: Detail::Full,
};
const LEAN: Plan = Plan {
    detail: Detail::Lean,
    ..PLAN
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Two whole weeks from a Monday, through a bad day.
fn weeks(plan: &Plan) -> Vec<Value> {
    calls(plan, at("2026-01-05T00:00:00Z"), at("2026-01-19T00:00:00Z")).collect()
}

fn items<'a>(call: &'a Value, list: &str) -> &'a [Value] {
    call[list].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn start(call: &Value) -> DateTime<Utc> {
    at(call["session"]["startedAt"].as_str().unwrap())
}

fn median(mut values: Vec<i64>) -> f64 {
    values.sort_unstable();
    values[values.len() / 2] as f64
}

#[test]
fn a_window_gives_the_same_calls_whole_and_in_pieces() {
    let whole = weeks(&PLAN);
    assert_eq!(whole, weeks(&PLAN));
    let cuts = [
        "2026-01-05T00:00:00Z",
        "2026-01-07T09:41:07.123Z",
        "2026-01-07T09:55:00Z",
        "2026-01-11T00:00:00Z",
        "2026-01-19T00:00:00Z",
    ];
    let pieces: Vec<Value> = cuts
        .windows(2)
        .flat_map(|cut| calls(&PLAN, at(cut[0]), at(cut[1])))
        .collect();
    assert_eq!(whole, pieces);
    assert!(whole.is_sorted_by_key(start));
    let ids: BTreeSet<_> = whole
        .iter()
        .map(|c| c["session"]["sessionId"].as_str())
        .collect();
    assert_eq!(ids.len(), whole.len());
    assert_ne!(whole, weeks(&Plan { seed: 43, ..PLAN }));
}

#[test]
fn everything_happens_while_the_call_lasts() {
    for call in weeks(&PLAN).iter().chain(&weeks(&LEAN)) {
        let end = at(call["session"]["endedAt"].as_str().unwrap());
        let length = end - start(call);
        assert!(length > TimeDelta::zero() && length <= CALL_MAX);
        for list in ["turns", "toolCalls", "interruptions", "errors"] {
            for item in items(call, list) {
                for name in ["startMs", "endMs", "atMs", "resumedAtMs", "audioStoppedMs"] {
                    let ms = item[name].as_i64().unwrap_or_default();
                    assert!(
                        (0..=length.num_milliseconds()).contains(&ms),
                        "{name} {item}"
                    );
                }
            }
        }
    }
}

#[test]
fn stages_add_up_to_the_silence() {
    let mut llm_ms = BTreeMap::<String, Vec<i64>>::new();
    for call in &weeks(&PLAN) {
        let turns = items(call, "turns");
        for pair in turns
            .windows(2)
            .filter(|pair| pair[1]["latencyMs"].is_i64())
        {
            let of = |name: &str| pair[1][name].as_i64().unwrap();
            let latency_ms = of("latencyMs");
            assert_eq!(
                latency_ms,
                of("startMs") - pair[0]["endMs"].as_i64().unwrap()
            );
            let span_ms =
                |item: &Value| item["endMs"].as_i64().unwrap() - item["startMs"].as_i64().unwrap();
            let tools_ms: i64 = items(call, "toolCalls")
                .iter()
                .filter(|tool| tool["turn"] == pair[1]["index"])
                .map(span_ms)
                .sum();
            let asking_ms = pair[1]
                .get("llmCalls")
                .map_or(0, |calls| span_ms(&calls[0]));
            let known_ms = of("endpointingMs") + of("sttMs") + of("llmMs") + of("ttsMs");
            let rest_ms = latency_ms - known_ms - tools_ms - asking_ms;
            assert!((1..300).contains(&rest_ms), "{rest_ms} {}", pair[1]);
            let version = call["session"]["models"]["llm"]
                .as_str()
                .unwrap()
                .to_owned();
            llm_ms.entry(version).or_default().push(of("llmMs"));
        }
    }
    for model in [cast::LARGE, cast::SMALL] {
        let median_ms = median(llm_ms.remove(model.name).unwrap());
        assert!(
            (median_ms / model.first.median_ms - 1.0).abs() < 0.1,
            "{median_ms}"
        );
    }
}

#[test]
fn calls_follow_the_week_and_mostly_succeed() {
    for plan in [PLAN, LEAN] {
        let calls = weeks(&plan);
        let of_days = |days: std::ops::Range<u32>| {
            use chrono::Datelike;
            let is_in =
                |call: &&Value| days.contains(&start(call).weekday().num_days_from_monday());
            calls.iter().filter(is_in).count() as f64 / f64::from(days.end - days.start)
        };
        assert!(of_days(0..5) > 1.4 * of_days(5..7));
        assert!((calls.len() as f64 / (14.0 * plan.calls_per_day) - 1.0).abs() < 0.1);
        let mut share = BTreeMap::<&str, f64>::new();
        for call in &calls {
            let status = call["session"]["status"].as_str().unwrap();
            *share.entry(status).or_default() += 1.0 / calls.len() as f64;
        }
        assert!((0.86..0.93).contains(&share["completed"]), "{share:?}");
        assert_eq!(share.len(), 4, "{share:?}");
        for list in ["toolCalls", "interruptions", "errors"] {
            assert!(calls.iter().any(|call| call.get(list).is_some()), "{list}");
        }
    }
}

#[test]
fn calls_going_on_keep_their_ids_and_grow() {
    let now = at("2026-01-19T10:00:30Z");
    let earlier = live(&PLAN, now);
    let later = live(&PLAN, now + TimeDelta::seconds(80));
    for (earlier, later) in earlier.iter().zip(&later) {
        assert_eq!(
            earlier["session"]["sessionId"],
            later["session"]["sessionId"]
        );
        assert!(later["session"].get("endedAt").is_none());
        assert!(items(later, "turns").starts_with(items(earlier, "turns")));
    }
    let turns = |calls: &[Value]| calls.iter().map(|c| items(c, "turns").len()).sum::<usize>();
    assert!(turns(&later) > turns(&earlier));
    let statuses: BTreeSet<_> = earlier
        .iter()
        .map(|c| c["session"]["status"].as_str())
        .collect();
    let all = ["active", "queued", "ringing"];
    assert_eq!(statuses, all.into_iter().map(Some).collect());
}

#[test]
fn without_calls_a_day_there_are_none() {
    for calls_per_day in [0.0, -1.0, f64::NAN] {
        assert!(
            weeks(&Plan {
                calls_per_day,
                ..PLAN
            })
            .is_empty()
        );
    }
}
