//! How much a tenant uses, in snake_case.

pub mod recordings;
