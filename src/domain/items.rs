//! What happens inside a session besides turns: tool calls, interruptions, errors, evaluations.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::domain::digest::{Measure, Stage};
use crate::domain::event::{Kind, Source};
use crate::domain::fact;
use crate::domain::fact::Fact;
use crate::domain::fact::Taker;
use crate::domain::precedence;

#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    pub id: String,
    pub turn: Option<i32>,
    pub name: Option<String>,
    pub arguments: Option<Value>,
    pub result: Option<Value>,
    pub error: Option<Value>,
    /// There is a result, an error, but it is not for this reader.
    pub result_withheld: bool,
    pub error_withheld: bool,
    pub start_ms: Option<i32>,
    pub end_ms: Option<i32>,
    pub extra: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Interruption {
    pub id: String,
    pub turn: Option<i32>,
    pub at_ms: Option<i32>,
    pub detection_ms: Option<f64>,
    pub stop_ms: Option<f64>,
    pub bleed_through_words: Option<i32>,
    pub is_false: Option<bool>,
    pub extra: Map<String, Value>,
}

/// An error or warning in one of the services behind a session.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceError {
    pub id: String,
    pub at: DateTime<Utc>,
    pub service: Option<String>,
    pub level: String,
    pub code: Option<String>,
    pub message: Option<String>,
    pub details: Option<Value>,
    pub turn: Option<i32>,
    pub agent: Option<String>,
    pub extra: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    pub id: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub reviewer: Option<String>,
    pub score: Option<f64>,
    pub verdict: Option<String>,
    pub labels: Vec<String>,
    pub notes: Option<String>,
    pub turn: Option<i32>,
}

/// Whose word an evaluation is that came as a score: Langfuse's API does not say who made it. Its labels are
/// the score's name and, of a category, the value.
pub const LANGFUSE_REVIEWER: &str = "langfuse";

impl Evaluation {
    /// Without what somebody said: notes, and a score's value that is no name of a category.
    pub fn withhold(&mut self) {
        self.notes = None;
        if self.reviewer.as_deref() == Some(LANGFUSE_REVIEWER) {
            let mut place = 0;
            self.labels.retain(|label| {
                place += 1;
                place == 1 || is_code(label)
            });
        }
    }
}

/// What an error is called that is a tool's failure.
pub const TOOL_ERROR: &str = "tool_error";
const TOOL_SERVICE: &str = "tool";
const MESSAGE_MAX_CHARS: usize = 10_000;

/// What a tool's failure is as an error of its session, by the fields of its call; none where it did not fail.
pub fn error_of_tool(call: &Map<String, Value>) -> Option<Map<String, Value>> {
    let message = match call.get("error").filter(|error| is_failure(error))? {
        Value::String(text) => text.chars().take(MESSAGE_MAX_CHARS).collect(),
        other => other.to_string().chars().take(MESSAGE_MAX_CHARS).collect(),
    };
    let mut fields = Map::from_iter([
        ("service".to_owned(), Value::from(TOOL_SERVICE)),
        ("level".to_owned(), Value::from("error")),
        ("code".to_owned(), Value::from(TOOL_ERROR)),
        ("message".to_owned(), Value::String(message)),
    ]);
    if let Some(name) = call.get("name") {
        fields.insert("details".to_owned(), json!({ "tool": name }));
    }
    Some(fields)
}

/// Whether an error is told by the sources of turns in their own ways, and counts where their turns do: one that was made
/// of a tool call, or what LiveKit's SDK writes into its log, whose spans say the same. Native ingest states its errors
/// itself.
pub fn is_error_of_turns(fact: &Fact) -> bool {
    fact.kind == Kind::Error
        && !precedence::is_first_hand(fact.source)
        && (is_of_tool(fact) || is_in_livekit_log(fact))
}

fn is_of_tool(fact: &Fact) -> bool {
    let says =
        |name: &str, value: &str| fact.fields.get(name).and_then(Value::as_str) == Some(value);
    says("service", TOOL_SERVICE) && says("code", TOOL_ERROR)
}

/// Who wrote an error into a log, among its details.
pub const LOGGER: &str = "logger";
/// The SDK's loggers: `livekit`, `livekit.agents`, `livekit.plugins.…`.
const LIVEKIT: &str = "livekit";

fn is_in_livekit_log(fact: &Fact) -> bool {
    let logger = || fact.fields.get("details")?.get(LOGGER)?.as_str();
    let is_own = |logger: &str| logger == LIVEKIT || logger.starts_with("livekit.");
    fact.source == Source::LivekitReport && logger().is_some_and(is_own)
}

/// That there is no error is said by `false` too.
fn is_failure(error: &Value) -> bool {
    !matches!(error, Value::Null | Value::Bool(false))
}

/// When something happened, where the document that tells of it was written later.
pub const OCCURRED_AT: &str = "occurredAt";

fn merged(facts: &[&Fact]) -> Taker {
    let mut ordered = facts.to_vec();
    fact::order(&mut ordered);
    Taker(fact::merge(&ordered))
}

impl ToolCall {
    pub fn derive(id: &str, facts: &[&Fact]) -> Self {
        let mut fields = merged(facts);
        fields.0.remove("callId");
        Self {
            id: id.to_owned(),
            turn: fields.whole("turn"),
            name: fields.text("name"),
            arguments: fields.0.remove("arguments"),
            result: fields.0.remove("result"),
            error: fields.0.remove("error"),
            result_withheld: false,
            error_withheld: false,
            start_ms: fields.whole("startMs"),
            end_ms: fields.whole("endMs"),
            extra: fields.0,
        }
    }

    /// Whether it is told to have come to an end; known also where its result is withheld.
    pub fn is_over(&self) -> bool {
        self.result.is_some() || self.result_withheld || self.end_ms.is_some() || self.failed()
    }

    /// Whether it ended in an error; known also where the error itself is withheld.
    pub fn failed(&self) -> bool {
        self.error_withheld || self.error.as_ref().is_some_and(is_failure)
    }

    /// When it ran, where both ends are known.
    pub fn interval(&self) -> Option<(i32, i32)> {
        Some((self.start_ms?, self.end_ms?))
    }
}

impl Interruption {
    pub fn derive(id: &str, facts: &[&Fact]) -> Self {
        let mut fields = merged(facts);
        Self {
            id: id.to_owned(),
            turn: fields.whole("turn"),
            at_ms: fields.whole("atMs"),
            detection_ms: fields.number("detectionMs"),
            stop_ms: fields.number("stopMs"),
            bleed_through_words: fields.whole("bleedThroughWords"),
            is_false: fields.maybe_flag("isFalse"),
            extra: fields.0,
        }
    }

    pub fn measures(&self) -> Vec<Measure> {
        [
            Measure::of(Stage::Detection, None, None, self.detection_ms),
            Measure::of(Stage::Stop, None, None, self.stop_ms),
            Measure::of(
                Stage::BleedThroughWords,
                None,
                None,
                self.bleed_through_words.map(f64::from),
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl ServiceError {
    pub fn derive(id: &str, facts: &[&Fact]) -> Option<Self> {
        let said_at = facts.iter().map(|f| f.at).max()?;
        let mut fields = merged(facts);
        let at = fields.time(OCCURRED_AT).unwrap_or(said_at);
        Some(Self {
            id: id.to_owned(),
            at,
            service: fields.text("service"),
            level: fields.text("level").unwrap_or_else(|| "error".to_owned()),
            code: fields.text("code"),
            message: fields.text("message"),
            details: fields.0.remove("details"),
            turn: fields.whole("turn"),
            agent: fields.text("agent"),
            extra: fields.0,
        })
    }
}

impl Evaluation {
    pub fn derive(id: &str, facts: &[&Fact]) -> Option<Self> {
        let said_at = facts.iter().map(|f| f.at).max()?;
        let mut fields = merged(facts);
        let created_at = fields.time(OCCURRED_AT).unwrap_or(said_at);
        Some(Self {
            id: id.to_owned(),
            created_at,
            updated_at: created_at,
            reviewer: fields.text("reviewer"),
            score: fields.number("score"),
            verdict: fields.text("verdict"),
            labels: fields.texts("labels"),
            notes: fields.text("notes"),
            turn: fields.whole("turn"),
        })
    }
}

/// How long any of some intervals lasted: overlaps are counted once.
pub fn covered_ms<T: Into<f64>>(intervals: impl IntoIterator<Item = (T, T)>) -> f64 {
    let each = intervals.into_iter();
    let mut intervals: Vec<(f64, f64)> = each.map(|(from, to)| (from.into(), to.into())).collect();
    intervals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut covered, mut until) = (0.0, f64::NEG_INFINITY);
    for (from, to) in intervals {
        covered += (to - from.max(until)).max(0.0);
        until = to.max(until);
    }
    covered
}

/// Longest text that may be a code.
const CODE_MAX: usize = 64;

/// What an error is called to those who may not see what was said: its code, where it is one and no
/// sentence, else the class of all errors of its service.
pub fn shown_code(code: Option<String>, service: Option<&str>) -> Option<String> {
    let code = code?;
    if is_code(&code) {
        return Some(code);
    }
    let service = service.filter(|service| is_code(service));
    Some(service.map_or_else(|| "error".to_owned(), |service| format!("{service}_error")))
}

/// Whether a text can only be a name that a program gave. What somebody said has a space in it, or more.
pub fn is_code(text: &str) -> bool {
    let may_be = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    (1..=CODE_MAX).contains(&text.len()) && text.chars().all(may_be)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_is_a_failure() {
        let tool = |fields: Value| {
            let fact = Fact {
                source: Source::Event,
                kind: Kind::ToolCall,
                id: "t".to_owned(),
                at: DateTime::UNIX_EPOCH,
                hash: 0,
                fields: fields.as_object().cloned().unwrap().into(),
            };
            ToolCall::derive("t", &[&fact]).failed()
        };
        assert!(tool(serde_json::json!({"error": "timeout"})));
        assert!(tool(serde_json::json!({"error": true})));
        assert!(!tool(serde_json::json!({"error": false, "result": 1})));
        assert!(!tool(
            serde_json::json!({"failed": true, "error_withheld": true})
        ));
    }

    #[test]
    fn a_failed_tool_is_an_error_of_its_session() {
        let told = |call: Value| error_of_tool(call.as_object().unwrap());
        let error = told(json!({"name": "find", "error": {"status": 500}})).unwrap();
        assert_eq!(
            Value::Object(error),
            json!({"service": "tool", "level": "error", "code": "tool_error", "message": "{\"status\":500}",
                   "details": {"tool": "find"}})
        );
        let long = told(json!({"error": "é".repeat(10_001)})).unwrap();
        assert_eq!(long["message"], "é".repeat(10_000));
        assert_eq!(told(json!({"error": false, "result": 1})), None);
        assert_eq!(told(json!({"result": 1})), None);
    }

    #[test]
    fn parallel_tools_count_once() {
        assert_eq!(
            covered_ms([(0, 100), (50, 150), (300, 400), (310, 320)]),
            250.0
        );
        assert_eq!(covered_ms([(0.5, 1.0), (0.75, 0.5), (2.0, 2.25)]), 0.75);
        assert_eq!(covered_ms::<i32>([]), 0.0);
    }
}
