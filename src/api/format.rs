//! Times and numbers as all dialects write them.

use chrono::{DateTime, SecondsFormat, Utc};

/// RFC 3339 with `Z`, milliseconds only where they are not zero.
pub fn time(time: DateTime<Utc>) -> String {
    let format = if time.timestamp_subsec_millis() == 0 {
        SecondsFormat::Secs
    } else {
        SecondsFormat::Millis
    };
    time.to_rfc3339_opts(format, true)
}

/// US dollars, six decimals.
pub fn usd(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// US dollars that are no whole number of millionths, six decimals.
pub fn millionth(usd: f64) -> f64 {
    (usd * 1e6).round() / 1e6
}

/// Milliseconds as the observability dialect has them.
pub fn whole_ms(ms: f64) -> i64 {
    ms.round() as i64
}

/// Milliseconds as the other dialects have them.
pub fn tenth(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

/// Shares and scores, three decimals.
pub fn thousandth(share: f64) -> f64 {
    (share * 1e3).round() / 1e3
}
