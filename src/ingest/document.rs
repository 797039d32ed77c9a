//! Documents that vendors write, as far as they can be kept here. What one text in them holds must not cost a whole
//! call: nobody sends it again otherwise.

use serde_json::{Map, Value};

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

/// Stands for half a character, as everywhere.
const REPLACEMENT: &[u8] = b"\\ufffd";
/// `\u` and four digits.
const ESCAPE: usize = 6;

/// A document that is JSON, without NUL, which Postgres takes in no text. A text that was cut in the middle of a
/// character holds half of it, which JSON can write and no string of ours can hold.
pub fn parse(bytes: &[u8]) -> serde_json::Result<Value> {
    let read = serde_json::from_slice(bytes).or_else(|error| match with_whole_characters(bytes) {
        Some(mended) => serde_json::from_slice(&mended),
        None => Err(error),
    });
    let mut document = read?;
    // Written out NUL is an escape; as itself it is no JSON.
    if find(bytes, b"\\u0000").is_some() {
        without_nul(&mut document);
    }
    Ok(document)
}

/// The same with halves of characters replaced; none where there are none.
fn with_whole_characters(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut mended = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let (before, escape) = rest.split_at(at);
        mended.extend_from_slice(before);
        // A backslash stands before what it escapes, which may be a backslash.
        let length = match (unit(escape), escape.get(ESCAPE..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 2 * ESCAPE,
            (Some(0xd800..=0xdfff), _) => {
                mended.extend_from_slice(REPLACEMENT);
                rest = &escape[ESCAPE..];
                continue;
            }
            _ => escape.len().min(2),
        };
        mended.extend_from_slice(&escape[..length]);
        rest = &escape[length..];
    }
    mended.extend_from_slice(rest);
    (mended != bytes).then_some(mended)
}

/// The unit of UTF-16 that an escape at the beginning writes.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
    u16::from_str_radix(digits, 16).ok()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn without_nul(value: &mut Value) {
    match value {
        Value::String(text) => text.retain(|c| c != '\0'),
        Value::Array(items) => items.iter_mut().for_each(without_nul),
        Value::Object(members) => {
            members.values_mut().for_each(without_nul);
            if members.keys().any(|name| name.contains('\0')) {
                let renamed = std::mem::take(members).into_iter();
                *members =
                    Map::from_iter(renamed.map(|(name, value)| (name.replace('\0', ""), value)));
            }
        }
        _ => {}
    }
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
    fn half_a_character_costs_nothing_but_itself() {
        for (written, read) in [
            (r#"["Hi \ud83d"]"#, json!(["Hi \u{fffd}"])),
            (
                r#"["\ude00 and \ud83d\ud83d\ude00"]"#,
                json!(["\u{fffd} and \u{fffd}😀"]),
            ),
            (
                r#"{"\uD83Dx": "\ud83d\n"}"#,
                json!({"\u{fffd}x": "\u{fffd}\n"}),
            ),
            // A backslash, and no escape behind it.
            (r#"["\\ud83d \ud83d"]"#, json!(["\\ud83d \u{fffd}"])),
            (r#"["\ud83d\\udc00"]"#, json!(["\u{fffd}\\udc00"])),
        ] {
            assert_eq!(parse(written.as_bytes()).ok(), Some(read), "{written}");
        }
        for broken in [r#"["\ud83"]"#, r#"["\ud83d"#, r#"\"#, r#"["\u+d83"]"#, ""] {
            assert!(parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn what_postgres_cannot_keep_is_left_out_of_texts_and_names() {
        let read = parse(br#"{"a\u0000b": ["x\u0000", {"\u0000": 1}]}"#);
        assert_eq!(read.ok(), Some(json!({"ab": ["x", {"": 1}]})));
    }
}
