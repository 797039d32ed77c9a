//! Where it is kept: the only module that knows SQL. No HTTP, no thresholds. Imports `domain`.
//!
//! Every function that touches a tenant's rows takes a [`Scope`] first, and `$1` is the tenant.

pub mod analysis;
pub mod analytics;
pub mod api_keys;
pub mod audit;
mod columns;
pub mod console;
pub mod embedded;
mod facts;
mod failure;
pub mod gates;
mod health;
pub mod ingest;
pub mod live;
pub mod livekit_keys;
mod migrate;
mod pool;
pub mod prices;
pub mod recordings;
pub mod retention;
pub mod reviews;
pub mod rollups;
pub mod scope;
pub mod sessions;
pub mod statistics;
pub mod targets;
pub mod tenants;
pub mod traces;
pub mod webhooks;
pub mod words;

pub use health::Server;
pub use migrate::{Schema, parse_url};
pub use scope::{ContentScope, Grant, Scope, Store};
/// How to reach a database.
pub use sqlx::postgres::PgConnectOptions as ConnectOptions;
