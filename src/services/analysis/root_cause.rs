//! One call, analysed from its record as it is now.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::domain::Error;
use crate::domain::Result;
use crate::domain::alternatives::Alternative;
use crate::domain::analysis::usual::{self, Usual, UsualKey, UsualValue};
use crate::domain::analysis::{self, Analysis, Input, Issue, IssueType};
use crate::domain::analytics::{Dimensions, Window, hour_of};
use crate::domain::digest::{self, Digest};
use crate::domain::ids::SessionId;
use crate::domain::record::Record;
use crate::domain::settings::Effective;
use crate::services::sessions::resolve;
use crate::store::ContentScope;
use crate::store::Scope;
use crate::store::analysis as analysis_store;
use crate::store::analytics;
use crate::store::sessions::{self, Heard};
use crate::store::targets;

pub struct RootCause {
    pub session: SessionId,
    /// When what was said was deleted: what is found is found in what was measured alone.
    pub content_deleted_at: Option<DateTime<Utc>>,
    pub targets_version: i64,
    pub analysis: Analysis,
    /// The analysis' issues, with what is usual beside what was measured.
    pub issues: Vec<Issue>,
}

/// The analysis of the session that a path names. It looks at what was said whoever asks, so that everybody
/// is told the same issues; the face withholds what they quote.
pub async fn root_cause(
    scope: &Scope,
    content: Option<&ContentScope>,
    reference: &str,
) -> Result<RootCause> {
    let id = resolve(scope, content, reference).await?;
    root_cause_of(scope, id).await
}

/// The same of a session that is known.
pub async fn root_cause_of(scope: &Scope, id: SessionId) -> Result<RootCause> {
    let content = ContentScope::for_analysis();
    let record = sessions::records(scope, Some(&content), &[id]).await?.pop();
    let record = record.ok_or(Error::NotFound("session"))?;
    let heard = sessions::heard(scope, &[id]).await?.remove(&id);
    let agent = record.session.agent_key.clone();
    let settings = targets::of_agents(scope, agent.as_slice()).await?;
    let effective = Effective::of(settings.iter(), agent.as_deref());
    let analysis = analyse(&record, &heard.unwrap_or_default(), &effective);
    let usual = usual_of(scope, &record, &analysis).await?;
    let mut issues = usual::issues_with(&analysis, &usual);
    recommend(scope, &record, &mut issues).await?;
    Ok(RootCause {
        session: record.id,
        content_deleted_at: record.closed_at,
        targets_version: effective.version,
        issues,
        analysis,
    })
}

/// Names another provider where the tenant's own calls show that it is quicker.
async fn recommend(scope: &Scope, record: &Record, issues: &mut [Issue]) -> Result<()> {
    let is_slow = |issue: &Issue| issue.kind == IssueType::HighLatency && stage_of(issue).is_some();
    if !issues.iter().any(is_slow) {
        return Ok(());
    }
    let Some(window) = days_before(record) else {
        return Ok(());
    };
    let sums = analytics::sums(scope, window, &Dimensions::default()).await?;
    let tried = tried(record, issues);
    for issue in issues.iter_mut().filter(|issue| is_slow(issue)) {
        let Some((stage, own)) = stage_of(issue).zip(issue.provider.clone()) else {
            continue;
        };
        let is_new = |provider: &str| !tried.contains(&(stage, provider.to_owned()));
        if let Some(better) = Alternative::to(&sums.digest, stage, &own, is_new) {
            issue.recommendation = format!("{} {}", issue.recommendation, better.told(&own));
        }
    }
    Ok(())
}

/// Whom the call uses anyway, or had trouble with: to name them is no advice.
fn tried(record: &Record, issues: &[Issue]) -> BTreeSet<(digest::Stage, String)> {
    let services = [digest::Stage::Stt, digest::Stage::Llm, digest::Stage::Tts].into_iter();
    let own =
        services.filter_map(|stage| Some((stage, record.session.providers.of(stage)?.clone())));
    let troubled = issues
        .iter()
        .filter(|issue| issue.kind == IssueType::ProviderError)
        .filter_map(|issue| stage_of(issue).zip(issue.provider.clone()));
    own.chain(troubled).collect()
}

/// The stage that an issue blames, if somebody provides it.
fn stage_of(issue: &Issue) -> Option<digest::Stage> {
    issue
        .stage?
        .measured_as()
        .filter(|stage| *stage != digest::Stage::Endpointing)
}

/// The days before the call's hour.
fn days_before(record: &Record) -> Option<Window> {
    usual::days_before(hour_of(record.session.started_at))
}

pub fn analyse(record: &Record, heard: &Heard, effective: &Effective) -> Analysis {
    let input = Input {
        session: &record.session,
        turns: &record.turns,
        tool_calls: &record.tool_calls,
        interruptions: &record.interruptions,
        errors: &record.errors,
        speech: &heard.speech,
        network: &heard.network,
    };
    analysis::analyse(&input, &effective.targets)
}

/// The medians of the agent's own calls of the days before, by provider and model.
async fn usual_of(scope: &Scope, record: &Record, analysis: &Analysis) -> Result<Usual> {
    let wanted = usual::wanted(analysis);
    let (Some(agent_key), false) = (&record.session.agent_key, analysis.issues.is_empty()) else {
        return Ok(Usual::default());
    };
    let Some(window) = days_before(record) else {
        return Ok(Usual::default());
    };
    let stages = analysis_store::stages(scope, window, Some(agent_key)).await?;
    let mut usual = Usual::default();
    for key in wanted {
        if let Some(value) = median(&stages, record, &key) {
            usual.add(key, value);
        }
    }
    Ok(usual)
}

fn median(digest: &Digest, record: &Record, key: &UsualKey) -> Option<UsualValue> {
    let stage = key.stage.measured_as()?;
    // What names no provider is counted under the call's own.
    let provider = match key.provider.as_str() {
        "" => record.session.providers.of(stage).map(String::as_str),
        named => Some(named),
    };
    let provider = provider.unwrap_or_default();
    // Where no model is named, the provider's are taken together; what names none is counted under the
    // call's own.
    let own = record.session.model_of(stage);
    let is_asked = |model: &str| {
        let is_own = model.is_empty() && own == Some(key.model.as_str());
        key.model.is_empty() || model == key.model || is_own
    };
    UsualValue::of(&digest.of_provider(stage, provider, is_asked))
}
