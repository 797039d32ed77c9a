//! Where the time went that a user waited for an answer: the stages one after the other, and what of the wait no
//! stage explains.

use crate::domain::items::ToolCall;
use crate::domain::items::covered_ms;
use crate::domain::turn::Turn;

/// A stretch of the wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// The style that it is drawn in.
    pub kind: &'static str,
    pub label: &'static str,
    pub ms: f64,
}

/// The wait in stages.
pub struct Wait {
    pub stages: Vec<Stage>,
    /// As it was measured, or summed up.
    pub total_ms: Option<f64>,
    /// By how much the stages are longer than the wait: they ran at the same time.
    pub overlap_ms: f64,
}

/// Differences smaller than this are rounding.
const ROUNDING_MS: f64 = 1.0;

impl Wait {
    pub fn of(turn: &Turn, tools: &[&ToolCall]) -> Self {
        let (llm_ms, tools_ms) = thinking(turn, tools);
        let stages = [
            ("stt", "STT final", turn.stt_ms),
            ("endpointing", "Endpointing", turn.endpointing_ms),
            ("llm", "LLM first token", llm_ms),
            ("tool", "Tools", tools_ms),
            ("tts", "TTS first audio", turn.tts_ms),
        ];
        // A stage of 0 ms did not take place.
        let mut stages: Vec<Stage> = stages
            .into_iter()
            .filter_map(|(kind, label, ms)| {
                Some(Stage {
                    kind,
                    label,
                    ms: ms?,
                })
            })
            .filter(|stage| stage.ms > 0.0)
            .collect();
        let explained_ms: f64 = stages.iter().map(|stage| stage.ms).sum();
        let rest_ms = turn.latency_ms.map_or(0.0, |total| total - explained_ms);
        if rest_ms > ROUNDING_MS {
            stages.push(Stage {
                kind: "unexplained",
                label: "Unexplained",
                ms: rest_ms,
            });
        }
        Self {
            stages,
            total_ms: turn.latency_ms,
            overlap_ms: if rest_ms < -ROUNDING_MS {
                -rest_ms
            } else {
                0.0
            },
        }
    }

    /// What there is to draw, in ms.
    pub fn length_ms(&self) -> f64 {
        let stages_ms: f64 = self.stages.iter().map(|stage| stage.ms).sum();
        stages_ms.max(self.total_ms.unwrap_or_default())
    }
}

/// How long the model took to the first token of the answer, and the tools that it waited for.
fn thinking(turn: &Turn, tools: &[&ToolCall]) -> (Option<f64>, Option<f64>) {
    let intervals = || tools.iter().filter_map(|tool| tool.interval());
    if let Some((start_ms, first_token_ms)) = turn.generations_ms() {
        let within = intervals().map(|(start, end)| {
            let bound = |ms: i32| f64::from(ms).clamp(start_ms, first_token_ms) as i32;
            (bound(start), bound(end))
        });
        let tools_ms = covered_ms(within);
        return (Some(first_token_ms - start_ms - tools_ms), Some(tools_ms));
    }
    // What runs when the answer is heard already keeps nobody waiting.
    let heard_ms = turn.start_ms.unwrap_or(i32::MAX);
    let before = intervals().map(|(start, end)| (start.min(heard_ms), end.min(heard_ms)));
    (turn.llm_ms, Some(covered_ms(before)))
}

#[cfg(test)]
pub mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::event::{Kind, Source};
    use crate::domain::fact::Fact;

    /// A turn as a native event would make it.
    pub fn turn(fields: Value) -> Turn {
        let Value::Object(fields) = fields else {
            unreachable!("an object")
        };
        let fact = Fact {
            source: Source::Event,
            kind: Kind::Turn,
            id: "e".to_owned(),
            at: DateTime::UNIX_EPOCH,
            hash: 0,
            fields,
        };
        Turn::derive(0, &[&fact])
    }

    fn parts(turn: &Turn, tools: &[&ToolCall]) -> Vec<(&'static str, f64)> {
        let wait = Wait::of(turn, tools);
        wait.stages.iter().map(|s| (s.kind, s.ms)).collect()
    }

    #[test]
    fn the_stages_and_the_rest_are_the_whole_wait() {
        let measured = turn(
            json!({"speaker": "agent", "startMs": 5000, "sttMs": 120, "endpointingMs": 0,
            "llmMs": 400, "ttsMs": 180, "latencyMs": 900}),
        );
        assert_eq!(
            parts(&measured, &[]),
            [
                ("stt", 120.0),
                ("llm", 400.0),
                ("tts", 180.0),
                ("unexplained", 200.0)
            ]
        );
        let overlapping =
            turn(json!({"speaker": "agent", "llmMs": 400, "ttsMs": 180, "latencyMs": 500}));
        assert_eq!(Wait::of(&overlapping, &[]).overlap_ms, 80.0);
        let unknown = turn(json!({"speaker": "agent", "llmMs": 400}));
        assert_eq!(parts(&unknown, &[]), [("llm", 400.0)]);
        assert_eq!(Wait::of(&unknown, &[]).length_ms(), 400.0);
    }
}
