//! The chat history of a session, as the SDK uploads it at the end: what was said, in order, with the times
//! that the SDK measured.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::domain::event::{Event, Kind};
use crate::domain::fields::OFFSET_MAX_MS;
use crate::domain::items;
use crate::domain::json::unpacked;
use crate::domain::turn::UNTIMED;
use crate::domain::vocabulary::python_value;

use super::{event, moment, number, put, text};

/// The facts of a chat history; times count from the session's start.
pub fn events(history: &Value, start: DateTime<Utc>, now: DateTime<Utc>) -> Vec<Event> {
    let none = Vec::new();
    let items = history
        .get("items")
        .and_then(Value::as_array)
        .unwrap_or(&none);
    let mut items: Vec<&Value> = items.iter().collect();
    // The SDK keeps them in order; another sender may not.
    items.sort_by(|a, b| created(a).total_cmp(&created(b)));
    let mut told = Told {
        start,
        now,
        events: Vec::new(),
        turns: 0,
        last_answer: None,
    };
    for (place, item) in items.iter().enumerate() {
        match text(item, "type") {
            Some("message") => told.message(item, &items[place + 1..]),
            Some("function_call") => {
                let call_id = text(item, "call_id");
                let later = &items[place + 1..];
                let output = later.iter().find(|other| {
                    text(other, "type") == Some("function_call_output")
                        && text(other, "call_id") == call_id
                });
                told.tool(item, output.copied(), later);
            }
            _ => {}
        }
    }
    told.events
}

/// The last moment that a chat history tells of.
pub fn ended_at(history: &Value) -> Option<DateTime<Utc>> {
    let items = history.get("items")?.as_array()?;
    let told = items.iter().flat_map(|item| {
        let stopped = number(&item["metrics"], "stopped_speaking_at");
        [number(item, "created_at"), stopped]
    });
    told.flatten().filter_map(moment).max()
}

fn created(item: &Value) -> f64 {
    number(item, "created_at").unwrap_or_default()
}

struct Told {
    start: DateTime<Utc>,
    now: DateTime<Utc>,
    events: Vec<Event>,
    /// So many turns have been told.
    turns: usize,
    /// Of these the agent's last one.
    last_answer: Option<usize>,
}

impl Told {
    fn offset_ms(&self, seconds: f64) -> Option<f64> {
        let micros = (moment(seconds)? - self.start).num_microseconds()?;
        Some((micros as f64 / 1e3).clamp(0.0, OFFSET_MAX_MS))
    }

    fn add(&mut self, kind: Kind, id: String, at: DateTime<Utc>, fields: Map<String, Value>) {
        self.events.extend(event(kind, id, at, fields, self.now));
    }

    fn message(&mut self, item: &Value, later: &[&Value]) {
        let Some(speaker) = speaker(item) else {
            return;
        };
        let metrics = &item["metrics"];
        let ms = |name: &str| {
            let seconds = number(metrics, name).filter(|seconds| *seconds > 0.0)?;
            Some((seconds * 1e6).round() / 1e3)
        };
        let created = created(item);
        let told_start = number(metrics, "started_speaking_at");
        let told_stop = number(metrics, "stopped_speaking_at");
        let started = told_start.unwrap_or(created);
        let at = moment(told_stop.unwrap_or(started).max(created)).unwrap_or(self.start);
        let mut fields = Map::new();
        put(&mut fields, "index", Some(self.turns));
        put(&mut fields, "speaker", Some(speaker));
        put(&mut fields, "text", said(item));
        put(&mut fields, "startMs", self.offset_ms(started));
        // An item without times of its own has its place only: it came when the words were there, or when all had been
        // said, and nothing can be counted from that.
        let stopped = told_stop.and_then(|stopped| self.offset_ms(stopped.max(started)));
        put(&mut fields, "endMs", stopped);
        let untimed = told_start.is_none().then(|| json!({ UNTIMED: true }));
        put(&mut fields, "metadata", untimed);
        let stt = ms("transcription_delay");
        put(&mut fields, "sttMs", stt);
        let turn = ms("end_of_turn_delay");
        put(
            &mut fields,
            "endpointingMs",
            turn.map(|turn| (turn - stt.unwrap_or_default()).max(0.0)),
        );
        put(
            &mut fields,
            "callbackMs",
            ms("on_user_turn_completed_delay"),
        );
        put(&mut fields, "llmMs", ms("llm_node_ttft"));
        put(&mut fields, "ttsMs", ms("tts_node_ttfb"));
        put(&mut fields, "playoutMs", ms("playback_latency"));
        put(&mut fields, "latencyMs", ms("e2e_latency"));
        let confidence = number(item, "transcript_confidence");
        put(
            &mut fields,
            "confidence",
            confidence.filter(|share| *share > 0.0 && *share <= 1.0),
        );
        let interrupted = item["interrupted"] == Value::Bool(true);
        put(&mut fields, "interrupted", interrupted.then_some(true));
        for (object, member) in [("models", "model_name"), ("providers", "model_provider")] {
            let stages = ["stt", "llm", "tts"].into_iter().filter_map(|stage| {
                let name = text(&metrics[format!("{stage}_metadata")], member)?;
                Some((stage.to_owned(), Value::from(name)))
            });
            let stages: Map<String, Value> = stages.filter(|(_, name)| name != "unknown").collect();
            put(&mut fields, object, (!stages.is_empty()).then_some(stages));
        }
        let id = item_id(item, self.turns);
        self.add(Kind::Turn, id.clone(), at, fields);
        if interrupted {
            let mut fields = Map::new();
            put(&mut fields, "turn", Some(self.turns));
            let onset = told_stop.and_then(|stopped| onset(later, started, stopped));
            put(&mut fields, "atMs", onset.and_then(|at| self.offset_ms(at)));
            let told_stop = told_stop.and_then(|at| self.offset_ms(at));
            put(&mut fields, "audioStoppedMs", told_stop);
            put(&mut fields, "source", Some("user"));
            put(&mut fields, "estimated", Some(true));
            self.add(Kind::Interruption, format!("interruption:{id}"), at, fields);
        }
        if speaker == AGENT {
            self.last_answer = Some(self.turns);
        }
        self.turns += 1;
    }

    /// A call belongs to the answer that follows it, and where none does to the last one.
    fn tool(&mut self, call: &Value, output: Option<&Value>, later: &[&Value]) {
        let (started, ended) = (created(call), output.map(created));
        let mut spoken = later.iter().filter_map(|item| speaker(item));
        let answer = spoken.position(|speaker| speaker == AGENT);
        let turn = answer.map(|behind| self.turns + behind);
        let turn = turn.or(self.last_answer);
        let mut fields = Map::new();
        put(&mut fields, "callId", text(call, "call_id"));
        put(&mut fields, "turn", turn);
        put(&mut fields, "name", text(call, "name"));
        let arguments = text(call, "arguments");
        let arguments = arguments.map(|text| unpacked(text).unwrap_or_else(|| json!(text)));
        put(&mut fields, "arguments", arguments);
        put(&mut fields, "startMs", self.offset_ms(started));
        put(
            &mut fields,
            "endMs",
            ended.and_then(|at| self.offset_ms(at.max(started))),
        );
        if let Some(output) = output {
            let is_error = output["is_error"] == Value::Bool(true);
            let name = if is_error { "error" } else { "result" };
            // It is what Python prints, as on spans.
            let value = output.get("output").map(|output| match output.as_str() {
                Some(text) => python_value(text),
                None => output.clone(),
            });
            put(&mut fields, name, value);
        }
        let over = ended.unwrap_or(started);
        let at = moment(over).unwrap_or(self.start);
        let id = item_id(call, self.events.len());
        if let Some(mut error) = items::error_of_tool(&fields) {
            put(&mut error, "turn", turn);
            put(&mut error, "atMs", self.offset_ms(over));
            self.add(Kind::Error, format!("error:{id}"), at, error);
        }
        self.add(Kind::ToolCall, id, at, fields);
    }
}

const AGENT: &str = "agent";

/// Whose words a message is. Instructions are nobody's.
fn speaker(item: &Value) -> Option<&'static str> {
    if text(item, "type") != Some("message") {
        return None;
    }
    match text(item, "role")? {
        "user" => Some("user"),
        "assistant" => Some(AGENT),
        _ => None,
    }
}

/// When the user spoke up next, where that was while the agent still spoke.
fn onset(later: &[&Value], started: f64, stopped: f64) -> Option<f64> {
    let is_user = |item: &&&Value| text(item, "role") == Some("user");
    let next = later.iter().find(is_user)?;
    let at = number(&next["metrics"], "started_speaking_at")?;
    (at > started && at < stopped).then_some(at)
}

fn item_id(item: &Value, place: usize) -> String {
    match text(item, "id") {
        Some(id) => format!("chat:{id}"),
        None => format!("chat:{place}"),
    }
}

/// The words of a message; images and audio have none.
fn said(item: &Value) -> Option<String> {
    let words: Vec<&str> = match item.get("content")? {
        Value::String(text) => vec![text],
        Value::Array(parts) => parts.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    (!words.is_empty()).then(|| words.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The interruption of an answer that was spoken from 10 to 14 s, the user's next words begun at this second.
    fn interruption(user_began: Option<f64>) -> Map<String, Value> {
        let start = DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(1_000_000);
        let history = json!({"items": [
            {"type": "message", "role": "assistant", "id": "a", "created_at": 1_000_010.0, "content": ["A long story"],
             "interrupted": true,
             "metrics": {"started_speaking_at": 1_000_010.0, "stopped_speaking_at": 1_000_014.0}},
            {"type": "message", "role": "user", "id": "u", "created_at": 1_000_015.0, "content": ["Wait"],
             "metrics": {"started_speaking_at": user_began.map(|second| 1_000_000.0 + second)}},
        ]});
        let told = events(&history, start, start + chrono::TimeDelta::seconds(60));
        let told = told.iter().find(|event| event.kind == Kind::Interruption);
        told.expect("an interruption").fields.fields().clone()
    }

    #[test]
    fn a_tool_belongs_to_the_next_answer_and_the_last_one_to_the_last() {
        let start = DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(1_000_000);
        let message = |role: &str, second: u32| {
            json!({"type": "message", "role": role, "id": format!("m{second}"), "created_at": 1_000_000 + second,
                   "content": ["Well"]})
        };
        let call = |second: u32, output: Value| {
            let id = format!("c{second}");
            let at = 1_000_000 + second;
            [
                json!({"type": "function_call", "id": format!("f{second}"), "call_id": id, "name": "end_call",
                       "arguments": "{}", "created_at": at}),
                json!({"type": "function_call_output", "id": format!("o{second}"), "call_id": id, "created_at": at,
                       "output": output, "is_error": output == "boom"}),
            ]
        };
        let mut items = vec![message("user", 1)];
        items.extend(call(2, json!("None")));
        items.extend([message("user", 3), message("assistant", 4)]);
        items.extend(call(5, json!("boom")));
        let told = |items: Vec<Value>| {
            let told = events(
                &json!({ "items": items }),
                start,
                start + chrono::TimeDelta::seconds(60),
            );
            let of = |kind| -> Vec<Map<String, Value>> {
                let of_kind = told.iter().filter(|event| event.kind == kind);
                of_kind.map(|event| event.fields.fields().clone()).collect()
            };
            (of(Kind::ToolCall), of(Kind::Error))
        };
        let (tools, errors) = told(items);
        let turns: Vec<&Value> = tools.iter().map(|tool| &tool["turn"]).collect();
        assert_eq!(turns, [2, 2]);
        let [error] = &errors[..] else {
            panic!("{errors:?}")
        };
        assert_eq!(
            Value::Object(error.clone()),
            json!({"service": "tool", "level": "error", "code": "tool_error", "message": "boom", "turn": 2,
                   "atMs": 5000.0, "details": {"tool": "end_call"}})
        );
        let (tools, _) = told(Vec::from(call(2, json!("None"))));
        assert_eq!(tools[0].get("turn"), None, "nobody said anything");
    }

    #[test]
    fn an_answer_was_interrupted_when_the_user_began_and_not_when_it_stopped() {
        let told = interruption(Some(13.2));
        assert_eq!(
            (&told["atMs"], &told["audioStoppedMs"]),
            (&json!(13_200.0), &json!(14_000.0))
        );
        for unknown in [None, Some(14.5), Some(9.0)] {
            let told = interruption(unknown);
            assert_eq!(told.get("atMs"), None, "{unknown:?}");
            assert_eq!(told["audioStoppedMs"], 14_000.0);
        }
    }

    #[test]
    fn what_has_no_times_has_a_place_only() {
        let start = DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(1_000_000);
        let item = |role: &str, second: f64, metrics: Value| {
            json!({"type": "message", "role": role, "id": format!("m{second}"), "created_at": 1_000_000.0 + second,
                   "content": ["Well"], "metrics": metrics})
        };
        let spoken = |from: f64, to: f64| json!({"started_speaking_at": 1_000_000.0 + from, "stopped_speaking_at": 1_000_000.0 + to});
        let begun = json!({"started_speaking_at": 1_000_006.0});
        let history = json!({"items": [
            item("user", 2.0, json!({})), item("assistant", 3.0, spoken(3.0, 5.0)),
            item("user", 6.0, begun), item("assistant", 9.0, json!({})),
        ]});
        let told = events(&history, start, start + chrono::TimeDelta::seconds(60));
        let told: Vec<Value> = told
            .iter()
            .map(|event| {
                let fields = event.fields.fields();
                let untimed = fields.get("metadata").map(|metadata| &metadata[UNTIMED]);
                json!([fields["startMs"], fields.get("endMs"), untimed])
            })
            .collect();
        assert_eq!(
            Value::from(told),
            json!([
                [2000.0, null, true],
                [3000.0, 5000.0, null],
                [6000.0, null, null],
                [9000.0, null, true]
            ])
        );
    }
}
