//! What a tenant has set, in snake_case.

pub mod prices;
pub mod targets;
