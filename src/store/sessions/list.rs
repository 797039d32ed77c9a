//! Lists of sessions, newest first. What was said or how long answers took is looked for in `search`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::Result;
use crate::domain::analysis::IssueType;
use crate::domain::ids::SessionId;
use crate::domain::page::{Limit, Slice, Start};
use crate::domain::record::{EARLIEST, Filter, Headline, Key, LATEST};
use crate::domain::session::{Status, Workflow};
use crate::domain::words::Question;
use crate::store::columns::unreadable;
use crate::store::failure::read;
use crate::store::scope::{ContentScope, Scope};

use super::search;

/// A line of a list, as every statement here gives it.
pub(super) struct Row {
    pub id: Uuid,
    pub agent_key: Option<String>,
    pub status: String,
    pub channel: Option<String>,
    pub campaign: Option<String>,
    pub workflow_id: Option<String>,
    pub workflow_slug: Option<String>,
    pub workflow_name: Option<String>,
    pub started_at: DateTime<Utc>,
    pub answered_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub duration_ms: Option<i64>,
    pub cost_micro_usd: Option<i64>,
    pub turn_count: i32,
    pub tags: Vec<String>,
    pub evaluation_count: i32,
    pub fact_bytes: i64,
    pub has_issues: bool,
}

/// Which rows: strictly older than the last one shown, the first few skipped, so many.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub before: Option<DateTime<Utc>>,
    pub before_id: Option<Uuid>,
    pub skip: i64,
    pub rows: i64,
}

impl Place {
    pub fn of(start: &Start<Key>, limit: Limit) -> Self {
        let (before, before_id, skip) = match start {
            Start::Beginning => (None, None, 0),
            Start::After((started_at, id)) => (Some(*started_at), Some(id.0), 0),
            Start::Skip(rows) => (None, None, i64::from(*rows)),
        };
        Self {
            before,
            before_id,
            skip,
            rows: limit.probe(),
        }
    }
}

/// Runs one statement for lines of a list: the columns of sessions `s`, where they come from, and the rest of it.
macro_rules! lines {
    ($pool:expr, $from:literal, [$($rest:tt)+], $($argument:expr),+ $(,)?) => {
        read($pool, || {
            sqlx::query_as!(
                Row,
                "select s.id, s.agent_key, s.status, s.channel, s.campaign, s.workflow_id, s.workflow_slug, s.workflow_name,
                        s.started_at, s.answered_at, s.ended_at, s.duration_ms, s.cost_micro_usd, s.turn_count,
                        -- What people wrote lies over what sources say.
                        case when s.has_edits
                             then coalesce((select e.tags from session_edits e
                                             where e.tenant_id = $1 and e.session_id = s.id), s.tags)
                             else s.tags
                        end as \"tags!\",
                        s.evaluation_count, s.fact_bytes, s.has_issues
                   from " + $from + "
                  where s.tenant_id = $1 " + $($rest)+,
                $($argument,)+
            )
            .fetch_all($pool)
        })
    };
}
pub(super) use lines;

/// Lines that fit a filter. All such statements have the filter and the place, and differ in where the
/// sessions `s` come from and in conditions of their own, which bind from `$18` on. Each wants a plan for
/// its values: a plan for all values could not leave out the conditions that do not apply.
macro_rules! rows {
    ($scope:expr, $filter:expr, $place:expr, $from:literal, $more:literal $(, $own:expr)*) => {
        lines!(
            &$scope.analytics,
            $from,
            ["and ($2::text is null or s.agent_key = $2)
                    and ($3::text is null or s.status = $3)
                    and ($4::boolean is null or (s.evaluation_count > 0) = $4)
                    and ($5::text is null or s.channel = $5)
                    and ($6::text is null or s.campaign = $6)
                    and ($7::text is null or s.call_sid = $7)
                    and ($8::text is null or s.stream_id = $8)
                    and ($9::text is null or s.workflow_slug = $9 or s.workflow_id = $9)
                    and ($10::timestamptz is null or s.started_at >= $10)
                    and ($11::timestamptz is null or s.started_at < $11)
                    -- Keyset: strictly older than the last row already shown.
                    and ($12::timestamptz is null or (s.started_at, s.id) < ($12, $13::uuid))
                    and ($16::boolean is null or s.has_issues = $16)
                    and ($17::text is null
                         or exists (select from session_issues i
                                     where i.tenant_id = (select $1::uuid) and i.session_id = s.id and i.type = $17))" + $more],
            $scope.tenant.0,
            $filter.agent_key.as_deref(),
            $filter.status.map(Status::as_str),
            $filter.reviewed,
            $filter.channel.as_deref(),
            $filter.campaign.as_deref(),
            $filter.call_sid.as_deref(),
            $filter.stream_id.as_deref(),
            $filter.workflow.as_deref(),
            $filter.started_after,
            $filter.started_before,
            $place.before,
            $place.before_id,
            $place.rows,
            $place.skip,
            $filter.has_issues,
            $filter.issue_type.map(IssueType::as_str),
            $($own,)*
        )
    };
}
pub(super) use rows;

/// One page. Without a filter the index on the start is read in order whatever the tenant's size; with
/// one, the plan is made for the values at hand, so that the narrowest index is taken. Words are looked
/// for only with proof that what was said may be seen.
pub async fn list(
    scope: &Scope,
    content: Option<&ContentScope>,
    filter: &Filter,
    start: &Start<Key>,
    limit: Limit,
) -> Result<Slice<Headline>> {
    let place = Place::of(start, limit);
    let (rows, resume) = if filter.words.is_some() || filter.min_latency_ms.is_some() {
        search::rows_of(scope, content, filter, place).await?
    } else {
        (plain(scope, filter, place).await?, None)
    };
    let rows: Result<Vec<Headline>> = rows.into_iter().map(Row::into_headline).collect();
    let slice = Slice::from_probe(rows?, limit);
    Ok(Slice {
        more: slice.more || resume.is_some(),
        resume,
        ..slice
    })
}

/// Lines without a look at the turns.
pub(super) async fn plain(scope: &Scope, filter: &Filter, place: Place) -> Result<Vec<Row>> {
    match &filter.tag {
        None if asks_little(filter) => newest(scope, filter, place).await,
        None if filter.issue_type.is_some() => by_issue(scope, filter, place).await,
        None if filter.has_issues == Some(true) => {
            // As a condition of its own the partial index answers it.
            rows!(
                scope,
                filter,
                place,
                "sessions s",
                "and s.has_issues order by s.started_at desc, s.id desc limit $14 offset $15"
            )
            .await
        }
        None => {
            rows!(
                scope,
                filter,
                place,
                "sessions s",
                "order by s.started_at desc, s.id desc limit $14 offset $15"
            )
            .await
        }
        Some(tag) => rows!(
            scope,
            filter,
            place,
            "session_tags t
             cross join lateral (select * from sessions o where o.tenant_id = t.tenant_id and o.id = t.session_id offset 0) s",
            "and t.tenant_id = $1
                 and t.tag = $18
                 and ($10::timestamptz is null or t.started_at >= $10)
                 and ($11::timestamptz is null or t.started_at < $11)
                 and ($12::timestamptz is null or (t.started_at, t.session_id) < ($12, $13::uuid))
                 order by t.started_at desc, t.session_id desc limit $14 offset $15",
            tag
        )
        .await,
    }
}

/// Lines of calls with an issue of one type, in the order of the index on that.
async fn by_issue(scope: &Scope, filter: &Filter, place: Place) -> Result<Vec<Row>> {
    rows!(
        scope,
        filter,
        place,
        "session_issues f
         cross join lateral (select * from sessions o where o.tenant_id = f.tenant_id and o.id = f.session_id offset 0) s",
        "and f.tenant_id = $1
         and f.type = $17
         and f.is_first
         and ($10::timestamptz is null or f.call_started_at >= $10)
         and ($11::timestamptz is null or f.call_started_at < $11)
         and ($12::timestamptz is null or (f.call_started_at, f.session_id) < ($12, $13::uuid))
         order by f.call_started_at desc, f.session_id desc limit $14 offset $15"
    )
    .await
}

/// Whether a filter asks for no more than what is asked most.
fn asks_little(filter: &Filter) -> bool {
    let rest = Filter {
        agent_key: None,
        status: None,
        started_after: None,
        started_before: None,
        ..filter.clone()
    };
    rest == Filter::default()
}

/// What is asked most: a range of starts, of an agent or in a state. Without a condition that may or may not
/// apply: one plan for all values then reads an index in order, and only as far as the page goes.
async fn newest(scope: &Scope, filter: &Filter, place: Place) -> Result<Vec<Row>> {
    let from = filter.started_after.unwrap_or(EARLIEST);
    // A row with this start or a later one is not shown, nor one with a larger id where there is one.
    let end = (filter.started_before.unwrap_or(LATEST), Uuid::nil());
    let (until, until_id) = match (place.before, place.before_id) {
        (Some(before), Some(id)) => (before, id).min(end),
        _ => end,
    };
    macro_rules! range {
        ($($condition:literal, $value:expr),*) => {
            lines!(
                &scope.pool,
                "sessions s",
                ["and s.started_at >= $2
                  and (s.started_at, s.id) < ($3, $4)"
                 $(+ $condition)*
                 + " order by s.started_at desc, s.id desc
                     limit $5 offset $6"],
                scope.tenant.0,
                from,
                until,
                until_id,
                place.rows,
                place.skip
                $(, $value)*
            )
            .await
        };
    }
    match (
        filter.agent_key.as_deref(),
        filter.status.map(Status::as_str),
    ) {
        (None, None) => range!(),
        (Some(agent), None) => range!(" and s.agent_key = $7", agent),
        (None, Some(status)) => range!(" and s.status = $7", status),
        (Some(agent), Some(status)) => {
            range!(" and s.agent_key = $7", agent, " and s.status = $8", status)
        }
    }
}

/// How many sessions a filter matches, for the dialects that show a total; none where words are in so many
/// turns of so many sessions that counting would take long.
pub async fn count(
    scope: &Scope,
    content: Option<&ContentScope>,
    filter: &Filter,
) -> Result<Option<i64>> {
    search::check(content, filter)?;
    if let Some(counted) = search::counted(scope, filter).await? {
        return Ok(counted);
    }
    count_all(scope, filter).await.map(Some)
}

async fn count_all(scope: &Scope, filter: &Filter) -> Result<i64> {
    read(&scope.analytics, || {
        sqlx::query_scalar!(
            r#"select count(*) as "count!"
                 from sessions s
                where s.tenant_id = $1
                  and ($2::text is null or s.agent_key = $2)
                  and ($3::text is null or s.status = $3)
                  and ($4::boolean is null or (s.evaluation_count > 0) = $4)
                  and ($5::timestamptz is null or s.started_at >= $5)
                  and ($6::timestamptz is null or s.started_at < $6)
                  and ($7::text is null or s.channel = $7)
                  and ($8::text is null or s.campaign = $8)
                  and ($9::text is null or s.call_sid = $9)
                  and ($10::text is null or s.stream_id = $10)
                  and ($12::text is null or s.workflow_slug = $12 or s.workflow_id = $12)
                  and ($11::text is null or s.id in (select t.session_id from session_tags t where t.tenant_id = $1 and t.tag = $11))
                  and ($13::text is null
                       or s.id in (select t.session_id from turns t
                                    where t.tenant_id = $1 and t.text is not null
                                      and to_tsvector('simple', coalesce(t.words, t.text)) @@ websearch_to_tsquery('simple', $13)))
                  and ($14::float8 is null
                       or s.id in (select t.session_id from turns t
                                    where t.tenant_id = $1 and t.answers_user and not t.cancelled
                                      and t.latency_ms > 0 and t.latency_ms >= $14))
                  and ($15::boolean is null or s.has_issues = $15)
                  and ($16::text is null
                       or s.id in (select i.session_id from session_issues i where i.tenant_id = $1 and i.type = $16))"#,
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
            filter.workflow.as_deref(),
            filter.words.as_ref().map(Question::as_str),
            search::min_latency_ms(filter),
            filter.has_issues,
            filter.issue_type.map(IssueType::as_str),
        )
        .fetch_one(&scope.analytics)
    })
    .await
}

impl Row {
    pub fn key(&self) -> Key {
        (self.started_at, SessionId(self.id))
    }

    fn into_headline(self) -> Result<Headline> {
        Ok(Headline {
            id: SessionId(self.id),
            agent_key: self.agent_key,
            status: Status::parse(&self.status)
                .ok_or_else(|| unreadable("sessions.status", &self.status))?,
            channel: self.channel,
            campaign: self.campaign,
            workflow: Workflow {
                id: self.workflow_id,
                slug: self.workflow_slug,
                name: self.workflow_name,
            },
            started_at: self.started_at,
            answered_at: self.answered_at,
            ended_at: self.ended_at,
            duration_ms: self.duration_ms,
            cost_micro_usd: self.cost_micro_usd,
            turns: self.turn_count,
            tags: self.tags,
            reviewed: self.evaluation_count > 0,
            fact_bytes: self.fact_bytes,
            has_issues: self.has_issues,
        })
    }
}
