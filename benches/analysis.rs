//! What the analysis of a long call costs, beside putting the call together from its facts.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use voxray::domain::analysis::{Input, Targets, analyse};
use voxray::domain::assemble::{Conversation, assemble};
use voxray::domain::event::Submission;
use voxray::domain::ids::TenantId;
use voxray::domain::ledger::Ledger;
use voxray::ingest::native::call_item;

const TURNS: i64 = 500;
const RUNS: u32 = 200;

fn main() {
    let now: DateTime<Utc> = "2026-01-02T00:00:00Z".parse().unwrap();
    let (item, _) = call_item(
        TenantId(uuid::Uuid::nil()),
        call().to_string().as_bytes(),
        now,
    );
    let (_, submission) = item.content.unwrap();
    let conversation = whole(&submission, now);
    let assembling = each(|| drop(whole(&submission, now)));
    let targets = Targets::default();
    let input = Input::of(&conversation, &[], &[]);
    let issues = analyse(&input, &targets).issues.len();
    let analysing = each(|| drop(analyse(&input, &targets)));
    println!("a call of {TURNS} turns, {issues} issues");
    println!("assembled from its facts   {assembling:>12.2?}   1.00");
    let ratio = analysing.as_secs_f64() / assembling.as_secs_f64();
    println!("analysed                   {analysing:>12.2?}   {ratio:.2}");
}

fn each(work: impl Fn()) -> Duration {
    let started = Instant::now();
    for _ in 0..RUNS {
        work();
    }
    started.elapsed() / RUNS
}

fn whole(submission: &Submission, now: DateTime<Utc>) -> Conversation {
    let mut ledger = Ledger::default();
    ledger.submit(submission.clone(), now);
    assemble(&ledger).unwrap()
}

/// Questions and answers in turn, each answer with its stages, its generation and its words.
fn call() -> Value {
    let turns: Vec<Value> = (0..TURNS)
        .map(|n| {
            let start_ms = n * 3_000;
            let mut turn = json!({"index": n, "text": "and what would that be for tomorrow then",
                "speaker": "user", "startMs": start_ms, "endMs": start_ms + 2_000});
            if n % 2 == 1 {
                turn["speaker"] = json!("agent");
                turn["sttMs"] = json!(120);
                turn["endpointingMs"] = json!(180);
                turn["ttsMs"] = json!(200);
                turn["llmCalls"] = json!([{"startMs": start_ms - 500, "firstTokenMs": start_ms - 200,
                    "endMs": start_ms, "provider": "openai", "promptTokens": 900 + n}]);
            }
            turn["words"] = (0..8)
                .map(|w| json!({"word": "word", "startMs": start_ms + w * 250}))
                .collect();
            turn
        })
        .collect();
    json!({"session": {"sessionId": "long", "startedAt": "2026-01-01T00:00:00Z",
        "endedAt": "2026-01-01T01:00:00Z"}, "turns": turns})
}
