//! Which conversation each span of a request belongs to. What one span of a trace says of it holds for all
//! of the trace, since most spans name only their trace.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::domain::event::SessionRef;
use crate::domain::ids::{Claim, ClaimKind, TenantId};
use crate::domain::vocabulary::named_claims;

/// No trace is deeper; one whose parents go in a circle is.
const DEPTH_MAX: usize = 64;

/// A span as it stands in its trace.
struct Node<'a> {
    id: &'a str,
    parent: Option<&'a str>,
    started_at: &'a str,
    /// Its names for the conversation, by the attribute that gives each.
    names: Vec<(&'static str, Claim)>,
}

/// The session of each span's fields, in their order; none where a span has no trace.
pub fn of(tenant: TenantId, spans: &[&Map<String, Value>]) -> Vec<Option<SessionRef>> {
    let mut traces: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, fields) in spans.iter().enumerate() {
        traces
            .entry(text(fields, "traceId").unwrap_or_default())
            .or_default()
            .push(place);
    }
    let mut sessions = vec![None; spans.len()];
    for (trace, places) in traces {
        let nodes: Vec<Node<'_>> = places.iter().map(|place| Node::of(spans[*place])).collect();
        for (place, claims) in places.iter().zip(claims(trace, &nodes)) {
            sessions[*place] = SessionRef::claimed(tenant, claims);
        }
    }
    sessions
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name)?.as_str()
}

impl<'a> Node<'a> {
    fn of(fields: &'a Map<String, Value>) -> Self {
        Self {
            id: text(fields, "spanId").unwrap_or_default(),
            parent: text(fields, "parentSpanId"),
            started_at: text(fields, "startedAt").unwrap_or_default(),
            names: named_claims(fields),
        }
    }

    fn name(&self, attribute: &str) -> Option<&Claim> {
        let mut names = self.names.iter();
        names
            .find(|(name, _)| *name == attribute)
            .map(|(_, claim)| claim)
    }
}

/// Each node's claims.
fn claims(trace: &str, nodes: &[Node<'_>]) -> Vec<Vec<Claim>> {
    let own = Claim::new(ClaimKind::Trace, trace);
    let Some(attribute) = divider(nodes) else {
        let all = nodes.iter().flat_map(|node| node.names.iter());
        let mut all: BTreeSet<Claim> = all.map(|(_, claim)| claim.clone()).collect();
        all.insert(own);
        return vec![all.into_iter().collect(); nodes.len()];
    };
    // Several conversations in one trace: each has its own names, only the first has the trace's.
    let by_id: BTreeMap<&str, &Node<'_>> = nodes.iter().map(|node| (node.id, node)).collect();
    let first = nodes
        .iter()
        .filter(|node| node.name(attribute).is_some())
        .min_by_key(|node| (node.parent.is_some(), node.started_at, node.id))
        .and_then(|node| node.name(attribute));
    let conversation = |node: &Node<'_>| inherited(node, attribute, &by_id).or(first).cloned();
    let mut groups: BTreeMap<Option<Claim>, BTreeSet<Claim>> = BTreeMap::new();
    for node in nodes {
        let group = groups.entry(conversation(node)).or_default();
        group.extend(node.names.iter().map(|(_, claim)| claim.clone()));
    }
    groups.entry(first.cloned()).or_default().insert(own);
    let claims = nodes.iter().map(|node| groups.get(&conversation(node)));
    claims
        .map(|group| group.into_iter().flatten().cloned().collect())
        .collect()
}

/// The best attribute by which spans of one trace name different conversations.
fn divider(nodes: &[Node<'_>]) -> Option<&'static str> {
    let mut values: BTreeMap<&'static str, BTreeSet<&Claim>> = BTreeMap::new();
    for (name, claim) in nodes.iter().flat_map(|node| &node.names) {
        values.entry(name).or_default().insert(claim);
    }
    let attributes = nodes.iter().flat_map(|node| &node.names);
    let differing = attributes.filter(|(name, _)| values.get(name).is_some_and(|v| v.len() > 1));
    differing
        .map(|(name, claim)| (claim.kind, *name))
        .min()
        .map(|(_, name)| name)
}

/// The name that a span or the nearest span above it gives.
fn inherited<'a>(
    node: &'a Node<'a>,
    attribute: &str,
    by_id: &BTreeMap<&str, &'a Node<'a>>,
) -> Option<&'a Claim> {
    let mut at = node;
    for _ in 0..DEPTH_MAX {
        if let Some(claim) = at.name(attribute) {
            return Some(claim);
        }
        at = by_id.get(at.parent?)?;
    }
    None
}
