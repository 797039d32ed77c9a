//! Lists of sessions, newest first.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::ids::SessionId;
use crate::domain::page::{Limit, Slice, Start};
use crate::domain::record::{Filter, Headline, Key};
use crate::domain::session::Status;
use crate::store::columns::unreadable;
use crate::store::failure::read;
use crate::store::scope::Scope;

struct Row {
    id: Uuid,
    agent_key: Option<String>,
    status: String,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    turn_count: i32,
}

/// One page. Without a filter the index on the start is read in order whatever the tenant's size; with
/// one, the plan is made for the values at hand, so that the narrowest index is taken.
pub async fn list(
    scope: &Scope,
    filter: &Filter,
    start: &Start<Key>,
    limit: Limit,
) -> Result<Slice<Headline>> {
    let rows = match &filter.tag {
        Some(tag) => tagged(scope, tag, filter, start, limit).await?,
        None => untagged(scope, filter, start, limit).await?,
    };
    let rows: Result<Vec<Headline>> = rows.into_iter().map(Row::into_headline).collect();
    Ok(Slice::from_probe(rows?, limit))
}

/// Unfiltered pages are one and the same plan; any filter wants its own.
fn pool<'a>(scope: &'a Scope, filter: &Filter) -> &'a PgPool {
    if *filter == Filter::default() {
        &scope.pool
    } else {
        &scope.analytics
    }
}

fn bounds(start: &Start<Key>) -> (Option<DateTime<Utc>>, Option<Uuid>, i64) {
    match start {
        Start::Beginning => (None, None, 0),
        Start::After((started_at, id)) => (Some(*started_at), Some(id.0), 0),
        Start::Skip(rows) => (None, None, i64::from(*rows)),
    }
}

async fn untagged(
    scope: &Scope,
    filter: &Filter,
    start: &Start<Key>,
    limit: Limit,
) -> Result<Vec<Row>> {
    let (before, before_id, skip) = bounds(start);
    let pool = pool(scope, filter);
    read(pool, || {
        sqlx::query_as!(
            Row,
            "select id, agent_key, status, started_at, ended_at, turn_count
               from sessions
              where tenant_id = $1
                and ($2::text is null or agent_key = $2)
                and ($3::text is null or status = $3)
                and (not $4::boolean or evaluation_count > 0)
                and ($5::timestamptz is null or started_at >= $5)
                and ($6::timestamptz is null or started_at < $6)
                and ($7::text is null or channel = $7)
                and ($8::text is null or campaign = $8)
                and ($9::text is null or call_sid = $9)
                and ($10::text is null or stream_id = $10)
                -- Keyset: strictly older than the last row already shown.
                and ($11::timestamptz is null or (started_at, id) < ($11, $12::uuid))
              order by started_at desc, id desc
              limit $13 offset $14",
            scope.tenant.0,
            filter.agent_key.as_deref(),
            filter.status.map(Status::as_str),
            filter.reviewed,
            filter.started_after,
            filter.started_before,
            filter.channel.as_deref(),
            filter.campaign.as_deref(),
            filter.call_sid.as_deref(),
            filter.stream_id.as_deref(),
            before,
            before_id,
            limit.probe(),
            skip,
        )
        .fetch_all(pool)
    })
    .await
}

async fn tagged(
    scope: &Scope,
    tag: &str,
    filter: &Filter,
    start: &Start<Key>,
    limit: Limit,
) -> Result<Vec<Row>> {
    let (before, before_id, skip) = bounds(start);
    let pool = pool(scope, filter);
    read(pool, || {
        sqlx::query_as!(
            Row,
            "select s.id, s.agent_key, s.status, s.started_at, s.ended_at, s.turn_count
               from session_tags t
               join sessions s on s.tenant_id = t.tenant_id and s.id = t.session_id
              where t.tenant_id = $1
                and t.tag = $15
                and ($2::text is null or s.agent_key = $2)
                and ($3::text is null or s.status = $3)
                and (not $4::boolean or s.evaluation_count > 0)
                and ($5::timestamptz is null or t.started_at >= $5)
                and ($6::timestamptz is null or t.started_at < $6)
                and ($7::text is null or s.channel = $7)
                and ($8::text is null or s.campaign = $8)
                and ($9::text is null or s.call_sid = $9)
                and ($10::text is null or s.stream_id = $10)
                and ($11::timestamptz is null or (t.started_at, t.session_id) < ($11, $12::uuid))
              order by t.started_at desc, t.session_id desc
              limit $13 offset $14",
            scope.tenant.0,
            filter.agent_key.as_deref(),
            filter.status.map(Status::as_str),
            filter.reviewed,
            filter.started_after,
            filter.started_before,
            filter.channel.as_deref(),
            filter.campaign.as_deref(),
            filter.call_sid.as_deref(),
            filter.stream_id.as_deref(),
            before,
            before_id,
            limit.probe(),
            skip,
            tag,
        )
        .fetch_all(pool)
    })
    .await
}

/// How many sessions a filter matches, for the dialects that show a total.
pub async fn count(scope: &Scope, filter: &Filter) -> Result<i64> {
    read(&scope.analytics, || {
        sqlx::query_scalar!(
            r#"select count(*) as "count!"
                 from sessions s
                where s.tenant_id = $1
                  and ($2::text is null or s.agent_key = $2)
                  and ($3::text is null or s.status = $3)
                  and (not $4::boolean or s.evaluation_count > 0)
                  and ($5::timestamptz is null or s.started_at >= $5)
                  and ($6::timestamptz is null or s.started_at < $6)
                  and ($7::text is null or s.channel = $7)
                  and ($8::text is null or s.campaign = $8)
                  and ($9::text is null or s.call_sid = $9)
                  and ($10::text is null or s.stream_id = $10)
                  and ($11::text is null or s.id in (select t.session_id from session_tags t where t.tenant_id = $1 and t.tag = $11))"#,
            scope.tenant.0,
            filter.agent_key.as_deref(),
            filter.status.map(Status::as_str),
            filter.reviewed,
            filter.started_after,
            filter.started_before,
            filter.channel.as_deref(),
            filter.campaign.as_deref(),
            filter.call_sid.as_deref(),
            filter.stream_id.as_deref(),
            filter.tag.as_deref(),
        )
        .fetch_one(&scope.analytics)
    })
    .await
}

impl Row {
    fn into_headline(self) -> Result<Headline> {
        Ok(Headline {
            id: SessionId(self.id),
            agent_key: self.agent_key,
            status: Status::parse(&self.status)
                .ok_or_else(|| unreadable("sessions.status", &self.status))?,
            started_at: self.started_at,
            ended_at: self.ended_at,
            turns: self.turn_count,
        })
    }
}
