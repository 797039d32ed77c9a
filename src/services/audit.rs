//! Questions to the audit log.

use crate::domain::Result;
use crate::domain::audit::{Entry, Filter, Key, Verdict};
use crate::domain::page::{Limit, Slice, Start};
use crate::store::Scope;
use crate::store::audit;

/// One page, newest first.
pub async fn page(
    scope: &Scope,
    filter: &Filter,
    start: &Start<Key>,
    limit: Limit,
) -> Result<Slice<Entry>> {
    audit::list(scope, filter, start, limit).await
}

/// Whether the whole chain holds.
pub async fn verify(scope: &Scope) -> Result<Verdict> {
    audit::verify(scope).await
}
