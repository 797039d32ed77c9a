//! The calls of a text, each still raw: one a line, or the elements of a JSON list, or one document over
//! many lines. Holds one call at a time, however long the text is.

use std::io;
use std::io::{BufRead, Cursor, Read};

/// As much as one call may have.
const CALL_MAX_BYTES: usize = 10 << 20;
/// So much of the first line tells how calls are laid out.
const LOOKED_AT_BYTES: u64 = 64 << 10;

/// One call of the text.
pub struct Piece {
    /// Counting pieces from 1.
    pub number: u64,
    /// The line it begins on, counting from 1.
    pub line: u64,
    /// The raw call, or why it cannot be one.
    pub call: Result<Vec<u8>, String>,
}

pub struct Pieces<R> {
    text: io::Chain<Cursor<Vec<u8>>, R>,
    is_document: bool,
    /// Whether a list has begun and not ended.
    in_list: bool,
    line: u64,
    number: u64,
}

impl<R: BufRead> Pieces<R> {
    /// A list begins with its bracket, a document over many lines with a brace alone on its line.
    pub fn of(mut text: R) -> io::Result<Self> {
        let mut first = Vec::new();
        while first.trim_ascii().is_empty() {
            let mut looked_at = text.by_ref().take(LOOKED_AT_BYTES);
            if looked_at.read_until(b'\n', &mut first)? == 0 {
                break;
            }
        }
        let start = first.trim_ascii();
        let is_document = start.starts_with(b"[") || start == b"{";
        Ok(Self {
            text: Cursor::new(first).chain(text),
            is_document,
            in_list: false,
            line: 1,
            number: 0,
        })
    }

    /// The next call; none at the end.
    pub fn next(&mut self) -> io::Result<Option<Piece>> {
        if self.is_document {
            self.next_value()
        } else {
            self.next_line()
        }
    }

    fn piece(&mut self, line: u64, call: Result<Vec<u8>, String>) -> Piece {
        self.number += 1;
        Piece {
            number: self.number,
            line,
            call,
        }
    }

    fn next_line(&mut self) -> io::Result<Option<Piece>> {
        loop {
            let mut gathered = Gathered::default();
            let mut byte_count = 0;
            loop {
                let bytes = self.text.fill_buf()?;
                let end = bytes.iter().position(|byte| *byte == b'\n');
                let taken = end.map_or(bytes.len(), |end| end + 1);
                gathered.extend(&bytes[..taken]);
                self.text.consume(taken);
                byte_count += taken;
                if end.is_some() || taken == 0 {
                    break;
                }
            }
            if byte_count == 0 {
                return Ok(None);
            }
            self.line += 1;
            if !gathered.bytes.trim_ascii().is_empty() {
                return Ok(Some(self.piece(self.line - 1, gathered.whole())));
            }
        }
    }

    fn next_value(&mut self) -> io::Result<Option<Piece>> {
        let mut value = Value::default();
        let mut begun_on = None;
        while let Some(byte) = self.text.fill_buf()?.first().copied() {
            if begun_on.is_none() && !self.begins_value(byte) {
                self.consume(byte);
                continue;
            }
            if begun_on.is_some() && value.ends_before(byte) {
                break;
            }
            begun_on.get_or_insert(self.line);
            self.consume(byte);
            if value.ends_with(byte) {
                break;
            }
        }
        match begun_on {
            Some(line) => Ok(Some(self.piece(line, value.gathered.whole()))),
            None if self.in_list => {
                self.in_list = false;
                let reason = "the list does not end: the file is cut off".to_owned();
                Ok(Some(self.piece(self.line, Err(reason))))
            }
            None => Ok(None),
        }
    }

    /// Between values there are the list's own brackets, commas and space.
    fn begins_value(&mut self, byte: u8) -> bool {
        match byte {
            b'[' if !self.in_list => self.in_list = true,
            b']' if self.in_list => self.in_list = false,
            b',' => {}
            byte if byte.is_ascii_whitespace() => {}
            _ => return true,
        }
        false
    }

    fn consume(&mut self, byte: u8) {
        self.text.consume(1);
        self.line += u64::from(byte == b'\n');
    }
}

/// A JSON value as far as it has been seen.
#[derive(Default)]
struct Value {
    gathered: Gathered,
    depth: usize,
    in_text: bool,
    is_escaped: bool,
}

impl Value {
    /// A number or word ends where what follows it begins.
    fn ends_before(&self, byte: u8) -> bool {
        self.depth == 0
            && !self.in_text
            && (byte.is_ascii_whitespace() || matches!(byte, b',' | b']'))
    }

    fn ends_with(&mut self, byte: u8) -> bool {
        self.gathered.extend(&[byte]);
        if self.in_text {
            let ends = byte == b'"' && !self.is_escaped;
            self.is_escaped = byte == b'\\' && !self.is_escaped;
            self.in_text = !ends;
            return ends && self.depth == 0;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

/// Bytes of one call, kept only while they may be one.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl Gathered {
    fn extend(&mut self, more: &[u8]) {
        if self.bytes.len() + more.len() > CALL_MAX_BYTES {
            self.is_too_long = true;
        }
        if !self.is_too_long {
            self.bytes.extend_from_slice(more);
        }
    }

    fn whole(self) -> Result<Vec<u8>, String> {
        if self.is_too_long {
            return Err(format!("must have at most {CALL_MAX_BYTES} bytes"));
        }
        Ok(self.bytes.trim_ascii().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &[u8]) -> Vec<(u64, Result<String, String>)> {
        let mut pieces = Pieces::of(text).unwrap();
        let mut found = Vec::new();
        while let Some(piece) = pieces.next().unwrap() {
            assert_eq!(piece.number, found.len() as u64 + 1);
            let call = piece.call.map(|bytes| String::from_utf8(bytes).unwrap());
            found.push((piece.line, call));
        }
        found
    }

    fn whole(line: u64, text: &str) -> (u64, Result<String, String>) {
        (line, Ok(text.to_owned()))
    }

    #[test]
    fn lines_are_calls_and_empty_ones_are_none() {
        let text = b"\n{\"a\": 1}\r\n\n{\"b\": \n{\"c\": 3}";
        let expected = [
            whole(2, r#"{"a": 1}"#),
            whole(4, r#"{"b":"#),
            whole(5, r#"{"c": 3}"#),
        ];
        assert_eq!(pieces(text), expected);
        assert_eq!(pieces(b" \n\n"), []);
    }

    #[test]
    fn a_list_is_told_apart_whatever_its_layout() {
        let text = b"[{\"a\": \"]}\\\"\"}, {\n \"b\": [1,\n2]},7 ,\n\"x]\"\n]\n";
        let expected = [
            whole(1, r#"{"a": "]}\""}"#),
            whole(1, "{\n \"b\": [1,\n2]}"),
            whole(3, "7"),
            whole(4, r#""x]""#),
        ];
        assert_eq!(pieces(text), expected);
        assert_eq!(pieces(b"[]"), []);
        assert_eq!(
            pieces(b"{\n \"a\": {}\n}\n"),
            [whole(1, "{\n \"a\": {}\n}")]
        );
    }

    #[test]
    fn a_list_that_is_cut_off_is_noticed() {
        let found = pieces(b"[{\"a\": 1},\n");
        assert_eq!(found.len(), 2);
        assert!(found[1].1.as_ref().is_err_and(|e| e.contains("cut off")));
    }

    #[test]
    fn what_is_too_long_is_skipped_without_being_held() {
        let long = format!("{{\"a\": \"{}\"}}", "x".repeat(CALL_MAX_BYTES));
        let lines = pieces(format!("{long}\n{{}}\n").as_bytes());
        assert!(lines[0].1.is_err());
        assert_eq!(lines[1], whole(2, "{}"));
        let list = pieces(format!("[{long}, {{}}]").as_bytes());
        assert!(list[0].1.is_err());
        assert_eq!(list[1], whole(1, "{}"));
    }
}
