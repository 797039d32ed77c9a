//! The server over real HTTP, on a real Postgres. One binary; a file a subject.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod access;
mod analytics;
mod auth;
mod bad_input;
mod cli;
mod contract;
mod crash;
mod demo;
mod harness;
mod house;
mod import;
mod ingest;
mod ingest_input;
mod limits;
mod operations;
mod recordings;
mod store_away;
mod support;
