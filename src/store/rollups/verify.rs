//! Do the rollups say what the calls say? Counted again, in one snapshot.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Connection;
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::analytics::{Sums, day_of};
use crate::domain::found::Found;
use crate::store::analytics::RollupRow;
use crate::store::failure::failure;
use crate::store::scope::Scope;

use super::found;
use super::recompute::{sum_day, sum_hours};

/// An hour or day whose rollup says something else than its calls.
#[derive(Debug, PartialEq)]
pub struct Difference {
    pub at: DateTime<Utc>,
    pub is_day: bool,
    /// It is not about the calls themselves but about what analyses found in them.
    pub is_of_analyses: bool,
    pub counted_calls: i64,
    pub rolled_up_calls: i64,
}

/// Compares all hours and days of a tenant that are not marked dirty with a recount, a day at a time.
pub async fn verify(scope: &Scope) -> Result<Vec<Difference>> {
    let mut connection = scope.analytics.acquire().await.map_err(failure)?;
    let mut snapshot = connection
        .begin_with("begin isolation level repeatable read read only")
        .await
        .map_err(failure)?;
    let hours = sqlx::query_scalar!(
        r#"select hour as "hour!"
             from (select distinct date_trunc('hour', started_at, 'UTC') as hour from sessions where tenant_id = $1
                   union
                   select hour from rollup_hour where tenant_id = $1
                   union
                   select day from rollup_day where tenant_id = $1
                   union
                   select hour from analysis_hour where tenant_id = $1
                   union
                   select day from analysis_day where tenant_id = $1) hours
            where hour not in (select d.hour from dirty_hour d where d.tenant_id = $1)
            order by hour"#,
        scope.tenant.0,
    )
    .fetch_all(&mut *snapshot)
    .await
    .map_err(failure)?;
    let mut differences = Vec::new();
    for hours in hours.chunk_by(|a, b| day_of(*a) == day_of(*b)) {
        let day = day_of(hours[0]);
        let counted = sum_hours(&mut snapshot, scope, hours).await?;
        let rolled = hour_rows(&mut snapshot, scope, day).await?;
        let folds = fold_rows(&mut snapshot, scope, day).await?;
        let found = found::of_hours(&mut snapshot, scope, day).await?;
        for hour in hours {
            let place = (*hour, false);
            push(
                &mut differences,
                place,
                (&at(&counted.sums, *hour), counted.folds.get(hour)),
                (&at(&rolled, *hour), folds.get(&(false, *hour))),
            );
            push_found(
                &mut differences,
                place,
                &at(&counted.found, *hour),
                &at(&found, *hour),
            );
        }
        if hours.len() == 24 || is_whole_day_clean(&mut snapshot, scope, day).await? {
            let rows = day_rows(&mut snapshot, scope, day).await?;
            let place = (day, true);
            let summed = sum_day(
                scope,
                counted.sums.iter().map(|((_, set), sums)| (*set, sums)),
                &counted.sets,
            );
            push(
                &mut differences,
                place,
                (&summed.sums, summed.fold.as_ref()),
                (&rows, folds.get(&(true, day))),
            );
            let found = at(&found::of_day(&mut snapshot, scope, day).await?, day);
            let counted = found::sum_day(&counted.found, &summed.places);
            push_found(&mut differences, place, &counted, &found);
        }
    }
    snapshot.commit().await.map_err(failure)?;
    Ok(differences)
}

/// An hour, or a day's hours.
fn hours_of(differences: &[Difference]) -> Vec<DateTime<Utc>> {
    let hours = |d: &Difference| 0..if d.is_day { 24 } else { 1 };
    differences
        .iter()
        .flat_map(|d| hours(d).map(|hour| d.at + TimeDelta::hours(hour)))
        .collect()
}

/// Whether one of these is marked, so that it is told by its calls until it is summed up again.
pub async fn is_marked(scope: &Scope, differences: &[Difference]) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select 1 from dirty_hour where tenant_id = $1 and hour = any ($2)) as "marked!""#,
        scope.tenant.0,
        &hours_of(differences),
    )
    .fetch_one(&scope.analytics)
    .await
    .map_err(failure)
}

/// Marks hours (or a day's hours) to be summed up again.
pub async fn mark(scope: &Scope, differences: &[Difference]) -> Result<()> {
    let hours = hours_of(differences);
    sqlx::query!(
        "insert into dirty_hour (tenant_id, hour) select $1, hour from unnest($2::timestamptz[]) as h (hour)",
        scope.tenant.0,
        &hours,
    )
    .execute(&scope.analytics)
    .await
    .map_err(failure)?;
    Ok(())
}

type BySet = BTreeMap<Uuid, Sums>;

/// What is told of one hour or day.
fn at<T: Clone>(
    sums: &BTreeMap<(DateTime<Utc>, Uuid), T>,
    wanted: DateTime<Utc>,
) -> BTreeMap<Uuid, T> {
    let here = sums.range((wanted, Uuid::nil())..=(wanted, Uuid::max()));
    here.map(|((_, set), sums)| (*set, sums.clone())).collect()
}

fn push(
    differences: &mut Vec<Difference>,
    (at, is_day): (DateTime<Utc>, bool),
    counted: (&BySet, Option<&i16>),
    rolled: (&BySet, Option<&i16>),
) {
    if counted != rolled {
        let calls = |sums: &BySet| sums.get(&Uuid::nil()).map_or(0, |sums| sums.calls);
        differences.push(Difference {
            at,
            is_day,
            is_of_analyses: false,
            counted_calls: calls(counted.0),
            rolled_up_calls: calls(rolled.0),
        });
    }
}

fn push_found(
    differences: &mut Vec<Difference>,
    (at, is_day): (DateTime<Utc>, bool),
    counted: &BTreeMap<Uuid, Found>,
    rolled: &BTreeMap<Uuid, Found>,
) {
    if counted != rolled {
        // Each call counts for its agent, whose measurements are kept, and for its set.
        let calls =
            |found: &BTreeMap<Uuid, Found>| found.values().map(|one| one.calls).sum::<i64>() / 2;
        differences.push(Difference {
            at,
            is_day,
            is_of_analyses: true,
            counted_calls: calls(counted),
            rolled_up_calls: calls(rolled),
        });
    }
}

/// What a day and its hours do not tell apart.
async fn fold_rows(
    connection: &mut sqlx::PgConnection,
    scope: &Scope,
    day: DateTime<Utc>,
) -> Result<BTreeMap<(bool, DateTime<Utc>), i16>> {
    let rows = sqlx::query!(
        "select is_day, at, dimensions from rollup_folds where tenant_id = $1 and at >= $2 and at < $3",
        scope.tenant.0,
        day,
        day + TimeDelta::days(1),
    )
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let folds = rows.into_iter();
    Ok(folds
        .map(|row| ((row.is_day, row.at), row.dimensions))
        .collect())
}

async fn is_whole_day_clean(
    connection: &mut sqlx::PgConnection,
    scope: &Scope,
    day: DateTime<Utc>,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select not exists (select 1 from dirty_hour where tenant_id = $1 and hour >= $2 and hour < $3) as "clean!""#,
        scope.tenant.0,
        day,
        day + TimeDelta::days(1),
    )
    .fetch_one(connection)
    .await
    .map_err(failure)
}

async fn hour_rows(
    connection: &mut sqlx::PgConnection,
    scope: &Scope,
    day: DateTime<Utc>,
) -> Result<BTreeMap<(DateTime<Utc>, Uuid), Sums>> {
    let rows = sqlx::query_as!(
        RollupRow,
        "select hour as at, dimension_set, calls, completed, failed, declined, missed, ended, duration_ms, tokens,
                priced, cost_micro_usd, last_started_at, digest
           from rollup_hour
          where tenant_id = $1 and hour >= $2 and hour < $3",
        scope.tenant.0,
        day,
        day + TimeDelta::days(1),
    )
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    rows.into_iter()
        .map(|row| row.into_sums().map(|(at, set, sums)| ((at, set), sums)))
        .collect()
}

async fn day_rows(
    connection: &mut sqlx::PgConnection,
    scope: &Scope,
    day: DateTime<Utc>,
) -> Result<BySet> {
    let rows = sqlx::query_as!(
        RollupRow,
        "select day as at, dimension_set, calls, completed, failed, declined, missed, ended, duration_ms, tokens,
                priced, cost_micro_usd, last_started_at, digest
           from rollup_day
          where tenant_id = $1 and day = $2",
        scope.tenant.0,
        day,
    )
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    rows.into_iter()
        .map(|row| row.into_sums().map(|(_, set, sums)| (set, sums)))
        .collect()
}
