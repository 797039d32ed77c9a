//! What happened at each overlap: the user spoke while the agent did.

use std::collections::BTreeSet;

use serde_json::Value;

use super::input::Speech;
use super::interruption::InterruptionCounts;
use super::stop::{Stop, complete, pace};
use super::view::{Spoken, View};
use crate::domain::items::Interruption;
use crate::domain::turn::{Speaker, Turn};

/// Less agent's speech than this left at the onset: it was ending anyway.
const ENDING_MS: f64 = 500.0;
/// An agent that ends so long after the onset was stopped by it.
pub const STOP_WITHIN_MS: f64 = 2000.0;
/// Words that come so long after the onset are what the stop was for.
pub const WORDS_WITHIN_MS: f64 = 2000.0;
/// Real speech of the user, and an agent that does not mind it.
const REAL_WORDS: usize = 2;
const REAL_MS: f64 = 600.0;
const TALKED_THROUGH_MS: f64 = 1500.0;
/// The user goes on so soon after the agent's start: it was not the end of the user's turn.
const GOES_ON_WITHIN_MS: f64 = 1000.0;
/// Audio that was not played, beyond what clocks differ by.
const UNPLAYED_MS: f64 = 100.0;
#[derive(Default)]
pub struct Interruptions<'a> {
    pub counts: InterruptionCounts,
    pub stops: Vec<Stop<'a>>,
    pub missed: Vec<Missed>,
    /// Places of agent's turns that the user was cut off by, and how.
    pub premature: Vec<Premature>,
}

/// The agent talked on over the user.
pub struct Missed {
    pub agent: usize,
    pub user: usize,
    pub onset_ms: f64,
    pub overlap_ms: f64,
    pub talked_on_ms: f64,
}

/// The agent began too early.
pub struct Premature {
    pub agent: usize,
    pub user: usize,
    /// How long both spoke, where the agent cut in; else after how long the user went on.
    pub cut_in_ms: Option<f64>,
    pub goes_on_after_ms: Option<f64>,
}

pub fn of<'a>(view: &View<'a>) -> Interruptions<'a> {
    let mut found = Interruptions::default();
    let users_inside = inside(view, Speaker::User);
    let agents_inside = inside(view, Speaker::Agent);
    let reported = reported(view);
    let pace = pace(view);
    for (place, _) in view.agent_turns() {
        let said = &reported.by_turn[place];
        look_at(view, &mut found, place, &users_inside[place], said);
    }
    for reported in reported.elsewhere {
        found.stops.push(Stop {
            reported: Some(reported),
            ..Stop::at(None, None, None)
        });
    }
    for stop in &mut found.stops {
        complete(view, stop, pace);
    }
    stopped_too_late(view, &mut found);
    found.premature = premature(view, &agents_inside);
    let counts = &mut found.counts;
    counts.sessions = 1;
    counts.agent_turns = view
        .agent_turns()
        .filter(|(_, t)| !t.turn.cancelled)
        .count() as u64;
    counts.overlaps = users_inside.iter().map(|inside| inside.len() as u64).sum();
    counts.overlaps_by_agent = agents_inside.iter().map(|inside| inside.len() as u64).sum();
    counts.missed_barge_ins = found.missed.len() as u64;
    counts.agent_interrupts = found.premature.len() as u64;
    for stop in &found.stops {
        counts.interruptions += 1;
        counts.derived += u64::from(stop.is_derived);
        counts.judged_stops += u64::from(stop.is_false.is_some());
        counts.false_interruptions += u64::from(stop.is_false == Some(true));
        counts.recovered += u64::from(stop.recovered);
        stop.detection_ms
            .into_iter()
            .for_each(|ms| counts.detection_ms.add(ms));
        stop.stop_ms
            .into_iter()
            .for_each(|ms| counts.stop_ms.add(ms));
        stop.after_decision_ms()
            .into_iter()
            .for_each(|ms| counts.stop_after_decision_ms.add(ms));
        stop.post_ms
            .into_iter()
            .for_each(|ms| counts.post_interruption_ms.add(ms));
        stop.words
            .into_iter()
            .for_each(|words| counts.bleed_through_words.add(words));
        counts.bleed_through_estimated += u64::from(stop.words_estimated);
    }
    found
}

/// For each turn of the other speaker, the turns of this one that start strictly inside it, as they were heard:
/// nobody speaks over a silent turn, or in writing. One that starts inside several counts for the last of them to start.
fn inside(view: &View, speaker: Speaker) -> Vec<Vec<usize>> {
    let mut inside = vec![Vec::new(); view.turns.len()];
    let heard = view
        .turns
        .iter()
        .enumerate()
        .filter(|(_, turn)| !turn.is_silent() && !turn.turn.is_typed());
    let mut heard: Vec<(f64, f64, usize)> = heard
        .filter_map(|(place, turn)| turn.interval().map(|(start, end)| (start, end, place)))
        .collect();
    heard.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut open: Vec<(f64, f64, usize)> = Vec::new();
    for (start, end, place) in heard {
        open.retain(|(_, until, _)| *until > start);
        if view.turns[place].turn.speaker != speaker {
            open.push((start, end, place));
        } else if let Some((_, _, other)) = open.iter().rfind(|(since, _, _)| *since < start) {
            inside[*other].push(place);
        }
    }
    inside
}

struct Reported<'a> {
    by_turn: Vec<Vec<&'a Interruption>>,
    elsewhere: Vec<&'a Interruption>,
}

/// Which turn of the agent each report speaks of.
fn reported<'a>(view: &View<'a>) -> Reported<'a> {
    let mut reported = Reported {
        by_turn: vec![Vec::new(); view.turns.len()],
        elsewhere: Vec::new(),
    };
    let heard = view.agent_turns().filter(|(_, turn)| !turn.is_silent());
    let mut agents: Vec<(usize, f64)> = heard
        .filter_map(|(place, turn)| Some((place, turn.start_ms?)))
        .collect();
    agents.sort_by(|a, b| a.1.total_cmp(&b.1));
    // What the agent had not begun to say nobody broke into.
    let discarded = view.input.turns.iter().filter(|turn| turn.is_discarded());
    let discarded: BTreeSet<i32> = discarded.map(|turn| turn.index).collect();
    let is_heard = |item: &&Interruption| item.turn.is_none_or(|index| !discarded.contains(&index));
    let items = view.input.interruptions.iter();
    let mut all: Vec<&Interruption> = items.filter(is_heard).collect();
    all.sort_by(|a, b| (a.at_ms, &a.id).cmp(&(b.at_ms, &b.id)));
    for item in all {
        let by_time = |ms: f64| {
            let after = agents.partition_point(|(_, start)| *start <= ms);
            agents[..after].last().map(|(place, _)| *place)
        };
        let stated = item.turn.and_then(|index| view.place_of(index));
        let place = match stated {
            Some(place) if view.turns[place].is_agent() => Some(place),
            // Told with the user's turn: what it interrupted is the agent's turn before.
            Some(place) => view.turns[..place].iter().rposition(Spoken::is_agent),
            None => item
                .at_ms
                .map(f64::from)
                .filter(|ms| view.is_of_call(*ms))
                .and_then(by_time),
        };
        match place {
            Some(place) => reported.by_turn[place].push(item),
            None if is_by_user(item) => reported.elsewhere.push(item),
            None => {}
        }
    }
    reported
}

fn is_by_user(item: &Interruption) -> bool {
    let source = item.extra.get("source").and_then(Value::as_str);
    source.is_none_or(|source| source == "user")
}

/// What happened in one turn of the agent: as it was reported, as the turn says, else by times alone.
fn look_at<'a>(
    view: &View<'a>,
    found: &mut Interruptions<'a>,
    place: usize,
    overlaps: &[usize],
    said: &[&'a Interruption],
) {
    let agent = &view.turns[place];
    let start_of = |user: &usize| view.turns[*user].start_ms;
    let mut stopped_by: Vec<usize> = Vec::new();
    for item in said.iter().filter(|item| is_by_user(item)) {
        let onset = told_onset(view, agent, item);
        let distance = |user: &usize| Some((start_of(user)? - onset?).abs());
        let near = overlaps
            .iter()
            .filter_map(|user| Some((user, distance(user)?)));
        let nearest = near
            .filter(|(_, ms)| *ms <= WORDS_WITHIN_MS)
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(user, _)| *user);
        let nearest = match onset {
            Some(_) => nearest,
            None => stopping(view, agent, overlaps),
        };
        stopped_by.extend(nearest);
        let onset = onset.or(nearest.and_then(|user| start_of(&user)));
        found.stops.push(Stop {
            reported: Some(*item),
            ..Stop::at(Some(place), nearest, onset)
        });
    }
    let is_flagged = says_interrupted(agent);
    if said.is_empty() && is_flagged && !is_cut_by_end(view, place, agent) {
        let user = stopping(view, agent, overlaps);
        let heard = || sound_of_user(view, agent).map(|speech| speech.start_ms);
        let onset = user.and_then(|user| start_of(&user)).or_else(heard);
        stopped_by.extend(user);
        found.stops.push(Stop::at(Some(place), user, onset));
    }
    let mut is_explained = !said.is_empty() || is_flagged;
    for user in overlaps {
        if stopped_by.contains(user) {
            found.counts.real_overlaps += u64::from(is_real(view, agent, *user));
        } else {
            is_explained |= judge(view, found, (place, *user), is_explained);
        }
    }
}

/// When the user began to speak, as a report says. One that supposes it, or that only knows when the agent had
/// stopped, says nothing of it, unless it measured the stop from there.
fn told_onset(view: &View, agent: &Spoken, item: &Interruption) -> Option<f64> {
    let onset = item
        .at_ms
        .map(f64::from)
        .filter(|ms| view.is_of_call(*ms))?;
    let times = ["decidedAtMs", "audioStoppedMs"];
    let is_measured = item.stop_ms > Some(0.0)
        || item.detection_ms > Some(0.0)
        || times.iter().any(|name| item.extra.contains_key(*name));
    let is_supposed = item.extra.get("estimated").and_then(Value::as_bool) == Some(true);
    // Reports are in whole milliseconds.
    let is_the_end = agent.end_ms.is_some_and(|end| onset >= end.floor());
    (is_measured || !is_supposed && !is_the_end).then_some(onset)
}

/// One overlap by its times alone. Whether it made the agent stop; only one does.
fn judge(
    view: &View,
    found: &mut Interruptions,
    (place, user_place): (usize, usize),
    is_explained: bool,
) -> bool {
    let (agent, user) = (&view.turns[place], &view.turns[user_place]);
    let (Some((agent_start, agent_end)), Some(onset)) = (agent.interval(), user.start_ms) else {
        return false;
    };
    let meant_to_end = agent
        .number("audioMs")
        .map_or(agent_end, |ms| agent_start + ms);
    if meant_to_end.max(agent_end) - onset < ENDING_MS {
        found.counts.inconclusive += 1;
        return false;
    }
    let talked_on_ms = agent_end - onset;
    let is_real = is_real(view, agent, user_place);
    found.counts.real_overlaps += u64::from(is_real);
    if is_real && talked_on_ms >= TALKED_THROUGH_MS {
        found.missed.push(Missed {
            agent: place,
            user: user_place,
            onset_ms: onset,
            overlap_ms: overlap_ms(agent, user).unwrap_or_default(),
            talked_on_ms,
        });
    }
    let has_words = user.words.len() >= REAL_WORDS && !user.is_backchannel;
    let stopped = has_words && (0.0..=STOP_WITHIN_MS).contains(&talked_on_ms);
    if stopped && !is_explained {
        found.stops.push(Stop {
            is_derived: true,
            ..Stop::at(Some(place), Some(user_place), Some(onset))
        });
    }
    stopped
}

/// Whoever stops only after so long has missed the user too, be it said to have stopped.
fn stopped_too_late(view: &View, found: &mut Interruptions) {
    for stop in &found.stops {
        let (Some(agent), Some(user), Some(onset_ms)) = (stop.agent, stop.user, stop.onset_ms)
        else {
            continue;
        };
        let is_told = found
            .missed
            .iter()
            .any(|missed| (missed.agent, missed.user) == (agent, user));
        let talked_on_ms = stop.stop_ms.filter(|ms| *ms >= TALKED_THROUGH_MS);
        let is_wanted = stop.is_false != Some(true) && is_real(view, &view.turns[agent], user);
        if let Some(talked_on_ms) = talked_on_ms.filter(|_| is_wanted && !is_told) {
            found.missed.push(Missed {
                agent,
                user,
                onset_ms,
                overlap_ms: overlap_ms(&view.turns[agent], &view.turns[user]).unwrap_or_default(),
                talked_on_ms,
            });
        }
    }
}

fn is_real(view: &View, agent: &Spoken, user: usize) -> bool {
    let user = &view.turns[user];
    user.words.len() >= REAL_WORDS
        && !user.is_backchannel
        && overlap_ms(agent, user).is_some_and(|ms| ms >= REAL_MS)
}

/// For how long both were heard.
pub fn overlap_ms(a: &Spoken, b: &Spoken) -> Option<f64> {
    let ((a_start, a_end), (b_start, b_end)) = (a.interval()?, b.interval()?);
    Some(a_end.min(b_end) - a_start.max(b_start)).filter(|ms| *ms > 0.0)
}

/// Whether the source itself says that the agent was cut off.
pub fn says_interrupted(agent: &Spoken) -> bool {
    let unplayed = agent.number("audioMs").zip(agent.number("playedMs"));
    agent.turn.interrupted || unplayed.is_some_and(|(audio, played)| audio - played > UNPLAYED_MS)
}

/// A call that ends cuts off whatever is being said: nobody interrupted.
fn is_cut_by_end(view: &View, place: usize, agent: &Spoken) -> bool {
    let is_last = view.turns[place + 1..].iter().all(Spoken::is_agent);
    is_last && sound_of_user(view, agent).is_none()
}

/// Which of the overlapping turns made the agent stop.
fn stopping(view: &View, agent: &Spoken, overlaps: &[usize]) -> Option<usize> {
    let is_near = |user: &&usize| {
        let onset = view.turns[**user].start_ms;
        onset
            .zip(agent.end_ms)
            .is_some_and(|(onset, end)| end - onset <= STOP_WITHIN_MS)
    };
    overlaps.iter().find(is_near).or(overlaps.last()).copied()
}

/// Voice activity of the user that began while the agent spoke, the last of it.
fn sound_of_user<'a>(view: &View<'a>, agent: &Spoken) -> Option<&'a Speech> {
    let (start, end) = agent.interval()?;
    let until = view
        .user_speech
        .partition_point(|speech| speech.start_ms <= end);
    let last = view.user_speech[..until].last()?;
    (last.start_ms > start).then_some(*last)
}

/// Turns of the agent that began while the user spoke, or that the user went on after.
fn premature(view: &View, agents_inside: &[Vec<usize>]) -> Vec<Premature> {
    let mut found = Vec::new();
    let mut cut_in = vec![false; view.turns.len()];
    for (user, inside) in agents_inside.iter().enumerate() {
        for agent in inside.iter().filter(|_| view.turns[user].is_real_speech()) {
            cut_in[*agent] = true;
            found.push(Premature {
                agent: *agent,
                user,
                cut_in_ms: overlap_ms(&view.turns[*agent], &view.turns[user]),
                goes_on_after_ms: None,
            });
        }
    }
    let heard = view.agent_turns().filter(|(_, agent)| !agent.is_silent());
    let is_timed = |turn: &Turn| !turn.is_typed() && !turn.is_untimed();
    let is_spoken = |turn: &Spoken| turn.is_real_speech() && is_timed(turn.turn);
    for (place, agent) in heard.filter(|(place, _)| !cut_in[*place]) {
        let was_speaking = view.answered_by(place).is_some_and(is_spoken);
        let next = view.turns.get(place + 1);
        let Some(next) = next.filter(|next| is_spoken(next)) else {
            continue;
        };
        let after = next
            .start_ms
            .zip(agent.start_ms)
            .map(|(next, start)| next - start);
        let is_soon = |ms: &f64| (0.0..=GOES_ON_WITHIN_MS).contains(ms);
        if let Some(ms) = after.filter(|ms| was_speaking && is_soon(ms)) {
            found.push(Premature {
                agent: place,
                user: place + 1,
                cut_in_ms: None,
                goes_on_after_ms: Some(ms),
            });
        }
    }
    found.sort_by_key(|premature| premature.agent);
    found
}

#[cfg(test)]
mod tests;
