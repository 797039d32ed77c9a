//! What is asked: combines what the store knows into what the faces tell. No axum, no SQL. Imports
//! `domain`, `store` and `objects`.

pub mod analysis;
pub mod analytics;
pub mod audit;
pub mod export;
pub mod fetches;
pub mod hands;
pub mod ingest;
pub mod live;
pub mod livekit_keys;
pub mod pace;
pub mod patience;
pub mod prices;
pub mod recordings;
pub mod retention;
pub mod reviews;
pub mod rooms;
pub mod sessions;
pub mod silence;
pub mod targets;
pub mod traces;
pub mod webhooks;
pub mod words;
