//! What went wrong in the calls of a range, put together.

use crate::domain::Result;
use crate::domain::analysed::{Cause, Causes};
use crate::domain::analytics::{Dimensions, Window};
use crate::store::failure::read;
use crate::store::scope::Scope;

use super::sample::is_of_agents_only;

struct Row {
    r#type: Option<String>,
    stage: Option<String>,
    provider: Option<String>,
    agent_key: Option<String>,
    /// A bit for each of the four that a row is not about.
    grouping: i32,
    calls: i64,
    occurrences: i64,
    critical: i64,
    impact_ms: i64,
}

/// By type, by stage, by provider and by agent. Reads what was found in the calls of the range, and no others.
pub async fn causes(scope: &Scope, window: Window, dimensions: &Dimensions) -> Result<Causes> {
    let rows = read(&scope.analytics, || {
        sqlx::query_as!(
            Row,
            r#"with found as materialized (
                select i.session_id, i.type, i.stage, i.provider, i.agent_key, i.severity, i.occurrences, i.impact_ms
                  from session_issues i
                 where i.tenant_id = $1
                   and i.call_started_at >= $2
                   and i.call_started_at < $3
                   and ($4::text is null or i.agent_key = $4)
                   and ($5::boolean or exists (
                       select
                         from sessions s
                        where s.tenant_id = $1
                          and s.id = i.session_id
                          -- Says nothing new, but lets an index on the start narrow the calls.
                          and s.started_at >= $2
                          and s.started_at < $3
                          and ($6::text is null or s.workflow_slug = $6 or s.workflow_id = $6)
                          and ($7::text is null or s.channel = $7)
                          and ($8::text is null or s.campaign = $8)))
            )
            select type as "type?", stage as "stage?", provider as "provider?", agent_key,
                   grouping(type, stage, provider, agent_key) as "grouping!",
                   count(distinct session_id) as "calls!", coalesce(sum(occurrences), 0)::bigint as "occurrences!",
                   count(distinct session_id) filter (where severity = 'critical') as "critical!",
                   least(coalesce(sum(impact_ms), 0), 9223372036854775807)::bigint as "impact_ms!"
              from found
             group by grouping sets ((), (type), (stage), (provider, stage), (agent_key))"#,
            scope.tenant.0,
            window.from,
            window.to,
            dimensions.agent_key.as_deref(),
            is_of_agents_only(dimensions),
            dimensions.workflow.as_deref(),
            dimensions.channel.as_deref(),
            dimensions.campaign.as_deref(),
        )
        .fetch_all(&scope.analytics)
    })
    .await?;
    let mut causes = Causes {
        calls: analysed(scope, window, dimensions).await?,
        ..Causes::default()
    };
    for row in rows {
        let named = |name: Option<String>| name.filter(|name| !name.is_empty());
        let cause = Cause {
            kind: row.r#type,
            stage: named(row.stage),
            provider: named(row.provider),
            agent_key: row.agent_key,
            calls: row.calls,
            critical_calls: row.critical,
            occurrences: row.occurrences,
            impact_ms: row.impact_ms,
        };
        match row.grouping {
            0b1111 => causes.all = cause,
            0b0111 => causes.by_type.push(cause),
            0b1011 => causes.by_stage.push(cause),
            0b1001 if cause.provider.is_some() => causes.by_provider.push(cause),
            0b1110 => causes.by_agent.push(cause),
            _ => {}
        }
    }
    causes.sort();
    Ok(causes)
}

/// How many calls of the range were analysed.
async fn analysed(scope: &Scope, window: Window, dimensions: &Dimensions) -> Result<i64> {
    read(&scope.analytics, || {
        sqlx::query_scalar!(
            r#"select count(*) as "count!"
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
                         and ($8::text is null or s.campaign = $8)))"#,
            scope.tenant.0,
            window.from,
            window.to,
            dimensions.agent_key.as_deref(),
            is_of_agents_only(dimensions),
            dimensions.workflow.as_deref(),
            dimensions.channel.as_deref(),
            dimensions.campaign.as_deref(),
        )
        .fetch_one(&scope.analytics)
    })
    .await
}
