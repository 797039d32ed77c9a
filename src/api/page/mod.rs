//! Dialects' ways of paging, translated to `domain::page`. They never see SQL.

pub mod cursor;
pub mod number;
pub mod offset;

use std::ops::RangeInclusive;

use axum::http::{HeaderName, HeaderValue, Uri, header};

/// What a filter for slow answers may ask for: up to a day.
pub const MIN_LATENCY_MS: RangeInclusive<i64> = 1..=86_400_000;

/// The header that leads to the next page (RFC 8288), or none on the last one.
pub fn link_to_next(
    uri: &Uri,
    parameter: &str,
    value: Option<&str>,
) -> Option<(HeaderName, HeaderValue)> {
    let value = value?;
    let query = uri.query().unwrap_or_default();
    let is_replaced = |pair: &&str| pair.split('=').next() != Some(parameter) && !pair.is_empty();
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(is_replaced)
        .map(str::to_owned)
        .collect();
    pairs.push(format!("{parameter}={value}"));
    let link = format!("<{}?{}>; rel=\"next\"", uri.path(), pairs.join("&"));
    Some((header::LINK, HeaderValue::from_str(&link).ok()?))
}
