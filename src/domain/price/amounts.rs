//! What a turn used, by service, provider and model.

use serde_json::{Map, Value};

use super::{STATED, Service, Used};
use crate::domain::digest::{Measure, Stage};
use crate::domain::session::Session;
use crate::domain::turn::Turn;

/// One call of a service, or the turn's short word for all of them.
struct Call<'a> {
    service: Service,
    provider: &'a str,
    model: &'a str,
    counts: &'a Map<String, Value>,
}

/// Fields that tell how much of speech, and what they count as.
const COUNTS: [(Service, &str, Stage, f64); 3] = [
    (Service::Stt, "sttSeconds", Stage::SttAudioMs, 1_000.0),
    (Service::Tts, "ttsCharacters", Stage::TtsCharacters, 1.0),
    (Service::Tts, "characters", Stage::TtsCharacters, 1.0),
];
/// What a source says that a call cost, or in a turn's short word its transcription.
const COSTS: [(Service, &str); 3] = [
    (Service::Llm, "costUsd"),
    (Service::Tts, "costUsd"),
    (Service::Stt, "sttCostUsd"),
];
const NANOS: f64 = 1e9;

pub fn of(turn: &Turn) -> Vec<Measure> {
    let mut measures = Vec::new();
    let usage = turn.extra.get("usage").and_then(Value::as_object);
    for (service, list) in [
        (Service::Llm, "llmCalls"),
        (Service::Tts, "ttsCalls"),
        (Service::Stt, ""),
    ] {
        let calls = calls(&turn.extra, service, list);
        let mut counted: Vec<Measure> = calls.iter().flat_map(Call::measures).collect();
        if counted.is_empty()
            && let Some(usage) = usage
        {
            // Calls of one model that say nothing of themselves are what the turn speaks of.
            let mut named = calls.iter().map(|call| [call.provider, call.model]);
            let [provider, model] = match named.next() {
                Some(first) if named.all(|other| other == first) => first,
                _ => ["providers", "models"].map(|object| usual(&turn.extra, object, service)),
            };
            counted = Call {
                service,
                provider,
                model,
                counts: usage,
            }
            .measures();
        }
        measures.append(&mut counted);
    }
    measures
}

/// What a session's generations that are of no turn used.
pub fn beside(session: &Session) -> Vec<Measure> {
    let calls = calls(&session.extra, Service::Llm, "llmCalls");
    calls.iter().flat_map(Call::measures).collect()
}

/// The calls in a list of what says so much.
fn calls<'a>(told: &'a Map<String, Value>, service: Service, list: &str) -> Vec<Call<'a>> {
    let items = told.get(list).and_then(Value::as_array);
    let items = items.map(Vec::as_slice).unwrap_or_default();
    let calls = items.iter().filter_map(Value::as_object).map(|counts| {
        let named = |name: &str, object: &str| {
            let own = counts.get(name).and_then(Value::as_str);
            own.unwrap_or_else(|| usual(told, object, service))
        };
        Call {
            service,
            provider: named("provider", "providers"),
            model: named("model", "models"),
            counts,
        }
    });
    calls.collect()
}

fn usual<'a>(told: &'a Map<String, Value>, object: &str, service: Service) -> &'a str {
    let name = match service {
        Service::Stt => "stt",
        Service::Llm => "llm",
        Service::Tts => "tts",
        Service::Telephony => return "",
    };
    let named = told.get(object).and_then(|names| names.get(name));
    named.and_then(Value::as_str).unwrap_or_default()
}

impl Call<'_> {
    /// What its source says it cost, else what it used.
    fn measures(&self) -> Vec<Measure> {
        let number = |name: &str| self.counts.get(name).and_then(Value::as_f64);
        let own = |stage, provider: &str, amount: f64| {
            Measure::amount(stage, provider, self.model, amount.round() as i64)
        };
        let stated = COSTS.iter().filter(|(service, _)| *service == self.service);
        if let Some(usd) = stated.clone().find_map(|(_, name)| number(name)) {
            let prefix = STATED.iter().find(|(service, _)| *service == self.service);
            let prefix = prefix.map_or("", |(_, prefix)| *prefix);
            let provider = format!("{prefix}{}", self.provider);
            return vec![own(Stage::StatedNanoUsd, &provider, usd * NANOS)];
        }
        if self.service == Service::Llm {
            return self.tokens();
        }
        let of_service = COUNTS
            .iter()
            .filter(|(service, ..)| *service == self.service);
        of_service
            .filter_map(|(_, name, stage, unit)| {
                let amount = number(name).filter(|amount| *amount > 0.0)?;
                Some(own(*stage, self.provider, amount * unit))
            })
            .collect()
    }

    fn tokens(&self) -> Vec<Measure> {
        let used = Used::of_generations(self.counts);
        let amounts = [
            (Stage::PromptTokens, used.prompt_tokens),
            (Stage::CachedTokens, used.cached_tokens),
            (Stage::CacheWriteTokens, used.cache_write_tokens),
            (Stage::AudioTokens, used.audio_tokens),
            (Stage::CachedAudioTokens, used.cached_audio_tokens),
            (Stage::CompletionTokens, used.completion_tokens),
            (Stage::AudioOutputTokens, used.audio_output_tokens),
            (Stage::UnsplitPromptTokens, used.unsplit_prompt_tokens),
            (
                Stage::UnsplitCompletionTokens,
                used.unsplit_completion_tokens,
            ),
            (Stage::UnsplitTokens, used.unsplit_tokens),
        ];
        let told = amounts.into_iter().filter(|(_, amount)| *amount > 0);
        told.map(|(stage, amount)| Measure::amount(stage, self.provider, self.model, amount))
            .collect()
    }
}
