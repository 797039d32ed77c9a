//! Sessions as readers see them: lists in keyset order, whole records by id.

mod list;
mod open;
mod record;
mod withhold;

pub use list::{count, list};
pub use open::{START, Silent, silent};
pub use record::records;
pub(in crate::store) use withhold::withhold_error;
