//! Why a call felt slow: one call analysed when it is read, many beside requests as they change.

pub mod gates;
mod many;
mod quality;
mod root_cause;
mod work;

pub use many::{WouldBe, causes, what_if};
pub use quality::{Quality, quality};
pub use root_cause::{RootCause, root_cause, root_cause_of};
pub use work::{drain, round, sweep};
