//! Spans by OpenTelemetry's conventions for generative AI, of today and of before.

use super::calls::after;
use super::{Gist, Part, Said, Vocabulary, parts};

/// No answer takes longer.
const DURATION_MAX_MS: f64 = 3_600_000.0;

/// How OpenLLMetry tells the functions that it was told to trace.
const KIND: &str = "traceloop.span.kind";

/// How Vercel's AI SDK tells what it does.
const OPERATION: &str = "ai.operationId";

/// What one span says.
pub fn gist(span: &Said<'_>) -> Option<Gist> {
    let part = part(span);
    let mut gist = span.gist(Vocabulary::Genai, part);
    parts::read(span, part, &mut gist.fields);
    if span.text("logfire.span_type") == Some("log") {
        // A stream is told of when it is over, in a span without a length.
        let lasted = span
            .seconds_as_ms("duration")
            .filter(|ms| *ms <= DURATION_MAX_MS);
        gist.started_at = lasted.map_or(gist.started_at, |ms| after(gist.started_at, -ms));
    }
    Some(gist)
}

/// What a span is by the conventions.
pub fn part(span: &Said<'_>) -> Part {
    let operation = span.text("gen_ai.operation.name").unwrap_or_default();
    match operation.to_ascii_lowercase().as_str() {
        // Whose stream is told of by itself.
        "chat" | "text_completion" if is_request_of_stream(span) => Part::Other,
        "chat" | "text_completion" | "generate_content" | "completion" | "responses" => Part::Llm,
        // In which Google's ADK sums up tools that were called at once.
        "execute_tool" if span.text("gen_ai.tool.name") == Some("(merged tools)") => Part::Other,
        "execute_tool" => Part::Tool,
        "invoke_agent" | "invoke_workflow" => Part::Exchange,
        "transcribe" | "transcription" | "stt" | "speech_to_text" => Part::Stt,
        "speech" | "tts" | "synthesize" | "text_to_speech" => Part::Tts,
        "create_agent" | "embeddings" | "retrieval" => Part::Other,
        _ if span.text("gen_ai.output.type") == Some("speech") => Part::Tts,
        _ if span.has("gen_ai.tool.name") => Part::Tool,
        _ if span.has(OPERATION) => match span.text(OPERATION).unwrap_or_default() {
            "ai.toolCall" => Part::Tool,
            name if name.contains("mbed") || name.contains("rerank") => Part::Other,
            // One call of a model, of the several that an answer may take.
            name if name.contains(".do") => Part::Llm,
            _ => Part::Exchange,
        },
        _ if span.has(KIND) => match span.text(KIND) {
            Some("tool") => Part::Tool,
            // A function that an application has called so: its name says nothing of what it is.
            _ => Part::Other,
        },
        _ => match parts::by_name(span.name) {
            Some(part) => part,
            None if span.has("gen_ai.request.model") => Part::Llm,
            None => Part::Other,
        },
    }
}

/// Whether Logfire tells in it of no more than that a stream began: what comes of it stands in a span of its own.
fn is_request_of_stream(span: &Said<'_>) -> bool {
    let answers = [
        "response_data",
        "gen_ai.output.messages",
        "gen_ai.usage.output_tokens",
    ];
    span.text("logfire.span_type") == Some("span")
        && span.has("request_data")
        && !answers.iter().any(|name| span.has(name))
        && span.failure().is_none()
}
