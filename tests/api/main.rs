//! The server over real HTTP, on a real Postgres. One binary; a file a subject.

mod auth;
mod harness;
mod support;
