//! Costs by other prices than today's: each tenant's calls are looked through, newest first, a page at a time,
//! and those whose cost was computed by others, or of whose cost nothing was known, are computed again. Any number of
//! processes share it.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::analytics::hour_of;
use crate::domain::digest::Digest;
use crate::domain::ids::TenantId;
use crate::domain::price;
use crate::domain::price::{Prices, VERSION};
use crate::domain::session::{Providers, Session, Status, Workflow};
use crate::store::columns::{column, object, to_text, unreadable};
use crate::store::failure::failure;
use crate::store::scope::{Scope, Store};

use super::parsed;

/// Tenants that are looked after in one round, and calls of each.
const TENANTS_MAX: i64 = 20;
const PAGE: i64 = 200;
/// So long a writer may still be at work with the prices from before.
const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(60);

/// Computes the next page of each tenant's calls again where that is due. Answers whether there may be more.
pub async fn sweep(store: &Store, now: DateTime<Utc>) -> Result<bool> {
    let tenants = sqlx::query_scalar!(
        r#"select t.id
             from tenants t
             left join price_overrides o on o.tenant_id = t.id
             left join price_sweeps w on w.tenant_id = t.id
            where (w.tenant_id is null
                   or not w.is_done
                   or w.prices_version <> case when o.version is null then $1 else $1 || '+' || o.version end)
              and (o.updated_at is null or o.updated_at <= $2)
            order by t.id
            limit $3"#,
        VERSION,
        now - SETTLED_AFTER,
        TENANTS_MAX,
    )
    .fetch_all(&store.analytics)
    .await
    .map_err(failure)?;
    let mut more = false;
    for tenant in tenants {
        more |= step(&Scope::for_worker(store, TenantId(tenant))).await?;
    }
    Ok(more)
}

/// Where a tenant's sweep is.
struct Progress {
    prices_version: String,
    before: Option<DateTime<Utc>>,
    before_id: Option<Uuid>,
    is_done: bool,
}

/// One page of one tenant. Answers whether there is more of it.
async fn step(scope: &Scope) -> Result<bool> {
    let mut transaction = scope.analytics.begin().await.map_err(failure)?;
    let Some(mut progress) = lock(&mut transaction, scope).await? else {
        // Another process is at it.
        return Ok(false);
    };
    let prices = own(&mut transaction, scope).await?;
    if progress.prices_version != prices.version() {
        progress = Progress {
            prices_version: prices.version(),
            before: None,
            before_id: None,
            is_done: false,
        };
    }
    if !progress.is_done {
        let stale = page(&mut transaction, scope, &mut progress).await?;
        price_again(&mut transaction, scope, &stale, &prices).await?;
    }
    sqlx::query!(
        "update price_sweeps
            set prices_version = $2, before = $3, before_id = $4, is_done = $5
          where tenant_id = $1",
        scope.tenant.0,
        progress.prices_version,
        progress.before,
        progress.before_id,
        progress.is_done,
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    transaction.commit().await.map_err(failure)?;
    Ok(!progress.is_done)
}

async fn lock(connection: &mut PgConnection, scope: &Scope) -> Result<Option<Progress>> {
    sqlx::query!(
        "insert into price_sweeps (tenant_id, prices_version, is_done)
         values ($1, '', false)
             on conflict (tenant_id) do nothing",
        scope.tenant.0,
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    sqlx::query_as!(
        Progress,
        "select prices_version, before, before_id, is_done
           from price_sweeps
          where tenant_id = $1
            for update skip locked",
        scope.tenant.0,
    )
    .fetch_optional(connection)
    .await
    .map_err(failure)
}

async fn own(connection: &mut PgConnection, scope: &Scope) -> Result<Prices> {
    let row = sqlx::query!(
        "select version, prices from price_overrides where tenant_id = $1",
        scope.tenant.0,
    )
    .fetch_optional(connection)
    .await
    .map_err(failure)?;
    row.map_or_else(
        || Ok(Prices::default()),
        |row| parsed(row.version, &row.prices),
    )
}

/// The calls of the next page whose cost was computed by other prices, or is not known.
async fn page(
    connection: &mut PgConnection,
    scope: &Scope,
    progress: &mut Progress,
) -> Result<Vec<Uuid>> {
    let page = sqlx::query!(
        r#"select started_at, id,
                  coalesce(extra::jsonb #>> '{pricing,pricesVersion}' <> $2, cost_micro_usd is null) as "is_stale!"
             from sessions
            where tenant_id = $1
              and ($3::timestamptz is null or (started_at, id) < ($3, $4::uuid))
            order by started_at desc, id desc
            limit $5"#,
        scope.tenant.0,
        progress.prices_version,
        progress.before,
        progress.before_id,
        PAGE,
    )
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    progress.is_done = (page.len() as i64) < PAGE;
    if let Some(last) = page.last() {
        (progress.before, progress.before_id) = (Some(last.started_at), Some(last.id));
    }
    let stale = page.into_iter().filter(|row| row.is_stale);
    Ok(stale.map(|row| row.id).collect())
}

/// Computes costs again, of calls as they are once nobody else writes to them.
async fn price_again(
    connection: &mut PgConnection,
    scope: &Scope,
    ids: &[Uuid],
    prices: &Prices,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query!(
        "select id, status, channel, started_at, answered_at, ended_at, call_sid, to_number,
                stt_provider, llm_provider, tts_provider, extra, digest, cost_micro_usd
           from sessions
          where tenant_id = $1 and id = any($2)
          order by id
            for no key update",
        scope.tenant.0,
        ids,
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let mut priced = Vec::new();
    for row in rows {
        let mut session = Session {
            status: Status::parse(&row.status)
                .ok_or_else(|| unreadable("sessions.status", &row.status))?,
            agent_key: None,
            agent_version: None,
            channel: row.channel,
            started_at: row.started_at,
            answered_at: row.answered_at,
            ended_at: row.ended_at,
            end_reason: None,
            ended_by: None,
            answered_by: None,
            call_sid: row.call_sid,
            stream_id: None,
            from_number: None,
            to_number: row.to_number,
            workflow: Workflow::default(),
            campaign: None,
            language: None,
            voice: None,
            summary: None,
            tags: Vec::new(),
            providers: Providers {
                stt: row.stt_provider,
                llm: row.llm_provider,
                tts: row.tts_provider,
            },
            cost_micro_usd: None,
            extra: object("sessions.extra", &row.extra)?,
        };
        // A source may have said meanwhile what it cost.
        let was_priced = price::pricing(&session).is_some();
        if !was_priced && row.cost_micro_usd.is_some() {
            continue;
        }
        let digest =
            Digest::from_bytes(&row.digest).ok_or_else(|| unreadable("sessions.digest", row.id))?;
        price::apply(&mut session, &digest, prices);
        if !was_priced && price::pricing(&session).is_none() {
            continue;
        }
        let is_other = session.cost_micro_usd != row.cost_micro_usd;
        priced.push((row.id, session, is_other));
    }
    sqlx::query!(
        "update sessions s
            set cost_micro_usd = k.cost, extra = k.extra
           from unnest($2::uuid[], $3::bigint[], $4::text[]) as k (id, cost, extra)
          where s.tenant_id = $1 and s.id = k.id",
        scope.tenant.0,
        &column(&priced, |(id, ..)| *id),
        &column(&priced, |(_, session, _)| session.cost_micro_usd) as _,
        &column(&priced, |(_, session, _)| to_text(&session.extra)),
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let changed = priced.iter().filter(|(.., is_other)| *is_other);
    let mut hours: Vec<_> = changed
        .map(|(_, session, _)| hour_of(session.started_at))
        .collect();
    hours.sort_unstable();
    hours.dedup();
    sqlx::query!(
        "insert into dirty_hour (tenant_id, hour) select $1, hour from unnest($2::timestamptz[]) as h (hour)",
        scope.tenant.0,
        &hours,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}
