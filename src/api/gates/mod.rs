//! Release gates, in camelCase.

pub mod evaluate;
pub mod get;
