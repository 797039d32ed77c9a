//! Why a call felt slow: one call analysed when it is read, many beside requests as they change.

mod quality;
mod root_cause;
mod work;

pub use quality::{Check, Gate, Metric, Quality, quality};
pub use root_cause::{RootCause, root_cause};
pub use work::{drain, round, sweep};
