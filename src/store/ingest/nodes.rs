//! What the store knows of traces that may tell of several conversations (`domain::conversations`). Each
//! function is one statement for the whole batch.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::conversations::{DEPTH_MAX, Node};
use crate::domain::event::{Kind, Source};
use crate::domain::fact::Identity;
use crate::domain::ids::{Claim, ClaimKind, TenantId};
use crate::domain::span;
use crate::store::columns::{column, object, unreadable};

use super::load::Key;
use super::resolve::ABSORBED;
use super::{Result, Trouble};

/// A trace: its tenant and its id.
pub type Trace = (Uuid, String);

/// A trace's attributes, each with a value, and whether it has others too.
pub type Names = BTreeMap<String, (String, bool)>;

/// By which attributes these traces are known to name their conversations.
pub async fn names(
    connection: &mut PgConnection,
    traces: &[&Trace],
) -> Result<BTreeMap<Trace, Names>> {
    let rows = sqlx::query!(
        "select n.tenant_id, n.trace_id, n.attribute, n.value, n.divides
           from unnest($1::uuid[], $2::text[]) as k (tenant_id, trace_id)
           join trace_names n on n.tenant_id = k.tenant_id and n.trace_id = k.trace_id",
        &column(traces, |t| t.0),
        &column(traces, |t| t.1.clone()),
    )
    .fetch_all(connection)
    .await?;
    let mut names: BTreeMap<Trace, Names> = BTreeMap::new();
    for row in rows {
        let known = names.entry((row.tenant_id, row.trace_id)).or_default();
        known.insert(row.attribute, (row.value, row.divides));
    }
    Ok(names)
}

/// Waits for whoever writes to these divided traces, and answers by how many attributes each is divided.
pub async fn lock(
    connection: &mut PgConnection,
    traces: &[&Trace],
) -> Result<BTreeMap<Trace, usize>> {
    let rows = sqlx::query!(
        "select n.tenant_id, n.trace_id
           from unnest($1::uuid[], $2::text[]) as k (tenant_id, trace_id)
           join trace_names n on n.tenant_id = k.tenant_id and n.trace_id = k.trace_id
          where n.divides
          order by n.tenant_id, n.trace_id, n.attribute
            for update of n",
        &column(traces, |t| t.0),
        &column(traces, |t| t.1.clone()),
    )
    .fetch_all(connection)
    .await?;
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry((row.tenant_id, row.trace_id)).or_default() += 1;
    }
    Ok(counts)
}

/// Whether any of these traces is divided.
pub async fn is_any_divided(connection: &mut PgConnection, traces: &[&Trace]) -> Result<bool> {
    let is_divided = sqlx::query_scalar!(
        r#"select exists (
              select from unnest($1::uuid[], $2::text[]) as k (tenant_id, trace_id)
                join trace_names n on n.tenant_id = k.tenant_id and n.trace_id = k.trace_id
               where n.divides) as "is_divided!""#,
        &column(traces, |t| t.0),
        &column(traces, |t| t.1.clone()),
    )
    .fetch_one(connection)
    .await?;
    Ok(is_divided)
}

/// The sessions that hold spans of these traces.
pub async fn holders(connection: &mut PgConnection, traces: &[&Trace]) -> Result<BTreeSet<Key>> {
    if traces.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows = sqlx::query!(
        "select t.tenant_id, t.session_id
           from unnest($1::uuid[], $2::text[]) as k (tenant_id, trace_id)
           join traces t on t.tenant_id = k.tenant_id and t.trace_id = k.trace_id",
        &column(traces, |t| t.0),
        &column(traces, |t| t.1.clone()),
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| (r.tenant_id, r.session_id))
        .collect())
}

/// Keeps attributes that were not known. Somebody else may have been faster with one.
pub async fn keep_names(
    connection: &mut PgConnection,
    rows: &[(&Trace, &String, &(String, bool))],
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let done = sqlx::query!(
        "insert into trace_names (tenant_id, trace_id, attribute, value, divides)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[])
             on conflict (tenant_id, trace_id, attribute) do nothing",
        &column(rows, |(trace, ..)| trace.0),
        &column(rows, |(trace, ..)| trace.1.clone()),
        &column(rows, |(_, name, _)| (*name).clone()),
        &column(rows, |(.., value)| value.0.clone()),
        &column(rows, |(.., value)| value.1),
    )
    .execute(connection)
    .await?;
    match done.rows_affected() < rows.len() as u64 {
        true => Err(Trouble::Race),
        false => Ok(()),
    }
}

/// Keeps that these attributes have several values.
pub async fn keep_division(
    connection: &mut PgConnection,
    rows: &[(&Trace, &String)],
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let done = sqlx::query!(
        "update trace_names n
            set divides = true
           from unnest($1::uuid[], $2::text[], $3::text[]) as k (tenant_id, trace_id, attribute)
          where n.tenant_id = k.tenant_id and n.trace_id = k.trace_id and n.attribute = k.attribute
            and not n.divides",
        &column(rows, |(trace, _)| trace.0),
        &column(rows, |(trace, _)| trace.1.clone()),
        &column(rows, |(_, name)| (*name).clone()),
    )
    .execute(connection)
    .await?;
    match done.rows_affected() < rows.len() as u64 {
        true => Err(Trouble::Race),
        false => Ok(()),
    }
}

/// A span of a divided trace as it is kept.
pub struct Kept {
    pub trace: Trace,
    pub node: Node,
    pub session: Uuid,
}

struct Row {
    tenant_id: Uuid,
    trace_id: String,
    span_id: String,
    parent: Option<String>,
    names: String,
    started_at: DateTime<Utc>,
    session_id: Uuid,
}

impl Row {
    fn into_kept(self) -> Result<Kept> {
        let names = Node::names_from_text(&self.names)
            .ok_or_else(|| unreadable("trace_nodes.names", &self.span_id))?;
        Ok(Kept {
            trace: (self.tenant_id, self.trace_id),
            node: Node {
                span_id: self.span_id,
                parent: self.parent,
                started_at: self.started_at,
                names,
            },
            session: self.session_id,
        })
    }
}

/// These spans, and all above them.
pub async fn upwards(
    connection: &mut PgConnection,
    spans: &[(&Trace, &String)],
) -> Result<Vec<Kept>> {
    let rows = sqlx::query_as!(
        Row,
        r#"with recursive up as (
            select n.tenant_id, n.trace_id, n.span_id, n.parent, n.names, n.started_at, n.session_id, 0 as depth
              from unnest($1::uuid[], $2::text[], $3::text[]) as k (tenant_id, trace_id, span_id)
              join trace_nodes n
                on n.tenant_id = k.tenant_id and n.trace_id = k.trace_id and n.span_id = k.span_id
             union
            select n.tenant_id, n.trace_id, n.span_id, n.parent, n.names, n.started_at, n.session_id, up.depth + 1
              from up
              join trace_nodes n
                on n.tenant_id = up.tenant_id and n.trace_id = up.trace_id and n.span_id = up.parent
             where up.depth < $4
         )
         select distinct on (tenant_id, trace_id, span_id)
                tenant_id as "tenant_id!", trace_id as "trace_id!", span_id as "span_id!", parent,
                names as "names!", started_at as "started_at!", session_id as "session_id!"
           from up
          order by tenant_id, trace_id, span_id"#,
        &column(spans, |(trace, _)| trace.0),
        &column(spans, |(trace, _)| trace.1.clone()),
        &column(spans, |(_, span)| (*span).clone()),
        DEPTH_MAX as i32,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Row::into_kept).collect()
}

/// What is below these spans, down to those that name a conversation themselves.
pub async fn downwards(
    connection: &mut PgConnection,
    spans: &[(&Trace, &String)],
) -> Result<Vec<Kept>> {
    let rows = sqlx::query_as!(
        Row,
        r#"with recursive down as (
            select n.tenant_id, n.trace_id, n.span_id, n.parent, n.names, n.started_at, n.session_id, n.is_anchor,
                   0 as depth
              from unnest($1::uuid[], $2::text[], $3::text[]) as k (tenant_id, trace_id, span_id)
              join trace_nodes n
                on n.tenant_id = k.tenant_id and n.trace_id = k.trace_id and n.parent = k.span_id
             union
            select n.tenant_id, n.trace_id, n.span_id, n.parent, n.names, n.started_at, n.session_id, n.is_anchor,
                   down.depth + 1
              from down
              join trace_nodes n
                on n.tenant_id = down.tenant_id and n.trace_id = down.trace_id and n.parent = down.span_id
             where down.depth < $4 and not down.is_anchor
         )
         select distinct on (tenant_id, trace_id, span_id)
                tenant_id as "tenant_id!", trace_id as "trace_id!", span_id as "span_id!", parent,
                names as "names!", started_at as "started_at!", session_id as "session_id!"
           from down
          order by tenant_id, trace_id, span_id"#,
        &column(spans, |(trace, _)| trace.0),
        &column(spans, |(trace, _)| trace.1.clone()),
        &column(spans, |(_, span)| (*span).clone()),
        DEPTH_MAX as i32,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Row::into_kept).collect()
}

/// The span by which each of these traces names its first conversation.
pub async fn firsts(connection: &mut PgConnection, traces: &[&Trace]) -> Result<Vec<Kept>> {
    let rows = sqlx::query_as!(
        Row,
        "select n.tenant_id, n.trace_id, n.span_id, n.parent, n.names, n.started_at, n.session_id
           from unnest($1::uuid[], $2::text[]) as k (tenant_id, trace_id)
          cross join lateral (
                select * from trace_nodes t
                 where t.tenant_id = k.tenant_id and t.trace_id = k.trace_id and t.is_anchor
                 order by t.started_at, t.span_id
                 limit 1
                ) n",
        &column(traces, |t| t.0),
        &column(traces, |t| t.1.clone()),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Row::into_kept).collect()
}

/// What goes with the first conversation of these traces, or all that is known of them.
pub async fn of_traces(
    connection: &mut PgConnection,
    traces: &[&Trace],
    strays_only: bool,
) -> Result<Vec<Kept>> {
    if traces.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        Row,
        "select n.tenant_id, n.trace_id, n.span_id, n.parent, n.names, n.started_at, n.session_id
           from unnest($1::uuid[], $2::text[]) as k (tenant_id, trace_id)
           join trace_nodes n on n.tenant_id = k.tenant_id and n.trace_id = k.trace_id
          where n.is_stray or not $3",
        &column(traces, |t| t.0),
        &column(traces, |t| t.1.clone()),
        strays_only,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Row::into_kept).collect()
}

/// A session that holds spans of a trace which turns out to be divided.
pub struct Holder {
    pub key: Key,
    pub kind: ClaimKind,
}

/// Locks the sessions that hold spans of these traces. Whoever has looked at one before looks again.
pub async fn lock_holders(connection: &mut PgConnection, traces: &[&Trace]) -> Result<Vec<Holder>> {
    let rows = sqlx::query!(
        "update sessions s
            set divisions = s.divisions + 1
           from (select s.tenant_id, s.id
                   from sessions s
                  where (s.tenant_id, s.id) in (
                        select t.tenant_id, t.session_id
                          from unnest($1::uuid[], $2::text[]) as k (tenant_id, trace_id)
                          join traces t on t.tenant_id = k.tenant_id and t.trace_id = k.trace_id)
                  order by s.tenant_id, s.id
                    for no key update) as held
          where s.tenant_id = held.tenant_id and s.id = held.id
         returning s.tenant_id, s.id, s.name_kind",
        &column(traces, |t| t.0),
        &column(traces, |t| t.1.clone()),
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let kind = ClaimKind::from_stored(row.name_kind)
                .ok_or_else(|| unreadable("sessions.name_kind", row.id))?;
            let key = (row.tenant_id, row.id);
            Ok(Holder { key, kind })
        })
        .collect()
}

/// The tracer's spans that these sessions hold, by what they say themselves.
pub async fn spans_of(connection: &mut PgConnection, keys: &[Key]) -> Result<Vec<Kept>> {
    let rows = sqlx::query!(
        "select f.tenant_id, f.session_id, f.body
           from unnest($1::uuid[], $2::uuid[]) as k (tenant_id, session_id)
           join facts f
             on f.tenant_id = k.tenant_id and f.session_id = k.session_id and f.source = $3 and f.kind = $4",
        &column(keys, |k| k.0),
        &column(keys, |k| k.1),
        Source::Trace as i16,
        Kind::Span as i16,
    )
    .fetch_all(connection)
    .await?;
    let mut kept = Vec::new();
    for row in rows {
        if let Some((trace, node)) = Node::of(&object("facts.body", &row.body)?) {
            kept.push(Kept {
                trace: (row.tenant_id, trace),
                node,
                session: row.session_id,
            });
        }
    }
    Ok(kept)
}

/// Those of these sessions of which nobody but tracers has told anything, and to which nobody has added.
pub async fn only_traced(connection: &mut PgConnection, keys: &[Key]) -> Result<BTreeSet<Key>> {
    let rows = sqlx::query!(
        r#"select k.tenant_id as "tenant_id!", k.session_id as "session_id!"
             from unnest($1::uuid[], $2::uuid[]) as k (tenant_id, session_id)
            where not exists (select from facts f
                               where f.tenant_id = k.tenant_id and f.session_id = k.session_id
                                 and f.source not in ($3, $4))
              and not exists (select from facts f
                               where f.tenant_id = k.tenant_id and f.session_id = k.session_id
                                 and f.source = $3 and f.kind = $5 and f.body like '%"partial":%')
              and not exists (select from session_edits e
                               where e.tenant_id = k.tenant_id and e.session_id = k.session_id)
              and not exists (select from evaluations e
                               where e.tenant_id = k.tenant_id and e.session_id = k.session_id)
              and not exists (select from recordings r
                               where r.tenant_id = k.tenant_id and r.id = k.session_id)"#,
        &column(keys, |k| k.0),
        &column(keys, |k| k.1),
        Source::Trace as i16,
        Source::Timeout as i16,
        Kind::Span as i16,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| (r.tenant_id, r.session_id))
        .collect())
}

/// Takes from sessions the names that lead to them, and the ids that these names alone would have made: all of
/// them are given anew.
pub async fn forget_names(
    connection: &mut PgConnection,
    sessions: &[Key],
    ids: &[Key],
) -> Result<()> {
    if sessions.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "delete from session_aliases a
          using unnest($1::uuid[], $2::uuid[]) as k (tenant_id, session_id)
          where a.tenant_id = k.tenant_id and a.session_id = k.session_id
            and (a.kind <> $5 or (a.tenant_id, a.value) in (select * from unnest($3::uuid[], $4::text[])))",
        &column(sessions, |k| k.0),
        &column(sessions, |k| k.1),
        &column(ids, |k| k.0),
        &column(ids, |k| k.1.to_string()),
        ABSORBED,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A span of a divided trace as it is to be kept.
pub struct Placed<'a> {
    pub trace: &'a Trace,
    pub node: &'a Node,
    pub is_anchor: bool,
    pub is_stray: bool,
    pub session: Uuid,
}

pub async fn keep(connection: &mut PgConnection, nodes: &[Placed<'_>]) -> Result<()> {
    if nodes.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into trace_nodes
              (tenant_id, trace_id, span_id, parent, names, started_at, is_anchor, is_stray, session_id)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                              $7::boolean[], $8::boolean[], $9::uuid[])
             on conflict (tenant_id, trace_id, span_id)
             do update set parent = excluded.parent, names = excluded.names, started_at = excluded.started_at,
                is_anchor = excluded.is_anchor, is_stray = excluded.is_stray, session_id = excluded.session_id",
        &column(nodes, |n| n.trace.0),
        &column(nodes, |n| n.trace.1.clone()),
        &column(nodes, |n| n.node.span_id.clone()),
        &column(nodes, |n| n.node.parent.clone()) as _,
        &column(nodes, |n| n.node.names_as_text()),
        &column(nodes, |n| n.node.started_at),
        &column(nodes, |n| n.is_anchor),
        &column(nodes, |n| n.is_stray),
        &column(nodes, |n| n.session),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A divided trace by itself means its first conversation.
pub async fn lead(connection: &mut PgConnection, traces: &[(&Trace, Uuid)]) -> Result<()> {
    let mut names = Vec::new();
    for ((tenant, trace), session) in traces {
        let claim = Claim::new(ClaimKind::Trace, trace.as_str());
        let own = claim.session(TenantId(*tenant));
        names.push((*tenant, ClaimKind::Trace as i16, trace.clone(), *session));
        if own.0 != *session {
            names.push((*tenant, ABSORBED, own.to_string(), *session));
        }
    }
    sqlx::query!(
        "insert into session_aliases as a (tenant_id, kind, value, session_id)
         select * from unnest($1::uuid[], $2::smallint[], $3::text[], $4::uuid[])
             on conflict (tenant_id, kind, value)
             do update set session_id = excluded.session_id where a.session_id <> excluded.session_id",
        &column(&names, |n| n.0),
        &column(&names, |n| n.1),
        &column(&names, |n| n.2.clone()),
        &column(&names, |n| n.3),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes sessions in which nothing is left.
pub async fn remove(connection: &mut PgConnection, keys: &[Key]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "delete from sessions s
          using unnest($1::uuid[], $2::uuid[]) as k (tenant_id, id)
          where s.tenant_id = k.tenant_id and s.id = k.id",
        &column(keys, |k| k.0),
        &column(keys, |k| k.1),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// How the facts of a trace's spans are known.
pub fn identity(trace: &Trace, span_id: &str) -> Identity {
    Identity {
        source: Source::Trace,
        kind: Kind::Span,
        id: span::identity(&trace.1, span_id),
    }
}
