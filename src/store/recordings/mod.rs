//! What is known of recordings: rows only, the bytes are in object storage.

mod claims;
mod early;
pub mod fetches;
mod leftovers;
mod retire;
mod usage;

use chrono::{DateTime, Utc};
use std::collections::HashSet;
use uuid::Uuid;

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::audit::{Action, Deed};
use crate::domain::ids::SessionId;
use crate::domain::recording::{Audio, Placement, Recording, Usage, is_call_sid};
use crate::domain::session::Status;
use crate::store::audit;
use crate::store::columns::unreadable;
use crate::store::failure::{failure, read};
use crate::store::scope::{ContentScope, Scope};

pub use early::{Early, early, forget, settle};
pub use leftovers::{Leftover, due, expect, strike_off};
pub(in crate::store) use retire::{forget_of, retire};
pub use usage::{recount, usage};

/// The kind of id that a call SID is.
const CALL_SID: &str = "call_sid";

/// The call that a path names, as far as recordings go.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: SessionId,
    pub external_id: String,
    pub call_sid: Option<String>,
    pub status: Status,
    /// What was said in it was deleted.
    pub is_closed: bool,
}

/// What became of a recording that was saved.
#[derive(Debug, PartialEq, Eq)]
pub enum Saved {
    New,
    /// In the place of another, whose object nobody needs any more.
    Replaced(String),
    /// There was one, and it was deleted on purpose: it does not come back.
    Refused,
    /// The tenant has as much as it may.
    Full,
}

/// The id under which a recording waits that came under a call SID before its call.
pub fn early_id(scope: &Scope, call_sid: &str) -> SessionId {
    SessionId::from_source(scope.tenant(), CALL_SID, call_sid)
}

/// The session with this id, or the newest with this call SID.
pub async fn call(scope: &Scope, reference: &str) -> Result<Option<Call>> {
    let id = SessionId::from_reference(scope.tenant, reference);
    let call_sid = is_call_sid(reference).then_some(reference);
    let rows = read(&scope.pool, || {
        sqlx::query!(
            r#"select id as "id!", external_id as "external_id!", call_sid, status as "status!",
                      closed_at is not null as "is_closed!"
                 from sessions
                where tenant_id = $1 and id = $2
               union all
               (select id, external_id, call_sid, status, closed_at is not null
                  from sessions
                 where tenant_id = $1 and call_sid = $3
                 order by started_at desc
                 limit 1)"#,
            scope.tenant.0,
            id.0,
            call_sid,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    // The carrier's id means its call, as everywhere, also where a session is called like it.
    let Some(row) = rows
        .into_iter()
        .max_by_key(|row| call_sid.is_some() && row.call_sid.as_deref() == call_sid)
    else {
        return Ok(None);
    };
    let status =
        Status::parse(&row.status).ok_or_else(|| unreadable("sessions.status", &row.status))?;
    Ok(Some(Call {
        id: SessionId(row.id),
        external_id: row.external_id,
        call_sid: row.call_sid,
        status,
        is_closed: row.is_closed,
    }))
}

/// Legs of a call are looked through for a recording up to so many.
const LEGS_MAX: i64 = 20;

/// The sessions of a telephone call that were recorded, newest first.
pub async fn legs(scope: &Scope, call_sid: &str) -> Result<Vec<SessionId>> {
    let ids = read(&scope.pool, || {
        sqlx::query_scalar!(
            "select s.id
               from sessions s
               join recordings r on r.tenant_id = s.tenant_id and r.id = s.id
              where s.tenant_id = $1
                and s.call_sid = $2
              order by s.started_at desc, s.id desc
              limit $3",
            scope.tenant.0,
            call_sid,
            LEGS_MAX,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    Ok(ids.into_iter().map(SessionId).collect())
}

/// The recording under any of these ids; one that is there before one that was deleted.
pub async fn find(
    scope: &Scope,
    content: Option<&ContentScope>,
    ids: &[SessionId],
) -> Result<Option<Recording>> {
    let ids = uuids(ids);
    let row = read(&scope.pool, || {
        sqlx::query!(
            "select id, call_sid, status, is_early, object_path, format, duration_ms, channels,
                    sample_rate_hz, case when $3 then peaks end as peaks, size_bytes, sha256,
                    started_at, start_offset_ms, created_at
               from recordings
              where tenant_id = $1 and id = any($2)
              order by status, created_at desc
              limit 1",
            scope.tenant.0,
            &ids,
            content.is_some(),
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    let Some(row) = row else { return Ok(None) };
    let format = row
        .format
        .parse()
        .map_err(|_| unreadable("recordings.format", &row.format))?;
    let sha256 = <[u8; 32]>::try_from(row.sha256.as_slice())
        .map_err(|_| unreadable("recordings.sha256", row.sha256.len()))?;
    Ok(Some(Recording {
        id: SessionId(row.id),
        call_sid: row.call_sid,
        is_deleted: row.status == DELETED,
        is_early: row.is_early,
        object: row.object_path,
        audio: Audio {
            format,
            duration_ms: row.duration_ms,
            waveform: row.peaks.map(|peaks| unpacked(&peaks, row.channels)),
            channels: row.channels,
            sample_rate_hz: row.sample_rate_hz,
        },
        size_bytes: row.size_bytes,
        sha256,
        placement: Placement {
            started_at: row.started_at,
            start_offset_ms: row.start_offset_ms,
        },
        created_at: row.created_at,
    }))
}

const AVAILABLE: &str = "available";
/// Sorts after the other.
const DELETED: &str = "deleted";

/// Writes a recording, over the one with its id, unless that is more audio than the tenant may have.
pub async fn save(scope: &Scope, recording: &Recording, quota_bytes: Option<u64>) -> Result<Saved> {
    let mut transaction = scope.pool.begin().await.map_err(failure)?;
    if retire::is_over(&mut transaction, scope, recording).await? {
        return Ok(Saved::Refused);
    }
    let audio = &recording.audio;
    let peaks = audio.waveform.as_ref().map(|channels| channels.concat());
    let inserted = sqlx::query!(
        "insert into recordings (tenant_id, id, call_sid, status, is_early, object_path, format,
                                 duration_ms, channels, sample_rate_hz, peaks, size_bytes, sha256,
                                 started_at, start_offset_ms, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         on conflict (tenant_id, id) do nothing",
        scope.tenant.0,
        recording.id.0,
        recording.call_sid,
        AVAILABLE,
        recording.is_early,
        recording.object,
        audio.format.as_str(),
        audio.duration_ms,
        audio.channels,
        audio.sample_rate_hz,
        peaks,
        recording.size_bytes,
        &recording.sha256,
        recording.placement.started_at,
        recording.placement.start_offset_ms,
        recording.created_at,
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    let mut more = Usage {
        recordings: 1,
        size_bytes: recording.size_bytes,
    };
    let saved = if inserted.rows_affected() == 1 {
        Saved::New
    } else {
        let old = sqlx::query!(
            "select status, object_path, size_bytes from recordings where tenant_id = $1 and id = $2 for update",
            scope.tenant.0,
            recording.id.0,
        )
        .fetch_optional(&mut *transaction)
        .await
        .map_err(failure)?
        .ok_or_else(|| Error::Unavailable("a recording went away while it was replaced".to_owned()))?;
        if old.status == DELETED {
            return Ok(Saved::Refused);
        }
        more = Usage {
            recordings: 0,
            size_bytes: recording.size_bytes - old.size_bytes,
        };
        sqlx::query!(
            "update recordings
                set call_sid = $3, is_early = $4, object_path = $5, format = $6, duration_ms = $7,
                    channels = $8, sample_rate_hz = $9, peaks = $10, size_bytes = $11, sha256 = $12,
                    started_at = $13, start_offset_ms = $14, created_at = $15
              where tenant_id = $1 and id = $2",
            scope.tenant.0,
            recording.id.0,
            recording.call_sid,
            recording.is_early,
            recording.object,
            audio.format.as_str(),
            audio.duration_ms,
            audio.channels,
            audio.sample_rate_hz,
            peaks,
            recording.size_bytes,
            &recording.sha256,
            recording.placement.started_at,
            recording.placement.start_offset_ms,
            recording.created_at,
        )
        .execute(&mut *transaction)
        .await
        .map_err(failure)?;
        leftovers::note(
            &mut *transaction,
            scope,
            &old.object_path,
            recording.created_at,
        )
        .await?;
        Saved::Replaced(old.object_path)
    };
    let used = usage::add(&mut transaction, scope, more).await?;
    let is_full = quota_bytes.is_some_and(|quota| used.size_bytes > quota.cast_signed());
    if is_full && more.size_bytes > 0 {
        return Ok(Saved::Full);
    }
    leftovers::strike(&mut *transaction, scope, &recording.object).await?;
    transaction.commit().await.map_err(failure)?;
    Ok(saved)
}

/// Remembers that a recording was deleted and who did it, and forgets what it looked like. Answers the
/// object that is to go; none where it was deleted already.
pub async fn mark_deleted(
    scope: &Scope,
    id: SessionId,
    key_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<String>> {
    let mut transaction = scope.pool.begin().await.map_err(failure)?;
    let deleted = sqlx::query!(
        "update recordings
            set status = $3, deleted_at = $4, is_early = false, peaks = null
          where tenant_id = $1 and id = $2 and status <> $3
        returning object_path, size_bytes",
        scope.tenant.0,
        id.0,
        DELETED,
        now,
    )
    .fetch_optional(&mut *transaction)
    .await
    .map_err(failure)?;
    if let Some(deleted) = &deleted {
        leftovers::note(&mut *transaction, scope, &deleted.object_path, now).await?;
        usage::take(&mut transaction, scope, &[deleted.size_bytes]).await?;
        let deed = Deed {
            at: now,
            actor: key_id.to_owned(),
            action: Action::RecordingDelete,
            object_id: id.to_string(),
            fields: Vec::new(),
        };
        audit::append(&mut transaction, scope.tenant, deed).await?;
    }
    transaction.commit().await.map_err(failure)?;
    Ok(deleted.map(|deleted| deleted.object_path))
}

/// Those of the sessions whose audio is there.
pub async fn recorded(scope: &Scope, sessions: &[SessionId]) -> Result<HashSet<SessionId>> {
    let ids = uuids(sessions);
    let sids = read(&scope.pool, || {
        sqlx::query!(
            r#"select id, call_sid as "call_sid!"
                 from sessions
                where tenant_id = $1 and id = any($2) and call_sid is not null"#,
            scope.tenant.0,
            &ids,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    // Where a recording may be, and whose it then is.
    let by_sid = sids
        .into_iter()
        .map(|row| (early_id(scope, &row.call_sid), SessionId(row.id)));
    let places: Vec<(SessionId, SessionId)> =
        sessions.iter().map(|id| (*id, *id)).chain(by_sid).collect();
    let wanted: Vec<Uuid> = places.iter().map(|(place, _)| place.0).collect();
    let found = read(&scope.pool, || {
        sqlx::query_scalar!(
            "select id from recordings where tenant_id = $1 and id = any($2) and status = $3",
            scope.tenant.0,
            &wanted,
            AVAILABLE,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    let found: HashSet<Uuid> = found.into_iter().collect();
    let recorded = places
        .into_iter()
        .filter(|(place, _)| found.contains(&place.0));
    Ok(recorded.map(|(_, session)| session).collect())
}

fn uuids(ids: &[SessionId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.0).collect()
}

/// Channels lie one after the other, all equally long.
fn unpacked(peaks: &[u8], channels: Option<i32>) -> Vec<Vec<u8>> {
    let channels = channels.and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    let length = (peaks.len() / channels.max(1)).max(1);
    peaks.chunks(length).map(<[u8]>::to_vec).collect()
}
