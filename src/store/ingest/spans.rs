//! What a batch writes of spans, and of the traces they belong to.

use sqlx::PgConnection;

use super::Result;
use super::load::Key;
use super::save::Rows;
use crate::domain::span::{Span, SpanKey, TRACE_ITSELF, Tallies, Tally};
use crate::store::columns::column;
use crate::store::columns::to_text;

/// Spans first: a trace's row is looked up among them.
pub async fn save(
    connection: &mut PgConnection,
    rows: Rows<'_, SpanKey, Span>,
    traces: impl Iterator<Item = (Key, &Tallies)>,
) -> Result<()> {
    let some_gone = !rows.gone.is_empty();
    delete(connection, &rows.gone).await?;
    upsert(connection, &rows.written).await?;
    let traces: Vec<(Key, &String, Tally)> = traces
        .flat_map(|(key, tallies)| tallies.iter().map(move |(id, tally)| (key, id, *tally)))
        .collect();
    if some_gone {
        delete_empty(connection, &traces).await?;
    }
    count(connection, &traces).await
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

async fn upsert(connection: &mut PgConnection, rows: &[(Key, &Span)]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into spans
              (tenant_id, session_id, trace_id, span_id, parent, trace_name, name, type, level, environment,
               started_at, ended_at, completion_start, model, usage, costs, cost_nano_usd, parameters,
               status_message, input, output, metadata)
         select *
           from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::text[],
                $15::text[], $16::text[], $17::bigint[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[])
             on conflict (tenant_id, session_id, trace_id, span_id)
             do update set parent = excluded.parent, trace_name = excluded.trace_name, name = excluded.name,
                type = excluded.type, level = excluded.level, environment = excluded.environment,
                started_at = excluded.started_at, ended_at = excluded.ended_at,
                completion_start = excluded.completion_start, model = excluded.model, usage = excluded.usage,
                costs = excluded.costs, cost_nano_usd = excluded.cost_nano_usd, parameters = excluded.parameters,
                status_message = excluded.status_message, input = excluded.input, output = excluded.output,
                metadata = excluded.metadata",
        &column(rows, |(key, _)| key.0),
        &column(rows, |(key, _)| key.1),
        &column(rows, |(_, s)| s.trace_id.clone()),
        &column(rows, |(_, s)| s.span_id.clone()),
        &column(rows, |(_, s)| s.parent.clone()) as _,
        &column(rows, |(_, s)| s.trace_name.clone()) as _,
        &column(rows, |(_, s)| s.name.clone()) as _,
        &column(rows, |(_, s)| s.r#type.clone()),
        &column(rows, |(_, s)| s.level.clone()),
        &column(rows, |(_, s)| s.environment.clone()) as _,
        &column(rows, |(_, s)| s.started_at),
        &column(rows, |(_, s)| s.ended_at) as _,
        &column(rows, |(_, s)| s.completion_start) as _,
        &column(rows, |(_, s)| s.model.clone()) as _,
        &column(rows, |(_, s)| to_text(&s.usage)),
        &column(rows, |(_, s)| to_text(&s.costs)),
        &column(rows, |(_, s)| s.cost_nano_usd) as _,
        &column(rows, |(_, s)| to_text(&s.parameters)),
        &column(rows, |(_, s)| s.status_message.clone()) as _,
        &column(rows, |(_, s)| s.input.as_ref().map(to_text)) as _,
        &column(rows, |(_, s)| s.output.as_ref().map(to_text)) as _,
        &column(rows, |(_, s)| to_text(&s.metadata)),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Traces whose last span went.
async fn delete_empty(
    connection: &mut PgConnection,
    traces: &[(Key, &String, Tally)],
) -> Result<()> {
    sqlx::query!(
        "delete from traces t
          using unnest($1::uuid[], $2::uuid[], $3::text[]) as k (tenant_id, session_id, trace_id)
          where t.tenant_id = k.tenant_id and t.session_id = k.session_id and t.trace_id = k.trace_id
            and not exists (select from spans s
                             where s.tenant_id = k.tenant_id and s.session_id = k.session_id and s.trace_id = k.trace_id)",
        &column(traces, |(key, ..)| key.0),
        &column(traces, |(key, ..)| key.1),
        &column(traces, |(_, id, _)| (*id).clone()),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Counts and costs by the difference; first and last moment and name by one step into an index each.
/// A trace is called as it is said of itself, else as its first root says, or its first span where no root
/// is known.
async fn count(connection: &mut PgConnection, traces: &[(Key, &String, Tally)]) -> Result<()> {
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
                first.started_at, case when last.is_end or last.at > first.started_at then last.at end, k.observations, k.priced, k.unpriced, k.cost_nano_usd
           from unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[], $5::integer[], $6::integer[], $7::bigint[])
                as k (tenant_id, session_id, trace_id, observations, priced, unpriced, cost_nano_usd)
          cross join lateral (
                select s.started_at, s.trace_name, s.name
                  from spans s
                 where s.tenant_id = k.tenant_id and s.session_id = k.session_id and s.trace_id = k.trace_id
                 order by s.started_at, s.span_id
                 limit 1) first
          cross join lateral (
                select coalesce(s.ended_at, s.started_at) as at, s.ended_at is not null as is_end
                  from spans s
                 where s.tenant_id = k.tenant_id and s.session_id = k.session_id and s.trace_id = k.trace_id
                 order by coalesce(s.ended_at, s.started_at) desc, (s.ended_at is not null) desc
                 limit 1) last
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
        &column(traces, |(key, ..)| key.0),
        &column(traces, |(key, ..)| key.1),
        &column(traces, |(_, id, _)| (*id).clone()),
        &column(traces, |(_, _, tally)| tally.observations),
        &column(traces, |(_, _, tally)| tally.priced),
        &column(traces, |(_, _, tally)| tally.unpriced),
        &column(traces, |(_, _, tally)| tally.cost_nano_usd),
        TRACE_ITSELF,
    )
    .execute(connection)
    .await?;
    Ok(())
}
