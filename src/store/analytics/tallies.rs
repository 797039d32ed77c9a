//! Calls counted by time and by workflow: sums without measurements, so that they are quick to read.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;

use super::range::over_range;
use crate::domain::Result;
use crate::domain::analytics::{Dimension, Dimensions, Window};
use crate::domain::session::Workflow;
use crate::domain::tally::{Interval, Tally, Workflows};
use crate::store::failure::failure;
use crate::store::failure::{read, read_whole};
use crate::store::scope::Scope;

/// Counts by the beginnings of buckets, without durations; buckets without a call are not among them.
pub async fn volume(
    scope: &Scope,
    window: Window,
    interval: Interval,
    dimensions: &Dimensions,
) -> Result<BTreeMap<DateTime<Utc>, Tally>> {
    let cover = match interval {
        Interval::Hour => window.cover_by_hour(),
        Interval::Day | Interval::Week => window.cover(),
    };
    let rows = read(&scope.analytics, || {
        over_range!(
            BucketRow,
            scope,
            (window, cover),
            (dimensions.is_all(), dimensions, dimensions.bits()),
            r#"date_trunc($14, at, 'UTC') as "bucket!", sum(calls)::bigint as "calls!",
                      sum(completed)::bigint as "completed!", sum(failed)::bigint as "failed!",
                      sum(declined)::bigint as "declined!", sum(missed)::bigint as "missed!""#,
            "group by 1",
            interval.as_str()
        )
        .fetch_all(&scope.analytics)
    })
    .await?;
    Ok(rows.into_iter().map(BucketRow::into_tally).collect())
}

/// All calls of a range, without durations.
pub async fn total(scope: &Scope, window: Window, dimensions: &Dimensions) -> Result<Tally> {
    let row = read(&scope.analytics, || {
        over_range!(
            TotalRow,
            scope,
            (window, window.cover()),
            (dimensions.is_all(), dimensions, dimensions.bits()),
            r#"coalesce(sum(calls), 0)::bigint as "calls!", coalesce(sum(completed), 0)::bigint as "completed!",
                      coalesce(sum(failed), 0)::bigint as "failed!", coalesce(sum(declined), 0)::bigint as "declined!",
                      coalesce(sum(missed), 0)::bigint as "missed!""#,
            ""
        )
        .fetch_one(&scope.analytics)
    })
    .await?;
    Ok(Tally {
        calls: row.calls,
        completed: row.completed,
        failed: row.failed,
        declined: row.declined,
        missed: row.missed,
        ..Tally::default()
    })
}

struct TotalRow {
    calls: i64,
    completed: i64,
    failed: i64,
    declined: i64,
    missed: i64,
}

/// Counts by workflow, of calls that have one.
pub async fn workflows(
    scope: &Scope,
    window: Window,
    dimensions: &Dimensions,
) -> Result<Workflows> {
    read_whole(&scope.analytics, || tally(scope, window, dimensions)).await
}

async fn tally(scope: &Scope, window: Window, dimensions: &Dimensions) -> Result<Workflows> {
    let mut connection = scope.analytics.acquire().await.map_err(failure)?;
    let mut rows = over_range!(
        WorkflowRow,
        scope,
        (window, window.cover()),
        (
            false,
            dimensions,
            dimensions.bits() | Dimension::Workflow.bit()
        ),
        r#"workflow_id, workflow_slug, workflow_name, max(last_started_at) as "last_started_at!",
                  sum(calls)::bigint as "calls!", sum(completed)::bigint as "completed!",
                  sum(failed)::bigint as "failed!", sum(declined)::bigint as "declined!",
                  sum(missed)::bigint as "missed!", sum(ended)::bigint as "ended!",
                  least(sum(duration_ms), 9223372036854775807)::bigint as "duration_ms!""#,
        "where coalesce(workflow_id, workflow_slug, workflow_name) is not null group by 1, 2, 3"
    )
    .fetch(&mut *connection);
    let mut workflows = Workflows::default();
    while let Some(row) = rows.try_next().await.map_err(failure)? {
        let workflow = Workflow {
            id: row.workflow_id,
            slug: row.workflow_slug,
            name: row.workflow_name,
        };
        let tally = Tally {
            calls: row.calls,
            completed: row.completed,
            failed: row.failed,
            declined: row.declined,
            missed: row.missed,
            ended: row.ended,
            duration_ms: row.duration_ms,
        };
        workflows.add(workflow, row.last_started_at, tally);
    }
    drop(rows);
    connection.done();
    Ok(workflows)
}

struct BucketRow {
    bucket: DateTime<Utc>,
    calls: i64,
    completed: i64,
    failed: i64,
    declined: i64,
    missed: i64,
}

impl BucketRow {
    fn into_tally(self) -> (DateTime<Utc>, Tally) {
        let tally = Tally {
            calls: self.calls,
            completed: self.completed,
            failed: self.failed,
            declined: self.declined,
            missed: self.missed,
            ..Tally::default()
        };
        (self.bucket, tally)
    }
}

struct WorkflowRow {
    workflow_id: Option<String>,
    workflow_slug: Option<String>,
    workflow_name: Option<String>,
    last_started_at: DateTime<Utc>,
    calls: i64,
    completed: i64,
    failed: i64,
    declined: i64,
    missed: i64,
    ended: i64,
    duration_ms: i64,
}
