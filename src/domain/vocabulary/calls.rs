//! What vocabularies have in common when they make turns: stages, generations, tools and what went wrong.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::domain::event::Kind;
use crate::domain::tokens;
use crate::domain::tokens::{Cache, Count};

use super::span::{Said, parsed};
use super::{Beside, Gist, livekit, moment, raised};

/// The field of a generation that names who told of it.
pub const TRACER: &str = "tracer";

/// The field of a response of a model that speaks itself: whether anything of it was heard.
pub const HEARD: &str = "heard";

/// No trace is deeper; one whose parents go in a circle is.
pub const DEPTH_MAX: usize = 64;

/// Sets a field where there is a value.
pub fn put(fields: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), value.into());
    }
}

pub fn number(gist: &Gist, name: &str) -> Option<f64> {
    gist.fields.get(name)?.as_f64()
}

pub fn text<'a>(gist: &'a Gist, name: &str) -> Option<&'a str> {
    gist.fields.get(name)?.as_str()
}

pub fn is_set(gist: &Gist, name: &str) -> bool {
    gist.fields
        .get(name)
        .and_then(Value::as_bool)
        .unwrap_or_default()
}

/// Whether it ended in an error.
pub fn has_failed(gist: &Gist) -> bool {
    gist.fields.contains_key("error")
}

/// What a gist is called wherever something needs a name of its own.
pub fn name(gist: &Gist) -> String {
    format!("{}/{}", gist.trace_id, gist.span_id)
}

pub fn end(gist: &Gist) -> DateTime<Utc> {
    gist.ended_at.unwrap_or(gist.started_at)
}

/// Times of which is asked what goes on at a moment: each with the latest end of all that began no later.
pub struct Intervals(Vec<(DateTime<Utc>, DateTime<Utc>)>);

impl Intervals {
    pub fn of(intervals: impl Iterator<Item = (DateTime<Utc>, DateTime<Utc>)>) -> Self {
        let mut intervals: Vec<_> = intervals.collect();
        intervals.sort_unstable();
        let mut latest = DateTime::<Utc>::MIN_UTC;
        for (_, end) in &mut intervals {
            latest = latest.max(*end);
            *end = latest;
        }
        Self(intervals)
    }

    /// The latest end of those that begin so.
    pub fn latest_end(&self, begins: impl Fn(DateTime<Utc>) -> bool) -> Option<DateTime<Utc>> {
        let begun = self.0.partition_point(|(start, _)| begins(*start));
        self.0[..begun].last().map(|(_, end)| *end)
    }
}

pub fn duration_ms(gist: &Gist) -> f64 {
    ms_between(gist.started_at, end(gist))
}

pub fn ms_between(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).num_microseconds().unwrap_or(i64::MAX) as f64 / 1000.0
}

/// A moment so many ms later; beyond all times, the moment itself.
pub fn after(at: DateTime<Utc>, ms: f64) -> DateTime<Utc> {
    let later = TimeDelta::microseconds((ms * 1000.0) as i64);
    at.checked_add_signed(later).unwrap_or(at)
}

/// When its first token or byte was there, `first` being the field that says after how long.
pub fn first_at(gist: &Gist, first: &str) -> Option<DateTime<Utc>> {
    number(gist, first).map(|ms| after(gist.started_at, ms))
}

const PROVIDERS: [&str; 5] = [
    // LangSmith's exporter guesses the others by the model's name.
    "langsmith.metadata.ls_provider",
    "gen_ai.provider.name",
    "gen_ai.system",
    "llm.provider",
    "ai.model.provider",
];
const MODELS: [&str; 5] = [
    "gen_ai.response.model",
    "gen_ai.request.model",
    "llm.model_name",
    "settings.model",
    "ai.model.id",
];

/// Frameworks that stand for providers in what they say themselves.
const FRAMEWORKS: [&str; 3] = ["strands-agents", "langchain", "langgraph"];

/// Who did it, as GenAI's conventions and those before them say.
pub fn read_provider(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let system = || span.term(&["llm.system"]);
    let provider = span.term(&PROVIDERS).or_else(system);
    put(
        fields,
        "provider",
        provider.filter(|name| !FRAMEWORKS.contains(name)),
    );
    put(fields, "model", span.term(&MODELS));
}

/// Reads what a generation used, from a source that counts so what came from a cache. What hardly any model does is
/// left out where it did not take place.
pub fn read_usage(span: &Said<'_>, cache: Cache, fields: &mut Map<String, Value>) {
    for Count {
        name, attributes, ..
    } in &tokens::COUNTS
    {
        let count = span.count(attributes);
        let is_rare = ["cacheWriteTokens", "audioOutputTokens"].contains(name);
        put(fields, name, count.filter(|count| *count > 0 || !is_rare));
    }
    tokens::complete(fields, cache);
}

/// What went wrong with a span, by its status.
pub fn read_failure(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let Some(message) = span.failure() else {
        return;
    };
    let code = span
        .exception("exception.type")
        .or_else(|| span.text("error.type").map(str::to_owned));
    let status = span.text("error.type").and_then(|code| code.parse().ok());
    // What the exception itself says has no stack behind it.
    let printed = raised::printed(&message);
    let own = printed.and_then(|_| span.exception("exception.message"));
    let own = own.filter(|own| raised::printed(own).is_none());
    let code = code.or(printed.map(|raised| raised.class.to_owned()));
    let message = match (own.as_deref(), printed) {
        (Some(own), _) => own,
        (None, Some(raised)) => raised.message,
        _ if message.is_empty() => code.as_deref().unwrap_or("failed without a word"),
        _ => message.as_str(),
    };
    put_failure(fields, message, code.as_deref(), status);
}

/// What is raised where an answer is no longer wanted, by the last part of its name.
const GIVEN_UP: [&str; 4] = [
    "CancelledError",
    "GeneratorExit",
    "AbortError",
    "APIUserAbortError",
];

/// Marks what was given up: whoever did that wanted it so, and nothing went wrong.
pub fn tell_given_up(fields: &mut Map<String, Value>) {
    let code = fields.get("errorCode").and_then(Value::as_str);
    let class = code.and_then(|code| code.rsplit('.').next());
    if class.is_some_and(|class| GIVEN_UP.contains(&class)) {
        for name in ["error", "errorCode", "statusCode"] {
            fields.remove(name);
        }
        fields.insert("cancelled".to_owned(), Value::Bool(true));
    }
}

/// A failure, with the HTTP status that its message names, else this one.
pub fn put_failure(
    fields: &mut Map<String, Value>,
    message: &str,
    code: Option<&str>,
    status: Option<u64>,
) {
    let status = status_code(message).or(status);
    put(fields, "error", Some(message));
    put(fields, "errorCode", code);
    put(
        fields,
        "statusCode",
        status.filter(|code| (100..600).contains(code)),
    );
}

/// The HTTP status that a client's error names: `Error code: 429 - ...`.
fn status_code(message: &str) -> Option<u64> {
    let (_, rest) = message.split_once("rror code: ")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Members of a generation's entry among a turn's.
const LLM_MEMBERS: [&str; 4] = ["provider", "model", "finishReason", "costUsd"];

/// A generation among a turn's.
pub fn llm_call(gist: &Gist) -> Value {
    let mut call = Map::new();
    call.insert("startMs".to_owned(), moment(gist.started_at));
    put(
        &mut call,
        "firstTokenMs",
        first_at(gist, "llmMs").map(moment),
    );
    put(&mut call, "endMs", gist.ended_at.map(moment));
    for name in LLM_MEMBERS.into_iter().chain(tokens::names()) {
        put(&mut call, name, gist.fields.get(name).cloned());
    }
    put(&mut call, "error", failure(gist));
    put(
        &mut call,
        "cancelled",
        is_set(gist, "cancelled").then_some(true),
    );
    Value::Object(call)
}

/// A synthesis among a turn's.
pub fn tts_call(gist: &Gist, error: Option<Value>) -> Value {
    let mut call = Map::new();
    call.insert("startMs".to_owned(), moment(gist.started_at));
    put(
        &mut call,
        "firstByteMs",
        first_at(gist, "ttsMs").map(moment),
    );
    put(&mut call, "endMs", gist.ended_at.map(moment));
    for name in ["provider", "model", "characters", "costUsd"] {
        put(&mut call, name, gist.fields.get(name).cloned());
    }
    put(&mut call, "error", failure(gist).or(error));
    Value::Object(call)
}

/// What went wrong, as it stands beside what it happened to.
pub fn failure(gist: &Gist) -> Option<Value> {
    let message = gist.fields.get("error")?;
    let mut error = json!({ "message": message });
    for (name, field) in [("code", "errorCode"), ("statusCode", "statusCode")] {
        if let Some(value) = gist.fields.get(field) {
            error[name] = value.clone();
        }
    }
    Some(error)
}

/// The error event of a gist that failed.
pub fn error(gist: &Gist, service: &str, level: &str, turn: Option<String>) -> Option<Beside> {
    let message = text(gist, "error")?;
    let mut fields = Map::new();
    put(&mut fields, "message", Some(message));
    put(&mut fields, "service", Some(service));
    put(&mut fields, "level", Some(level));
    put(&mut fields, "code", gist.fields.get("errorCode").cloned());
    for name in ["statusCode", "provider", "model"] {
        put(&mut fields, name, gist.fields.get(name).cloned());
    }
    put(
        &mut fields,
        "details",
        Some(json!({"traceId": gist.trace_id, "spanId": gist.span_id})),
    );
    Some(Beside {
        kind: Kind::Error,
        id: format!("error/{}", name(gist)),
        at: end(gist),
        turn,
        fields,
    })
}

/// What frameworks answer a model that calls a tool which the agent does not have: LiveKit, and Pipecat around its name.
pub const NO_SUCH_TOOL: &str = "Unknown function: ";
const NOT_AVAILABLE: [&str; 2] = ["The function `", "` is not currently available."];

/// The error that a tool's result is, if it is one: JSON with an `error` that says something, or the words
/// of a framework whose handler raised, or that has no such tool.
pub fn error_in(result: &Value) -> Option<Value> {
    match result {
        Value::Object(members) => {
            let error = members.get("error")?;
            let is_none = matches!(error, Value::Null | Value::Bool(false))
                || error.as_str().is_some_and(str::is_empty)
                || error.as_f64() == Some(0.0);
            (!is_none).then(|| error.clone())
        }
        Value::String(text) if is_refusal(text) => Some(Value::from(text.as_str())),
        _ => None,
    }
}

fn is_refusal(text: &str) -> bool {
    let [before, behind] = NOT_AVAILABLE;
    text.contains("failed and returned no result")
        || text.starts_with(NO_SUCH_TOOL)
        || text.starts_with(before) && text.ends_with(behind)
}

/// A value of a tool, within a bound that keeps gists small; too long a one is cut to a text.
pub fn tool_value(value: &Value) -> Value {
    let value = match value {
        Value::String(text) => match parsed(text) {
            // Some tell it as Python prints it.
            Value::String(text) if text.starts_with('{') => livekit::python_value(&text),
            told => told,
        },
        other => other.clone(),
    };
    let value = match in_langchain(&value).and_then(|message| message.get("content")) {
        Some(content) => content.clone(),
        None => value,
    };
    let written = match &value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match written.char_indices().nth(TOOL_MAX_CHARS) {
        Some((cut, _)) => Value::from(format!("{}…", &written[..cut])),
        None => value,
    }
}

/// What a message of LangChain's holds that is written down as a call of the message's constructor, or as its type and
/// its data.
pub fn in_langchain(message: &Value) -> Option<&Value> {
    let sort = message.get("type")?;
    let is_call = || message.get("lc").is_some_and(Value::is_number) && sort == "constructor";
    let data = message.get("data").filter(|data| &data["type"] == sort);
    data.filter(|data| data.get("content").is_some())
        .or_else(|| message.get("kwargs").filter(|_| is_call()))
}

/// The words of what a message holds, where they are its only part.
pub fn in_words(content: &Value) -> &Value {
    let only = content.as_array().and_then(|parts| match parts.as_slice() {
        [only] => only.as_object(),
        _ => None,
    });
    // What else has a text is a record.
    let is_part = |name: &String| ["type", "text"].contains(&name.as_str());
    let part = only.filter(|members| members.keys().all(is_part));
    let words = part.and_then(|members| members.get("text"));
    words.filter(|words| words.is_string()).unwrap_or(content)
}

const TOOL_MAX_CHARS: usize = 8_000;

/// The sums of a session: what its generations, syntheses and transcriptions used.
pub fn usage(gists: &[&Gist]) -> Map<String, Value> {
    let mut usage: Map<String, Value> = Map::new();
    let same = tokens::names().map(|name| (name, name));
    for (field, member) in same.chain([("characters", "ttsCharacters")]) {
        let counts = gists.iter().filter_map(|gist| number(gist, field));
        put(&mut usage, member, counts.reduce(|a, b| a + b));
    }
    put(
        &mut usage,
        "sttSeconds",
        audio_seconds(gists.iter().copied()),
    );
    usage
}

/// The audio that was transcribed, in whole milliseconds: their sum has no rounding in it.
pub fn audio_seconds<'a>(gists: impl Iterator<Item = &'a Gist>) -> Option<f64> {
    let ms = gists.filter_map(|gist| Some((number(gist, "audioSeconds")? * 1e3).round()));
    ms.reduce(|a, b| a + b).map(|ms| ms / 1e3)
}

/// Which providers and models were used first, by stage.
pub fn stages<const COUNT: usize>(
    fields: &mut Map<String, Value>,
    stages: [(&str, &[&Gist]); COUNT],
) {
    for (member, field) in [("models", "model"), ("providers", "provider")] {
        let mut found = Map::new();
        for (stage, gists) in stages {
            let named = gists.iter().find_map(|gist| text(gist, field));
            put(&mut found, stage, named);
        }
        put(fields, member, (!found.is_empty()).then_some(found));
    }
}

/// A list, where there is anything in it.
pub fn listed(items: impl Iterator<Item = Value>) -> Option<Value> {
    let items: Vec<Value> = items.collect();
    (!items.is_empty()).then(|| items.into())
}
