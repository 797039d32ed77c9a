//! What is asked: combines what the store knows into what the faces tell. No axum, no SQL. Imports
//! `domain`, `store` and `objects`.

pub mod analytics;
pub mod ingest;
pub mod recordings;
pub mod sessions;
pub mod silence;
