//! What analyses found, in the tables beside the calls' own sums.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::digest::Digest;
use crate::domain::found::{CauseSums, ConductSums, Found};
use crate::store::columns::{column, to_text, unreadable};
use crate::store::failure::failure;
use crate::store::scope::Scope;

/// Sums by the beginning of an hour and its set.
pub type ByHour = BTreeMap<(DateTime<Utc>, Uuid), Found>;

/// The same agent has the same id for ever. No combination of dimensions has it.
pub fn agent_id(scope: &Scope, agent_key: Option<&str>) -> Uuid {
    Uuid::new_v5(&scope.tenant.0, to_text(&("agent", agent_key)).as_bytes())
}

pub async fn keep_agents(
    connection: &mut PgConnection,
    scope: &Scope,
    agents: &BTreeMap<Option<String>, Uuid>,
) -> Result<()> {
    let agents: Vec<(&Option<String>, &Uuid)> = agents.iter().collect();
    sqlx::query!(
        "insert into agent_sets (tenant_id, id, agent_key)
         select $1, *
           from unnest($2::uuid[], $3::text[])
             on conflict (tenant_id, id) do nothing",
        scope.tenant.0,
        &column(&agents, |(_, id)| **id),
        &column(&agents, |(agent_key, _)| (*agent_key).clone()) as _,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

pub async fn replace_hours(
    connection: &mut PgConnection,
    scope: &Scope,
    hours: &[DateTime<Utc>],
    found: &ByHour,
) -> Result<()> {
    sqlx::query!(
        "delete from analysis_hour where tenant_id = $1 and hour = any ($2)",
        scope.tenant.0,
        hours
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let rows: Vec<_> = found.iter().collect();
    sqlx::query!(
        "insert into analysis_hour (tenant_id, hour, dimension_set, calls, causes, conduct, stages)
         select $1, *
           from unnest($2::timestamptz[], $3::uuid[], $4::bigint[], $5::bytea[], $6::bytea[], $7::bytea[])",
        scope.tenant.0,
        &column(&rows, |(key, _)| key.0),
        &column(&rows, |(key, _)| key.1),
        &column(&rows, |(_, found)| found.calls),
        &column(&rows, |(_, found)| found.causes.to_bytes()),
        &column(&rows, |(_, found)| found.conduct.to_bytes()),
        &column(&rows, |(_, found)| found.stages.to_bytes()),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// A day is the sum of its hours, with combinations in the places that its calls' own sums have for them.
pub async fn replace_day(
    connection: &mut PgConnection,
    scope: &Scope,
    day: DateTime<Utc>,
    places: &BTreeMap<Uuid, Uuid>,
) -> Result<()> {
    let hours = of_hours(connection, scope, day).await?;
    let sums = sum_day(&hours, places);
    sqlx::query!(
        "delete from analysis_day where tenant_id = $1 and day = $2",
        scope.tenant.0,
        day
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let rows: Vec<_> = sums.iter().collect();
    sqlx::query!(
        "insert into analysis_day (tenant_id, day, dimension_set, calls, causes, conduct, stages)
         select $1, $2, *
           from unnest($3::uuid[], $4::bigint[], $5::bytea[], $6::bytea[], $7::bytea[])",
        scope.tenant.0,
        day,
        &column(&rows, |(set, _)| **set),
        &column(&rows, |(_, found)| found.calls),
        &column(&rows, |(_, found)| found.causes.to_bytes()),
        &column(&rows, |(_, found)| found.conduct.to_bytes()),
        &column(&rows, |(_, found)| found.stages.to_bytes()),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Puts a day together from its hours.
pub fn sum_day(hours: &ByHour, places: &BTreeMap<Uuid, Uuid>) -> BTreeMap<Uuid, Found> {
    let mut sums: BTreeMap<Uuid, Found> = BTreeMap::new();
    for ((_, set), hour) in hours {
        let place = places.get(set).unwrap_or(set);
        sums.entry(*place).or_default().merge(hour);
    }
    sums
}

struct Row {
    at: DateTime<Utc>,
    dimension_set: Uuid,
    calls: i64,
    causes: Vec<u8>,
    conduct: Vec<u8>,
    stages: Vec<u8>,
}

impl Row {
    fn into_found(self) -> Result<((DateTime<Utc>, Uuid), Found)> {
        let wrong = || unreadable("what was found", self.at);
        let found = Found {
            calls: self.calls,
            causes: CauseSums::from_bytes(&self.causes).ok_or_else(wrong)?,
            conduct: ConductSums::from_bytes(&self.conduct).ok_or_else(wrong)?,
            stages: Digest::from_bytes(&self.stages).ok_or_else(wrong)?,
        };
        Ok(((self.at, self.dimension_set), found))
    }
}

/// The hours of a day as they are kept.
pub async fn of_hours(
    connection: &mut PgConnection,
    scope: &Scope,
    day: DateTime<Utc>,
) -> Result<ByHour> {
    let rows = sqlx::query_as!(
        Row,
        "select hour as at, dimension_set, calls, causes, conduct, stages
           from analysis_hour
          where tenant_id = $1 and hour >= $2 and hour < $3",
        scope.tenant.0,
        day,
        day + TimeDelta::days(1),
    )
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    rows.into_iter().map(Row::into_found).collect()
}

/// A day as it is kept.
pub async fn of_day(
    connection: &mut PgConnection,
    scope: &Scope,
    day: DateTime<Utc>,
) -> Result<ByHour> {
    let rows = sqlx::query_as!(
        Row,
        "select day as at, dimension_set, calls, causes, conduct, stages
           from analysis_day
          where tenant_id = $1 and day = $2",
        scope.tenant.0,
        day,
    )
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    rows.into_iter().map(Row::into_found).collect()
}
