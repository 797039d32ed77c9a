//! Traces that were told of by themselves, among their observations: which of them is the exchange.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::span::TRACE_ITSELF;

use super::super::calls::{DEPTH_MAX, end, is_set, text};
use super::super::{Gist, Part};

/// Marks a span that is taken for an exchange because nothing is above it.
pub const BY_PLACE: &str = "byPlace";

/// The gists, traces that were told of by themselves among them: a trace is an exchange, if what is in it is
/// not one itself.
pub fn with_traces(gists: &[&Gist]) -> Vec<Gist> {
    let (traces, mut rest): (Vec<Gist>, Vec<Gist>) = gists
        .iter()
        .map(|gist| (*gist).clone())
        .partition(|gist| gist.span_id == TRACE_ITSELF);
    let (tops, spoken) = tops(&rest);
    for trace in traces {
        let tops = tops.get(&trace.trace_id).map_or(&[][..], Vec::as_slice);
        step_back(&trace, tops, &spoken, &mut rest);
        if let Some(exchange) = exchange(trace, tops, &mut rest) {
            rest.push(exchange);
        }
    }
    rest.sort_by(|a, b| {
        let rank = |gist: &Gist| (gist.started_at, gist.ended_at);
        let name = |gist: &Gist| (gist.trace_id.clone(), gist.span_id.clone());
        rank(a).cmp(&rank(b)).then_with(|| name(a).cmp(&name(b)))
    });
    rest
}

/// The places of observations that stand at the top of their trace, and of those among them below which something was
/// heard, generated or spoken.
fn tops(gists: &[Gist]) -> (BTreeMap<String, Vec<usize>>, BTreeSet<usize>) {
    let key = |gist: &Gist, id: &str| (gist.trace_id.clone(), id.to_owned());
    let places = gists.iter().enumerate();
    let places: BTreeMap<_, usize> = places
        .map(|(place, gist)| (key(gist, &gist.span_id), place))
        .collect();
    let above = |place: &usize| {
        let gist = gists.get(*place)?;
        places.get(&key(gist, gist.parent.as_deref()?)).copied()
    };
    let mut tops: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut spoken = BTreeSet::new();
    for (place, gist) in gists.iter().enumerate() {
        if above(&place).is_none() {
            tops.entry(gist.trace_id.clone()).or_default().push(place);
        } else if matches!(gist.part, Part::Stt | Part::Llm | Part::Tts) {
            let way = std::iter::successors(Some(place), above).take(DEPTH_MAX);
            spoken.extend(way.last());
        }
    }
    (tops, spoken)
}

/// Makes plain spans of those that are exchanges by their place only, where the trace or something else in it is the
/// exchange. What holds all others in time stays one, and so does what says both sides of what was `spoken` below it,
/// or what nothing else says, unless a generation beside it is the answer; in a trace of nothing but spans, all of them
/// do where nothing else says what was said.
fn step_back(trace: &Gist, tops: &[usize], spoken: &BTreeSet<usize>, rest: &mut [Gist]) {
    let of = |at: &usize| &rest[*at];
    let is_plain = |gist: &Gist| gist.part == Part::Exchange && is_set(gist, BY_PLACE);
    let is_beside = |at| matches!(of(at).part, Part::Stt | Part::Llm | Part::Tts | Part::Tool);
    let says_words = |at| matches!(of(at).part, Part::Stt | Part::Llm);
    let is_exchange = |at| of(at).part == Part::Exchange && !is_plain(of(at));
    let holds_all = |at: &&usize| {
        let during = of(at).started_at..=end(of(at));
        let mut others = tops
            .iter()
            .map(of)
            .filter(|other| other.part != Part::Other);
        others.all(|other| during.contains(&other.started_at) && during.contains(&end(other)))
    };
    let is_side_by_side = tops.iter().any(is_beside);
    let has_exchange = tops.iter().any(is_exchange);
    let plain = || tops.iter().filter(|at| is_plain(of(at)));
    let holder = plain().find(holds_all).filter(|_| !has_exchange);
    let is_rivalled = |own: &Gist| {
        let generations = tops.iter().map(of).filter(|top| top.part == Part::Llm);
        generations
            .into_iter()
            .any(|llm| is_answer_instead(trace, own, llm))
    };
    let stays = |at: &usize| {
        let is_told_elsewhere = asks(trace) || answers(trace) || has_exchange;
        let is_only_word = is_side_by_side && !is_told_elsewhere && !tops.iter().any(says_words);
        let has_spoken = spoken.contains(at) || is_only_word;
        let is_whole = asks(of(at)) && answers(of(at)) && has_spoken;
        holder == Some(at)
            || is_whole && !is_rivalled(of(at))
            || !is_side_by_side && !is_told_elsewhere
    };
    let others: Vec<usize> = plain().filter(|at| !stays(at)).copied().collect();
    for at in others {
        rest[at].part = Part::Other;
    }
}

/// Whether a generation is the answer and the span beside it, with a generation of its own, only looked at that: they
/// were made at once, or what the trace says is what the generation says, and not the span.
fn is_answer_instead(trace: &Gist, span: &Gist, llm: &Gist) -> bool {
    let at_once = llm.started_at <= end(span) && span.started_at <= end(llm);
    let told = text(trace, "text");
    at_once || told.is_some() && text(llm, "text") == told && text(span, "text") != told
}

fn asks(gist: &Gist) -> bool {
    text(gist, "userText").is_some()
}

fn answers(gist: &Gist) -> bool {
    text(gist, "text").is_some()
}

/// A trace as the exchange of all that stands at its top; none where one of these is it, or where nothing is said.
fn exchange(mut trace: Gist, tops: &[usize], rest: &mut [Gist]) -> Option<Gist> {
    let exchanges = tops.iter().filter(|at| rest[**at].part == Part::Exchange);
    let exchanges: Vec<usize> = exchanges.copied().collect();
    if let [only] = exchanges[..] {
        // What the trace says stands in for what its root leaves out.
        for (name, value) in trace.fields {
            rest[only].fields.entry(name).or_insert(value);
        }
        return None;
    }
    let has_parts = tops.iter().any(|at| rest[*at].part != Part::Other);
    if !exchanges.is_empty() || !(asks(&trace) || answers(&trace) || has_parts) {
        return None;
    }
    for top in tops {
        rest[*top].parent = Some(TRACE_ITSELF.to_owned());
    }
    let own = tops.iter().map(|at| &rest[*at]);
    let start = own.clone().map(|gist| gist.started_at).min();
    let last = own.map(end).max();
    trace.part = Part::Exchange;
    trace.started_at = start.map_or(trace.started_at, |start| start.min(trace.started_at));
    trace.ended_at = last.map(|last| last.max(trace.started_at));
    Some(trace)
}
