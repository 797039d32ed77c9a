//! One fault of each type, as its definition says it, put into a script. Where a definition has several
//! ways, one is drawn; amounts are drawn from a little above the limit upwards.

use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::json;

use super::{Over, Script, words};
use crate::domain::analysis::IssueType::{self, *};
use crate::domain::analysis::{Severity, Stage};

/// Which turn must be blamed.
#[derive(Clone, Copy)]
pub enum Blamed {
    User(usize),
    Agent(usize),
    First,
    Nobody,
}

pub struct Fault {
    pub blamed: Blamed,
    pub stage: Option<Stage>,
    pub severity: Option<Severity>,
    /// What is true besides, because of it.
    pub follows: &'static [IssueType],
}

pub fn put(kind: IssueType, script: &mut Script) -> Fault {
    let count = script.exchanges.len();
    let k = script.rng.random_range(3..count - 2);
    let mut fault = Fault {
        blamed: Blamed::Agent(k),
        stage: None,
        severity: None,
        follows: &[],
    };
    // The fault stands alone: nobody interrupts around it.
    for n in k - 1..=k + 1 {
        script.exchanges[n].over = None;
    }
    script.exchanges[count - 1].over = None;
    let rng = &mut script.rng;
    let all = &mut script.exchanges;
    match kind {
        HighLatency => {
            let by = rng.random_range(1550.0..1700.0);
            let gap = &mut all[k].gap;
            let (stage, part) = match rng.random_range(0..3) {
                0 => (Stage::Llm, &mut gap.llm),
                1 => (Stage::Tts, &mut gap.tts),
                _ => (Stage::Stt, &mut gap.stt),
            };
            *part = by;
            fault.stage = Some(stage);
            fault.follows = &[DeadAir];
        }
        ColdStart => {
            script.greeting_after_ms = rng.random_range(810.0..2500.0);
            fault.blamed = Blamed::First;
            fault.severity = Some(Severity::Minor);
        }
        ContextGrowth => {
            for (n, one) in all.iter_mut().enumerate() {
                one.gap.llm = 160.0 + 22.0 * n as f64 + rng.random_range(0.0..10.0);
                (one.gap.tool, one.gap.llm_after_tool, one.tool) = (None, 0.0, None);
                (one.gap.stt, one.gap.endpointing) = (120.0, 300.0);
                one.agent_more
                    .insert("usage".to_owned(), json!({"promptTokens": 900 + 350 * n}));
            }
            (fault.blamed, fault.stage) = (Blamed::Nobody, Some(Stage::Llm));
        }
        FailedTurn => {
            fault.severity = Some(Severity::Critical);
            match rng.random_range(0..3) {
                0 => {
                    all[k].is_answered = false;
                    all[k + 1].pause_ms = rng.random_range(3200.0..7000.0);
                    (fault.blamed, fault.follows) = (Blamed::User(k), &[DeadAir]);
                }
                1 => {
                    all[k].agent_more.insert("playedMs".to_owned(), json!(0));
                    fault.follows = &[DeadAir];
                }
                _ => {
                    all[k].agent_more.insert("failed".to_owned(), json!(true));
                    fault.follows = &[DeadAir];
                }
            }
        }
        ProviderError => {
            let (service, stage) = *[
                ("stt", Stage::Stt),
                ("llm", Stage::Llm),
                ("tts", Stage::Tts),
            ]
            .choose(rng)
            .unwrap();
            let error = match rng.random_range(0..3) {
                0 => {
                    json!({"service": service, "message": "refused", "statusCode": 429, "retryAfterMs": 200})
                }
                1 => json!({"service": service, "message": "broken", "statusCode": 503}),
                _ => {
                    json!({"service": service, "message": "again", "level": "warning", "attempt": 2})
                }
            };
            script.errors.push((k, error));
            fault.stage = Some(stage);
        }
        ProviderFallback => {
            all[k].llm = *[("anthropic", "claude-haiku"), ("openai", "gpt-4o-mini")]
                .choose(rng)
                .unwrap();
            (fault.stage, fault.severity) = (Some(Stage::Llm), Some(Severity::Minor));
        }
        ToolError => {
            all[k].tool = Some(
                json!({"name": "find_order", "arguments": {"order": 7}, "error": "no such order"}),
            );
            fault.stage = Some(Stage::Tool);
        }
        SlowTool => {
            all[k].tool =
                Some(json!({"name": "find_order", "arguments": {"order": 7}, "result": "there"}));
            (all[k].gap.tool, all[k].gap.llm_after_tool) =
                (Some(rng.random_range(1020.0..1900.0)), 60.0);
            (fault.stage, fault.follows) = (Some(Stage::Tool), &[HighLatency, DeadAir]);
        }
        ToolLoop => {
            let arguments = rng.random_bool(0.6).then(|| json!({"order": 7}));
            for one in &mut all[k - 2..=k] {
                one.tool =
                    Some(json!({"name": "find_order", "arguments": arguments, "result": "there"}));
                (one.gap.tool, one.gap.llm_after_tool) = (None, 0.0);
            }
            fault.stage = Some(Stage::Tool);
        }
        TruncatedResponse => {
            all[k]
                .agent_more
                .insert("finishReason".to_owned(), json!("length"));
        }
        NoTranscript => {
            for n in [k, k + 2] {
                all[n - 1].over = None;
                all[n].over = None;
                all[n].user_more.insert("text".to_owned(), json!(null));
                all[n].user_ms = rng.random_range(750.0..3000.0);
            }
            (fault.blamed, fault.stage, fault.severity) =
                (Blamed::Nobody, Some(Stage::Stt), Some(Severity::Critical));
        }
        LowSttConfidence => {
            let confidence: f64 = rng.random_range(0.2..0.695);
            all[k]
                .user_more
                .insert("confidence".to_owned(), json!(confidence));
            let is_major = confidence < 0.5;
            fault.severity = Some(if is_major {
                Severity::Major
            } else {
                Severity::Minor
            });
            fault.blamed = Blamed::User(k);
        }
        TtsStall => {
            if rng.random_bool(0.5) {
                all[k]
                    .agent_more
                    .insert("stallMs".to_owned(), json!(rng.random_range(1000..3000)));
            } else {
                all[k].agent = words(rng, 20);
                all[k].agent_ms =
                    all[k].agent.len() as f64 * super::LETTER_MS * rng.random_range(0.2..0.55);
            }
            fault.stage = Some(Stage::Tts);
        }
        PrematureResponse => {
            all[k].user_ms = all[k].user_ms.max(1500.0);
            if rng.random_bool(0.5) {
                all[k].early_ms = rng.random_range(150.0..600.0);
            } else {
                // The user goes on while the agent speaks, which gives way at once.
                all[k].agent_ms = 4000.0;
                all[k].agent = words(rng, 8);
                all[k].over = Some(Over {
                    text: words(rng, 6),
                    after_ms: rng.random_range(200.0..900.0),
                    ms: 2000.0,
                    stops_after_ms: Some(500.0),
                    is_flagged: true,
                    is_reported: false,
                });
            }
            fault.stage = Some(Stage::Endpointing);
        }
        SlowEndpointing => {
            let gap = &mut all[k].gap;
            *gap = super::Gap {
                stt: 60.0,
                endpointing: rng.random_range(1010.0..1150.0),
                llm: 130.0,
                tts: 60.0,
                ..super::Gap::default()
            };
            all[k].tool = None;
            (fault.stage, fault.severity) = (Some(Stage::Endpointing), Some(Severity::Minor));
        }
        MissedBargeIn | SlowBargeInStop | EchoInterruption | FalseInterruption => {
            return overlap(kind, script, k, fault);
        }
        DeadAir => match rng.random_range(0..3) {
            0 => {
                all[k].gap.llm = rng.random_range(3100.0..9000.0);
                (fault.stage, fault.follows) = (Some(Stage::Llm), &[HighLatency]);
            }
            1 => {
                all[k].pause_ms = rng.random_range(5050.0..14_000.0);
                fault.blamed = Blamed::User(k);
            }
            _ => {
                script.tail_ms = rng.random_range(5050.0..14_000.0);
                fault.blamed = Blamed::Agent(count - 1);
            }
        },
        UserRepetition => {
            all[k].user = match rng.random_bool(0.5) {
                true => "hello are you there".to_owned(),
                false => {
                    all[k - 1].user = words(rng, 8);
                    format!("{} please", all[k - 1].user)
                }
            };
            all[k - 2].over = None;
            (fault.blamed, fault.severity) = (Blamed::User(k), Some(Severity::Minor));
        }
        AgentRepetition => {
            for n in k - 2..=k {
                all[n].over = None;
                (all[n].agent, all[n].agent_ms) = (all[k].agent.clone(), all[k].agent_ms);
            }
        }
        Monologue => {
            all[k].agent = words(rng, 60);
            all[k].agent_ms = all[k].agent.len() as f64 * super::LETTER_MS;
        }
        AbandonedAfterSilence => {
            let last = count - 1;
            all[last].over = None;
            all[last].gap.llm = rng.random_range(3100.0..6000.0);
            // Hanging up cuts the answer off.
            all[last].agent_ms = rng.random_range(600.0..3000.0);
            all[last]
                .agent_more
                .insert("interrupted".to_owned(), json!(true));
            script.tail_ms = rng.random_range(50.0..1900.0);
            (fault.blamed, fault.stage, fault.severity) = (
                Blamed::Agent(last),
                Some(Stage::Llm),
                Some(Severity::Critical),
            );
            fault.follows = &[HighLatency, DeadAir];
        }
        Voicemail => {
            script
                .session
                .insert("answeredBy".to_owned(), json!("machine"));
            fault.blamed = Blamed::First;
        }
        NetworkDegraded => {
            let (name, value) = *[
                ("lossPercent", 3.5),
                ("jitterMs", 42.0),
                ("rttMs", 480.0),
                ("mos", 3.2),
            ]
            .choose(rng)
            .unwrap();
            script.network[2][name] = json!(value);
            fault.blamed = Blamed::Nobody;
        }
        TelemetryGap => {
            fault.severity = Some(Severity::Minor);
            if rng.random_bool(0.5) {
                let gap = &mut all[k].gap;
                *gap = super::Gap {
                    stt: 80.0,
                    endpointing: 250.0,
                    llm: 250.0,
                    tts: 80.0,
                    rest: rng.random_range(310.0..800.0),
                    ..super::Gap::default()
                };
                all[k].tool = None;
                fault.stage = Some(Stage::Unexplained);
            } else {
                // A fifth of the answers and more lack a stage.
                for one in all.iter_mut().step_by(4) {
                    one.agent_more
                        .insert("endpointingMs".to_owned(), json!(null));
                    (one.gap.endpointing, one.gap.rest) = (150.0, 0.0);
                }
                (fault.blamed, fault.stage) = (Blamed::Nobody, Some(Stage::Endpointing));
            }
        }
    }
    fault
}

fn overlap(kind: IssueType, script: &mut Script, k: usize, mut fault: Fault) -> Fault {
    let rng = &mut script.rng;
    let all = &mut script.exchanges;
    all[k].agent = words(rng, 22);
    all[k].agent_ms = all[k].agent.len() as f64 * super::LETTER_MS;
    let left = all[k].agent_ms;
    let (is_flagged, is_reported) = (rng.random_bool(0.7), rng.random_bool(0.5));
    let mut over = Over {
        text: words(rng, 6),
        after_ms: rng.random_range(1500.0..3000.0),
        ms: rng.random_range(1600.0..2600.0),
        stops_after_ms: None,
        is_flagged: is_flagged || is_reported,
        is_reported,
    };
    match kind {
        MissedBargeIn => {
            over.after_ms = left - rng.random_range(1600.0..4000.0);
            (over.is_flagged, over.is_reported) = (false, false);
        }
        SlowBargeInStop => over.stops_after_ms = Some(rng.random_range(850.0..1400.0)),
        EchoInterruption => {
            // It hears what it says.
            let said: Vec<&str> = all[k].agent.split(' ').collect();
            let from = (said.len() as f64 * over.after_ms / left) as usize;
            over.text = said[from.saturating_sub(3)..from + 2].join(" ");
            over.stops_after_ms = Some(rng.random_range(300.0..700.0));
            over.is_flagged = true;
        }
        _ => {
            over.stops_after_ms = Some(rng.random_range(200.0..600.0));
            (over.is_flagged, over.is_reported) = (true, true);
            over.text = match rng.random_bool(0.5) {
                true => String::new(),
                false => "mm hmm".to_owned(),
            };
            over.ms = 400.0;
            all[k + 1].pause_ms = rng.random_range(2700.0..4500.0);
            fault.follows = &[DeadAir];
        }
    }
    all[k].over = Some(over);
    fault.blamed = Blamed::Agent(k);
    fault
}
