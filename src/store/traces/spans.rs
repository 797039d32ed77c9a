//! Traces of spans.

use chrono::{DateTime, Utc};
use serde_json::Map;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::attributes::GENERATION;
use crate::domain::ids::SessionId;
use crate::domain::trace::Trace;
use crate::store::columns::object;
use crate::store::failure::read;
use crate::store::scope::Scope;

struct Row {
    session_id: Uuid,
    trace_id: String,
    name: Option<String>,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    observation_count: i32,
    priced_count: i32,
    unpriced_count: i32,
    cost_nano_usd: i64,
    is_shared: bool,
}

impl Row {
    fn into_trace(self) -> Trace {
        let is_priced = self.priced_count > 0;
        Trace {
            id: self.trace_id,
            session: SessionId(self.session_id),
            name: self.name,
            started_at: self.started_at,
            ended_at: self.ended_at,
            observations: i64::from(self.observation_count),
            cost_nano_usd: is_priced.then_some(self.cost_nano_usd),
            cost_incomplete: is_priced && self.unpriced_count > 0,
            cost_estimated: false,
            unpriced: i64::from(self.unpriced_count),
            is_shared: self.is_shared,
        }
    }
}

/// Traces of the scope's tenant, by a literal that goes on with the condition. Further parameters count from `$2`.
macro_rules! traces {
    ($scope:expr, $rest:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select session_id, trace_id, name, started_at, ended_at, observation_count, priced_count, unpriced_count,
                      cost_nano_usd,
                      exists (select from traces o
                               where o.tenant_id = $1 and o.trace_id = t.trace_id
                                 and o.session_id <> t.session_id) as "is_shared!"
                 from traces t
                where tenant_id = $1 "# + $rest,
            $scope.tenant.0,
            $($argument),+
        )
    };
}

/// How many traces a session has, if there is one; its spans are bounded, and so is this.
pub async fn count(scope: &Scope, session: SessionId) -> Result<Option<i64>> {
    read(&scope.pool, || {
        sqlx::query_scalar!(
            r#"select (select count(*)
                         from traces t
                        where t.tenant_id = s.tenant_id and t.session_id = s.id) as "count!"
                 from sessions s
                where s.tenant_id = $1
                  and s.id = $2"#,
            scope.tenant.0,
            session.0,
        )
        .fetch_optional(&scope.pool)
    })
    .await
}

/// A session's traces, newest first.
pub async fn list(scope: &Scope, session: SessionId, skip: i64, limit: i64) -> Result<Vec<Trace>> {
    let rows = read(&scope.pool, || {
        traces!(
            scope,
            "and session_id = $2
              order by started_at desc, trace_id desc
             offset $3
              limit $4",
            session.0,
            skip,
            limit,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    Ok(rows.into_iter().map(Row::into_trace).collect())
}

/// A trace of a session.
pub async fn find(scope: &Scope, session: SessionId, trace: &str) -> Result<Option<Trace>> {
    let row = read(&scope.pool, || {
        traces!(
            scope,
            "and session_id = $2
                and trace_id = $3",
            session.0,
            trace,
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    Ok(row.map(Row::into_trace))
}

/// The newest trace of this id, in whichever session.
pub async fn find_anywhere(scope: &Scope, trace: &str) -> Result<Option<Trace>> {
    let row = read(&scope.pool, || {
        traces!(
            scope,
            "and trace_id = $2
              order by started_at desc, session_id desc
              limit 1",
            trace,
        )
        .fetch_optional(&scope.pool)
    })
    .await?;
    Ok(row.map(Row::into_trace))
}

/// A generation that says what it used and not what that cost.
pub struct Unpriced {
    pub trace: String,
    pub span: String,
    pub parent: Option<String>,
    pub model: String,
    pub usage: Map<String, Value>,
}

/// Generations of these traces that do not say what they cost, at most so many.
pub async fn unpriced(
    scope: &Scope,
    session: SessionId,
    traces: &[String],
    limit: i64,
) -> Result<Vec<Unpriced>> {
    let rows = read(&scope.pool, || {
        sqlx::query!(
            r#"select trace_id, span_id, parent, model as "model!", usage
                 from spans
                where tenant_id = $1
                  and session_id = $2
                  and trace_id = any ($3)
                  and cost_nano_usd is null
                  and type = $4
                  and model is not null
                  and usage <> '{}'
                limit $5"#,
            scope.tenant.0,
            session.0,
            traces,
            GENERATION,
            limit,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Unpriced {
                trace: row.trace_id,
                span: row.span_id,
                parent: row.parent,
                model: row.model,
                usage: object("spans.usage", &row.usage)?,
            })
        })
        .collect()
}
