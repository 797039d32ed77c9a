//! What one span of LiveKit's agents says. Content stands under `lk.pii.…` since 1.8 and under `lk.…`
//! before; durations are seconds, but for what Node.js counts otherwise; a duration of zero was not measured.

use serde_json::{Map, Value, json};

use crate::domain::sip::Leg;
use crate::domain::tokens::Cache;
use crate::domain::vocabulary::calls::{put, read_usage};
use crate::domain::vocabulary::span::{number, parsed, said};
use crate::domain::vocabulary::{Gist, Part, Said, Vocabulary, moment};

use super::{nodejs, python, unknown};

/// So many changes of state are kept of a session.
const STATES_MAX: usize = 500;
const DEFAULT_AGENT: &str = "default_agent";
/// What a process is called that nobody has named.
const UNKNOWN_SERVICE: &str = "unknown_service";
/// The resource that the SDK's own uploads come from.
const SDK_SERVICE: &str = "livekit-agents";

/// Names under which what belongs to a node of an answer's pipeline is found.
pub const NODE: &str = "node";
/// Marks a node that stands right below the agent's turn.
pub const TOP: &str = "top";
pub const FAILURE: &str = "failure";
/// Marks a call that only tries whether a model which had failed is back, while another one answers.
pub const BESIDE: &str = "beside";
/// Marks the end of a job that what the application runs in it brought about by failing.
pub const CRASHED: &str = "crashed";
/// The SDK's words for it.
const JOB_CRASHED: &str = "job crashed";
/// Marks that a session, or the agent who speaks in it, is brought to its end, and which of both.
pub const CLOSING: &str = "closing";
pub const SESSION: &str = "session";
const AGENT: &str = "agent";
/// What a synthesis was to speak.
pub const SPOKEN: &str = "spoken";

pub fn gist(span: &Said<'_>) -> Option<Gist> {
    // That the process stood still is nothing of a conversation. Its session counts how often it did.
    if span.has("lk.blocking.duration") {
        return None;
    }
    let part = part(span);
    let mut gist = span.gist(Vocabulary::Livekit, part);
    let fields = &mut gist.fields;
    match part {
        Part::Root => root(span, fields),
        Part::UserTurn => user_turn(span, fields),
        Part::AgentTurn => agent_turn(span, fields),
        Part::UserSpeech => user_speech(span, fields),
        Part::Endpointing => {
            let delay = span.seconds_as_ms("lk.eou.endpointing_delay");
            put(fields, "configuredEndpointingMs", positive(delay));
        }
        Part::Llm => {
            llm(span, fields);
            unknown::read(span, fields);
        }
        Part::Tts => tts(span, fields),
        Part::LlmAttempt => attempt(span, "llm", fields),
        Part::TtsAttempt => attempt(span, "tts", fields),
        Part::Tool => tool(span, fields),
        Part::Other => other(span, fields),
        _ => {}
    }
    put(fields, FAILURE, failure(span, part));
    let is_trial = span.flag("lk.fallback.recovery");
    put(fields, BESIDE, is_trial.filter(|is_trial| *is_trial));
    names(span, fields);
    put(&mut gist.session, "answeredBy", answered_by(span));
    let sip = span.has_prefix("lk.sip.") || span.has("lk.pii.sip.phoneNumber");
    if sip {
        gist.session
            .insert("transport".to_owned(), Value::from("sip"));
        let leg = Leg::of(|name| content(span, &format!("sip.{name}")));
        for (name, told) in [("channel", leg.channel), ("from", leg.from), ("to", leg.to)] {
            put(&mut gist.session, name, told.map(Value::from));
        }
    }
    Some(gist)
}

/// Who picked up, as the agent made out from the greeting; it is not always sure.
fn answered_by(span: &Said<'_>) -> Option<&'static str> {
    match span.text("lk.amd.category")? {
        "human" => Some("human"),
        category if category.starts_with("machine") => Some("machine"),
        _ => None,
    }
}

fn part(span: &Said<'_>) -> Part {
    match span.name {
        "agent_session" => Part::Root,
        "user_turn" => Part::UserTurn,
        "agent_turn" => Part::AgentTurn,
        // What 1.2 calls it.
        "assistant_turn" | "realtime_assistant_turn" => Part::AgentTurn,
        "user_speaking" => Part::UserSpeech,
        "agent_speaking" => Part::AgentSpeech,
        "eou_wait" => Part::Endpointing,
        "llm_request" => Part::Llm,
        "llm_request_run" => Part::LlmAttempt,
        "tts_request" => Part::Tts,
        "tts_request_run" => Part::TtsAttempt,
        "function_tool" => Part::Tool,
        // A model that hears and speaks itself.
        _ if span.has("lk.realtime_model_metrics") => Part::Llm,
        _ => Part::Other,
    }
}

/// What was said, wherever this version of the SDK writes it.
fn content<'a>(span: &Said<'a>, name: &str) -> Option<&'a str> {
    let private = format!("lk.pii.{name}");
    span.text(&private)
        .or_else(|| span.text(&format!("lk.{name}")))
}

fn positive(ms: Option<f64>) -> Option<f64> {
    ms.filter(|ms| *ms > 0.0)
}

/// A document of the SDK within a span.
fn metrics(span: &Said<'_>, name: &str) -> Option<Value> {
    span.json(name).map(nodejs::in_python)
}

/// A duration in a document of the SDK, as milliseconds: in Node.js they are that already.
fn duration(metrics: &Value, name: &str) -> Option<f64> {
    let told = |name: &str| metrics.get(name).and_then(number);
    let ms = told(name).map(|seconds| seconds * 1e3);
    let ms = ms.or_else(|| told(&format!("{name}_ms")))?;
    positive(Some((ms * 1e3).round() / 1e3))
}

fn root(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let states = span.events().filter_map(|(name, at, attributes)| {
        let who = name.strip_suffix("_state_changed")?;
        let state = |name: &str| attributes.get(name).and_then(said).map(str::to_owned);
        Some(json!({
            "at": moment(at?),
            "who": who,
            "from": state("lk.old_state"),
            "to": state("lk.new_state"),
        }))
    });
    let states: Vec<Value> = states.take(STATES_MAX).collect();
    put(fields, "states", (!states.is_empty()).then_some(states));
    let reason = span.text("lk.close_reason");
    put(fields, "endReason", reason);
}

fn user_turn(span: &Said<'_>, fields: &mut Map<String, Value>) {
    put(fields, "text", content(span, "user_transcript"));
    delays(span, fields);
    let confidence = span.number("lk.transcript_confidence");
    let confidence = confidence.filter(|share| *share > 0.0 && *share <= 1.0);
    put(fields, "confidence", confidence);
    put(fields, "eouProbability", span.number("lk.eou.probability"));
    model(span, None, "stt", fields);
}

/// The silence after the user's last word: until it was a text, and until the turn was decided, which
/// contains the former.
fn delays(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let [stt, turn] = nodejs::waits(
        span,
        [
            &["lk.transcription_delay"],
            &["lk.end_of_turn_delay", "lk.end_of_utterance_delay"],
        ],
    );
    let (stt, turn) = (positive(stt), positive(turn));
    put(fields, "sttMs", stt);
    let rest = turn.map(|turn| (turn - stt.unwrap_or_default()).max(0.0));
    put(
        fields,
        "endpointingMs",
        rest.map(|ms| (ms * 1e3).round() / 1e3),
    );
    put(fields, "endOfTurnMs", turn);
}

fn agent_turn(span: &Said<'_>, fields: &mut Map<String, Value>) {
    put(fields, "speech", span.text("lk.speech_id"));
    put(fields, "text", content(span, "response.text"));
    put(fields, "input", content(span, "user_input"));
    delays(span, fields);
    let latency = positive(span.seconds_as_ms("lk.e2e_latency"));
    put(fields, "latencyMs", latency);
    let callback = positive(span.seconds_as_ms("lk.on_user_turn_completed_delay"));
    put(fields, "callbackMs", callback);
    put(fields, "interrupted", span.flag("lk.interrupted"));
    put(fields, "stoppedBy", span.text("lk.interruption.source"));
    put(
        fields,
        "playedMs",
        span.seconds_as_ms("lk.playout.position"),
    );
}

fn user_speech(span: &Said<'_>, fields: &mut Map<String, Value>) {
    put(fields, "overlaps", span.flag("lk.is_interruption"));
    let probability = span.number("lk.interruption.probability");
    let probability = probability.filter(|share| (0.0..=1.0).contains(share));
    put(fields, "probability", probability);
    let detection = positive(span.seconds_as_ms("lk.interruption.detection_delay"));
    put(fields, "detectionMs", detection);
}

fn llm(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let told = metrics(span, "lk.llm_metrics");
    let told = told.or_else(|| metrics(span, "lk.realtime_model_metrics"));
    let metrics = told.unwrap_or(Value::Null);
    let stated = positive(span.seconds_as_ms("gen_ai.response.time_to_first_chunk"));
    put(
        fields,
        "llmMs",
        stated.or_else(|| duration(&metrics, "ttft")),
    );
    let usage = usage(span, &metrics);
    put(fields, "usage", (!usage.is_empty()).then_some(usage));
    let cancelled = metrics.get("cancelled").and_then(Value::as_bool);
    put(
        fields,
        "cancelled",
        cancelled.filter(|cancelled| *cancelled),
    );
    let reasons = span.json("gen_ai.response.finish_reasons");
    let reason = reasons.as_ref().and_then(|reasons| match reasons {
        Value::Array(reasons) => said(reasons.last()?),
        other => said(other),
    });
    put(fields, "finishReason", reason);
    model(span, Some(&metrics), "llm", fields);
}

/// What a request used: as the span says, else as the SDK's metrics within it do; its plugins count all tokens that
/// were read, whatever their provider does. Most of what the SDK writes as 0
/// did not take place.
fn usage(span: &Said<'_>, metrics: &Value) -> Map<String, Value> {
    let mut usage = Map::new();
    read_usage(span, Cache::Within, &mut usage);
    for (name, places) in IN_METRICS {
        let mut told = places
            .iter()
            .filter_map(|place| metrics.pointer(place).and_then(number));
        let count = told.find(|count| (0.0..=1e9).contains(count));
        if !usage.contains_key(name) {
            put(&mut usage, name, count);
        }
    }
    usage
        .retain(|name, count| SAID_AS_ZERO.contains(&name.as_str()) || count.as_f64() != Some(0.0));
    // Where nothing was counted at all, nobody was told.
    if usage.values().all(|count| count.as_f64() == Some(0.0)) {
        usage.clear();
    }
    usage
}

const SAID_AS_ZERO: [&str; 3] = ["promptTokens", "completionTokens", "cachedAudioTokens"];

/// Counts in the metrics of a generation, and in those of a model that hears and speaks itself.
const IN_METRICS: [(&str, &[&str]); 7] = [
    ("promptTokens", &["/prompt_tokens", "/input_tokens"]),
    (
        "completionTokens",
        &["/completion_tokens", "/output_tokens"],
    ),
    (
        "cachedTokens",
        &[
            "/prompt_cached_tokens",
            "/input_token_details/cached_tokens",
        ],
    ),
    ("cacheWriteTokens", &["/cache_creation_tokens"]),
    ("audioTokens", &["/input_token_details/audio_tokens"]),
    (
        "cachedAudioTokens",
        &["/input_token_details/cached_tokens_details/audio_tokens"],
    ),
    ("audioOutputTokens", &["/output_token_details/audio_tokens"]),
];

fn tts(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let metrics = metrics(span, "lk.tts_metrics").unwrap_or(Value::Null);
    put(fields, SPOKEN, content(span, "input_text"));
    put(fields, "ttsMs", duration(&metrics, "ttfb"));
    put(fields, "audioMs", duration(&metrics, "audio_duration"));
    let characters = metrics.get("characters_count").and_then(number);
    put(
        fields,
        "characters",
        characters.filter(|count| *count > 0.0),
    );
    model(span, Some(&metrics), "tts", fields);
}

fn attempt(span: &Said<'_>, stage: &str, fields: &mut Map<String, Value>) {
    put(fields, "attempt", span.count(&["lk.retry_count"]));
    model(span, None, stage, fields);
}

/// `{"provider", "model"}` of a stage.
fn model(span: &Said<'_>, metrics: Option<&Value>, stage: &str, fields: &mut Map<String, Value>) {
    let told = |name: &str| said(metrics?.get("metadata")?.get(name)?).map(str::to_owned);
    let model = span.first_text(&["gen_ai.response.model", "gen_ai.request.model"]);
    let model = model.map(str::to_owned).or_else(|| told("model_name"));
    let provider = span.text("gen_ai.provider.name").map(str::to_owned);
    let provider = provider.or_else(|| told("model_provider"));
    put(fields, "stage", Some(stage));
    put(fields, "model", model);
    put(fields, "provider", provider);
}

fn tool(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let id = span.first_text(&["lk.function_tool.id", "gen_ai.tool.call.id"]);
    put(fields, "callId", id);
    let name = span.first_text(&["lk.function_tool.name", "gen_ai.tool.name"]);
    put(fields, "name", name);
    let arguments = content(span, "function_tool.arguments");
    let arguments = arguments.or_else(|| span.text("gen_ai.tool.call.arguments"));
    put(fields, "arguments", arguments.map(parsed));
    let output = content(span, "function_tool.output").map(python::value);
    let is_error = span.flag("lk.function_tool.is_error").unwrap_or(false);
    let failed = is_error || output.as_ref().is_some_and(says_error) || span.failure().is_some();
    if failed {
        let message = output.map(|output| match output.get("error") {
            Some(error) if !error.is_null() => error.clone(),
            _ => output,
        });
        let message = message.or_else(|| span.exception("exception.message").map(Value::from));
        let message = message.unwrap_or_else(|| Value::from("the tool failed"));
        put(fields, "error", Some(message));
    } else {
        put(fields, "result", output);
    }
}

/// Whether a tool's own answer is that it failed.
fn says_error(output: &Value) -> bool {
    match output.get("error") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

fn other(span: &Said<'_>, fields: &mut Map<String, Value>) {
    match span.name {
        "llm_node" => {
            put(fields, NODE, Some("llm"));
            put(fields, TOP, Some(true));
            put(fields, "text", content(span, "response.text"));
            put(
                fields,
                "llmMs",
                positive(span.seconds_as_ms("lk.response.ttft")),
            );
        }
        "tts_node" => {
            put(fields, NODE, Some("tts"));
            put(fields, TOP, Some(true));
            put(
                fields,
                "ttsMs",
                positive(span.seconds_as_ms("lk.response.ttfb")),
            );
        }
        name if name.starts_with("llm_") => put(fields, NODE, Some("llm")),
        name if name.starts_with("tts_") => put(fields, NODE, Some("tts")),
        "job_shutdown" => {
            let reason = span.text("lk.shutdown.reason");
            put(
                fields,
                CRASHED,
                (reason == Some(JOB_CRASHED)).then_some(true),
            );
        }
        "session_close" => {
            put(fields, "endReason", span.text("lk.close_reason"));
            put(fields, CLOSING, Some(SESSION));
        }
        "drain_agent_activity" => put(fields, CLOSING, Some(AGENT)),
        "eou_detection" => {
            let probability = span.number("lk.eou.probability");
            put(
                fields,
                "eouProbability",
                probability.filter(|p| (0.0..=1.0).contains(p)),
            );
        }
        _ => {}
    }
}

/// What went wrong in a span: `{"message", "code", "statusCode"}`. A tool's failure is its output.
fn failure(span: &Said<'_>, part: Part) -> Option<Value> {
    if part == Part::Tool {
        return None;
    }
    let stated = span.failure()?;
    let message = span.exception("exception.message").unwrap_or(stated);
    let message = python::message(&message);
    let kind = span.text("error.type");
    let status: Option<u16> = kind.and_then(|kind| kind.parse().ok());
    let exception = span.exception("exception.type");
    let code = match status {
        Some(_) => exception,
        None => kind.map(str::to_owned).or(exception),
    };
    let message = if message.is_empty() {
        code.clone()
            .unwrap_or_else(|| format!("{} failed", span.name))
    } else {
        message
    };
    let mut failure = Map::new();
    put(&mut failure, "message", Some(message));
    put(&mut failure, "code", code);
    put(&mut failure, "statusCode", status);
    Some(failure.into())
}

/// Whose session it is, as far as the span says.
fn names(span: &Said<'_>, fields: &mut Map<String, Value>) {
    put(fields, "agentName", span.text("lk.agent_name"));
    let label = span.first_text(&["gen_ai.agent.name", "lk.agent_label"]);
    put(
        fields,
        "agentLabel",
        label.filter(|label| *label != DEFAULT_AGENT),
    );
    let service = span.resource("service.name");
    let service = service.filter(|name| !name.starts_with(UNKNOWN_SERVICE) && *name != SDK_SERVICE);
    put(fields, "service", service);
}
