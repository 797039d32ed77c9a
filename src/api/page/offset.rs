//! Offset paging, for the dialects that have it.

use crate::domain::page::{Limit, Start};
use crate::problem::Params;

/// Rows that may be skipped: reading past them costs time, which asking for less does not.
pub const OFFSET_MAX: i64 = 100_000;

/// What the caller asks for, within the dialect's bounds. `instead` is what to do where that is too far.
pub fn read<K>(
    params: &mut Params,
    limit_default: i64,
    limit_max: i64,
    instead: &str,
) -> (Start<K>, Limit, i64) {
    let limit = Limit::checked(params.int("limit", limit_default, 1..=limit_max) as u32);
    let offset = params
        .parse("offset", |text| offset(text, instead))
        .unwrap_or_default();
    let start = if offset == 0 {
        Start::Beginning
    } else {
        Start::Skip(offset as u32)
    };
    (start, limit, offset)
}

fn offset(text: &str, instead: &str) -> Result<i64, String> {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(20).collect();
    match text.parse() {
        Ok(offset) if (0..=OFFSET_MAX).contains(&offset) => Ok(offset),
        Ok(past) if past > OFFSET_MAX => Err(format!(
            "must be between 0 and {OFFSET_MAX}, got `{shown}`: {instead}"
        )),
        Ok(_) => Err(format!("must be between 0 and {OFFSET_MAX}, got `{shown}`")),
        Err(_) => Err(format!(
            "must be a whole number between 0 and {OFFSET_MAX}, got `{shown}`"
        )),
    }
}
