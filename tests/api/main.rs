//! The server over real HTTP, on a real Postgres. One binary; a file a subject.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod access;
mod analytics;
mod auth;
mod bad_input;
mod cli;
mod contract;
mod contract_check;
mod contract_fields;
mod contract_sources;
mod crash;
mod harness;
mod house;
mod ingest;
mod limits;
mod operations;
mod store_away;
mod support;
