//! Calls for tests: native documents made into what the rules read.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::{Analysis, Input, Issue, IssueType, NetworkSample, Speech, Targets, analyse};
use crate::domain::event::{Kind, Source};
use crate::domain::fact::Fact;
use crate::domain::items::{Interruption, ServiceError, ToolCall, covered_ms};
use crate::domain::session::{Activity, Session};
use crate::domain::turn::Turn;

/// A call with everything that is analysed.
pub struct Call {
    session: Session,
    turns: Vec<Turn>,
    tool_calls: Vec<ToolCall>,
    interruptions: Vec<Interruption>,
    errors: Vec<ServiceError>,
    speech: Vec<Speech>,
    network: Vec<NetworkSample>,
}

impl Call {
    /// From a native call. Fields that are null are not there.
    pub fn of(call: &Value) -> Self {
        let facts = |list: &str, kind: Kind| -> Vec<Fact> {
            let items = call[list].as_array().cloned().unwrap_or_default();
            items
                .iter()
                .enumerate()
                .map(|(n, item)| fact(kind, n, item))
                .collect()
        };
        let session = fact(Kind::Session, 0, &call["session"]);
        let of_tool = |f: &Fact| ToolCall::derive(&f.id, &[f]);
        let tool_calls: Vec<ToolCall> = facts("toolCalls", Kind::ToolCall)
            .iter()
            .map(of_tool)
            .collect();
        Self {
            session: Session::derive(&[&session], Activity::of(&session)),
            turns: turns(&facts("turns", Kind::Turn), &tool_calls),
            tool_calls,
            interruptions: facts("interruptions", Kind::Interruption)
                .iter()
                .map(|f| Interruption::derive(&f.id, &[f]))
                .collect(),
            errors: facts("errors", Kind::Error)
                .iter()
                .filter_map(|f| ServiceError::derive(&f.id, &[f]))
                .collect(),
            speech: facts("speech", Kind::Speech)
                .iter()
                .filter_map(|f| Speech::of(&f.fields))
                .collect(),
            network: facts("network", Kind::Network)
                .iter()
                .filter_map(|f| NetworkSample::of(&f.fields))
                .collect(),
        }
    }

    pub fn input(&self) -> Input<'_> {
        Input {
            session: &self.session,
            turns: &self.turns,
            tool_calls: &self.tool_calls,
            interruptions: &self.interruptions,
            errors: &self.errors,
            speech: &self.speech,
            network: &self.network,
        }
    }
}

fn fact(kind: Kind, n: usize, item: &Value) -> Fact {
    let mut fields: Map<String, Value> = item.as_object().cloned().unwrap_or_default();
    fields.retain(|_, value| !value.is_null());
    Fact {
        source: Source::Call,
        kind,
        id: format!("{n:04}"),
        at: DateTime::UNIX_EPOCH,
        hash: 0,
        fields: fields.into(),
    }
}

fn turns(facts: &[Fact], tools: &[ToolCall]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = facts
        .iter()
        .map(|f| Turn::derive(f.turn_index(), &[f]))
        .collect();
    turns.sort_by_key(Turn::position);
    let before: Vec<_> = turns.iter().map(Turn::as_predecessor).collect();
    let resolve = |(n, turn): (usize, Turn)| {
        let of_turn = tools.iter().filter(|tool| tool.turn == Some(turn.index));
        let tools_ms = covered_ms(of_turn.filter_map(ToolCall::interval));
        turn.resolve(n.checked_sub(1).map(|n| &before[n]), tools_ms)
    };
    turns.into_iter().enumerate().map(resolve).collect()
}

const USER: [&str; 8] = [
    "I would like to change my booking for next Tuesday please",
    "It is under the name of Margaret Fisher",
    "Could we make that a window seat instead",
    "What does the larger car cost for a weekend",
    "My old phone number ends with forty two",
    "Then send the invoice to the office in Leeds",
    "Is breakfast part of the price at that hotel",
    "We will arrive rather late, around eleven",
];
const AGENT: [&str; 8] = [
    "Of course, which day suits you better than Tuesday",
    "Thank you Margaret, I have found your reservation here",
    "A window seat is free in row twelve, I took it for you",
    "For two days it comes to ninety pounds, insurance included",
    "I have noted the new number and removed the former one",
    "The invoice goes out to Leeds this afternoon by post",
    "Yes, it is served downstairs from six until ten",
    "That is fine, somebody will be at the desk all night",
];

/// A call with nothing wrong: so many questions with their answers, 900 ms after each.
pub fn clean(exchanges: usize) -> Value {
    let mut turns = Vec::new();
    let mut now = 0;
    for n in 0..exchanges {
        let (question, answer) = (USER[n % USER.len()], AGENT[n % AGENT.len()]);
        turns.push(json!({"index": 2 * n, "speaker": "user", "text": question,
            "startMs": now, "endMs": now + 2600, "confidence": 0.93}));
        now += 2600 + 900;
        turns.push(
            json!({"index": 2 * n + 1, "speaker": "agent", "text": answer,
            "startMs": now, "endMs": now + 3200, "latencyMs": 900, "sttMs": 150,
            "endpointingMs": 250, "llmMs": 300, "ttsMs": 200, "finishReason": "stop"}),
        );
        now += 3200 + 700;
    }
    let ended = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::milliseconds(now);
    json!({
        "session": {"agentId": "desk", "channel": "inbound", "status": "completed", "endedBy": "user",
            "startedAt": "1970-01-01T00:00:00Z", "endedAt": ended.to_rfc3339()},
        "turns": turns,
    })
}

/// Moves a turn and all that follow it by so much.
pub fn delay(call: &mut Value, from: usize, ms: i64) {
    let turns = call["turns"].as_array_mut().unwrap();
    for turn in &mut turns[from..] {
        for name in ["startMs", "endMs"] {
            turn[name] = json!(turn[name].as_i64().unwrap() + ms);
        }
    }
    let ended: DateTime<Utc> = call["session"]["endedAt"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    call["session"]["endedAt"] = json!((ended + TimeDelta::milliseconds(ms)).to_rfc3339());
}

pub fn analysis(call: &Value) -> Analysis {
    analyse(&Call::of(call).input(), &Targets::default())
}

/// The issues of one kind.
pub fn found(call: &Value, kind: IssueType) -> Vec<Issue> {
    let mut issues = analysis(call).issues;
    issues.retain(|issue| issue.kind == kind);
    issues
}

/// The only issue of a kind.
pub fn issue(call: &Value, kind: IssueType) -> Issue {
    let found = found(call, kind);
    assert_eq!(found.len(), 1, "{:?}: {found:#?}", kind);
    found.into_iter().next().unwrap()
}

/// What a turn of the agent that nobody could hear says of itself: any one of these.
pub fn silent() -> [(&'static str, Value); 4] {
    [
        ("playedMs", json!(0)),
        ("audioMs", json!(0)),
        ("failed", json!(true)),
        ("ttsCalls", json!([{"startMs": 1, "error": "no voice"}])),
    ]
}
