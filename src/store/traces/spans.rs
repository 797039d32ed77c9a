//! Traces of spans.

use chrono::{DateTime, Utc};
use serde_json::Map;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::attributes::GENERATION;
use crate::domain::ids::SessionId;
use crate::domain::span::{Span, TRACE_ITSELF};
use crate::domain::trace::Trace;
use crate::store::columns::json;
use crate::store::columns::object;
use crate::store::failure::read;
use crate::store::scope::{ContentScope, Scope};
use crate::store::sessions::show_parameters;

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
        }
    }
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
        sqlx::query_as!(
            Row,
            "select session_id, trace_id, name, started_at, ended_at, observation_count, priced_count, unpriced_count,
                    cost_nano_usd
               from traces
              where tenant_id = $1
                and session_id = $2
              order by started_at desc, trace_id desc
             offset $3
              limit $4",
            scope.tenant.0,
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
        sqlx::query_as!(
            Row,
            "select session_id, trace_id, name, started_at, ended_at, observation_count, priced_count, unpriced_count,
                    cost_nano_usd
               from traces
              where tenant_id = $1
                and session_id = $2
                and trace_id = $3",
            scope.tenant.0,
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
        sqlx::query_as!(
            Row,
            "select session_id, trace_id, name, started_at, ended_at, observation_count, priced_count, unpriced_count,
                    cost_nano_usd
               from traces
              where tenant_id = $1
                and trace_id = $2
              order by started_at desc, session_id desc
              limit 1",
            scope.tenant.0,
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
            r#"select trace_id, model as "model!", usage
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
                model: row.model,
                usage: object("spans.usage", &row.usage)?,
            })
        })
        .collect()
}

/// Bytes of one answer's observations; the last may go beyond.
const BYTES_MAX: i64 = 16 << 20;

struct SpanRow {
    trace_id: String,
    span_id: String,
    parent: Option<String>,
    trace_name: Option<String>,
    name: Option<String>,
    r#type: String,
    level: String,
    environment: Option<String>,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    completion_start: Option<DateTime<Utc>>,
    model: Option<String>,
    usage: String,
    costs: String,
    cost_nano_usd: Option<i64>,
    parameters: String,
    status_message: Option<String>,
    input: Option<String>,
    output: Option<String>,
    metadata: Option<String>,
}

/// A trace's first observations, by start: at most so many, and so many bytes of them. What was said
/// comes only with proof that it may.
pub async fn observations(
    scope: &Scope,
    content: Option<&ContentScope>,
    trace: &Trace,
    limit: i64,
) -> Result<Vec<Span>> {
    let rows = read(&scope.pool, || {
        sqlx::query_as!(
            SpanRow,
            r#"select s.trace_id, s.span_id, s.parent, s.trace_name, s.name, s.type, s.level, s.environment, s.started_at,
                      s.ended_at, s.completion_start, s.model, s.usage, s.costs, s.cost_nano_usd, s.parameters,
                      case when $4 then s.status_message end as status_message,
                      case when $4 then s.input end as input,
                      case when $4 then s.output end as output,
                      case when $4 then s.metadata end as metadata
                 from (select *,
                              sum(octet_length(usage) + octet_length(costs) + octet_length(parameters)
                                  + case when $4 then coalesce(octet_length(status_message), 0)
                                       + coalesce(octet_length(input), 0) + coalesce(octet_length(output), 0)
                                       + octet_length(metadata) else 0 end)
                                  over (order by started_at, span_id
                                        rows between unbounded preceding and 1 preceding) as bytes_before
                         from (select *
                                 from spans
                                where tenant_id = $1
                                  and session_id = $2
                                  and trace_id = $3
                                  and span_id <> $7
                                order by started_at, span_id
                                limit $5) shown) s
                where coalesce(s.bytes_before, 0) <= $6
                order by s.started_at, s.span_id"#,
            scope.tenant.0,
            trace.session.0,
            trace.id,
            content.is_some(),
            limit,
            BYTES_MAX,
            TRACE_ITSELF,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    rows.into_iter()
        .map(|row| row.into_span(content.is_some()))
        .collect()
}

impl SpanRow {
    fn into_span(self, with_content: bool) -> Result<Span> {
        let mut span = Span {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent: self.parent,
            name: self.name,
            r#type: self.r#type,
            level: self.level,
            environment: self.environment,
            started_at: self.started_at,
            ended_at: self.ended_at,
            completion_start: self.completion_start,
            model: self.model,
            usage: object("spans.usage", &self.usage)?,
            costs: object("spans.costs", &self.costs)?,
            cost_nano_usd: self.cost_nano_usd,
            cost_estimated: false,
            parameters: object("spans.parameters", &self.parameters)?,
            status_message: self.status_message,
            input: json("spans.input", self.input)?,
            output: json("spans.output", self.output)?,
            metadata: match self.metadata {
                Some(text) => object("spans.metadata", &text)?,
                None => Map::new(),
            },
            trace_name: self.trace_name,
        };
        if !with_content {
            show_parameters(&mut span.parameters);
        }
        Ok(span)
    }
}
