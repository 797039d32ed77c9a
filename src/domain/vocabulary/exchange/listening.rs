//! Transcribers that listen all along: their span begins where the transcript before was there, and not where the user
//! had spoken.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::super::calls::{end, has_failed, is_set};
use super::super::{Gist, Part};
use super::group::{Key, key};

/// Who listens on does so at once.
const AT_ONCE: TimeDelta = TimeDelta::milliseconds(50);
/// Marks a transcription of which nobody knows when the user had spoken.
const LISTENS: &str = "listens";

/// Whether a transcription's span only says when the transcript was there.
pub fn listens(stt: &Gist) -> bool {
    is_set(stt, LISTENS)
}

/// When what was transcribed was said at the earliest, as far as its span tells.
pub fn begun(stt: &Gist) -> DateTime<Utc> {
    match listens(stt) {
        true => end(stt),
        false => stt.started_at,
    }
}

/// Marks the transcriptions of those who listen.
pub fn mark(gists: &mut [Gist]) {
    let found: BTreeSet<(String, String)> = listeners(gists)
        .into_iter()
        .map(|(trace, span)| (trace.to_owned(), span.to_owned()))
        .collect();
    let is_one = |gist: &Gist| found.contains(&(gist.trace_id.clone(), gist.span_id.clone()));
    for gist in gists.iter_mut().filter(|gist| is_one(gist)) {
        gist.fields.insert(LISTENS.to_owned(), Value::Bool(true));
    }
}

/// Those of which one begins where the one before it ended, and lasts while the agent answers: what is sent off when the
/// user has spoken is transcribed before that.
fn listeners(gists: &[Gist]) -> BTreeSet<Key<'_>> {
    let mut heard: BTreeMap<&str, Vec<&Gist>> = BTreeMap::new();
    let mut answers: BTreeMap<&str, Vec<DateTime<Utc>>> = BTreeMap::new();
    for gist in gists {
        match gist.part {
            Part::Stt if !has_failed(gist) => heard.entry(&gist.trace_id).or_default().push(gist),
            Part::Llm | Part::Tts => {
                let begun = answers.entry(&gist.trace_id).or_default();
                begun.push(gist.started_at);
            }
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for (trace, mut heard) in heard {
        heard.sort_by_key(|gist| gist.started_at);
        let mut answers = answers.remove(trace).unwrap_or_default();
        answers.sort();
        for pair in heard.windows(2) {
            let [before, next] = pair else { continue };
            let pause = next.started_at - end(before);
            let first = answers.partition_point(|at| *at < next.started_at);
            let is_answered = answers.get(first).is_some_and(|at| *at < end(next));
            if pause.abs() <= AT_ONCE && is_answered {
                found.extend([key(before), key(next)]);
            }
        }
    }
    found
}
