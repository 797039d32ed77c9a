//! What the plainer vocabularies say of one part of an exchange, whichever names they have for it: the conventions of
//! GenAI, of OpenInference, and what applications write by themselves.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::fact::parse_time;
use crate::domain::tokens::Cache;

use super::calls::{
    TRACER, in_langchain, in_words, ms_between, put, read_failure, read_provider, read_usage,
    tell_given_up, tool_value,
};
use super::messages::{
    Asked, GAVE, GIVEN, answer, answered, asked, content, events_and_logs, is_of_roles, list_of,
    lists_in_events, numbered_text, told, told_in,
};
use super::{Part, Said, called, livekit, mastra, strands};

/// Events that mark the first token: OpenInference's, and OpenLLMetry's of each piece.
const FIRST_TOKEN: [&str; 2] = [
    "First Token Stream Event",
    "gen_ai.content.completion.chunk",
];
/// When the first of it came, as OpenAI's Agents SDK and Mastra say it.
const FIRST_AT: [&str; 2] = ["first_content_at", "mastra.completion_start_time"];
/// Where OpenLLMetry keeps what a function was called with, and what it returned.
const ENTITY_INPUT: &str = "traceloop.entity.input";
const ENTITY_OUTPUT: &str = "traceloop.entity.output";
/// Where Pydantic AI keeps what was said in a run of an agent, and before it.
const SAID_IN_RUN: &str = "pydantic_ai.all_messages";
/// Where Vercel's AI SDK keeps what it was asked for.
const PROMPT: &str = "ai.prompt";
/// Where it keeps what it was answered.
const VERCEL_ANSWERS: [&str; 2] = ["ai.response.text", "ai.response.object"];
/// And what it was to speak.
const SPOKEN: &str = "ai.request.text";
/// Where all is kept that an API answered.
const WHOLE: [&str; 2] = ["output.value", "output"];
/// Where Google's ADK keeps what a model was asked and answered, as its API has both, before it followed the conventions.
const ADK_RESPONSE: &str = "gcp.vertex.agent.llm_response";
/// What a generation cost, where its tracer knows prices: OpenInference's conventions, Logfire, and LiteLLM.
const COSTS: [&str; 3] = ["llm.cost.total", "operation.cost", "gen_ai.cost.total_cost"];
/// The tracer of AWS's client in Python.
const BOTOCORE: &str = "opentelemetry.instrumentation.botocore";
/// Words in which applications name spans, in lower case. The first that fits counts.
const NAMES: [(Part, &[&str]); 6] = [
    (
        Part::Stt,
        &["stt", "transcri", "speech_to_text", "speech-to-text", "asr"],
    ),
    (
        Part::Tts,
        &[
            "tts",
            "synth",
            "text_to_speech",
            "text-to-speech",
            "speech",
            "speak",
        ],
    ),
    (Part::Tool, &["tool", "function_call", "execute_tool"]),
    (Part::Llm, &["llm", "chat", "completion", "generate"]),
    (
        Part::Exchange,
        &["turn", "voice-turn", "voice_turn", "voice turn", "exchange"],
    ),
    (Part::Root, &["conversation", "call", "session"]),
];

/// What a span's name says that it is: a word that it begins with, or that it is but for a number behind it.
pub fn by_name(name: &str) -> Option<Part> {
    let name = name.to_ascii_lowercase();
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || "-_ #".contains(c));
    let begins = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
    let is = |words: &[&str]| words.contains(&bare);
    NAMES.into_iter().find_map(|(part, words)| {
        let fits = match part {
            Part::Exchange | Part::Root => is(words),
            _ => begins(words),
        };
        fits.then_some(part)
    })
}

/// Reads what a span says as such a part.
pub fn read(span: &Said<'_>, part: Part, fields: &mut Map<String, Value>) {
    read_failure(span, fields);
    tell_given_up(fields);
    match part {
        Part::Root | Part::Exchange => exchange(span, fields),
        Part::Stt => {
            read_provider(span, fields);
            let told = text_of(span, &["transcript", "output.value", "output", "text"]);
            let told = told.or_else(|| answer(&list_of(span, "gen_ai.output.messages")?));
            let told = told.or_else(|| content(&span.json(ENTITY_OUTPUT)?));
            let told = told.or_else(|| text_of(span, &VERCEL_ANSWERS));
            put(fields, "text", told);
            let seconds = ["audio_seconds", "gen_ai.usage.seconds", "ai.usage.seconds"];
            let seconds = seconds.iter().find_map(|name| span.number(name));
            put(fields, "audioSeconds", seconds);
        }
        Part::Llm | Part::LlmAttempt => llm(span, fields),
        Part::Tts => {
            read_provider(span, fields);
            let given = ["text", "input.value", "input", "lk.input_text", SPOKEN];
            let given = text_of(span, &given).or_else(|| asked(span)?.text);
            let given = given.or_else(|| content(only_argument(&span.json(ENTITY_INPUT)?)?));
            let characters = given.as_ref().map(|text| text.chars().count() as u64);
            let stated = [
                "characters",
                "metrics.character_count",
                "gen_ai.usage.characters",
                "ai.usage.characters",
            ];
            let stated = span.count(&stated);
            put(fields, "characters", stated.or(characters));
            put(fields, "text", given);
            put(fields, "ttsMs", first_output_ms(span));
        }
        Part::Tool => tool(span, fields),
        Part::Messages => messages(span, fields),
        _ => {}
    }
}

/// What is told beside a generation's span, by the names that the span would have for it.
fn messages(span: &Said<'_>, fields: &mut Map<String, Value>) {
    put(fields, "text", generated(span));
    called::read(span, fields);
    if let Some(asked) = asked(span) {
        asked.write(fields);
    }
}

fn exchange(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let names = [
        "input.value",
        "user.text",
        "user_text",
        "input",
        "transcript",
    ];
    let taken = names
        .iter()
        .find_map(|name| said_by_user(&span.json(name)?));
    // By the conventions of GenAI an agent's messages stand where a generation's do.
    let asked = || {
        let whole = |name: &&str| Asked::in_list(&list_of(span, name)?);
        let told = asked(span).or_else(|| [SAID_IN_RUN, PROMPT].iter().find_map(whole));
        let prompt = || content(span.json(PROMPT)?.get("prompt")?);
        told.and_then(|asked| asked.text).or_else(prompt)
    };
    let whole = || {
        let names = GIVEN.iter().chain(&mastra::GIVEN);
        let mut texts = names.filter_map(|name| told(&list_of(span, name)?));
        texts.next()
    };
    put(fields, "userText", taken.or_else(whole).or_else(asked));
    let given = text_of(
        span,
        &[
            "output.value",
            "agent.text",
            "agent_text",
            "output",
            "response",
            "final_result",
        ],
    );
    put(fields, "text", given.or_else(|| generated(span)));
    let is_turn = span.has("turn.number") || by_name(span.name) == Some(Part::Exchange);
    put(fields, "isTurn", is_turn.then_some(true));
    let metadata = span.json("metadata");
    let told = metadata
        .as_ref()
        .and_then(|metadata| metadata.get("interrupted")?.as_bool());
    let interrupted = span
        .flag("interrupted")
        .or(span.flag("turn.was_interrupted"))
        .or(told);
    put(fields, "interrupted", interrupted.filter(|is| *is));
}

fn llm(span: &Said<'_>, fields: &mut Map<String, Value>) {
    read_provider(span, fields);
    read_usage(span, cache(span), fields);
    let cost = COSTS.iter().find_map(|name| span.number(name));
    put(
        fields,
        "costUsd",
        cost.filter(|usd| (0.0..=1e5).contains(usd)),
    );
    put(fields, "llmMs", first_output_ms(span));
    put(fields, "text", generated(span));
    called::read(span, fields);
    put(fields, "responseId", span.text("gen_ai.response.id"));
    put(
        fields,
        TRACER,
        Some(span.scope()).filter(|scope| !scope.is_empty()),
    );
    if let Some(asked) = asked(span) {
        asked.write(fields);
    }
    let reasons = span.json("gen_ai.response.finish_reasons");
    let reason = reasons
        .as_ref()
        .and_then(|reasons| reasons.get(0)?.as_str());
    put(
        fields,
        "finishReason",
        span.text("llm.finish_reason").or(reason),
    );
}

/// How its tracer counts what came from a cache. That of AWS's client hands on what Bedrock counts, without a total.
fn cache(span: &Said<'_>) -> Cache {
    match span.scope().starts_with(BOTOCORE) {
        true => Cache::Beside,
        false => Cache::Unknown,
    }
}

fn tool(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let first = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| span.value(name))
            .map(tool_value)
    };
    let names = [
        "tool.name",
        "gen_ai.tool.name",
        "traceloop.entity.name",
        "ai.toolCall.name",
    ];
    let name = span.first_text(&names);
    put(
        fields,
        "name",
        name.or(Some(span.name)).filter(|name| !name.is_empty()),
    );
    let ids = [
        "gen_ai.tool.call.id",
        "tool_call.id",
        "tool.id",
        "ai.toolCall.id",
    ];
    let id = span.first_text(&ids);
    put(fields, "callId", id);
    let given = [
        "gen_ai.tool.call.arguments",
        "input.value",
        "tool_arguments",
        ENTITY_INPUT,
        "ai.toolCall.args",
        "gcp.vertex.agent.tool_call_args",
    ];
    // What is called so by convention describes them; some write there what they are.
    let described = || first(&["tool.parameters"]).filter(|parameters| !is_schema(parameters));
    let in_event = |name: &str, member: &str| {
        let mut events = span.events().filter(|(event, ..)| *event == name);
        events.find_map(|(_, _, attributes)| Some(tool_value(attributes.get(member)?)))
    };
    let arguments = first(&given).or_else(described);
    let arguments = arguments.or_else(|| in_event("gen_ai.tool.message", "content"));
    let arguments = arguments.or_else(|| first(&["arguments", "input"]));
    let arguments = arguments.or_else(|| first(&GIVEN));
    put(fields, "arguments", arguments.map(called_with));
    let results = [
        "gen_ai.tool.call.result",
        "output.value",
        "tool_response",
        ENTITY_OUTPUT,
        "ai.toolCall.result",
        "gcp.vertex.agent.tool_response",
        "result",
        "output",
    ];
    let plain = || results.iter().find_map(|name| span.json(name));
    let whole = || GAVE.iter().find_map(|name| span.json(name));
    let result = plain()
        .or_else(|| in_event("gen_ai.choice", "message"))
        .or_else(|| Some(only_output(whole()?)));
    if let Some(result) = result {
        let (value, failed) = returned(&result);
        if failed {
            let words = value.as_str().map(str::to_owned);
            let error = words.unwrap_or_else(|| value.to_string());
            fields.entry("error").or_insert(error.into());
        }
        put(fields, "result", Some(value));
    }
}

/// What a function gave, where that is its only member.
fn only_output(gave: Value) -> Value {
    let only = gave.as_object().filter(|members| members.len() == 1);
    let output = only.and_then(|members| members.get("output")).cloned();
    output.unwrap_or(gave)
}

/// What a tool returned, and whether it says that it failed. LangChain's tracers have it beside how it was called, and
/// as the message that a model is given.
fn returned(gave: &Value) -> (Value, bool) {
    let beside_call = gave.get("output").filter(|_| gave["kwargs"].is_object());
    let output = beside_call.unwrap_or(gave);
    let message = in_langchain(output).unwrap_or(output);
    let is_message = message.get("tool_call_id").is_some();
    let content = message.get("content").filter(|_| is_message);
    let failed = is_message && message["status"] == "error";
    if let Some(printed) = output.as_str()
        && let Some(content) = livekit::python_content(printed)
    {
        return (content.into(), printed.contains(" status='error'"));
    }
    (tool_value(in_words(content.unwrap_or(output))), failed)
}

/// Whether a value describes what may be given, as JSON Schema does.
fn is_schema(value: &Value) -> bool {
    value.get("properties").is_some_and(Value::is_object) && value.get("type").is_some()
}

/// What a function was called with: by name or by place, where it was one of the two. OpenLLMetry has it beside how
/// LangChain called it.
pub fn called_with(value: Value) -> Value {
    if let Some(printed) = value.get("input_str") {
        let inputs = value.get("inputs").filter(|inputs| inputs.is_object());
        return inputs.unwrap_or(printed).clone();
    }
    match arguments(&value) {
        Some(([], by_name)) => Value::from(by_name.clone()),
        Some((by_place, by_name)) if by_name.is_empty() => Value::from(by_place.to_vec()),
        _ => value,
    }
}

/// What decorators of Python's functions write down of a call, besides how it was made.
fn arguments(value: &Value) -> Option<(&[Value], &Map<String, Value>)> {
    let members = value.as_object()?;
    let by_name = members.get("kwargs")?.as_object()?;
    let by_place = match members.get("args") {
        Some(by_place) => by_place.as_array()?.as_slice(),
        None => &[],
    };
    let mut others = members.iter();
    let is_known = |name: &str| ["args", "kwargs"].contains(&name);
    let is_call = others.all(|(name, value)| is_known(name) || value.is_boolean());
    is_call.then_some((by_place, by_name))
}

/// What a function was told, where it took nothing else: of several arguments nobody knows which was said.
pub fn only_argument(value: &Value) -> Option<&Value> {
    let (by_place, by_name) = arguments(value)?;
    let mut given = by_place.iter().chain(by_name.values());
    given.next().filter(|_| given.next().is_none())
}

/// Milliseconds until the first token or byte.
fn first_output_ms(span: &Said<'_>) -> Option<f64> {
    let names = [
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.server.time_to_first_token",
        "gen_ai.client.operation.time_to_first_chunk",
    ];
    let told = strands::first_output_ms(span)
        .or_else(|| names.iter().find_map(|name| span.seconds_as_ms(name)));
    let app = || {
        span.number("ttfb_ms")
            .or(span.number("ttft_ms"))
            .or(span.number("ai.response.msToFirstChunk"))
            .filter(|ms| *ms >= 0.0)
    };
    let event = || {
        let mut events = span
            .events()
            .filter(|(name, ..)| FIRST_TOKEN.contains(name));
        events.find_map(|(_, at, _)| at)
    };
    let moment = || event().or_else(|| parse_time(span.first_text(&FIRST_AT)?));
    let since = |at: DateTime<Utc>| Some(ms_between(span.started_at, at)).filter(|ms| *ms >= 0.0);
    told.or_else(|| since(moment()?)).or_else(app)
}

/// What the user said: of messages that say whose they are the user's last, whatever an agent or a tool said behind it.
fn said_by_user(given: &Value) -> Option<String> {
    let text = match is_of_roles(given) {
        true => Asked::in_list(given)?.text,
        false => content(given),
    };
    text.filter(|text| !is_object(text))
}

/// The first of these attributes that holds a text, also as the content of a message.
fn text_of(span: &Said<'_>, names: &[&str]) -> Option<String> {
    let mut texts = names.iter().filter_map(|name| content(&span.json(name)?));
    texts.find(|text| !is_object(text))
}

/// Whether a text is what Python prints of an object that has no text: `StopEvent(result=...)`, `<Context object at 0x7f>`.
fn is_object(text: &str) -> bool {
    let text = text.trim();
    let is_name = |name: &str| {
        let is_letter = |c: char| c.is_alphanumeric() || "_.".contains(c);
        name.starts_with(|c: char| c.is_alphabetic() || c == '_') && name.chars().all(is_letter)
    };
    let is_call = || {
        // A long one is cut off.
        let begun = text
            .strip_suffix(')')
            .or_else(|| text.strip_suffix("..."))?;
        let (class, rest) = begun.split_once('(')?;
        let (member, _) = rest.split_once('=')?;
        Some(is_name(class) && is_name(member))
    };
    let is_printed = text.starts_with('<') && text.ends_with('>') && text.contains(" object at 0x");
    is_printed || is_call() == Some(true)
}

/// What a generation wrote.
fn generated(span: &Said<'_>) -> Option<String> {
    let choice = || {
        let mut choices = events_and_logs(span).filter(|(name, _)| *name == "gen_ai.choice");
        choices.find_map(|(_, choice)| content(&told_in(choice)))
    };
    let within = || {
        let mut lists = lists_in_events(span, "gen_ai.output.messages", "gen_ai.completion");
        lists.find_map(|list| answer(&list))
    };
    // Logfire, before it followed the conventions.
    let logged = || {
        let response = span.json("response_data")?;
        let names = ["message", "combined_chunk_content"];
        names.iter().find_map(|name| content(response.get(*name)?))
    };
    numbered_text(span, "llm.output_messages", "message.")
        .or_else(|| numbered_text(span, "gen_ai.completion", ""))
        .or_else(|| answer(&list_of(span, "gen_ai.output.messages")?))
        .or_else(|| {
            let names = GAVE.iter().chain(&mastra::GAVE);
            let mut texts = names.filter_map(|name| answered(&list_of(span, name)?));
            texts.next()
        })
        .or_else(within)
        .or_else(choice)
        .or_else(logged)
        .or_else(|| content(&span.json(ADK_RESPONSE).filter(Value::is_object)?))
        .or_else(|| {
            text_of(
                span,
                &["ai.response.text", "output", "completion", "response"],
            )
        })
        // What no message tells, as a refusal, stands in what the API answered: OpenAI's Agents SDK has a list of that.
        .or_else(|| {
            let mut whole = WHOLE
                .iter()
                .filter_map(|name| answered(&alone(span.json(name)?)?));
            whole.next()
        })
        // Who answers in a form of his own answers in these words.
        .or_else(|| span.first_text(&VERCEL_ANSWERS).map(str::to_owned))
}

/// An object, also as the only one of a list.
fn alone(value: Value) -> Option<Value> {
    let only = match value {
        Value::Array(mut items) if items.len() == 1 => items.pop()?,
        other => other,
    };
    only.is_object().then_some(only)
}

#[cfg(test)]
mod tests;
