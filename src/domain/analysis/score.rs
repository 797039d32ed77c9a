//! How well an agent takes its turns, by times alone: neither too early nor too late, and silent when it
//! is interrupted. After ServiceNow's EVA.

use super::overlap::overlap_ms;
use super::view::{Spoken, View};

/// A session at or above it passes.
pub const PASS: f64 = 0.8;
/// Nothing is worth less than beginning so early, everything than beginning at the next.
const EARLIEST_MS: f64 = -500.0;
const EARLY_MS: f64 = 500.0;
/// What is fully right, and what is worth nothing, without tools and with.
const LATE_MS: (f64, f64) = (2000.0, 3500.0);
const LATE_WITH_TOOL_MS: (f64, f64) = (3000.0, 5000.0);
/// To go on so long over the user is worth nothing.
const YIELD_MS: f64 = 2000.0;
/// Who interrupts the user gets at most this.
const INTERRUPTING_MAX: f64 = 0.5;
/// A user who is left without an answer for so long missed it.
const UNANSWERED_MS: f64 = 3000.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    pub mean: f64,
    pub turns: u32,
}

/// Of an answer that began so long after the user ended.
pub fn of_latency(ms: f64, used_tool: bool) -> f64 {
    let (late, latest) = if used_tool {
        LATE_WITH_TOOL_MS
    } else {
        LATE_MS
    };
    let rise = (ms - EARLIEST_MS) / (EARLY_MS - EARLIEST_MS);
    let fall = (latest - ms) / (latest - late);
    rise.min(fall).clamp(0.0, 1.0)
}

/// Of a turn that went on so long after the user began.
pub fn of_yield(ms: f64) -> f64 {
    (1.0 - ms / YIELD_MS).clamp(0.0, 1.0)
}

/// Of the n-th (from 1) turn that began while the user spoke: for how long both did, and how soon the
/// next answer came.
pub fn of_interrupting(overlap_ms: f64, nth: u32, next_ms: Option<f64>) -> f64 {
    let of_next = next_ms.map_or(1.0, |ms| of_latency(ms, false));
    let of_count = 1.0 / f64::from(nth.max(1));
    INTERRUPTING_MAX * of_yield(overlap_ms).min(of_count).min(of_next)
}

/// The mean over the agent's turns after the greeting; none where there is nothing to judge.
pub fn of_session(view: &View) -> Option<Score> {
    let first_user = view.turns.iter().position(Spoken::is_user)?;
    let (mut sum, mut turns, mut interruptions) = (0.0, 0u32, 0u32);
    let mut premature = view.interruptions.premature.iter().peekable();
    let mut yields = yields(view);
    for (place, agent) in view.agent_turns() {
        let cut_in = premature.next_if(|cut| cut.agent == place);
        if place < first_user || agent.turn.cancelled {
            continue;
        }
        let cut_in_ms = cut_in.and_then(|cut| cut.cut_in_ms);
        if agent.is_unheard() {
            // The caller waited for it in vain. One that nobody asked for was not waited for.
            turns += u32::from(asking(view, place).is_some());
            continue;
        }
        let score = match (cut_in_ms, yields.remove(&place)) {
            (Some(ms), _) => {
                interruptions += 1;
                let next = view
                    .next_agent(place)
                    .filter(|(_, next)| !next.is_silent())
                    .and_then(|(next, _)| signed_gap_ms(view, next));
                Some(of_interrupting(ms, interruptions, next))
            }
            (None, Some(ms)) => Some(of_yield(ms)),
            (None, None) => signed_gap_ms(view, place)
                .map(|ms| of_latency(ms, !view.tools_of(agent.turn.index).is_empty())),
        };
        if let Some(score) = score {
            sum += score;
            turns += 1;
        }
    }
    if is_last_unanswered(view) {
        return Some(Score { mean: 0.0, turns });
    }
    (turns > 0).then(|| Score {
        mean: sum / f64::from(turns),
        turns,
    })
}

/// How long agent's turns went on over the user, by their place; the longest of each.
fn yields(view: &View) -> std::collections::BTreeMap<usize, f64> {
    let mut yields = std::collections::BTreeMap::new();
    let stops = view
        .interruptions
        .stops
        .iter()
        .filter_map(|stop| Some((stop.agent?, stop.stop_ms?)));
    let missed = view
        .interruptions
        .missed
        .iter()
        .map(|missed| (missed.agent, missed.talked_on_ms));
    for (place, ms) in stops.chain(missed) {
        let longest: &mut f64 = yields.entry(place).or_default();
        *longest = longest.max(ms);
    }
    yields
}

/// The user's turn that an agent's answers, if it asks for an answer: after a sign of listening the agent goes on
/// when it likes.
fn asking<'v, 'a>(view: &'v View<'a>, place: usize) -> Option<&'v Spoken<'a>> {
    view.answered_by(place).filter(|user| !user.asks_nothing())
}

/// How long the user waited for an answer; below zero where the agent was first.
fn signed_gap_ms(view: &View, place: usize) -> Option<f64> {
    let (user, agent) = (asking(view, place)?, &view.turns[place]);
    let measured_ms = agent
        .turn
        .latency_ms
        .filter(|_| overlap_ms(user, agent).is_none());
    let between = agent.start_ms.zip(user.end_ms);
    let gap_ms = measured_ms.or(between.map(|(start, end)| start - end))?;
    Some(match gap_ms > 0.0 {
        true => view.waited_ms(place, gap_ms),
        false => gap_ms,
    })
}

/// Whether the session ended with a user who waited.
pub fn is_last_unanswered(view: &View) -> bool {
    let was_heard = |turn: &&Spoken| !turn.turn.cancelled && !turn.is_unheard();
    let last = view.turns.iter().rfind(was_heard);
    let Some(last) = last.filter(|last| last.is_real_speech()) else {
        return false;
    };
    let waited = last
        .end_ms
        .zip(view.end_ms)
        .map(|(end, session)| session - end);
    waited.is_some_and(|ms| ms >= UNANSWERED_MS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{analysis, clean, delay};
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn the_published_check_values_come_out() {
        assert!(near(of_latency(200.0, false), 0.7));
        assert!(near(of_latency(2750.0, false), 0.5));
        assert!(near(of_latency(2750.0, true), 1.0));
        assert!(near(of_yield(600.0), 0.7));
    }

    #[test]
    fn ends_of_the_ramps() {
        for (ms, used_tool, score) in [
            (-501.0, false, 0.0),
            (-500.0, false, 0.0),
            (500.0, false, 1.0),
            (2000.0, false, 1.0),
            (3500.0, false, 0.0),
            (9000.0, false, 0.0),
            (3000.0, true, 1.0),
            (4000.0, true, 0.5),
            (5000.0, true, 0.0),
        ] {
            assert!(near(of_latency(ms, used_tool), score), "{ms}");
        }
        assert!(near(of_yield(2500.0), 0.0));
        assert!(near(of_interrupting(0.0, 1, None), 0.5));
        assert!(near(of_interrupting(1000.0, 1, None), 0.25));
        assert!(near(of_interrupting(0.0, 2, None), 0.25));
        assert!(near(of_interrupting(0.0, 1, Some(3500.0)), 0.0));
    }

    #[test]
    fn a_session_is_the_mean_of_its_turns() {
        let mut call = clean(4);
        assert_eq!(analysis(&call).score, Some(1.0));
        // 3500 ms is worth nothing, the three others all.
        delay(&mut call, 3, 2600);
        call["turns"][3]["latencyMs"] = json!(3500);
        let scored = analysis(&call);
        assert_eq!((scored.score, scored.score_turns), (Some(0.75), 4));
        assert_eq!(scored.score_passed, Some(false));
    }

    #[test]
    fn the_greeting_is_left_out_and_an_unanswered_end_is_nothing() {
        let mut call = clean(3);
        call["turns"].as_array_mut().unwrap().remove(0);
        assert_eq!(analysis(&call).score_turns, 2);
        let mut call = clean(3);
        call["turns"].as_array_mut().unwrap().pop();
        assert_eq!(analysis(&call).score, Some(0.0));
    }

    #[test]
    fn an_answer_that_nobody_hears_is_worth_nothing() {
        let mut call = clean(4);
        call["turns"][3]["playedMs"] = json!(0);
        let scored = analysis(&call);
        assert_eq!((scored.score, scored.score_turns), (Some(0.75), 4));
        // One more word of it was heard, and it was in time.
        call["turns"][3]["playedMs"] = json!(300);
        assert_eq!(analysis(&call).score, Some(1.0));
        // The last one: the caller was left without an answer.
        let mut call = clean(4);
        call["turns"][7]["failed"] = json!(true);
        assert_eq!(analysis(&call).score, Some(0.0));
    }

    #[test]
    fn a_turn_that_is_interrupted_is_worth_how_soon_it_yields() {
        let mut call = clean(4);
        let end = call["turns"][3]["endMs"].as_i64().unwrap();
        call["turns"][3]["interrupted"] = json!(true);
        call["turns"][4]["startMs"] = json!(end - 600);
        let score = analysis(&call).score.unwrap();
        assert!(near(score, (3.0 + 0.7) / 4.0), "{score}");
    }
}
