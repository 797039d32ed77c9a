//! Spans that follow no convention: what their names say, and the names that most applications give to
//! what was said.

use super::{Gist, Part, Said, Vocabulary, parts};

/// What one span says; none where its name says nothing of a conversation and it names none either.
pub fn gist(span: &Said<'_>) -> Option<Gist> {
    let named = parts::by_name(span.name);
    let is_silent = !super::claims::session_fields(span).contains_key("externalIds");
    let part = match named {
        Some(part) => part,
        None if is_silent => return None,
        None => Part::Other,
    };
    let mut gist = span.gist(Vocabulary::Generic, part);
    parts::read(span, part, &mut gist.fields);
    Some(gist)
}
