//! How soon an agent stopped, by what frameworks' spans tell: what they do not tell is not made up.

use serde_json::{Value, json};

use crate::support::{Client, TestServer};

use super::conversations::{request, span};
use super::{TRACES, capture, expected, list, send, server};

const QUALITY: &str = "/v1/observability/sessions/interruption-quality";

async fn quality(reader: &Client, since: &str) -> Value {
    reader
        .header("cache-control", "no-cache")
        .get(&format!("{QUALITY}?startedAfter={since}"))
        .await
        .status(200)
        .json()
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("a number, got {value}"))
}

#[tokio::test]
async fn captured_interruptions_took_as_long_as_they_did() {
    let server = server().await;
    let tenant = server.tenant("acme").await;
    send(&tenant.ingestor().await, &capture("pipecat-bargein")).await;
    server.analysed().await;
    let found = quality(&tenant.reader().await, "2026-11-01T00:00:00Z").await;
    let turns = list(&expected("pipecat-bargein")["sessions"][0]["turns"]);
    let stops = turns
        .windows(2)
        .filter(|pair| pair[0]["interrupted"] == true);
    let truth: Vec<f64> = stops
        .map(|pair| number(&pair[0]["audioEndMs"]) - number(&pair[1]["startMs"]))
        .collect();
    let stop = &found["stopLatencyMs"];
    assert_eq!(stop["samples"], truth.len());
    let mean = truth.iter().sum::<f64>() / truth.len() as f64;
    let off = (number(&stop["avg"]) - mean).abs();
    assert!(off <= 40.0, "{stop} is not {truth:?}");
    assert_eq!(found["recoveryRate"], 50.0, "{found}");
}

/// A Pipecat call of which only the seconds matter: a user breaks into an answer for 1.3 s until it stops. The
/// transcriber's span tells when the user began, or (as older ones) only when the words were there.
fn broken_into(number: u8, tells_onset: bool) -> Value {
    let start = f64::from(number) * 60.0;
    let at = |from: f64, to: f64| (start + from, start + to);
    let stt_from = |from: f64, to: f64| if tells_onset { (from, to) } else { (to, to) };
    let (first, second) = (stt_from(0.5, 12.0), stt_from(17.06, 20.2));
    let name = json!({"conversation.id": format!("call-{number}")});
    let turn = |latency: f64| {
        json!({"conversation.id": format!("call-{number}"), "turn.was_interrupted": true,
            "turn.user_bot_latency_seconds": latency})
    };
    let tts =
        |words: &str| json!({"text": words, "metrics.ttfb": 0.1, "metrics.character_count": 60.0});
    let llm =
        |words: &str| json!({"output": words, "metrics.ttfb": 0.2, "gen_ai.request.model": "m"});
    let stt = |words: &str| json!({"transcript": words, "metrics.ttfb": 0.2});
    let answer = "We are open from nine in the morning until six in the evening on every day";
    request(&[
        span(number + 1, 1, 0, "conversation", at(0.0, 26.0), &name),
        span(number + 1, 2, 1, "turn", at(0.0, 18.36), &turn(0.9)),
        span(
            number + 1,
            3,
            2,
            "stt",
            at(first.0, first.1),
            &stt("When are you open on weekends please"),
        ),
        span(number + 1, 4, 2, "llm", at(12.2, 12.6), &llm(answer)),
        span(number + 1, 5, 2, "tts", at(12.6, 13.0), &tts(answer)),
        span(number + 1, 6, 1, "turn", at(18.36, 26.0), &turn(0.9)),
        span(
            number + 1,
            7,
            6,
            "stt",
            at(second.0, second.1),
            &stt("No stop I meant on Sundays"),
        ),
        span(
            number + 1,
            8,
            6,
            "llm",
            at(20.4, 20.7),
            &llm("On Sundays from ten to four"),
        ),
        span(
            number + 1,
            9,
            6,
            "tts",
            at(20.7, 21.0),
            &tts("On Sundays from ten to four"),
        ),
    ])
}

#[tokio::test]
async fn a_slow_stop_is_slow() {
    let server = TestServer::start().await;
    let (known, unknown) = (server.tenant("known").await, server.tenant("unknown").await);
    for (tenant, tells_onset) in [(&known, true), (&unknown, false)] {
        let ingestor = tenant.ingestor().await;
        for number in 0..30 {
            let call = broken_into(number, tells_onset);
            ingestor.post(TRACES, &call).await.status(200);
        }
    }
    server.analysed().await;
    let reader = known.reader().await;
    let found = quality(&reader, "2025-06-11T00:00:00Z").await;
    let stop = &found["stopLatencyMs"];
    assert_eq!(
        (&stop["p50"], &stop["p95"], &stop["samples"]),
        (&json!(1300), &json!(1300), &json!(30)),
        "{found}"
    );
    assert_eq!(found["gate"]["verdict"], "fail", "{found}");
    assert_eq!(found["postInterruptionLatencyMs"]["samples"], 30);
    let path = "/v1/observability/sessions/call-7";
    let call = reader
        .get(&format!("{path}/root-cause"))
        .await
        .status(200)
        .json();
    let slow = list(&call["issues"]);
    let slow = slow
        .iter()
        .find(|issue| issue["type"] == "slow_barge_in_stop");
    let slow = slow.unwrap_or_else(|| panic!("no slow stop in {call}"));
    assert_eq!((&slow["impactMs"], &slow["turn"]), (&json!(500), &json!(1)));
    let detail = reader.get(path).await.status(200).json();
    assert_eq!(detail["interruptions"][0]["atMs"], 17_060, "{detail}");
    // Nobody says when the user began: that it was interrupted is all that is known.
    let reader = unknown.reader().await;
    let found = quality(&reader, "2025-06-11T00:00:00Z").await;
    assert_eq!(found["interruptions"], 30);
    for number in ["stopLatencyMs", "bleedThroughWords"] {
        assert_eq!(found[number]["samples"], 0, "{found}");
        assert_eq!(found[number]["p95"], json!(null), "{found}");
    }
    assert_eq!(found["gate"]["checks"][1]["pass"], json!(null), "{found}");
    assert_eq!(found["postInterruptionLatencyMs"]["samples"], 30);
    let detail = reader.get(path).await.status(200).json();
    assert_eq!(detail["interruptions"][0]["atMs"], json!(null));
}
