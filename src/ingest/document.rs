//! Documents that vendors write, as far as they can be kept here. What one text in them holds must not cost a whole
//! call: nobody sends it again otherwise.

use serde_json::Value;

use crate::domain::json;
use crate::problem::{Kind, Problem};

/// About so many bytes one object and one value take in memory, whatever they take as a text.
const OBJECT_BYTES: usize = 700;
const VALUE_BYTES: usize = 40;
/// Smaller documents are never too heavy.
const LIGHT_BYTES: usize = 128 << 10;

/// Refuses a document that would take more memory than this once it is read: a small text may be a large tree.
pub fn refuse_heavier(bytes: &[u8], max: usize) -> Result<(), Problem> {
    if bytes.len() <= LIGHT_BYTES || weight(bytes) <= max {
        return Ok(());
    }
    let detail = "the body holds too many values: split it";
    Err(Problem::new(&Kind::TOO_LARGE, detail))
}

/// About how much memory a document takes, without its texts.
fn weight(bytes: &[u8]) -> usize {
    let (mut objects, mut values) = (0, 0);
    let (mut is_in_text, mut is_escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_in_text,
            b'"' => is_in_text = !is_in_text,
            _ if is_in_text => {}
            b'{' => objects += 1,
            b',' | b'[' => values += 1,
            _ => {}
        }
    }
    objects * OBJECT_BYTES + values * VALUE_BYTES
}

/// A document that is JSON, without NUL, which Postgres takes in no text.
pub fn parse(bytes: &[u8]) -> serde_json::Result<Value> {
    let mut document = json::parse(bytes)?;
    // Written out NUL is an escape; as itself it is no JSON.
    if find(bytes, b"\\u0000").is_some() {
        json::replace_nul(&mut document, "");
    }
    Ok(document)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_small_text_may_be_a_large_tree() {
        assert_eq!(weight(br#"{"a": "{{,\"{", "b": [1, 2]}"#), 700 + 3 * 40);
        let objects = format!("[{}1]", r#"{"a":0},"#.repeat(20_000));
        assert!(refuse_heavier(objects.as_bytes(), 1 << 20).is_err());
        assert!(refuse_heavier(objects.as_bytes(), 16 << 20).is_ok());
        let text = format!("[\"{}\"]", "{,".repeat(100_000));
        assert!(refuse_heavier(text.as_bytes(), 1 << 20).is_ok());
    }

    #[test]
    fn what_postgres_cannot_keep_is_left_out_of_texts_and_names() {
        let read = parse(br#"{"a\u0000b": ["x\u0000", {"\u0000": 1}]}"#);
        assert_eq!(read.ok(), Some(json!({"ab": ["x", {"": 1}]})));
    }
}
