//! What went wrong in many calls, and what would have been otherwise.

use crate::domain::Result;
use crate::domain::analysis::Stage;
use crate::domain::analysis::usual;
use crate::domain::analytics::{Dimension, Dimensions, Window};
use crate::domain::many::{Causes, Instead, InsteadMs, Now, WhatIf};
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

/// What is known of a question what would have been.
pub struct WouldBe {
    pub answers: Answers,
    pub instead: InsteadMs,
    pub now: Option<Now>,
    pub what_if: Option<WhatIf>,
}

/// The measured answers of the newest calls of a range, and what those by the most used clock would have been.
pub async fn what_if(
    scope: &Scope,
    window: Window,
    dimensions: &Dimensions,
    stage: Stage,
    instead: &Instead,
) -> Result<WouldBe> {
    let agent_key = dimensions.agent_key.as_deref();
    let instead = instead_ms(scope, window, agent_key, stage, instead).await?;
    let answers = analysis::answers(scope, window, dimensions, stage).await?;
    let clock = answers.times.most_used();
    let times = clock.map(|clock| answers.times.of(clock));
    let what_if = times.zip(instead.ms);
    Ok(WouldBe {
        now: times.and_then(Now::of),
        what_if: what_if.and_then(|(times, ms)| WhatIf::of(times, ms as f64)),
        answers,
        instead,
    })
}

/// What is asked for by ms, else the median of the days before the range's end: of the agent's own calls, or
/// of all calls with a provider.
async fn instead_ms(
    scope: &Scope,
    window: Window,
    agent_key: Option<&str>,
    stage: Stage,
    instead: &Instead,
) -> Result<InsteadMs> {
    let agent_key = match instead {
        Instead::Ms(ms) => return Ok(InsteadMs::given(*ms)),
        Instead::Usual => agent_key,
        Instead::Provider(..) => None,
    };
    let days = usual::days_before(window.to).unwrap_or(window);
    let stages = analysis::stages(scope, days, agent_key).await?;
    let measured = stage.measured_as().map(|stage| match instead {
        Instead::Provider(provider, model) => {
            let is_asked = |named: &str| model.as_deref().is_none_or(|model| named == model);
            stages.of_provider(stage, provider, is_asked)
        }
        _ => stages.of_stage(stage),
    });
    Ok(measured.map_or(InsteadMs::unmeasured(), |measured| {
        InsteadMs::measured(&measured)
    }))
}
