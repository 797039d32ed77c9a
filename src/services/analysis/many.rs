//! What went wrong in many calls, and what would have been otherwise.

use crate::domain::Result;
use crate::domain::analysed::{Causes, WhatIf};
use crate::domain::analysis::Stage;
use crate::domain::analytics::{Dimensions, Window};
use crate::store::Scope;
use crate::store::analysis;
use crate::store::analysis::Answers;

pub async fn causes(scope: &Scope, window: Window, dimensions: &Dimensions) -> Result<Causes> {
    analysis::causes(scope, window, dimensions).await
}

/// The measured answers of the newest calls of a range, and what they would have been.
pub async fn what_if(
    scope: &Scope,
    window: Window,
    dimensions: &Dimensions,
    stage: Stage,
    instead_ms: f64,
) -> Result<(Answers, Option<WhatIf>)> {
    let answers = analysis::answers(scope, window, dimensions).await?;
    let what_if = WhatIf::of(&answers.times, stage, instead_ms);
    Ok((answers, what_if))
}
