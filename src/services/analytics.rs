//! What dashboards poll: sums over a range of calls, and what is going on right now.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::analytics::{Dimension, Dimensions, Sums, Window};
use crate::domain::digest::{Entry, Stage};
use crate::domain::page::{Limit, Slice};
use crate::domain::record::{CallError, ErrorFilter};
use crate::domain::session::Workflow;
use crate::domain::tally::{Interval, Tally};
use crate::domain::{Error, Fault, Result};
use crate::store::ContentScope;
use crate::store::Scope;
use crate::store::analytics;

/// The longest range of which calls are read one by one.
const FOLDED_DAYS_MAX: i64 = 31;

/// Refuses a long range that could be told only call by call: somewhere in it there are too many combinations of
/// what calls are told apart by. Shorter ranges are read call by call where that is needed.
pub(in crate::services) async fn check_apart(
    scope: &Scope,
    window: Window,
    asked: impl Iterator<Item = (Dimension, &'static str)>,
) -> Result<()> {
    if window.to - window.from <= TimeDelta::days(FOLDED_DAYS_MAX) {
        return Ok(());
    }
    let mut faults = Vec::new();
    for (dimension, name) in asked {
        if analytics::is_folded(scope, window, dimension.bit()).await? {
            let message = format!(
                "has too many values in this range to be summed up in advance: ask for at most {FOLDED_DAYS_MAX} days at a time"
            );
            faults.push(Fault::query(name, message));
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Error::Invalid(faults)),
    }
}

/// A range in sum, and the calls active now, whatever the range.
pub struct Summary {
    pub sums: Sums,
    pub active_calls: i64,
}

pub async fn summary(scope: &Scope, window: Window, dimensions: &Dimensions) -> Result<Summary> {
    Box::pin(check_apart(scope, window, dimensions.asked())).await?;
    Ok(Summary {
        sums: analytics::sums(scope, window, dimensions).await?,
        active_calls: analytics::active(scope, dimensions).await?,
    })
}

pub async fn active_calls(scope: &Scope, dimensions: &Dimensions) -> Result<i64> {
    analytics::active(scope, dimensions).await
}

/// Every bucket with a part in the range, ascending, with what started in that part.
pub async fn call_volume(
    scope: &Scope,
    window: Window,
    interval: Interval,
    dimensions: &Dimensions,
) -> Result<Vec<(DateTime<Utc>, Tally)>> {
    Box::pin(check_apart(scope, window, dimensions.asked())).await?;
    let counted: BTreeMap<_, _> = analytics::volume(scope, window, interval, dimensions).await?;
    let of = |bucket| counted.get(&bucket).copied().unwrap_or_default();
    let buckets = interval.buckets(window);
    Ok(buckets.map(|bucket| (bucket, of(bucket))).collect())
}

/// The workflows with the most calls.
pub async fn workflow_stats(
    scope: &Scope,
    window: Window,
    dimensions: &Dimensions,
    limit: usize,
) -> Result<Vec<(Workflow, Tally)>> {
    // It tells workflows apart, whether one is asked for or not.
    let apart = dimensions.workflow.is_none();
    let apart = apart.then_some((Dimension::Workflow, "started_after"));
    Box::pin(check_apart(scope, window, dimensions.asked().chain(apart))).await?;
    let workflows = analytics::workflows(scope, window, dimensions).await?;
    Ok(workflows.top(limit))
}

/// Measurements by stage and provider, in the order of speech; what names no provider comes last.
pub async fn provider_latency(
    scope: &Scope,
    window: Window,
    dimensions: &Dimensions,
) -> Result<Vec<Entry>> {
    Box::pin(check_apart(scope, window, dimensions.asked())).await?;
    let sums = analytics::sums(scope, window, dimensions).await?;
    let of_stage = |stage| {
        let entries = sums.digest.entries().iter();
        let (unnamed, named): (Vec<&Entry>, Vec<&Entry>) = entries
            .filter(|entry| entry.stage == stage)
            .partition(|entry| entry.provider.is_empty());
        named
            .into_iter()
            .chain(unnamed)
            .cloned()
            .collect::<Vec<_>>()
    };
    let stages = [Stage::Stt, Stage::Llm, Stage::Tts];
    Ok(stages.into_iter().flat_map(of_stage).collect())
}

/// One page of errors, and how many there are in all.
pub async fn errors(
    scope: &Scope,
    content: Option<&ContentScope>,
    window: Window,
    dimensions: &Dimensions,
    filter: &ErrorFilter,
    page: (i64, Limit),
) -> Result<(Slice<CallError>, i64)> {
    analytics::errors(scope, content, window, dimensions, filter, page).await
}
