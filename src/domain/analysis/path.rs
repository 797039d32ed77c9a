//! Which part of an answer's making was waited for: intervals and durations laid onto the gap, each
//! moment given to one part.

use serde_json::Value;

use super::latency::{Part, Segment, Waited};
use super::provided::Provided;
use crate::domain::items::covered_ms;
use crate::domain::session::Session;
use crate::domain::turn;
use crate::domain::turn::Turn;

/// A stage time below this was not measured: no network is that fast.
const NETWORK_MIN_MS: f64 = 1.0;

/// The gap that the parts are laid onto.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gap {
    pub ms: Option<f64>,
    /// Where it lies on the session's clock.
    pub window: Option<(f64, f64)>,
    /// Where the caller fell silent, by the earliest of the clocks that tell.
    pub silent_from_ms: Option<f64>,
}

/// What is known of each part's time, in the order of the way.
pub struct Times(Vec<Lane>);

/// One part by one provider.
struct Lane {
    part: Part,
    by: Provided,
    /// With a place on the session's clock.
    runs: Vec<(f64, f64)>,
    /// Without one.
    lasts_ms: f64,
}

impl Times {
    pub fn of(turn: &Turn, session: &Session, waited: Waited<'_>) -> Self {
        let mut reading = Reading {
            turn,
            session,
            lanes: Vec::new(),
        };
        let network = |ms: Option<f64>| ms.filter(|ms| *ms >= NETWORK_MIN_MS);
        reading.lasts(Part::Stt, network(turn.stt_ms));
        reading.lasts(Part::Endpointing, turn.endpointing_ms);
        for (part, name) in Part::TOLD_BESIDE {
            reading.lasts(part, number(turn, name));
        }
        for call in waited.before {
            reading.runs_whole(Part::Llm, call);
        }
        if !reading.generates() {
            reading.lasts(Part::Llm, network(turn.llm_ms));
        }
        if !reading.synthesises() {
            reading.lasts(Part::Tts, network(turn.tts_ms));
        }
        // What was synthesised while a tool ran, and heard first, has not waited for it.
        let spoken_ms = reading.spoken().and_then(|call| at(call, "startMs"));
        for (from, to) in waited.tools.iter().filter_map(|tool| tool.interval()) {
            let to = spoken_ms.map_or(f64::from(to), |spoken| spoken.min(f64::from(to)));
            reading.runs(Part::Tool, None, f64::from(from), to);
        }
        let mut lanes = reading.lanes;
        // Of one part, who had a hand in it last stays last.
        lanes.sort_by_key(|lane| lane.part);
        Self(lanes)
    }

    /// What each part takes of the gap. What has a place has it; of what has none, what happened last was
    /// waited for in full, and what ran in parallel to it before takes what is left. Without a gap every part
    /// takes all that it was measured at.
    pub fn laid_onto(self, gap: Gap) -> Vec<Segment> {
        let decided_ms = self.decided_ms(gap);
        let mut placed_ms = self.sweep(gap.window, decided_ms);
        let mut lasting_ms: Vec<f64> = self.0.iter().map(|lane| lane.lasts_ms).collect();
        for (place, lane) in self.0.iter().enumerate() {
            if decided_ms.is_some() && lane.part.is_before_decision() {
                placed_ms[place] = std::mem::take(&mut lasting_ms[place]);
            }
        }
        let mut room = gap.ms.unwrap_or(f64::INFINITY);
        let mut taken_ms = vec![0.0; self.0.len()];
        for known in [placed_ms, lasting_ms] {
            for (place, ms) in known.into_iter().enumerate().rev() {
                let taken = ms.min(room).max(0.0);
                taken_ms[place] += taken;
                room -= taken;
            }
        }
        let lanes = self.0.into_iter().zip(taken_ms);
        lanes.map(|(lane, ms)| lane.into_segment(ms)).collect()
    }

    /// When the user's turn was decided to be over. Until then that is what an answer waits for, whatever of
    /// it is being made ahead. None where nobody measured it, or where it would lie behind the answer: then the
    /// gap is by a clock that begins elsewhere.
    fn decided_ms(&self, gap: Gap) -> Option<f64> {
        let of = |part: Part| self.0.iter().find(|lane| lane.part == part);
        let endpointing_ms = of(Part::Endpointing)?.lasts_ms;
        let taken_ms = endpointing_ms + of(Part::Stt).map_or(0.0, |lane| lane.lasts_ms);
        let decided_ms = gap.silent_from_ms? + taken_ms;
        (taken_ms <= gap.ms?).then_some(decided_ms)
    }

    /// Gives each moment of the window to one part: sweeps over the intervals' ends.
    fn sweep(&self, window: Option<(f64, f64)>, decided_ms: Option<f64>) -> Vec<f64> {
        let (low, high) = window.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        let low = decided_ms.map_or(low, |decided| decided.max(low));
        let mut ends: Vec<(f64, bool, usize)> = Vec::new();
        for (place, lane) in self.0.iter().enumerate() {
            for (from, to) in &lane.runs {
                let (from, to) = (from.max(low), to.min(high));
                if from < to {
                    ends.extend([(from, true, place), (to, false, place)]);
                }
            }
        }
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut placed_ms = vec![0.0; self.0.len()];
        let mut running = vec![0u32; self.0.len()];
        let mut since = f64::NEG_INFINITY;
        for (time, begins, place) in ends {
            let waited_for = (0..self.0.len())
                .filter(|place| running[*place] > 0)
                .max_by_key(|place| self.0[*place].part.weight());
            if let Some(waited_for) = waited_for {
                placed_ms[waited_for] += time - since;
            }
            since = time;
            let count = &mut running[place];
            *count = if begins {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
        }
        placed_ms
    }
}

impl Lane {
    fn into_segment(self, ms: f64) -> Segment {
        Segment {
            part: self.part,
            stage: self.part.stage(),
            ms,
            measured_ms: self.lasts_ms + covered_ms(self.runs),
            provider: self.by.provider,
            model: self.by.model,
        }
    }
}

/// A turn whose times are being read.
struct Reading<'a> {
    turn: &'a Turn,
    session: &'a Session,
    lanes: Vec<Lane>,
}

impl Reading<'_> {
    fn lasts(&mut self, part: Part, ms: Option<f64>) {
        if let Some(ms) = ms.filter(|ms| ms.is_finite() && *ms > 0.0) {
            let call = counting_call(self.turn, part).cloned();
            self.lane(part, call.as_ref()).lasts_ms += ms;
        }
    }

    fn runs(&mut self, part: Part, call: Option<&Value>, from: f64, to: f64) {
        if to > from {
            self.lane(part, call).runs.push((from, to));
        }
    }

    /// A call that was waited for to its end.
    fn runs_whole(&mut self, part: Part, call: &Value) {
        let span = at(call, "startMs").zip(at(call, "endMs"));
        if let Some((from, to)) = span.filter(|(from, to)| to - from >= NETWORK_MIN_MS) {
            self.runs(part, Some(call), from, to);
        }
    }

    /// The lane of who is named, put behind all others.
    fn lane(&mut self, part: Part, call: Option<&Value>) -> &mut Lane {
        let by = match part.is_service() {
            true => Provided::of(call, self.turn, self.session, part.stage()),
            false => Provided::default(),
        };
        let is_its = |lane: &Lane| lane.part == part && lane.by == by;
        let lane = match self.lanes.iter().position(is_its) {
            Some(place) => self.lanes.remove(place),
            None => Lane {
                part,
                by,
                runs: Vec::new(),
                lasts_ms: 0.0,
            },
        };
        self.lanes.push(lane);
        let last = self.lanes.len() - 1;
        &mut self.lanes[last]
    }

    /// Generations that say when they ran: all up to the one that was heard first, of that the time to its first
    /// token. Those thrown away were waited for by nobody, nor were those that began when it was heard.
    fn generates(&mut self) -> bool {
        let calls = generations(self.turn);
        let answered = |call: &&Value| !has_error(call) && at(call, "firstTokenMs").is_some();
        let spoke = calls.iter().rposition(answered);
        self.waits_for(Part::Llm, calls, spoke, "firstTokenMs")
    }

    /// What is heard first is the first synthesis that came to something; those that failed before it were
    /// waited for too.
    fn synthesises(&mut self) -> bool {
        let calls = syntheses(self.turn);
        let spoke = calls.iter().position(|call| has_spoken(call));
        self.waits_for(Part::Tts, calls, spoke, "firstByteMs")
    }

    fn spoken(&self) -> Option<&Value> {
        syntheses(self.turn)
            .into_iter()
            .find(|call| has_spoken(call))
    }

    /// Lays down all calls up to the one that spoke; whether that one said when it ran.
    fn waits_for(
        &mut self,
        part: Part,
        calls: Vec<&Value>,
        spoke: Option<usize>,
        first: &str,
    ) -> bool {
        let Some(spoke) = spoke else { return false };
        let mut has_run = false;
        for (n, call) in calls.into_iter().take(spoke + 1).enumerate() {
            let end = at(call, "endMs").filter(|_| n < spoke);
            let span = at(call, "startMs").zip(end.or(at(call, first)));
            if let Some((from, to)) = span.filter(|(from, to)| to - from >= NETWORK_MIN_MS) {
                self.runs(part, Some(call), from, to);
                has_run |= n == spoke;
            }
        }
        has_run
    }
}

/// Whether a synthesis came to something after a time that was measured.
fn has_spoken(call: &Value) -> bool {
    let span = at(call, "startMs").zip(at(call, "firstByteMs"));
    let is_measured = span.is_some_and(|(from, to)| to - from >= NETWORK_MIN_MS);
    is_measured && !has_error(call)
}

/// The generations that an answer was waited for.
pub fn generations(turn: &Turn) -> Vec<&Value> {
    let calls = turn::waited_for(&turn.extra);
    calls.filter(|call| !is_true(call, "cancelled")).collect()
}

fn syntheses(turn: &Turn) -> Vec<&Value> {
    let calls = list(turn, "ttsCalls");
    let counts = |call: &&Value| !is_true(call, "cancelled") && !is_true(call, "beside");
    calls.filter(counts).collect()
}

/// The call that a stage's own time is about: the last generation that was waited for, the first synthesis.
fn counting_call(turn: &Turn, part: Part) -> Option<&Value> {
    let counts = |call: &&Value| !has_error(call);
    match part {
        Part::Llm => generations(turn).into_iter().rfind(counts),
        Part::Tts => syntheses(turn).into_iter().find(counts),
        _ => None,
    }
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
