//! A script as its source tells it.

use chrono::{DateTime, TimeDelta};
use serde_json::{Map, Value, json};

use super::{Exchange, Script, Told};

/// When the call is connected.
const CONNECTED_MS: f64 = 2000.0;

fn whole(ms: f64) -> i64 {
    ms.round() as i64
}

#[derive(Default)]
struct Teller {
    turns: Vec<Value>,
    tools: Vec<Value>,
    interruptions: Vec<Value>,
    speech: Vec<Value>,
}

impl Teller {
    fn turn(
        &mut self,
        speaker: &str,
        text: &str,
        (from, to): (f64, f64),
        more: &Map<String, Value>,
    ) -> i32 {
        let index = self.turns.len();
        let mut turn = json!({"index": index, "speaker": speaker, "text": text, "startMs": whole(from), "endMs": whole(to)});
        for (name, value) in more {
            turn[name] = value.clone();
        }
        self.turns.push(turn);
        index as i32
    }

    fn user(&mut self, text: &str, (from, to): (f64, f64), more: &Map<String, Value>) -> i32 {
        self.speech.push(json!({"speaker": "user", "startMs": whole(from - 30.0), "endMs": whole(to + 60.0), "probability": 0.9}));
        self.turn("user", text, (from, to), more)
    }
}

impl Script {
    pub fn tell(&self) -> Told {
        let mut teller = Teller::default();
        let greeting = CONNECTED_MS + self.greeting_after_ms;
        let text = "good day this is the front desk what may I do for you";
        let mut now = greeting + 3500.0;
        teller.turn("agent", text, (greeting, now), &Map::new());
        let mut turns = Vec::new();
        // What the user has said while the agent spoke.
        let mut said: Option<(i32, f64)> = None;
        for (n, exchange) in self.exchanges.iter().enumerate() {
            let (user, user_end) = match said.take() {
                Some(said) => said,
                None => {
                    let from = now + exchange.pause_ms;
                    let to = from + exchange.user_ms;
                    let index = match exchange.is_heard {
                        true => teller.user(&exchange.user, (from, to), &exchange.user_more),
                        false => {
                            teller.turn("user", &exchange.user, (from, to), &exchange.user_more)
                        }
                    };
                    (index, to)
                }
            };
            now = user_end;
            if !exchange.is_answered {
                turns.push((user, None));
                continue;
            }
            let start = if exchange.early_ms > 0.0 {
                user_end - exchange.early_ms
            } else {
                user_end + exchange.gap.ms()
            };
            let index = teller.turns.len() as i32;
            let more = self.answer(&mut teller, exchange, index, start - exchange.gap.ms());
            let over = exchange.over.as_ref();
            let stops = over.and_then(|over| Some(over.after_ms + over.stops_after_ms?));
            let ms = stops.unwrap_or(exchange.agent_ms);
            // What it never came to say is no part of what it said.
            let words: Vec<&str> = exchange.agent.split(' ').collect();
            let heard = (words.len() as f64 * (ms / exchange.agent_ms).min(1.0)).round() as usize;
            let text = words[..heard.clamp(1, words.len())].join(" ");
            teller.turn("agent", &text, (start, start + ms), &more);
            now = now.max(start + ms);
            if let Some(over) = over {
                let onset = start + over.after_ms;
                if over.is_flagged {
                    teller.turns[index as usize]["interrupted"] = json!(true);
                }
                if let Some(stop) = over.stops_after_ms.filter(|_| over.is_reported) {
                    teller
                        .interruptions
                        .push(json!({"turn": index, "atMs": whole(onset),
                        "detectionMs": whole(stop * 0.6), "stopMs": whole(stop)}));
                }
                let (from, to) = (onset, onset + over.ms);
                if !over.text.is_empty() {
                    let inside = teller.user(&over.text, (from, to), &Map::new());
                    if over.text.split(' ').count() >= 3 && n + 1 < self.exchanges.len() {
                        said = Some((inside, to));
                    }
                    now = now.max(to);
                }
            }
            turns.push((user, Some(index)));
        }
        let ended = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(whole(now + self.tail_ms));
        let mut session = self.session.clone();
        session.insert("endedAt".to_owned(), json!(ended.to_rfc3339()));
        let errors = self.errors.iter().map(|(exchange, error)| {
            let mut error = error.clone();
            error["turn"] = json!(turns[*exchange].1.unwrap_or(turns[*exchange].0));
            error
        });
        let errors: Value = errors.collect();
        let call = json!({"session": session, "turns": teller.turns, "toolCalls": teller.tools, "interruptions": teller.interruptions,
            "speech": if self.is_rich { teller.speech } else { Vec::new() }, "network": self.network, "errors": errors});
        Told { call, turns }
    }

    /// What an answer's making took.
    fn answer(
        &self,
        teller: &mut Teller,
        exchange: &Exchange,
        index: i32,
        from: f64,
    ) -> Map<String, Value> {
        let gap = &exchange.gap;
        let mut more = Map::new();
        let mut says = |name: &str, value: Value| more.insert(name.to_owned(), value);
        let asked = from + gap.stt + gap.endpointing;
        let tool_from = asked + gap.llm;
        let tool_to = tool_from + gap.tool.unwrap_or_default();
        let spoke = tool_to + gap.llm_after_tool;
        if let Some(tool) = &exchange.tool {
            let mut tool = tool.clone();
            tool["turn"] = json!(index);
            if gap.tool.is_some() {
                (tool["startMs"], tool["endMs"]) = (json!(whole(tool_from)), json!(whole(tool_to)));
            }
            teller.tools.push(tool);
        }
        let (provider, model) = exchange.llm;
        let reason = exchange
            .agent_more
            .get("finishReason")
            .and_then(Value::as_str)
            .unwrap_or("stop");
        says("sttMs", json!(whole(gap.stt)));
        says("endpointingMs", json!(whole(gap.endpointing)));
        if self.is_measured && exchange.early_ms <= 0.0 {
            says("latencyMs", json!(whole(gap.ms())));
        }
        if self.is_rich {
            let call = |from: f64, to: f64, reason: &str| {
                json!({"startMs": whole(from), "firstTokenMs": whole(to), "endMs": whole(to + 90.0), "provider": provider,
                        "model": model, "finishReason": reason})
            };
            let calls = match gap.tool {
                Some(_) => vec![
                    call(asked, tool_from, "tool_calls"),
                    call(tool_to, spoke, reason),
                ],
                None => vec![call(asked, tool_from, reason)],
            };
            says("llmCalls", json!(calls));
            says(
                "ttsCalls",
                json!([{"startMs": whole(spoke), "firstByteMs": whole(spoke + gap.tts), "provider": "cartesia"}]),
            );
        } else {
            says("llmMs", json!(whole(gap.llm + gap.llm_after_tool)));
            says("ttsMs", json!(whole(gap.tts)));
            says("providers", json!({"llm": provider, "tts": "cartesia"}));
            says("models", json!({"llm": model}));
            says("finishReason", json!("stop"));
        }
        more.extend(exchange.agent_more.clone());
        more
    }
}
