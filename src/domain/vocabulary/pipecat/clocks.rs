//! What a service's clock shows, which stands in a span whether or not it ran for it: the last reading stays until there
//! is another one.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::calls::{end, put, text};
use super::super::{Gist, Part, Said};

const READING: &str = "reading";

/// All gists, and generations that show a reading which was there before them without it. A realtime service has one
/// clock for its user's words too, and an application may have only the first response of all measured.
pub fn read_anew<'a>(gists: &[&'a Gist]) -> Vec<Cow<'a, Gist>> {
    let mut shown: Vec<&Gist> = gists
        .iter()
        .copied()
        .filter(|gist| reading(gist).is_some())
        .collect();
    shown.sort_by_key(|gist| end(gist));
    let mut known = BTreeSet::new();
    let mut old: BTreeSet<(&str, &str)> = BTreeSet::new();
    for gist in shown {
        let is_new = known.insert((&gist.trace_id, text(gist, "model"), reading(gist)));
        if !is_new && gist.part == Part::Llm {
            old.insert((&gist.trace_id, &gist.span_id));
        }
    }
    let is_old = |gist: &Gist| old.contains(&(gist.trace_id.as_str(), gist.span_id.as_str()));
    let each = gists.iter().map(|gist| match is_old(gist) {
        true => {
            let mut unread = (*gist).clone();
            unread.fields.remove("llmMs");
            Cow::Owned(unread)
        }
        false => Cow::Borrowed(*gist),
    });
    each.collect()
}

/// Keeps what a clock shows, where it is so fine that it never shows the same twice.
pub fn read(span: &Said<'_>, fields: &mut Map<String, Value>) {
    let seconds = span.number("metrics.ttfb");
    let micros = |seconds: &f64| seconds * 1e6;
    let is_fine = |seconds: &f64| (micros(seconds) - micros(seconds).round()).abs() > 1e-3;
    // As a text: a number may be another one when it is read again.
    let reading = seconds.filter(is_fine).map(|seconds| seconds.to_string());
    put(fields, READING, reading);
}

fn reading(gist: &Gist) -> Option<&str> {
    text(gist, READING)
}
