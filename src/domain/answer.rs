//! Traces of calls that nobody traced: one for each answer to a user, made from what is known of its
//! stages.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::domain::attributes::{DEFAULT, ERROR, GENERATION, SPAN, TOOL};
use crate::domain::ids::SessionId;
use crate::domain::items::ToolCall;
use crate::domain::span::Span;
use crate::domain::trace::{Trace, derived_id};
use crate::domain::turn::Turn;

/// An answered turn, and what is known around it.
#[derive(Clone, Debug)]
pub struct Answer {
    pub session: SessionId,
    pub session_started_at: DateTime<Utc>,
    pub turn: Turn,
    /// What the user said, where it is known and may be seen.
    pub question: Option<String>,
    pub tools: Vec<ToolCall>,
}

impl Answer {
    /// The trace that this answer's stages amount to.
    pub fn into_trace(self) -> (Trace, Vec<Span>) {
        let id = derived_id(self.session, self.turn.index);
        let stages = Stages::of(&self);
        let spans: Vec<Span> = stages
            .found
            .into_iter()
            .map(|stage| self.observation(&id, stage))
            .collect();
        let first = spans.iter().map(|span| span.started_at).min();
        let last = spans.iter().filter_map(|span| span.ended_at).max();
        // However little is known of the stages, the wait is from the user's end to the agent's first sound.
        let heard = stages.heard_ms.map(|ms| self.at(ms));
        let asked = self.at(stages.asked_ms);
        let started_at = first.filter(|first| heard.is_none() || *first < asked);
        let started_at = started_at.unwrap_or(asked);
        let trace = Trace {
            id,
            session: self.session,
            name: Some(format!("turn {}", self.turn.index)),
            started_at,
            ended_at: last.max(heard).map(|end| end.max(started_at)),
            observations: spans.len() as i64,
            cost_nano_usd: None,
            cost_incomplete: false,
            cost_estimated: false,
            unpriced: 0,
            is_shared: false,
        };
        (trace, spans)
    }

    fn at(&self, offset_ms: f64) -> DateTime<Utc> {
        let offset = TimeDelta::microseconds((offset_ms * 1e3) as i64);
        self.session_started_at
            .checked_add_signed(offset)
            .unwrap_or(self.session_started_at)
    }

    fn observation(&self, trace: &str, stage: Stage) -> Span {
        let named = |object: &str| {
            let own = stage.call.get(object).or_else(|| {
                let all = self.turn.extra.get(&format!("{object}s"))?;
                all.get(stage.kind)
            });
            own.and_then(Value::as_str).map(str::to_owned)
        };
        let mut metadata = Map::new();
        metadata.insert("derived".to_owned(), Value::Bool(true));
        metadata.insert("turn".to_owned(), Value::from(self.turn.index));
        if let Some(provider) = named("provider") {
            metadata.insert("provider".to_owned(), Value::from(provider));
        }
        Span {
            trace_id: trace.to_owned(),
            span_id: format!("{trace}-{}", stage.id),
            parent: None,
            name: Some(stage.name),
            r#type: stage.r#type.to_owned(),
            level: if stage.failed { ERROR } else { DEFAULT }.to_owned(),
            environment: None,
            started_at: self.at(stage.start_ms),
            ended_at: stage.end_ms.map(|ms| self.at(ms)),
            completion_start: stage.first_ms.map(|ms| self.at(ms)),
            model: named("model"),
            usage: stage.usage,
            costs: Map::new(),
            cost_nano_usd: None,
            cost_estimated: false,
            parameters: Map::new(),
            status_message: stage.message,
            input: stage.input,
            output: stage.output,
            metadata,
            trace_name: None,
        }
    }
}

#[derive(Default)]
struct Stage {
    /// Within the trace.
    id: String,
    name: String,
    /// `stt`, `llm` or `tts`: under what a turn names its models and providers.
    kind: &'static str,
    r#type: &'static str,
    start_ms: f64,
    first_ms: Option<f64>,
    end_ms: Option<f64>,
    failed: bool,
    message: Option<String>,
    usage: Map<String, Value>,
    input: Option<Value>,
    output: Option<Value>,
    /// The request as the turn tells it, where it tells each.
    call: Map<String, Value>,
}

/// An answer's stages, one after the other from the moment that the user ended, in ms from the session's
/// start; where a source says when something really was, it is there.
struct Stages {
    asked_ms: f64,
    /// When the user heard the answer, if that is known.
    heard_ms: Option<f64>,
    found: Vec<Stage>,
}

impl Stages {
    fn of(answer: &Answer) -> Self {
        let turn = &answer.turn;
        let first_audio_ms = turn.extra.get("firstAudioMs").and_then(Value::as_f64);
        let spoken_ms = first_audio_ms.or(turn.start_ms.map(f64::from));
        let latency_ms = turn.latency_ms.unwrap_or_default();
        let asked_ms = spoken_ms.map_or(0.0, |ms| (ms - latency_ms).max(0.0));
        let mut stages = Self {
            asked_ms,
            heard_ms: turn.latency_ms.map(|ms| asked_ms + ms),
            found: Vec::new(),
        };
        let mut now_ms = asked_ms;
        if let Some(stt_ms) = took(turn.stt_ms) {
            let text = turn.extra.get("sttText").and_then(Value::as_str);
            let heard = text.map(str::to_owned).or(answer.question.clone());
            stages.found.push(Stage {
                output: heard.map(Value::from),
                ..Stage::new("stt", SPAN, now_ms, now_ms + stt_ms)
            });
            now_ms += stt_ms;
        }
        now_ms += turn.endpointing_ms.unwrap_or_default();
        now_ms = stages.generations(answer, now_ms);
        now_ms = stages.tools(&answer.tools, now_ms);
        stages.speech(turn, spoken_ms, now_ms);
        stages
    }

    /// Answers when the first token was there, or the last of the requests.
    fn generations(&mut self, answer: &Answer, now_ms: f64) -> f64 {
        let turn = &answer.turn;
        let input = answer.question.clone().map(Value::from);
        let output = turn.text.clone().map(Value::from);
        let mut calls = Stage::of_calls(turn, "llmCalls", "firstTokenMs", "llm", GENERATION);
        if let Some(last) = calls.last_mut() {
            (last.input, last.output) = (input, output);
            let until_ms = calls
                .iter()
                .filter_map(|call| call.first_ms.or(call.end_ms));
            let until_ms = until_ms.fold(now_ms, f64::max);
            self.found.extend(calls);
            return until_ms;
        }
        let (first_ms, whole_ms) = (took(turn.llm_ms), took(turn.llm_total_ms));
        let Some(longest_ms) = whole_ms.or(first_ms) else {
            return now_ms;
        };
        self.found.push(Stage {
            first_ms: first_ms.map(|ms| now_ms + ms),
            usage: turn.extra.get("usage").map(usage).unwrap_or_default(),
            input,
            output,
            ..Stage::new("llm", GENERATION, now_ms, now_ms + longest_ms)
        });
        now_ms + first_ms.unwrap_or(longest_ms)
    }

    fn tools(&mut self, tools: &[ToolCall], now_ms: f64) -> f64 {
        for tool in tools {
            let start_ms = tool.start_ms.map_or(now_ms, f64::from);
            let message = tool.error.as_ref().and_then(|error| match error {
                Value::String(text) => Some(text.clone()),
                Value::Bool(_) | Value::Null => None,
                other => Some(other.to_string()),
            });
            self.found.push(Stage {
                id: format!("tool-{}", tool.id),
                name: tool.name.clone().unwrap_or_else(|| TOOL.to_owned()),
                r#type: TOOL,
                start_ms,
                end_ms: tool.end_ms.map(f64::from).or(Some(start_ms)),
                failed: tool.failed(),
                message,
                input: tool.arguments.clone(),
                output: tool.result.clone(),
                ..Stage::default()
            });
        }
        let ends = tools.iter().filter_map(|tool| tool.end_ms).map(f64::from);
        ends.fold(now_ms, f64::max)
    }

    fn speech(&mut self, turn: &Turn, spoken_ms: Option<f64>, now_ms: f64) {
        let calls = Stage::of_calls(turn, "ttsCalls", "firstByteMs", "tts", SPAN);
        if !calls.is_empty() {
            return self.found.extend(calls);
        }
        let (first_ms, whole_ms) = (took(turn.tts_ms), took(turn.tts_total_ms));
        let Some(longest_ms) = whole_ms.or(first_ms) else {
            return;
        };
        // What is heard begins with the first byte.
        let asked_ms = spoken_ms.map_or(now_ms, |ms| ms - first_ms.unwrap_or_default());
        let start_ms = asked_ms.max(now_ms);
        self.found.push(Stage {
            first_ms: first_ms.map(|ms| start_ms + ms),
            input: turn.text.clone().map(Value::from),
            ..Stage::new("tts", SPAN, start_ms, start_ms + longest_ms)
        });
    }
}

impl Stage {
    fn new(kind: &'static str, r#type: &'static str, start_ms: f64, end_ms: f64) -> Self {
        Self {
            id: kind.to_owned(),
            name: kind.to_owned(),
            kind,
            r#type,
            start_ms,
            end_ms: Some(end_ms),
            ..Self::default()
        }
    }

    /// The requests of a stage where a turn lists them with their times.
    fn of_calls(
        turn: &Turn,
        list: &str,
        first: &str,
        kind: &'static str,
        r#type: &'static str,
    ) -> Vec<Self> {
        let calls = turn.extra.get(list).and_then(Value::as_array);
        let calls = calls.into_iter().flatten().filter_map(Value::as_object);
        let stage = |(number, call): (usize, &Map<String, Value>)| {
            let ms = |name: &str| call.get(name).and_then(Value::as_f64);
            let start_ms = ms("startMs")?;
            let error = call.get("error").filter(|error| !error.is_null());
            Some(Self {
                id: format!("{kind}-{number}"),
                first_ms: ms(first),
                end_ms: ms("endMs").or(ms(first)),
                failed: error.is_some_and(|error| *error != Value::Bool(false)),
                message: error.and_then(Value::as_str).map(str::to_owned),
                usage: usage(&Value::Object(call.clone())),
                call: call.clone(),
                ..Self::new(kind, r#type, start_ms, start_ms)
            })
        };
        calls.enumerate().filter_map(stage).collect()
    }
}

/// A stage of 0 ms did not take place.
fn took(ms: Option<f64>) -> Option<f64> {
    ms.filter(|ms| *ms > 0.0)
}

/// Tokens by the names that traces have for them.
fn usage(stated: &Value) -> Map<String, Value> {
    let names = [
        ("promptTokens", "input"),
        ("completionTokens", "output"),
        ("cachedTokens", "input_cached_tokens"),
        ("cacheWriteTokens", "input_cache_creation"),
        ("audioTokens", "input_audio_tokens"),
        ("cachedAudioTokens", "input_cached_audio_tokens"),
        ("audioOutputTokens", "output_audio_tokens"),
    ];
    let count = |name: &str| stated.get(name).and_then(Value::as_f64);
    names
        .into_iter()
        .filter_map(|(native, name)| Some((name.to_owned(), json!(count(native)? as i64))))
        .collect()
}
