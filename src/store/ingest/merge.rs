//! What becomes of sessions that turn out to be part of another one: all that hangs on them moves there, and
//! their ids and names lead there for ever.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::assemble::Change;
use crate::store::columns::column;

use super::load::{Key, SessionBefore};
use super::resolve::ABSORBED;
use super::{Result, Trouble};

/// Counts the evaluations that people wrote of sessions whose state is put together anew from facts.
pub async fn count_own(
    connection: &mut PgConnection,
    members: &[(Key, Key)],
    changes: &mut BTreeMap<Key, Change>,
) -> Result<()> {
    if members.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query!(
        r#"select k.tenant_id as "tenant_id!", k.into_id as "into_id!", count(*)::integer as "count!"
             from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as k (tenant_id, into_id, session_id)
             join evaluations e on e.tenant_id = k.tenant_id and e.session_id = k.session_id and e.by_person
            group by 1, 2"#,
        &column(members, |(into, _)| into.0),
        &column(members, |(into, _)| into.1),
        &column(members, |(_, of)| of.1),
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        if let Some(change) = changes.get_mut(&(row.tenant_id, row.into_id)) {
            change.counters.evaluations += row.count;
        }
    }
    Ok(())
}

/// Removes the state of sessions that is put together anew.
pub async fn clear(
    connection: &mut PgConnection,
    whole: &BTreeSet<Key>,
    before: &BTreeMap<Key, SessionBefore>,
) -> Result<()> {
    let keys: Vec<Key> = whole
        .iter()
        .filter(|key| before.contains_key(key))
        .copied()
        .collect();
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "with k as materialized (
            select * from unnest($1::uuid[], $2::uuid[]) as k (tenant_id, session_id)
         ), a as (
            delete from facts t using k where t.tenant_id = k.tenant_id and t.session_id = k.session_id
         ), b as (
            delete from turns t using k where t.tenant_id = k.tenant_id and t.session_id = k.session_id
         ), c as (
            delete from tool_calls t using k where t.tenant_id = k.tenant_id and t.session_id = k.session_id
         ), d as (
            delete from interruptions t using k where t.tenant_id = k.tenant_id and t.session_id = k.session_id
         ), e as (
            delete from errors t using k where t.tenant_id = k.tenant_id and t.session_id = k.session_id
         ), f as (
            delete from evaluations t using k
             where t.tenant_id = k.tenant_id and t.session_id = k.session_id and not t.by_person
         ), h as (
            delete from session_labels t using k where t.tenant_id = k.tenant_id and t.session_id = k.session_id
         ), g as (
            delete from spans t using k where t.tenant_id = k.tenant_id and t.session_id = k.session_id
         )
         delete from traces t using k where t.tenant_id = k.tenant_id and t.session_id = k.session_id",
        &column(&keys, |k| k.0),
        &column(&keys, |k| k.1),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps names. Somebody else may have been faster with one.
pub async fn keep_names(
    connection: &mut PgConnection,
    aliases: &BTreeMap<(Uuid, i16, String), Uuid>,
) -> Result<()> {
    if aliases.is_empty() {
        return Ok(());
    }
    let aliases: Vec<_> = aliases.iter().collect();
    let done = sqlx::query!(
        "insert into session_aliases (tenant_id, kind, value, session_id)
         select * from unnest($1::uuid[], $2::smallint[], $3::text[], $4::uuid[])
             on conflict (tenant_id, kind, value) do nothing",
        &column(&aliases, |(name, _)| name.0),
        &column(&aliases, |(name, _)| name.1),
        &column(&aliases, |(name, _)| name.2.clone()),
        &column(&aliases, |(_, session)| **session),
    )
    .execute(connection)
    .await?;
    if done.rows_affected() < aliases.len() as u64 {
        return Err(Trouble::Race);
    }
    Ok(())
}

/// Moves what is no fact to the sessions that stay, and removes the absorbed ones with their facts and state.
pub async fn absorb(
    connection: &mut PgConnection,
    absorbed: &BTreeMap<Key, BTreeSet<Uuid>>,
    now: DateTime<Utc>,
) -> Result<()> {
    for (into, others) in absorbed {
        for other in others {
            move_all(connection, *into, *other, now).await?;
        }
    }
    Ok(())
}

/// Mergers are rare: one after the other will do.
async fn move_all(
    connection: &mut PgConnection,
    (tenant, into): Key,
    other: Uuid,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "update session_aliases set session_id = $3 where tenant_id = $1 and session_id = $2",
        tenant,
        other,
        into,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into session_aliases (tenant_id, kind, value, session_id)
         values ($1, $2, $3, $4)
             on conflict (tenant_id, kind, value) do update set session_id = excluded.session_id",
        tenant,
        ABSORBED,
        other.to_string(),
        into,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "update evaluations set session_id = $3 where tenant_id = $1 and session_id = $2 and by_person",
        tenant,
        other,
        into,
    )
    .execute(&mut *connection)
    .await?;
    // Kept from when the first word of either was received.
    sqlx::query!(
        "update sessions s
            set received_at = least(s.received_at, o.received_at)
           from sessions o
          where s.tenant_id = $1 and s.id = $2 and o.tenant_id = $1 and o.id = $3
            and o.received_at < s.received_at",
        tenant,
        into,
        other,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "update trace_nodes set session_id = $3 where tenant_id = $1 and session_id = $2",
        tenant,
        other,
        into,
    )
    .execute(&mut *connection)
    .await?;
    move_edits(connection, (tenant, into), other).await?;
    move_recording(connection, (tenant, into), other, now).await?;
    sqlx::query!(
        "update live_outbox set session_id = $3 where tenant_id = $1 and session_id = $2",
        tenant,
        other,
        into,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "delete from sessions where tenant_id = $1 and id = $2",
        tenant,
        other,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What somebody wrote of the one that stays stays; of each part it lacks, the other's is taken.
async fn move_edits(connection: &mut PgConnection, (tenant, into): Key, other: Uuid) -> Result<()> {
    let moved = sqlx::query!(
        "insert into session_edits as e
              (tenant_id, session_id, summary_edited, summary, tags, edited_at, edited_by)
         select tenant_id, $3, summary_edited, summary, tags, edited_at, edited_by
           from session_edits
          where tenant_id = $1 and session_id = $2
             on conflict (tenant_id, session_id)
             do update set summary = case when e.summary_edited then e.summary else excluded.summary end,
                summary_edited = e.summary_edited or excluded.summary_edited,
                tags = coalesce(e.tags, excluded.tags)",
        tenant,
        other,
        into,
    )
    .execute(&mut *connection)
    .await?;
    if moved.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query!(
        "update sessions set has_edits = true where tenant_id = $1 and id = $2",
        tenant,
        into,
    )
    .execute(&mut *connection)
    .await?;
    // Lists by tag go by what readers see.
    sqlx::query!(
        "delete from session_tags t
          using session_edits e
          where e.tenant_id = $1 and e.session_id = $2 and e.tags is not null
            and t.tenant_id = e.tenant_id and t.session_id = e.session_id",
        tenant,
        into,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into session_tags (tenant_id, session_id, tag, started_at)
         select s.tenant_id, s.id, tag, s.started_at
           from session_edits e
           join sessions s on s.tenant_id = e.tenant_id and s.id = e.session_id
          cross join unnest(e.tags) as tag
          where e.tenant_id = $1 and e.session_id = $2
             on conflict do nothing",
        tenant,
        into,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// One recording a session: the audio that the one that stays has, else the other's; where both were announced, the
/// one that began later, as if both had been announced for one session.
async fn move_recording(
    connection: &mut PgConnection,
    (tenant, into): Key,
    other: Uuid,
    now: DateTime<Utc>,
) -> Result<()> {
    if is_recorded_better(connection, (tenant, into), other).await? {
        give_way(connection, (tenant, into), other, now).await?;
    }
    sqlx::query!(
        "update recordings r
            set id = $3, is_early = false
          where r.tenant_id = $1 and r.id = $2
            and not exists (select 1 from recordings k where k.tenant_id = $1 and k.id = $3)",
        tenant,
        other,
        into,
    )
    .execute(&mut *connection)
    .await?;
    // What is still to be fetched waits for the one that stays.
    sqlx::query!(
        "update recording_fetches f
            set id = $3
          where f.tenant_id = $1 and f.id = $2
            and not exists (select 1 from recording_fetches k where k.tenant_id = $1 and k.id = $3)",
        tenant,
        other,
        into,
    )
    .execute(&mut *connection)
    .await?;
    drop_recording(connection, (tenant, other), now).await
}

/// Whether what was announced for the other counts, and not what was for the one that stays.
async fn is_recorded_better(
    connection: &mut PgConnection,
    (tenant, into): Key,
    other: Uuid,
) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"select exists (
            select 1
              from recording_fetches f
              join recording_fetches k on k.tenant_id = f.tenant_id and k.id = $3
             where f.tenant_id = $1 and f.id = $2 and f.status <> 'failed'
               and case when k.status <> 'failed' then f.started_at > k.started_at
                        else not exists (select 1 from recordings r where r.tenant_id = $1 and r.id = $3)
                   end
         ) as "is_better!""#,
        tenant,
        other,
        into,
    )
    .fetch_one(connection)
    .await?;
    Ok(found)
}

/// Makes place for what the other has. Audio that is there is kept until there is other audio.
async fn give_way(
    connection: &mut PgConnection,
    (tenant, into): Key,
    other: Uuid,
    now: DateTime<Utc>,
) -> Result<()> {
    let has_audio = sqlx::query_scalar!(
        r#"select exists (select 1 from recordings where tenant_id = $1 and id = $2) as "has_audio!""#,
        tenant,
        other,
    )
    .fetch_one(&mut *connection)
    .await?;
    if has_audio {
        drop_recording(connection, (tenant, into), now).await?;
    }
    sqlx::query!(
        "delete from recording_fetches where tenant_id = $1 and id = $2",
        tenant,
        into,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes the audio that a session has, if any.
async fn drop_recording(
    connection: &mut PgConnection,
    (tenant, session): Key,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "with gone as (
            delete from recordings where tenant_id = $1 and id = $2 returning object_path, size_bytes, status
         ), counted as (
            update recording_usage u
               set recordings = u.recordings - 1, size_bytes = u.size_bytes - gone.size_bytes
              from gone
             where u.tenant_id = $1 and gone.status = 'available'
         )
         insert into recording_leftovers (tenant_id, object_path, due_at)
         select $1, object_path, $3 from gone
             on conflict do nothing",
        tenant,
        session,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}
