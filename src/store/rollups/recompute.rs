//! One day of one tenant: its dirty hours from their calls, then the day from its hours, in one
//! snapshot. A mark that arrives meanwhile is not seen, so it stays and the hour is taken up again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::analytics::{Share, Sums, day_of, hour_of};
use crate::domain::digest::Digest;
use crate::domain::found::Found;
use crate::domain::session::{Providers, Status};
use crate::store::analysis::{causes_of, conduct_of};
use crate::store::analytics::RollupRow;
use crate::store::columns::column;
use crate::store::columns::unreadable;
use crate::store::failure::{failure, is_lost};
use crate::store::scope::Scope;

use super::fold::{Folded, Merge, SETS_MAX, Set, Spread};
use super::found;

/// All calls, whatever their dimensions.
pub const ALL: Uuid = Uuid::nil();
const RACE_RETRIES: usize = 5;

/// Dirty hours by tenant and day.
pub fn by_day(
    hours: impl Iterator<Item = (Uuid, DateTime<Utc>)>,
) -> BTreeMap<(Uuid, DateTime<Utc>), Vec<DateTime<Utc>>> {
    let mut days: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (tenant, hour) in hours {
        days.entry((tenant, day_of(hour))).or_default().push(hour);
    }
    days
}

/// Sums up these hours of one day again, and the day.
pub async fn day(
    connection: &mut PgConnection,
    scope: &Scope,
    hours: &[DateTime<Utc>],
) -> Result<()> {
    for _ in 0..RACE_RETRIES {
        match attempt(connection, scope, hours).await {
            Err(error) if is_lost(&error) => {
                tracing::debug!("a rollup lost a race, trying again")
            }
            done => return done,
        }
    }
    // The marks are still there: a later round takes them up.
    Ok(())
}

async fn attempt(
    connection: &mut PgConnection,
    scope: &Scope,
    hours: &[DateTime<Utc>],
) -> Result<()> {
    let Some(first) = hours.first() else {
        return Ok(());
    };
    let mut transaction = connection
        .begin_with("begin isolation level repeatable read")
        .await
        .map_err(failure)?;
    sqlx::query!(
        "delete from dirty_hour where tenant_id = $1 and hour = any ($2)",
        scope.tenant.0,
        hours
    )
    .execute(&mut *transaction)
    .await
    .map_err(failure)?;
    let fresh = sum_hours(&mut transaction, scope, hours).await?;
    keep_sets(&mut transaction, scope, &fresh.sets).await?;
    replace_hours(&mut transaction, scope, hours, &fresh.sums).await?;
    replace_folds(&mut transaction, scope, false, hours, &fresh.folds).await?;
    let places = replace_day(&mut transaction, scope, day_of(*first)).await?;
    found::keep_agents(&mut transaction, scope, &fresh.agents).await?;
    found::replace_hours(&mut transaction, scope, hours, &fresh.found).await?;
    found::replace_day(&mut transaction, scope, day_of(*first), &places).await?;
    transaction.commit().await.map_err(failure)
}

/// Sums of hours by (hour, dimension set), and what was found in them by (hour, dimension set or agent).
#[derive(Default)]
pub struct Fresh {
    pub sums: BTreeMap<(DateTime<Utc>, Uuid), Sums>,
    pub found: BTreeMap<(DateTime<Utc>, Uuid), Found>,
    /// Hours in which not everything is told apart.
    pub folds: BTreeMap<DateTime<Utc>, i16>,
    pub sets: BTreeMap<Uuid, Set>,
    agents: BTreeMap<Option<String>, Uuid>,
}

/// Hours as their calls add up to, call by call in bounded memory.
pub async fn sum_hours(
    connection: &mut PgConnection,
    scope: &Scope,
    hours: &[DateTime<Utc>],
) -> Result<Fresh> {
    let ends: Vec<DateTime<Utc>> = hours
        .iter()
        .map(|hour| *hour + TimeDelta::hours(1))
        .collect();
    let spreads = spreads(connection, scope, hours, &ends).await?;
    let mut rows = sqlx::query!(
        r#"select s.started_at, s.status, s.duration_ms, s.total_tokens, s.cost_micro_usd, s.digest,
                s.stt_provider, s.llm_provider, s.tts_provider,
                s.agent_key, s.agent_version, s.workflow_id, s.workflow_slug, s.workflow_name, s.channel, s.campaign,
                (a.session_id is not null) as "is_analysed!", a.causes as "causes?", a.conduct as "conduct?",
                a.agent_turns::bigint as "agent_turns?", a.score as "score?",
                case when a.conduct is null then a.interruptions end as "interruptions?",
                case when a.causes is null and s.has_issues then (
                    select json_agg(json_build_array(i.type, i.stage, i.provider, i.severity = 'critical',
                                                     i.occurrences, i.impact_ms))::text
                      from session_issues i
                     where i.tenant_id = s.tenant_id and i.session_id = s.id
                ) end as issues
           from unnest($2::timestamptz[], $3::timestamptz[]) as h (since, until)
           join sessions s on s.tenant_id = $1 and s.started_at >= h.since and s.started_at < h.until
           -- One by one: whatever the planner thinks of the number of calls, all analyses are never read.
           left join lateral (
               select session_id, causes, conduct, agent_turns, score, interruptions
                 from session_analyses
                where tenant_id = s.tenant_id and session_id = s.id
               offset 0
           ) a on true"#,
        scope.tenant.0,
        hours,
        &ends,
    )
    .fetch(connection);
    let mut fresh = Fresh::default();
    let mut by_hour: BTreeMap<DateTime<Utc>, Folded<Told>> = BTreeMap::new();
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        let share = Share {
            started_at: row.started_at,
            status: Status::parse(&row.status)
                .ok_or_else(|| unreadable("sessions.status", &row.status))?,
            duration_ms: row.duration_ms,
            tokens: row.total_tokens,
            cost_micro_usd: row.cost_micro_usd,
            providers: Providers {
                stt: row.stt_provider,
                llm: row.llm_provider,
                tts: row.tts_provider,
            },
            digest: Digest::from_bytes(&row.digest)
                .ok_or_else(|| unreadable("sessions.digest", row.started_at))?,
        };
        let set = Set {
            agent_key: row.agent_key,
            agent_version: row.agent_version,
            workflow_id: row.workflow_id,
            workflow_slug: row.workflow_slug,
            workflow_name: row.workflow_name,
            channel: row.channel,
            campaign: row.campaign,
        };
        let hour = hour_of(row.started_at);
        let agent = *fresh
            .agents
            .entry(set.agent_key.clone())
            .or_insert_with_key(|agent_key| found::agent_id(scope, agent_key.as_deref()));
        let of_agent = fresh.found.entry((hour, agent)).or_default();
        of_agent
            .stages
            .merge_models(&share.digest, |stage| share.providers.of(stage).cloned());
        let causes = causes_of(row.causes.as_deref(), row.issues.as_deref())?;
        if row.is_analysed {
            of_agent.calls += 1;
            of_agent.causes.merge(&causes);
            of_agent.conduct.merge(&conduct_of(
                row.conduct.as_deref(),
                row.agent_turns,
                row.score,
                row.interruptions.as_deref(),
            )?);
        }
        let folded = by_hour
            .entry(hour)
            .or_insert_with(|| Folded::new(spreads.get(&hour).copied().unwrap_or_default()));
        folded.add(set, |told| {
            told.sums.add(&share);
            if row.is_analysed {
                told.found.calls += 1;
                told.found.causes.merge(&causes);
            }
        });
        fresh.sums.entry((hour, ALL)).or_default().add(&share);
    }
    for (hour, folded) in by_hour {
        fresh
            .folds
            .extend(folded.dimensions().map(|bits| (hour, bits)));
        for (set, told) in folded.into_told() {
            let id = set.id(scope.tenant);
            fresh.sums.insert((hour, id), told.sums);
            if told.found.calls > 0 {
                fresh.found.insert((hour, id), told.found);
            }
            fresh.sets.entry(id).or_insert(set);
        }
    }
    Ok(fresh)
}

/// What is told of a combination of dimensions.
#[derive(Default)]
struct Told {
    sums: Sums,
    found: Found,
}

impl Merge for Told {
    fn merge(&mut self, other: &Self) {
        self.sums.merge(&other.sums);
        self.found.merge(&other.found);
    }
}

/// How many values each dimension has in hours that may have too many.
async fn spreads(
    connection: &mut PgConnection,
    scope: &Scope,
    hours: &[DateTime<Utc>],
    ends: &[DateTime<Utc>],
) -> Result<BTreeMap<DateTime<Utc>, Spread>> {
    let rows = sqlx::query!(
        r#"select h.since as "hour!", n.agents as "agents!", n.workflows as "workflows!", n.channels as "channels!",
                  n.campaigns as "campaigns!"
             from unnest($2::timestamptz[], $3::timestamptz[]) as h (since, until)
            cross join lateral (
                  select count(*) as calls, count(distinct s.agent_key) as agents,
                         count(distinct (s.workflow_id, s.workflow_slug, s.workflow_name)) as workflows,
                         count(distinct s.channel) as channels, count(distinct s.campaign) as campaigns
                    from sessions s
                   where s.tenant_id = $1 and s.started_at >= h.since and s.started_at < h.until
                  ) n
            where n.calls > $4"#,
        scope.tenant.0,
        hours,
        ends,
        SETS_MAX as i64,
    )
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let spread = rows.into_iter().map(|row| {
        let spread = Spread {
            agents: row.agents,
            workflows: row.workflows,
            channels: row.channels,
            campaigns: row.campaigns,
        };
        (row.hour, spread)
    });
    Ok(spread.collect())
}

/// A day as its hours add up to. None where everything is told apart.
pub struct Day {
    pub sums: BTreeMap<Uuid, Sums>,
    pub fold: Option<i16>,
    pub sets: BTreeMap<Uuid, Set>,
    /// Where combinations went that are told apart no more.
    pub places: BTreeMap<Uuid, Uuid>,
}

/// Puts a day together from its hours' sums; `sets` has what their ids stand for, if there are many of them.
pub fn sum_day<'a>(
    scope: &Scope,
    hours: impl Iterator<Item = (Uuid, &'a Sums)>,
    sets: &BTreeMap<Uuid, Set>,
) -> Day {
    let mut sums: BTreeMap<Uuid, Sums> = BTreeMap::new();
    for (set, hour) in hours {
        sums.entry(set).or_default().merge(hour);
    }
    let all = sums.remove_entry(&ALL);
    let mut day = Day {
        sums: BTreeMap::new(),
        fold: None,
        sets: BTreeMap::new(),
        places: BTreeMap::new(),
    };
    if sums.len() > SETS_MAX {
        let named = sums
            .iter()
            .filter_map(|(id, sums)| Some((sets.get(id)?.clone(), sums.clone())));
        let folded = Folded::of(named.collect());
        day.fold = folded.dimensions();
        for id in sums.keys() {
            let place = sets.get(id).map(|set| folded.fold(set.clone()));
            day.places
                .extend(place.map(|place| (*id, place.id(scope.tenant))));
        }
        for (set, sums) in folded.into_told() {
            let id = set.id(scope.tenant);
            day.sums.insert(id, sums);
            day.sets.insert(id, set);
        }
    } else {
        day.sums = sums;
    }
    day.sums.extend(all);
    day
}

async fn keep_sets(
    connection: &mut PgConnection,
    scope: &Scope,
    sets: &BTreeMap<Uuid, Set>,
) -> Result<()> {
    let sets: Vec<(&Uuid, &Set)> = sets.iter().collect();
    sqlx::query!(
        "insert into dimension_sets
              (tenant_id, id, agent_key, agent_version, workflow_id, workflow_slug, workflow_name, channel, campaign)
         select $1, *
           from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
             on conflict (tenant_id, id) do nothing",
        scope.tenant.0,
        &column(&sets, |(id, _)| **id),
        &column(&sets, |(_, set)| set.agent_key.clone()) as _,
        &column(&sets, |(_, set)| set.agent_version.clone()) as _,
        &column(&sets, |(_, set)| set.workflow_id.clone()) as _,
        &column(&sets, |(_, set)| set.workflow_slug.clone()) as _,
        &column(&sets, |(_, set)| set.workflow_name.clone()) as _,
        &column(&sets, |(_, set)| set.channel.clone()) as _,
        &column(&sets, |(_, set)| set.campaign.clone()) as _,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

async fn replace_hours(
    connection: &mut PgConnection,
    scope: &Scope,
    hours: &[DateTime<Utc>],
    sums: &BTreeMap<(DateTime<Utc>, Uuid), Sums>,
) -> Result<()> {
    sqlx::query!(
        "delete from rollup_hour where tenant_id = $1 and hour = any ($2)",
        scope.tenant.0,
        hours
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let rows: Vec<_> = sums.iter().collect();
    sqlx::query!(
        "insert into rollup_hour
              (tenant_id, hour, dimension_set, calls, completed, failed, declined, missed, ended, duration_ms, tokens,
               priced, cost_micro_usd, digest, last_started_at)
         select $1, *
           from unnest($2::timestamptz[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                       $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bytea[],
                       $15::timestamptz[])",
        scope.tenant.0,
        &column(&rows, |(key, _)| key.0),
        &column(&rows, |(key, _)| key.1),
        &column(&rows, |(_, s)| s.calls),
        &column(&rows, |(_, s)| s.completed),
        &column(&rows, |(_, s)| s.failed),
        &column(&rows, |(_, s)| s.declined),
        &column(&rows, |(_, s)| s.missed),
        &column(&rows, |(_, s)| s.ended),
        &column(&rows, |(_, s)| s.duration_ms),
        &column(&rows, |(_, s)| s.tokens),
        &column(&rows, |(_, s)| s.priced),
        &column(&rows, |(_, s)| s.cost_micro_usd),
        &column(&rows, |(_, s)| s.digest.to_bytes()),
        &column(&rows, |(_, s)| s.last_started_at) as _,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

/// A day is the sum of its hours. It may have dirty hours left; then readers go to its hours. Answers where
/// combinations went that it tells apart no more.
async fn replace_day(
    connection: &mut PgConnection,
    scope: &Scope,
    day: DateTime<Utc>,
) -> Result<BTreeMap<Uuid, Uuid>> {
    let rows = sqlx::query_as!(
        RollupRow,
        "select hour as at, dimension_set, calls, completed, failed, declined, missed, ended, duration_ms, tokens,
                priced, cost_micro_usd, last_started_at, digest
           from rollup_hour
          where tenant_id = $1
            and hour >= $2
            and hour < $3",
        scope.tenant.0,
        day,
        day + TimeDelta::days(1),
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let mut hours: Vec<(Uuid, Sums)> = Vec::with_capacity(rows.len());
    for row in rows {
        let (_, set, sums) = row.into_sums()?;
        hours.push((set, sums));
    }
    let ids: BTreeSet<Uuid> = hours.iter().map(|(set, _)| *set).collect();
    let sets = match ids.len() > SETS_MAX {
        true => load_sets(connection, scope, &ids.into_iter().collect::<Vec<_>>()).await?,
        false => BTreeMap::new(),
    };
    let summed = sum_day(scope, hours.iter().map(|(set, sums)| (*set, sums)), &sets);
    keep_sets(connection, scope, &summed.sets).await?;
    let fold = summed.fold.map(|bits| (day, bits));
    replace_folds(connection, scope, true, &[day], &fold.into_iter().collect()).await?;
    sqlx::query!(
        "delete from rollup_day where tenant_id = $1 and day = $2",
        scope.tenant.0,
        day
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let rows: Vec<_> = summed.sums.iter().collect();
    sqlx::query!(
        "insert into rollup_day
              (tenant_id, day, dimension_set, calls, completed, failed, declined, missed, ended, duration_ms, tokens,
               priced, cost_micro_usd, digest, last_started_at)
         select $1, $2, *
           from unnest($3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
                       $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bytea[],
                       $15::timestamptz[])",
        scope.tenant.0,
        day,
        &column(&rows, |(set, _)| **set),
        &column(&rows, |(_, s)| s.calls),
        &column(&rows, |(_, s)| s.completed),
        &column(&rows, |(_, s)| s.failed),
        &column(&rows, |(_, s)| s.declined),
        &column(&rows, |(_, s)| s.missed),
        &column(&rows, |(_, s)| s.ended),
        &column(&rows, |(_, s)| s.duration_ms),
        &column(&rows, |(_, s)| s.tokens),
        &column(&rows, |(_, s)| s.priced),
        &column(&rows, |(_, s)| s.cost_micro_usd),
        &column(&rows, |(_, s)| s.digest.to_bytes()),
        &column(&rows, |(_, s)| s.last_started_at) as _,
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(summed.places)
}

/// What these combinations stand for.
async fn load_sets(
    connection: &mut PgConnection,
    scope: &Scope,
    ids: &[Uuid],
) -> Result<BTreeMap<Uuid, Set>> {
    let rows = sqlx::query!(
        "select id, agent_key, agent_version, workflow_id, workflow_slug, workflow_name, channel, campaign
           from dimension_sets
          where tenant_id = $1 and id = any ($2)",
        scope.tenant.0,
        ids,
    )
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let sets = rows.into_iter().map(|row| {
        let set = Set {
            agent_key: row.agent_key,
            agent_version: row.agent_version,
            workflow_id: row.workflow_id,
            workflow_slug: row.workflow_slug,
            workflow_name: row.workflow_name,
            channel: row.channel,
            campaign: row.campaign,
        };
        (row.id, set)
    });
    Ok(sets.collect())
}

async fn replace_folds(
    connection: &mut PgConnection,
    scope: &Scope,
    is_day: bool,
    of: &[DateTime<Utc>],
    folds: &BTreeMap<DateTime<Utc>, i16>,
) -> Result<()> {
    sqlx::query!(
        "delete from rollup_folds where tenant_id = $1 and is_day = $2 and at = any ($3)",
        scope.tenant.0,
        is_day,
        of,
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    if folds.is_empty() {
        return Ok(());
    }
    let folds: Vec<_> = folds.iter().collect();
    sqlx::query!(
        "insert into rollup_folds (tenant_id, is_day, at, dimensions)
         select $1, $2, * from unnest($3::timestamptz[], $4::smallint[])",
        scope.tenant.0,
        is_day,
        &column(&folds, |(at, _)| **at),
        &column(&folds, |(_, bits)| **bits),
    )
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}
