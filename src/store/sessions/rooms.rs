//! Rooms whose name several sessions give: which of these names are to be looked at. A worker's view, over all
//! tenants.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::Result;
use crate::domain::event::Source;
use crate::domain::ids::{Claim, ClaimKind, LabelKind, SessionId, TenantId};
use crate::domain::rooms::Occupant;
use crate::store::columns::unreadable;
use crate::store::failure::{failure, read};
use crate::store::scope::{Scope, Store};

/// Names that are taken up at once, and sessions of one name that are looked at, the newest.
const NAMES_MAX: i64 = 100;
const OCCUPANTS_MAX: i64 = 100;
/// Whoever takes up a name has so long; then somebody else does.
const LEASE: TimeDelta = TimeDelta::minutes(5);

/// No name is due later than that. One that seems to be was written by a clock that went ahead.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(10);

/// A room's name that this process looks at now.
pub struct Due {
    pub scope: Scope,
    pub name: String,
    until: DateTime<Utc>,
}

/// Takes up names that are due.
pub async fn take_due(store: &Store, now: DateTime<Utc>) -> Result<Vec<Due>> {
    let until = now + LEASE;
    let rows = sqlx::query!(
        "with due as materialized (
            select tenant_id, value
              from room_names_due
             where due_at <= $1
                or due_at > $4
             limit $2
               for update skip locked
         )
         update room_names_due r
            set due_at = $3
           from due
          where r.tenant_id = due.tenant_id and r.value = due.value
         returning r.tenant_id, r.value",
        now,
        NAMES_MAX,
        until,
        now + AHEAD_MAX,
    )
    .fetch_all(&store.analytics)
    .await
    .map_err(failure)?;
    let due = rows.into_iter().map(|row| Due {
        scope: Scope::for_worker(store, TenantId(row.tenant_id)),
        name: row.value,
        until,
    });
    Ok(due.collect())
}

/// The sessions that were in rooms of this name.
pub async fn occupants(scope: &Scope, name: &str) -> Result<Vec<Occupant>> {
    let told = [
        Source::Event,
        Source::Call,
        Source::Trace,
        Source::LivekitReport,
        Source::Langfuse,
    ];
    let told = told.map(|source| source as i16);
    let rows = read(&scope.pool, || {
        sqlx::query!(
            r#"select s.id, s.external_id, s.name_kind, s.started_at,
                      coalesce(s.ended_at, s.last_at) as "ended_at!",
                      not exists (select from facts f
                                   where f.tenant_id = $1 and f.session_id = s.id and f.source = any($4)) as "is_record!",
                      (s.name_kind = $5 or exists (select from session_aliases a
                                   where a.tenant_id = $1 and a.session_id = s.id and a.kind = $5)) as "has_room_sid!"
                 from session_labels l
                 join sessions s on s.tenant_id = l.tenant_id and s.id = l.session_id
                where l.tenant_id = $1 and l.value = $2 and l.kind = $3
                order by l.started_at desc, l.session_id desc
                limit $6"#,
            scope.tenant.0,
            name,
            LabelKind::RoomName as i16,
            &told,
            ClaimKind::LivekitRoomSid as i16,
            OCCUPANTS_MAX,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    rows.into_iter()
        .map(|row| {
            let kind = ClaimKind::from_stored(row.name_kind)
                .ok_or_else(|| unreadable("sessions.name_kind", row.id))?;
            Ok(Occupant {
                id: SessionId(row.id),
                name: Claim::new(kind, row.external_id),
                started_at: row.started_at,
                ended_at: row.ended_at,
                is_record: row.is_record,
                has_room_sid: row.has_room_sid,
            })
        })
        .collect()
}

/// Lets a name go that nothing more was written of meanwhile.
pub async fn done(due: &Due) -> Result<()> {
    sqlx::query!(
        "delete from room_names_due where tenant_id = $1 and value = $2 and due_at = $3",
        due.scope.tenant.0,
        due.name,
        due.until,
    )
    .execute(&due.scope.pool)
    .await
    .map_err(failure)?;
    Ok(())
}
