//! Writing what is kept of analyses, in place of what was kept before.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::analysed::{Analysed, IssueSum};
use crate::domain::analysis::Stage;
use crate::store::columns::{column, to_text};
use crate::store::failure::failure;
use crate::store::scope::Scope;

/// One tenant's. A call that is gone meanwhile is left out.
pub async fn keep(
    connection: &mut PgConnection,
    scope: &Scope,
    analysed: &[Analysed],
    now: DateTime<Utc>,
) -> Result<()> {
    if analysed.is_empty() {
        return Ok(());
    }
    let ids = column(analysed, |one| one.session.0);
    sqlx::query!(
        "delete from session_issues where tenant_id = $1 and session_id = any ($2)",
        scope.tenant.0,
        &ids,
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    write_issues(connection, scope, analysed).await?;
    write_analyses(connection, scope, analysed, now).await?;
    flag(connection, scope, analysed).await?;
    mark_hours(connection, scope, &ids).await
}

/// What was found in these calls' hours is to be summed up again. A mark that is there already may be taken
/// up this moment by somebody who does not see what is kept here, so each gets one of its own.
async fn mark_hours(connection: &mut PgConnection, scope: &Scope, sessions: &[Uuid]) -> Result<()> {
    sqlx::query!(
        "insert into dirty_hour (tenant_id, hour, of_analysis)
         select distinct $1::uuid, date_trunc('hour', started_at, 'UTC'), true
           from sessions
          where tenant_id = $1 and id = any ($2)",
        scope.tenant.0,
        sessions,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

async fn write_issues(
    connection: &mut PgConnection,
    scope: &Scope,
    analysed: &[Analysed],
) -> Result<()> {
    let of_session = |one: &Analysed| {
        let id = one.session.0;
        one.issues.clone().into_iter().map(move |sum| (id, sum))
    };
    let rows: Vec<(Uuid, IssueSum)> = analysed.iter().flat_map(of_session).collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into session_issues
              (tenant_id, session_id, type, stage, provider, call_started_at, agent_key, severity, occurrences, impact_ms, is_first)
         select $1, i.session_id, i.type, i.stage, i.provider, s.started_at, s.agent_key, i.severity, i.occurrences, i.impact_ms, i.is_first
           from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::integer[], $8::bigint[], $9::boolean[])
             as i (session_id, type, stage, provider, severity, occurrences, impact_ms, is_first)
           join sessions s on s.tenant_id = $1 and s.id = i.session_id",
        scope.tenant.0,
        &column(&rows, |(session, _)| *session),
        &column(&rows, |(_, sum)| sum.kind.as_str().to_owned()),
        &column(&rows, |(_, sum)| sum
            .stage
            .map_or("", Stage::as_str)
            .to_owned()),
        &column(&rows, |(_, sum)| sum.provider.clone().unwrap_or_default()),
        &column(&rows, |(_, sum)| sum.severity.as_str().to_owned()),
        &column(&rows, |(_, sum)| sum.occurrences),
        &column(&rows, |(_, sum)| sum.impact_ms),
        &column(&rows, |(_, sum)| sum.is_first),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

async fn write_analyses(
    connection: &mut PgConnection,
    scope: &Scope,
    analysed: &[Analysed],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into session_analyses
              (tenant_id, session_id, call_started_at, agent_key, agent_version, analysed_at, rules_version, targets_version,
               agent_turns, answers, latencies, score, interruptions, dead_air_ms, causes, conduct)
         select $1, a.session_id, s.started_at, s.agent_key, s.agent_version, $3, a.rules_version, a.targets_version,
                a.agent_turns, a.answers, a.latencies, a.score, a.interruptions, a.dead_air_ms, a.causes, a.conduct
           from unnest($2::uuid[], $4::integer[], $5::bigint[], $6::integer[], $7::integer[], $8::text[],
                       $9::float8[], $10::text[], $11::bigint[], $12::bytea[], $13::bytea[])
             as a (session_id, rules_version, targets_version, agent_turns, answers, latencies, score, interruptions, dead_air_ms,
                   causes, conduct)
           join sessions s on s.tenant_id = $1 and s.id = a.session_id
             on conflict (tenant_id, session_id)
             do update set call_started_at = excluded.call_started_at, agent_key = excluded.agent_key,
                agent_version = excluded.agent_version, analysed_at = excluded.analysed_at,
                rules_version = excluded.rules_version, targets_version = excluded.targets_version,
                agent_turns = excluded.agent_turns, answers = excluded.answers, latencies = excluded.latencies,
                score = excluded.score, interruptions = excluded.interruptions, dead_air_ms = excluded.dead_air_ms,
                causes = excluded.causes, conduct = excluded.conduct",
        scope.tenant.0,
        &column(analysed, |one| one.session.0),
        now,
        &column(analysed, |one| one.rules_version),
        &column(analysed, |one| one.targets_version),
        &column(analysed, |one| one.agent_turns),
        &column(analysed, |one| one.answers),
        &column(analysed, |one| (!one.latencies.is_empty()).then(|| to_text(&one.latencies))) as _,
        &column(analysed, |one| one.score) as _,
        &column(analysed, |one| one.interruptions.as_ref().map(to_text)) as _,
        &column(analysed, |one| one.dead_air_ms),
        &column(analysed, |one| one.causes().to_bytes()),
        &column(analysed, |one| one.conduct().to_bytes()),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Rows are locked in the order of their keys, as the writer of facts does.
async fn flag(connection: &mut PgConnection, scope: &Scope, analysed: &[Analysed]) -> Result<()> {
    sqlx::query!(
        "with changed as materialized (
            select s.id, g.has_issues
              from unnest($2::uuid[], $3::boolean[]) as g (id, has_issues)
              join sessions s on s.tenant_id = (select $1::uuid) and s.id = g.id
             where s.has_issues <> g.has_issues
             order by s.id
               for no key update of s
        )
        update sessions s
           set has_issues = changed.has_issues
          from changed
         where s.tenant_id = (select $1::uuid) and s.id = changed.id",
        scope.tenant.0,
        &column(analysed, |one| one.session.0),
        &column(analysed, |one| !one.issues.is_empty()),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}
