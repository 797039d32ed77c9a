//! Spans by OpenTelemetry's conventions for generative AI, of today and of before.

use super::{Gist, Part, Said, Vocabulary, parts};

/// What one span says.
pub fn gist(span: &Said<'_>) -> Option<Gist> {
    let operation = span.text("gen_ai.operation.name").unwrap_or_default();
    let part = match operation.to_ascii_lowercase().as_str() {
        "chat" | "text_completion" | "generate_content" | "completion" | "responses" => Part::Llm,
        "execute_tool" => Part::Tool,
        "invoke_agent" | "invoke_workflow" => Part::Exchange,
        "transcribe" | "transcription" | "stt" | "speech_to_text" => Part::Stt,
        "speech" | "tts" | "synthesize" | "text_to_speech" => Part::Tts,
        "create_agent" | "embeddings" | "retrieval" => Part::Other,
        _ if span.text("gen_ai.output.type") == Some("speech") => Part::Tts,
        _ if span.has("gen_ai.tool.name") => Part::Tool,
        _ => match parts::by_name(span.name) {
            Some(part) => part,
            None if span.has("gen_ai.request.model") => Part::Llm,
            None => Part::Other,
        },
    };
    let mut gist = span.gist(Vocabulary::Genai, part);
    parts::read(span, part, &mut gist.fields);
    Some(gist)
}
