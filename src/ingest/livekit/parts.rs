//! What LiveKit's documents say of a session, in the names of the native fields.

use serde_json::{Map, Value, json};

use crate::domain::event::SessionRef;
use crate::domain::ids::{Claim, ClaimKind, TenantId};
use crate::domain::vocabulary::in_python;

use super::{number, put, text};

/// The session of a room.
pub fn session(tenant: TenantId, room_sid: &str) -> Option<SessionRef> {
    SessionRef::claimed(tenant, [Claim::new(ClaimKind::LivekitRoomSid, room_sid)])
}

/// Ids to look a session up by.
pub fn external_ids(room_sid: &str, room_name: Option<&str>, job_id: Option<&str>) -> Value {
    let kinds = [
        (ClaimKind::LivekitRoomSid.as_str(), Some(room_sid)),
        ("livekit_room_name", room_name),
        ("livekit_job_id", job_id),
    ];
    let told = kinds.into_iter().filter_map(|(kind, id)| {
        let id = id.filter(|id| !id.trim().is_empty())?;
        Some(json!({"kind": kind, "id": id}))
    });
    told.collect()
}

const AUDIO: &str = "audio_duration";
const CHARACTERS: &str = "characters_count";

/// Node.js counts milliseconds.
fn audio_seconds(usage: &Value) -> Option<f64> {
    let ms = || number(usage, &format!("{AUDIO}_ms"));
    number(usage, AUDIO).or_else(|| Some(ms()? / 1e3))
}

/// What a report says that models used, by the names that Python has for it. In Node.js it counts the characters of speech
/// that is synthesised by sentences twice.
fn certain(usage: &Value) -> Option<Value> {
    let mut certain = in_python(usage.clone());
    if usage.get(CHARACTERS).is_none() {
        certain.as_object_mut()?.remove(CHARACTERS);
    }
    Some(certain)
}

/// The usage of models, of all of a kind together, and who they are.
pub fn usage(list: &Value, fields: &mut Map<String, Value>) {
    let list = list.as_array().into_iter().flatten();
    let list: Vec<Value> = list.filter_map(certain).collect();
    let mut sums: Map<String, Value> = Map::new();
    let (mut models, mut providers) = (Map::new(), Map::new());
    for one in &list {
        let (stage, counts): (_, &[(&str, &str)]) = match text(one, "type") {
            Some("llm_usage") => (
                "llm",
                &[
                    ("input_tokens", "promptTokens"),
                    ("output_tokens", "completionTokens"),
                    ("input_cached_tokens", "cachedTokens"),
                    ("input_cache_creation_tokens", "cacheWriteTokens"),
                    ("input_audio_tokens", "audioTokens"),
                    ("input_cached_audio_tokens", "cachedAudioTokens"),
                    ("output_audio_tokens", "audioOutputTokens"),
                ],
            ),
            Some("tts_usage") => ("tts", &[(CHARACTERS, "ttsCharacters")]),
            Some("stt_usage") => ("stt", &[(AUDIO, "sttSeconds")]),
            _ => continue,
        };
        for (name, native) in counts {
            let count = match *name {
                AUDIO => audio_seconds(one),
                name => number(one, name),
            };
            if let Some(count) = count.filter(|count| *count > 0.0) {
                let sum = sums
                    .get(*native)
                    .and_then(Value::as_f64)
                    .unwrap_or_default();
                sums.insert((*native).to_owned(), json!(sum + count));
            }
        }
        for (into, name) in [(&mut models, "model"), (&mut providers, "provider")] {
            if let Some(value) = text(one, name).filter(|value| *value != "unknown") {
                into.entry(stage).or_insert_with(|| Value::from(value));
            }
        }
    }
    for (name, members) in [
        ("usage", sums),
        ("models", models),
        ("providers", providers),
    ] {
        put(fields, name, (!members.is_empty()).then_some(members));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_node_js_is_read_but_for_what_it_counts_twice() {
        let told = |list: Value| {
            let mut fields = Map::new();
            usage(&list, &mut fields);
            Value::from(fields)
        };
        let in_python = json!([
            {"type": "llm_usage", "provider": "openai", "model": "gpt-4o-mini", "input_tokens": 42, "output_tokens": 4},
            {"type": "tts_usage", "provider": "openai", "model": "tts-1", "characters_count": 110},
            {"type": "stt_usage", "provider": "openai", "model": "whisper-1", "audio_duration": 3.7},
        ]);
        let in_nodejs = json!([
            {"type": "llm_usage", "provider": "openai", "model": "gpt-4o-mini", "inputTokens": 42, "outputTokens": 4},
            {"type": "tts_usage", "provider": "openai", "model": "tts-1", "charactersCount": 220},
            {"type": "stt_usage", "provider": "openai", "model": "whisper-1", "audioDurationMs": 3700},
        ]);
        let mut expected = told(in_python);
        assert_eq!(
            expected["usage"],
            json!({"promptTokens": 42.0, "completionTokens": 4.0, "ttsCharacters": 110.0, "sttSeconds": 3.7})
        );
        expected["usage"]
            .as_object_mut()
            .map(|usage| usage.remove("ttsCharacters"));
        assert_eq!(told(in_nodejs), expected);
    }
}
