//! The server over real HTTP, on a real Postgres. One binary; a file a subject.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod access;
mod analytics;
mod analytics_errors;
mod analytics_ranges;
mod analytics_seed;
mod auth;
mod bad_input;
mod bounds;
mod calls;
mod cli;
mod console;
mod contract;
mod conversations;
mod crash;
mod demo;
mod documented;
mod export;
mod harness;
mod house;
mod import;
mod ingest;
mod ingest_input;
mod limits;
mod live;
mod operations;
mod pagination;
mod recordings;
mod reviews;
mod search;
mod store_away;
mod support;
mod traces;
