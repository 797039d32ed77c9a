//! Spans by OpenTelemetry's conventions for generative AI, of today and of before.

use serde_json::{Map, Value};

use crate::domain::price;

use super::calls::{after, put, put_failure, tell_given_up};
use super::logged::is_messages;
use super::raised::{Raised, raised};
use super::{Gist, Part, Said, Vocabulary, agents_sdk, mastra, parts, strands};

/// No answer takes longer.
const DURATION_MAX_MS: f64 = 3_600_000.0;

/// How OpenLLMetry tells the functions that it was told to trace.
const KIND: &str = "traceloop.span.kind";

/// How Vercel's AI SDK tells what it does.
const OPERATION: &str = "ai.operationId";

/// How LangSmith's exporter tells what it traced. By the conventions it calls more a chat than generations.
const RUN: &str = "langsmith.span.kind";

/// Operations with agents, which no span is called by chance.
const OF_AGENTS: [&str; 3] = ["create_agent", "invoke_agent", "invoke_workflow"];

/// How Genkit tells what it does.
const ACTION: &str = "genkit:metadata:subtype";
const GENKIT: &str = "genkit:type";

/// Where the tokens of a generation are told whole, as an API counts them.
const USAGES: [(&str, &str); 2] = [
    ("langsmith.metadata.usage_metadata", ""),
    ("genkit:output", "/usage"),
];

/// What one span says.
pub fn gist(span: &Said<'_>) -> Option<Gist> {
    let part = part(span);
    let mut gist = span.gist(Vocabulary::Genai, part);
    parts::read(span, part, &mut gist.fields);
    if part == Part::Llm {
        read_whole(span, &mut gist.fields);
    }
    if agents_sdk::is_of(span) {
        agents_sdk::read(span, &mut gist);
    }
    if mastra::is_of(span) {
        mastra::read(span, &mut gist);
    }
    if strands::is_of(span) {
        strands::read(span, &mut gist);
    }
    // What makes prompts or reads answers only passes on what a model raised.
    if span.has(RUN) && part != Part::Other {
        read_raised(span, &mut gist.fields);
    }
    if span.text("logfire.span_type") == Some("log") {
        // A stream is told of when it is over, in a span without a length.
        let lasted = span
            .seconds_as_ms("duration")
            .filter(|ms| *ms <= DURATION_MAX_MS);
        gist.started_at = lasted.map_or(gist.started_at, |ms| after(gist.started_at, -ms));
    }
    Some(gist)
}

/// What stands of a generation in no attributes of its own.
fn read_whole(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let usage = |(name, place): &(&str, &str)| {
        let usage = span.json(name)?.pointer(place)?.as_object()?.clone();
        Some(price::counts(&usage))
    };
    fields.extend(USAGES.iter().find_map(usage).unwrap_or_default());
    // The plugin that knows it is named before the model.
    let named = span
        .text("genkit:name")
        .and_then(|name| name.split_once('/'));
    if let Some((provider, model)) = named {
        put(fields, "provider", Some(provider));
        put(fields, "model", Some(model));
    }
}

/// What a run of LangSmith's raised. Its exporter says of each first that it went well, which no later word takes back;
/// what it raised stands as Python prints it.
fn read_raised(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let Some(told) = span.exception("exception.message") else {
        return;
    };
    match raised(&told) {
        Some(Raised { class, message }) => put_failure(fields, message, Some(class), None),
        None => put_failure(fields, told.trim(), None, None),
    }
    tell_given_up(fields);
}

/// What a span of LangSmith's exporter is.
fn run(sort: &str, name: &str) -> Part {
    match (sort, parts::by_name(name)) {
        ("llm", _) => Part::Llm,
        ("tool", _) => Part::Tool,
        ("chain", Some(part @ (Part::Stt | Part::Tts | Part::Root))) => part,
        ("chain", _) => Part::Exchange,
        _ => Part::Other,
    }
}

/// What a span of Genkit's is: an action, or what it does around one.
fn action(span: &Said<'_>) -> Part {
    match span.text(ACTION).or(span.text(GENKIT)).unwrap_or_default() {
        "model" | "background-model" => Part::Llm,
        "tool" | "tool.v2" => Part::Tool,
        "flow" | "prompt" | "executable-prompt" => Part::Exchange,
        "util" if span.text("genkit:name") == Some("generate") => Part::Exchange,
        _ => Part::Other,
    }
}

/// What a span is by the conventions.
pub fn part(span: &Said<'_>) -> Part {
    if is_messages(span.span_id) {
        return Part::Messages;
    }
    if let Some(sort) = span.text(RUN) {
        return run(sort, span.name);
    }
    if span.has(GENKIT) {
        return action(span);
    }
    if agents_sdk::is_of(span) {
        return agents_sdk::part(span);
    }
    if mastra::is_of(span) {
        return mastra::part(span);
    }
    let operation = operation(span);
    if strands::is_of(span)
        && let Some(part) = strands::part(operation)
    {
        return part;
    }
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
        "ai.transcribe" | "ai.streamtranscribe" => Part::Stt,
        "ai.generatespeech" => Part::Tts,
        "create_agent" | "embeddings" | "retrieval" | "rerank" => Part::Other,
        _ if span.text("gen_ai.output.type") == Some("speech") => Part::Tts,
        _ if span.has("gen_ai.tool.name") => Part::Tool,
        _ if span.has(OPERATION) => match span.text(OPERATION).unwrap_or_default() {
            "ai.toolCall" => Part::Tool,
            "ai.transcribe" | "ai.streamTranscribe" => Part::Stt,
            "ai.generateSpeech" => Part::Tts,
            name if name.contains("mbed") || name.contains("rerank") => Part::Other,
            // One call of a model, of the several that an answer may take.
            name if name.contains(".do") => Part::Llm,
            _ => Part::Exchange,
        },
        _ if span.has(KIND) => match span.text(KIND) {
            Some("tool") => Part::Tool,
            // Speech has no kind of its own.
            Some("task") if is_of_speech(span) => parts::by_name(span.name).unwrap_or(Part::Other),
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

/// What it does by the conventions. OpenLIT leaves the attribute out of what failed, and then the span's name says so.
fn operation<'a>(span: &Said<'a>) -> &'a str {
    let first = span.name.split(' ').next();
    let named = first.filter(|word| OF_AGENTS.contains(word));
    let told = span.text("gen_ai.operation.name");
    told.or(named).unwrap_or_default()
}

fn is_of_speech(span: &Said<'_>) -> bool {
    matches!(parts::by_name(span.name), Some(Part::Stt | Part::Tts))
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
