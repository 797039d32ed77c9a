//! Sample calls: what fills a demo and a benchmark. May import `domain`.

pub mod generate;
