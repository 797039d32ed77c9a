//! The spans of LiveKit's agents.

use super::{Gist, Said, Understood};

/// What one span says.
pub fn gist(_span: &Said<'_>) -> Option<Gist> {
    None
}

/// What a session's LiveKit gists, in the order of time, amount to.
pub fn interpret(_gists: &[&Gist]) -> Understood {
    Understood::default()
}
