//! What was said by a transcript of ElevenLabs', what tools did meanwhile, and what the models used for it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::dialogue::{Dialogue, parsed};
use super::super::lens;
use super::super::lens::{Form, at, id, list, measured, number, text};

/// A transcript on the way: turns, tools, and what the models used.
#[derive(Default)]
pub struct Spoken {
    pub dialogue: Dialogue,
    /// Turns that have been told.
    turns: usize,
    /// What was generated, by the turn of the agent that it led to.
    generations: BTreeMap<usize, Vec<Generation>>,
    /// What was generated since the agent was last heard: by itself it calls a tool.
    unheard: Vec<Generation>,
    tts_model: Option<String>,
    stt_provider: Option<String>,
}

/// What one model used for one entry.
#[derive(Default)]
struct Generation {
    model: String,
    /// All that were read; the next two are among them.
    prompt_tokens: f64,
    cached_tokens: f64,
    cache_write_tokens: f64,
    completion_tokens: f64,
}

impl Generation {
    fn of(model: &str, usage: &Value) -> Self {
        let tokens = |name: &str| measured(usage, &[name, "tokens"]).unwrap_or_default();
        let (cached_tokens, cache_write_tokens) =
            (tokens("input_cache_read"), tokens("input_cache_write"));
        Self {
            model: model.to_owned(),
            prompt_tokens: tokens("input") + cached_tokens + cache_write_tokens,
            cached_tokens,
            cache_write_tokens,
            completion_tokens: tokens("output_total"),
        }
    }
}

/// What generations used in sum.
fn sum<'a>(generations: impl Iterator<Item = &'a Generation>) -> Form {
    let mut sum = Generation::default();
    for generation in generations {
        sum.prompt_tokens += generation.prompt_tokens;
        sum.cached_tokens += generation.cached_tokens;
        sum.cache_write_tokens += generation.cache_write_tokens;
        sum.completion_tokens += generation.completion_tokens;
    }
    let count = |count: f64| (count > 0.0).then(|| lens::ms(count));
    let mut form = Form::default();
    form.set("promptTokens", count(sum.prompt_tokens))
        .set("cachedTokens", count(sum.cached_tokens))
        .set("cacheWriteTokens", count(sum.cache_write_tokens))
        .set("completionTokens", count(sum.completion_tokens));
    form
}

/// What was said, by however many voices of one agent.
fn words(entry: &Value) -> Option<String> {
    let parts = list(entry, &["multivoice_message", "parts"]).iter();
    let parts: Vec<&str> = parts.filter_map(|part| text(part, &["text"])).collect();
    let whole = text(entry, &["message"]).map(str::to_owned);
    whole.or_else(|| Some(parts.join(" ")).filter(|_| !parts.is_empty()))
}

impl Spoken {
    pub fn entry(&mut self, entry: &Value) {
        let is_agent = match text(entry, &["role"]) {
            Some("user") => Some(false),
            Some("agent" | "assistant") => Some(true),
            _ => None,
        };
        let models = at(entry, &["llm_usage", "model_usage"]).and_then(Value::as_object);
        let generations = models.into_iter().flatten();
        self.unheard
            .extend(generations.map(|(model, usage)| Generation::of(model, usage)));
        let start_ms = number(entry, &["time_in_call_secs"]).map(|seconds| seconds * 1000.0);
        let flag = |name: &str| at(entry, &[name]).and_then(Value::as_bool) == Some(true);
        // What stands there because the user said nothing for long is the platform's.
        let is_said = is_agent == Some(true) || text(entry, &["platform_event"]).is_none();
        let spoken = words(entry).filter(|_| is_said).zip(is_agent);
        if let Some((said, is_agent)) = &spoken
            && flag("ignored_as_backchannel")
        {
            self.dialogue.backchannel(*is_agent, (start_ms, None), said);
        } else if let Some((said, is_agent)) = spoken {
            let mut form = Form::default();
            form.set("text", Some(said)).set(
                "interrupted",
                at(entry, &["interrupted"]).and_then(Value::as_bool),
            );
            self.measure(entry, &mut form);
            self.dialogue.turn(is_agent, (start_ms, None), form);
            if is_agent {
                let heard = std::mem::take(&mut self.unheard);
                self.generations.insert(self.turns, heard);
            }
            self.turns += 1;
        }
        for call in list(entry, &["tool_calls"]) {
            let Some(id) = id(call, &["request_id"]) else {
                continue;
            };
            let mut form = Form::default();
            form.set("name", text(call, &["tool_name"]))
                .set("arguments", text(call, &["params_as_json"]).map(parsed))
                .set("startMs", start_ms.filter(|ms| *ms >= 0.0).map(lens::ms));
            self.dialogue.tool(&id, form);
        }
        for result in list(entry, &["tool_results"]) {
            self.result(result);
        }
    }

    fn result(&mut self, result: &Value) {
        let Some(id) = id(result, &["request_id"]) else {
            return;
        };
        let is_error = at(result, &["is_error"]).and_then(Value::as_bool) == Some(true);
        let value = at(result, &["result_value"]).map(|value| match value {
            Value::String(text) => parsed(text),
            other => other.clone(),
        });
        let error = text(result, &["raw_error_message"]).map(Value::from);
        let took_ms = measured(result, &["tool_latency_secs"]).map(|seconds| seconds * 1000.0);
        let end_ms = self.dialogue.tool_start_ms(&id).zip(took_ms);
        let mut form = Form::default();
        form.set("name", text(result, &["tool_name"]))
            .set("endMs", end_ms.map(|(start, took)| lens::ms(start + took)));
        match is_error {
            true => form.set("error", error.or(value).or(Some(Value::from(true)))),
            false => form.set("result", value),
        };
        self.dialogue.tool(&id, form);
    }

    /// Latencies by names that are nowhere listed: by what they speak of. Seconds.
    fn measure(&mut self, entry: &Value, form: &mut Form) {
        let metrics = at(entry, &["conversation_turn_metrics", "metrics"]);
        for (name, metric) in metrics.and_then(Value::as_object).into_iter().flatten() {
            let has = |part: &str| name.contains(part);
            let field = if has("llm") && has("ttfb") {
                "llmMs"
            } else if has("tts") && has("ttfb") {
                "ttsMs"
            } else if has("asr") && has("latency") {
                "sttMs"
            } else {
                continue;
            };
            let seconds = measured(metric, &["elapsed_time"]);
            form.set(field, seconds.map(|seconds| seconds * 1000.0));
        }
        let metrics = at(entry, &["conversation_turn_metrics"]).unwrap_or(&Value::Null);
        let last = |known: &mut Option<String>, name: &str| {
            *known = text(metrics, &[name]).map(str::to_owned).or(known.take());
        };
        last(&mut self.tts_model, "convai_tts_model");
        last(&mut self.stt_provider, "convai_asr_provider");
    }

    /// Once all is told: what was used, by turn and model and in all. To be called before turns are sorted.
    pub fn used(&mut self) -> Form {
        // The call ended before the agent was heard again.
        if let Some(mut last) = self.generations.last_entry() {
            last.get_mut().append(&mut self.unheard);
        }
        for (turn, generations) in &self.generations {
            let calls = generations.iter().map(|generation| {
                let mut call = sum(std::iter::once(generation));
                call.set("model", Some(generation.model.as_str()));
                Value::Object(call.0)
            });
            let calls: Vec<Value> = calls.collect();
            if let Some(form) = self.dialogue.form(*turn).filter(|_| !calls.is_empty()) {
                form.object("usage", sum(generations.iter()))
                    .set("llmCalls", Some(calls));
            }
        }
        let all = self.generations.values().flatten().chain(&self.unheard);
        let (mut models, mut providers) = (Form::default(), Form::default());
        let last = all.clone().last();
        models
            .set("llm", last.map(|generation| generation.model.as_str()))
            .set("tts", self.tts_model.as_deref());
        providers.set("stt", self.stt_provider.as_deref());
        let mut used = Form::default();
        used.object("usage", sum(all))
            .object("models", models)
            .object("providers", providers);
        used
    }
}
