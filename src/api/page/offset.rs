//! Offset paging, for the dialects that have it.

use crate::domain::page::{Limit, Start};
use crate::problem::Params;

/// Rows that may be skipped: reading past them costs time, a narrower filter does not.
pub const OFFSET_MAX: i64 = 100_000;

/// What the caller asks for, within the dialect's bounds.
pub fn read<K>(params: &mut Params, limit_default: i64, limit_max: i64) -> (Start<K>, Limit, i64) {
    let limit = Limit::checked(params.int("limit", limit_default, 1..=limit_max) as u32);
    let offset = params.int("offset", 0, 0..=OFFSET_MAX);
    let start = if offset == 0 {
        Start::Beginning
    } else {
        Start::Skip(offset as u32)
    };
    (start, limit, offset)
}
