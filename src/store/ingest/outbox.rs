//! What the live feed is to tell of a batch, in the same transaction: told if and only if it happened.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::assemble::Change;
use crate::domain::event::Kind;
use crate::domain::ledger::Ledger;
use crate::domain::live::Changes;
use crate::store::columns::column;
use crate::store::columns::to_text;

use super::Result;
use super::load::{Key, SessionBefore};

/// One small row a session, whatever was written of it.
pub async fn append(
    connection: &mut PgConnection,
    changes: &BTreeMap<Key, Change>,
    ledgers: &BTreeMap<Key, Ledger>,
    before: &BTreeMap<Key, SessionBefore>,
    absorbed: &BTreeMap<Key, BTreeSet<Uuid>>,
    now: DateTime<Utc>,
) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let rows: Vec<(&Key, &Change)> = changes.iter().collect();
    sqlx::query!(
        "insert into live_outbox (tenant_id, session_id, at, status, changes)
         select *
           from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[])",
        &column(&rows, |(key, _)| key.0),
        &column(&rows, |(key, _)| key.1),
        &column(&rows, |_| now),
        &column(&rows, |(_, change)| change
            .session
            .status
            .as_str()
            .to_owned()),
        &column(&rows, |(key, change)| to_text(&of(
            change,
            ledgers.get(*key),
            before.get(*key),
            absorbed.get(*key)
        ))),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A turn is told where something was said of itself; that one beside it came or went changes only how it
/// is measured.
fn of(
    change: &Change,
    ledger: Option<&Ledger>,
    before: Option<&SessionBefore>,
    absorbed: Option<&BTreeSet<Uuid>>,
) -> Changes {
    let touched: BTreeSet<&str> = ledger
        .into_iter()
        .flat_map(Ledger::touched)
        .filter(|entity| entity.kind == Kind::Turn)
        .map(|entity| entity.key.as_str())
        .collect();
    let said = change.turns.written.iter().filter(|turn| {
        let text = turn.text.as_deref();
        text.is_some_and(|text| !text.is_empty())
            && touched.contains(turn.index.to_string().as_str())
    });
    Changes {
        turns: said.map(|turn| turn.index).collect(),
        merged: absorbed.into_iter().flatten().copied().collect(),
        errors: change.errors.written.iter().map(|e| e.id.clone()).collect(),
        ..Changes::between(before.map(|before| before.status), change.session.status)
    }
}
