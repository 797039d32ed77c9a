//! Numbering: one process per database takes rows out of the outbox after their commit, and gives each
//! event its tenant's next number. So numbers have no gaps, and none appears behind a later one.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::NUMBERED;
use crate::domain::Result;
use crate::domain::live::{Changes, Step};
use crate::domain::session::Status;
use crate::store::columns::column;
use crate::store::columns::to_text;
use crate::store::columns::unreadable;
use crate::store::failure::failure;
use crate::store::scope::Store;

/// Rows of the outbox taken up in one round.
const ROUND_MAX: i64 = 500;
/// Events kept for those who come back, by number and by age.
pub(super) const KEPT_MAX: i64 = 10_000;
const KEPT_FOR: TimeDelta = TimeDelta::minutes(10);
/// Too old events removed in one go, of one tenant.
const TRIM_MAX: i64 = 10_000;
/// A notification holds 8,000 bytes; a tenant's id takes 33.
const TENANTS_TOLD: usize = 200;
/// Any number, as long as it is this one everywhere.
const LOCK: i64 = 0x766f_7872_6179_0002;

/// The right to number events, held by one process per database.
pub struct Sequencer {
    connection: PgConnection,
    /// The last tenant whose rows were taken up, so that one with much to tell does not starve the others.
    after: Uuid,
}

/// What a round found.
#[derive(Debug, PartialEq, Eq)]
pub struct Round {
    /// More is waiting.
    pub more: bool,
}

struct Written {
    tenant: Uuid,
    id: i64,
    session: Uuid,
    at: DateTime<Utc>,
    status: String,
    changes: String,
}

struct Numbered<'a> {
    tenant: Uuid,
    seq: i64,
    row: &'a Written,
    step: Step,
}

impl Sequencer {
    /// None where another process is numbering.
    pub async fn claim(store: &Store) -> Result<Option<Self>> {
        let options = store
            .options
            .clone()
            .application_name("voxray live sequencer")
            // It always knows the keys it wants, and its tables are too lively for statistics.
            .options([
                ("plan_cache_mode", "force_generic_plan"),
                ("jit", "off"),
                ("enable_seqscan", "off"),
                ("enable_hashjoin", "off"),
                ("enable_mergejoin", "off"),
            ]);
        let mut connection = PgConnection::connect_with(&options)
            .await
            .map_err(failure)?;
        let is_ours = sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "is_ours!""#, LOCK)
            .fetch_one(&mut connection)
            .await
            .map_err(failure)?;
        Ok(is_ours.then_some(Self {
            connection,
            after: Uuid::nil(),
        }))
    }

    /// Numbers what waits, up to a bound. An error means that the claim is lost.
    pub async fn round(&mut self) -> Result<Round> {
        let rows = self.waiting().await?;
        let is_full = rows.len() as i64 == ROUND_MAX;
        let is_rotated = !self.after.is_nil();
        self.after = match rows.last() {
            Some(row) if is_full => row.tenant,
            _ => Uuid::nil(),
        };
        if !rows.is_empty() {
            self.number(&rows).await?;
        }
        // After the last tenant comes the first again.
        Ok(Round {
            more: is_full || is_rotated,
        })
    }

    async fn waiting(&mut self) -> Result<Vec<Written>> {
        sqlx::query_as!(
            Written,
            "select tenant_id as tenant, id, session_id as session, at, status, changes
               from live_outbox
              where tenant_id > $1
              order by tenant_id, id
              limit $2",
            self.after,
            ROUND_MAX,
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(failure)
    }

    async fn number(&mut self, rows: &[Written]) -> Result<()> {
        let mut steps: BTreeMap<Uuid, Vec<(&Written, Step)>> = BTreeMap::new();
        for row in rows {
            let of_tenant = steps.entry(row.tenant).or_default();
            match row.steps() {
                Ok(all) => of_tenant.extend(all.into_iter().map(|step| (row, step))),
                // One row that makes no sense must not keep everybody's events back.
                Err(error) => tracing::error!(%error, "a change is not told on the live feed"),
            }
        }
        let mut transaction = self.connection.begin().await.map_err(failure)?;
        let counts: Vec<(Uuid, i64)> = steps
            .iter()
            .map(|(tenant, steps)| (*tenant, steps.len() as i64))
            .collect();
        let heads = raise(&mut transaction, &counts).await?;
        let mut numbered = Vec::new();
        for (tenant, steps) in steps {
            let head = heads.get(&tenant).copied().unwrap_or_default();
            let first = head - steps.len() as i64 + 1;
            let all = (first..).zip(steps).map(|(seq, (row, step))| Numbered {
                tenant,
                seq,
                row,
                step,
            });
            // What would be removed at once is not written.
            numbered.extend(all.filter(|event| event.seq > head - KEPT_MAX));
        }
        insert(&mut transaction, &numbered).await?;
        remove(&mut transaction, rows).await?;
        trim(&mut transaction, &heads, &counts).await?;
        tell(&mut transaction, &counts).await?;
        transaction.commit().await.map_err(failure)
    }

    /// Removes events that have been kept for long enough, and no later one before an earlier: where clocks
    /// disagree, an old event behind a young one stays, so that what is kept has no holes.
    pub async fn forget(&mut self, now: DateTime<Utc>) -> Result<()> {
        sqlx::query!(
            "with old as materialized (
                select h.tenant_id, o.seq
                  from live_heads h
                 cross join lateral (
                       -- No further back than events are kept: before that all is dead, and in the way.
                       select e.seq, e.at
                         from live_events e
                        where e.tenant_id = h.tenant_id and e.seq > h.seq - $3
                        order by e.seq limit 1
                       ) o
                 where o.at < $1
             )
             delete from live_events e
              using old
              cross join lateral (
                    -- Up to the first that is young enough, as far as this goes.
                    select min(y.seq) as seq
                      from live_events y
                     where y.tenant_id = old.tenant_id and y.seq < old.seq + $2 and y.at >= $1
                    ) young
              where e.tenant_id = old.tenant_id
                and e.seq < least(young.seq, old.seq + $2)",
            now - KEPT_FOR,
            TRIM_MAX,
            KEPT_MAX,
        )
        .execute(&mut self.connection)
        .await
        .map_err(failure)?;
        Ok(())
    }
}

impl Written {
    fn steps(&self) -> Result<Vec<Step>> {
        let status = Status::parse(&self.status)
            .ok_or_else(|| unreadable("live_outbox.status", &self.status))?;
        let changes: Changes = serde_json::from_str(&self.changes)
            .map_err(|_| unreadable("live_outbox.changes", self.id))?;
        Ok(changes.into_steps(status))
    }
}

/// Takes so many numbers for each tenant, and answers the last of them.
async fn raise(
    connection: &mut PgConnection,
    counts: &[(Uuid, i64)],
) -> Result<BTreeMap<Uuid, i64>> {
    let rows = sqlx::query!(
        "insert into live_heads (tenant_id, seq)
         select * from unnest($1::uuid[], $2::bigint[])
             on conflict (tenant_id) do update set seq = live_heads.seq + excluded.seq
         returning tenant_id, seq",
        &column(counts, |(tenant, _)| *tenant),
        &column(counts, |(_, count)| *count),
    )
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    Ok(rows
        .into_iter()
        .map(|row| (row.tenant_id, row.seq))
        .collect())
}

async fn insert(connection: &mut PgConnection, events: &[Numbered<'_>]) -> Result<()> {
    sqlx::query!(
        "insert into live_events (tenant_id, seq, session_id, at, kind, status, turn, error_id, merged_from)
         select *
           from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::timestamptz[], $5::smallint[], $6::text[],
                       $7::integer[], $8::text[], $9::text[])",
        &column(events, |e| e.tenant),
        &column(events, |e| e.seq),
        &column(events, |e| e.row.session),
        &column(events, |e| e.row.at),
        &column(events, |e| e.step.kind as i16),
        &column(events, |e| e.row.status.clone()),
        &column(events, |e| e.step.turn) as _,
        &column(events, |e| e.step.error_id.clone()) as _,
        &column(events, |e| (!e.step.merged_from.is_empty()).then(|| to_text(&e.step.merged_from))) as _,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

async fn remove(connection: &mut PgConnection, rows: &[Written]) -> Result<()> {
    sqlx::query!(
        "delete from live_outbox o
          using unnest($1::uuid[], $2::bigint[]) as k (tenant_id, id)
          where o.tenant_id = k.tenant_id and o.id = k.id",
        &column(rows, |row| row.tenant),
        &column(rows, |row| row.id),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Removes as many as have come. Looks no further back: what was removed in rounds before lies dead in the
/// index until it is vacuumed, and would be walked over each time.
async fn trim(
    connection: &mut PgConnection,
    heads: &BTreeMap<Uuid, i64>,
    counts: &[(Uuid, i64)],
) -> Result<()> {
    let head = |tenant: &Uuid| heads.get(tenant).copied().unwrap_or_default();
    sqlx::query!(
        "delete from live_events e
          using unnest($1::uuid[], $2::bigint[], $3::bigint[]) as k (tenant_id, after, until)
          where e.tenant_id = k.tenant_id and e.seq > k.after and e.seq <= k.until",
        &column(counts, |(tenant, _)| *tenant),
        &column(counts, |(tenant, count)| head(tenant) - count - KEPT_MAX),
        &column(counts, |(tenant, _)| head(tenant) - KEPT_MAX),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

async fn tell(connection: &mut PgConnection, counts: &[(Uuid, i64)]) -> Result<()> {
    for some in counts.chunks(TENANTS_TOLD) {
        let ids: Vec<String> = some.iter().map(|(t, _)| t.simple().to_string()).collect();
        sqlx::query!(
            r#"select 1 as "one!" from pg_notify($1, $2)"#,
            NUMBERED,
            ids.join(",")
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(failure)?;
    }
    Ok(())
}
