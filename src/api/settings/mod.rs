//! What a tenant has set, in snake_case.

pub mod prices;
pub mod retention;
pub mod targets;
