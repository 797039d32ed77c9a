//! Which tenants have calls that are due. A worker's view, over all tenants; a step into an index each.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::ids::TenantId;
use crate::store::columns::column;
use crate::store::failure::read;
use crate::store::scope::{Scope, Store};

use super::of_columns;

/// A tenant, and what of its calls is to go.
pub struct Due {
    pub scope: Scope,
    /// What was said in calls from before this moment; none where it is kept for ever.
    pub content_before: Option<DateTime<Utc>>,
    /// Calls that were closed, from before this one.
    pub metrics_before: Option<DateTime<Utc>>,
    pub closes: bool,
    pub deletes: bool,
    /// Tombstones whose time is over.
    pub forgets: bool,
}

/// The tenants of which something is due.
pub async fn due(store: &Store, now: DateTime<Utc>) -> Result<Vec<Due>> {
    let cutoffs = cutoffs(store, now).await?;
    let rows = read(&store.analytics, || {
        sqlx::query!(
            r#"with given as materialized (
                select * from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) as g (tenant_id, content_before, metrics_before)
             ), due as (
                -- The oldest of each, by the index: asked whether there is any, Postgres would rather look through all.
                select g.tenant_id, g.content_before, g.metrics_before,
                       coalesce((select greatest(s.ended_at, s.received_at)
                                   from sessions s
                                  where s.tenant_id = g.tenant_id and s.closed_at is null
                                    and s.status not in ('queued', 'ringing', 'active')
                                  order by greatest(s.ended_at, s.received_at)
                                  limit 1) < g.content_before, false) as closes,
                       coalesce((select greatest(s.ended_at, s.received_at)
                                   from sessions s
                                  where s.tenant_id = g.tenant_id and s.closed_at is not null
                                  order by greatest(s.ended_at, s.received_at)
                                  limit 1) < g.metrics_before, false) as deletes,
                       coalesce((select t.expires_at
                                   from session_tombstones t
                                  where t.tenant_id = g.tenant_id
                                  order by t.expires_at
                                  limit 1) <= $4, false) as forgets
                  from given g
                offset 0
             )
             select tenant_id as "tenant_id!", content_before, metrics_before, closes as "closes!", deletes as "deletes!",
                    forgets as "forgets!"
               from due
              where closes or deletes or forgets"#,
            &column(&cutoffs, |c| c.tenant),
            &column(&cutoffs, |c| c.content_before) as _,
            &column(&cutoffs, |c| c.metrics_before) as _,
            now,
        )
        .fetch_all(&store.analytics)
    })
    .await?;
    let due = rows.into_iter().map(|row| Due {
        scope: Scope::for_worker(store, TenantId(row.tenant_id)),
        content_before: row.content_before,
        metrics_before: row.metrics_before,
        closes: row.closes,
        deletes: row.deletes,
        forgets: row.forgets,
    });
    Ok(due.collect())
}

/// How much of a tenant is due.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Calls whose content is to go.
    pub closes: i64,
    /// Calls that are to go, of those that are closed.
    pub deletes: i64,
    pub forgets: i64,
}

/// How much it is, for a person who asks before it goes.
pub async fn waiting(scope: &Scope, now: DateTime<Utc>) -> Result<Waiting> {
    let retention = super::get(scope).await?.retention;
    let row = read(&scope.analytics, || {
        sqlx::query!(
            r#"select (select count(*)
                         from sessions s
                        where s.tenant_id = $1 and s.closed_at is null
                          and greatest(s.ended_at, s.received_at) < $2
                          and s.status not in ('queued', 'ringing', 'active')) as "closes!",
                      (select count(*)
                         from sessions s
                        where s.tenant_id = $1
                          and greatest(s.ended_at, s.received_at) < $3
                          and s.status not in ('queued', 'ringing', 'active')) as "deletes!",
                      (select count(*) from session_tombstones t where t.tenant_id = $1 and t.expires_at <= $4) as "forgets!""#,
            scope.tenant.0,
            retention.content().cutoff(now),
            retention.metrics().cutoff(now),
            now,
        )
        .fetch_one(&scope.analytics)
    })
    .await?;
    Ok(Waiting {
        closes: row.closes,
        deletes: row.deletes,
        forgets: row.forgets,
    })
}

struct Cutoffs {
    tenant: Uuid,
    content_before: Option<DateTime<Utc>>,
    metrics_before: Option<DateTime<Utc>>,
}

async fn cutoffs(store: &Store, now: DateTime<Utc>) -> Result<Vec<Cutoffs>> {
    let rows = read(&store.analytics, || {
        sqlx::query!(
            r#"select t.id, r.content_days as "content_days?", r.metrics_days as "metrics_days?"
                 from tenants t
                 left join retention_settings r on r.tenant_id = t.id
                order by t.id"#,
        )
        .fetch_all(&store.analytics)
    })
    .await?;
    let cutoffs = rows.into_iter().map(|row| {
        let retention = of_columns(row.content_days, row.metrics_days);
        Cutoffs {
            tenant: row.id,
            content_before: retention.content().cutoff(now),
            metrics_before: retention.metrics().cutoff(now),
        }
    });
    Ok(cutoffs.collect())
}
