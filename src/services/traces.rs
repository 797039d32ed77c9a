//! Questions about traces. A session that nobody traced has one for each answer to a user.

use std::collections::BTreeMap;

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::answer::Answer;
use crate::domain::ids::SessionId;
use crate::domain::page::Limit;
use crate::domain::price;
use crate::domain::price::Prices;
use crate::domain::span::Span;
use crate::domain::trace;
use crate::domain::trace::{Detail, Trace};
use crate::services::sessions;
use crate::store::ContentScope;
use crate::store::Scope;
use crate::store::prices;
use crate::store::sessions::content_deleted_at;
use crate::store::traces;
use crate::store::traces::Unpriced;

/// Observations that one answer shows.
pub const OBSERVATIONS_MAX: i64 = 5_000;

/// A page of a session's traces, newest first, and how many there are in all.
pub async fn page(
    scope: &Scope,
    content: Option<&ContentScope>,
    session: &str,
    skip: i64,
    limit: Limit,
) -> Result<(Vec<Trace>, i64)> {
    let session = sessions::resolve(scope, content, session).await?;
    let limit = i64::from(limit.get());
    let count = traces::count(scope, session)
        .await?
        .ok_or(Error::NotFound("session"))?;
    if count > 0 {
        let mut listed = traces::list(scope, session, skip, limit).await?;
        if listed.iter().any(|trace| trace.unpriced > 0) {
            let own = prices::get(scope).await?.prices;
            estimate(scope, session, &mut listed, &own).await?;
        }
        return Ok((listed, count));
    }
    let answers = traces::answers(scope, None, session, skip, limit).await?;
    let derived = answers.into_iter().map(|answer| answer.into_trace().0);
    let count = traces::count_answers(scope, session).await?;
    Ok((derived.collect(), count))
}

/// A session's trace with so many observations.
pub async fn by_id(
    scope: &Scope,
    content: Option<&ContentScope>,
    session: &str,
    id: &str,
    limit: i64,
) -> Result<Detail> {
    let session = sessions::resolve(scope, content, session).await?;
    match traces::find(scope, session, id).await? {
        Some(trace) => detail(scope, content, trace, limit).await,
        None => derived(scope, content, id, |own| own == session).await,
    }
}

/// The trace of this id, the newest where several sessions have one, with so many observations.
pub async fn anywhere(
    scope: &Scope,
    content: Option<&ContentScope>,
    id: &str,
    limit: i64,
) -> Result<Detail> {
    match traces::find_anywhere(scope, id).await? {
        Some(trace) => detail(scope, content, trace, limit).await,
        None => derived(scope, content, id, |_| true).await,
    }
}

/// Generations whose cost is computed for one answer; of those beyond it is not known.
const ESTIMATED_MAX: i64 = 5_000;

/// Adds to traces what generations cost that do not say it.
async fn estimate(
    scope: &Scope,
    session: SessionId,
    listed: &mut [Trace],
    own: &Prices,
) -> Result<()> {
    let asked = listed.iter().filter(|trace| trace.unpriced > 0);
    let asked: Vec<String> = asked.map(|trace| trace.id.clone()).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let unpriced = traces::unpriced(scope, session, &asked, ESTIMATED_MAX).await?;
    for trace in listed.iter_mut().filter(|trace| trace.unpriced > 0) {
        let of_trace = unpriced
            .iter()
            .filter(|unpriced| unpriced.trace == trace.id);
        let of_trace: Vec<&Unpriced> = of_trace.collect();
        let counted = used(&of_trace);
        let costs = of_trace
            .iter()
            .map(|unpriced| match is_told_above(unpriced, &counted) {
                true => Some(0),
                false => price::of_observation(&unpriced.usage, &unpriced.model, own),
            });
        let costs: Vec<Option<i64>> = costs.collect();
        trace.estimate(costs.into_iter());
    }
    Ok(())
}

/// What a generation has read and written.
type Counted = [Option<u64>; 2];

fn counted(generation: &Unpriced) -> Counted {
    ["input", "output"].map(|name| generation.usage.get(name)?.as_u64())
}

/// What each of a trace's generations has used, by its span.
fn used<'a>(generations: &[&'a Unpriced]) -> BTreeMap<&'a str, Counted> {
    let each = generations.iter();
    each.map(|generation| (generation.span.as_str(), counted(generation)))
        .collect()
}

/// Whether a generation is the one that it stands in, told by a second tracer: a framework and the client below it tell
/// of one call, and count the same.
fn is_told_above(generation: &Unpriced, used: &BTreeMap<&str, Counted>) -> bool {
    let above = generation.parent.as_deref().and_then(|id| used.get(id));
    let own = counted(generation);
    own.iter().any(Option::is_some) && above == Some(&own)
}

async fn detail(
    scope: &Scope,
    content: Option<&ContentScope>,
    trace: Trace,
    limit: i64,
) -> Result<Detail> {
    let mut spans = traces::observations(scope, content, &trace, limit).await?;
    let mut trace = [trace];
    if trace[0].unpriced > 0 {
        let own = prices::get(scope).await?.prices;
        spans.iter_mut().for_each(|span| span.estimate(&own));
        estimate(scope, trace[0].session, &mut trace, &own).await?;
    }
    let [trace] = trace;
    let scores = traces::scores(scope, content, &trace).await?;
    let told = told(scope, trace, spans, content).await?;
    Ok(Detail { scores, ..told })
}

/// The id of such a trace says which answer it stands for.
async fn derived(
    scope: &Scope,
    content: Option<&ContentScope>,
    id: &str,
    belongs: impl Fn(SessionId) -> bool,
) -> Result<Detail> {
    let (session, turn) = trace::derived_from(id)
        .filter(|(session, _)| belongs(*session))
        .ok_or(Error::NotFound("trace"))?;
    let (trace, spans) = traces::answer(scope, content, session, turn)
        .await?
        .map(Answer::into_trace)
        .ok_or(Error::NotFound("trace"))?;
    told(scope, trace, spans, content).await
}

async fn told(
    scope: &Scope,
    trace: Trace,
    spans: Vec<Span>,
    content: Option<&ContentScope>,
) -> Result<Detail> {
    Ok(Detail {
        truncated: (spans.len() as i64) < trace.observations,
        observations: trace::tree(spans),
        scores: Vec::new(),
        content_withheld: content.is_none(),
        content_deleted_at: content_deleted_at(scope, trace.session).await?,
        trace,
    })
}
