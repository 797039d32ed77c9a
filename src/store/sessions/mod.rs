//! Sessions as readers see them: lists in keyset order, whole records by id.

mod list;
mod record;
mod withhold;

pub use list::{count, list};
pub use record::records;
