//! What readers are shown of a trace, and the ids of traces that are made here.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::ids::SessionId;
use crate::domain::span::Span;

/// A line of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    pub id: String,
    pub session: SessionId,
    pub name: Option<String>,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub observations: i64,
    /// The part of the costs that is known; none where nothing is.
    pub cost_nano_usd: Option<i64>,
    /// Whether a generation with usage does not say what it cost, while others do.
    pub cost_incomplete: bool,
    /// Whether a part of the costs was computed by prices, since nobody states it.
    pub cost_estimated: bool,
    /// Generations that say what they used and not what that cost.
    pub unpriced: i64,
    /// Whether another session has a trace of this id.
    pub is_shared: bool,
}

/// What may stand in a path's segment as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

impl Trace {
    /// Where it is to be read. Its id alone leads to the newest of that id.
    pub fn page_path(&self) -> String {
        let id = utf8_percent_encode(&self.id, SEGMENT);
        match self.is_shared {
            true => format!("/traces/view/{id}?session={}", self.session),
            false => format!("/traces/view/{id}"),
        }
    }
}

/// A trace with its observations.
#[derive(Clone, Debug, PartialEq)]
pub struct Detail {
    pub trace: Trace,
    /// Parents before children, each with how deep it lies.
    pub observations: Vec<(usize, Span)>,
    /// Whether there are more than are shown.
    pub truncated: bool,
    /// Judgements that came as scores of the trace or of its observations.
    pub scores: Vec<Score>,
    /// Whether what was said has been left out.
    pub content_withheld: bool,
    /// When what was said was deleted, because its time was over.
    pub content_deleted_at: Option<DateTime<Utc>>,
}

/// A judgement as its source gave it; as an evaluation it is its session's too.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    pub id: String,
    pub at: DateTime<Utc>,
    pub fields: Map<String, Value>,
}

impl Trace {
    /// Adds what generations cost that do not say it themselves; none of one that has no price.
    pub fn estimate(&mut self, costs: impl Iterator<Item = Option<i64>>) {
        let mut left = self.unpriced;
        for nanos in costs.flatten() {
            let known = self.cost_nano_usd.unwrap_or_default();
            self.cost_nano_usd = Some(known.saturating_add(nanos));
            self.cost_estimated = true;
            left -= 1;
        }
        self.cost_incomplete = self.cost_nano_usd.is_some() && left > 0;
    }
}

/// Observations as a tree: children right behind their parent, by start. One whose parent is not there
/// has no parent here.
pub fn tree(spans: Vec<Span>) -> Vec<(usize, Span)> {
    let places: BTreeMap<String, usize> = spans
        .iter()
        .enumerate()
        .map(|(at, span)| (span.span_id.clone(), at))
        .collect();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
    let mut roots = Vec::new();
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|at| (spans[*at].started_at, &spans[*at].span_id));
    for at in &order {
        match spans[*at].parent.as_ref().and_then(|id| places.get(id)) {
            Some(parent) if parent != at => children[*parent].push(*at),
            _ => roots.push(*at),
        }
    }
    let mut spans: Vec<Option<Span>> = spans.into_iter().map(Some).collect();
    let mut tree = Vec::with_capacity(spans.len());
    // Those that are each other's parents hang on no root: the first of them becomes one.
    for root in roots.into_iter().chain(order) {
        let mut stack = vec![(0, root)];
        while let Some((depth, at)) = stack.pop() {
            if let Some(span) = spans[at].take() {
                tree.push((depth, span));
                stack.extend(children[at].iter().rev().map(|child| (depth + 1, *child)));
            }
        }
    }
    tree
}

/// The id of the trace that is made for a turn.
pub fn derived_id(session: SessionId, turn: i32) -> String {
    format!("{session}{TURN_MARK}{turn}")
}

/// The session and turn that such an id names.
pub fn derived_from(id: &str) -> Option<(SessionId, i32)> {
    let (session, turn) = id.split_at_checked(36)?;
    let index: i32 = turn.strip_prefix(TURN_MARK)?.parse().ok()?;
    let session = SessionId(Uuid::try_parse(session).ok()?);
    // Only the one spelling that is handed out.
    (derived_id(session, index) == id).then_some((session, index))
}

const TURN_MARK: &str = "-turn-";

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;
    use crate::domain::event::{Kind, Source};
    use crate::domain::fact::Fact;

    fn span(id: &str, parent: Option<&str>, second: i64) -> Span {
        let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(second);
        let fields = json!({"traceId": "t", "spanId": id, "parentSpanId": parent, "startedAt": at});
        let fact = Fact {
            source: Source::Event,
            kind: Kind::Span,
            id: format!("t/{id}"),
            at,
            hash: 0,
            fields: fields.as_object().cloned().unwrap().into(),
        };
        Span::derive(&[&fact]).unwrap()
    }

    fn shape(spans: Vec<Span>) -> Vec<String> {
        let row = |(depth, span): (usize, Span)| format!("{depth} {}", span.span_id);
        tree(spans).into_iter().map(row).collect()
    }

    #[test]
    fn parents_come_before_children_whatever_their_times() {
        let spans = vec![
            span("late child", Some("root"), 9),
            span("orphan", Some("nobody"), 5),
            span("grandchild", Some("child"), 0),
            span("child", Some("root"), 3),
            span("root", None, 2),
        ];
        let expected = [
            "0 root",
            "1 child",
            "2 grandchild",
            "1 late child",
            "0 orphan",
        ];
        assert_eq!(shape(spans), expected);
    }

    #[test]
    fn circles_end() {
        let spans = vec![
            span("a", Some("b"), 2),
            span("b", Some("a"), 1),
            span("self", Some("self"), 3),
        ];
        assert_eq!(shape(spans), ["0 self", "0 b", "1 a"]);
        let chain: Vec<Span> = (0..5_000)
            .map(|n| span(&n.to_string(), Some(&(n + 1).to_string()), n))
            .collect();
        assert_eq!(shape(chain).last().unwrap(), "4999 0");
    }

    #[test]
    fn only_the_ids_that_are_handed_out_lead_back() {
        let session = SessionId(Uuid::from_u128(7));
        assert_eq!(derived_from(&derived_id(session, 12)), Some((session, 12)));
        for bad in [
            "",
            "t",
            "-turn-1",
            &format!("{session}-turn-01"),
            &format!("{session}-turn-"),
        ] {
            assert_eq!(derived_from(bad), None, "{bad}");
        }
    }
}
