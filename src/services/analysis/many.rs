//! What went wrong in many calls, and what would have been otherwise.

use crate::domain::Result;
use crate::domain::analysis::Stage;
use crate::domain::analytics::{Dimension, Dimensions, Window};
use crate::domain::many::{Causes, WhatIf};
use crate::services::analytics::check_apart;
use crate::store::Scope;
use crate::store::analysis;
use crate::store::analysis::Answers;

pub async fn causes(scope: &Scope, window: Window, dimensions: &Dimensions) -> Result<Causes> {
    // They tell agents apart, whether one is asked for or not; that takes no more where nothing else is asked for.
    let asks_for_others = dimensions
        .asked()
        .any(|(asked, _)| asked != Dimension::Agent);
    let apart = asks_for_others && dimensions.agent_key.is_none();
    let apart = apart.then_some((Dimension::Agent, "started_after"));
    let asked = dimensions.asked().filter(|_| asks_for_others);
    Box::pin(check_apart(scope, window, asked.chain(apart))).await?;
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
