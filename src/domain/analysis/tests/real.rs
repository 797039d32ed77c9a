//! The shipped real calls: as they are, and as sessions of an agent that does everything right, which
//! keep who said what and for how long.

use std::io::Read;

use chrono::{DateTime, TimeDelta};
use flate2::read::GzDecoder;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::domain::analysis::IssueType;

const CALLS: &[u8] = include_bytes!("../../../samples/data/calls.jsonl.gz");
/// What is wrong in the real calls themselves, by words of the session: this caller gives an address twice.
const TRUE_ISSUES: [(&str, IssueType); 1] = [("John Jones dot net", IssueType::UserRepetition)];
/// Turns of a session.
const TURNS: usize = 20;

fn lines() -> Vec<Value> {
    let mut text = String::new();
    GzDecoder::new(CALLS).read_to_string(&mut text).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The calls as they came.
pub fn native_calls() -> Vec<Value> {
    let turn = |t: &Value| {
        json!({"index": t["index"], "speaker": t["speaker"], "text": t["text"],
            "startMs": t["start_ms"], "endMs": t["end_ms"]})
    };
    let call = |line: Value| {
        let turns: Value = line["turns"].as_array().unwrap().iter().map(turn).collect();
        json!({"session": {"agentId": "a"}, "turns": turns})
    };
    lines().into_iter().map(call).collect()
}

/// Sessions without a fault: turns by turns, each at its own length, with the pauses of an agent that is
/// in time.
pub fn sessions() -> Vec<Value> {
    let mut sessions = Vec::new();
    let mut rng = StdRng::seed_from_u64(7);
    for line in lines() {
        let said = alternating(&line);
        for piece in said.chunks_exact(TURNS) {
            sessions.push(session(piece, &mut rng));
        }
    }
    sessions
}

/// Whether a listener would say so too.
pub fn is_true_of(session: &Value, kind: IssueType) -> bool {
    let says = |words: &str| {
        let turns = session["turns"].as_array().unwrap();
        turns.iter().any(|turn| {
            turn["text"]
                .as_str()
                .is_some_and(|text| text.contains(words))
        })
    };
    TRUE_ISSUES
        .iter()
        .any(|(words, known)| *known == kind && says(words))
}

struct Said {
    is_agent: bool,
    text: String,
    ms: i64,
}

/// What was said with words, neighbours of one speaker as one, the user first.
fn alternating(line: &Value) -> Vec<Said> {
    let mut all: Vec<Said> = Vec::new();
    for turn in line["turns"].as_array().unwrap() {
        let is_agent = turn["speaker"] == "agent";
        let text = turn["text"].as_str().unwrap().trim().to_owned();
        let ms = turn["end_ms"].as_i64().unwrap() - turn["start_ms"].as_i64().unwrap();
        let words = crate::domain::analysis::text::words(&text);
        if words.len() < 2 || ms < 700 {
            continue;
        }
        match all.last_mut() {
            Some(last) if last.is_agent == is_agent && last.ms + ms < 15_000 => {
                last.text = format!("{} {text}", last.text);
                last.ms += ms;
            }
            Some(last) if last.is_agent == is_agent => {}
            None if is_agent => {}
            _ => all.push(Said { is_agent, text, ms }),
        }
    }
    all.iter_mut()
        .for_each(|said| said.ms = said.ms.min(19_000));
    all
}

fn session(said: &[Said], rng: &mut StdRng) -> Value {
    let (mut now, mut turns) = (0i64, Vec::new());
    for (index, said) in said.iter().enumerate() {
        let mut turn = json!({"index": index, "speaker": "user", "text": said.text});
        if said.is_agent {
            let stages: [i64; 4] =
                [80..300, 150..450, 200..380, 90..260].map(|range| rng.random_range(range));
            let gap = stages.iter().sum::<i64>() + rng.random_range(0..120);
            now += gap;
            turn["speaker"] = json!("agent");
            for (name, ms) in ["sttMs", "endpointingMs", "llmMs", "ttsMs"]
                .iter()
                .zip(stages)
            {
                turn[*name] = json!(ms);
            }
            turn["latencyMs"] = json!(gap);
            turn["finishReason"] = json!("stop");
            turn["models"] = json!({"stt": "nova-3", "llm": "gpt-4o", "tts": "sonic-2"});
        } else {
            now += rng.random_range(300..1800);
            turn["confidence"] = json!(rng.random_range(0.75..0.99));
        }
        (turn["startMs"], turn["endMs"]) = (json!(now), json!(now + said.ms));
        now += said.ms;
        turns.push(turn);
    }
    let ended = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(now + 900);
    json!({
        "session": {"agentId": "desk", "channel": "inbound", "status": "completed", "endedBy": "user",
            "startedAt": "1970-01-01T00:00:00Z", "endedAt": ended.to_rfc3339()},
        "turns": turns,
    })
}
