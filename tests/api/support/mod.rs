//! A server of its own for a test, tenants in it, and a client with short assertions.

mod client;
mod cluster;
pub mod contract;
mod probe;
mod proxy;
mod server;

pub use client::{Answer, Client};
pub use cluster::{TestDatabase, database};
pub use proxy::Proxy;
pub use server::{Tenant, TestServer, now};
