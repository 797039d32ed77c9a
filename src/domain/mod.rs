//! What we talk about: values and pure rules. Knows no wire format but the names of facts, does no
//! I/O, reads no clock. Imports nothing of ours.

pub mod access;
pub mod error;
pub mod ids;

pub use error::{Error, Fault, Place, Result};
