//! Calls that changed and were not analysed since. Whoever takes them up, of several processes, holds
//! their marks until what came of it is kept: a process that dies leaves its marks behind.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::analysed::Analysed;
use crate::domain::ids::{SessionId, TenantId};
use crate::store::columns::column;
use crate::store::failure::failure;
use crate::store::failure::read;
use crate::store::pool::Transaction;
use crate::store::scope::{Scope, Store};

use super::keep;

/// Marks that are taken up at once: few enough for what is known of their calls to be soon written.
const MARKS_MAX: i64 = 200;

/// No mark is due later than a few seconds after it was made. One that seems to be was made by a clock that went ahead,
/// of this server before it was set right or of another one, and would wait for as long as that was wrong.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(1);

/// The moment beyond which a mark is due all the same.
pub(super) fn ahead(now: DateTime<Utc>) -> DateTime<Utc> {
    now + AHEAD_MAX
}

/// Calls that this process analyses now, and nobody else.
pub struct Batch {
    transaction: Transaction,
    store: Store,
    pub sessions: Vec<Taken>,
}

/// One of them.
pub struct Taken {
    pub tenant: TenantId,
    pub session: SessionId,
    /// Text of what sources said of it.
    pub fact_bytes: i64,
}

/// Takes up what is due; none where nothing is, or others are at it.
///
/// A call is held by a lock of its own besides its marks: two processes may each have found a mark of it,
/// and what the slower one found would be kept last. Marks that somebody else holds are left alone, so
/// nobody waits here.
pub async fn take(store: &Store, now: DateTime<Utc>) -> Result<Option<Batch>> {
    let mut transaction = store.analytics.begin().await.map_err(failure)?;
    let due = sqlx::query!(
        r#"with due as materialized (
            select tenant_id, session_id
              from analysis_marks
             where due_at <= $1
                or due_at > $3
             limit $2
               for update skip locked
        ), distinct_due as materialized (
            select distinct tenant_id, session_id from due
        )
        select tenant_id, session_id
          from distinct_due
         where pg_try_advisory_xact_lock(hashtextextended(tenant_id::text || session_id::text, 13))"#,
        now,
        MARKS_MAX,
        ahead(now),
    )
    .fetch_all(&mut *transaction)
    .await
    .map_err(failure)?;
    if due.is_empty() {
        return Ok(None);
    }
    // What is marked later is not seen here, stays, and is taken up again.
    sqlx::query!(
        "delete from analysis_marks m
          where (m.tenant_id, m.session_id, m.id) in (
                select k.tenant_id, k.session_id, k.id
                  from unnest($1::uuid[], $2::uuid[]) as d (tenant_id, session_id)
                  join analysis_marks k on k.tenant_id = d.tenant_id and k.session_id = d.session_id
                   for update of k skip locked)",
        &column(&due, |row| row.tenant_id),
        &column(&due, |row| row.session_id),
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    let sessions = sqlx::query!(
        "select s.tenant_id, s.id, s.fact_bytes
           from unnest($1::uuid[], $2::uuid[]) as d (tenant_id, session_id)
           join sessions s on s.tenant_id = d.tenant_id and s.id = d.session_id
          where s.closed_at is null
          order by s.tenant_id, s.id",
        &column(&due, |row| row.tenant_id),
        &column(&due, |row| row.session_id),
    )
    .fetch_all(&mut *transaction)
    .await
    .map_err(failure)?;
    let sessions = sessions.into_iter().map(|row| Taken {
        tenant: TenantId(row.tenant_id),
        session: SessionId(row.id),
        fact_bytes: row.fact_bytes,
    });
    Ok(Some(Batch {
        transaction,
        store: store.clone(),
        sessions: sessions.collect(),
    }))
}

impl Batch {
    /// Keeps what the analyses came to, a tenant's at a time, and lets the calls go.
    pub async fn finish(
        mut self,
        analysed: Vec<(TenantId, Vec<Analysed>)>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        for (tenant, analysed) in analysed {
            let scope = Scope::for_worker(&self.store, tenant);
            keep::keep(&mut self.transaction, &scope, &analysed, now).await?;
        }
        self.transaction.commit().await.map_err(failure)
    }
}

/// Whether any call is due, held by somebody or not.
pub async fn is_waiting(store: &Store, now: DateTime<Utc>) -> Result<bool> {
    read(&store.analytics, || {
        sqlx::query_scalar!(
            r#"select exists (select from analysis_marks where due_at <= $1 or due_at > $2) as "is_waiting!""#,
            now,
            ahead(now),
        )
        .fetch_one(&store.analytics)
    })
    .await
}

/// A mark for each of these calls of one tenant.
pub(super) async fn mark(
    connection: &mut sqlx::PgConnection,
    scope: &Scope,
    sessions: &[Uuid],
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into analysis_marks (tenant_id, session_id, due_at)
         select $1, id, $3 from unnest($2::uuid[]) as m (id)",
        scope.tenant.0,
        sessions,
        now,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}
