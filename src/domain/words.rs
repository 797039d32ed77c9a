//! The words of a text, by which it is looked for: the same whatever the locale of the database, which takes
//! quotes and dashes beyond ASCII for letters in one and for gaps in another.

use std::ops::RangeInclusive;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Words of a text are looked for up to so many bytes. No script needs as many for the longest text that is
/// taken in; a few ligatures, which stand for whole sentences, would make more of it than Postgres can index.
const WORDS_MAX_BYTES: usize = 500_000;

/// Scripts that leave no gap between words: each character is looked for by itself, and several of them as a
/// phrase.
const WITHOUT_GAPS: [RangeInclusive<char>; 16] = [
    // Thai, Lao, Myanmar, Khmer.
    '\u{0E00}'..='\u{0EFF}',
    '\u{1000}'..='\u{109F}',
    '\u{1780}'..='\u{17FF}',
    '\u{A9E0}'..='\u{A9FF}',
    '\u{AA60}'..='\u{AA7F}',
    // Han, with its radicals, iteration mark, zero and numerals.
    '\u{2E80}'..='\u{2FDF}',
    '\u{3005}'..='\u{3007}',
    '\u{3021}'..='\u{3029}',
    '\u{3038}'..='\u{303B}',
    '\u{3400}'..='\u{4DBF}',
    '\u{4E00}'..='\u{9FFF}',
    '\u{F900}'..='\u{FAFF}',
    '\u{20000}'..='\u{3FFFF}',
    // Hiragana and Katakana.
    '\u{3041}'..='\u{30FF}',
    '\u{31F0}'..='\u{31FF}',
    '\u{1AFF0}'..='\u{1B16F}',
];

/// Characters that are not seen: where a line may break, how others are joined or drawn, which way they run.
const UNSEEN: [RangeInclusive<char>; 10] = [
    '\u{00AD}'..='\u{00AD}',
    '\u{034F}'..='\u{034F}',
    '\u{061C}'..='\u{061C}',
    '\u{180B}'..='\u{180F}',
    '\u{200C}'..='\u{200F}',
    '\u{202A}'..='\u{202E}',
    '\u{2060}'..='\u{2069}',
    '\u{FE00}'..='\u{FE0F}',
    '\u{FEFF}'..='\u{FEFF}',
    '\u{E0100}'..='\u{E01EF}',
];

/// The words of a text that are to be kept beside it; none where Postgres reads the same words from the text
/// itself, in any locale.
pub fn beside(text: &str) -> Option<String> {
    (!is_plain(text)).then(|| of(text))
}

/// The words of a text in lower case, in their order, with a space between two.
pub fn of(text: &str) -> String {
    let seen = text.chars().filter(|c| !is_in(&UNSEEN, *c));
    let mut words = String::with_capacity(text.len());
    // Whether a letter goes on with the word before it, and whether a mark does.
    let (mut in_word, mut may_mark) = (false, false);
    for c in seen.nfkc().flat_map(lower).nfkc() {
        if is_combining_mark(c) {
            if may_mark {
                words.push(c);
            }
            continue;
        }
        may_mark = is_of_word(c);
        if !may_mark {
            in_word = false;
            continue;
        }
        let is_alone = is_in(&WITHOUT_GAPS, c);
        if !words.is_empty() && (is_alone || !in_word) {
            if words.len() >= WORDS_MAX_BYTES {
                break;
            }
            words.push(' ');
        }
        in_word = !is_alone;
        words.push(c);
    }
    words
}

fn lower(c: char) -> impl Iterator<Item = char> {
    let plain = match c {
        // Else the dot that every `i` has stays as a mark of its own.
        'İ' => 'I',
        // The one letter that is written otherwise at a word's end.
        'ς' => 'σ',
        other => other,
    };
    plain.to_lowercase()
}

fn is_in(ranges: &[RangeInclusive<char>], c: char) -> bool {
    c > '\u{7F}' && ranges.iter().any(|range| range.contains(&c))
}

/// Letters and digits. Two letters that look like apostrophes are typed as these, too.
fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() && !matches!(c, '\u{02BB}' | '\u{02BC}')
}

/// Whether Postgres' own parser finds no other words in a text than [`of`] does: letters, digits and marks that
/// it never takes for a part of an address, a path, a tag or a number.
fn is_plain(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        let is_plain = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'\t' | b'\n' | b'\r' => true,
            b',' | b'?' | b'!' | b';' | b'\'' | b'"' | b'(' | b')' => true,
            b':' => ends(rest),
            b'.' => {
                // Two full stops are a folder's parent.
                rest = behind.strip_prefix(b"..").unwrap_or(behind);
                ends(rest)
            }
            _ => false,
        };
        if !is_plain {
            return false;
        }
    }
    true
}

/// Whether nothing goes on behind a full stop or a colon.
fn ends(rest: &[u8]) -> bool {
    let is_end = |next: &u8| b" \t\n\r\"')".contains(next);
    rest.first().is_none_or(is_end)
}

/// What is looked for in turns, in the syntax of `websearch_to_tsquery`: every word or phrase in quotes, `or`
/// between two, `-` before what must not be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Question(String);

/// A word or phrase of a question, as its words.
struct Term {
    words: String,
    is_unwanted: bool,
    /// Whether it or the one before is enough.
    is_choice: bool,
}

impl Question {
    /// Reads what somebody typed, and never refuses it. What has no word is left out.
    pub fn asked(text: &str) -> Self {
        let mut question = String::new();
        let mut is_choice = false;
        for term in terms(text) {
            is_choice |= term.is_choice;
            if term.words.is_empty() {
                continue;
            }
            if !question.is_empty() {
                question.push_str(if is_choice { " or " } else { " " });
            }
            is_choice = false;
            if term.is_unwanted {
                question.push('-');
            }
            question.extend(["\"", &term.words, "\""]);
        }
        Self(question)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Texts with no gap and no quote in them, and what is in quotes, up to the end where these are not closed.
fn terms(text: &str) -> Vec<Term> {
    let mut terms: Vec<Term> = Vec::new();
    let mut is_choice = false;
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let is_unwanted = rest.starts_with('-');
        let body = rest.strip_prefix('-').unwrap_or(rest);
        let (raw, behind) = match body.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => body.split_at(body.find(is_gap).unwrap_or(body.len())),
        };
        let is_bare = raw.len() == rest.len() - behind.len();
        rest = behind.trim_start();
        let is_between = !terms.is_empty() && !is_choice && !rest.is_empty();
        if is_bare && raw.eq_ignore_ascii_case("or") && is_between {
            is_choice = true;
            continue;
        }
        terms.push(Term {
            words: of(raw),
            is_unwanted,
            is_choice: std::mem::take(&mut is_choice),
        });
    }
    terms
}

fn is_gap(c: char) -> bool {
    c.is_whitespace() || c == '"'
}

#[cfg(test)]
mod tests;
