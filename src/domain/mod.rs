//! What we talk about: values and pure rules. Knows no wire format but the names of facts, does no
//! I/O, reads no clock. Imports nothing of ours.

pub mod access;
pub mod alternatives;
pub mod analysed;
pub mod analysis;
pub mod analytics;
pub mod answer;
pub mod assemble;
pub mod attributes;
pub mod audit;
pub mod body;
pub mod calendar;
pub mod conversations;
pub mod digest;
pub mod error;
pub mod event;
pub mod fact;
pub mod fields;
pub mod found;
pub mod history;
pub mod ids;
pub mod items;
pub mod ledger;
pub mod live;
pub mod livekit;
pub mod many;
pub mod page;
pub mod partial;
pub mod precedence;
pub mod price;
pub mod record;
pub mod recording;
pub mod release;
pub mod retention;
pub mod review;
pub mod rooms;
pub mod session;
pub mod settings;
pub mod span;
pub mod tally;
pub mod trace;
pub mod turn;
pub mod vocabulary;
pub mod webhook;
pub mod words;

pub use error::{Error, Fault, Place, Result};
