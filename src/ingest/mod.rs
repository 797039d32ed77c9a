//! Writing faces: each door turns bytes into domain events, purely, and hands them to the one funnel,
//! `services::ingest`. Imports `domain`, `services`, `auth`, `problem`, `app`.

pub mod native;
pub mod recordings;
