//! `Range: bytes=…` (RFC 9110, section 14): one range, which is all that players ask for.

use std::ops::Range;

/// Which part of something is wanted.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// No range, or one that is not understood and so does not count.
    Whole,
    Some(Range<u64>),
    /// Past the end.
    None,
}

impl Part {
    pub fn of(header: &str, size: u64) -> Self {
        let Some((unit, ranges)) = header.split_once('=') else {
            return Self::Whole;
        };
        // Of several ranges all may be ignored; nobody needs them.
        if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
            return Self::Whole;
        }
        let Some((first, last)) = ranges.trim().split_once('-') else {
            return Self::Whole;
        };
        match (number(first), number(last)) {
            (Number::Absent, Number::Is(length)) => {
                Self::checked(size.saturating_sub(length), size, size)
            }
            (Number::Is(first), Number::Absent) => Self::checked(first, size, size),
            (Number::Is(first), Number::Is(last)) if first <= last => {
                Self::checked(first, last.saturating_add(1).min(size), size)
            }
            _ => Self::Whole,
        }
    }

    fn checked(start: u64, end: u64, size: u64) -> Self {
        if start < end && start < size {
            Self::Some(start..end)
        } else {
            Self::None
        }
    }
}

enum Number {
    Absent,
    Is(u64),
    Wrong,
}

fn number(text: &str) -> Number {
    if text.is_empty() {
        Number::Absent
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // What is larger than any number here is larger than any size too.
        Number::Is(text.parse().unwrap_or(u64::MAX))
    } else {
        Number::Wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_what_is_there() {
        for (header, expected) in [
            ("bytes=0-99", 0..100),
            ("bytes=0-0", 0..1),
            ("BYTES=10-", 10..1000),
            ("bytes=-10", 990..1000),
            ("bytes=-5000", 0..1000),
            ("bytes=999-99999999999999999999999", 999..1000),
        ] {
            assert_eq!(Part::of(header, 1000), Part::Some(expected), "{header}");
        }
    }

    #[test]
    fn what_lies_past_the_end_is_told_from_what_is_not_understood() {
        for header in [
            "bytes=1000-",
            "bytes=1000-1001",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(Part::of(header, 1000), Part::None, "{header}");
        }
        assert_eq!(Part::of("bytes=0-", 0), Part::None);
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=+1-2",
            "items=0-1",
            "bytes=0-1,5-6",
        ] {
            assert_eq!(Part::of(header, 1000), Part::Whole, "{header}");
        }
    }
}
