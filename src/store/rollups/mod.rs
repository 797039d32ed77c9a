//! Keeping the rollups: hours that are marked dirty are summed up again from their calls, and the days
//! they belong to from their hours: what the calls add up to, and beside it what analyses found in them.
//! Nothing is ever incremented, so late, repeated, updated, moved and deleted calls all come out right.

mod fold;
mod found;
mod recompute;
mod rest;
mod verify;

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection, PgConnection};

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::ids::TenantId;
use crate::store::failure::failure;
use crate::store::scope::{Scope, Store};

use rest::Resting;

pub use verify::{Difference, is_marked, mark, verify};

/// An hour that ended so recently may still be receiving: readers take its calls one by one anyway.
const SETTLED_AFTER: TimeDelta = TimeDelta::minutes(2);
/// (tenant, hour) pairs taken up in one round.
const ROUND_MAX: i64 = 2_000;
/// Any number, as long as it is this one everywhere.
const LOCK: i64 = 0x766f_7872_6179_0001;

/// The right to keep the rollups, held by one process per database.
pub struct Keeper {
    connection: PgConnection,
    store: Store,
    resting: Resting,
}

impl Keeper {
    /// None where another process is keeping them.
    pub async fn claim(store: &Store) -> Result<Option<Self>> {
        let mut connection = PgConnection::connect_with(&store.options)
            .await
            .map_err(failure)?;
        let is_ours = sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "is_ours!""#, LOCK)
            .fetch_one(&mut connection)
            .await
            .map_err(failure)?;
        Ok(is_ours.then(|| Self {
            connection,
            store: store.clone(),
            resting: Resting::default(),
        }))
    }

    /// Sums up what is dirty and settled, but for hours that rest while others are `pressed`. Answers whether more is
    /// waiting. An error means that the claim is lost.
    pub async fn round(&mut self, now: DateTime<Utc>, pressed: bool) -> Result<bool> {
        self.thin_out().await?;
        let dirty = sqlx::query!(
            r#"select tenant_id, hour
                 from dirty_hour
                where hour < $1
                group by tenant_id, hour
                order by min(id)
                limit $2"#,
            now - SETTLED_AFTER - TimeDelta::hours(1),
            ROUND_MAX,
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(failure)?;
        let is_cut = dirty.len() as i64 == ROUND_MAX;
        let begun = Instant::now();
        let hours = dirty.into_iter().map(|row| (row.tenant_id, row.hour));
        let by_day = recompute::by_day(
            hours.filter(|hour| !(pressed && self.resting.is_at_rest(*hour, begun))),
        );
        let more = is_cut && !by_day.is_empty();
        for ((tenant, _), hours) in by_day {
            let begun = Instant::now();
            let scope = Scope::for_worker(&self.store, TenantId(tenant));
            match recompute::day(&mut self.connection, &scope, &hours).await {
                // The claim goes with its connection.
                Err(error @ Error::Unavailable(_)) => return Err(error),
                // One tenant's trouble is not the others': its calls are read one by one until it is mended.
                Err(error) => tracing::error!(%tenant, %error, "a day could not be summed up"),
                Ok(()) => {}
            }
            let hours = hours.into_iter().map(|hour| (tenant, hour));
            self.resting.add(hours, begun.elapsed(), Instant::now());
        }
        Ok(more)
    }

    /// One mark says as much as many: an hour that keeps receiving would collect them without end.
    async fn thin_out(&mut self) -> Result<()> {
        sqlx::query!(
            "delete from dirty_hour d
              using (select tenant_id, hour, of_analysis, max(id) as id
                       from dirty_hour
                      group by tenant_id, hour, of_analysis
                     having count(*) > 1) kept
              where d.tenant_id = kept.tenant_id and d.hour = kept.hour and d.of_analysis = kept.of_analysis and d.id < kept.id"
        )
        .execute(&mut self.connection)
        .await
        .map_err(failure)?;
        Ok(())
    }
}

/// Sums up everything that is settled, unless another process is at it. Answers whether it did.
pub async fn drain(store: &Store, now: DateTime<Utc>) -> Result<bool> {
    let Some(mut keeper) = Keeper::claim(store).await? else {
        return Ok(false);
    };
    while keeper.round(now, false).await? {}
    // The lock goes with its connection.
    keeper.connection.close().await.map_err(failure)?;
    Ok(true)
}
