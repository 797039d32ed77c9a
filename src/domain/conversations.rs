//! Which conversation a span of a trace belongs to, as a function of all spans of the trace that are known.
//!
//! Most traces tell of one conversation: then all names that its spans give are names of that one. A trace is
//! divided as soon as two spans give different values for one attribute. From then on a span belongs to the
//! conversation that it names by such an attribute itself, else to that of the nearest span above it which
//! does (its anchor), else to the first that the trace names.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::ids::{Claim, ClaimKind};
use crate::domain::partial;
use crate::domain::vocabulary::{Said, named_claims};

/// No trace is deeper; one whose parents go in a circle is.
pub const DEPTH_MAX: usize = 64;

/// A span as it stands in its trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub span_id: String,
    pub parent: Option<String>,
    pub started_at: DateTime<Utc>,
    /// Its names for the conversation, by the attribute that gives each.
    pub names: BTreeSet<(String, Claim)>,
}

impl Node {
    /// A span's trace and place in it. None of a span that is told in pieces: whose it is is said of its
    /// whole trace.
    pub fn of(fields: &Map<String, Value>) -> Option<(String, Self)> {
        if fields.contains_key(partial::SAID_AT) {
            return None;
        }
        let said = Said::read(fields)?;
        let names = named_claims(fields).into_iter();
        let node = Self {
            span_id: said.span_id.to_owned(),
            parent: said.parent.map(str::to_owned),
            started_at: said.started_at,
            names: names
                .map(|(name, claim)| (attribute(name, &claim), claim))
                .collect(),
        };
        Some((said.trace_id.to_owned(), node))
    }

    /// The same span, told twice: whatever came first.
    pub fn and(&mut self, other: &Self) {
        self.parent = other.parent.clone().max(self.parent.take());
        self.started_at = self.started_at.min(other.started_at);
        self.names.extend(other.names.iter().cloned());
    }

    fn claims(&self) -> impl Iterator<Item = Claim> {
        self.names.iter().map(|(_, claim)| claim.clone())
    }

    /// As the store keeps them: each with its attribute and kind.
    pub fn names_as_text(&self) -> String {
        let each = self.names.iter();
        let each = each.map(|(name, claim)| [name.as_str(), claim.kind.as_str(), &claim.value]);
        serde_json::to_string(&each.collect::<Vec<_>>()).unwrap_or_default()
    }

    pub fn names_from_text(text: &str) -> Option<BTreeSet<(String, Claim)>> {
        let each: Vec<(String, String, String)> = serde_json::from_str(text).ok()?;
        let each = each.into_iter();
        each.map(|(name, kind, value)| {
            Some((name, Claim::new(ClaimKind::parse_foreign(&kind)?, value)))
        })
        .collect()
    }
}

/// What a name divides by: two rooms are two, whichever attributes name them; what an application calls a
/// conversation in two attributes may be two names of it.
fn attribute(name: &str, claim: &Claim) -> String {
    match claim.kind {
        ClaimKind::LivekitRoomSid => claim.kind.as_str().to_owned(),
        _ => name.to_owned(),
    }
}

/// Spans of one divided trace: those that are to be decided, and all that are above them.
#[derive(Clone, Debug, Default)]
pub struct Divided {
    pub nodes: BTreeMap<String, Node>,
    /// The attributes that have several values in the trace.
    pub attributes: BTreeSet<String>,
}

impl Divided {
    pub fn add(&mut self, node: Node) {
        match self.nodes.get_mut(&node.span_id) {
            Some(known) => known.and(&node),
            None => drop(self.nodes.insert(node.span_id.clone(), node)),
        }
    }

    /// Whether it names one of the conversations itself.
    pub fn is_anchor(&self, node: &Node) -> bool {
        self.dividing(node).next().is_some()
    }

    fn dividing<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a str> {
        let names = node.names.iter().map(|(name, _)| name.as_str());
        names.filter(|name| self.attributes.contains(*name))
    }

    /// The nearest span above it that names a conversation.
    fn above(&self, node: &Node) -> Option<&Node> {
        let mut parent = node.parent.as_ref();
        for _ in 0..DEPTH_MAX {
            let at = self.nodes.get(parent?)?;
            if self.is_anchor(at) {
                return Some(at);
            }
            parent = at.parent.as_ref();
        }
        None
    }

    /// The names of the conversation that a span belongs to, as far as it tells them; none of a stray.
    pub fn claims(&self, node: &Node) -> Option<BTreeSet<Claim>> {
        let above = self.above(node);
        let mut claims: BTreeSet<Claim> = node.claims().collect();
        if !self.is_anchor(node) {
            claims.extend(above?.claims());
        } else if let Some(above) = above
            // What names it in other words means the same one.
            && !self.dividing(node).any(|name| self.dividing(above).any(|other| other == name))
        {
            claims.extend(above.claims());
        }
        Some(claims)
    }

    /// The span by which the trace names its first conversation.
    pub fn first(&self) -> Option<&Node> {
        let anchors = self.nodes.values().filter(|node| self.is_anchor(node));
        anchors.min_by_key(|node| (node.started_at, &node.span_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(
        id: &str,
        parent: Option<&str>,
        second: i64,
        names: &[(&str, ClaimKind, &str)],
    ) -> Node {
        let names = names.iter();
        Node {
            span_id: id.to_owned(),
            parent: parent.map(str::to_owned),
            started_at: DateTime::from_timestamp(second, 0).unwrap(),
            names: names
                .map(|(name, kind, value)| ((*name).to_owned(), Claim::new(*kind, *value)))
                .collect(),
        }
    }

    fn divided(nodes: Vec<Node>) -> Divided {
        let attributes = ["conversation.id", "call_sid"].map(str::to_owned).into();
        let mut divided = Divided {
            attributes,
            ..Divided::default()
        };
        nodes.into_iter().for_each(|node| divided.add(node));
        divided
    }

    #[test]
    fn a_span_goes_with_its_own_name_then_with_the_nearest_above() {
        use ClaimKind::{CallSid, Conversation};
        let one = ("conversation.id", Conversation, "one");
        let divided = divided(vec![
            node(
                "worker",
                None,
                0,
                &[("session.id", Conversation, "worker-7")],
            ),
            node("a", Some("worker"), 2, &[one]),
            node("a1", Some("a"), 3, &[]),
            node("a2", Some("a1"), 4, &[("call_sid", CallSid, "CA1")]),
            node(
                "b",
                Some("worker"),
                1,
                &[("conversation.id", Conversation, "two")],
            ),
            node("b1", Some("b"), 5, &[one]),
            node("lost", Some("unknown"), 0, &[]),
        ]);
        let of = |id: &str| {
            let claims = divided.claims(&divided.nodes[id])?;
            Some(
                claims
                    .into_iter()
                    .map(|claim| claim.value)
                    .collect::<Vec<_>>(),
            )
        };
        let values = |values: &[&str]| Some(values.iter().map(|v| (*v).to_owned()).collect());
        assert_eq!(of("a1"), values(&["one"]));
        assert_eq!(of("a2"), values(&["CA1", "one"]));
        assert_eq!(of("b1"), values(&["one"]));
        assert_eq!(of("worker"), None);
        assert_eq!(of("lost"), None);
        assert_eq!(divided.first().map(|node| node.span_id.as_str()), Some("b"));
    }

    #[test]
    fn parents_in_a_circle_end() {
        let divided = divided(vec![
            node("a", Some("b"), 0, &[]),
            node("b", Some("a"), 0, &[]),
        ]);
        assert_eq!(divided.claims(&divided.nodes["a"]), None);
    }

    #[test]
    fn names_are_kept_as_text() {
        let a = node("a", None, 0, &[("call_sid", ClaimKind::CallSid, "CA\"1")]);
        assert_eq!(Node::names_from_text(&a.names_as_text()), Some(a.names));
        assert_eq!(Node::names_from_text("?"), None);
    }
}
