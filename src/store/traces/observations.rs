//! A trace's observations: what everybody may see from their rows, what was said from the facts they follow from.

use chrono::{DateTime, Utc};
use serde_json::Map;

use crate::domain::Result;
use crate::domain::event::{Kind, Source};
use crate::domain::fact::Fact;
use crate::domain::span;
use crate::domain::span::{Span, TRACE_ITSELF};
use crate::domain::trace::Trace;
use crate::store::columns::object;
use crate::store::facts::Stored;
use crate::store::failure::read;
use crate::store::scope::{ContentScope, Scope};
use crate::store::sessions::show_parameters;

/// Bytes of one answer's observations; the last may go beyond.
const BYTES_MAX: i64 = 16 << 20;

/// A span with one of its facts; nearly always it has one.
struct Row {
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
    source: Option<i16>,
    at: Option<DateTime<Utc>>,
    hash: Option<i64>,
    body: Option<String>,
}

/// A trace's first observations, by start: at most so many, and so many bytes of them. What was said
/// comes only with proof that it may, and until it is deleted.
pub async fn observations(
    scope: &Scope,
    content: Option<&ContentScope>,
    trace: &Trace,
    limit: i64,
) -> Result<Vec<Span>> {
    let rows = read(&scope.pool, || {
        sqlx::query_as!(
            Row,
            r#"select s.trace_id, s.span_id, s.parent, s.trace_name, s.name, s.type, s.level, s.environment, s.started_at,
                      s.ended_at, s.completion_start, s.model, s.usage, s.costs, s.cost_nano_usd, s.parameters,
                      s.source as "source?", s.at as "at?", s.hash as "hash?", s.body as "body?"
                 from (select first.*, f.source, f.at, f.hash, f.body,
                              sum(octet_length(first.usage) + octet_length(first.costs) + octet_length(first.parameters)
                                  + coalesce(octet_length(f.body), 0))
                                  over (order by first.started_at, first.span_id, f.source
                                        rows between unbounded preceding and 1 preceding) as bytes_before
                         from (select *
                                 from spans
                                where tenant_id = $1
                                  and session_id = $2
                                  and trace_id = $3
                                  and span_id <> $7
                                order by started_at, span_id
                                limit $5) first
                         left join facts f
                           on $4
                          and f.tenant_id = $1
                          and f.session_id = $2
                          and f.source = any ($8)
                          and f.kind = $9
                          and f.id = octet_length(first.trace_id) || ':' || first.trace_id || '/' || first.span_id) s
                where coalesce(s.bytes_before, 0) <= $6
                order by s.started_at, s.span_id, s.source"#,
            scope.tenant.0,
            trace.session.0,
            trace.id,
            content.is_some(),
            limit,
            BYTES_MAX,
            TRACE_ITSELF,
            &Source::OF_SPANS.map(|source| source as i16),
            Kind::Span as i16,
        )
        .fetch_all(&scope.pool)
    })
    .await?;
    rows.chunk_by(|one, other| one.span_id == other.span_id)
        .map(span)
        .collect()
}

/// As its facts say, where these were asked for and are there; else what stayed.
fn span(rows: &[Row]) -> Result<Span> {
    let facts: Vec<Fact> = rows.iter().filter_map(Row::fact).collect::<Result<_>>()?;
    match Span::derive(&facts.iter().collect::<Vec<_>>()) {
        Some(span) => Ok(span),
        None => rows[0].shown(),
    }
}

impl Row {
    fn fact(&self) -> Option<Result<Fact>> {
        let stored = Stored {
            source: self.source?,
            kind: Kind::Span as i16,
            id: span::identity(&self.trace_id, &self.span_id),
            at: self.at?,
            hash: self.hash?,
            body: self.body.clone()?,
        };
        Some(stored.into_fact())
    }

    fn shown(&self) -> Result<Span> {
        let mut parameters = object("spans.parameters", &self.parameters)?;
        show_parameters(&mut parameters);
        Ok(Span {
            trace_id: self.trace_id.clone(),
            span_id: self.span_id.clone(),
            parent: self.parent.clone(),
            name: self.name.clone(),
            r#type: self.r#type.clone(),
            level: self.level.clone(),
            environment: self.environment.clone(),
            started_at: self.started_at,
            ended_at: self.ended_at,
            completion_start: self.completion_start,
            model: self.model.clone(),
            usage: object("spans.usage", &self.usage)?,
            costs: object("spans.costs", &self.costs)?,
            cost_nano_usd: self.cost_nano_usd,
            cost_estimated: false,
            parameters,
            status_message: None,
            input: None,
            output: None,
            metadata: Map::new(),
            trace_name: self.trace_name.clone(),
        })
    }
}
