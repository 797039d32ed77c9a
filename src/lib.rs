//! Voxray: a self-hosted, multi-tenant observability server for voice agents.
//!
//! Modules in reading order. Each may import only what its line names; `tests/architecture.rs`
//! holds this table against the sources.
//!
//! | module | what lives there | may import |
//! | --- | --- | --- |
//! | `domain` | what we talk about | nothing of ours |
//! | `samples` | sample calls: real ones reshaped, plausible ones generated | `domain` |
//! | `store` | where it is kept: the only place that knows SQL | `domain` |
//! | `objects` | audio: its bytes in object storage, what they are, fetching them | `domain` |
//! | `services` | what is asked | `domain`, `store`, `objects` |
//! | `problem` | what went wrong, as it is told; extractors that refuse with it | `domain` |
//! | `auth` | who asks | `domain`, `store`, `problem`, `app` |
//! | `ingest` | writing faces: bytes to domain events | `domain`, `services`, `auth`, `problem`, `app` |
//! | `api` | reading faces: one folder a dialect, one file an endpoint | `domain`, `services`, `auth`, `problem`, `app` |
//! | `console` | the pages: a file a page, templates and assets beside | `domain`, `services`, `auth`, `problem`, `app` |
//! | `app`, `telemetry`, `config` | the wiring | everything |
//! | `cli` | one file a command | everything |
//!
//! `auth` and the faces take from `app` only what a handler is given: `App`, `Clock`, `Now`.

pub mod domain;

pub mod samples;

pub mod store;

pub mod objects;

pub mod services;

pub mod ingest;

pub mod problem;

pub mod auth;

pub mod api;

pub mod console;

pub mod app;
pub mod config;
pub mod telemetry;

pub mod cli;
