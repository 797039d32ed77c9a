//! Questions about sessions: a page of them, with or without a total, and one by any of its ids.

use crate::domain::Error;
use crate::domain::Fault;
use crate::domain::Result;
use crate::domain::analytics::{Dimensions, Window};
use crate::domain::history;
use crate::domain::history::Step;
use crate::domain::ids;
use crate::domain::ids::SessionId;
use crate::domain::page::{Limit, Slice, Start};
use crate::domain::record::{EARLIEST, Filter, Headline, Key, LATEST, Record};
use crate::domain::session::Status;
use crate::domain::tally::Tally;
use crate::store::ContentScope;
use crate::store::Scope;
use crate::store::analytics;
use crate::store::sessions;

/// One page of headlines.
pub async fn page(
    scope: &Scope,
    content: Option<&ContentScope>,
    filter: &Filter,
    start: &Start<Key>,
    limit: Limit,
) -> Result<Slice<Headline>> {
    check_words(scope, filter).await?;
    sessions::list(scope, content, filter, start, limit).await
}

/// One page of headlines, and how many there are in all.
pub async fn page_and_total(
    scope: &Scope,
    content: Option<&ContentScope>,
    filter: &Filter,
    start: &Start<Key>,
    limit: Limit,
) -> Result<(Slice<Headline>, i64)> {
    check_words(scope, filter).await?;
    // First, because it may be refused.
    let total = total(scope, content, filter).await?;
    let page = sessions::list(scope, content, filter, start, limit).await?;
    Ok((page, total))
}

/// How many sessions a filter matches. Where the rollups know it, it costs the same whatever the history;
/// else they are counted.
async fn total(scope: &Scope, content: Option<&ContentScope>, filter: &Filter) -> Result<i64> {
    let is_open = matches!(
        filter.status,
        Some(Status::Queued | Status::Ringing | Status::Active)
    );
    match rolled_up(scope, filter).await?.filter(|_| !is_open) {
        Some((window, dimensions)) => {
            let tally = analytics::total(scope, window, &dimensions).await?;
            Ok(in_state(&tally, filter.status).unwrap_or(tally.calls))
        }
        // Open calls are few, whatever the history.
        None => counted(scope, content, filter).await,
    }
}

/// How the sessions stand that a filter matches whatever their state, where the rollups know it: where telling
/// costs the same whatever the history.
pub async fn tally(scope: &Scope, filter: &Filter) -> Result<Option<Tally>> {
    match rolled_up(scope, filter).await? {
        Some((window, dimensions)) => {
            let tally = analytics::total(scope, window, &dimensions).await?;
            Ok(Some(tally))
        }
        None => Ok(None),
    }
}

/// How many of them are in a state, where a tally tells these apart.
pub fn in_state(tally: &Tally, status: Option<Status>) -> Option<i64> {
    match status {
        None => Some(tally.calls),
        Some(Status::Completed) => Some(tally.completed),
        Some(Status::Failed) => Some(tally.failed),
        Some(Status::Declined) => Some(tally.declined),
        Some(Status::Missed) => Some(tally.missed),
        Some(Status::Queued | Status::Ringing | Status::Active) => None,
    }
}

/// What the rollups are asked by, where a filter asks for nothing else, states aside, and they tell it apart.
async fn rolled_up(scope: &Scope, filter: &Filter) -> Result<Option<(Window, Dimensions)>> {
    let is_rolled_up = Filter {
        agent_key: None,
        status: None,
        started_after: None,
        started_before: None,
        channel: None,
        campaign: None,
        workflow: None,
        ..filter.clone()
    } == Filter::default();
    let window = Window {
        from: filter.started_after.unwrap_or(EARLIEST),
        to: filter.started_before.unwrap_or(LATEST),
    };
    let dimensions = Dimensions {
        agent_key: filter.agent_key.clone(),
        workflow: filter.workflow.clone(),
        channel: filter.channel.clone(),
        campaign: filter.campaign.clone(),
    };
    let knows = is_rolled_up && !analytics::is_folded(scope, window, dimensions.bits()).await?;
    Ok(knows.then_some((window, dimensions)))
}

/// Counted one by one, which is refused where it would take long.
async fn counted(scope: &Scope, content: Option<&ContentScope>, filter: &Filter) -> Result<i64> {
    let counted = sessions::count(scope, content, filter).await?;
    counted.ok_or_else(|| {
        let message = format!(
            "is in more than {} turns: add other filters, or look by `GET /api/v1/conversations`, which does not count",
            sessions::FOUND_MAX
        );
        Error::Invalid(vec![Fault::query("q", message)])
    })
}

/// The session that a path names, in any of the spellings of its id.
pub async fn by_reference(
    scope: &Scope,
    content: Option<&ContentScope>,
    reference: &str,
) -> Result<Record> {
    // Most are asked for by their id.
    if ids::is_session_id(reference) {
        let id = SessionId::from_reference(scope.tenant(), reference);
        let found = sessions::records(scope, content, &[id]).await?.pop();
        if let Some(record) = found {
            return Ok(record);
        }
    }
    let id = resolve(scope, content, reference).await?;
    sessions::records(scope, content, &[id])
        .await?
        .pop()
        .ok_or(Error::NotFound("session"))
}

/// The same, and the states that it went through.
pub async fn with_history(
    scope: &Scope,
    content: Option<&ContentScope>,
    reference: &str,
) -> Result<(Record, Vec<Step>)> {
    let record = by_reference(scope, content, reference).await?;
    let said = sessions::said(scope, record.id).await?;
    let steps = history::steps(&record.session, &said);
    Ok((record, steps))
}

/// Which session is meant: the only place that reads a reference. The carrier's id of a call means the
/// newest session of that call; any other text is a name that some source has for it. What nobody is called
/// is a spelling of the session's own id. Whether there is such a session shows when it is read.
pub async fn resolve(
    scope: &Scope,
    content: Option<&ContentScope>,
    reference: &str,
) -> Result<SessionId> {
    if ids::is_call_sid(reference)
        && let Some(id) = sessions::newest_of_call(scope, reference).await?
    {
        return Ok(id);
    }
    let named = sessions::named(scope, content, reference).await?;
    Ok(named.unwrap_or_else(|| SessionId::from_reference(scope.tenant(), reference)))
}

/// Refuses a search that names no word which must be there.
pub async fn check_words(scope: &Scope, filter: &Filter) -> Result<()> {
    match &filter.words {
        Some(question) if !sessions::is_searchable(scope, question).await? => {
            let message = "must have a word that is to be found";
            Err(Error::Invalid(vec![Fault::query("q", message)]))
        }
        _ => Ok(()),
    }
}
