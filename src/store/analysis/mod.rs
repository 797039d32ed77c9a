//! What the analysis of calls needs and leaves behind: marks of calls to be analysed, what is kept of each
//! analysis, and sums over what is kept.

mod causes;
mod keep;
mod quality;
mod queue;
mod sample;
mod sweep;

pub use causes::causes;
pub use quality::by_agent;
pub use queue::{Batch, Taken, is_waiting, take};
pub use sample::{Answers, answers, of_arm, pending};
pub use sweep::sweep;
