//! What the silence before an answer was made of: the stages on its critical path, each moment counted
//! once, and the rest that nobody explains. The sum is the gap, by construction.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::issue::Stage;
use super::path::{Gap, Times, number};
use crate::domain::items::ToolCall;
use crate::domain::session::Session;
use crate::domain::turn::{LatencySource, Speaker, Turn};

/// A piece of the way from the caller's last word to the agent's first sound, in the order of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Stt,
    Endpointing,
    /// The application's own work between the decision and the request.
    Callback,
    Llm,
    Tool,
    /// From the first token to what the synthesis is given.
    Aggregation,
    Tts,
    Playout,
    Transport,
    Telephony,
}

impl Part {
    /// What a turn tells beside its stages, and under which name.
    pub(super) const TOLD_BESIDE: [(Self, &str); 5] = [
        (Self::Callback, "callbackMs"),
        (Self::Aggregation, "aggregationMs"),
        (Self::Playout, "playoutMs"),
        (Self::Transport, "transportMs"),
        (Self::Telephony, "telephonyMs"),
    ];

    pub fn stage(self) -> Stage {
        match self {
            Self::Stt => Stage::Stt,
            Self::Endpointing => Stage::Endpointing,
            Self::Callback | Self::Llm => Stage::Llm,
            Self::Tool => Stage::Tool,
            Self::Aggregation | Self::Tts => Stage::Tts,
            Self::Playout | Self::Transport => Stage::Transport,
            Self::Telephony => Stage::Telephony,
        }
    }

    /// Whether a service does it, which somebody provides.
    pub(super) fn is_service(self) -> bool {
        matches!(self, Self::Stt | Self::Llm | Self::Tts)
    }

    /// Whether it ends with the decision that the caller's turn is over, or before it.
    pub(super) fn is_before_decision(self) -> bool {
        matches!(self, Self::Stt | Self::Endpointing)
    }

    /// Which of two at the same moment was waited for: a tool rather than the model that asked for it,
    /// else what comes later on the way.
    pub(super) fn weight(self) -> (bool, Self) {
        (self == Self::Tool, self)
    }
}

/// The time of one part, and of one provider's share in it where several had one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    pub part: Part,
    pub stage: Stage,
    /// On the critical path.
    pub ms: f64,
    /// As it was measured, be it in parallel to others; what ran in parallel to itself is counted once.
    pub measured_ms: f64,
    pub provider: Option<String>,
    pub model: Option<String>,
}

impl Segment {
    fn names(&self) -> (Option<&str>, Option<&str>) {
        (self.provider.as_deref(), self.model.as_deref())
    }
}

/// The latency of one agent's turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TurnLatency {
    pub turn: i32,
    pub at_ms: Option<i64>,
    pub answers_user: bool,
    /// None where the turn answers nobody, began before the user ended, or nothing was measured.
    pub gap_ms: Option<f64>,
    pub source: Option<LatencySource>,
    /// Whose clock the gap is by: `source`, `timestamps` or `stages`.
    pub clock: Option<Clock>,
    /// In the order of the way; none has 0 ms measured.
    pub segments: Vec<Segment>,
    /// What is left of the gap; none without a gap.
    pub unexplained_ms: Option<f64>,
    /// Stages of every answer that were not measured in this one.
    pub missing: Vec<Stage>,
    pub used_tool: bool,
}

/// Numbers by different clocks are never put into one average or percentile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    Source,
    Timestamps,
    Stages,
}

impl Clock {
    pub const ALL: [Self; 3] = [Self::Source, Self::Timestamps, Self::Stages];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Timestamps => "timestamps",
            Self::Stages => "stages",
        }
    }
}

impl TurnLatency {
    /// What a stage took of the gap, or (without a gap) what it was measured at.
    pub fn stage_ms(&self, stage: Stage) -> Option<f64> {
        if stage == Stage::Unexplained {
            return self.unexplained_ms;
        }
        let of_stage = self
            .segments
            .iter()
            .filter(|segment| segment.stage == stage);
        of_stage.map(|segment| segment.ms).reduce(|a, b| a + b)
    }

    /// The stage that took most of the gap, the rest included; of equals the later one on the way.
    pub fn dominant(&self) -> Option<(Stage, f64)> {
        let times = Stage::ALL
            .into_iter()
            .filter_map(|stage| Some((stage, self.stage_ms(stage)?)));
        times.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Who took most of a stage's time, and with what; of equals the one that came to something.
    pub fn named(&self, stage: Stage) -> (Option<&str>, Option<&str>) {
        let named = self.shares(stage);
        named
            .max_by(|a, b| a.ms.total_cmp(&b.ms))
            .map_or((None, None), Segment::names)
    }

    /// Who brought what was heard, whoever else had been tried before.
    pub fn brought_by(&self, stage: Stage) -> (Option<&str>, Option<&str>) {
        self.shares(stage)
            .last()
            .map_or((None, None), Segment::names)
    }

    /// What a stage is made of, where it says who provided it.
    fn shares(&self, stage: Stage) -> impl Iterator<Item = &Segment> {
        self.segments
            .iter()
            .filter(move |segment| segment.stage == stage && segment.names() != (None, None))
    }
}

/// How much of a session could be measured at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Turns that answer the user.
    pub answers: u32,
    /// Those of them with a gap.
    pub measured: u32,
    /// Those with a gap and every stage.
    pub complete: u32,
}

impl Coverage {
    pub fn of(turns: &[TurnLatency]) -> Self {
        let mut coverage = Self::default();
        for turn in turns.iter().filter(|turn| turn.answers_user) {
            let is_measured = turn.gap_ms.is_some();
            coverage.answers += 1;
            coverage.measured += u32::from(is_measured);
            coverage.complete += u32::from(is_measured && turn.missing.is_empty());
        }
        coverage
    }

    pub fn merge(&mut self, other: Self) {
        self.answers += other.answers;
        self.measured += other.measured;
        self.complete += other.complete;
    }
}

/// What an agent's turn was waited for beside what it tells itself.
#[derive(Clone, Copy)]
pub struct Waited<'a> {
    /// Where the turn before it ended, if that was the user's.
    pub user_end_ms: Option<f64>,
    /// Generations that were told as turns of their own, which nobody heard.
    pub before: &'a [&'a Value],
    pub tools: &'a [&'a ToolCall],
}

/// The latency of an agent's turn; none of users' and of thrown away ones, which never count.
pub fn of_turn(turn: &Turn, session: &Session, waited: Waited<'_>) -> Option<TurnLatency> {
    if turn.speaker != Speaker::Agent || turn.cancelled {
        return None;
    }
    let gap_ms = turn
        .latency_ms
        .filter(|ms| turn.answers_user && ms.is_finite() && *ms >= 0.0);
    let heard_ms = number(turn, "firstAudioMs").or(turn.start_ms.map(f64::from));
    let user_end_ms = waited.user_end_ms;
    let gap = gap(turn, gap_ms, user_end_ms, heard_ms);
    let segments: Vec<Segment> = Times::of(turn, session, waited).laid_onto(gap);
    let explained: f64 = segments.iter().map(|segment| segment.ms).sum();
    Some(TurnLatency {
        turn: turn.index,
        at_ms: user_end_ms.or(heard_ms).map(|ms| ms.round() as i64),
        answers_user: turn.answers_user,
        gap_ms,
        source: turn.latency_source.filter(|_| gap_ms.is_some()),
        clock: gap_ms.and(turn.latency_source).map(|source| match source {
            LatencySource::Measured => Clock::Source,
            LatencySource::Derived => Clock::Timestamps,
            LatencySource::Summed => Clock::Stages,
        }),
        unexplained_ms: gap_ms.map(|gap| (gap - explained).max(0.0)),
        missing: [Stage::Stt, Stage::Endpointing, Stage::Llm, Stage::Tts]
            .into_iter()
            .filter(|stage| !segments.iter().any(|segment| segment.stage == *stage))
            .collect(),
        used_tool: !waited.tools.is_empty(),
        segments,
    })
}

fn gap(turn: &Turn, ms: Option<f64>, user_end_ms: Option<f64>, heard_ms: Option<f64>) -> Gap {
    // A sum has no place: its parts lie one behind the other, whatever their times say.
    let is_sum = ms.is_some() && turn.latency_source == Some(LatencySource::Summed);
    if is_sum {
        return Gap {
            ms,
            ..Gap::default()
        };
    }
    let user_end_ms = user_end_ms.filter(|_| turn.answers_user);
    let window = match (user_end_ms, heard_ms, ms) {
        (Some(from), Some(to), _) if from <= to => Some((from, to)),
        (Some(from), None, Some(gap)) => Some((from, from + gap)),
        (None, Some(to), Some(gap)) => Some((to - gap, to)),
        _ => None,
    };
    let by_gap_ms = heard_ms.zip(ms).map(|(heard, gap)| heard - gap);
    let silent_from_ms = [user_end_ms, by_gap_ms].into_iter().flatten();
    Gap {
        ms,
        window,
        silent_from_ms: silent_from_ms.reduce(f64::min),
    }
}

#[cfg(test)]
mod tests;
