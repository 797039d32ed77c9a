//! The spans of OpenInference's instrumentations: a kind each, messages as attributes with numbers in their
//! names.

use super::{Gist, Part, Said, Vocabulary, parts};

/// What one span says.
pub fn gist(span: &Said<'_>) -> Option<Gist> {
    let part = part(span);
    let mut gist = span.gist(Vocabulary::Openinference, part);
    parts::read(span, part, &mut gist.fields);
    Some(gist)
}

/// What a span is by its kind.
pub fn part(span: &Said<'_>) -> Part {
    let kind = span.text("openinference.span.kind").unwrap_or_default();
    let named = parts::by_name(span.name);
    match kind.to_ascii_uppercase().as_str() {
        "LLM" if !is_generation(span) => Part::Other,
        "LLM" => Part::Llm,
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
