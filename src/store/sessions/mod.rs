//! Sessions as readers see them: lists in keyset order, whole records by id.

mod heard;
mod history;
mod list;
mod open;
mod record;
mod reference;
mod rooms;
mod search;
mod withhold;

pub use heard::{Heard, heard};
pub use history::said;
pub use list::{count, list};
pub use open::{START, Silent, silent};
pub use record::{content_deleted_at, records};
pub use reference::{named, newest_of_call};
pub use rooms::{Due, done, occupants, take_due};
pub use search::{FOUND_MAX, is_searchable};
pub(in crate::store) use withhold::{show_parameters, withhold_error};
