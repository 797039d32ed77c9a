//! Speech that broke off or never came, though the agent was "speaking".

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::overlap::says_interrupted;
use super::super::view::{Spoken, View};
use super::super::whatif::percentile;
use super::tell::time;

const STALL_MS: f64 = 1000.0;
/// Audio so much shorter than its text needs.
const SHORTER: f64 = 0.4;
/// And beyond what this voice's pace varies by, in deviations: some speak now fast, now slow.
const DEVIATIONS: f64 = 3.0;
/// Of a normal distribution the median deviation is so much of the standard one.
const MEDIAN_DEVIATION: f64 = 0.6745;
/// How long a text needs is known from at least so many turns, and for texts at least so long.
const TURNS_MIN: usize = 3;
const CHARS_MIN: usize = 40;

pub fn find(view: &View) -> Vec<Issue> {
    let usual = pace(view);
    let heard = view
        .agent_turns()
        .filter(|(_, turn)| !turn.turn.cancelled && !turn.is_silent());
    heard
        .filter_map(|(_, turn)| stalled(view, turn).or_else(|| too_short(view, turn, usual?)))
        .collect()
}

fn stalled(view: &View, turn: &Spoken) -> Option<Issue> {
    let ms = turn.number("stallMs").filter(|ms| *ms >= STALL_MS)?;
    let description = format!(
        "The agent was \"speaking\" for {} without a sound.",
        time(ms)
    );
    Some(
        issue(view, turn, description)
            .costs(Some(ms))
            .measures("stallMs", Some(ms)),
    )
}

fn too_short(view: &View, turn: &Spoken, usual: Pace) -> Option<Issue> {
    let (chars, ms) = said(turn)?;
    let expected = chars * usual.ms_per_char;
    if is_cut_off(turn) || ms > expected * (1.0 - SHORTER) || ms > chars * usual.fastest {
        return None;
    }
    let description = format!(
        "The agent's audio lasted {}, but its text takes about {} at this session's pace.",
        time(ms),
        time(expected)
    );
    Some(
        issue(view, turn, description)
            .measures("audioMs", Some(ms))
            .measures("expectedMs", Some(expected)),
    )
}

/// By the user, or by the application or the end of the call.
fn is_cut_off(turn: &Spoken) -> bool {
    let metadata = turn.turn.extra.get("metadata");
    let stopped_by = metadata.and_then(|metadata| metadata.get("stoppedBy"));
    says_interrupted(turn) || stopped_by.is_some()
}

fn issue(view: &View, turn: &Spoken, description: String) -> Issue {
    let latency = view.latency_of(turn.turn.index);
    Issue::new(IssueType::TtsStall, Severity::Major, description)
        .of_turn(turn)
        .in_stage(Some(Stage::Tts))
        .by(latency.map(|latency| latency.brought_by(Stage::Tts)).unwrap_or_default())
        .advise("Stream the synthesis with a buffer, watch for gaps in the audio, and say the rest again with a second voice where the stream breaks.")
}

/// How long a text took to say, where it is long enough to tell.
fn said(turn: &Spoken) -> Option<(f64, f64)> {
    let chars = turn
        .words
        .iter()
        .map(|word| word.chars().count())
        .sum::<usize>();
    let ms = turn
        .number("audioMs")
        .or(turn.ms())
        .filter(|ms| *ms > 0.0)?;
    (chars >= CHARS_MIN).then_some((chars as f64, ms))
}

/// The session's own pace.
#[derive(Clone, Copy)]
struct Pace {
    ms_per_char: f64,
    /// Faster than this is chance no more.
    fastest: f64,
}

/// The median over turns that were said to their end.
fn pace(view: &View) -> Option<Pace> {
    let whole = view
        .agent_turns()
        .filter(|(_, turn)| !turn.turn.cancelled && !turn.is_silent() && !is_cut_off(turn));
    let mut paces: Vec<f64> = whole
        .filter_map(|(_, turn)| said(turn).map(|(chars, ms)| ms / chars))
        .collect();
    let ms_per_char = percentile(&mut paces, 0.5).filter(|_| paces.len() >= TURNS_MIN)?;
    let mut deviations: Vec<f64> = paces
        .iter()
        .map(|pace| (pace - ms_per_char).abs())
        .collect();
    let deviation = percentile(&mut deviations, 0.5)? / MEDIAN_DEVIATION;
    Some(Pace {
        ms_per_char,
        fastest: ms_per_char - DEVIATIONS * deviation,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::TtsStall;

    #[test]
    fn a_second_without_sound_is_a_stall() {
        for (ms, stalls) in [(999, 0), (1000, 1)] {
            let mut call = clean(4);
            call["turns"][3]["stallMs"] = json!(ms);
            assert_eq!(found(&call, KIND).len(), stalls);
        }
    }

    #[test]
    fn audio_much_shorter_than_its_text() {
        let mut call = clean(6);
        let expected = 3200.0;
        call["turns"][3]["audioMs"] = json!(expected * 0.5);
        let issue = issue(&call, KIND);
        assert!(
            issue
                .description
                .starts_with("The agent's audio lasted 1.6s")
        );
        call["turns"][3]["audioMs"] = json!(expected * 0.8);
        assert!(found(&call, KIND).is_empty());
        call["turns"][3]["audioMs"] = json!(expected * 0.5);
        call["turns"][3]["interrupted"] = json!(true);
        assert!(found(&call, KIND).is_empty());
        call["turns"][3]["interrupted"] = json!(false);
        assert_eq!(found(&call, KIND).len(), 1);
        call["turns"][3]["metadata"] = json!({"stoppedBy": "programmatic"});
        assert!(found(&call, KIND).is_empty());
    }
}
