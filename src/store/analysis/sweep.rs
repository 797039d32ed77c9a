//! Analyses by other rules or targets than today's: each tenant's calls are looked through, newest first,
//! and those whose analysis is not of today are marked. What was found of a call whose content was deleted
//! stays as it is.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::ids::TenantId;
use crate::store::failure::failure;
use crate::store::scope::{Scope, Store};

use super::queue;

/// Tenants that are looked after in one round, and calls of each.
const TENANTS_MAX: i64 = 50;
const PAGE: i64 = 500;
/// With so many marks waiting there is enough to do.
const ENOUGH: i64 = 2_000;

/// Marks the next stale calls of each tenant that has some. Answers whether there may be more.
pub async fn sweep(store: &Store, rules_version: i32, now: DateTime<Utc>) -> Result<bool> {
    let tenants = sqlx::query_scalar!(
        r#"select t.id
             from tenants t
             left join analysis_sweeps w on w.tenant_id = t.id
            where (w.tenant_id is null
                   or not w.is_done
                   or w.rules_version <> $1
                   or w.targets_version < coalesce((select max(version) from target_settings g where g.tenant_id = t.id), 0))
              and (select count(*) from (select from analysis_marks limit $2) m) < $2
            order by t.id
            limit $3"#,
        rules_version,
        ENOUGH,
        TENANTS_MAX,
    )
    .fetch_all(&store.analytics)
    .await
    .map_err(failure)?;
    let more = !tenants.is_empty();
    for tenant in tenants {
        let scope = Scope::for_worker(store, TenantId(tenant));
        step(&scope, rules_version, now).await?;
    }
    Ok(more)
}

/// Where a tenant's sweep is.
struct Progress {
    rules_version: i32,
    targets_version: i64,
    before: Option<DateTime<Utc>>,
    before_id: Option<Uuid>,
    is_done: bool,
}

async fn step(scope: &Scope, rules_version: i32, now: DateTime<Utc>) -> Result<()> {
    let mut transaction = scope.analytics.begin().await.map_err(failure)?;
    let Some(mut progress) = lock(&mut transaction, scope).await? else {
        // Another process is at it.
        return Ok(());
    };
    let targets_version = sqlx::query_scalar!(
        r#"select coalesce(max(version), 0) as "version!" from target_settings where tenant_id = $1"#,
        scope.tenant.0,
    )
    .fetch_one(&mut *transaction)
    .await
    .map_err(failure)?;
    if (progress.rules_version, progress.targets_version) != (rules_version, targets_version) {
        progress = Progress {
            rules_version,
            targets_version,
            before: None,
            before_id: None,
            is_done: false,
        };
    }
    if !progress.is_done {
        mark_page(&mut transaction, scope, &mut progress, now).await?;
    }
    save(&mut transaction, scope, &progress).await?;
    transaction.commit().await.map_err(failure)
}

async fn lock(connection: &mut PgConnection, scope: &Scope) -> Result<Option<Progress>> {
    sqlx::query!(
        "insert into analysis_sweeps (tenant_id, rules_version, targets_version, is_done)
         values ($1, 0, 0, false)
             on conflict (tenant_id) do nothing",
        scope.tenant.0,
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    sqlx::query_as!(
        Progress,
        "select rules_version, targets_version, before, before_id, is_done
           from analysis_sweeps
          where tenant_id = $1
            for update skip locked",
        scope.tenant.0,
    )
    .fetch_optional(connection)
    .await
    .map_err(failure)
}

async fn mark_page(
    connection: &mut PgConnection,
    scope: &Scope,
    progress: &mut Progress,
    now: DateTime<Utc>,
) -> Result<()> {
    let page = sqlx::query!(
        r#"select s.started_at, s.id,
                  (s.closed_at is null
                   and (a.session_id is null
                   or a.rules_version <> $2
                   or a.targets_version <> coalesce((select max(g.version)
                                                       from target_settings g
                                                      where g.tenant_id = $1
                                                        and g.agent_key in ('', s.agent_key)), 0))) as "is_stale!"
             from (select tenant_id, started_at, id, agent_key, closed_at
                     from sessions
                    where tenant_id = $1
                      and ($3::timestamptz is null or (started_at, id) < ($3, $4::uuid))
                    order by started_at desc, id desc
                    limit $5) s
             left join lateral (
                 select session_id, rules_version, targets_version
                   from session_analyses
                  where tenant_id = s.tenant_id and session_id = s.id
                 offset 0
             ) a on true
            order by s.started_at desc, s.id desc"#,
        scope.tenant.0,
        progress.rules_version,
        progress.before,
        progress.before_id,
        PAGE,
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let stale: Vec<Uuid> = page
        .iter()
        .filter(|row| row.is_stale)
        .map(|row| row.id)
        .collect();
    queue::mark(connection, scope, &stale, now).await?;
    progress.is_done = (page.len() as i64) < PAGE;
    if let Some(last) = page.last() {
        (progress.before, progress.before_id) = (Some(last.started_at), Some(last.id));
    }
    Ok(())
}

async fn save(connection: &mut PgConnection, scope: &Scope, progress: &Progress) -> Result<()> {
    sqlx::query!(
        "update analysis_sweeps
            set rules_version = $2, targets_version = $3, before = $4, before_id = $5, is_done = $6
          where tenant_id = $1",
        scope.tenant.0,
        progress.rules_version,
        progress.targets_version,
        progress.before,
        progress.before_id,
        progress.is_done,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}
