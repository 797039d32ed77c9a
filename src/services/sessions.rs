//! Questions about sessions: a page of them, with or without a total, and one by any of its ids.

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::ids::SessionId;
use crate::domain::page::{Limit, Slice, Start};
use crate::domain::record::{Filter, Headline, Key, Record};
use crate::store::ContentScope;
use crate::store::Scope;
use crate::store::sessions;

/// One page of headlines.
pub async fn page(
    scope: &Scope,
    filter: &Filter,
    start: &Start<Key>,
    limit: Limit,
) -> Result<Slice<Headline>> {
    sessions::list(scope, filter, start, limit).await
}

/// One page of whole sessions, and how many there are in all.
pub async fn page_of_records(
    scope: &Scope,
    content: Option<&ContentScope>,
    filter: &Filter,
    start: &Start<Key>,
    limit: Limit,
) -> Result<(Slice<Record>, i64)> {
    let headlines = sessions::list(scope, filter, start, limit).await?;
    let ids: Vec<SessionId> = headlines.items.iter().map(|headline| headline.id).collect();
    let items = sessions::records(scope, content, &ids).await?;
    let total = sessions::count(scope, filter).await?;
    Ok((
        Slice {
            items,
            more: headlines.more,
        },
        total,
    ))
}

/// The session that a path names, in any of the spellings of its id.
pub async fn by_reference(
    scope: &Scope,
    content: Option<&ContentScope>,
    reference: &str,
) -> Result<Record> {
    let id = SessionId::from_reference(scope.tenant(), reference);
    sessions::records(scope, content, &[id])
        .await?
        .pop()
        .ok_or(Error::NotFound("session"))
}
