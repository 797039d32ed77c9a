//! Reading faces: one folder a dialect, one file an endpoint. Names and units here, questions in
//! `services`.

pub mod operations;

pub mod format;
pub mod observability;
pub mod page;
pub mod voice_sessions;
