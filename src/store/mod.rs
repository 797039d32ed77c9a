//! Where it is kept: the only module that knows SQL. No HTTP, no thresholds. Imports `domain`.
//!
//! Every function that touches a tenant's rows takes a [`Scope`] first, and `$1` is the tenant.

pub mod analytics;
pub mod api_keys;
mod columns;
pub mod embedded;
mod failure;
mod health;
pub mod ingest;
mod migrate;
pub mod recordings;
pub mod rollups;
pub mod scope;
pub mod sessions;
pub mod tenants;

pub use health::Server;
pub use migrate::{Schema, parse_url};
pub use scope::{ContentScope, Grant, Scope, Store};
/// How to reach a database.
pub use sqlx::postgres::PgConnectOptions as ConnectOptions;
