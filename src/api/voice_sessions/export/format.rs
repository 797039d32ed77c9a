//! What an export is written in.

use super::body::Layout;
use crate::api::voice_sessions::body::VoiceSession;
use crate::domain::record::Record;
use crate::domain::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The list's items, one a line.
    Jsonl,
    /// What fits into one row: no transcript.
    Csv,
}

/// The columns of CSV, as the header row names them.
pub const COLUMNS: [&str; 21] = [
    "id",
    "status",
    "reviewed",
    "agent_key",
    "started_at",
    "ended_at",
    "duration_seconds",
    "turns",
    "function_calls",
    "evaluations",
    "cost_usd",
    "summary",
    "tags",
    "call_sid",
    "stream_id",
    "stt_model",
    "llm_model",
    "tts_model",
    "voice",
    "metadata",
    "content_withheld",
];

/// Between the tags of a session.
const TAG_SEPARATOR: &str = "; ";

impl Format {
    pub const ALL: [Self; 2] = [Self::Jsonl, Self::Csv];

    /// As the parameter spells it, and the name of a file ends.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jsonl => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

impl Layout for Format {
    fn head(&mut self) -> Result<Vec<u8>> {
        match self {
            Self::Jsonl => Ok(Vec::new()),
            Self::Csv => rows(std::iter::once(COLUMNS.map(str::to_owned))),
        }
    }

    fn lines(&mut self, records: Vec<Record>) -> Result<Vec<u8>> {
        let sessions = records.into_iter().map(VoiceSession::from);
        match self {
            Self::Jsonl => {
                let mut lines = Vec::new();
                for session in sessions {
                    serde_json::to_writer(&mut lines, &session).map_err(unwritable)?;
                    lines.push(b'\n');
                }
                Ok(lines)
            }
            Self::Csv => rows(sessions.map(cells)),
        }
    }
}

fn rows<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).map_err(unwritable)?;
    }
    writer.into_inner().map_err(unwritable)
}

fn unwritable(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("a session cannot be written: {error}"))
}

/// In the order of [`COLUMNS`]. What is not known is empty.
fn cells(session: VoiceSession) -> [String; COLUMNS.len()] {
    let json = |value: serde_json::Value| match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    let number = |value: Option<f64>| value.map(|n| n.to_string()).unwrap_or_default();
    [
        session.id,
        session.status.to_owned(),
        session.reviewed.to_string(),
        harmless(session.agent_key.unwrap_or_default()),
        session.started_at,
        session.ended_at.unwrap_or_default(),
        number(session.duration_seconds),
        session.transcript.len().to_string(),
        session.function_calls.len().to_string(),
        session.evaluations.len().to_string(),
        number(session.cost_usd),
        harmless(session.summary.unwrap_or_default()),
        harmless(joined(&session.tags)),
        harmless(session.call_sid.unwrap_or_default()),
        harmless(session.stream_id.unwrap_or_default()),
        harmless(json(session.model.stt)),
        harmless(json(session.model.llm)),
        harmless(json(session.model.tts)),
        harmless(session.voice.unwrap_or_default()),
        harmless(json(session.metadata)),
        session.content_withheld.to_string(),
    ]
}

/// All tags in a cell. A semicolon in a tag has a backslash before it, and so has a backslash: what is split at
/// semicolons without one is the tags again.
fn joined(tags: &[String]) -> String {
    let escaped = tags
        .iter()
        .map(|tag| tag.replace('\\', r"\\").replace(';', r"\;"));
    escaped.collect::<Vec<_>>().join(TAG_SEPARATOR)
}

/// Spreadsheets take a text that begins so for a formula; an apostrophe makes it a text again.
fn harmless(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula() {
        for text in ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx"] {
            assert_eq!(harmless(text.to_owned()), format!("'{text}"));
        }
        assert_eq!(harmless("a=b".to_owned()), "a=b");
    }

    #[test]
    fn tags_are_told_apart() {
        for (tags, cell) in [
            (vec![], ""),
            (vec!["a", "b c"], "a; b c"),
            (vec!["a; b", "c;d"], r"a\; b; c\;d"),
            (vec![r"a\", r"\;b"], r"a\\; \\\;b"),
        ] {
            let tags: Vec<String> = tags.into_iter().map(str::to_owned).collect();
            assert_eq!(joined(&tags), cell, "{tags:?}");
        }
    }

    #[test]
    fn the_header_is_a_row_of_its_own() {
        let head = Format::Csv.head().expect("a row");
        assert_eq!(head, format!("{}\r\n", COLUMNS.join(",")).into_bytes());
        assert!(Format::Jsonl.head().expect("nothing").is_empty());
    }
}
