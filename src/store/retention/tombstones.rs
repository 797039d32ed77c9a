//! What deleted calls leave: their ids, and hashes of every name that led to them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::ids::{ClaimKind, SessionId};
use crate::store::columns::column;
use crate::store::failure::failure;
use crate::store::scope::Scope;

/// Forgotten in one round.
const FORGET_MAX: i64 = 1_000;
/// The kind of name that an id is, a session's own or one that it has absorbed.
pub(super) const ID: i16 = 0;

/// A session that nobody has, asked for under its id and the names that it is given.
pub(in crate::store) struct Asked {
    pub tenant: Uuid,
    pub id: Uuid,
    /// What kind of name it would be known by.
    pub kind: Option<ClaimKind>,
    pub names: Vec<(ClaimKind, String)>,
}

impl Asked {
    fn names(&self) -> impl Iterator<Item = (i16, String)> {
        let given = self
            .names
            .iter()
            .map(|(kind, value)| (*kind as i16, value.clone()));
        [(ID, self.id.to_string())].into_iter().chain(given)
    }

    /// Whether a name says that the one which is asked for is the one that was deleted: the rules by which two
    /// sessions are one.
    fn is_same(&self, name: i16, dead: ClaimKind) -> bool {
        if name == ID {
            return true;
        }
        let Some(kind) = self.kind else { return true };
        let is_native = kind == ClaimKind::Native && dead == ClaimKind::Native;
        let by_trace = name == ClaimKind::Trace as i16;
        let is_open = |kind| matches!(kind, ClaimKind::Trace | ClaimKind::Native);
        !is_native && (!by_trace || is_open(kind) || is_open(dead))
    }
}

/// Which of these were deleted, by their places. One statement, whatever their number.
pub(in crate::store) async fn buried(
    executor: impl PgExecutor<'_>,
    asked: &[Asked],
    now: DateTime<Utc>,
) -> Result<BTreeSet<usize>, sqlx::Error> {
    let names: Vec<(usize, i16, String)> = asked
        .iter()
        .enumerate()
        .flat_map(|(place, one)| one.names().map(move |(kind, value)| (place, kind, value)))
        .collect();
    let rows = sqlx::query!(
        r#"select g.place as "place!", g.kind as "kind!", t.name_kind
             from unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::text[]) as g (tenant_id, place, kind, value)
             join tombstone_keys k on k.tenant_id = g.tenant_id
             join tombstone_names n
               on n.tenant_id = g.tenant_id
              and n.hash = sha256(k.key || sha256(k.key || convert_to(g.kind || ':' || g.value, 'UTF8')))
             join session_tombstones t on t.tenant_id = n.tenant_id and t.session_id = n.session_id
            where t.expires_at > $5"#,
        &column(&names, |(place, ..)| asked[*place].tenant),
        &column(&names, |(place, ..)| *place as i64),
        &column(&names, |(_, kind, _)| *kind),
        &column(&names, |(.., value)| value.clone()),
        now,
    )
    .fetch_all(executor)
    .await?;
    let mut buried = BTreeSet::new();
    for row in rows {
        let place = row.place as usize;
        // Of what is unreadable nothing must come back.
        let dead = ClaimKind::from_stored(row.name_kind);
        if dead.is_none_or(|dead| asked[place].is_same(row.kind, dead)) {
            buried.insert(place);
        }
    }
    Ok(buried)
}

/// Whether a deleted session had this id, or this text as any of its names.
pub async fn is_buried(
    scope: &Scope,
    id: SessionId,
    reference: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let names = ClaimKind::ALL.map(|kind| (kind, reference.to_owned()));
    let asked = Asked {
        tenant: scope.tenant.0,
        id: id.0,
        kind: None,
        names: names.to_vec(),
    };
    let buried = buried(&scope.pool, &[asked], now).await;
    Ok(!buried.map_err(failure)?.is_empty())
}

/// Leaves tombstones of sessions that are still there.
pub(super) async fn leave(
    connection: &mut PgConnection,
    scope: &Scope,
    ids: &[Uuid],
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<()> {
    let key: [u8; 32] = rand::random();
    sqlx::query!(
        "insert into tombstone_keys (tenant_id, key) values ($1, $2) on conflict (tenant_id) do nothing",
        scope.tenant.0,
        &key,
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    sqlx::query!(
        "insert into session_tombstones (tenant_id, session_id, name_kind, deleted_at, expires_at)
         select tenant_id, id, name_kind, $3, $4
           from sessions
          where tenant_id = $1 and id = any ($2)
             on conflict (tenant_id, session_id)
             do update set name_kind = excluded.name_kind, deleted_at = excluded.deleted_at, expires_at = excluded.expires_at",
        scope.tenant.0,
        ids,
        now,
        until,
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    sqlx::query!(
        "with named as (
            select id, $3::smallint as kind, id::text as value from sessions where tenant_id = $1 and id = any ($2)
             union
            select id, name_kind, external_id from sessions where tenant_id = $1 and id = any ($2)
             union
            select session_id, kind, value from session_aliases where tenant_id = $1 and session_id = any ($2)
             union
            select id, $4, call_sid from sessions where tenant_id = $1 and id = any ($2) and call_sid is not null
             union
            select id, $5, stream_id from sessions where tenant_id = $1 and id = any ($2) and stream_id is not null
         )
         insert into tombstone_names (tenant_id, hash, session_id)
         select distinct on (2) $1::uuid, sha256(k.key || sha256(k.key || convert_to(n.kind || ':' || n.value, 'UTF8'))), n.id
           from named n
           join tombstone_keys k on k.tenant_id = $1
          order by 2, n.id
             on conflict (tenant_id, hash) do update set session_id = excluded.session_id",
        scope.tenant.0,
        ids,
        ID,
        ClaimKind::CallSid as i16,
        ClaimKind::StreamSid as i16,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Removes tombstones whose time is over. Answers how many.
pub async fn forget_due(scope: &Scope, now: DateTime<Utc>) -> Result<u64> {
    let gone = sqlx::query!(
        "delete from session_tombstones t
          where t.tenant_id = $1
            and t.session_id in (select d.session_id
                                   from session_tombstones d
                                  where d.tenant_id = $1 and d.expires_at <= $2
                                  order by d.expires_at
                                  limit $3
                                    for update skip locked)",
        scope.tenant.0,
        now,
        FORGET_MAX,
    )
    .execute(&scope.analytics)
    .await
    .map_err(failure)?;
    Ok(gone.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(asked: ClaimKind, name: Option<ClaimKind>, dead: ClaimKind) -> bool {
        let asked = Asked {
            tenant: Uuid::nil(),
            id: Uuid::nil(),
            kind: Some(asked),
            names: Vec::new(),
        };
        asked.is_same(name.map_or(ID, |name| name as i16), dead)
    }

    #[test]
    fn a_name_means_the_deleted_call_where_it_would_have_led_to_it() {
        use ClaimKind::{CallSid, Conversation, Native, Trace, VapiCall};
        assert!(is_same(Native, None, Native));
        assert!(is_same(CallSid, Some(CallSid), VapiCall));
        assert!(is_same(Native, Some(CallSid), CallSid));
        assert!(is_same(Trace, Some(Trace), Conversation));
        // Who names sessions himself means two.
        assert!(!is_same(Native, Some(CallSid), Native));
        // A trace may tell of several conversations.
        assert!(!is_same(Conversation, Some(Trace), Conversation));
    }
}
