//! A generated call while it is being talked: turn after turn, with what goes wrong on the way.
//! All times are ms from the session's start.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::Detail;
use super::answer;
use super::cast::Version;
use super::distributions::{AGENT_WORD_MS, PAUSE, SILENCING, USER_WORD_MS, WORD_TOKENS, speech_ms};
use super::script::{Blanks, SHORT, Step, one_of, word_count};

/// Of the interruptions, how many turn out to be noise; assumed.
const FALSE_SHARE: f64 = 0.12;
/// Shorter turns are over before anyone could talk over them.
const INTERRUPTIBLE_MS: i64 = 2_500;
/// A caller waits so long for an answer that never comes.
const PATIENCE_MS: std::ops::Range<i64> = 4_000..9_000;

pub struct Dialogue<'a> {
    pub rng: StdRng,
    pub version: &'a Version,
    pub blanks: Blanks,
    pub detail: Detail,
    /// Whether each word of the user has its times.
    pub has_words: bool,
    /// Whether speech synthesis has a bad day.
    pub is_bad_day: bool,
    /// When the last words ended.
    pub at_ms: i64,
    /// When the user began to talk over the agent's last turn.
    pub cut_in_ms: Option<i64>,
    /// What the model is given: the instructions, and all that was said.
    pub context_tokens: i64,
    pub turns: Vec<Value>,
    pub tool_calls: Vec<Value>,
    pub interruptions: Vec<Value>,
    pub errors: Vec<Value>,
}

impl Dialogue<'_> {
    pub fn next_index(&self) -> usize {
        self.turns.len()
    }

    /// The agent's first words, which wait for nobody.
    pub fn greet(&mut self, text: &str) {
        let text = self.blanks.fill(text);
        let tts_ms = self.version.tts.first.draw(&mut self.rng);
        let start_ms = self.at_ms + tts_ms;
        let audio_ms = speech_ms(&mut self.rng, word_count(&text), AGENT_WORD_MS);
        self.hear(&text);
        self.at_ms = start_ms + audio_ms;
        let turn = json!({
            "index": self.next_index(), "speaker": "agent", "startMs": start_ms,
            "endMs": self.at_ms, "ttsMs": tts_ms, "audioMs": audio_ms, "playedMs": audio_ms,
            "usage": {"ttsCharacters": text.len()}, "text": text,
        });
        self.turns.push(turn);
    }

    /// The user says something, and the agent answers.
    pub fn exchange(&mut self, step: &Step) {
        let said = match self.detail {
            Detail::Full => step,
            Detail::Lean => &SHORT,
        };
        let user = one_of(&mut self.rng, said.user);
        self.user_says(user);
        let answer = one_of(&mut self.rng, said.agent);
        answer::give(self, answer, step.tool.as_ref());
    }

    pub fn user_says(&mut self, text: &str) {
        let text = self.blanks.fill(text);
        let spoken_ms = speech_ms(&mut self.rng, word_count(&text), USER_WORD_MS);
        let (start_ms, end_ms) = match self.cut_in_ms.take() {
            // Who interrupts talks until the other is silent, at least.
            Some(onset_ms) => (onset_ms, (onset_ms + spoken_ms).max(self.at_ms + 200)),
            None => {
                let start_ms = self.at_ms + PAUSE.draw(&mut self.rng);
                (start_ms, start_ms + spoken_ms)
            }
        };
        let confidence = self.confidence();
        let mut turn = json!({
            "index": self.next_index(), "speaker": "user", "startMs": start_ms, "endMs": end_ms,
            "confidence": confidence,
            "usage": {"sttSeconds": (end_ms - start_ms) as f64 / 1000.0},
        });
        if self.has_words {
            turn["words"] = self.words(&text, start_ms, end_ms);
        }
        self.hear(&text);
        turn["text"] = text.into();
        self.turns.push(turn);
        self.at_ms = end_ms;
    }

    /// An agent's turn is about to be heard from `start_ms` on: until when, or is it talked over?
    pub fn play(&mut self, turn: &mut Value, start_ms: i64, audio_ms: i64) {
        let mut end_ms = start_ms + audio_ms;
        let may = audio_ms >= INTERRUPTIBLE_MS;
        if may && self.rng.random_bool(self.version.talked_over) {
            let onset_ms = start_ms + (audio_ms as f64 * self.rng.random_range(0.2..0.7)) as i64;
            let detection_ms = self.version.detection.draw(&mut self.rng);
            let stop_ms = detection_ms + SILENCING.draw(&mut self.rng);
            if onset_ms + stop_ms < end_ms {
                end_ms = self.interrupt(turn, (onset_ms, end_ms), detection_ms, stop_ms);
            }
        }
        turn["startMs"] = start_ms.into();
        turn["endMs"] = end_ms.into();
        turn["audioMs"] = audio_ms.into();
        turn["playedMs"] = (end_ms - start_ms).min(audio_ms).into();
        self.at_ms = end_ms;
    }

    /// Answers when the turn really ends.
    fn interrupt(
        &mut self,
        turn: &mut Value,
        (onset_ms, end_ms): (i64, i64),
        detection_ms: i64,
        stop_ms: i64,
    ) -> i64 {
        let is_false = self.rng.random_bool(FALSE_SHARE);
        let stopped_ms = onset_ms + stop_ms;
        let mut interruption = json!({
            "turn": self.next_index(), "atMs": onset_ms, "detectionMs": detection_ms,
            "stopMs": stop_ms, "decidedAtMs": onset_ms + detection_ms,
            "audioStoppedMs": stopped_ms, "isFalse": is_false, "source": "user",
            "bleedThroughWords": (stop_ms as f64 / AGENT_WORD_MS) as i64,
        });
        let ends_ms = if is_false {
            let silence_ms = self.rng.random_range(800..2_000);
            interruption["resumedAtMs"] = (stopped_ms + silence_ms).into();
            end_ms + silence_ms
        } else {
            turn["interrupted"] = true.into();
            self.cut_in_ms = Some(onset_ms);
            stopped_ms
        };
        self.interruptions.push(interruption);
        ends_ms
    }

    /// A service is away for good: the user waits in vain.
    pub fn break_down(&mut self) {
        let away = match self.rng.random_range(0..100) {
            0..60 => ("llm", "service_unavailable", 503, self.version.llm),
            60..85 => ("tts", "internal_error", 500, self.version.tts),
            _ => ("stt", "connection_closed", 502, self.version.stt),
        };
        let (service, code, status, model) = away;
        let waited_ms = self.rng.random_range(PATIENCE_MS);
        let error = json!({
            "service": service, "level": "error", "code": code, "statusCode": status,
            "message": format!("{} answered {status} three times, giving up", model.provider),
            "details": {"attempts": 3, "provider": model.provider, "model": model.name},
            "provider": model.provider, "model": model.name, "attempt": 3,
            "turn": self.next_index(), "atMs": self.at_ms + waited_ms / 2,
        });
        self.errors.push(error);
        let turn = json!({"index": self.next_index(), "speaker": "agent", "failed": true});
        self.turns.push(turn);
        self.at_ms += waited_ms;
    }

    /// What is said is in the model's context from then on.
    pub fn hear(&mut self, text: &str) {
        self.context_tokens += tokens(text) + 4;
    }

    /// Mostly sure, sometimes not at all.
    fn confidence(&mut self) -> f64 {
        let doubt: f64 = self.rng.random::<f64>();
        let confidence = 0.995 - 0.09 * doubt - 0.5 * doubt.powi(24);
        (confidence * 1000.0).round() / 1000.0
    }

    /// The time of a turn, shared out among its words by their length.
    fn words(&mut self, text: &str, start_ms: i64, end_ms: i64) -> Value {
        let letters = text.chars().count().max(1) as f64;
        let ms_a_letter = (end_ms - start_ms) as f64 / letters;
        let mut said = 0;
        let mut words = Vec::new();
        for word in text.split(' ') {
            let at_ms = |letter: usize| start_ms + (letter as f64 * ms_a_letter) as i64;
            let length = word.chars().count();
            words.push(json!({
                "word": word, "startMs": at_ms(said), "endMs": at_ms(said + length),
                "confidence": self.confidence(),
            }));
            said += length + 1;
        }
        Value::Array(words)
    }
}

pub fn tokens(text: &str) -> i64 {
    (word_count(text) as f64 * WORD_TOKENS).ceil() as i64
}
