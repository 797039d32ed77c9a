//! What dashboards poll: sums over a range of calls, and what is going on right now.

use crate::domain::Result;
use crate::domain::analytics::{Dimensions, Sums, Window};
use crate::store::Scope;
use crate::store::analytics;

/// A range in sum, and the calls active now, whatever the range.
pub struct Summary {
    pub sums: Sums,
    pub active_calls: i64,
}

pub async fn summary(scope: &Scope, window: Window, dimensions: &Dimensions) -> Result<Summary> {
    Ok(Summary {
        sums: analytics::sums(scope, window, dimensions).await?,
        active_calls: analytics::active(scope, dimensions).await?,
    })
}

pub async fn active_calls(scope: &Scope, dimensions: &Dimensions) -> Result<i64> {
    analytics::active(scope, dimensions).await
}
