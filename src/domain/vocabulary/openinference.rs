//! The spans of OpenInference's instrumentations: a kind each, messages as attributes with numbers in their
//! names.

use super::{Gist, Part, Said, Vocabulary, parts};

/// What one span says.
pub fn gist(span: &Said<'_>) -> Option<Gist> {
    let kind = span.text("openinference.span.kind").unwrap_or_default();
    let named = parts::by_name(span.name);
    let part = match kind.to_ascii_uppercase().as_str() {
        "LLM" => Part::Llm,
        "TOOL" => Part::Tool,
        // Speech has no kind of its own.
        "AGENT" | "CHAIN" | "UNKNOWN" | "" => match named {
            Some(part @ (Part::Stt | Part::Tts | Part::Root)) => part,
            _ => Part::Exchange,
        },
        _ => Part::Other,
    };
    let mut gist = span.gist(Vocabulary::Openinference, part);
    parts::read(span, part, &mut gist.fields);
    Some(gist)
}
