//! What a tenant sets for itself.

pub mod prices;
