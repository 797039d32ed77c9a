//! What the silence before an answer was made of: the stages on its critical path, each moment counted
//! once, and the rest that nobody explains. The sum is the gap, by construction.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::issue::Stage;
use crate::domain::items::ToolCall;
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
    const COUNT: usize = 10;
    const ALL: [Self; Self::COUNT] = [
        Self::Stt,
        Self::Endpointing,
        Self::Callback,
        Self::Llm,
        Self::Tool,
        Self::Aggregation,
        Self::Tts,
        Self::Playout,
        Self::Transport,
        Self::Telephony,
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

    /// Which of two at the same moment was waited for: a tool rather than the model that asked for it,
    /// else what comes later on the way.
    fn weight(self) -> usize {
        match self {
            Self::Tool => Self::COUNT,
            other => other as usize,
        }
    }
}

/// The time of one part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    pub part: Part,
    pub stage: Stage,
    /// On the critical path.
    pub ms: f64,
    /// As it was measured, be it in parallel to others.
    pub measured_ms: f64,
    pub provider: Option<String>,
    pub model: Option<String>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    Source,
    Timestamps,
    Stages,
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

    /// Who provided a stage, and with what.
    pub fn named(&self, stage: Stage) -> (Option<&str>, Option<&str>) {
        let of_stage = |segment: &&Segment| segment.stage == stage;
        self.segments
            .iter()
            .filter(of_stage)
            .find(|segment| segment.provider.is_some() || segment.model.is_some())
            .map_or((None, None), |segment| {
                (segment.provider.as_deref(), segment.model.as_deref())
            })
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

/// A stage time below this was not measured: no network is that fast.
const NETWORK_MIN_MS: f64 = 1.0;

/// The latency of an agent's turn; none of users' and of thrown away ones, which never count. `user_end_ms`
/// is where the turn before it ended, if that was the user's.
pub fn of_turn(turn: &Turn, user_end_ms: Option<f64>, tools: &[&ToolCall]) -> Option<TurnLatency> {
    if turn.speaker != Speaker::Agent || turn.cancelled {
        return None;
    }
    let gap_ms = turn
        .latency_ms
        .filter(|ms| turn.answers_user && ms.is_finite() && *ms >= 0.0);
    let heard_ms = number(turn, "firstAudioMs").or(turn.start_ms.map(f64::from));
    let window = match (user_end_ms.filter(|_| turn.answers_user), heard_ms, gap_ms) {
        (Some(from), Some(to), _) if from <= to => Some((from, to)),
        (Some(from), None, Some(gap)) => Some((from, from + gap)),
        (None, Some(to), Some(gap)) => Some((to - gap, to)),
        _ => None,
    };
    let mut times = Times::of(turn, tools);
    times.place(window);
    let path_ms = times.on_path(gap_ms);
    let segments: Vec<Segment> = Part::ALL
        .into_iter()
        .zip(path_ms)
        .filter_map(|(part, ms)| times.segment(turn, part, ms))
        .collect();
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
        used_tool: !tools.is_empty(),
        segments,
    })
}

fn number(turn: &Turn, name: &str) -> Option<f64> {
    turn.extra.get(name)?.as_f64()
}

/// What is known of each part's time.
#[derive(Default)]
struct Times {
    /// With a place on the session's clock.
    intervals: Vec<(f64, f64, Part)>,
    /// Without one.
    durations: [Option<f64>; Part::COUNT],
    measured: [f64; Part::COUNT],
    /// Of the intervals, what is on the path, each moment once.
    placed: [f64; Part::COUNT],
}

impl Times {
    fn of(turn: &Turn, tools: &[&ToolCall]) -> Self {
        let mut times = Self::default();
        let network = |ms: Option<f64>| ms.filter(|ms| *ms >= NETWORK_MIN_MS);
        let given = |name: &str| number(turn, name).filter(|ms| *ms > 0.0);
        times.lasts(Part::Stt, network(turn.stt_ms));
        times.lasts(
            Part::Endpointing,
            turn.endpointing_ms.filter(|ms| *ms > 0.0),
        );
        times.lasts(Part::Callback, given("callbackMs"));
        times.lasts(Part::Aggregation, given("aggregationMs"));
        times.lasts(Part::Playout, given("playoutMs"));
        times.lasts(Part::Transport, given("transportMs"));
        times.lasts(Part::Telephony, given("telephonyMs"));
        if !times.runs_llm(turn) {
            times.lasts(Part::Llm, network(turn.llm_ms));
        }
        if !times.runs_tts(turn) {
            times.lasts(Part::Tts, network(turn.tts_ms));
        }
        for (from, to) in tools.iter().filter_map(|tool| tool.interval()) {
            times.runs(Part::Tool, f64::from(from), f64::from(to));
        }
        times
    }

    fn lasts(&mut self, part: Part, ms: Option<f64>) {
        if let Some(ms) = ms.filter(|ms| ms.is_finite() && *ms > 0.0) {
            self.durations[part as usize] = Some(ms);
            self.measured[part as usize] = ms;
        }
    }

    fn runs(&mut self, part: Part, from: f64, to: f64) {
        if to > from {
            self.intervals.push((from, to, part));
        }
    }

    /// Generations that say when they ran: all up to the one that spoke, of that the time to its first
    /// token. Those thrown away were waited for by nobody.
    fn runs_llm(&mut self, turn: &Turn) -> bool {
        let calls = list(turn, "llmCalls").filter(|call| !is_true(call, "cancelled"));
        let calls: Vec<&Value> = calls.collect();
        let answered = |call: &&Value| !has_error(call) && at(call, "firstTokenMs").is_some();
        let Some(last) = calls.iter().rposition(answered) else {
            return false;
        };
        let mut has_run = false;
        for (n, call) in calls.iter().take(last + 1).enumerate() {
            let end = if n == last { None } else { at(call, "endMs") };
            let span = at(call, "startMs").zip(end.or(at(call, "firstTokenMs")));
            if let Some((from, to)) = span.filter(|(from, to)| to - from >= NETWORK_MIN_MS) {
                self.runs(Part::Llm, from, to);
                has_run |= n == last;
            }
        }
        has_run
    }

    /// What is heard first is the first synthesis that came to something.
    fn runs_tts(&mut self, turn: &Turn) -> bool {
        let times = |call: &Value| {
            let span = at(call, "startMs").zip(at(call, "firstByteMs"))?;
            Some(span).filter(|(from, to)| to - from >= NETWORK_MIN_MS && !has_error(call))
        };
        let Some(first) = list(turn, "ttsCalls").find_map(times) else {
            return false;
        };
        self.runs(Part::Tts, first.0, first.1);
        true
    }

    /// Gives each moment to one part: sweeps over the intervals' ends, as far as they lie in the window.
    fn place(&mut self, window: Option<(f64, f64)>) {
        let mut ends: Vec<(f64, bool, Part)> = Vec::with_capacity(self.intervals.len() * 2);
        for (from, to, part) in &self.intervals {
            self.measured[*part as usize] += to - from;
            let (low, high) = window.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
            let (from, to) = (from.max(low), to.min(high));
            if from < to {
                ends.extend([(from, true, *part), (to, false, *part)]);
            }
        }
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut running = [0u32; Part::COUNT];
        let mut since = f64::NEG_INFINITY;
        for (time, begins, part) in ends {
            let waited_for = Part::ALL
                .into_iter()
                .filter(|part| running[*part as usize] > 0)
                .max_by_key(|part| part.weight());
            if let Some(waited_for) = waited_for {
                self.placed[waited_for as usize] += time - since;
            }
            since = time;
            let count = &mut running[part as usize];
            *count = if begins {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
        }
    }

    /// What each part takes of the gap. What happened last was waited for in full; what ran in parallel
    /// to it before takes what is left. Without a gap every part takes all that it was measured at.
    fn on_path(&self, gap_ms: Option<f64>) -> [f64; Part::COUNT] {
        let mut room = gap_ms.unwrap_or(f64::INFINITY);
        let mut path = [0.0; Part::COUNT];
        let placed = Part::ALL
            .into_iter()
            .rev()
            .map(|part| (part, self.placed[part as usize]));
        let lasting = Part::ALL
            .into_iter()
            .rev()
            .filter_map(|part| Some((part, self.durations[part as usize]?)));
        for (part, ms) in placed.chain(lasting) {
            let taken = ms.min(room).max(0.0);
            path[part as usize] += taken;
            room -= taken;
        }
        path
    }

    fn segment(&self, turn: &Turn, part: Part, ms: f64) -> Option<Segment> {
        let measured_ms = self.measured[part as usize];
        let is_measured = measured_ms > 0.0;
        let (provider, model) = named(turn, part);
        is_measured.then_some(Segment {
            part,
            stage: part.stage(),
            ms,
            measured_ms,
            provider,
            model,
        })
    }
}

/// Who provided a part, and with what: as the call that counts says, else as the turn says.
fn named(turn: &Turn, part: Part) -> (Option<String>, Option<String>) {
    let (stage, calls) = match part {
        Part::Stt => ("stt", ""),
        Part::Llm => ("llm", "llmCalls"),
        Part::Tts => ("tts", "ttsCalls"),
        _ => return (None, None),
    };
    let counts = |call: &&Value| !is_true(call, "cancelled") && !has_error(call);
    let mut counting = list(turn, calls).filter(counts);
    let call = if part == Part::Llm {
        counting.last()
    } else {
        counting.next()
    };
    let text = |value: Option<&Value>, name: &str| {
        value.and_then(|value| value.get(name)?.as_str().map(str::to_owned))
    };
    (
        text(call, "provider").or_else(|| text(turn.extra.get("providers"), stage)),
        text(call, "model").or_else(|| text(turn.extra.get("models"), stage)),
    )
}

pub(super) fn list<'a>(turn: &'a Turn, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let items = turn.extra.get(name).and_then(Value::as_array);
    items.map(Vec::as_slice).unwrap_or_default().iter()
}

pub(super) fn is_true(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or_default()
}

pub(super) fn has_error(call: &Value) -> bool {
    let error = call.get("error");
    error.is_some_and(|error| !matches!(error, Value::Null | Value::Bool(false)))
}

pub(super) fn at(call: &Value, name: &str) -> Option<f64> {
    call.get(name)?.as_f64()
}

#[cfg(test)]
mod tests;
