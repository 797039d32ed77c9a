//! What was said by a report of Vapi's, what tools did meanwhile, and how long answers took.

use serde_json::Value;

use super::super::dialogue::{Dialogue, parsed};
use super::super::lens::{self, Form, at, id, list, measured, number, text};
use super::Beginning;

/// Turns and tools, by a call that began so.
pub fn dialogue(message: &Value, beginning: &Beginning) -> Dialogue {
    let start_ms = beginning.started_at.map(|at| at.timestamp_millis() as f64);
    let messages = match list(message, &["artifact", "messages"]) {
        [] => list(message, &["messages"]),
        messages => messages,
    };
    let mut dialogue = Dialogue::default();
    for said in messages {
        // By Vapi's own clock of the call, else by the clock on the wall.
        let from_ms = number(said, &["secondsFromStart"]);
        let from_ms = from_ms.map(|seconds| seconds * 1000.0 + beginning.rang_ms());
        let from_ms = from_ms.or_else(|| Some(measured(said, &["time"])? - start_ms?));
        match text(said, &["role"]).unwrap_or_default() {
            role @ ("bot" | "assistant" | "user") => {
                let Some(words) = text(said, &["message"]).or_else(|| text(said, &["content"]))
                else {
                    continue;
                };
                let length_ms = || Some(measured(said, &["endTime"])? - measured(said, &["time"])?);
                let until_ms = from_ms.zip(length_ms()).map(|(from, length)| from + length);
                let mut speaker = Form::default();
                for name in ["assistantId", "assistantName"] {
                    speaker.set(name, text(said, &[name]));
                }
                let mut form = Form::default();
                form.set("text", Some(words))
                    .set("confidence", number(said, &["confidence"]))
                    .object("metadata", speaker);
                dialogue.turn(role != "user", (from_ms, until_ms), form);
            }
            "tool_calls" => {
                for call in list(said, &["toolCalls"]) {
                    tool(call, from_ms, &mut dialogue);
                }
            }
            "tool_call_result" => result(said, from_ms, &mut dialogue),
            _ => {}
        }
    }
    dialogue.sort();
    dialogue
}

fn tool(call: &Value, from_ms: Option<f64>, dialogue: &mut Dialogue) {
    let Some(id) = id(call, &["id"]) else { return };
    let function = at(call, &["function"]).unwrap_or(call);
    let arguments = at(function, &["arguments"]).map(|arguments| match arguments {
        Value::String(text) => parsed(text),
        other => other.clone(),
    });
    let mut form = Form::default();
    form.set("name", text(function, &["name"]))
        .set("arguments", arguments)
        .set("startMs", from_ms.filter(|ms| *ms >= 0.0).map(lens::ms));
    dialogue.tool(&id, form);
}

fn result(said: &Value, at_ms: Option<f64>, dialogue: &mut Dialogue) {
    let Some(id) = id(said, &["toolCallId"]) else {
        return;
    };
    let start_ms = dialogue.tool_start_ms(&id).unwrap_or_default();
    let result = at(said, &["result"]).map(|result| match result {
        Value::String(text) => parsed(text),
        other => other.clone(),
    });
    let mut form = Form::default();
    form.set("name", text(said, &["name"]))
        .set("result", result)
        .set("error", at(said, &["error"]).cloned())
        .set("endMs", at_ms.filter(|ms| *ms >= start_ms).map(lens::ms));
    dialogue.tool(&id, form);
}

/// Latencies are a list beside the messages, without a word whose they are: in the order of the turns.
pub fn latencies(message: &Value, dialogue: &mut Dialogue) {
    let latencies = list(
        message,
        &["artifact", "performanceMetrics", "turnLatencies"],
    );
    let turns = dialogue
        .measured_turns(latencies.len())
        .unwrap_or_else(|| dialogue.answers());
    for (turn, latency) in turns.into_iter().zip(latencies) {
        let Some(form) = dialogue.form(turn) else {
            continue;
        };
        for (name, given) in [
            ("sttMs", "transcriberLatency"),
            ("endpointingMs", "endpointingLatency"),
            ("llmMs", "modelLatency"),
            ("ttsMs", "voiceLatency"),
            ("latencyMs", "turnLatency"),
        ] {
            form.set(name, measured(latency, &[given]));
        }
    }
}
