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

/// The measured answers of the newest calls of a range, and what those by the most used clock would have been.
pub async fn what_if(
    scope: &Scope,
    window: Window,
    dimensions: &Dimensions,
    stage: Stage,
    instead_ms: f64,
) -> Result<(Answers, Option<WhatIf>)> {
    let answers = analysis::answers(scope, window, dimensions, stage).await?;
    let clock = answers.times.most_used();
    let what_if = clock.and_then(|clock| WhatIf::of(answers.times.of(clock), instead_ms));
    Ok((answers, what_if))
}
