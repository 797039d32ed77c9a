//! The spans of Langfuse's SDKs.

use super::{Gist, Said, Understood, exchange};

/// What one span says.
pub fn gist(_span: &Said<'_>) -> Option<Gist> {
    None
}

/// What a session's gists amount to, those of Langfuse and of plainer vocabularies beside them, in the
/// order of time.
pub fn interpret(gists: &[&Gist]) -> Understood {
    exchange::interpret(gists)
}
