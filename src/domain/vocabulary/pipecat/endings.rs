//! Whether a call is over, and how it ended.

use std::collections::BTreeSet;

use crate::domain::turn::Speaker;

use super::super::calls::{end, has_failed, text};
use super::super::{End, Gist, Part};
use super::runs::Run;

/// The conversation with which a call is over. It may have several: a caller is handed to another bot, or an application
/// begins anew under the same name. The last of them counts, and none while another has outlasted that. Those of
/// `helpers` end with whom they help.
pub fn last<'a>(gists: &[&'a Gist], helpers: &BTreeSet<&str>) -> Option<&'a Gist> {
    let roots = gists.iter().filter(|gist| gist.part == Part::Root);
    let roots: Vec<&'a Gist> = roots.copied().collect();
    let last = roots.iter().copied().max_by_key(|root| end(root))?;
    let over: BTreeSet<&str> = roots.iter().map(|root| root.trace_id.as_str()).collect();
    let goes_on = |gist: &&Gist| {
        let trace = gist.trace_id.as_str();
        let is_told = gist.part != Part::Other && end(gist) > end(last);
        is_told && !over.contains(trace) && !helpers.contains(trace)
    };
    (!gists.iter().any(goes_on)).then_some(last)
}

/// How it ended: badly only where a user was left without an answer by an error that is certain.
pub fn ended(root: &Gist, gists: &[&Gist], runs: &[Run<'_>]) -> End {
    let last = runs.last().filter(|run| run.speaker == Speaker::Agent);
    let was_left = last.is_some_and(|run| {
        let is_answered = run.is_heard() || run.of(Part::Tts).next().is_some();
        run.of(Part::Llm).last().is_some_and(has_failed) && !is_answered
    });
    let is_failed = has_failed(root) || was_left;
    let last = gists.iter().map(|gist| end(gist)).max();
    End {
        at: last.unwrap_or_else(|| end(root)),
        status: if is_failed { "failed" } else { "completed" },
        reason: text(root, "error").map(str::to_owned),
    }
}
