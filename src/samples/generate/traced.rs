//! Spans of those calls whose agent is traced: the stages of each answer once more, as a tracing agent
//! tells them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::call::time;

/// Of so many calls one is traced.
const ONE_IN: u8 = 8;
/// US dollars a million tokens; assumed.
const PROMPT_USD: f64 = 0.15;
const COMPLETION_USD: f64 = 0.6;

/// Adds spans to a call, if it is one of those that have some.
pub fn add_spans(document: &mut Value, id: Uuid, started_at: DateTime<Utc>) {
    if !id.as_bytes()[15].is_multiple_of(ONE_IN) {
        return;
    }
    let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    let (turns, tools) = (list("turns"), list("toolCalls"));
    let mut question = Value::Null;
    let mut spans = Vec::new();
    for turn in &turns {
        if turn["latencyMs"].is_i64() {
            let answer = Answer {
                trace: format!("{:016x}{:016x}", id.as_u64_pair().1, number(&turn["index"])),
                session: &document["session"],
                started_at,
                turn,
                question: &question,
            };
            spans.extend(answer.spans(&tools));
        }
        question = turn["text"].clone();
    }
    if !spans.is_empty() {
        document["spans"] = spans.into();
    }
}

struct Answer<'a> {
    trace: String,
    session: &'a Value,
    started_at: DateTime<Utc>,
    turn: &'a Value,
    question: &'a Value,
}

impl Answer<'_> {
    fn spans(&self, tools: &[Value]) -> Vec<Value> {
        let ms = |name: &str| number(&self.turn[name]);
        let heard_ms = ms("startMs") - ms("latencyMs");
        let decided_ms = heard_ms + ms("sttMs") + ms("endpointingMs");
        let mut spans = vec![self.span(
            "stt",
            (heard_ms, heard_ms + ms("sttMs")),
            json!({"gen_ai.operation.name": "transcribe", "gen_ai.request.model": self.model("stt"),
                "output.value": self.question}),
        )];
        let own = json!([{"startMs": decided_ms, "firstTokenMs": decided_ms + ms("llmMs"),
            "endMs": decided_ms + ms("llmTotalMs"), "promptTokens": self.turn["usage"]["promptTokens"],
            "completionTokens": self.turn["usage"]["completionTokens"]}]);
        let calls = self.turn.get("llmCalls").unwrap_or(&own).as_array();
        let calls = calls.map(Vec::as_slice).unwrap_or_default();
        spans.extend(calls.iter().map(|call| self.generation(call)));
        let tools = tools
            .iter()
            .filter(|tool| tool["turn"] == self.turn["index"]);
        spans.extend(tools.map(|tool| self.tool(tool)));
        let first_ms = calls.last().map(|call| number(&call["firstTokenMs"]));
        let spoken_ms = first_ms.unwrap_or(decided_ms);
        spans.push(self.span(
            "tts",
            (spoken_ms, spoken_ms + ms("ttsTotalMs")),
            json!({"gen_ai.operation.name": "speech", "gen_ai.request.model": self.model("tts"),
                "input.value": self.turn["text"],
                "langfuse.observation.completion_start_time": time(self.started_at, spoken_ms + ms("ttsMs"))}),
        ));
        // Ids tell repeated names apart.
        for (n, span) in spans.iter_mut().enumerate() {
            span["spanId"] = format!("{:016x}", n + 2).into();
        }
        let end = spans.iter().filter_map(|span| span["endedAt"].as_str());
        let mut root = self.span(
            "voice-agent-response",
            (heard_ms, heard_ms),
            json!({"langfuse.observation.type": "agent", "input.value": self.question,
                "output.value": self.turn["text"]}),
        );
        root["endedAt"] = end.max().into();
        root["spanId"] = ROOT.into();
        root["parentSpanId"] = Value::Null;
        spans.push(root);
        spans
    }

    fn generation(&self, call: &Value) -> Value {
        let (prompt, completion) = (
            number(&call["promptTokens"]),
            number(&call["completionTokens"]),
        );
        let usd = |tokens: i64, price: f64| tokens as f64 * price / 1e6;
        self.span(
            "llm",
            (number(&call["startMs"]), number(&call["endMs"])),
            json!({
                "gen_ai.operation.name": "chat", "gen_ai.request.model": self.model("llm"),
                "gen_ai.usage.input_tokens": prompt, "gen_ai.usage.output_tokens": completion,
                "langfuse.observation.cost_details":
                    {"input": usd(prompt, PROMPT_USD), "output": usd(completion, COMPLETION_USD)},
                "langfuse.observation.completion_start_time":
                    time(self.started_at, number(&call["firstTokenMs"])),
            }),
        )
    }

    fn tool(&self, tool: &Value) -> Value {
        let mut span = self.span(
            tool["name"].as_str().unwrap_or("tool"),
            (number(&tool["startMs"]), number(&tool["endMs"])),
            json!({"gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.call.arguments": tool["arguments"], "gen_ai.tool.call.result": tool["result"]}),
        );
        if let Some(message) = tool["error"]["message"].as_str() {
            span["status"] = json!({"code": "error", "message": message});
        }
        span
    }

    fn span(&self, name: &str, (start_ms, end_ms): (i64, i64), attributes: Value) -> Value {
        json!({
            "traceId": self.trace, "parentSpanId": ROOT, "name": name, "attributes": attributes,
            "startedAt": time(self.started_at, start_ms), "endedAt": time(self.started_at, end_ms),
        })
    }

    /// Whoever stood in for the session's own.
    fn model(&self, stage: &str) -> &Value {
        match self.turn["models"].get(stage) {
            Some(model) => model,
            None => &self.session["models"][stage],
        }
    }
}

const ROOT: &str = "0000000000000001";

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::samples::generate::{Detail, Plan, calls};

    #[test]
    fn some_calls_are_traced_and_their_spans_lie_within_their_roots() {
        let from: DateTime<Utc> = "2026-01-05T00:00:00Z".parse().unwrap();
        let plan = Plan {
            seed: 42,
            calls_per_day: 150.0,
            detail: Detail::Full,
        };
        let (mut all, mut traced) = (0, 0);
        for call in calls(&plan, from, from + TimeDelta::days(7)) {
            all += 1;
            let Some(spans) = call["spans"].as_array() else {
                continue;
            };
            traced += 1;
            for span in spans {
                let root = spans
                    .iter()
                    .find(|other| other["traceId"] == span["traceId"] && other["spanId"] == ROOT)
                    .unwrap();
                let text = |span: &Value, name: &str| span[name].as_str().unwrap().to_owned();
                assert!(text(span, "startedAt") >= text(root, "startedAt"), "{span}");
                assert!(text(span, "endedAt") <= text(root, "endedAt"), "{span}");
                assert!(text(span, "endedAt") >= text(span, "startedAt"), "{span}");
            }
        }
        assert!((all / 16..all / 4).contains(&traced), "{traced} of {all}");
    }
}
