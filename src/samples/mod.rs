//! Sample calls: what fills a demo and a benchmark. Pure; imports `domain` only.

pub mod format;
pub mod real;
