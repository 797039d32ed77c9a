//! Closing calls: what was said goes, the numbers stay. What stays of a row is what a reader without the right
//! to content is shown.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::ids::{LabelKind, SessionId};
use crate::domain::record::Record;
use crate::store::columns::{column, object, to_text};
use crate::store::failure::failure;
use crate::store::recordings;
use crate::store::scope::Scope;
use crate::store::sessions;

/// Closed in one round, and how much text they may hold together; one is taken whatever it holds.
const CLOSE_MAX: i64 = 50;
const CLOSE_BYTES: i64 = 16 << 20;

/// Closes some calls that are over, from before a moment, those that nobody else is at. Answers how many.
pub async fn close_due(scope: &Scope, before: DateTime<Utc>, now: DateTime<Utc>) -> Result<usize> {
    let mut transaction = scope.analytics.begin().await.map_err(failure)?;
    let due = sqlx::query!(
        r#"select id, fact_bytes + span_bytes as "bytes!"
             from sessions
            where tenant_id = $1 and closed_at is null
              and greatest(ended_at, received_at) < $2
              and status not in ('queued', 'ringing', 'active')
            order by greatest(ended_at, received_at)
            limit $3
              for no key update skip locked"#,
        scope.tenant.0,
        before,
        CLOSE_MAX,
    )
    .fetch_all(&mut *transaction)
    .await
    .map_err(failure)?;
    let mut bytes = 0;
    let taken = due.iter().enumerate().take_while(|(place, row)| {
        bytes += row.bytes;
        *place == 0 || bytes <= CLOSE_BYTES
    });
    let ids: Vec<SessionId> = taken.map(|(_, row)| SessionId(row.id)).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    // By other connections, and the same all the same: nobody else writes what is locked here.
    let records = sessions::records(scope, None, &ids).await?;
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    strip_parts(&mut transaction, scope, &records).await?;
    strip_spans(&mut transaction, scope, &ids).await?;
    strip_edits(&mut transaction, scope, &ids).await?;
    recordings::retire(&mut transaction, scope, &ids, now).await?;
    // What was found of it is kept, and would be found no more; whose a span is does not matter any longer; and
    // nobody is found by who called.
    sqlx::query!(
        "with marks as (
            delete from analysis_marks where tenant_id = $1 and session_id = any ($2)
         ), nodes as (
            delete from trace_nodes where tenant_id = $1 and session_id = any ($2)
         ), labels as (
            delete from session_labels where tenant_id = $1 and session_id = any ($2) and kind = any ($3)
         )
         delete from facts where tenant_id = $1 and session_id = any ($2)",
        scope.tenant.0,
        &ids,
        &LabelKind::PERSONAL.map(|kind| kind as i16),
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    close(&mut transaction, scope, &records, now).await?;
    transaction.commit().await.map_err(failure)?;
    Ok(ids.len())
}

async fn close(
    connection: &mut PgConnection,
    scope: &Scope,
    records: &[Record],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "update sessions s
            set closed_at = $3, summary = null, end_reason = g.end_reason, from_number = g.from_number,
                to_number = g.to_number, extra = g.extra, fact_count = 0, fact_bytes = 0, span_bytes = 0,
                has_edits = exists (select 1 from session_edits e where e.tenant_id = $1 and e.session_id = s.id)
           from unnest($2::uuid[], $4::text[], $5::text[], $6::text[], $7::text[])
             as g (id, end_reason, from_number, to_number, extra)
          where s.tenant_id = $1 and s.id = g.id",
        scope.tenant.0,
        &column(records, |r| r.id.0),
        now,
        &column(records, |r| r.session.end_reason.clone()) as _,
        &column(records, |r| r.session.from_number.clone()) as _,
        &column(records, |r| r.session.to_number.clone()) as _,
        &column(records, |r| to_text(&r.session.extra)),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Turns, tool calls, interruptions, errors and evaluations, as far as they are shown to everybody.
async fn strip_parts(
    connection: &mut PgConnection,
    scope: &Scope,
    records: &[Record],
) -> Result<()> {
    let turns = parts(records, |record| &record.turns);
    sqlx::query!(
        "update turns t
            set text = null, words = null, extra = g.extra
           from unnest($2::uuid[], $3::integer[], $4::text[]) as g (session_id, index, extra)
          where t.tenant_id = $1 and t.session_id = g.session_id and t.index = g.index",
        scope.tenant.0,
        &column(&turns, |(session, _)| *session),
        &column(&turns, |(_, turn)| turn.index),
        &column(&turns, |(_, turn)| to_text(&turn.extra)),
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let tools = parts(records, |record| &record.tool_calls);
    // That it failed is no content: `true` stands for how it said so.
    sqlx::query!(
        "update tool_calls t
            set arguments = null, result = null, error = case when g.failed then 'true' end, extra = g.extra
           from unnest($2::uuid[], $3::text[], $4::boolean[], $5::text[]) as g (session_id, id, failed, extra)
          where t.tenant_id = $1 and t.session_id = g.session_id and t.id = g.id",
        scope.tenant.0,
        &column(&tools, |(session, _)| *session),
        &column(&tools, |(_, tool)| tool.id.clone()),
        &column(&tools, |(_, tool)| tool.failed()),
        &column(&tools, |(_, tool)| to_text(&tool.extra)),
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let interruptions = parts(records, |record| &record.interruptions);
    sqlx::query!(
        "update interruptions t
            set extra = g.extra
           from unnest($2::uuid[], $3::text[], $4::text[]) as g (session_id, id, extra)
          where t.tenant_id = $1 and t.session_id = g.session_id and t.id = g.id",
        scope.tenant.0,
        &column(&interruptions, |(session, _)| *session),
        &column(&interruptions, |(_, one)| one.id.clone()),
        &column(&interruptions, |(_, one)| to_text(&one.extra)),
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let errors = parts(records, |record| &record.errors);
    sqlx::query!(
        "update errors t
            set code = g.code, message = g.message, details = null, extra = g.extra
           from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[])
             as g (session_id, id, code, message, extra)
          where t.tenant_id = $1 and t.session_id = g.session_id and t.id = g.id",
        scope.tenant.0,
        &column(&errors, |(session, _)| *session),
        &column(&errors, |(_, error)| error.id.clone()),
        &column(&errors, |(_, error)| error.code.clone()) as _,
        &column(&errors, |(_, error)| error.message.clone()) as _,
        &column(&errors, |(_, error)| to_text(&error.extra)),
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    sqlx::query!(
        "update evaluations set notes = null where tenant_id = $1 and session_id = any ($2) and notes is not null",
        scope.tenant.0,
        &column(records, |record| record.id.0),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// One kind of parts of all records, each with its session.
fn parts<T>(records: &[Record], of: impl Fn(&Record) -> &Vec<T>) -> Vec<(Uuid, &T)> {
    let each = records.iter();
    each.flat_map(|record| of(record).iter().map(|part| (record.id.0, part)))
        .collect()
}

/// What was said in spans goes with their facts. Of parameters those stay that cannot be a prompt.
async fn strip_spans(connection: &mut PgConnection, scope: &Scope, ids: &[Uuid]) -> Result<()> {
    let spans = sqlx::query!(
        "select session_id, trace_id, span_id, parameters
           from spans
          where tenant_id = $1 and session_id = any ($2) and parameters <> '{}'",
        scope.tenant.0,
        ids,
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let parameters: Result<Vec<Map<String, Value>>> = spans
        .iter()
        .map(|span| {
            let mut parameters = object("spans.parameters", &span.parameters)?;
            sessions::show_parameters(&mut parameters);
            Ok(parameters)
        })
        .collect();
    sqlx::query!(
        "update spans t
            set parameters = g.parameters
           from unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) as g (session_id, trace_id, span_id, parameters)
          where t.tenant_id = $1 and t.session_id = g.session_id and t.trace_id = g.trace_id and t.span_id = g.span_id",
        scope.tenant.0,
        &column(&spans, |span| span.session_id),
        &column(&spans, |span| span.trace_id.clone()),
        &column(&spans, |span| span.span_id.clone()),
        &column(&parameters?, to_text),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Summaries that people wrote. Tags stay; later edits are possible.
async fn strip_edits(connection: &mut PgConnection, scope: &Scope, ids: &[Uuid]) -> Result<()> {
    sqlx::query!(
        "delete from session_edits where tenant_id = $1 and session_id = any ($2) and tags is null",
        scope.tenant.0,
        ids,
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    sqlx::query!(
        "update session_edits
            set summary_edited = false, summary = null
          where tenant_id = $1 and session_id = any ($2) and summary_edited",
        scope.tenant.0,
        ids,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}
