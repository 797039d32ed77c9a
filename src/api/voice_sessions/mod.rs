//! The voice-sessions dialect: snake_case, offsets, whole sessions. A file an endpoint.

pub(in crate::api) mod body;
pub mod get;
pub mod list;
