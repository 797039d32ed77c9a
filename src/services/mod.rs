//! What is asked: combines what the store knows into what the faces tell. No axum, no SQL. Imports
//! `domain` and `store`.

pub mod analytics;
pub mod ingest;
pub mod live;
pub mod sessions;
pub mod silence;
pub mod traces;
