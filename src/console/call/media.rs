//! The tab Media & Transcript: hearing the call, and reading along.

use askama::Template;
use serde_json::Value;

use super::Head;
use crate::auth::Viewer;
use crate::console::format;
use crate::console::page::Frame;
use crate::domain::Error;
use crate::domain::record::Record;
use crate::domain::turn::{Speaker, Turn};
use crate::services::recordings;
use crate::services::recordings::Shown;

#[derive(Template)]
#[template(path = "console/media.html")]
pub struct Page {
    frame: Frame,
    head: Head,
    audio: Audio,
    lines: Vec<Line>,
}

/// The recording, or why there is none to hear.
pub enum Audio {
    There(Player),
    Not(&'static str),
}

pub struct Player {
    /// Of the recording, as the API has it.
    pub url: String,
    /// How far into the call the audio begins.
    pub offset_ms: i64,
    pub about: String,
    pub has_waveform: bool,
    pub is_stereo: bool,
}

/// A turn as it is read.
pub struct Line {
    pub index: i32,
    pub who: &'static str,
    pub speaker: &'static str,
    pub at: String,
    pub start_ms: Option<i32>,
    pub end_ms: Option<i32>,
    pub heard: Option<String>,
    pub unheard: Option<String>,
    /// How it is known what was not heard.
    pub unheard_why: &'static str,
    pub marks: Vec<(&'static str, String)>,
}

/// Looks for the recording.
pub async fn audio(viewer: &Viewer, record: &Record) -> Result<Audio, Error> {
    let Some(content) = &viewer.content else {
        return Ok(Audio::Not(
            "Hearing the call needs a key with the scope transcripts:read.",
        ));
    };
    let shown = recordings::show(&viewer.scope, content, &record.id.to_string()).await;
    match shown {
        Ok(shown) => Ok(Audio::There(Player::of(&shown, record))),
        Err(Error::NotFound(_)) => Ok(Audio::Not(
            "No recording was sent for this call. PUT one to /v1/recordings/ and the call's id.",
        )),
        Err(Error::CallInProgress) => Ok(Audio::Not(
            "The call is going on: its recording is complete once it has ended.",
        )),
        Err(Error::Gone(_)) => Ok(Audio::Not("The recording of this call was deleted.")),
        Err(error) => Err(error),
    }
}

impl Page {
    pub fn of(frame: Frame, head: Head, audio: Audio, record: &Record) -> Self {
        Self {
            frame,
            head,
            audio,
            lines: lines(record),
        }
    }
}

/// The turns in the order of the conversation.
pub fn lines(record: &Record) -> Vec<Line> {
    record.turns.iter().map(Line::of).collect()
}

impl Player {
    fn of(shown: &Shown, record: &Record) -> Self {
        let placement = shown.recording.placement;
        let began = placement.started_at.map(|at| {
            let offset = at - record.session.started_at;
            offset.num_milliseconds()
        });
        let audio = &shown.recording.audio;
        let parts = [
            Some(audio.format.as_str().to_uppercase()),
            audio.duration_ms.map(format::clock),
            audio.channels.map(|count| match count {
                1 => "mono".to_owned(),
                2 => "two channels".to_owned(),
                count => format!("{count} channels"),
            }),
            audio
                .sample_rate_hz
                .map(|hz| format!("{} kHz", f64::from(hz) / 1e3)),
        ];
        Self {
            url: format!("/v1/recordings/{}", shown.path_id()),
            has_waveform: audio.waveform.is_some(),
            is_stereo: audio.channels == Some(2),
            offset_ms: placement.start_offset_ms.or(began).unwrap_or_default(),
            about: parts.into_iter().flatten().collect::<Vec<_>>().join(", "),
        }
    }
}

impl Line {
    fn of(turn: &Turn) -> Self {
        let (heard, unheard, unheard_why) = split(turn);
        let mut marks = Vec::new();
        if turn.interrupted {
            marks.push(("warn", "interrupted".to_owned()));
        }
        if turn.failed {
            marks.push(("bad", "failed".to_owned()));
        }
        if turn.cancelled {
            marks.push(("", "cancelled".to_owned()));
        }
        if let Some(confidence) = turn.confidence.filter(|confidence| *confidence < 0.6) {
            marks.push(("warn", format!("confidence {confidence:.2}")));
        }
        Self {
            index: turn.index,
            who: match turn.speaker {
                Speaker::Agent => "Agent",
                Speaker::User => "User",
            },
            speaker: turn.speaker.as_str(),
            at: turn
                .start_ms
                .map_or_else(|| "–".to_owned(), |ms| format::clock(i64::from(ms))),
            start_ms: turn.start_ms,
            end_ms: turn.end_ms,
            heard,
            unheard,
            unheard_why,
            marks,
        }
    }
}

/// The text that was heard, and what of it was not: by the times of the words where these are known, else by how much
/// of the audio was played.
fn split(turn: &Turn) -> (Option<String>, Option<String>, &'static str) {
    let Some(text) = turn.text.clone() else {
        return (None, None, "");
    };
    let number = |name: &str| turn.extra.get(name).and_then(Value::as_f64);
    let (played_ms, audio_ms) = (number("playedMs"), number("audioMs"));
    let is_cut = turn.interrupted || played_ms.zip(audio_ms).is_some_and(|(p, a)| p < a);
    if turn.speaker != Speaker::Agent || !is_cut {
        return (Some(text), None, "");
    }
    let start_ms = turn.start_ms.map(f64::from);
    let until_ms = played_ms
        .zip(start_ms)
        .map(|(played, start)| start + played);
    let until_ms = until_ms.or(turn.end_ms.map(f64::from));
    if let Some((words, until_ms)) = turn
        .extra
        .get("words")
        .and_then(Value::as_array)
        .zip(until_ms)
    {
        let begins = |word: &Value| word.get("startMs").and_then(Value::as_f64);
        let cut = words
            .iter()
            .position(|word| begins(word).is_some_and(|ms| ms >= until_ms));
        let texts = |words: &[Value]| {
            let texts = words.iter().filter_map(|word| word.get("word")?.as_str());
            texts.collect::<Vec<_>>().join(" ")
        };
        if let Some((heard, unheard)) = cut.and_then(|at| words.split_at_checked(at)) {
            let why = "not heard: its words begin after the audio stopped";
            return (Some(texts(heard)), Some(texts(unheard)), why);
        }
    }
    match played_ms.zip(audio_ms) {
        Some((played, audio)) if played < audio => {
            let words: Vec<&str> = text.split_whitespace().collect();
            let cut = (words.len() as f64 * (played / audio).clamp(0.0, 1.0)).ceil() as usize;
            let (heard, unheard) = words.split_at(cut.min(words.len()));
            let unheard = Some(unheard.join(" ")).filter(|text| !text.is_empty());
            let why = "not heard, estimated: by how much of the audio was played";
            (Some(heard.join(" ")), unheard, why)
        }
        _ => (Some(text), None, ""),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::domain::event::{Kind, Source};
    use crate::domain::fact::Fact;

    /// A turn as a native event would make it.
    fn turn(fields: Value) -> Turn {
        let Value::Object(fields) = fields else {
            unreachable!("an object")
        };
        let fact = Fact {
            source: Source::Event,
            kind: Kind::Turn,
            id: "e".to_owned(),
            at: DateTime::UNIX_EPOCH,
            hash: 0,
            fields: fields.into(),
        };
        Turn::derive(0, &[&fact])
    }

    fn cut(extra: Value) -> (Option<String>, Option<String>) {
        let mut turn = turn(
            json!({"speaker": "agent", "text": "one two three four", "startMs": 1000, "endMs": 2000,
            "interrupted": true}),
        );
        turn.extra.extend(extra.as_object().unwrap().clone());
        let (heard, unheard, _) = split(&turn);
        (heard, unheard)
    }

    #[test]
    fn what_was_not_heard_is_told_apart() {
        let texts = |heard: &str, unheard: Option<&str>| {
            (Some(heard.to_owned()), unheard.map(str::to_owned))
        };
        assert_eq!(cut(json!({})), texts("one two three four", None));
        assert_eq!(
            cut(json!({"playedMs": 500, "audioMs": 1000})),
            texts("one two", Some("three four"))
        );
        let words = json!([{"word": "one", "startMs": 1000}, {"word": "two", "startMs": 1400}, {"word": "three", "startMs": 1700}]);
        assert_eq!(
            cut(json!({"words": words, "playedMs": 400})),
            texts("one", Some("two three"))
        );
        assert_eq!(
            cut(json!({"playedMs": 0, "audioMs": 1000})),
            texts("", Some("one two three four"))
        );
    }
}
