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
mod found_ranges;
mod gates;
mod harness;
mod house;
mod import;
mod ingest;
mod ingest_input;
mod interruptions;
mod langfuse;
mod limits;
mod live;
mod livekit;
mod merging;
mod operations;
mod otlp;
mod pagination;
mod pagination_inner;
mod prices;
mod recordings;
mod reviews;
mod root_cause;
mod search;
mod settings;
mod store_away;
mod support;
mod traces;
mod webhooks;
