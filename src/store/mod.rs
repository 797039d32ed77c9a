//! Where it is kept: the only module that knows SQL. No HTTP, no thresholds. Imports `domain`.
//!
//! Every function that touches a tenant's rows takes a [`Scope`] first, and `$1` is the tenant.

pub mod embedded;
pub mod scope;

pub use scope::{ContentScope, Scope, Store};
