//! Calls of models that no span tells of: only their exchanges are known. One with a latency is a user who spoke and
//! an agent who was heard so much later; what was said, nobody knows.

use chrono::{DateTime, Utc};
use serde_json::{Map, json};

use crate::domain::turn::{Speaker, UNTIMED};

use super::super::calls::{after, is_set, name, number, put};
use super::super::{Beside, Gist, Part, Turn, Understood};
use super::heard::Starts;
use super::runs::TURN_END_MS;
use super::turns::interruption;

/// What exchanges amount to without anything in them. Where parts of some are told, those tell what there was.
pub fn interpret(gists: &[&Gist]) -> Understood {
    let is_part = |gist: &&Gist| matches!(gist.part, Part::Stt | Part::Llm | Part::Tts);
    if gists.iter().any(is_part) {
        return Understood::default();
    }
    let of_exchange = |gist: &&Gist| gist.part == Part::Exchange;
    let exchanges: Vec<&Gist> = gists.iter().copied().filter(of_exchange).collect();
    let starts = Starts::of(exchanges.iter().copied());
    let mut understood = Understood::default();
    for (place, exchange) in exchanges.iter().enumerate() {
        let Some(latency_ms) = number(exchange, "latencyMs") else {
            continue;
        };
        let is_followed = starts.follow(exchange);
        // The first begins with its call, and all others when the user speaks.
        let is_first = place == 0;
        understood.turns.push(asked(exchange, None, !is_first));
        let heard = Heard {
            latency_ms,
            at: None,
            is_followed,
        };
        let answer = answered(exchange, &heard);
        understood.besides.extend(cut_off(exchange, &answer, None));
        understood.turns.push(answer);
    }
    understood
}

/// The user of an exchange, who spoke `until` then, where that is known. Unless they opened it, nobody knows since when.
pub fn asked(exchange: &Gist, until: Option<DateTime<Utc>>, opens: bool) -> Turn {
    let mut fields = Map::new();
    put(&mut fields, "metadata", (!opens).then(untimed));
    let began = exchange.started_at;
    let since = until.filter(|_| !opens).unwrap_or(began);
    Turn {
        id: format!("{}/user", name(exchange)),
        speaker: Speaker::User,
        started_at: since,
        ended_at: until.map(|until| until.max(since)),
        fields,
    }
}

/// How an answer was heard of which no span tells.
pub struct Heard {
    pub latency_ms: f64,
    /// When, where it is known when its user had spoken.
    pub at: Option<DateTime<Utc>>,
    /// Whether another exchange begins where its own ends.
    pub is_followed: bool,
}

/// The answer. Only where a silence ended the exchange, or the user did, is it known when the agent had spoken.
pub fn answered(exchange: &Gist, heard: &Heard) -> Turn {
    let interrupted = is_set(exchange, "cutOff") && heard.is_followed;
    let mut fields = Map::new();
    put(&mut fields, "latencyMs", Some(heard.latency_ms));
    put(&mut fields, "interrupted", interrupted.then_some(true));
    put(&mut fields, "metadata", heard.at.is_none().then(untimed));
    let placed = || after(exchange.started_at, heard.latency_ms);
    let started_at = heard.at.unwrap_or_else(placed);
    let is_waited_for = !is_set(exchange, "cutOff") && !is_set(exchange, "atEnd");
    let ended_at = match exchange.ended_at {
        Some(over) if heard.is_followed => Some(over),
        Some(over) if is_waited_for => Some(after(over, -TURN_END_MS)),
        _ => None,
    };
    Turn {
        id: name(exchange),
        speaker: Speaker::Agent,
        started_at,
        ended_at: ended_at.map(|at| at.max(started_at)),
        fields,
    }
}

/// That the user cut it off, who began to speak at `onset`, if that is known and the agent was heard by then.
pub fn cut_off(exchange: &Gist, answer: &Turn, onset: Option<DateTime<Utc>>) -> Option<Beside> {
    let is_cut_off = answer.fields.contains_key("interrupted");
    let at = exchange.ended_at.filter(|_| is_cut_off)?;
    let onset = onset.filter(|onset| (answer.started_at..at).contains(onset));
    Some(interruption(at, onset, &answer.id))
}

fn untimed() -> serde_json::Value {
    json!({ UNTIMED: true })
}
