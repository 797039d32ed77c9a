//! One fault of each type, put into a session without any.

use serde_json::{Value, json};

use crate::domain::analysis::IssueType;
use crate::domain::analysis::IssueType::*;
use crate::domain::analysis::fixture::delay;

pub struct Fault {
    /// The turn that must be blamed, if it is one.
    pub turn: Option<i32>,
    /// What may be told besides, because it follows from the fault.
    pub follows: &'static [IssueType],
}

/// An answer and the user's turns around it.
const AGENT: usize = 9;
const BEFORE: usize = 8;
const AFTER: usize = 10;

fn ms(call: &Value, turn: usize, name: &str) -> i64 {
    call["turns"][turn][name].as_i64().unwrap()
}

/// Lets an answer come later, because of one of its stages or of none.
fn late(call: &mut Value, turn: usize, stage: Option<&str>, by: i64) {
    delay(call, turn, by);
    call["turns"][turn]["latencyMs"] = json!(ms(call, turn, "latencyMs") + by);
    if let Some(stage) = stage {
        call["turns"][turn][stage] = json!(ms(call, turn, stage) + by);
    }
}

/// Makes a turn last so long.
fn last(call: &mut Value, turn: usize, length: i64) {
    let by = length - (ms(call, turn, "endMs") - ms(call, turn, "startMs"));
    delay(call, turn + 1, by);
    call["turns"][turn]["endMs"] = json!(ms(call, turn, "startMs") + length);
}

/// Lets the user's next turn begin so long before the answer's end.
fn speak_over(call: &mut Value, before_end: i64, text: &str) {
    last(call, AGENT, 6000);
    let by = ms(call, AGENT, "endMs") - before_end - ms(call, AFTER, "startMs");
    delay(call, AFTER, by);
    call["turns"][AFTER]["text"] = json!(text);
    last(call, AFTER, 3500);
}

pub fn put(kind: IssueType, call: &mut Value) -> Option<Fault> {
    let one = |turn: usize, follows| {
        Some(Fault {
            turn: Some(turn as i32),
            follows,
        })
    };
    let whole = |follows| {
        Some(Fault {
            turn: None,
            follows,
        })
    };
    let count = call["turns"].as_array().unwrap().len();
    match kind {
        HighLatency => late(call, AGENT, Some("llmMs"), 1300),
        ColdStart => {
            for (stage, to) in [("endpointingMs", 150), ("sttMs", 100)] {
                let by = to - ms(call, 1, stage);
                late(call, 1, Some(stage), by);
            }
            late(call, 1, Some("ttsMs"), 480);
            return one(1, &[]);
        }
        ContextGrowth => {
            for (n, turn) in (1..count).step_by(2).enumerate() {
                let grown = 200 + 20 * n as i64;
                let by = grown - ms(call, turn, "llmMs");
                late(call, turn, Some("llmMs"), by);
                call["turns"][turn]["usage"] = json!({"promptTokens": 800 + 400 * n});
            }
            return whole(&[]);
        }
        FailedTurn => call["turns"][AGENT]["failed"] = json!(true),
        ProviderError => {
            call["errors"] =
                json!([{"service": "tts", "turn": AGENT, "message": "refused", "statusCode": 503}]);
        }
        ProviderFallback => call["turns"][AGENT]["models"]["llm"] = json!("claude-haiku"),
        ToolError => {
            call["toolCalls"] = json!([{"turn": AGENT, "name": "find", "error": "no such order"}])
        }
        SlowTool => {
            let from = ms(call, BEFORE, "endMs") + 700;
            late(call, AGENT, None, 2000);
            call["toolCalls"] =
                json!([{"turn": AGENT, "name": "find", "startMs": from, "endMs": from + 2000}]);
            return one(AGENT, &[HighLatency, DeadAir]);
        }
        ToolLoop => {
            let tool = |turn: usize| json!({"turn": turn, "name": "find", "arguments": {"id": 7}});
            call["toolCalls"] = json!([tool(3), tool(5), tool(AGENT)]);
        }
        TruncatedResponse => call["turns"][AGENT]["finishReason"] = json!("length"),
        NoTranscript => {
            for turn in [4, BEFORE] {
                call["turns"][turn]["text"] = json!(null);
                let length = (ms(call, turn, "endMs") - ms(call, turn, "startMs")).max(900);
                last(call, turn, length);
            }
            return whole(&[]);
        }
        LowSttConfidence => {
            call["turns"][BEFORE]["confidence"] = json!(0.55);
            return one(BEFORE, &[UserRepetition]);
        }
        TtsStall => call["turns"][AGENT]["stallMs"] = json!(1600),
        PrematureResponse => {
            let overlap = 300.min(ms(call, BEFORE, "endMs") - ms(call, BEFORE, "startMs") - 100);
            let gap = ms(call, AGENT, "startMs") - ms(call, BEFORE, "endMs");
            delay(call, AGENT, -gap - overlap);
            call["turns"][BEFORE]["text"] = json!("and then there is another thing I wanted to");
        }
        SlowEndpointing => {
            for (stage, to) in [
                ("sttMs", 60),
                ("llmMs", 120),
                ("ttsMs", 70),
                ("endpointingMs", 1180),
            ] {
                let by = to - ms(call, AGENT, stage);
                late(call, AGENT, Some(stage), by);
            }
            let rest = 1430 - ms(call, AGENT, "latencyMs");
            late(call, AGENT, None, rest);
        }
        MissedBargeIn => speak_over(call, 2500, "no wait that is not what I meant at all"),
        SlowBargeInStop => {
            speak_over(call, 1300, "sorry can I stop you there for a moment");
            call["turns"][AGENT]["interrupted"] = json!(true);
        }
        FalseInterruption => {
            let end = ms(call, AGENT, "endMs");
            call["turns"][AGENT]["interrupted"] = json!(true);
            call["interruptions"] = json!([{"turn": AGENT, "atMs": end - 400, "stopMs": 400}]);
            let by = end + 2600 - ms(call, AFTER, "startMs");
            delay(call, AFTER, by);
        }
        EchoInterruption => {
            call["turns"][AGENT]["text"] =
                json!("we have a double room with breakfast on the second floor free for you");
            speak_over(call, 600, "second floor free for you");
            call["turns"][AGENT]["interrupted"] = json!(true);
        }
        DeadAir => {
            late(call, AGENT, Some("llmMs"), 4000);
            return one(AGENT, &[HighLatency]);
        }
        UserRepetition => {
            call["turns"][BEFORE]["text"] = json!("hello are you still there");
            return one(BEFORE, &[]);
        }
        AgentRepetition => {
            for turn in [5, 7, AGENT] {
                call["turns"][turn]["text"] = json!("could you tell me your date of birth please");
            }
        }
        Monologue => last(call, AGENT, 24_000),
        AbandonedAfterSilence => {
            last(call, count - 1, 2000);
            call["turns"][count - 1]["interrupted"] = json!(true);
            late(call, count - 1, Some("llmMs"), 4500);
            return one(count - 1, &[HighLatency, DeadAir]);
        }
        Voicemail => {
            call["session"]["answeredBy"] = json!("machine");
            return whole(&[]);
        }
        NetworkDegraded => {
            call["network"] =
                json!([{"atMs": 2000, "rttMs": 80}, {"atMs": 9000, "lossPercent": 7}]);
            return whole(&[]);
        }
        TelemetryGap => {
            for turn in [3, 5, AGENT] {
                call["turns"][turn]["ttsMs"] = json!(null);
            }
            return whole(&[]);
        }
    }
    one(AGENT, &[])
}
