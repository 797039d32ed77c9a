//! The observability dialect: camelCase, cursors, `sess_` ids. A file an endpoint.

pub mod get_call;
pub mod get_session;
pub mod interruption_quality;
pub mod list_sessions;
pub mod root_cause;
