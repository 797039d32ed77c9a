//! What the spans of a request call their conversation. What one span of a trace says of it holds for all of
//! the trace, since most spans name only their trace; where a trace tells of several conversations, the writer
//! decides which span belongs to which (`domain::conversations`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::domain::event::SessionRef;
use crate::domain::ids::{Claim, ClaimKind, TenantId};
use crate::domain::vocabulary::named_claims;

/// The session of each span's fields, in their order; none where a span has no trace.
pub fn of(tenant: TenantId, spans: &[&Map<String, Value>]) -> Vec<Option<SessionRef>> {
    let mut traces: BTreeMap<&str, BTreeSet<Claim>> = BTreeMap::new();
    for fields in spans {
        let trace = trace(fields);
        let names = named_claims(fields).into_iter().map(|(_, claim)| claim);
        let own = || BTreeSet::from([Claim::new(ClaimKind::Trace, trace)]);
        traces.entry(trace).or_insert_with(own).extend(names);
    }
    let sessions: BTreeMap<&str, Option<SessionRef>> = traces
        .into_iter()
        .map(|(trace, claims)| (trace, SessionRef::claimed(tenant, claims)))
        .collect();
    let each = spans.iter().map(|fields| sessions.get(trace(fields)));
    each.map(|session| session.cloned().flatten()).collect()
}

fn trace(fields: &Map<String, Value>) -> &str {
    let id = fields.get("traceId").and_then(Value::as_str);
    id.unwrap_or_default()
}
