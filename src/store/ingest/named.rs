//! What the sources of a batch call one session, as far as it tells which session is meant.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::domain::conversations::Node;
use crate::domain::event::{Kind, SessionRef, Source, Submission};
use crate::domain::ids;
use crate::domain::ids::{Claim, ClaimKind};

/// One session's names.
#[derive(Clone, Debug, Default)]
pub struct Named {
    pub external_id: String,
    /// What kind of name that is; none where the session was there already.
    pub kind: Option<ClaimKind>,
    /// Names that other sources may know it by.
    pub claims: BTreeSet<Claim>,
    /// The traces whose spans tell of it, with the values that they have for attributes which name a
    /// conversation.
    pub traces: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Named {
    pub fn of(session: &SessionRef) -> Self {
        Self {
            external_id: session.external_id.clone(),
            kind: session.kind,
            claims: session.claims.iter().cloned().collect(),
            traces: BTreeMap::new(),
        }
    }

    /// Takes in another reference to the same session.
    pub fn and(&mut self, session: &SessionRef) {
        self.name(&session.external_id, session.kind);
        self.claims.extend(session.claims.iter().cloned());
    }

    /// The same, of one that has been gathered before.
    pub fn add(&mut self, other: &Self) {
        self.name(&other.external_id, other.kind);
        self.claims.extend(other.claims.iter().cloned());
        for (trace, names) in &other.traces {
            let known = self.traces.entry(trace.clone()).or_default();
            for (name, values) in names {
                let all = known.entry(name.clone()).or_default();
                all.extend(values.iter().cloned());
            }
        }
    }

    /// Takes in what a submission itself says that the session is called.
    pub fn hear(&mut self, submission: &Submission) {
        match submission {
            Submission::Event(_, event) | Submission::Undated(_, event)
                if event.kind == Kind::Session =>
            {
                self.hear_fields(&event.fields)
            }
            Submission::Event(Source::Trace, event) if event.kind == Kind::Span => {
                if let Some((trace, node)) = Node::of(&event.fields) {
                    let known = self.traces.entry(trace).or_default();
                    for (name, claim) in node.names {
                        known.entry(name).or_default().insert(claim.value);
                    }
                }
            }
            Submission::Report(_, report) => report
                .events
                .iter()
                .filter(|event| event.kind == Kind::Session)
                .for_each(|event| self.hear_fields(&event.fields)),
            _ => {}
        }
    }

    /// The better kind of name stays, of two of one kind the preferred one.
    fn name(&mut self, external_id: &str, kind: Option<ClaimKind>) {
        let place = |kind: Option<ClaimKind>| kind.map_or(i16::MAX, |kind| kind as i16);
        let is_better = match place(kind).cmp(&place(self.kind)) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => {
                ids::preferred(&self.external_id, external_id) == external_id
            }
            std::cmp::Ordering::Greater => false,
        };
        if is_better {
            self.external_id = external_id.to_owned();
            self.kind = kind;
        }
    }

    fn hear_fields(&mut self, fields: &Map<String, Value>) {
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        if let Some(sid) = text("callSid").filter(|sid| ids::is_call_sid(sid)) {
            self.claims.insert(Claim::new(ClaimKind::CallSid, sid));
        }
        if let Some(sid) = text("streamId").filter(|sid| ids::is_stream_sid(sid)) {
            self.claims.insert(Claim::new(ClaimKind::StreamSid, sid));
        }
        let others = fields.get("externalIds").and_then(Value::as_array);
        for other in others.into_iter().flatten() {
            let member = |name: &str| other.get(name).and_then(Value::as_str);
            let kind = member("kind").and_then(ClaimKind::parse_foreign);
            if let (Some(kind), Some(id)) = (kind, member("id")) {
                let claim = Claim::new(kind, id);
                if claim.is_sound() {
                    self.claims.insert(claim);
                }
            }
        }
    }
}
