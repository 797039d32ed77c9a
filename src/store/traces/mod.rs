//! Traces: those that sources sent, and the answers that stand in where nobody traced.

mod answers;
mod observations;
mod scores;
mod spans;

pub use answers::{answer, answers, count_answers};
pub use observations::observations;
pub use scores::scores;
pub use spans::{Unpriced, count, find, find_anywhere, list, unpriced};
