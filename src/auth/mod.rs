//! Who asks: a key's shape, how it is presented, what it opens, and the extractors by which a handler's
//! signature is its access policy. Imports `domain`, `store`, `problem`; no SQL, no handler.

pub mod browser;
mod extract;
pub mod jwt;
pub mod key;
mod keyring;
mod livekit;
mod present;
mod secret;
pub mod ticket;

pub use extract::{
    Admin, Ingestor, Reader, Reviewer, SocketWatcher, TOKEN, Transcripts, Viewer, Watcher,
};
pub use keyring::Keyring;
pub use livekit::{LivekitAgent, LivekitServer};
