//! What was measured in the newest calls of a range: for gates, and for what would have been.

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;

use crate::domain::Result;
use crate::domain::analysed::AnswerTime;
use crate::domain::analysis::gate::Metric;
use crate::domain::analysis::{InterruptionCounts, Stage};
use crate::domain::analytics::{Dimensions, Window};
use crate::domain::many::ByClock;
use crate::domain::release::{Arm, Sample};
use crate::store::columns::unreadable;
use crate::store::failure::{failure, read, read_whole};
use crate::store::scope::Scope;

use super::queue;

/// So many calls are looked at, the newest, and so many measurements of theirs: they bound the work and the
/// memory of one request, and say enough.
pub const CALLS_MAX: usize = 20_000;
pub const MEASUREMENTS_MAX: usize = 500_000;
/// A count of what is pending goes no further.
const PENDING_MAX: i64 = 2_000;

/// How many calls of an arm are due to be analysed and are not yet, or by other rules or targets than today's;
/// more than are looked at do not matter. What was found of a call whose content was deleted stays as it is.
pub async fn pending(
    scope: &Scope,
    arm: &Arm,
    rules_version: i32,
    now: DateTime<Utc>,
) -> Result<i64> {
    read(&scope.analytics, || {
        sqlx::query_scalar!(
            r#"select count(*) as "count!"
                 from (select m.session_id
                         from analysis_marks m
                         join sessions s on s.tenant_id = m.tenant_id and s.id = m.session_id
                        where m.tenant_id = $1
                          and (m.due_at <= $7 or m.due_at > $10)
                          and s.agent_key = $2
                          and ($3::text is null or s.agent_version = $3)
                          and s.started_at >= $4
                          and s.started_at < $5
                        union
                       select a.session_id
                         from (select session_id, rules_version, targets_version
                                 from session_analyses
                                where tenant_id = $1
                                  and agent_key = $2
                                  and ($3::text is null or agent_version = $3)
                                  and call_started_at >= $4
                                  and call_started_at < $5
                                order by call_started_at desc, session_id desc
                                limit $8) a
                         join sessions s
                           on s.tenant_id = (select $1::uuid) and s.id = a.session_id and s.closed_at is null
                        where a.rules_version <> $9
                           or a.targets_version <> coalesce((select max(g.version)
                                                               from target_settings g
                                                              where g.tenant_id = $1
                                                                and g.agent_key in ('', $2)), 0)
                        limit $6) p"#,
            scope.tenant.0,
            arm.agent_id,
            arm.agent_version.as_deref(),
            arm.window.from,
            arm.window.to,
            PENDING_MAX,
            now,
            CALLS_MAX as i64,
            rules_version,
            queue::ahead(now),
        )
        .fetch_one(&scope.analytics)
    })
    .await
}

/// The measurements of an arm.
pub async fn of_arm(scope: &Scope, arm: &Arm) -> Result<Sample> {
    read_whole(&scope.analytics, || measure(scope, arm)).await
}

async fn measure(scope: &Scope, arm: &Arm) -> Result<Sample> {
    let mut connection = scope.analytics.acquire().await.map_err(failure)?;
    let mut rows = sqlx::query!(
        r#"select a.latencies, a.interruptions, a.dead_air_ms, s.cost_micro_usd,
                  (s.status = 'failed'
                   or (s.error_count > 0
                       and exists (select from errors e
                                    where e.tenant_id = (select $1::uuid) and e.session_id = s.id and e.level = 'error'))) as "failed!"
             from (select session_id, call_started_at, latencies, interruptions, dead_air_ms
                     from session_analyses
                    where tenant_id = $1
                      and agent_key = $2
                      and ($3::text is null or agent_version = $3)
                      and call_started_at >= $4
                      and call_started_at < $5
                    order by call_started_at desc, session_id desc
                    limit $6) a
             join sessions s on s.tenant_id = (select $1::uuid) and s.id = a.session_id
            order by a.call_started_at desc, a.session_id desc"#,
        scope.tenant.0,
        arm.agent_id,
        arm.agent_version.as_deref(),
        arm.window.from,
        arm.window.to,
        CALLS_MAX as i64 + 1,
    )
    .fetch(&mut *connection);
    let mut sample = Sample::default();
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        if sample.calls >= CALLS_MAX || sample.measurements() >= MEASUREMENTS_MAX {
            sample.is_cut = true;
            break;
        }
        sample.calls += 1;
        for answer in answer_times(row.latencies.as_deref())? {
            if let Some(clock) = answer.clock {
                sample.answers.add(clock, answer.gap_ms);
            }
        }
        sample.add(Metric::DeadAirPerCallMs, [row.dead_air_ms as f64]);
        sample.add(Metric::ErrorRate, [f64::from(u8::from(row.failed))]);
        let cost_usd = row.cost_micro_usd.map(|micros| micros as f64 / 1e6);
        sample.add(Metric::CostPerCallUsd, cost_usd);
        if let Some(text) = row.interruptions {
            add_interruptions(&mut sample, &text)?;
        }
    }
    sample.sort();
    Ok(sample)
}

fn add_interruptions(sample: &mut Sample, text: &str) -> Result<()> {
    let counts: InterruptionCounts = serde_json::from_str(text)
        .map_err(|error| unreadable("session_analyses.interruptions", error))?;
    sample.add(Metric::DetectionP95Ms, counts.detection_ms.values());
    sample.add(Metric::StopP95Ms, counts.stop_ms.values());
    sample.add(
        Metric::BleedThroughP95Words,
        counts.bleed_through_words.values(),
    );
    let judged = (0..counts.judged_stops).map(|n| f64::from(n < counts.false_interruptions));
    sample.add(Metric::FalseInterruptionRate, judged);
    Ok(())
}

fn answer_times(text: Option<&str>) -> Result<Vec<AnswerTime>> {
    let Some(text) = text else {
        return Ok(Vec::new());
    };
    serde_json::from_str(text).map_err(|error| unreadable("session_analyses.latencies", error))
}

/// The measured answers of some calls.
#[derive(Default)]
pub struct Answers {
    pub calls: usize,
    pub is_cut: bool,
    /// Turns that answer a user, measured or not.
    pub answers: i64,
    /// How long each took, and of that the stage that was asked for.
    pub times: ByClock<(f64, f64)>,
}

/// Of the newest calls of a range.
pub async fn answers(
    scope: &Scope,
    window: Window,
    dimensions: &Dimensions,
    stage: Stage,
) -> Result<Answers> {
    read_whole(&scope.analytics, || {
        read_answers(scope, window, dimensions, stage)
    })
    .await
}

async fn read_answers(
    scope: &Scope,
    window: Window,
    dimensions: &Dimensions,
    stage: Stage,
) -> Result<Answers> {
    let mut connection = scope.analytics.acquire().await.map_err(failure)?;
    let mut rows = sqlx::query!(
        "select a.answers, a.latencies
           from session_analyses a
          where a.tenant_id = $1
            and a.call_started_at >= $2
            and a.call_started_at < $3
            and ($4::text is null or a.agent_key = $4)
            and ($5::boolean or exists (
                select
                  from sessions s
                 where s.tenant_id = (select $1::uuid)
                   and s.id = a.session_id
                   and s.started_at >= $2
                   and s.started_at < $3
                   and ($6::text is null or s.workflow_slug = $6 or s.workflow_id = $6)
                   and ($7::text is null or s.channel = $7)
                   and ($8::text is null or s.campaign = $8)))
          order by a.call_started_at desc
          limit $9",
        scope.tenant.0,
        window.from,
        window.to,
        dimensions.agent_key.as_deref(),
        is_of_agents_only(dimensions),
        dimensions.workflow.as_deref(),
        dimensions.channel.as_deref(),
        dimensions.campaign.as_deref(),
        CALLS_MAX as i64 + 1,
    )
    .fetch(&mut *connection);
    let mut found = Answers::default();
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        if found.calls >= CALLS_MAX || found.times.count() >= MEASUREMENTS_MAX {
            found.is_cut = true;
            break;
        }
        found.calls += 1;
        found.answers += i64::from(row.answers);
        for answer in answer_times(row.latencies.as_deref())? {
            let stage_ms = answer.stages.get(&stage).copied().unwrap_or_default();
            if let Some(clock) = answer.clock {
                found.times.add(clock, (answer.gap_ms, stage_ms));
            }
        }
    }
    Ok(found)
}

/// Whether the calls themselves need not be asked.
pub(super) fn is_of_agents_only(dimensions: &Dimensions) -> bool {
    let rest = Dimensions {
        agent_key: None,
        ..dimensions.clone()
    };
    rest.is_all()
}
