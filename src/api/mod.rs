//! Reading faces: one folder a dialect, one file an endpoint. Names and units here, questions in
//! `services`.

pub mod analytics;
pub mod audit;
pub mod conversations;
pub mod format;
pub mod live;
pub mod observability;
pub mod operations;
pub mod page;
pub mod polled;
pub mod recordings;
pub mod traces;
pub mod voice_sessions;
pub mod webhooks;
