//! Speech of the user that nobody wrote down.

use serde_json::Value;

use super::super::issue::{Issue, IssueType, Severity, Stage};
use super::super::path::{at, list};
use super::super::view::{Spoken, View};
use super::tell::{count, time};

/// Shorter sounds need not be speech.
const SPEECH_MIN_MS: f64 = 700.0;
const TIMES_MIN: usize = 2;
/// So much speech in a row without a word: recognition is dead.
const DEAD_MS: f64 = 10_000.0;
/// Less likely sounds are not taken for speech.
const PROBABILITY_MIN: f64 = 0.5;
/// By so much a transcript's times may lie beside the sound's.
const LEAD_MS: f64 = 500.0;
const LAG_MS: f64 = 1500.0;
/// Sounds that follow so soon are pieces of one sound.
const JOIN_MS: f64 = 300.0;
/// Who goes on so soon says one thing, in pieces.
const GOES_ON_MS: f64 = 1000.0;

pub fn find(view: &View) -> Vec<Issue> {
    of_session(view).into_iter().collect()
}

fn of_session(view: &View) -> Option<Issue> {
    if is_heard_by_model(view) || is_written_later(view) {
        return None;
    }
    let written = written(view);
    // What was said and lost, each thing with its beginning, the end of its last piece, and how long its
    // pieces are together.
    let mut lost: Vec<(f64, f64, f64)> = Vec::new();
    let (mut in_a_row_ms, mut worst_ms) = (0.0f64, 0.0f64);
    let mut is_going_on = false;
    for (from, to) in heard(view) {
        if is_written(&written, from, to) {
            (in_a_row_ms, is_going_on) = (0.0, false);
            continue;
        }
        in_a_row_ms += to - from;
        worst_ms = worst_ms.max(in_a_row_ms);
        match lost.last_mut() {
            Some(last) if is_going_on && from - last.1 <= GOES_ON_MS => {
                last.1 = to;
                last.2 += to - from;
            }
            _ => lost.push((from, to, to - from)),
        }
        is_going_on = true;
    }
    let said = lost.iter().filter(|(_, _, ms)| *ms >= SPEECH_MIN_MS);
    let times = said.count();
    if times < TIMES_MIN && worst_ms <= DEAD_MS {
        return None;
    }
    // Where recognition is dead, sounds count however short they are.
    let counts = |(_, _, ms): &&(f64, f64, f64)| worst_ms > DEAD_MS || *ms >= SPEECH_MIN_MS;
    let silent: Vec<&(f64, f64, f64)> = lost.iter().filter(counts).collect();
    let since = silent.first()?.0;
    let total: f64 = silent.iter().map(|(_, _, ms)| ms).sum();
    let description = format!(
        "The user spoke {} ({} in all) without a transcript, first at {}.",
        count(silent.len(), "time"),
        time(total),
        time(since)
    );
    let session = view.input.session;
    Some(
        Issue::new(IssueType::NoTranscript, Severity::Critical, description)
            .in_stage(Some(Stage::Stt))
            .by((session.providers.stt.as_deref(), None))
            .at(Some(since))
            .shows("times", silent.len())
            .measures("speechMs", Some(total))
            .measures("longestInARowMs", Some(worst_ms))
            .measures("sinceMs", Some(since))
            .advise("Look at the recogniser's connection and audio format (sample rate, encoding, channel), and reconnect where it stays silent during speech."),
    )
}

/// Whether models hear for themselves, and nobody is there who would write down what the user says.
fn is_heard_by_model(view: &View) -> bool {
    let is_named = view.input.session.providers.stt.is_some();
    let hears = |call: &Value| at(call, "audioTokens") > Some(0.0);
    let mut answers = view.agent_turns().map(|(_, turn)| turn);
    let is_heard = answers.any(|turn| list(turn.turn, "llmCalls").any(hears));
    is_heard && !is_named && !view.has_transcripts
}

/// Whether nobody tells when what is written down was said, so that no sound is known to be without words.
fn is_written_later(view: &View) -> bool {
    let mut users = view.turns.iter().filter(|turn| turn.is_user());
    users.any(|turn| turn.turn.is_untimed())
}

/// Stretches of the user's speech by voice activity; where there is none, turns without a text among others with one, if
/// anybody transcribes at all, as far as is told.
fn heard(view: &View) -> Vec<(f64, f64)> {
    let likely = |p: Option<f64>| p.is_none_or(|p| p >= PROBABILITY_MIN);
    let mut sounds: Vec<(f64, f64)> = view
        .user_speech
        .iter()
        .filter(|speech| likely(speech.probability))
        .map(|speech| (speech.start_ms, speech.end_ms))
        .collect();
    let is_transcribed = view.has_transcripts || view.input.session.providers.stt.is_some();
    if is_transcribed && view.turns.iter().any(|turn| turn.turn.text.is_some()) {
        let silent = |turn: &&Spoken| turn.turn.text.as_deref().is_none_or(str::is_empty);
        let turns = view.user_turns().map(|(_, turn)| turn).filter(silent);
        sounds.extend(turns.filter_map(|turn| turn.interval()));
    }
    sounds.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut stretches: Vec<(f64, f64)> = Vec::new();
    for (from, to) in sounds {
        match stretches.last_mut() {
            Some(last) if from - last.1 <= JOIN_MS => last.1 = last.1.max(to),
            _ => stretches.push((from, to)),
        }
    }
    stretches
}

/// When the user's words were, by start.
fn written(view: &View) -> Vec<(f64, f64)> {
    let texts = view.user_turns().filter(|(_, turn)| {
        turn.turn
            .text
            .as_deref()
            .is_some_and(|t| !t.trim().is_empty())
    });
    let reported = view.input.interruptions.iter().filter_map(|item| {
        item.extra
            .get("text")?
            .as_str()
            .filter(|text| !text.is_empty())?;
        let at = f64::from(item.at_ms?);
        Some((at, at))
    });
    // Words to a model that hears for itself may have a beginning only.
    let during = |turn: &Spoken| {
        let from = turn.start_ms?;
        Some((from, turn.end_ms.unwrap_or(from)))
    };
    let mut all: Vec<(f64, f64)> = texts
        .filter_map(|(_, turn)| during(turn))
        .chain(reported)
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Each ends at the latest end so far, so that a search by start finds all that may reach it.
    let mut latest = f64::NEG_INFINITY;
    for (_, to) in &mut all {
        latest = latest.max(*to);
        *to = latest;
    }
    all
}

fn is_written(written: &[(f64, f64)], from: f64, to: f64) -> bool {
    let until = written.partition_point(|(start, _)| *start <= to + LAG_MS);
    written[..until]
        .last()
        .is_some_and(|(_, end)| *end >= from - LEAD_MS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixture::{clean, found, issue};
    use super::*;

    const KIND: IssueType = IssueType::NoTranscript;

    #[test]
    fn speech_without_words_twice() {
        let mut call = clean(2);
        let speech =
            |from: i64, ms: i64| json!({"speaker": "user", "startMs": from, "endMs": from + ms});
        call["speech"] = json!([speech(0, 2600), speech(20_000, 700), speech(24_000, 900)]);
        let issue = issue(&call, KIND);
        assert_eq!(
            issue.description,
            "The user spoke 2 times (1.6s in all) without a transcript, first at 20s."
        );
        call["speech"] = json!([speech(0, 2600), speech(20_000, 699), speech(24_000, 900)]);
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn a_model_that_hears_writes_nothing_down() {
        let mut call = clean(2);
        let speech = |from: i64| json!({"speaker": "user", "startMs": from, "endMs": from + 900});
        call["speech"] = json!([speech(20_000), speech(24_000)]);
        call["session"]["providers"] = json!({"llm": "openai"});
        call["turns"][1]["llmCalls"] = json!([{"audioTokens": 80}]);
        assert_eq!(found(&call, KIND).len(), 1, "others were written down");
        for turn in call["turns"].as_array_mut().unwrap() {
            if turn["speaker"] == "user" {
                turn["text"] = json!(null);
            }
        }
        assert!(found(&call, KIND).is_empty());
        call["turns"][1]["llmCalls"] = json!([{"audioTokens": 0}]);
        assert_eq!(found(&call, KIND).len(), 1, "it was given no sound");
    }

    #[test]
    fn words_that_were_written_down_later_may_be_of_any_sound() {
        let mut call = clean(2);
        let speech = |from: i64| json!({"speaker": "user", "startMs": from, "endMs": from + 900});
        call["speech"] = json!([speech(20_000), speech(24_000)]);
        assert_eq!(found(&call, KIND).len(), 1);
        for turn in call["turns"].as_array_mut().unwrap() {
            if turn["speaker"] == "user" {
                turn["metadata"] = json!({"untimed": true});
            }
        }
        assert!(found(&call, KIND).is_empty());
    }

    #[test]
    fn words_of_which_only_the_beginning_is_known_are_of_the_sound_that_begins_there() {
        let mut call = clean(2);
        let mut sounds = Vec::new();
        for turn in call["turns"].as_array_mut().unwrap() {
            if turn["speaker"] == "user" {
                sounds.push(
                    json!({"speaker": "user", "startMs": turn["startMs"], "endMs": turn["endMs"]}),
                );
                turn["endMs"] = json!(null);
            }
        }
        call["speech"] = json!(sounds);
        assert!(found(&call, KIND).is_empty());
        for turn in call["turns"].as_array_mut().unwrap() {
            turn["text"] = if turn["speaker"] == "user" {
                json!(null)
            } else {
                turn["text"].clone()
            };
        }
        assert_eq!(found(&call, KIND).len(), 1);
    }

    #[test]
    fn short_pieces_of_one_thing_are_summed() {
        let pieces = |ms: i64, pause: i64| {
            let mut call = clean(2);
            let pair = [20_000, 30_000].map(|from| {
                let second = from + ms + pause;
                [(from, from + ms), (second, second + ms)]
            });
            let all = pair.concat();
            let speech = all
                .iter()
                .map(|(from, to)| json!({"speaker": "user", "startMs": from, "endMs": to}));
            call["speech"] = speech.collect();
            found(&call, KIND)
        };
        assert_eq!(pieces(400, 500)[0].evidence["speechMs"], 1600);
        assert_eq!(pieces(350, 1000).len(), 1);
        assert!(pieces(349, 1000).is_empty());
        assert!(pieces(350, 1001).is_empty());
    }

    #[test]
    fn dead_recognition_is_found_in_short_pieces_too() {
        for (count, is_dead) in [(20, false), (21, true)] {
            let mut call = clean(2);
            let speech = (0..count).map(|n| {
                let from = 20_000 + n * 2000;
                json!({"speaker": "user", "startMs": from, "endMs": from + 500})
            });
            call["speech"] = speech.collect();
            assert_eq!(!found(&call, KIND).is_empty(), is_dead, "{count}");
        }
    }

    #[test]
    fn ten_seconds_in_a_row_are_enough() {
        for (ms, is_dead) in [(10_000, false), (10_001, true)] {
            let mut call = clean(2);
            call["speech"] = json!([{"speaker": "user", "startMs": 20_000, "endMs": 20_000 + ms}]);
            assert_eq!(!found(&call, KIND).is_empty(), is_dead);
        }
    }

    #[test]
    fn without_any_text_nothing_is_said() {
        let mut call = clean(3);
        for turn in call["turns"].as_array_mut().unwrap() {
            turn["text"] = json!(null);
        }
        assert!(found(&call, KIND).is_empty());
        let mut call = clean(3);
        call["turns"][0]["text"] = json!("");
        call["turns"][2]["text"] = json!("[noise]");
        assert!(found(&call, KIND).is_empty());
        call["turns"][2]["text"] = json!(null);
        assert_eq!(found(&call, KIND).len(), 1);
    }

    #[test]
    fn where_nobody_tells_of_a_transcriber_none_is_dead() {
        let mut call = clean(3);
        for turn in call["turns"].as_array_mut().unwrap() {
            if turn["speaker"] == "user" {
                turn["text"] = json!(null);
            }
        }
        call["session"]["providers"] = json!({"llm": "openai"});
        assert!(found(&call, KIND).is_empty());
        call["session"]["providers"]["stt"] = json!("deepgram");
        assert_eq!(found(&call, KIND).len(), 1);
    }
}
