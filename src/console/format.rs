//! Values as people read them.

use chrono::{DateTime, TimeDelta, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// Characters shown of one value.
const VALUE_MAX_CHARS: usize = 20_000;

/// A moment, to the second.
pub fn when(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A moment, to the millisecond.
pub fn precisely(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string()
}

/// A moment, for machines.
pub fn machine(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// A place on the call's clock: `1:05`, `1:02:03`.
pub fn clock(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A name with underscores, as a heading: `High latency`.
pub fn title(name: &str) -> String {
    let words = name.split('_').enumerate().map(|(n, word)| match word {
        "stt" | "tts" | "llm" => word.to_uppercase(),
        word if n == 0 => {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect()
        }
        word => word.to_owned(),
    });
    let title = words.collect::<Vec<_>>().join(" ");
    title.replace("barge in", "barge-in")
}

/// Milliseconds that were lost, in seconds.
pub fn seconds(ms: i64) -> String {
    let tenths = (ms.max(0) as f64 / 100.0).round() as i64;
    format!("{}.{} s", count(tenths / 10), tenths % 10)
}

/// Dollars: cents at least, and as much more as is known.
pub fn dollars(usd: f64) -> String {
    let text = format!("{usd:.6}");
    let short = text.trim_end_matches('0');
    let decimals = short.len() - short.find('.').map_or(short.len(), |at| at + 1);
    match decimals {
        0 | 1 => format!("${usd:.2}"),
        _ => format!("${short}"),
    }
}

/// Dollars in a list: no more decimals than tell calls apart.
pub fn dollars_short(micro_usd: i64) -> String {
    let usd = micro_usd as f64 / 1e6;
    match usd {
        usd if usd != 0.0 && usd.abs() < 0.1 => format!("${usd:.4}"),
        usd => format!("${usd:.2}"),
    }
}

/// A text as one segment of a path.
pub fn path_segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Whole milliseconds with separators: `1,250 ms`.
pub fn ms(ms: f64) -> String {
    format!("{} ms", count(ms.round() as i64))
}

/// A number with separators.
pub fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    match number < 0 {
        true => format!("-{text}"),
        false => text,
    }
}

/// A length of time with its unit.
pub fn span_of_time(ms: f64) -> String {
    let trimmed = |number: f64, decimals: usize| {
        let text = format!("{number:.decimals$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    };
    match ms {
        ms if ms < 10.0 => format!("{} ms", trimmed(ms, 2)),
        ms if ms < 1_000.0 => format!("{} ms", trimmed(ms, 0)),
        ms if ms < 120_000.0 => format!("{} s", trimmed(ms / 1e3, 2)),
        ms => format!("{} min", trimmed(ms / 60e3, 1)),
    }
}

pub fn delta_ms(delta: TimeDelta) -> f64 {
    // Sources say microseconds; a span of centuries is shown in whole ms.
    delta
        .num_microseconds()
        .map_or(delta.num_milliseconds() as f64, |us| us as f64 / 1e3)
}

/// JSON to read; nothing where there is nothing in it.
pub fn json(value: &Value) -> Option<String> {
    let is_empty = match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    (!is_empty).then(|| written(value, VALUE_MAX_CHARS))
}

/// A value as text, so many characters of it.
pub fn written(value: &Value, chars_max: usize) -> String {
    match value {
        Value::String(text) => shortened(text, chars_max),
        // A map with text keys always serialises.
        other => shortened(
            &serde_json::to_string_pretty(other).unwrap_or_default(),
            chars_max,
        ),
    }
}

pub fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_units() {
        let shown: Vec<String> = [0.0, 0.25, 9.5, 250.4, 1_250.0, 60_000.0, 150_000.0]
            .into_iter()
            .map(span_of_time)
            .collect();
        assert_eq!(
            shown,
            [
                "0 ms", "0.25 ms", "9.5 ms", "250 ms", "1.25 s", "60 s", "2.5 min"
            ]
        );
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(
            [0, 999, 1_000, -1_234_567].map(count),
            ["0", "999", "1,000", "-1,234,567"]
        );
        assert_eq!(
            [0, 65_000, 3_723_000].map(clock),
            ["0:00", "1:05", "1:02:03"]
        );
        assert_eq!(
            [0.0, 0.5, 0.184, 12.000001].map(dollars),
            ["$0.00", "$0.50", "$0.184", "$12.000001"]
        );
        assert_eq!(
            [0, 1_234, 184_000].map(dollars_short),
            ["$0.00", "$0.0012", "$0.18"]
        );
        assert_eq!(ms(1_249.6), "1,250 ms");
        assert_eq!(
            ["high_latency", "low_stt_confidence", "slow_barge_in_stop"].map(title),
            ["High latency", "Low STT confidence", "Slow barge-in stop"]
        );
        assert_eq!(title("tts_stall"), "TTS stall");
        assert_eq!(title("missed_barge_in"), "Missed barge-in");
        assert_eq!(
            [0, 940, 1_234_560].map(seconds),
            ["0.0 s", "0.9 s", "1,234.6 s"]
        );
    }
}
