//! What a tenant has set, in snake_case.

pub mod targets;
