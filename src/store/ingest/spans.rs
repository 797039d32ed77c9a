//! What a batch writes of spans, and of the traces they belong to.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Result;
use super::load::Key;
use super::rows::SpanRow;
use super::save::Rows;
use crate::domain::span::{Span, SpanKey, TRACE_ITSELF, Tallies, Tally};
use crate::store::columns::column;

/// Spans first: a trace's row is looked up among them.
pub async fn save(
    connection: &mut PgConnection,
    rows: Rows<'_, SpanKey, Span>,
    traces: impl Iterator<Item = (Key, &Tallies, &BTreeSet<String>)>,
) -> Result<()> {
    let some_gone = !rows.gone.is_empty();
    delete(connection, &rows.gone).await?;
    write(connection, &rows).await?;
    let mut ends: BTreeMap<(Key, &str), End> = BTreeMap::new();
    for (key, span) in rows.new.iter().chain(&rows.written) {
        ends.entry((*key, &span.trace_id)).or_default().and(span);
    }
    let traces: Vec<TraceRow<'_>> = traces
        .flat_map(|(key, tallies, receded)| {
            let ends = &ends;
            tallies.iter().map(move |(id, tally)| TraceRow {
                key,
                id,
                tally: *tally,
                end: ends.get(&(key, id.as_str())).copied().unwrap_or_default(),
                has_receded: receded.contains(id),
            })
        })
        .collect();
    if some_gone {
        delete_empty(connection, &traces).await?;
    }
    count(connection, &traces).await
}

/// What a trace has more than before.
struct TraceRow<'a> {
    key: Key,
    id: &'a String,
    tally: Tally,
    end: End,
    has_receded: bool,
}

/// The latest moments that spans tell of.
#[derive(Clone, Copy, Default)]
struct End {
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
}

impl End {
    fn and(&mut self, span: &Span) {
        self.started_at = self.started_at.max(Some(span.started_at));
        self.ended_at = self.ended_at.max(span.ended_at);
    }
}

async fn delete(connection: &mut PgConnection, gone: &[(Key, &SpanKey)]) -> Result<()> {
    if gone.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "delete from spans s
          using unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) as k (tenant_id, session_id, trace_id, span_id)
          where s.tenant_id = k.tenant_id and s.session_id = k.session_id
            and s.trace_id = k.trace_id and s.span_id = k.span_id",
        &column(gone, |(key, _)| key.0),
        &column(gone, |(key, _)| key.1),
        &column(gone, |(_, span)| span.0.clone()),
        &column(gone, |(_, span)| span.1.clone()),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Runs one statement over spans.
macro_rules! over_spans {
    ($connection:expr, $spans:expr, $conflict:literal) => {{
        let rows = column($spans, |(key, span)| SpanRow::of(*key, span));
        sqlx::query!(
            "insert into spans
                  (tenant_id, session_id, trace_id, span_id, parent, trace_name, name, type, level, environment,
                   started_at, ended_at, completion_start, model, usage, costs, cost_nano_usd, parameters)
             select * from unnest($1::span_row[])" + $conflict,
            rows as _,
        )
        .execute(&mut *$connection)
        .await?
    }};
}

async fn write(connection: &mut PgConnection, rows: &Rows<'_, SpanKey, Span>) -> Result<()> {
    if !rows.new.is_empty() {
        over_spans!(connection, &rows.new, "");
    }
    if !rows.written.is_empty() {
        over_spans!(
            connection,
            &rows.written,
            " on conflict (tenant_id, session_id, trace_id, span_id)
              do update set parent = excluded.parent, trace_name = excluded.trace_name, name = excluded.name,
                 type = excluded.type, level = excluded.level, environment = excluded.environment,
                 started_at = excluded.started_at, ended_at = excluded.ended_at,
                 completion_start = excluded.completion_start, model = excluded.model, usage = excluded.usage,
                 costs = excluded.costs, cost_nano_usd = excluded.cost_nano_usd, parameters = excluded.parameters"
        );
    }
    Ok(())
}

/// Traces whose last span went.
async fn delete_empty(connection: &mut PgConnection, traces: &[TraceRow<'_>]) -> Result<()> {
    sqlx::query!(
        "delete from traces t
          using unnest($1::uuid[], $2::uuid[], $3::text[]) as k (tenant_id, session_id, trace_id)
          where t.tenant_id = k.tenant_id and t.session_id = k.session_id and t.trace_id = k.trace_id
            and not exists (select from spans s
                             where s.tenant_id = k.tenant_id and s.session_id = k.session_id and s.trace_id = k.trace_id)",
        &column(traces, |t| t.key.0),
        &column(traces, |t| t.key.1),
        &column(traces, |t| t.id.as_str()) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Counts and costs by the difference; the first moment and the name by one step into an index each. The last
/// moment is the last of what was known and what is new; only of a trace that receded all spans are looked at.
/// An end is told where a span ends, or starts after the first. A trace is called as it is said of itself, else as its first root says, or its first span where no root
/// is known.
async fn count(connection: &mut PgConnection, traces: &[TraceRow<'_>]) -> Result<()> {
    if traces.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into traces (tenant_id, session_id, trace_id, name, started_at, ended_at, observation_count,
                             priced_count, unpriced_count, cost_nano_usd)
         select k.tenant_id, k.session_id, k.trace_id,
                coalesce(itself.trace_name,
                         case when root.span_id is null then coalesce(first.trace_name, first.name)
                              else coalesce(root.trace_name, root.name) end),
                first.started_at,
                greatest(k.ended_at, case when k.started_at > first.started_at then k.started_at end,
                         known.ended_at, case when known.started_at > first.started_at then known.started_at end),
                k.observations, k.priced, k.unpriced, k.cost_nano_usd
           from unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[], $5::integer[], $6::integer[], $7::bigint[],
                       $9::timestamptz[], $10::timestamptz[], $11::boolean[])
                as k (tenant_id, session_id, trace_id, observations, priced, unpriced, cost_nano_usd,
                      started_at, ended_at, has_receded)
          cross join lateral (
                select s.started_at, s.trace_name, s.name
                  from spans s
                 where s.tenant_id = k.tenant_id and s.session_id = k.session_id and s.trace_id = k.trace_id
                 order by s.started_at, s.span_id
                 limit 1) first
           left join lateral (
                select t.started_at, t.ended_at
                  from traces t
                 where t.tenant_id = k.tenant_id and t.session_id = k.session_id and t.trace_id = k.trace_id
                   and not k.has_receded
                union all
                select max(s.started_at), max(s.ended_at)
                  from spans s
                 where s.tenant_id = k.tenant_id and s.session_id = k.session_id and s.trace_id = k.trace_id
                   and k.has_receded
                having k.has_receded) known on true
           left join lateral (
                select s.span_id, s.trace_name, s.name
                  from spans s
                 where s.tenant_id = k.tenant_id and s.session_id = k.session_id and s.trace_id = k.trace_id
                   and s.parent is null and s.span_id <> $8
                 order by s.started_at, s.span_id
                 limit 1) root on true
           left join spans itself on itself.tenant_id = k.tenant_id and itself.session_id = k.session_id
                 and itself.trace_id = k.trace_id and itself.span_id = $8
             on conflict (tenant_id, session_id, trace_id)
             do update set name = excluded.name, started_at = excluded.started_at, ended_at = excluded.ended_at,
                observation_count = traces.observation_count + excluded.observation_count,
                priced_count = traces.priced_count + excluded.priced_count,
                unpriced_count = traces.unpriced_count + excluded.unpriced_count,
                cost_nano_usd = traces.cost_nano_usd + excluded.cost_nano_usd",
        &column(traces, |t| t.key.0),
        &column(traces, |t| t.key.1),
        &column(traces, |t| t.id.as_str()) as _,
        &column(traces, |t| t.tally.observations),
        &column(traces, |t| t.tally.priced),
        &column(traces, |t| t.tally.unpriced),
        &column(traces, |t| t.tally.cost_nano_usd),
        TRACE_ITSELF,
        &column(traces, |t| t.end.started_at) as _,
        &column(traces, |t| t.end.ended_at) as _,
        &column(traces, |t| t.has_receded),
    )
    .execute(connection)
    .await?;
    Ok(())
}
