//! Between domain values and columns: arrays for UNNEST, JSON objects, and complaints about values
//! that make no sense.

use serde_json::{Map, Value};

use crate::domain::Error;
use crate::domain::Result;

/// One column of many rows, as UNNEST takes it.
pub fn column<R, T>(rows: &[R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// A JSON object kept as text.
pub fn object(place: &'static str, text: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|_| unreadable(place, text.len()))
}

/// JSON of any kind kept as text.
pub fn json(place: &'static str, text: Option<String>) -> Result<Option<Value>> {
    text.map(|text| serde_json::from_str(&text).map_err(|_| unreadable(place, text.len())))
        .transpose()
}

pub fn to_text(value: &impl serde::Serialize) -> String {
    // Maps with text keys always serialise.
    serde_json::to_string(value).unwrap_or_default()
}

/// A stored value makes no sense: say which.
pub fn unreadable(place: &str, value: impl std::fmt::Display) -> Error {
    Error::Internal(format!("unreadable value in {place}: `{value}`"))
}
