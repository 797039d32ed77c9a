//! The sample-call format (a transcript with times, one call a line) as a native call. Says only what
//! the line says: unknown stays absent.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Marks sessions that come from real calls, beside a tag that names their source.
pub const REAL_TAG: &str = "real-sample";

/// What a turn says in fields of its own.
const TURN_FIELDS: [&str; 8] = [
    "index",
    "speaker",
    "start_ms",
    "end_ms",
    "text",
    "stt_text",
    "confidence",
    "words",
];

/// Whether a line is of this format, rather than a native call.
pub fn is_sample_call(line: &Value) -> bool {
    line.get("call_id").is_some() && line.get("turns").is_some()
}

/// The call's own id.
pub fn call_id(line: &Value) -> Option<&str> {
    line.get("call_id")
        .and_then(Value::as_str)
        .filter(|id| !id.is_empty())
}

/// When the call says it started, if it does.
pub fn stated_start(line: &Value) -> Result<Option<DateTime<Utc>>, String> {
    let given = match line.get("started_at") {
        None | Some(Value::Null) => return Ok(None),
        Some(given) => given,
    };
    let time = given
        .as_str()
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    time.map(|time| Some(time.to_utc())).ok_or_else(|| {
        format!("`started_at` must be an RFC 3339 time such as `2026-01-17T10:30:00Z` or null, got `{given}`")
    })
}

/// Where a call without a start is placed: within the day before `base`, always at the same distance.
pub fn placed_start(call_id: &str, base: DateTime<Utc>) -> DateTime<Utc> {
    let hash: [u8; 32] = Sha256::digest(call_id.as_bytes()).into();
    let second = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) % 86_400;
    base - TimeDelta::seconds(i64::from(second))
}

/// A line as a native call that started at `start`. Where that is not what the line says, the session's
/// `metadata.placedAt` marks it as a placement of ours.
pub fn to_native(line: &Value, start: DateTime<Utc>) -> Result<Value, String> {
    let call_id = call_id(line).ok_or("`call_id` must be a text")?;
    let duration_ms = line
        .get("duration_ms")
        .and_then(Value::as_i64)
        .filter(|ms| *ms >= 0);
    let duration_ms = duration_ms.ok_or("`duration_ms` must be a whole number, 0 or more")?;
    let turns = line
        .get("turns")
        .and_then(Value::as_array)
        .ok_or("`turns` must be a list")?;
    let turns = turns
        .iter()
        .enumerate()
        .map(|(n, t)| turn(t).map_err(|e| format!("turn {n}: {e}")));
    let source = line.get("source").and_then(Value::as_str);
    let tags: Vec<&str> = [REAL_TAG].into_iter().chain(source).collect();
    let recorded_at = stated_start(line)?;
    let mut session = json!({
        "sessionId": call_id,
        "status": "completed",
        "startedAt": written(start),
        "endedAt": written(start + TimeDelta::milliseconds(duration_ms)),
        "tags": tags,
        "metadata": {"source": source, "task": line.get("task"), "labels": line.get("labels"), "recordedAt": line.get("started_at")},
    });
    if recorded_at != Some(start) {
        session["metadata"]["placedAt"] = Value::from(written(start));
    }
    let labels = line.get("labels").unwrap_or(&Value::Null);
    put(&mut session, "agentId", line.get("agent"));
    put(
        &mut session,
        "summary",
        labels.get("summary").filter(|summary| summary.is_string()),
    );
    if let Some(workflow) = line.get("workflow").filter(|workflow| workflow.is_string()) {
        session["workflow"] = json!({"slug": workflow, "name": workflow});
    }
    if let Some(pipeline) = labels.get("pipeline") {
        let model = |name: &str| pipeline.get(format!("{name}_model"));
        session["models"] = json!({"stt": model("stt"), "llm": model("llm"), "tts": model("tts")});
    }
    Ok(json!({
        "session": session,
        "turns": turns.collect::<Result<Vec<Value>, String>>()?,
        "toolCalls": tool_calls(labels),
    }))
}

fn turn(turn: &Value) -> Result<Value, String> {
    let number = |name: &str| {
        turn.get(name)
            .and_then(Value::as_i64)
            .ok_or(format!("`{name}` must be a whole number"))
    };
    let speaker = turn
        .get("speaker")
        .and_then(Value::as_str)
        .ok_or("`speaker` must be `agent` or `user`")?;
    let mut native = json!({
        "index": number("index")?,
        "speaker": speaker,
        "startMs": number("start_ms")?,
        "endMs": number("end_ms")?,
    });
    put(&mut native, "text", turn.get("text"));
    put(&mut native, "sttText", turn.get("stt_text"));
    put(&mut native, "confidence", turn.get("confidence"));
    if let Some(words) = turn.get("words").and_then(Value::as_array) {
        native["words"] = words.iter().map(word).collect();
    }
    let metadata = what_else(turn);
    if !metadata.is_empty() {
        native["metadata"] = Value::Object(metadata);
    }
    Ok(native)
}

/// What a turn says that is no field of a native one: dialog acts, emotion, channel, a source's own clock.
fn what_else(turn: &Value) -> Map<String, Value> {
    let given = turn.as_object().into_iter().flatten();
    given
        .filter(|(name, value)| {
            !TURN_FIELDS.contains(&name.as_str()) && !value.is_null() && **value != json!([])
        })
        .map(|(name, value)| (camel_case(name), value.clone()))
        .collect()
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut text, word| {
        let mut chars = word.chars();
        text.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        text.push_str(chars.as_str());
        text
    })
}

fn word(word: &Value) -> Value {
    let mut native = json!({});
    for (name, from) in [
        ("word", "text"),
        ("startMs", "start_ms"),
        ("endMs", "end_ms"),
        ("confidence", "confidence"),
    ] {
        put(&mut native, name, word.get(from));
    }
    native
}

/// Calls and responses come as events of their own, a response right behind its call.
fn tool_calls(labels: &Value) -> Vec<Value> {
    let events = labels
        .get("tool_events")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut calls: Vec<Value> = Vec::new();
    for event in events {
        let at_ms = event.get("offset_ms");
        match event.get("kind").and_then(Value::as_str) {
            Some("tool_call") => {
                let mut call = json!({"callId": format!("tool-{}", calls.len())});
                put(&mut call, "name", event.get("tool"));
                put(&mut call, "arguments", event.get("parameters"));
                put(&mut call, "startMs", at_ms);
                calls.push(call);
            }
            Some("tool_response") => {
                if let Some(call) = calls
                    .last_mut()
                    .filter(|call| call.get("name") == event.get("tool"))
                {
                    put(call, "endMs", at_ms);
                    if let Some(status) = event.get("response_status").and_then(Value::as_str) {
                        let told = if status == "success" {
                            "result"
                        } else {
                            "error"
                        };
                        call[told] = json!({"status": status});
                    }
                }
            }
            _ => {}
        }
    }
    calls
}

/// Sets a field where there is something to say.
fn put(object: &mut Value, name: &str, value: Option<&Value>) {
    if let Some(value) = value.filter(|value| !value.is_null()) {
        object[name] = value.clone();
    }
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_line_says() {
        let line = json!({"call_id": "c", "source": "s", "started_at": null, "duration_ms": 1000, "agent": null, "task": "t", "workflow": null,
            "turns": [{"index": 0, "speaker": "user", "start_ms": 10, "end_ms": 20, "text": "", "stt_text": "um", "confidence": null,
                "dialog_acts": [], "emotion": null, "words": [{"text": "um", "start_ms": 10, "end_ms": 20}]}]});
        let start = placed_start("c", DateTime::UNIX_EPOCH + TimeDelta::days(2));
        let native = to_native(&line, start).unwrap();
        assert_eq!(
            native["turns"][0],
            json!({"index": 0, "speaker": "user", "startMs": 10, "endMs": 20, "text": "", "sttText": "um",
                "words": [{"word": "um", "startMs": 10, "endMs": 20}]})
        );
        assert_eq!(native["session"].get("agentId"), None);
        assert_eq!(
            native["session"]["metadata"]["placedAt"],
            native["session"]["startedAt"]
        );
        assert_eq!(native["session"]["tags"], json!(["real-sample", "s"]));
        assert!(
            start > DateTime::UNIX_EPOCH + TimeDelta::days(1)
                && start <= DateTime::UNIX_EPOCH + TimeDelta::days(2)
        );
    }

    #[test]
    fn faults_are_named() {
        let fault = |line: Value| to_native(&line, DateTime::UNIX_EPOCH).unwrap_err();
        assert_eq!(fault(json!({"turns": []})), "`call_id` must be a text");
        assert_eq!(
            fault(json!({"call_id": "c", "turns": []})),
            "`duration_ms` must be a whole number, 0 or more"
        );
        let late = json!({"call_id": "c", "duration_ms": 1, "turns": [], "started_at": "soon"});
        assert!(fault(late).starts_with("`started_at` must be an RFC 3339 time"));
        let turnless =
            json!({"call_id": "c", "duration_ms": 1, "turns": [{"index": 0, "speaker": "user"}]});
        assert_eq!(fault(turnless), "turn 0: `start_ms` must be a whole number");
    }
}
