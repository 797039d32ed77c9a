//! Text that synthesis is given token by token, as it is generated: what a span has of it are its tokens with a space
//! between any two, also within words.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::calls::{put, text};
use super::super::{Gist, Part};
use super::realtime;

/// So many of the last generations may have made what is spoken: others are asked beside them.
const GENERATIONS_BACK: usize = 4;

/// All gists, in the order of time; what was spoken of a generation is set in them as that has written it.
pub fn as_written<'a>(gists: &[&'a Gist]) -> Vec<Cow<'a, Gist>> {
    let mut written: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
    let each = gists.iter().map(|gist| {
        let of_trace = written.entry(gist.trace_id.as_str()).or_default();
        let told = text(gist, "text");
        match gist.part {
            Part::Llm if !realtime::is_response(gist) => of_trace.extend(told),
            Part::Tts => {
                let mut last = of_trace.iter().rev().take(GENERATIONS_BACK);
                let reset = told.and_then(|spoken| last.find_map(|all| part_of(all, spoken)));
                if let Some(reset) = reset.filter(|reset| Some(*reset) != told) {
                    let mut gist = Gist::clone(gist);
                    put(&mut gist.fields, "text", Some(reset));
                    return Cow::Owned(gist);
                }
            }
            _ => {}
        }
        Cow::Borrowed(*gist)
    });
    each.collect()
}

/// The part of a written text that is what was spoken, but for white space.
fn part_of<'a>(written: &'a str, spoken: &'a str) -> Option<&'a str> {
    if written.contains(spoken) {
        return Some(spoken);
    }
    let signs = |text: &str| -> String { text.split_whitespace().collect() };
    let (all, spoken) = (signs(written), signs(spoken));
    let first = all.find(&spoken).filter(|_| !spoken.is_empty())?;
    let last = first + spoken.len();
    let (mut passed, mut start) = (0, None);
    for (at, sign) in written.char_indices() {
        if sign.is_whitespace() {
            continue;
        }
        if passed == first {
            start = Some(at);
        }
        passed += sign.len_utf8();
        if passed == last {
            return written.get(start?..at + sign.len_utf8());
        }
    }
    None
}
