//! The audit log: appended by the transaction of the change that it tells of, read by whoever manages
//! the tenant, verified from the first entry to the last.

use futures_util::TryStreamExt;
use sqlx::{Connection, PgConnection};

use crate::domain::audit::{Deed, Entry, Filter, GENESIS, Hash, Key, Verdict, Walk};
use crate::domain::ids::TenantId;
use crate::domain::page::{Limit, Slice, Start};
use crate::domain::{Error, Result};
use crate::store::failure::{failure, read};
use crate::store::scope::Scope;

/// Notes a change. To be the last thing that its transaction does: the chain's head stays locked until
/// the commit, so that no other entry can follow the same one.
pub(in crate::store) async fn append(
    connection: &mut PgConnection,
    tenant: TenantId,
    deed: Deed,
) -> Result<()> {
    let head = sqlx::query!(
        "insert into audit_head (tenant_id, seq, hash)
         values ($1, 0, $2)
             on conflict (tenant_id) do update set seq = audit_head.seq
          returning seq, hash",
        tenant.0,
        GENESIS.as_slice(),
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(failure)?;
    let previous = Hash::try_from(head.hash.as_slice())
        .map_err(|_| Error::Internal("the audit log's head is no hash".to_owned()))?;
    let entry = Entry::new(tenant, head.seq + 1, &previous, deed);
    sqlx::query!(
        "insert into audit_log
              (tenant_id, seq, at, actor, action, object_type, object_id, fields, previous_hash, hash)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        tenant.0,
        entry.seq,
        entry.at,
        entry.actor,
        entry.action,
        entry.object_type,
        entry.object_id,
        &entry.fields,
        entry.previous_hash,
        entry.hash,
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    sqlx::query!(
        "update audit_head set seq = $2, hash = $3 where tenant_id = $1",
        tenant.0,
        entry.seq,
        entry.hash,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// One page, newest first. Every filter has an index in the order of the list.
pub async fn list(
    scope: &Scope,
    filter: &Filter,
    start: &Start<Key>,
    limit: Limit,
) -> Result<Slice<Entry>> {
    // By the chain's own order: clocks of several servers may tell another.
    let before: Option<i64> = match start {
        Start::After((_, seq)) => Some(*seq),
        Start::Beginning | Start::Skip(_) => None,
    };
    let rows = read(&scope.analytics, || {
        sqlx::query_as!(
            Entry,
            "select seq, at, actor, action, object_type, object_id, fields, previous_hash, hash
               from audit_log
              where tenant_id = $1
                and ($2::text is null or action = $2)
                and ($3::text is null or object_id = $3)
                and ($4::text is null or actor = $4)
                and ($5::timestamptz is null or at >= $5)
                and ($6::timestamptz is null or at < $6)
                and ($7::bigint is null or seq < $7)
              order by seq desc
              limit $8",
            scope.tenant.0,
            filter.action,
            filter.object_id.as_deref(),
            filter.actor.as_deref(),
            filter.after,
            filter.before,
            before,
            limit.probe(),
        )
        .fetch_all(&scope.analytics)
    })
    .await?;
    Ok(Slice::from_probe(rows, limit))
}

/// Walks the whole chain, entry by entry as they come from the database: its length costs time, not
/// memory. One snapshot, so that what is appended meanwhile is not missed from the head.
pub async fn verify(scope: &Scope) -> Result<Verdict> {
    let mut connection = scope.analytics.acquire().await.map_err(failure)?;
    let mut snapshot = connection
        .begin_with("begin isolation level repeatable read read only")
        .await
        .map_err(failure)?;
    let head = sqlx::query!(
        "select seq, hash
           from audit_head
          where tenant_id = $1",
        scope.tenant.0,
    )
    .fetch_optional(&mut *snapshot)
    .await
    .map_err(failure)?;
    let mut walk = Walk::new(scope.tenant);
    {
        let mut entries = sqlx::query_as!(
            Entry,
            "select seq, at, actor, action, object_type, object_id, fields, previous_hash, hash
               from audit_log
              where tenant_id = $1
              order by seq",
            scope.tenant.0,
        )
        .fetch(&mut *snapshot);
        while let Some(entry) = entries.try_next().await.map_err(failure)? {
            walk.step(&entry);
        }
    }
    let (seq, hash) = head.map_or((0, GENESIS.to_vec()), |head| (head.seq, head.hash));
    Ok(walk.end(seq, hash))
}
