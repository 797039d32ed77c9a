//! What the analysis of calls needs and leaves behind: marks of calls to be analysed, what is kept of each
//! analysis, and sums over what is kept.

mod found;
mod keep;
mod queue;
mod sample;
mod sweep;

pub use found::{by_agent, causes, stages};
pub(in crate::store) use found::{causes_of, conduct_of};
pub use queue::{Batch, Taken, is_waiting, take};
pub use sample::{Answers, answers, of_arm, pending};
pub use sweep::sweep;
