//! What a fact may say: the fields of every kind of event, their types and bounds, in one table.
//!
//! Every ingest door checks against it, so that nothing deeper needs to ask again.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::domain::body::json_bytes;
use crate::domain::error::Fault;
use crate::domain::event::Kind;
use crate::domain::fact;
use crate::domain::ids;

pub const TEXT_MAX_CHARS: usize = 100_000;
pub const ID_MAX_CHARS: usize = 255;
/// Offsets are ms from the session's start; this is a week.
pub const OFFSET_MAX_MS: f64 = 604_800_000.0;
/// This is 24 days.
pub const DURATION_MAX_MS: f64 = i32::MAX as f64;
/// A value of any shape, or a field that nobody knows, as JSON text.
pub const FREE_MAX_BYTES: usize = 256 << 10;
/// Clocks that were not set yet begin before this, the year 2000, in seconds.
pub const CLOCK_MIN_S: i64 = 946_684_800;
/// A clock may run ahead of ours by so much.
pub const FUTURE_MAX: TimeDelta = TimeDelta::days(1);
pub const TURN_INDEX_MAX: f64 = 1_000_000.0;

/// A field and what it must be. A null always means "take it back".
pub struct Field {
    pub name: &'static str,
    pub rule: Rule,
}

pub enum Rule {
    /// A string of at most so many characters.
    Text(usize),
    /// A non-empty string of at most [`ID_MAX_CHARS`].
    Id,
    /// A number within bounds, fractions allowed.
    Number(f64, f64),
    /// A whole number within bounds.
    Whole(f64, f64),
    Bool,
    OneOf(&'static [&'static str]),
    Time,
    /// At most so many short strings.
    Strings(usize),
    Object(&'static [Field]),
    List(usize, &'static [Field]),
    /// An object with any content.
    AnyObject,
    /// Any JSON.
    Any,
}

use Rule::{Any, AnyObject, Bool, Id, List, Number, Object, OneOf, Strings, Text, Time, Whole};

const fn f(name: &'static str, rule: Rule) -> Field {
    Field { name, rule }
}

const OFFSET: Rule = Number(0.0, OFFSET_MAX_MS);
const DURATION: Rule = Number(0.0, DURATION_MAX_MS);
const SHARE: Rule = Number(0.0, 1.0);
const COUNT: Rule = Whole(0.0, 1e9);
const TURN: Rule = Whole(0.0, TURN_INDEX_MAX);
const USD: Rule = Number(0.0, 1e5);

pub const STATUSES: &[&str] = &[
    "queued",
    "ringing",
    "active",
    "completed",
    "failed",
    "declined",
    "missed",
];
pub const CHANNELS: &[&str] = &["inbound", "outbound", "web"];
pub const SPEAKERS: &[&str] = &["agent", "user"];
pub const SERVICES: &[&str] = &["stt", "llm", "tts", "workflow", "tool"];
pub const LEVELS: &[&str] = &["error", "warning"];

const STAGES: &[Field] = &[
    f("stt", Text(ID_MAX_CHARS)),
    f("llm", Text(ID_MAX_CHARS)),
    f("tts", Text(ID_MAX_CHARS)),
];

const USAGE: &[Field] = &[
    f("promptTokens", COUNT),
    f("completionTokens", COUNT),
    f("cachedTokens", COUNT),
    f("audioTokens", COUNT),
    f("sttSeconds", Number(0.0, 1e9)),
    f("ttsCharacters", COUNT),
    f("cacheWriteTokens", COUNT),
    f("cachedAudioTokens", COUNT),
    f("audioOutputTokens", COUNT),
    f("sttCostUsd", USD),
    f("otherCostUsd", USD),
];

const WORDS: &[Field] = &[
    f("word", Text(1000)),
    f("startMs", OFFSET),
    f("endMs", OFFSET),
    f("confidence", SHARE),
];

const SESSION: &[Field] = &[
    f("agentId", Id),
    f("agentVersion", Id),
    f("endedBy", OneOf(&["user", "agent", "system"])),
    f("answeredBy", OneOf(&["human", "machine"])),
    f("channel", OneOf(CHANNELS)),
    f("status", OneOf(STATUSES)),
    f("startedAt", Time),
    f("connectedAt", Time),
    f("answeredAt", Time),
    f("endedAt", Time),
    f("endReason", Text(1000)),
    f("callSid", Id),
    f("streamId", Id),
    f("from", Text(ID_MAX_CHARS)),
    f("to", Text(ID_MAX_CHARS)),
    f(
        "workflow",
        Object(&[f("id", Id), f("slug", Id), f("name", Text(ID_MAX_CHARS))]),
    ),
    f("campaign", Id),
    f("language", Text(ID_MAX_CHARS)),
    f("summary", Text(TEXT_MAX_CHARS)),
    f("tags", Strings(100)),
    f("extracted", AnyObject),
    f("metadata", AnyObject),
    f("models", Object(STAGES)),
    f("providers", Object(STAGES)),
    f("voice", Text(ID_MAX_CHARS)),
    f("costUsd", USD),
    f("externalIds", List(20, &[f("kind", Id), f("id", Id)])),
    f("carrierStatus", Text(ID_MAX_CHARS)),
    f("sipCode", Whole(100.0, 699.0)),
    f("usage", Object(USAGE)),
    f("llmCalls", List(1000, LLM_CALLS)),
    f("transport", Text(ID_MAX_CHARS)),
    f("configuredEndpointingMs", DURATION),
    f(
        "recording",
        Object(&[
            f("url", Text(2000)),
            f("startedAt", Time),
            f("startOffsetMs", OFFSET),
            f("channels", Whole(1.0, 16.0)),
        ]),
    ),
];

const LLM_CALLS: &[Field] = &[
    f("startMs", OFFSET),
    f("firstTokenMs", OFFSET),
    f("endMs", OFFSET),
    f("provider", Text(ID_MAX_CHARS)),
    f("model", Text(ID_MAX_CHARS)),
    f("promptTokens", COUNT),
    f("completionTokens", COUNT),
    f("cachedTokens", COUNT),
    f("finishReason", Text(ID_MAX_CHARS)),
    f("attempt", COUNT),
    f("cancelled", Bool),
    f("beside", Bool),
    f("error", Any),
    f("audioTokens", COUNT),
    f("costUsd", USD),
    f("cacheWriteTokens", COUNT),
    f("cachedAudioTokens", COUNT),
    f("audioOutputTokens", COUNT),
];

const TTS_CALLS: &[Field] = &[
    f("startMs", OFFSET),
    f("firstByteMs", OFFSET),
    f("endMs", OFFSET),
    f("audioMs", DURATION),
    f("characters", COUNT),
    f("provider", Text(ID_MAX_CHARS)),
    f("model", Text(ID_MAX_CHARS)),
    f("beside", Bool),
    f("error", Any),
    f("costUsd", USD),
];

const TURN_FIELDS: &[Field] = &[
    f("index", TURN),
    f("speaker", OneOf(SPEAKERS)),
    f("text", Text(TEXT_MAX_CHARS)),
    f("startMs", OFFSET),
    f("endMs", OFFSET),
    f("sttMs", DURATION),
    f("endpointingMs", DURATION),
    f("llmMs", DURATION),
    f("llmTotalMs", DURATION),
    f("ttsMs", DURATION),
    f("ttsTotalMs", DURATION),
    f("latencyMs", DURATION),
    f("confidence", SHARE),
    f("interrupted", Bool),
    f("failed", Bool),
    f("cancelled", Bool),
    f("finishReason", Text(ID_MAX_CHARS)),
    f("retries", COUNT),
    f("playedMs", DURATION),
    f("eouProbability", SHARE),
    f("words", List(20_000, WORDS)),
    f("providers", Object(STAGES)),
    f("models", Object(STAGES)),
    f("usage", Object(USAGE)),
    f("llmCalls", List(1000, LLM_CALLS)),
    f("ttsCalls", List(1000, TTS_CALLS)),
    f("callbackMs", DURATION),
    f("aggregationMs", DURATION),
    f("playoutMs", DURATION),
    f("transportMs", DURATION),
    f("telephonyMs", DURATION),
    f("stallMs", DURATION),
    f("audioMs", DURATION),
    f("sttText", Text(TEXT_MAX_CHARS)),
    f("firstAudioMs", OFFSET),
    f(
        "segments",
        List(20_000, &[f("startMs", OFFSET), f("endMs", OFFSET)]),
    ),
    f("metadata", AnyObject),
    f("fallbackFrom", Text(ID_MAX_CHARS)),
    f("fallbackReason", Text(1000)),
];

const SPEECH: &[Field] = &[
    f("speaker", OneOf(SPEAKERS)),
    f("startMs", OFFSET),
    f("endMs", OFFSET),
    f("probability", SHARE),
    f("source", Text(ID_MAX_CHARS)),
];

const NETWORK: &[Field] = &[
    f("atMs", OFFSET),
    f("rttMs", DURATION),
    f("jitterMs", DURATION),
    f("lossPercent", Number(0.0, 100.0)),
    f("mos", Number(0.0, 5.0)),
    f("direction", Text(ID_MAX_CHARS)),
];

const TOOL_CALL: &[Field] = &[
    f("callId", Id),
    f("turn", TURN),
    f("name", Text(ID_MAX_CHARS)),
    f("arguments", Any),
    f("result", Any),
    f("error", Any),
    f("startMs", OFFSET),
    f("endMs", OFFSET),
    f("async", Bool),
];

const INTERRUPTION: &[Field] = &[
    f("turn", TURN),
    f("atMs", OFFSET),
    f("detectionMs", DURATION),
    f("stopMs", DURATION),
    f("bleedThroughWords", Whole(0.0, 100_000.0)),
    f("isFalse", Bool),
    f("endMs", OFFSET),
    f("decidedAtMs", OFFSET),
    f("audioStoppedMs", OFFSET),
    f("resumedAtMs", OFFSET),
    f("source", OneOf(&["user", "programmatic", "dtmf"])),
    f("text", Text(TEXT_MAX_CHARS)),
    f("backchannel", Bool),
    f("estimated", Bool),
];

const SPAN: &[Field] = &[
    f("traceId", Id),
    f("spanId", Id),
    f("parentSpanId", Id),
    f("name", Text(1000)),
    f("kind", Text(ID_MAX_CHARS)),
    f("startedAt", Time),
    f("endedAt", Time),
    f("status", Any),
    f("attributes", AnyObject),
];

const ERROR: &[Field] = &[
    f("service", OneOf(SERVICES)),
    f("level", OneOf(LEVELS)),
    f("message", Text(10_000)),
    f("details", AnyObject),
    f("turn", TURN),
    f("agent", Id),
    f("code", Text(ID_MAX_CHARS)),
    f("statusCode", Whole(0.0, 9999.0)),
    f("provider", Text(ID_MAX_CHARS)),
    f("model", Text(ID_MAX_CHARS)),
    f("attempt", COUNT),
    f("retryAfterMs", DURATION),
    f("costMs", DURATION),
    f("atMs", OFFSET),
];

const EVALUATION: &[Field] = &[
    f("reviewer", Text(ID_MAX_CHARS)),
    f("score", SHARE),
    f("verdict", OneOf(&["pass", "fail"])),
    f("labels", Strings(100)),
    f("notes", Text(TEXT_MAX_CHARS)),
    f("turn", TURN),
];

/// The fields of a kind, and those without which it says nothing.
pub fn of(kind: Kind) -> (&'static [Field], &'static [&'static str]) {
    match kind {
        Kind::Session => (SESSION, &[]),
        Kind::Turn => (TURN_FIELDS, &["index"]),
        Kind::Speech => (SPEECH, &["speaker", "startMs", "endMs"]),
        Kind::Network => (NETWORK, &["atMs"]),
        Kind::ToolCall => (TOOL_CALL, &[]),
        Kind::Interruption => (INTERRUPTION, &[]),
        Kind::Span => (SPAN, &["traceId", "spanId"]),
        Kind::Error => (ERROR, &["message"]),
        Kind::Evaluation => (EVALUATION, &[]),
        Kind::Report => (&[], &[]),
    }
}

/// What is wrong with an item's fields, and which of them nobody knows.
#[derive(Debug, Default)]
pub struct Findings {
    pub faults: Vec<Fault>,
    pub unknown: Vec<Unknown>,
}

/// Of one item, so many unknown fields are told, and so many faults: one is enough to start mending, and
/// the answer must not grow with what a sender can make up.
pub const UNKNOWN_TOLD_MAX: usize = 20;
pub const FAULTS_TOLD_MAX: usize = 100;
/// A longer name is no slip of the pen.
const SLIP_MAX_CHARS: usize = 64;

/// A field that nobody understands.
#[derive(Debug)]
pub struct Unknown {
    pub name: String,
    /// What it stands among.
    pub known: Known,
    /// Whether it is stored as it came; a part of a document that nobody knows has no place to be.
    pub is_kept: bool,
}

/// Checks the fields of one item. `now` bounds how far ahead its times may be.
pub fn check(kind: Kind, item: &Map<String, Value>, now: DateTime<Utc>) -> Findings {
    let mut findings = Findings::default();
    let (fields, required) = of(kind);
    for name in required
        .iter()
        .filter(|name| item.get(**name).is_none_or(Value::is_null))
    {
        findings.faults.push(Fault::body(*name, "is required"));
    }
    check_object(fields, item, &Path::Item, now, &mut findings);
    check_order(item, ("startMs", "endMs"), &mut findings);
    check_times(item, &mut findings);
    findings
}

/// Where in an item a field stands, written out only where there is something to say about it.
enum Path<'a> {
    Item,
    Member(&'a Self, &'a str),
    Place(&'a Self, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item => Ok(()),
            Self::Member(Self::Item, name) => formatter.write_str(name),
            Self::Member(path, name) => write!(formatter, "{path}.{name}"),
            Self::Place(path, place) => write!(formatter, "{path}[{place}]"),
        }
    }
}

fn check_object(
    fields: &'static [Field],
    object: &Map<String, Value>,
    path: &Path<'_>,
    now: DateTime<Utc>,
    findings: &mut Findings,
) {
    for (name, value) in object {
        let path = Path::Member(path, name);
        match fields.iter().find(|field| field.name == name) {
            _ if value.is_null() => {}
            Some(field) => check_value(&field.rule, value, &path, now, findings),
            None => {
                let fault = too_large(value).map(|message| Fault::body(path.to_string(), message));
                findings.faults.extend(fault);
                if findings.unknown.len() < UNKNOWN_TOLD_MAX {
                    findings.unknown.push(Unknown {
                        name: path.to_string(),
                        known: Known::Fields(fields),
                        is_kept: true,
                    });
                }
            }
        }
    }
}

fn check_value(
    rule: &Rule,
    value: &Value,
    path: &Path<'_>,
    now: DateTime<Utc>,
    findings: &mut Findings,
) {
    let fault = match (rule, value) {
        (Text(max), Value::String(text)) => too_long(text, *max),
        (Id, Value::String(text)) if text.trim().is_empty() => Some("must not be empty".to_owned()),
        (Id, Value::String(text)) if ids::is_dots(text) => {
            Some("must not be `.` or `..`, which no path can name".to_owned())
        }
        (Id, Value::String(text)) => too_long(text, ID_MAX_CHARS),
        (Number(min, max), Value::Number(number)) => outside(number.as_f64(), *min, *max),
        (Whole(min, max), Value::Number(number)) => {
            let number = number.as_f64();
            if number.is_some_and(|n| n.fract() != 0.0) {
                Some(format!("must be a whole number, got `{value}`"))
            } else {
                outside(number, *min, *max)
            }
        }
        (Bool, Value::Bool(_)) => None,
        (AnyObject, Value::Object(_)) | (Any, _) => too_large(value),
        (OneOf(words), Value::String(text)) if words.contains(&text.as_str()) => None,
        (OneOf(words), _) => Some(format!(
            "must be one of {}, got {}",
            quoted(words),
            shown(value)
        )),
        (Time, Value::String(text)) => time(text, now).err(),
        (Strings(max), Value::Array(items)) => strings(items, *max),
        (Object(fields), Value::Object(object)) => {
            check_object(fields, object, path, now, findings);
            None
        }
        (List(max, fields), Value::Array(items)) => {
            check_list(items, *max, fields, path, now, findings)
        }
        _ => Some(format!("must be {}, got {}", expected(rule), shown(value))),
    };
    if let Some(message) = fault.or_else(|| without_nul(value)) {
        findings.faults.push(Fault::body(path.to_string(), message));
    }
}

fn check_list(
    items: &[Value],
    max: usize,
    fields: &'static [Field],
    path: &Path<'_>,
    now: DateTime<Utc>,
    findings: &mut Findings,
) -> Option<String> {
    if items.len() > max {
        return Some(format!(
            "must have at most {max} items, got {}",
            items.len()
        ));
    }
    for (n, item) in items.iter().enumerate() {
        if findings.faults.len() >= FAULTS_TOLD_MAX {
            break;
        }
        let path = Path::Place(path, n);
        match item {
            Value::Object(object) => {
                check_object(fields, object, &path, now, findings);
                check_order(object, ("startMs", "endMs"), findings);
            }
            other => findings.faults.push(Fault::body(
                path.to_string(),
                format!("must be an object, got {}", shown(other)),
            )),
        }
    }
    None
}

fn check_order(object: &Map<String, Value>, (from, to): (&str, &str), findings: &mut Findings) {
    if let (Some(start), Some(end)) = (number(object, from), number(object, to))
        && end < start
    {
        findings.faults.push(Fault::body(
            to,
            format!("must not be before `{from}`, got {start} to {end}"),
        ));
    }
}

fn check_times(item: &Map<String, Value>, findings: &mut Findings) {
    let time = |name: &str| DateTime::parse_from_rfc3339(item.get(name)?.as_str()?).ok();
    if let (Some(start), Some(end)) = (time("startedAt"), time("endedAt"))
        && end < start
    {
        findings
            .faults
            .push(Fault::body("endedAt", "must not be before `startedAt`"));
    }
}

/// A time as sources write it: RFC 3339 with any offset, from 1970 to a day ahead.
pub fn time(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|_| {
            format!(
                "must be an RFC 3339 time such as `2026-01-17T10:30:00Z`, got {}",
                shown(&Value::from(text))
            )
        })?
        .to_utc();
    if time < DateTime::UNIX_EPOCH {
        return Err(format!("must not be before 1970, got `{text}`"));
    }
    if time > now + FUTURE_MAX {
        return Err(format!("must not be more than a day ahead, got `{text}`"));
    }
    Ok(fact::kept(time))
}

/// The names that a field may have where it stands.
#[derive(Clone, Copy)]
pub enum Known {
    Fields(&'static [Field]),
    Names(&'static [&'static str]),
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known")
    }
}

impl Unknown {
    /// The known name that was probably meant. Costs time: only for what is told.
    pub fn nearest(&self) -> Option<&'static str> {
        let name = self.name.rsplit('.').next().unwrap_or_default();
        if name.chars().count() > SLIP_MAX_CHARS {
            return None;
        }
        match self.known {
            Known::Fields(fields) => nearest(name, fields.iter().map(|field| field.name)),
            Known::Names(names) => nearest(name, names.iter().copied()),
        }
    }
}

pub fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let name = name.to_lowercase();
    known
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&name, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `a`, `b` or `c`
pub fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn too_long(text: &str, max: usize) -> Option<String> {
    // Bytes bound characters from above, so that short texts are not counted.
    (text.len() > max && text.chars().count() > max).then(|| {
        format!(
            "must have at most {max} characters, got {}",
            text.chars().count()
        )
    })
}

/// A value of any shape is bounded by its text.
fn too_large(value: &Value) -> Option<String> {
    let bytes = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => return None,
        // A character takes at most six bytes of JSON: short texts are not written out.
        Value::String(text) if text.len() < FREE_MAX_BYTES / 6 => return None,
        _ => json_bytes(value),
    };
    (bytes > FREE_MAX_BYTES)
        .then(|| format!("must be at most {FREE_MAX_BYTES} bytes of JSON, got {bytes}"))
}

fn outside(number: Option<f64>, min: f64, max: f64) -> Option<String> {
    let number = number?;
    (!(min..=max).contains(&number))
        .then(|| format!("must be between {min} and {max}, got `{number}`"))
}

fn strings(items: &[Value], max: usize) -> Option<String> {
    if items.len() > max {
        return Some(format!(
            "must have at most {max} items, got {}",
            items.len()
        ));
    }
    items.iter().find_map(|item| match item {
        Value::String(text) if text.is_empty() => Some("must not hold an empty text".to_owned()),
        Value::String(text) => too_long(text, ID_MAX_CHARS),
        other => Some(format!("must hold texts only, got {}", shown(other))),
    })
}

/// Postgres cannot keep a NUL character in a text.
fn without_nul(value: &Value) -> Option<String> {
    let found = match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(|item| without_nul(item).is_some()),
        Value::Object(object) => object
            .iter()
            .any(|(key, item)| key.contains('\0') || without_nul(item).is_some()),
        _ => false,
    };
    found.then(|| "must not contain the NUL character".to_owned())
}

fn number(object: &Map<String, Value>, name: &str) -> Option<f64> {
    object.get(name)?.as_f64()
}

fn expected(rule: &Rule) -> &'static str {
    match rule {
        Text(_) | Id | OneOf(_) => "a text",
        Number(..) => "a number",
        Whole(..) => "a whole number",
        Bool => "true or false",
        Time => "an RFC 3339 time",
        Strings(_) => "a list of texts",
        Object(_) | AnyObject => "an object",
        List(..) => "a list of objects",
        Any => "JSON",
    }
}

/// The start of a value, for a message.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests;
