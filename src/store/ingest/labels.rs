//! The names that sessions share with others, as their sources give them: kept to look sessions up by.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use crate::domain::assemble::Change;
use crate::domain::event::Kind;
use crate::domain::fact::Entity;
use crate::domain::ids::{EXTERNAL_ID_MAX_CHARS, LabelKind};
use crate::domain::ledger::Ledger;
use crate::store::columns::column;

use super::Result;
use super::load::Key;

/// So long nothing must have been written of a room's sessions before two of them are seen as one: what comes
/// together is looked at together.
const QUIET: TimeDelta = TimeDelta::minutes(1);

type Label = (LabelKind, String);

/// Keeps the names of the sessions that a batch changes.
pub async fn save(
    connection: &mut PgConnection,
    changes: &BTreeMap<Key, Change>,
    ledgers: &BTreeMap<Key, Ledger>,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut rows: Vec<(Key, Label, DateTime<Utc>)> = Vec::new();
    for (key, change) in changes {
        let labels = ledgers.get(key).map(of).unwrap_or_default().into_iter();
        rows.extend(labels.map(|label| (*key, label, change.session.started_at)));
    }
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into session_labels as l (tenant_id, session_id, kind, value, started_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::text[], $5::timestamptz[])
             on conflict (tenant_id, session_id, kind, value)
             do update set started_at = excluded.started_at where l.started_at <> excluded.started_at",
        &column(&rows, |(key, ..)| key.0),
        &column(&rows, |(key, ..)| key.1),
        &column(&rows, |(_, label, _)| label.0 as i16),
        &column(&rows, |(_, label, _)| label.1.clone()),
        &column(&rows, |(.., started_at)| *started_at),
    )
    .execute(&mut *connection)
    .await?;
    let rooms = rows
        .into_iter()
        .filter(|(_, label, _)| label.0 == LabelKind::RoomName);
    let rooms: BTreeSet<_> = rooms.map(|(key, label, _)| (key.0, label.1)).collect();
    if rooms.is_empty() {
        return Ok(());
    }
    let rooms: Vec<_> = rooms.into_iter().collect();
    sqlx::query!(
        "insert into room_names_due (tenant_id, value, due_at)
         select tenant_id, value, $3 from unnest($1::uuid[], $2::text[]) as r (tenant_id, value)
             on conflict (tenant_id, value) do update set due_at = excluded.due_at",
        &column(&rooms, |room| room.0),
        &column(&rooms, |room| room.1.clone()),
        now + QUIET,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What all that was said of a session as a whole calls it.
fn of(ledger: &Ledger) -> BTreeSet<Label> {
    let session = Entity {
        kind: Kind::Session,
        key: String::new(),
    };
    let facts = ledger.facts_of(&session).into_iter();
    let ids = facts.filter_map(|fact| fact.fields.get("externalIds").and_then(Value::as_array));
    let labels = ids.flatten().filter_map(|id| {
        let member = |name: &str| id.get(name).and_then(Value::as_str);
        let value = member("id")?.trim();
        let is_sound = !value.is_empty() && value.chars().count() <= EXTERNAL_ID_MAX_CHARS;
        is_sound.then_some((LabelKind::parse(member("kind")?)?, value.to_owned()))
    });
    labels.collect()
}
