//! A body's items, each still raw, so that one that is broken spoils no other.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::Fault;
use crate::domain::event;
use crate::ingest::document::refuse_heavier;
use crate::problem::Kind;
use crate::problem::Problem;

/// Items that one request may hold.
pub const ITEMS_MAX: usize = 5_000;

/// Values in memory are many times as large as in a body: so much is more than a body of whole calls amounts to.
pub const HEAVY_BYTES: usize = 384 << 20;

const NDJSON: [&str; 5] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/json-lines",
];

/// The raw items of a body: a list under `name`, a bare list, or one item alone; in NDJSON a line each.
pub fn split<'a>(
    headers: &HeaderMap,
    bytes: &'a [u8],
    name: &str,
) -> Result<Vec<&'a [u8]>, Problem> {
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = declared
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    // Some editors put a byte order mark before the text.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if NDJSON.contains(&essence.as_str()) {
        return Ok(lines(bytes));
    }
    if essence != "application/json" {
        return Err(Problem::new(
            &Kind::UNSUPPORTED_MEDIA_TYPE,
            "`Content-Type` must be `application/json` or `application/x-ndjson`",
        ));
    }
    refuse_heavier(bytes, HEAVY_BYTES)?;
    let text =
        std::str::from_utf8(bytes).map_err(|error| malformed(format!("must be UTF-8: {error}")))?;
    let whole: &RawValue =
        serde_json::from_str(text).map_err(|error| malformed(format!("must be JSON: {error}")))?;
    let whole = whole.get();
    if whole.starts_with('[') {
        return list(whole);
    }
    let members: Option<std::collections::BTreeMap<String, &RawValue>> =
        serde_json::from_str(whole).ok();
    match members.as_ref().and_then(|members| members.get(name)) {
        Some(items) if items.get().starts_with('[') => list(items.get()),
        Some(_) => Err(unfit(name, "must be a list")),
        None if members.is_some() => Ok(vec![whole.as_bytes()]),
        None => Err(unfit(
            "body",
            &format!("must be an object with a list `{name}`"),
        )),
    }
}

/// Non-empty lines.
pub fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .collect()
}

pub fn refuse_more_than(count: usize, max: usize) -> Result<(), Problem> {
    if count > max {
        let detail =
            format!("a request may hold at most {max} items, this one has {count}: split it");
        return Err(Problem::new(&Kind::TOO_LARGE, detail));
    }
    Ok(())
}

/// One raw item, or what is wrong with it.
pub fn parse(raw: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(raw)
        .map(event::normalised)
        .map_err(|error| Fault::body("", format!("must be JSON: {error}")))
}

fn list(text: &str) -> Result<Vec<&[u8]>, Problem> {
    let items: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|error| malformed(format!("must be JSON: {error}")))?;
    Ok(items
        .into_iter()
        .map(|item| item.get().as_bytes())
        .collect())
}

fn malformed(message: String) -> Problem {
    Problem::new(&Kind::INVALID_REQUEST, "the body is malformed")
        .with_faults(vec![Fault::body("body", message)])
}

fn unfit(name: &str, message: &str) -> Problem {
    Problem::new(&Kind::INVALID_CONTENT, "the body is not valid")
        .with_faults(vec![Fault::body(name, message)])
}
