//! What was measured in the newest calls of a range: for gates, and for what would have been.

use chrono::{DateTime, Utc};

use crate::domain::Result;
use crate::domain::analysed::AnswerTime;
use crate::domain::analysis::InterruptionCounts;
use crate::domain::analysis::gate::Metric;
use crate::domain::analytics::{Dimensions, Window};
use crate::domain::release::{Arm, Sample};
use crate::store::columns::unreadable;
use crate::store::failure::read;
use crate::store::pool::Pool;
use crate::store::scope::Scope;

/// So many calls are looked at, the newest: they bound the work of one request, and say enough.
pub const CALLS_MAX: i64 = 2_000;

/// How many calls of an arm are due to be analysed and are not yet; more than are looked at do not matter.
pub async fn pending(scope: &Scope, arm: &Arm, now: DateTime<Utc>) -> Result<i64> {
    read(&scope.analytics, || {
        sqlx::query_scalar!(
            r#"select count(*) as "count!"
                 from (select distinct m.session_id
                         from analysis_marks m
                         join sessions s on s.tenant_id = m.tenant_id and s.id = m.session_id
                        where m.tenant_id = $1
                          and m.due_at <= $7
                          and s.agent_key = $2
                          and ($3::text is null or s.agent_version = $3)
                          and s.started_at >= $4
                          and s.started_at < $5
                        limit $6) p"#,
            scope.tenant.0,
            arm.agent_id,
            arm.agent_version.as_deref(),
            arm.window.from,
            arm.window.to,
            CALLS_MAX,
            now,
        )
        .fetch_one(&scope.analytics)
    })
    .await
}

/// The measurements of an arm.
pub async fn of_arm(scope: &Scope, arm: &Arm) -> Result<Sample> {
    let pool: &Pool = &scope.analytics;
    let rows = read(pool, || {
        sqlx::query!(
            r#"select a.latencies, a.interruptions, a.dead_air_ms, s.cost_micro_usd,
                      (s.status = 'failed'
                       or (s.error_count > 0
                           and exists (select from errors e
                                        where e.tenant_id = $1 and e.session_id = s.id and e.level = 'error'))) as "failed!"
                 from (select session_id, latencies, interruptions, dead_air_ms
                         from session_analyses
                        where tenant_id = $1
                          and agent_key = $2
                          and ($3::text is null or agent_version = $3)
                          and call_started_at >= $4
                          and call_started_at < $5
                        order by call_started_at desc, session_id desc
                        limit $6) a
                 join sessions s on s.tenant_id = $1 and s.id = a.session_id"#,
            scope.tenant.0,
            arm.agent_id,
            arm.agent_version.as_deref(),
            arm.window.from,
            arm.window.to,
            CALLS_MAX + 1,
        )
        .fetch_all(pool)
    })
    .await?;
    let mut sample = Sample::default();
    sample.is_cut = rows.len() as i64 > CALLS_MAX;
    for row in rows.into_iter().take(CALLS_MAX as usize) {
        sample.calls += 1;
        let answers = answer_times(row.latencies.as_deref())?;
        sample.add(
            Metric::TurnLatencyP95Ms,
            answers.iter().map(|one| one.gap_ms),
        );
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
pub struct Answers {
    pub calls: usize,
    pub is_cut: bool,
    /// Turns that answer a user, measured or not.
    pub answers: i64,
    pub times: Vec<AnswerTime>,
}

/// Of the newest calls of a range.
pub async fn answers(scope: &Scope, window: Window, dimensions: &Dimensions) -> Result<Answers> {
    let pool: &Pool = &scope.analytics;
    let rows = read(pool, || {
        sqlx::query!(
            "select a.answers, a.latencies
               from session_analyses a
              where a.tenant_id = $1
                and a.call_started_at >= $2
                and a.call_started_at < $3
                and ($4::text is null or a.agent_key = $4)
                and ($5::boolean or exists (
                    select
                      from sessions s
                     where s.tenant_id = $1
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
            CALLS_MAX + 1,
        )
        .fetch_all(pool)
    })
    .await?;
    let mut found = Answers {
        calls: 0,
        is_cut: rows.len() as i64 > CALLS_MAX,
        answers: 0,
        times: Vec::new(),
    };
    for row in rows.into_iter().take(CALLS_MAX as usize) {
        found.calls += 1;
        found.answers += i64::from(row.answers);
        found.times.extend(answer_times(row.latencies.as_deref())?);
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
