//! What a reader without the right to content is not told: the fields that may be shown are listed, so
//! that one nobody thought of stays hidden.

use serde_json::{Map, Value};

use crate::domain::attributes;
use crate::domain::items::{ServiceError, is_code, shown_code};
use crate::domain::price::PRICING;
use crate::domain::record::Record;

const SESSION_SHOWN: [&str; 10] = [
    PRICING,
    "connectedAt",
    "llmCalls",
    "models",
    "providers",
    "usage",
    "carrierStatus",
    "sipCode",
    "transport",
    "configuredEndpointingMs",
];

const TURN_SHOWN: [&str; 19] = [
    "finishReason",
    "retries",
    "playedMs",
    "eouProbability",
    "providers",
    "models",
    "usage",
    "callbackMs",
    "aggregationMs",
    "playoutMs",
    "transportMs",
    "telephonyMs",
    "stallMs",
    "audioMs",
    "firstAudioMs",
    "segments",
    "fallbackFrom",
    "llmCalls",
    "ttsCalls",
];

const INTERRUPTION_SHOWN: [&str; 7] = [
    "endMs",
    "decidedAtMs",
    "audioStoppedMs",
    "resumedAtMs",
    "source",
    "backchannel",
    "estimated",
];

const ERROR_SHOWN: [&str; 7] = [
    "statusCode",
    "provider",
    "model",
    "attempt",
    "retryAfterMs",
    "costMs",
    "atMs",
];

const TOOL_SHOWN: [&str; 1] = ["async"];

/// Digits of a phone number that are shown to everybody.
const DIGITS_SHOWN: usize = 2;

/// Takes out of a record what was said, and who said it.
pub fn withhold(record: &mut Record) {
    record.content_withheld = true;
    let session = &mut record.session;
    session.summary = None;
    session.end_reason = session.end_reason.take().filter(|reason| is_code(reason));
    session.from_number = session.from_number.as_deref().map(mask);
    session.to_number = session.to_number.as_deref().map(mask);
    show_only(&mut session.extra, &SESSION_SHOWN);
    for turn in &mut record.turns {
        turn.text = None;
        show_only(&mut turn.extra, &TURN_SHOWN);
    }
    for tool in &mut record.tool_calls {
        // That it is over or failed is no content; how it said so is.
        tool.error_withheld = tool.failed();
        tool.result_withheld = tool.result.is_some();
        (tool.arguments, tool.result, tool.error) = (None, None, None);
        show_only(&mut tool.extra, &TOOL_SHOWN);
    }
    for interruption in &mut record.interruptions {
        show_only(&mut interruption.extra, &INTERRUPTION_SHOWN);
    }
    record.errors.iter_mut().for_each(withhold_error);
    for evaluation in &mut record.evaluations {
        evaluation.withhold();
    }
}

/// The code stands in the message's place.
pub fn withhold_error(error: &mut ServiceError) {
    error.code = shown_code(error.code.take(), error.service.as_deref());
    error.message = error.code.clone();
    error.details = None;
    show_only(&mut error.extra, &ERROR_SHOWN);
}

/// Objects that are shown, and of them what is known to be no content.
const MEMBERS_SHOWN: [(&str, &[&str]); 6] = [
    ("models", &["stt", "llm", "tts"]),
    ("providers", &["stt", "llm", "tts"]),
    (
        "usage",
        &[
            "promptTokens",
            "completionTokens",
            "cachedTokens",
            "cacheWriteTokens",
            "audioTokens",
            "cachedAudioTokens",
            "audioOutputTokens",
            "sttSeconds",
            "sttCostUsd",
            "ttsCharacters",
            "otherCostUsd",
        ],
    ),
    ("segments", &["startMs", "endMs"]),
    (
        "llmCalls",
        &[
            "startMs",
            "firstTokenMs",
            "endMs",
            "provider",
            "model",
            "promptTokens",
            "completionTokens",
            "cachedTokens",
            "finishReason",
            "attempt",
            "cancelled",
            "beside",
            "cacheWriteTokens",
            "audioTokens",
            "cachedAudioTokens",
            "audioOutputTokens",
            "costUsd",
        ],
    ),
    (
        "ttsCalls",
        &[
            "startMs",
            "firstByteMs",
            "endMs",
            "audioMs",
            "characters",
            "provider",
            "model",
            "beside",
            "costUsd",
        ],
    ),
];

/// Names that programs give, in which a source may put words all the same.
fn is_shown(name: &str, value: &Value) -> bool {
    name != "finishReason" || value.as_str().is_none_or(is_code)
}

fn show_only(fields: &mut Map<String, Value>, shown: &[&str]) {
    fields.retain(|name, value| shown.contains(&name.as_str()) && is_shown(name, value));
    for (name, members) in MEMBERS_SHOWN {
        match fields.get_mut(name) {
            Some(Value::Object(object)) => {
                object.retain(|member, _| members.contains(&member.as_str()))
            }
            Some(Value::Array(items)) => {
                let objects = items.iter_mut().filter_map(Value::as_object_mut);
                objects.for_each(|object| {
                    object.retain(|member, value| {
                        members.contains(&member.as_str()) && is_shown(member, value)
                    })
                });
            }
            _ => {}
        }
    }
}

/// Parameters of a span that cannot be what was said.
pub fn show_parameters(parameters: &mut Map<String, Value>) {
    parameters.retain(|_, value| attributes::is_shown(value));
}

/// All but the last digits of a number, or of an address of another kind.
fn mask(number: &str) -> String {
    let characters: Vec<char> = number.chars().collect();
    let hidden = characters.len().saturating_sub(DIGITS_SHOWN);
    characters
        .iter()
        .enumerate()
        .map(|(at, c)| if at < hidden { '*' } else { *c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::is_code;

    #[test]
    fn only_what_looks_like_a_code_is_shown_as_one() {
        for code in ["user_hangup", "503", "llm.timeout", "sip:486", "E-1"] {
            assert!(is_code(code), "{code}");
        }
        let long = "x".repeat(65);
        for text in ["", "he said no", "caf\u{e9}", "a,b", long.as_str()] {
            assert!(!is_code(text), "{text}");
        }
    }
}
