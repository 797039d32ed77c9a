//! How well agents let themselves be interrupted, over a range of calls.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;

use crate::domain::Result;
use crate::domain::analysed::Conduct;
use crate::domain::analysis::InterruptionCounts;
use crate::domain::analytics::Window;
use crate::store::columns::unreadable;
use crate::store::failure::{failure, read_whole};
use crate::store::scope::Scope;

/// By agent, none for calls that name none. Reads what is kept of the calls of the range, and no others.
pub async fn by_agent(
    scope: &Scope,
    window: Window,
    agent_key: Option<&str>,
) -> Result<BTreeMap<Option<String>, Conduct>> {
    read_whole(&scope.analytics, || sum_up(scope, window, agent_key)).await
}

async fn sum_up(
    scope: &Scope,
    window: Window,
    agent_key: Option<&str>,
) -> Result<BTreeMap<Option<String>, Conduct>> {
    let sums = sqlx::query!(
        r#"select agent_key, count(*) as "sessions!", sum(agent_turns)::bigint as "agent_turns!",
                  count(score) as "scored!", avg(score) as score
             from session_analyses
            where tenant_id = $1
              and call_started_at >= $2
              and call_started_at < $3
              and ($4::text is null or agent_key = $4)
            group by agent_key"#,
        scope.tenant.0,
        window.from,
        window.to,
        agent_key,
    )
    .fetch_all(&scope.analytics)
    .await
    .map_err(failure)?;
    let mut by_agent: BTreeMap<Option<String>, Conduct> = BTreeMap::new();
    for row in sums {
        let conduct = Conduct {
            counts: InterruptionCounts {
                sessions: row.sessions.unsigned_abs(),
                agent_turns: row.agent_turns.unsigned_abs(),
                ..InterruptionCounts::default()
            },
            scored: row.scored.unsigned_abs(),
            score: row.score,
        };
        by_agent.insert(row.agent_key, conduct);
    }
    let mut connection = scope.analytics.acquire().await.map_err(failure)?;
    let mut rows = sqlx::query!(
        r#"select agent_key, interruptions as "interruptions!"
             from session_analyses
            where tenant_id = $1
              and call_started_at >= $2
              and call_started_at < $3
              and ($4::text is null or agent_key = $4)
              and interruptions is not null"#,
        scope.tenant.0,
        window.from,
        window.to,
        agent_key,
    )
    .fetch(&mut *connection);
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        let counts: InterruptionCounts = serde_json::from_str(&row.interruptions)
            .map_err(|error| unreadable("session_analyses.interruptions", error))?;
        let conduct = by_agent.entry(row.agent_key).or_default();
        conduct.counts.merge(&counts);
    }
    drop(rows);
    connection.done();
    Ok(by_agent)
}
