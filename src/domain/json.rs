//! JSON as others write it, in bodies and in texts.

use serde_json::Value;

/// Stands for what is no character.
const REPLACEMENT: &str = "\u{fffd}";
/// The same, as an escape.
const REPLACEMENT_ESCAPE: &[u8] = b"\\ufffd";
/// `\u` and four digits.
const ESCAPE: usize = 6;

/// A value that is JSON, but for what is mended.
pub fn parse(bytes: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(bytes).or_else(|error| match mended(bytes) {
        Some(mended) => serde_json::from_slice(&mended),
        None => Err(error),
    })
}

/// The same without what others write and no value of ours can hold, which costs nothing but itself; none where there is
/// nothing of it. A text that was cut in the middle of a character holds half of it. A number may be none, or without an end.
pub fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let whole = with_whole_characters(bytes);
    let finite = with_finite_numbers(whole.as_deref().unwrap_or(bytes));
    finite.or(whole)
}

/// JSON that a source wrote into a text, without NUL; none where the text is something else.
pub fn unpacked(text: &str) -> Option<Value> {
    let mut value = parse(text.as_bytes()).ok()?;
    // Written out NUL is an escape; as itself it is no JSON.
    if text.contains("\\u0000") {
        replace_nul(&mut value, REPLACEMENT);
    }
    Some(value)
}

/// A value without NUL, which no column takes: it becomes what stands for a character that cannot be.
pub fn without_nul(mut value: Value) -> Value {
    replace_nul(&mut value, REPLACEMENT);
    value
}

/// Has something else stand for NUL in all texts and names.
pub fn replace_nul(value: &mut Value, by: &str) {
    let has_nul = |text: &String| text.contains('\0');
    match value {
        Value::String(text) if has_nul(text) => *text = text.replace('\0', by),
        Value::Array(items) => items.iter_mut().for_each(|item| replace_nul(item, by)),
        Value::Object(members) => {
            members
                .values_mut()
                .for_each(|member| replace_nul(member, by));
            if members.keys().any(has_nul) {
                let renamed = std::mem::take(members).into_iter();
                *members = renamed
                    .map(|(name, value)| (name.replace('\0', by), value))
                    .collect();
            }
        }
        _ => {}
    }
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
                mended.extend_from_slice(REPLACEMENT_ESCAPE);
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

/// The same with null for numbers that are not finite; none where all are.
fn with_finite_numbers(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut mended = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let length = match first {
            b'"' => text_length(rest),
            _ if is_word(first) => rest.iter().take_while(|byte| is_word(byte)).count(),
            _ => 1,
        };
        let (piece, behind) = rest.split_at(length);
        mended.extend_from_slice(if is_endless(piece) { b"null" } else { piece });
        rest = behind;
    }
    (mended != bytes).then_some(mended)
}

/// Whether a number or a name is made of it.
fn is_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(byte)
}

/// Whether this is a number that is none or has no end, by the names that JavaScript and Python have for it, or one that is
/// too large.
fn is_endless(word: &[u8]) -> bool {
    if [&b"NaN"[..], b"Infinity", b"-Infinity"].contains(&word) {
        return true;
    }
    let number = std::str::from_utf8(word).ok().filter(|word| {
        let digits = word.strip_prefix('-').unwrap_or(word);
        digits.starts_with(|c: char| c.is_ascii_digit())
    });
    number.is_some_and(|number| number.parse().is_ok_and(f64::is_infinite))
}

/// How long the text is that begins here, with its quotes.
fn text_length(bytes: &[u8]) -> usize {
    let mut is_escaped = false;
    let is_end = |byte: &u8| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    };
    let inner = bytes.iter().skip(1).position(is_end);
    inner.map_or(bytes.len(), |inner| inner + 2)
}

/// The unit of UTF-16 that an escape at the beginning writes.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
    fn a_number_that_is_none_costs_nothing_but_itself() {
        for (written, read) in [
            (r#"{"a": NaN, "b": 1}"#, json!({"a": null, "b": 1})),
            ("[Infinity,-Infinity]", json!([null, null])),
            (
                r#"[1e400, -1E999, 1e4, "1e400"]"#,
                json!([null, null, 1e4, "1e400"]),
            ),
            (
                r#"{"NaN": "NaN, \"Infinity", "\\": NaN}"#,
                json!({"NaN": "NaN, \"Infinity", "\\": null}),
            ),
            (r#"["\ud83d", NaN]"#, json!(["\u{fffd}", null])),
        ] {
            assert_eq!(parse(written.as_bytes()).ok(), Some(read), "{written}");
        }
        for broken in [
            "[nan]",
            "[inf]",
            "[+Infinity]",
            "[NaNs]",
            r#"["NaN]"#,
            "[NaN",
        ] {
            assert!(parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn what_is_written_into_a_text_is_kept_but_for_what_cannot_be() {
        assert_eq!(
            unpacked(r#"{"a\u0000": ["x\u0000y", "\ud83d", {"b": 1}]}"#),
            Some(json!({"a\u{fffd}": ["x\u{fffd}y", "\u{fffd}", {"b": 1}]}))
        );
        assert_eq!(unpacked("no JSON"), None);
    }
}
