//! One stop of the agent by the user's sound: whether it was wanted, how long it took, what was still
//! heard, and how it went on.

use super::overlap::{STOP_WITHIN_MS, WORDS_WITHIN_MS, says_interrupted};
use super::view::{Spoken, View};
use crate::domain::items::Interruption;

/// The pace of speech is taken from turns that are at least so long.
const PACE_MIN_MS: f64 = 1000.0;

/// The agent was stopped by the user's sound.
pub struct Stop<'a> {
    /// Place of the agent's turn, and of the user's.
    pub agent: Option<usize>,
    pub user: Option<usize>,
    pub reported: Option<&'a Interruption>,
    pub onset_ms: Option<f64>,
    /// It follows from times alone, or when it ended does.
    pub is_derived: bool,
    pub is_false: Option<bool>,
    pub is_backchannel: bool,
    pub detection_ms: Option<f64>,
    pub stop_ms: Option<f64>,
    pub words: Option<f64>,
    pub words_estimated: bool,
    pub recovered: bool,
    pub post_ms: Option<f64>,
}

impl<'a> Stop<'a> {
    pub fn at(agent: Option<usize>, user: Option<usize>, onset_ms: Option<f64>) -> Self {
        Self {
            agent,
            user,
            reported: None,
            onset_ms,
            is_derived: false,
            is_false: None,
            is_backchannel: false,
            detection_ms: None,
            stop_ms: None,
            words: None,
            words_estimated: false,
            recovered: false,
            post_ms: None,
        }
    }

    /// When it was: from the onset on, else when the agent had stopped.
    pub fn at_ms(&self, view: &View) -> Option<f64> {
        self.onset_ms
            .or_else(|| view.turns.get(self.agent?)?.end_ms)
    }

    /// From the decision to silence.
    pub fn after_decision_ms(&self) -> Option<f64> {
        let ms = self.stop_ms? - self.detection_ms?;
        Some(ms).filter(|ms| *ms >= 0.0)
    }
}

/// What is known of a stop once all stops are.
pub fn complete(view: &View, stop: &mut Stop, pace: Option<f64>) {
    let onset_ms = stop.onset_ms;
    let agent = stop.agent.map(|place| &view.turns[place]);
    let extra = |name: &str| stop.reported?.extra.get(name)?.as_f64();
    let since_onset = |at: Option<f64>| Some(at? - onset_ms?).filter(|ms| *ms >= 0.0);
    let reported = |value: fn(&Interruption) -> Option<f64>| stop.reported.and_then(value);
    let detection_ms = reported(|item| item.detection_ms)
        .filter(|ms| *ms > 0.0)
        .or(since_onset(extra("decidedAtMs")));
    let told_stop_ms = reported(|item| item.stop_ms)
        .filter(|ms| *ms > 0.0)
        .or(since_onset(extra("audioStoppedMs")));
    // An agent that resumed within its turn ends it much later. One that ended at the onset was not stopped by it:
    // then that is no onset, but all that is known.
    let is_end =
        |ms: &f64| *ms > 0.0 && (*ms <= STOP_WITHIN_MS || agent.is_some_and(says_interrupted));
    let heard_until = agent.filter(|agent| !agent.is_silent());
    let ended_ms = since_onset(heard_until.and_then(|agent| agent.end_ms)).filter(is_end);
    let stop_ms = told_stop_ms.or(ended_ms);
    let flag = |name: &str| stop.reported?.extra.get(name)?.as_bool();
    let (mut is_backchannel, heard) = (flag("backchannel") == Some(true), words_after(view, stop));
    let is_false = match (reported_false(stop), heard) {
        (Some(said), _) => Some(said),
        (None, _) if is_backchannel => Some(true),
        (None, Some(Heard::Words)) => Some(false),
        (None, Some(Heard::Backchannel)) => {
            is_backchannel = true;
            Some(true)
        }
        (None, Some(Heard::Nothing)) => Some(true),
        (None, None) => None,
    };
    let words = reported(|item| item.bleed_through_words.map(f64::from));
    let counted = match (words, agent, onset_ms, stop_ms) {
        (Some(words), ..) => Some((words, flag("estimated") == Some(true))),
        (None, Some(agent), Some(onset), Some(ms)) => words_within(agent, onset, ms, pace),
        _ => None,
    };
    let next = stop.agent.and_then(|place| view.next_agent(place));
    let user = stop.user.or_else(|| spoken_next(view, stop));
    let user_end_ms = extra("endMs").or(user.and_then(|place| view.turns[place].end_ms));
    let heard_next = next.filter(|(_, next)| !next.is_silent());
    let resumed_ms = extra("resumedAtMs").or(heard_next.and_then(|(_, next)| next.start_ms));
    stop.recovered =
        heard_next.is_some_and(|(_, next)| !next.turn.failed && !says_interrupted(next));
    stop.post_ms = resumed_ms
        .zip(user_end_ms)
        .map(|(t5, t4)| t5 - t4)
        .filter(|ms| *ms >= 0.0);
    stop.is_derived |= told_stop_ms.is_none() && stop_ms.is_some();
    (stop.detection_ms, stop.stop_ms) = (detection_ms, stop_ms);
    (stop.is_false, stop.is_backchannel) = (is_false, is_backchannel);
    (stop.words, stop.words_estimated) = match counted {
        Some((words, estimated)) => (Some(words), estimated),
        None => (None, false),
    };
}

/// What the user said when the agent had stopped, where no turn lies over the agent's.
fn spoken_next(view: &View, stop: &Stop) -> Option<usize> {
    let agent = stop.agent?;
    let end_ms = view.turns[agent].end_ms?;
    let next = agent + 1;
    let is_soon = |user: &&Spoken| {
        user.is_user()
            && user
                .start_ms
                .is_some_and(|ms| ms - end_ms <= WORDS_WITHIN_MS)
    };
    view.turns.get(next).filter(is_soon).map(|_| next)
}

fn reported_false(stop: &Stop) -> Option<bool> {
    stop.reported.and_then(|item| item.is_false)
}

enum Heard {
    Words,
    Backchannel,
    Nothing,
}

/// What the user said around and after the onset; none where that cannot be known.
fn words_after(view: &View, stop: &Stop) -> Option<Heard> {
    if stop.reported.is_some_and(|item| {
        let text = item.extra.get("text").and_then(serde_json::Value::as_str);
        text.is_some_and(|text| !super::text::words(text).is_empty())
    }) && stop.user.is_none()
    {
        return Some(Heard::Words);
    }
    // Where nobody says when it began: at the latest when the agent had stopped.
    let onset = stop.at_ms(view).filter(|_| view.has_transcripts)?;
    let first = view.turns.partition_point(|t| {
        t.turn
            .start_ms
            .is_some_and(|s| f64::from(s) <= onset + WORDS_WITHIN_MS)
    });
    let is_near = |turn: &&Spoken| {
        let last_ms = turn.end_ms.or(turn.start_ms);
        turn.is_user() && last_ms.is_some_and(|last| last >= onset)
    };
    let near: Vec<&Spoken> = view.turns[first.saturating_sub(20)..first]
        .iter()
        .filter(is_near)
        .collect();
    if near.iter().any(|turn| turn.turn.text.is_none()) {
        return None;
    }
    if near.iter().any(|turn| turn.is_real_speech()) {
        return Some(Heard::Words);
    }
    if near.iter().any(|turn| turn.is_backchannel) {
        return Some(Heard::Backchannel);
    }
    // Words may be written down long after they were said, behind what answers them.
    let mut later = view.turns[first..].iter().filter(|turn| turn.is_user());
    let is_untimed = later.next().is_some_and(|turn| turn.turn.is_untimed());
    (!is_untimed).then_some(Heard::Nothing)
}

/// The agent's words that began after the onset and were heard: counted, else (flagged) estimated.
fn words_within(
    agent: &Spoken,
    onset: f64,
    stop_ms: f64,
    pace: Option<f64>,
) -> Option<(f64, bool)> {
    let timed =
        super::path::list(agent.turn, "words").filter_map(|word| super::path::at(word, "startMs"));
    let timed: Vec<f64> = timed.collect();
    if !timed.is_empty() {
        let heard = timed
            .iter()
            .filter(|at| **at > onset && **at <= onset + stop_ms);
        return Some((heard.count() as f64, false));
    }
    let pace = pace?;
    let spoken = (pace * (onset - agent.start_ms?).max(0.0) / 1000.0).floor();
    let left = (agent.words.len() as f64 - spoken).max(0.0);
    Some(((pace * stop_ms / 1000.0).floor().min(left), true))
}

/// The agent's words a second, over turns that were said to their end.
pub fn pace(view: &View) -> Option<f64> {
    let (mut words, mut ms) = (0.0, 0.0);
    for (_, agent) in view.agent_turns() {
        let whole = agent
            .ms()
            .filter(|ms| *ms >= PACE_MIN_MS && !agent.is_silent() && !says_interrupted(agent));
        if let Some(length) = whole.filter(|_| !agent.words.is_empty()) {
            words += agent.words.len() as f64;
            ms += length;
        }
    }
    (ms > 0.0).then(|| words / ms * 1000.0)
}
