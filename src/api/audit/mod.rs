//! The audit log, for whoever manages the tenant. A file an endpoint.

pub mod list;
pub mod verify;
