//! Values as Python writes them (`repr`): what LiveKit's SDK gives for a tool's answer, and how its errors
//! begin.

use serde_json::{Map, Number, Value};

use crate::domain::json;

/// Values are not taken apart deeper than this.
const DEPTH_MAX: usize = 32;

/// What a text holds: JSON or Python's `repr` of a list, tuple or dictionary, else the text itself. Node.js quotes it.
pub fn value(text: &str) -> Value {
    if text.starts_with('"')
        && let Some(Value::String(quoted)) = json::unpacked(text)
    {
        return value(&quoted);
    }
    if !text.trim_start().starts_with(['{', '[', '(']) {
        return Value::from(text);
    }
    if let Some(value) = json::unpacked(text) {
        return value;
    }
    let mut reader = Reader { rest: text.trim() };
    match reader.value(0) {
        Some(value) if reader.rest.is_empty() => value,
        _ => Value::from(text),
    }
}

/// What an error of the SDK says: of `message='…', status_code=429, …` only the message.
pub fn message(text: &str) -> String {
    first(text, "message=").unwrap_or_else(|| text.to_owned())
}

/// What a tool answered, of a message with that as Python prints it: of `content='…' tool_call_id='…'` only the content.
pub fn content(text: &str) -> Option<String> {
    first(text, "content=").filter(|_| text.contains(" tool_call_id='"))
}

/// The text that stands first, behind this name.
fn first(text: &str, name: &str) -> Option<String> {
    Reader {
        rest: text.strip_prefix(name)?,
    }
    .text()
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.skip_space();
        match self.rest.chars().next()? {
            '{' => self.dictionary(depth),
            '[' => self.items('[', ']', depth),
            '(' => self.items('(', ')', depth),
            '\'' | '"' => self.text().map(Value::from),
            _ => self.word(),
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes this sign if it comes next.
    fn take(&mut self, sign: char) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn items(&mut self, open: char, close: char, depth: usize) -> Option<Value> {
        self.take(open);
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.value(depth + 1)?);
            if !self.take(',') && !self.rest.starts_with(close) {
                return None;
            }
        }
        Some(items.into())
    }

    fn dictionary(&mut self, depth: usize) -> Option<Value> {
        self.take('{');
        let mut members = Map::new();
        while !self.take('}') {
            let name = match self.value(depth + 1)? {
                Value::String(name) => name,
                other => other.to_string(),
            };
            if !self.take(':') {
                return None;
            }
            members.insert(name, self.value(depth + 1)?);
            if !self.take(',') && !self.rest.starts_with('}') {
                return None;
            }
        }
        Some(members.into())
    }

    fn word(&mut self) -> Option<Value> {
        let end = self.rest.find([',', ']', '}', ')', ':']);
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match word.trim() {
            "None" | "null" => Some(Value::Null),
            "True" | "true" => Some(Value::Bool(true)),
            "False" | "false" => Some(Value::Bool(false)),
            word => match word.parse::<i64>() {
                Ok(number) => Some(number.into()),
                Err(_) => word
                    .parse()
                    .ok()
                    .and_then(Number::from_f64)
                    .map(Value::Number),
            },
        }
    }

    /// A quoted text with its escapes.
    fn text(&mut self) -> Option<String> {
        let mut signs = self.rest.char_indices();
        let (_, quote) = signs
            .next()
            .filter(|(_, sign)| ['\'', '"'].contains(sign))?;
        let mut text = String::new();
        while let Some((at, sign)) = signs.next() {
            match sign {
                '\\' => {
                    let (_, escaped) = signs.next()?;
                    let mut code = |digits: usize| {
                        let hex: Option<String> =
                            (0..digits).map(|_| Some(signs.next()?.1)).collect();
                        char::from_u32(u32::from_str_radix(&hex?, 16).ok()?)
                    };
                    text.push(match escaped {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        'x' => code(2)?,
                        'u' => code(4)?,
                        'U' => code(8)?,
                        other => other,
                    });
                }
                sign if sign == quote => {
                    self.rest = self.rest.get(at + sign.len_utf8()..)?;
                    return Some(text);
                }
                sign => text.push(sign),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_python_writes_is_read() {
        let read = [
            (
                "{'status': 'shipped', 'eta': None, 'paid': True}",
                json!({"status": "shipped", "eta": null, "paid": true}),
            ),
            (
                "[1, 2.5, -3, ('a', \"it's\")]",
                json!([1, 2.5, -3, ["a", "it's"]]),
            ),
            ("{1: {'a\\n\\x41': []}}", json!({"1": {"a\nA": []}})),
            (r#"{"a": true}"#, json!({"a": true})),
            ("('x',)", json!(["x"])),
            ("delivered", json!("delivered")),
            ("5", json!("5")),
            (r#""shipped \"today\"""#, json!("shipped \"today\"")),
            ("\"half of it", json!("\"half of it")),
        ];
        for (text, expected) in read {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_value_stays_a_text() {
        let deep = "[".repeat(10_000);
        for text in [
            "{'a': <object at 0x1>}",
            "{'a'",
            "[1,,2]",
            "(open",
            "[1] and more",
            "{'a': '\\u12'}",
            &deep,
        ] {
            assert_eq!(value(text), Value::from(text), "{text:.40}");
        }
    }

    #[test]
    fn an_error_s_message_is_taken_out() {
        assert_eq!(
            message("message='Error code: 429 - Rate limit', status_code=429"),
            "Error code: 429 - Rate limit"
        );
        assert_eq!(message("boom"), "boom");
        assert_eq!(message("message=broken"), "message=broken");
    }
}
