//! Which part of an answer's making was waited for: intervals and durations laid onto the gap, each
//! moment given to one part.

use serde_json::Value;

use super::latency::{Part, Segment};
use crate::domain::items::ToolCall;
use crate::domain::turn::Turn;

/// A stage time below this was not measured: no network is that fast.
const NETWORK_MIN_MS: f64 = 1.0;

/// What is known of each part's time.
#[derive(Default)]
pub struct Times {
    /// With a place on the session's clock.
    intervals: Vec<(f64, f64, Part)>,
    /// Without one.
    durations: [Option<f64>; Part::COUNT],
    measured: [f64; Part::COUNT],
    /// Of the intervals, what is on the path, each moment once.
    placed: [f64; Part::COUNT],
}

impl Times {
    pub fn of(turn: &Turn, tools: &[&ToolCall]) -> Self {
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
    pub fn place(&mut self, window: Option<(f64, f64)>) {
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
    pub fn on_path(&self, gap_ms: Option<f64>) -> [f64; Part::COUNT] {
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

    pub fn segment(&self, turn: &Turn, part: Part, ms: f64) -> Option<Segment> {
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

pub fn number(turn: &Turn, name: &str) -> Option<f64> {
    turn.extra.get(name)?.as_f64()
}

pub fn list<'a>(turn: &'a Turn, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let items = turn.extra.get(name).and_then(Value::as_array);
    items.map(Vec::as_slice).unwrap_or_default().iter()
}

pub fn is_true(value: &Value, name: &str) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or_default()
}

pub fn has_error(call: &Value) -> bool {
    let error = call.get("error");
    error.is_some_and(|error| !matches!(error, Value::Null | Value::Bool(false)))
}

pub fn at(call: &Value, name: &str) -> Option<f64> {
    call.get(name)?.as_f64()
}
