//! Errors of the calls of a range, newest first.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::analytics::{Dimensions, Window};
use crate::domain::ids::SessionId;
use crate::domain::items::ServiceError;
use crate::domain::page::{Limit, Slice};
use crate::domain::record::{CallError, ErrorFilter};
use crate::store::ContentScope;
use crate::store::columns::{json, object};
use crate::store::failure::read;
use crate::store::scope::Scope;
use crate::store::sessions::withhold_error;

/// One page, and how many there are in all: one snapshot.
pub async fn errors(
    scope: &Scope,
    content: Option<&ContentScope>,
    window: Window,
    dimensions: &Dimensions,
    filter: &ErrorFilter,
    (offset, limit): (i64, Limit),
) -> Result<(Slice<CallError>, i64)> {
    let rows = read(&scope.analytics, || {
        sqlx::query_as!(
            Row,
            r#"with matching as materialized (
                select e.at, e.session_id, e.id
                  from errors e
                 where e.tenant_id = $1
                   and e.call_started_at >= $2
                   and e.call_started_at < $3
                   and ($4::text is null or e.service = $4)
                   and ($5::text is null or e.level = $5)
                   and ($6::boolean or exists (
                       select
                         from sessions s
                        where s.tenant_id = $1
                          and s.id = e.session_id
                          -- Says nothing new, but lets an index on the start narrow the calls.
                          and s.started_at >= $2
                          and s.started_at < $3
                          and ($7::text is null or s.agent_key = $7)
                          and ($8::text is null or s.workflow_slug = $8 or s.workflow_id = $8)
                          and ($9::text is null or s.channel = $9)
                          and ($10::text is null or s.campaign = $10)))
            ), page as materialized (
                select at, session_id, id
                  from matching
                 order by at desc, session_id desc, id desc
                 limit $11 offset $12
            ), places as materialized (
                -- An error's place among all of its call's.
                select session_id, id, row_number() over (partition by session_id order by at, id) - 1 as place
                  from errors
                 where tenant_id = $1
                   and session_id in (select session_id from page)
            ), shown as (
                select e.session_id, e.id, e.at, e.service, e.level, e.code, e.message, e.details, e.turn,
                       coalesce(e.agent, s.agent_key) as agent, e.extra, places.place
                  from page
                  join places using (session_id, id)
                  join errors e on e.tenant_id = $1 and e.session_id = page.session_id and e.id = page.id
                  join sessions s on s.tenant_id = $1 and s.id = page.session_id
            )
            select count.total as "total!", session_id as "session_id?", id as "id?", at as "at?", service,
                   level as "level?", code, message, details, turn, agent, extra as "extra?", place as "place?"
              from (select count(*) as total from matching) count
              left join shown on true
             order by at desc, session_id desc, id desc"#,
            scope.tenant.0,
            window.from,
            window.to,
            filter.service,
            filter.level,
            dimensions.is_all(),
            dimensions.agent_key.as_deref(),
            dimensions.workflow.as_deref(),
            dimensions.channel.as_deref(),
            dimensions.campaign.as_deref(),
            limit.probe(),
            offset,
        )
        .fetch_all(&scope.analytics)
    })
    .await?;
    let total = rows.first().map_or(0, |row| row.total);
    let found: Result<Vec<CallError>> = rows
        .into_iter()
        .filter_map(|row| row.into_error(content).transpose())
        .collect();
    Ok((Slice::from_probe(found?, limit), total))
}

/// Past the end there is one row, which has the total alone.
struct Row {
    total: i64,
    session_id: Option<Uuid>,
    id: Option<String>,
    at: Option<DateTime<Utc>>,
    service: Option<String>,
    level: Option<String>,
    code: Option<String>,
    message: Option<String>,
    details: Option<String>,
    turn: Option<i32>,
    agent: Option<String>,
    extra: Option<String>,
    place: Option<i64>,
}

impl Row {
    fn into_error(self, content: Option<&ContentScope>) -> Result<Option<CallError>> {
        let (Some(session), Some(id), Some(at), Some(level), Some(extra), Some(place)) = (
            self.session_id,
            self.id,
            self.at,
            self.level,
            self.extra,
            self.place,
        ) else {
            return Ok(None);
        };
        let mut error = ServiceError {
            id,
            at,
            service: self.service,
            level,
            code: self.code,
            message: self.message,
            details: json("errors.details", self.details)?,
            turn: self.turn,
            agent: self.agent,
            extra: object("errors.extra", &extra)?,
        };
        if content.is_none() {
            withhold_error(&mut error);
        }
        Ok(Some(CallError {
            call: SessionId(session),
            place,
            error,
        }))
    }
}
