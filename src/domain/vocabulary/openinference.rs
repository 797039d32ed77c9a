//! The spans of OpenInference's instrumentations: a kind each, messages as attributes with numbers in their
//! names.

use serde_json::{Map, Value};

use super::calls::put;
use super::{Gist, Part, Said, Vocabulary, parts};

/// What a request was made with.
const REQUEST: &str = "llm.invocation_parameters";

/// What one span says.
pub fn gist(span: &Said<'_>) -> Option<Gist> {
    let part = part(span);
    let mut gist = span.gist(Vocabulary::Openinference, part);
    parts::read(span, part, &mut gist.fields);
    if matches!(part, Part::Stt | Part::Tts) {
        read_request(span, part, &mut gist.fields);
    }
    Some(gist)
}

/// Reads a request for speech, of which the conventions know no attributes: what was asked for, and what came of it,
/// stands as the API has it.
fn read_request(span: &Said<'_>, part: Part, fields: &mut Map<String, Value>) {
    let Some(request) = span.json(REQUEST) else {
        return;
    };
    let asked = |name: &str| request.get(name).and_then(Value::as_str);
    if let Some(model) = asked("model") {
        put(fields, "model", Some(model));
    }
    if part == Part::Stt {
        let usage = span.json("output.value");
        let seconds = usage
            .as_ref()
            .and_then(|told| told["usage"]["seconds"].as_f64());
        put(fields, "audioSeconds", seconds);
    } else if let Some(spoken) = asked("input") {
        put(fields, "text", Some(spoken));
        put(fields, "characters", Some(spoken.chars().count() as u64));
    }
}

/// What a span is by its kind.
pub fn part(span: &Said<'_>) -> Part {
    let kind = span.text("openinference.span.kind").unwrap_or_default();
    let named = parts::by_name(span.name);
    match kind.to_ascii_uppercase().as_str() {
        "LLM" if !is_generation(span) => Part::Other,
        "LLM" => speech(span).unwrap_or(Part::Llm),
        "TOOL" => Part::Tool,
        // Speech has no kind of its own.
        "AGENT" | "CHAIN" | "UNKNOWN" | "" => match named {
            Some(part @ (Part::Stt | Part::Tts | Part::Root)) => part,
            _ => Part::Exchange,
        },
        _ => Part::Other,
    }
}

/// Whether a span of this kind tells of any generation, its own attributes or its end: LlamaIndex has the kind also where
/// it writes an answer into its memory.
fn is_generation(span: &Said<'_>) -> bool {
    span.has_prefix("llm.") || span.has("output.value") || span.failure().is_some()
}

/// What a request was that was made for speech: whatever a model was asked for has this kind with OpenAI's client, and the
/// name of what it answers.
fn speech(span: &Said<'_>) -> Option<Part> {
    if span.has_prefix("llm.input_messages") {
        return None;
    }
    let request = span.json(REQUEST)?;
    let is_spoken = ["input", "voice"]
        .iter()
        .all(|name| request.get(*name).is_some());
    match parts::by_name(span.name) {
        Some(Part::Stt) => Some(Part::Stt),
        _ => is_spoken.then_some(Part::Tts),
    }
}
