//! The voice-sessions dialect: snake_case, offsets, whole sessions. A file an endpoint.

pub mod body;
pub mod edit;
pub mod evaluations;
pub mod export;
pub mod get;
pub mod list;
