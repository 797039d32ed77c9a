//! Reading faces: one folder a dialect, one file an endpoint. Names and units here, questions in
//! `services`.

pub mod analytics;
pub mod audit;
pub mod conversations;
mod cost;
pub mod format;
pub mod gates;
pub mod live;
pub mod livekit_keys;
pub mod observability;
pub mod operations;
pub mod page;
pub mod polled;
pub mod recordings;
pub mod sessions;
pub mod settings;
pub mod traces;
pub mod usage;
pub mod voice_sessions;
pub mod webhooks;
