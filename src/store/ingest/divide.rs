//! Which conversations the spans of a batch belong to, where their trace tells of several
//! (`domain::conversations`): decided from all spans of the trace that are known, and again for those that
//! are stored already and that a new one has an effect on. They move to the session that they belong to.
//!
//! A trace that tells of one conversation, as most do, costs one look at what it is known to be named by.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::conversations::{Divided, Node};
use crate::domain::event::{Kind, SessionRef, Source, Submission};
use crate::domain::ids::{Claim, ClaimKind, TenantId};

use super::batch::SessionWork;
use super::load::Key;
use super::named::Named;
use super::nodes::{self, Kept, Names, Trace};
use super::{Result, Trouble};

/// The divided traces of a batch, and what becomes of their spans.
#[derive(Default)]
pub struct Division {
    pub parts: BTreeMap<Trace, Part>,
    /// Spans of traces that are not divided, which are to be placed anew, and what they are about.
    pub others: Vec<(Kept, Key)>,
    /// Traces that are taken to tell of one conversation.
    whole: Vec<Trace>,
    /// Sessions that were seen to hold spans of traces which turn out to be divided.
    holders: BTreeSet<Key>,
    /// What the names are that lead to the sessions of all these.
    entries: BTreeMap<Key, Named>,
}

/// One divided trace, as far as it is looked at.
#[derive(Default)]
pub struct Part {
    pub divided: Divided,
    /// Where spans are stored.
    pub at: BTreeMap<String, BTreeSet<Uuid>>,
    /// Spans to be decided.
    deciding: BTreeSet<String>,
    /// What each of them is about.
    pub keys: BTreeMap<String, Key>,
    /// What the trace's first conversation is.
    pub first: Option<Key>,
    is_new: bool,
}

impl Part {
    fn store(&mut self, kept: Kept) -> String {
        let id = kept.node.span_id.clone();
        self.at.entry(id.clone()).or_default().insert(kept.session);
        self.divided.add(kept.node);
        id
    }
}

/// Takes a batch apart where its traces tell of several conversations.
pub async fn divide<'a>(
    connection: &mut PgConnection,
    mut work: BTreeMap<Key, SessionWork<'a>>,
) -> Result<(BTreeMap<Key, SessionWork<'a>>, Division)> {
    let mut told: BTreeMap<Trace, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (key, work) in &work {
        for (trace, names) in &work.named.traces {
            let all = told.entry((key.0, trace.clone())).or_default();
            for (name, values) in names {
                let known = all.entry(name.clone()).or_default();
                known.extend(values.iter().cloned());
            }
        }
    }
    if told.is_empty() {
        return Ok((work, Division::default()));
    }
    let traces: Vec<&Trace> = told.keys().collect();
    let known = nodes::names(connection, &traces).await?;
    let named = learn(connection, &told, &known).await?;
    let whole = named.iter().filter(|(_, attributes)| attributes.is_empty());
    let mut division = Division {
        whole: whole.map(|(trace, _)| trace.clone()).collect(),
        ..Division::default()
    };
    if division.whole.len() == named.len() {
        return Ok((work, division));
    }
    let (mut new, mut grown, mut same) = (Vec::new(), Vec::new(), Vec::new());
    for (trace, attributes) in named.iter().filter(|(_, a)| !a.is_empty()) {
        let before = known.get(trace).map_or(0, dividing);
        let part = division.parts.entry(trace.clone()).or_default();
        part.divided.attributes = attributes.clone();
        part.is_new = before == 0;
        match before {
            0 => new.push(trace),
            n if n < attributes.len() => grown.push(trace),
            _ => same.push(trace),
        }
    }
    let spans = division.extract(&mut work);
    division.open(connection, &new).await?;
    for kept in nodes::of_traces(connection, &grown, false).await? {
        if let Some(part) = division.parts.get_mut(&kept.trace.clone()) {
            let id = part.store(kept);
            part.deciding.insert(id);
        }
    }
    division.look_around(connection).await?;
    division.decide();
    division.hand_out(&mut work, spans);
    Ok((work, division))
}

fn dividing(names: &Names) -> usize {
    names.values().filter(|(_, divides)| *divides).count()
}

/// Keeps what a batch's traces are named by, and answers by which attributes each is divided.
async fn learn(
    connection: &mut PgConnection,
    told: &BTreeMap<Trace, BTreeMap<String, BTreeSet<String>>>,
    known: &BTreeMap<Trace, Names>,
) -> Result<BTreeMap<Trace, BTreeSet<String>>> {
    let divided: Vec<&Trace> = known
        .iter()
        .filter(|(_, names)| dividing(names) > 0)
        .map(|(trace, _)| trace)
        .collect();
    if !divided.is_empty() {
        let counts = nodes::lock(connection, &divided).await?;
        let is_same =
            |trace: &&Trace| counts.get(*trace).copied() == known.get(*trace).map(dividing);
        if !divided.iter().all(is_same) {
            return Err(Trouble::Race);
        }
    }
    let (mut fresh, mut further) = (BTreeMap::new(), Vec::new());
    let mut named: BTreeMap<Trace, BTreeSet<String>> = BTreeMap::new();
    for (trace, names) in told {
        let before = known.get(trace);
        let by = named.entry(trace.clone()).or_default();
        let all = before.into_iter().flatten();
        by.extend(
            all.filter(|(_, (_, divides))| *divides)
                .map(|(name, _)| name.clone()),
        );
        for (name, values) in names {
            match before.and_then(|before| before.get(name)) {
                None => {
                    let first = values.first().cloned().unwrap_or_default();
                    fresh.insert((trace, name), (first, values.len() > 1));
                    by.extend((values.len() > 1).then(|| name.clone()));
                }
                Some((value, false)) if values.iter().any(|other| other != value) => {
                    further.push((trace, name));
                    by.insert(name.clone());
                }
                Some(_) => {}
            }
        }
    }
    let fresh: Vec<_> = fresh
        .iter()
        .map(|((t, n), value)| (*t, *n, value))
        .collect();
    nodes::keep_names(connection, &fresh).await?;
    nodes::keep_division(connection, &further).await?;
    Ok(named)
}

/// A span of a divided trace that a batch brings.
struct Brought<'a> {
    trace: Trace,
    span_id: String,
    place: usize,
    submission: &'a Submission,
}

impl Division {
    /// Takes the spans of divided traces out of a batch. What is left keeps the names that it gives itself.
    fn extract<'a>(&mut self, work: &mut BTreeMap<Key, SessionWork<'a>>) -> Vec<Brought<'a>> {
        let mut brought = Vec::new();
        let is_divided = |key: &Key, work: &SessionWork<'_>| {
            let mut traces = work.named.traces.keys();
            traces.any(|trace| self.parts.contains_key(&(key.0, trace.clone())))
        };
        let mixed: Vec<Key> = work
            .iter()
            .filter(|(key, work)| is_divided(key, work))
            .map(|(key, _)| *key)
            .collect();
        for key in mixed {
            let Some(entry) = work.remove(&key) else {
                continue;
            };
            for ((place, submission), session) in entry.submissions.into_iter().zip(entry.refs) {
                let node = node_of(submission).map(|(trace, node)| ((key.0, trace), node));
                match node
                    .and_then(|(trace, node)| Some((self.parts.get_mut(&trace)?, trace, node)))
                {
                    Some((part, trace, node)) => {
                        let span_id = node.span_id.clone();
                        part.deciding.insert(span_id.clone());
                        part.divided.add(node);
                        brought.push(Brought {
                            trace,
                            span_id,
                            place,
                            submission,
                        });
                    }
                    None => {
                        let kept = work
                            .entry(key)
                            .or_insert_with(|| SessionWork::named(Named::of(session)));
                        kept.named.and(session);
                        kept.named.hear(submission);
                        kept.submissions.push((place, submission));
                        kept.refs.push(session);
                    }
                }
            }
        }
        brought
    }

    /// Traces that turn out to be divided: all that is known of them is decided. A session of which only spans
    /// tell loses its names, since some may have been another's; all its spans are placed anew.
    async fn open(&mut self, connection: &mut PgConnection, new: &[&Trace]) -> Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        let holders = nodes::lock_holders(connection, new).await?;
        let is_fixed = |kind| matches!(kind, ClaimKind::Trace | ClaimKind::Native);
        let named = holders.iter().filter(|holder| !is_fixed(holder.kind));
        let named: Vec<Key> = named.map(|holder| holder.key).collect();
        let only_traced = nodes::only_traced(connection, &named).await?;
        let keys: Vec<Key> = holders.iter().map(|holder| holder.key).collect();
        self.holders.extend(keys.iter().copied());
        let mut others: BTreeMap<Trace, Vec<Kept>> = BTreeMap::new();
        let mut forgotten = BTreeSet::new();
        for kept in nodes::spans_of(connection, &keys).await? {
            let tenant = kept.trace.0;
            let is_placed_anew = only_traced.contains(&(tenant, kept.session));
            if is_placed_anew {
                let claims = kept.node.names.iter().map(|(_, claim)| claim);
                forgotten.extend(claims.map(|claim| (tenant, claim.session(TenantId(tenant)).0)));
            }
            match self.parts.get_mut(&kept.trace.clone()) {
                Some(part) if part.is_new => {
                    let id = part.store(kept);
                    part.deciding.insert(id);
                }
                _ if is_placed_anew => others.entry(kept.trace.clone()).or_default().push(kept),
                _ => {}
            }
        }
        let only_traced: Vec<Key> = only_traced.into_iter().collect();
        let forgotten: Vec<Key> = forgotten.into_iter().collect();
        nodes::forget_names(connection, &only_traced, &forgotten).await?;
        self.place_anew(connection, others).await
    }

    /// Spans of other traces whose session has lost its names.
    async fn place_anew(
        &mut self,
        connection: &mut PgConnection,
        others: BTreeMap<Trace, Vec<Kept>>,
    ) -> Result<()> {
        let traces: Vec<&Trace> = others.keys().collect();
        let names = nodes::names(connection, &traces).await?;
        for (trace, spans) in others {
            let attributes = names.get(&trace).into_iter().flatten();
            let attributes = attributes.filter(|(_, (_, divides))| *divides);
            let attributes: BTreeSet<String> = attributes.map(|(name, _)| name.clone()).collect();
            if !attributes.is_empty() {
                let part = self.parts.entry(trace).or_default();
                part.divided.attributes.extend(attributes);
                for kept in spans {
                    let id = part.store(kept);
                    part.deciding.insert(id);
                }
                continue;
            }
            let own = Claim::new(ClaimKind::Trace, trace.1.as_str());
            let names = spans.iter().flat_map(|kept| &kept.node.names);
            let claims = names.map(|(_, claim)| claim.clone()).chain([own]);
            let Some(session) = SessionRef::claimed(TenantId(trace.0), claims) else {
                continue;
            };
            let key = (trace.0, session.id.0);
            self.entries
                .entry(key)
                .or_insert_with(|| Named::of(&session))
                .and(&session);
            self.others
                .extend(spans.into_iter().map(|kept| (kept, key)));
        }
        Ok(())
    }
}

impl Division {
    /// Once all sessions of a batch are locked: whether its traces are still what they seemed to be when it
    /// looked. Else somebody else was faster.
    pub async fn check(&self, connection: &mut PgConnection) -> Result<()> {
        let new = self.parts.iter().filter(|(_, part)| part.is_new);
        let new: Vec<&Trace> = new.map(|(trace, _)| trace).collect();
        if self.whole.is_empty() && new.is_empty() {
            return Ok(());
        }
        let whole: Vec<&Trace> = self.whole.iter().collect();
        if nodes::is_any_divided(connection, &whole).await? {
            return Err(Trouble::Race);
        }
        let holders = nodes::holders(connection, &new).await?;
        match holders.is_subset(&self.holders) {
            true => Ok(()),
            false => Err(Trouble::Race),
        }
    }

    /// What is above and below the spans that come, and which conversation was the first.
    async fn look_around(&mut self, connection: &mut PgConnection) -> Result<()> {
        let stored: Vec<Trace> = self
            .parts
            .iter()
            .filter(|(_, part)| !part.is_new)
            .map(|(trace, _)| trace.clone())
            .collect();
        if stored.is_empty() {
            return Ok(());
        }
        let traces: Vec<&Trace> = stored.iter().collect();
        let mut asked: BTreeSet<(&Trace, &String)> = BTreeSet::new();
        let told: Vec<(&Trace, String, Option<String>, Node)> = traces
            .iter()
            .flat_map(|trace| {
                let part = &self.parts[*trace];
                let nodes = part
                    .deciding
                    .iter()
                    .filter_map(|id| part.divided.nodes.get(id));
                nodes.map(|n| (*trace, n.span_id.clone(), n.parent.clone(), n.clone()))
            })
            .collect();
        for (trace, id, parent, _) in &told {
            asked.insert((trace, id));
            asked.extend(parent.as_ref().map(|parent| (*trace, parent)));
        }
        let above = nodes::upwards(connection, &asked.into_iter().collect::<Vec<_>>()).await?;
        let mut known: BTreeMap<(Trace, String), Node> = BTreeMap::new();
        for kept in above {
            known.insert(
                (kept.trace.clone(), kept.node.span_id.clone()),
                kept.node.clone(),
            );
            self.store(kept, false);
        }
        // What says nothing new changes nothing below it.
        let is_new = |trace: &Trace, node: &Node| {
            let before = known.get(&(trace.clone(), node.span_id.clone()));
            before.is_none_or(|before| {
                before.parent != node.parent || !node.names.is_subset(&before.names)
            })
        };
        let fresh: Vec<(&Trace, &String)> = told
            .iter()
            .filter(|(trace, _, _, node)| is_new(trace, node))
            .map(|(trace, id, ..)| (*trace, id))
            .collect();
        if !fresh.is_empty() {
            for kept in nodes::downwards(connection, &fresh).await? {
                self.store(kept, true);
            }
        }
        let mut moved = Vec::new();
        let firsts = nodes::firsts(connection, &traces).await?;
        let mut before: BTreeMap<Trace, String> = BTreeMap::new();
        for kept in firsts {
            before.insert(kept.trace.clone(), kept.node.span_id.clone());
            self.store(kept, false);
        }
        for trace in traces {
            let now = self.parts[trace].divided.first();
            if now.map(|node| &node.span_id) != before.get(trace) {
                moved.push(trace);
            }
        }
        for kept in nodes::of_traces(connection, &moved, true).await? {
            self.store(kept, true);
        }
        Ok(())
    }

    fn store(&mut self, kept: Kept, is_decided_anew: bool) {
        if let Some(part) = self.parts.get_mut(&kept.trace.clone()) {
            let id = part.store(kept);
            if is_decided_anew {
                part.deciding.insert(id);
            }
        }
    }

    /// What each span is about.
    fn decide(&mut self) {
        for (trace, part) in &mut self.parts {
            let tenant = TenantId(trace.0);
            let mut entry = |claims: BTreeSet<Claim>| {
                let session = SessionRef::claimed(tenant, claims)?;
                let key = (trace.0, session.id.0);
                let named = self
                    .entries
                    .entry(key)
                    .or_insert_with(|| Named::of(&session));
                named.and(&session);
                Some(key)
            };
            let first = part.divided.first();
            let mut claims = first.and_then(|first| part.divided.claims(first));
            if part.is_new
                && let Some(claims) = &mut claims
            {
                // What was known of the trace alone.
                claims.insert(Claim::new(ClaimKind::Trace, trace.1.as_str()));
            }
            part.first = claims.and_then(&mut entry);
            for id in &part.deciding {
                let node = part.divided.nodes.get(id);
                let claims = node.and_then(|node| part.divided.claims(node));
                let key = claims.and_then(&mut entry).or(part.first);
                part.keys.extend(key.map(|key| (id.clone(), key)));
            }
        }
    }

    /// Puts all that a batch brings where it belongs.
    fn hand_out<'a>(&mut self, work: &mut BTreeMap<Key, SessionWork<'a>>, spans: Vec<Brought<'a>>) {
        // What names nothing but a divided trace means its first conversation.
        let mut led: Vec<(Key, Key)> = Vec::new();
        for (trace, part) in &self.parts {
            let own = Claim::new(ClaimKind::Trace, trace.1.as_str()).session(TenantId(trace.0));
            led.extend(part.first.map(|first| ((trace.0, own.0), first)));
        }
        for (own, first) in led {
            let is_own = |work: &SessionWork<'_>| work.named.kind == Some(ClaimKind::Trace);
            if own != first
                && work.get(&own).is_some_and(is_own)
                && let Some(entry) = work.remove(&own)
                && let Some(named) = self.entries.get(&first)
            {
                let there = work
                    .entry(first)
                    .or_insert_with(|| SessionWork::named(named.clone()));
                there.submissions.extend(entry.submissions);
                there.refs.extend(entry.refs);
            }
        }
        for (key, named) in &self.entries {
            let entry = work
                .entry(*key)
                .or_insert_with(|| SessionWork::named(named.clone()));
            entry.named.add(named);
        }
        for span in spans {
            let key = self
                .parts
                .get(&span.trace)
                .and_then(|part| part.keys.get(&span.span_id));
            if let Some(entry) = key.and_then(|key| work.get_mut(key)) {
                entry.submissions.push((span.place, span.submission));
            }
        }
        for entry in work.values_mut() {
            entry.submissions.sort_by_key(|(place, _)| *place);
        }
    }
}

/// A tracer's span and its place, of a submission that is one.
fn node_of(submission: &Submission) -> Option<(String, Node)> {
    match submission {
        Submission::Event(Source::Trace, event) if event.kind == Kind::Span => {
            Node::of(&event.fields)
        }
        _ => None,
    }
}
