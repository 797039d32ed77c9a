//! A session laid out for the rules: turns in order with their words, what belongs to each, who spoke
//! when, and what is derived once for all of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::input::{Input, Speech};
use super::latency::{self, TurnLatency, Waited};
use super::overlap::{self, Interruptions};
use super::path::{generations, has_error, is_true, list};
use super::silence::{self, Silence};
use super::targets::Targets;
use super::text;
use super::text::Phrases;
use crate::domain::items::{ServiceError, ToolCall};
use crate::domain::session::NO_END_SEEN;
use crate::domain::turn::{Speaker, Turn};

pub struct View<'a> {
    pub input: &'a Input<'a>,
    pub targets: &'a Targets,
    /// By time.
    pub turns: Vec<Spoken<'a>>,
    pub latencies: Vec<TurnLatency>,
    pub interruptions: Interruptions<'a>,
    /// Every pause, and those that are too long.
    pub pauses: Vec<Silence>,
    pub silences: Vec<Silence>,
    /// When the agent was heard, by time, nothing twice.
    pub agent_heard: Vec<(f64, f64)>,
    /// Voice activity, and that of users, by time.
    pub speech: Vec<&'a Speech>,
    pub user_speech: Vec<&'a Speech>,
    /// When the session ended, if anybody said so.
    pub end_ms: Option<f64>,
    /// Whether anything of what users said was written down at all.
    pub has_transcripts: bool,
    places: BTreeMap<i32, usize>,
    latency_places: BTreeMap<i32, usize>,
    tools: BTreeMap<i32, Vec<&'a ToolCall>>,
    unplaced_tools: Vec<&'a ToolCall>,
    errors: BTreeMap<i32, Vec<&'a ServiceError>>,
}

/// A turn as it was heard.
pub struct Spoken<'a> {
    pub turn: &'a Turn,
    /// From the first sound to the last.
    pub start_ms: Option<f64>,
    pub end_ms: Option<f64>,
    pub words: Vec<String>,
    pub is_backchannel: bool,
    /// It came when the agent had asked something: then "yes" is an answer, and waits for one.
    is_reply: bool,
    /// The source writes down no words of users at all.
    is_untold: bool,
    is_silent: bool,
}

/// Without words, a shorter sound need not be speech.
const UNTOLD_SPEECH_MIN_MS: f64 = 700.0;
/// Clocks of one call differ by less.
const OTHER_CLOCK_MS: f64 = 60_000.0;

impl<'a> Spoken<'a> {
    fn of(turn: &'a Turn, listening: &Phrases, has_transcripts: bool) -> Self {
        let is_agent = turn.speaker == Speaker::Agent;
        let stated = turn.start_ms.map(f64::from);
        let first_audio = number(turn, "firstAudioMs").filter(|_| is_agent);
        let start_ms = first_audio.or(stated);
        let end_ms = turn.end_ms.map(f64::from);
        let played_until = start_ms.zip(number(turn, "playedMs")).map(|(s, ms)| s + ms);
        let end_ms = match (end_ms, played_until.filter(|_| is_agent)) {
            (Some(end), Some(played)) => Some(end.min(played)),
            (end, played) => end.or(played),
        };
        let words = turn.text.as_deref().map(text::words).unwrap_or_default();
        let mut spoken = Self {
            turn,
            start_ms,
            end_ms: end_ms.zip(start_ms).map(|(end, start)| end.max(start)),
            is_backchannel: listening.are_all_of(&words),
            is_reply: false,
            words,
            is_untold: !has_transcripts && turn.text.is_none(),
            is_silent: false,
        };
        spoken.is_silent = spoken.reached_nobody();
        spoken
    }

    pub fn is_agent(&self) -> bool {
        self.turn.speaker == Speaker::Agent
    }

    pub fn is_user(&self) -> bool {
        self.turn.speaker == Speaker::User
    }

    /// From its first sound to its last, where both are known.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.start_ms.zip(self.end_ms)
    }

    pub fn ms(&self) -> Option<f64> {
        self.interval().map(|(start, end)| end - start)
    }

    /// A user's words that ask for an answer; where nobody writes down words, what may be some.
    pub fn is_real_speech(&self) -> bool {
        let may_be = self.is_untold && self.ms() >= Some(UNTOLD_SPEECH_MIN_MS);
        self.is_user() && (may_be || !self.words.is_empty() && !self.is_backchannel)
    }

    /// A user's turn that is no more than a sign of listening, or no word: it asks for no answer. Where nobody
    /// writes down words it may be anything.
    pub fn is_listening(&self) -> bool {
        self.is_user() && (self.is_backchannel || self.words.is_empty() && !self.is_untold)
    }

    /// The same, where the agent had asked nothing: whatever comes then was not waited for.
    pub fn asks_nothing(&self) -> bool {
        self.is_listening() && !self.is_reply
    }

    /// An agent's turn of which no sound reached the caller: none was made or played, or it failed before any was.
    pub fn is_silent(&self) -> bool {
        self.is_silent
    }

    fn reached_nobody(&self) -> bool {
        if !self.is_agent() || self.turn.cancelled {
            return false;
        }
        let is_zero = |name: &str| self.number(name) == Some(0.0);
        if is_zero("playedMs") || is_zero("audioMs") {
            return true;
        }
        let has_begun = self.number("playedMs").is_some() || self.number("firstAudioMs").is_some();
        let syntheses = list(self.turn, "ttsCalls");
        let mut syntheses = syntheses.filter(|call| !is_true(call, "beside")).peekable();
        let only_failed = syntheses.peek().is_some() && syntheses.all(has_error);
        let has_failed = self.turn.failed || only_failed && self.number("audioMs").is_none();
        has_failed && !has_begun && !overlap::says_interrupted(self)
    }

    /// An agent's turn that is silent though nobody cut it off.
    pub fn is_unheard(&self) -> bool {
        self.is_silent() && !overlap::says_interrupted(self)
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        number(self.turn, name)
    }

    pub fn at_ms(&self) -> Option<i64> {
        self.start_ms.map(|ms| ms.round() as i64)
    }
}

fn number(turn: &Turn, name: &str) -> Option<f64> {
    turn.extra.get(name)?.as_f64()
}

/// Finds the short words that answer a question: behind what the agent has said to its end, if that was a question
/// or nobody wrote down what it was.
fn mark_replies(turns: &mut [Spoken<'_>]) {
    let mut asked_until = None;
    for turn in turns {
        if turn.is_agent() && !turn.is_silent() {
            let text = turn.turn.text.as_deref().map(str::trim_end);
            let is_question = text.is_none_or(|text| text.ends_with(['?', '？']));
            asked_until = turn.end_ms.filter(|_| is_question);
        } else if turn.is_user() && turn.is_backchannel {
            turn.is_reply = asked_until
                .zip(turn.start_ms)
                .is_some_and(|(until, start)| start >= until);
        }
    }
}

impl<'a> View<'a> {
    pub fn of(input: &'a Input<'a>, targets: &'a Targets) -> Self {
        let has_words = |turn: &Turn| {
            turn.text
                .as_deref()
                .is_some_and(|text| !text.trim().is_empty())
        };
        let has_transcripts = input
            .turns
            .iter()
            .any(|turn| turn.speaker == Speaker::User && has_words(turn));
        let listening = Phrases::of(&targets.backchannels);
        // What was thrown away was never heard, and counts for nothing.
        let mut turns: Vec<Spoken> = input
            .turns
            .iter()
            .filter(|turn| !turn.is_discarded())
            .map(|turn| Spoken::of(turn, &listening, has_transcripts))
            .collect();
        turns.sort_by_key(|spoken| spoken.turn.position());
        mark_replies(&mut turns);
        let places: BTreeMap<i32, usize> = turns
            .iter()
            .enumerate()
            .map(|(place, spoken)| (spoken.turn.index, place))
            .collect();
        let end_ms = end_ms(input);
        let mut view = Self {
            input,
            targets,
            has_transcripts,
            turns,
            latencies: Vec::new(),
            interruptions: Interruptions::default(),
            pauses: Vec::new(),
            silences: Vec::new(),
            agent_heard: Vec::new(),
            user_speech: Vec::new(),
            speech: Vec::new(),
            end_ms,
            places,
            latency_places: BTreeMap::new(),
            tools: BTreeMap::new(),
            unplaced_tools: Vec::new(),
            errors: BTreeMap::new(),
        };
        view.speech = speech(input, |ms| view.is_of_call(ms));
        view.user_speech = view
            .speech
            .iter()
            .copied()
            .filter(|speech| speech.speaker == Speaker::User)
            .collect();
        view.place_tools();
        view.place_errors();
        view.measure();
        let sounds = silence::sounds(&view);
        view.agent_heard = silence::heard_of_agent(&sounds);
        view.pauses = silence::pauses(&view, sounds);
        view.silences = silence::too_long(&view.pauses, targets);
        view.interruptions = overlap::of(&view);
        view
    }

    pub fn place_of(&self, index: i32) -> Option<usize> {
        self.places.get(&index).copied()
    }

    pub fn latency_of(&self, index: i32) -> Option<&TurnLatency> {
        self.latencies.get(*self.latency_places.get(&index)?)
    }

    /// Tools that an agent's turn waited for or started.
    pub fn tools_of(&self, index: i32) -> &[&'a ToolCall] {
        self.tools
            .get(&index)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// All tools in the order in which they ran, with the turn that each belongs to: the agent's, else the one that is
    /// told, where there is such a turn.
    pub fn tools(&self) -> impl Iterator<Item = (&'a ToolCall, Option<i32>)> + use<'a> {
        let placed = self.tools.iter();
        let told = |tool: &ToolCall| tool.turn.filter(|index| self.place_of(*index).is_some());
        let mut all: Vec<(&ToolCall, Option<i32>)> = placed
            .flat_map(|(turn, tools)| tools.iter().map(|tool| (*tool, Some(*turn))))
            .chain(self.unplaced_tools.iter().map(|tool| (*tool, told(tool))))
            .collect();
        all.sort_by(|(a, _), (b, _)| (a.start_ms, a.turn, &a.id).cmp(&(b.start_ms, b.turn, &b.id)));
        all.into_iter()
    }

    pub fn errors_of(&self, index: i32) -> &[&'a ServiceError] {
        self.errors
            .get(&index)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    pub fn agent_turns(&self) -> impl Iterator<Item = (usize, &Spoken<'a>)> {
        self.turns.iter().enumerate().filter(|(_, t)| t.is_agent())
    }

    pub fn user_turns(&self) -> impl Iterator<Item = (usize, &Spoken<'a>)> {
        self.turns.iter().enumerate().filter(|(_, t)| t.is_user())
    }

    /// The user's turn right before an answer.
    pub fn answered_by(&self, place: usize) -> Option<&Spoken<'a>> {
        let before = self.turns.get(place.checked_sub(1)?)?;
        (before.is_user() && self.turns.get(place)?.turn.answers_user).then_some(before)
    }

    /// Whether a tool runs for a good part of a silence.
    pub fn is_working_in(&self, from_ms: f64, to_ms: f64) -> bool {
        self.input.tool_calls.iter().any(|tool| {
            let start_ms = tool.start_ms.map(f64::from);
            let end_ms = tool.end_ms.map_or(to_ms, f64::from);
            start_ms.is_some_and(|start| {
                end_ms.min(to_ms) - start.max(from_ms) >= (to_ms - from_ms) / 2.0
            })
        })
    }

    /// The next turn of the agent that was not thrown away.
    pub fn next_agent(&self, place: usize) -> Option<(usize, &Spoken<'a>)> {
        let mut later = self.turns.iter().enumerate().skip(place + 1);
        later.find(|(_, turn)| turn.is_agent() && !turn.turn.cancelled)
    }

    /// Whether a moment can lie in this call. What lies far outside of it was told by a clock that goes
    /// otherwise, and says nothing about when it happened.
    pub fn is_of_call(&self, ms: f64) -> bool {
        ms >= -OTHER_CLOCK_MS && self.end_ms.is_none_or(|end| ms <= end + OTHER_CLOCK_MS)
    }

    /// A moment of the wall clock as ms of the session.
    pub fn offset_ms(&self, time: chrono::DateTime<chrono::Utc>) -> f64 {
        (time - self.input.session.started_at).num_milliseconds() as f64
    }

    /// The agent's turn that was being prepared or spoken at a moment.
    fn agent_turn_at(&self, ms: f64) -> Option<i32> {
        let after = self
            .turns
            .partition_point(|turn| turn.start_ms.is_some_and(|start| start < ms));
        let speaking = self.turns[..after].last();
        if let Some(speaking) = speaking.filter(|t| t.is_agent() && t.end_ms >= Some(ms)) {
            return Some(speaking.turn.index);
        }
        let next = self.turns[after..].iter().find(|turn| turn.is_agent());
        next.map(|turn| turn.turn.index)
    }

    fn place_tools(&mut self) {
        for tool in self.input.tool_calls {
            let stated = tool.turn.and_then(|index| self.place_of(index));
            let turn = match stated.map(|place| (place, &self.turns[place])) {
                Some((_, turn)) if turn.is_agent() => Some(turn.turn.index),
                // A tool that is told with the request belongs to the answer.
                Some((place, _)) => self.next_agent(place).map(|(_, next)| next.turn.index),
                None => tool
                    .start_ms
                    .and_then(|ms| self.agent_turn_at(f64::from(ms))),
            };
            match turn {
                Some(turn) => self.tools.entry(turn).or_default().push(tool),
                None => self.unplaced_tools.push(tool),
            }
        }
        for tools in self.tools.values_mut() {
            tools.sort_by(|a, b| (a.start_ms, &a.id).cmp(&(b.start_ms, &b.id)));
        }
    }

    fn place_errors(&mut self) {
        for error in self.input.errors {
            let at_ms = error_at_ms(error);
            let by_time = || at_ms.and_then(|ms| self.agent_turn_at(ms));
            if let Some(turn) = error.turn.or_else(by_time) {
                self.errors.entry(turn).or_default().push(error);
            }
        }
        for errors in self.errors.values_mut() {
            errors.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        }
    }

    fn measure(&mut self) {
        let mut latencies = Vec::new();
        let handed_over = self.handed_over();
        for (place, spoken) in self.turns.iter().enumerate() {
            let user_end_ms = self
                .answered_by(place)
                .and_then(|user| user.turn.end_ms.map(f64::from));
            let waited_for: Vec<&ToolCall> = self
                .tools_of(spoken.turn.index)
                .iter()
                .copied()
                .filter(|tool| !is_async(tool))
                .collect();
            let waited = Waited {
                user_end_ms,
                before: &handed_over[place],
                tools: &waited_for,
            };
            let session = self.input.session;
            latencies.extend(latency::of_turn(spoken.turn, session, waited));
        }
        self.latency_places = latencies
            .iter()
            .enumerate()
            .map(|(place, latency)| (latency.turn, place))
            .collect();
        self.latencies = latencies;
    }

    /// For each turn, the generations that called the tools behind which its agent spoke, where they were told as turns
    /// of their own, as an agent's is that hands over to another: nobody heard them, and everybody waited.
    fn handed_over(&self) -> Vec<Vec<&'a Value>> {
        let called: BTreeSet<i32> = (self.input.tool_calls.iter())
            .filter_map(|tool| tool.turn)
            .collect();
        let is_silent = |turn: &&Turn| turn.is_discarded() && called.contains(&turn.index);
        let mut handed_over = vec![Vec::new(); self.turns.len()];
        for silent in self.input.turns.iter().filter(is_silent) {
            let behind = |spoken: &Spoken| spoken.turn.position() < silent.position();
            let next = self.turns.partition_point(behind);
            if self.turns.get(next).is_some_and(Spoken::is_agent) {
                let calls = generations(silent).into_iter();
                handed_over[next].extend(calls.filter(|call| !has_error(call)));
            }
        }
        handed_over
    }
}

/// Voice activity in the call, by time.
fn speech<'a>(input: &'a Input, is_of_call: impl Fn(f64) -> bool) -> Vec<&'a Speech> {
    let of_call = input
        .speech
        .iter()
        .filter(|speech| is_of_call(speech.start_ms) && is_of_call(speech.end_ms));
    let mut speech: Vec<&Speech> = of_call.collect();
    speech.sort_by(|a, b| (a.start_ms.total_cmp(&b.start_ms)).then(a.end_ms.total_cmp(&b.end_ms)));
    speech
}

pub fn error_at_ms(error: &ServiceError) -> Option<f64> {
    error.extra.get("atMs")?.as_f64()
}

fn end_ms(input: &Input) -> Option<f64> {
    let session = input.session;
    let was_told = session.end_reason.as_deref() != Some(NO_END_SEEN);
    let ended_at = session.ended_at.filter(|_| was_told)?;
    Some((ended_at - session.started_at).num_milliseconds() as f64).filter(|ms| *ms >= 0.0)
}

/// Whether the agent went on without waiting for it.
pub fn is_async(tool: &ToolCall) -> bool {
    let said = tool.extra.get("async").and_then(Value::as_bool);
    said.unwrap_or_default()
}
