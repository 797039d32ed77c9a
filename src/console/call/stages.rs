//! Where the time went that a user waited for an answer, as the analysis tells it: the stages on the way one after the
//! other, each moment counted once, and what of the wait no stage explains.

use crate::domain::analysis::{Part, Segment, TurnLatency};
use crate::domain::turn::Turn;

/// A stretch of the wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// The style that it is drawn in.
    pub kind: &'static str,
    pub label: &'static str,
    pub ms: i64,
    /// As long as it really ran, where some of it was beside something else.
    pub whole_ms: Option<i64>,
}

/// The wait in stages.
pub struct Wait {
    pub stages: Vec<Stage>,
    /// None where the stages were measured, and the wait was not.
    pub total_ms: Option<i64>,
}

impl Wait {
    /// Rounded so that the stages still add up: each boundary between two is rounded, not each stage.
    pub fn of(latency: &TurnLatency) -> Self {
        let (mut end_ms, mut rounded_ms) = (0.0, 0);
        let mut next = |ms: f64| {
            end_ms += ms;
            let since = rounded_ms;
            rounded_ms = whole(end_ms);
            rounded_ms - since
        };
        let stage = |segment: &Segment| {
            let ms = next(segment.ms);
            let (kind, label) = drawn(segment.part);
            Stage {
                kind,
                label,
                ms,
                whole_ms: Some(whole(segment.measured_ms)).filter(|whole| *whole > ms + 1),
            }
        };
        let mut stages: Vec<Stage> = latency.segments.iter().map(stage).collect();
        stages.extend(latency.unexplained_ms.map(|ms| Stage {
            kind: "unexplained",
            label: "Unexplained",
            ms: next(ms),
            whole_ms: None,
        }));
        // What took no time has nothing to be drawn; what ran beside another stage is still told.
        stages.retain(|stage| stage.ms > 0 || stage.whole_ms.is_some());
        Self {
            stages,
            total_ms: latency.gap_ms.map(whole),
        }
    }

    /// What there is to draw, in ms.
    pub fn length_ms(&self) -> i64 {
        self.stages.iter().map(|stage| stage.ms).sum()
    }
}

/// What was measured of a turn that nobody waited for, such as one that was thrown away.
pub fn measured(turn: &Turn) -> Vec<(&'static str, f64)> {
    let all = [
        ("STT final", turn.stt_ms),
        ("Endpointing", turn.endpointing_ms),
        ("LLM first token", turn.llm_ms),
        ("TTS first audio", turn.tts_ms),
    ];
    let known = all.into_iter().filter_map(|(name, ms)| Some((name, ms?)));
    known.filter(|(_, ms)| *ms > 0.0).collect()
}

fn drawn(part: Part) -> (&'static str, &'static str) {
    match part {
        Part::Stt => ("stt", "STT final"),
        Part::Endpointing => ("endpointing", "Endpointing"),
        Part::Callback => ("llm", "Before the LLM's request"),
        Part::Llm => ("llm", "LLM first token"),
        Part::Tool => ("tool", "Tools"),
        Part::Aggregation => ("tts", "Text for the TTS"),
        Part::Tts => ("tts", "TTS first audio"),
        Part::Playout => ("transport", "Playout"),
        Part::Transport => ("transport", "Transport"),
        Part::Telephony => ("transport", "Telephony"),
    }
}

fn whole(ms: f64) -> i64 {
    ms.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(part: Part, ms: f64, measured_ms: f64) -> Segment {
        Segment {
            part,
            stage: part.stage(),
            ms,
            measured_ms,
            provider: None,
            model: None,
        }
    }

    fn latency(segments: Vec<Segment>, gap_ms: Option<f64>, unexplained_ms: Option<f64>) -> Wait {
        Wait::of(&TurnLatency {
            turn: 1,
            at_ms: None,
            answers_user: true,
            gap_ms,
            source: None,
            clock: None,
            segments,
            unexplained_ms,
            missing: Vec::new(),
            used_tool: false,
        })
    }

    #[test]
    fn the_stages_and_the_rest_are_the_whole_wait() {
        let segments = vec![
            segment(Part::Stt, 120.4, 120.4),
            segment(Part::Llm, 300.4, 900.0),
            segment(Part::Tts, 180.4, 180.4),
        ];
        let wait = latency(segments, Some(700.0), Some(98.8));
        let told = wait.stages.iter();
        let told: Vec<_> = told.map(|one| (one.kind, one.ms, one.whole_ms)).collect();
        assert_eq!(
            told,
            [
                ("stt", 120, None),
                ("llm", 301, Some(900)),
                ("tts", 180, None),
                ("unexplained", 99, None)
            ]
        );
        assert_eq!((wait.total_ms, wait.length_ms()), (Some(700), 700));
        let without = latency(vec![segment(Part::Llm, 400.0, 400.0)], None, None);
        assert_eq!((without.total_ms, without.length_ms()), (None, 400));
        assert!(latency(Vec::new(), Some(0.0), Some(0.0)).stages.is_empty());
    }
}
