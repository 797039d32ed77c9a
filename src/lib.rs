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
//! | `services` | what is asked | `domain`, `store` |
//! | `auth` | who asks | `domain`, `store`, `services`, `problem` |
//! | `ingest` | writing faces: bytes to domain events | `domain`, `services`, `auth`, `problem` |
//! | `api` | reading faces: one folder a dialect, one file an endpoint | `domain`, `services`, `auth`, `problem` |
//! | `app`, `problem`, `telemetry`, `config` | the wiring | everything |
//! | `cli` | one file a command | everything |

pub mod domain;
pub mod store;

pub mod auth;

pub mod api;

pub mod app;
pub mod config;
pub mod problem;
pub mod telemetry;
