//! `/v1/recordings/{callId}`: a call's audio, and what is known of it.

pub mod audio;
mod body;
pub mod delete;
pub mod get;
mod range;
