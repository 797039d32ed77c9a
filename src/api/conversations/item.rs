//! What the list and the detail have in common: a conversation's metadata.

use std::collections::HashSet;

use serde::Serialize;

use crate::api::format;
use crate::domain::ids::SessionId;
use crate::domain::record::{Headline, Record};
use crate::domain::session::Workflow;

#[derive(Serialize)]
pub struct Item {
    id: String,
    status: &'static str,
    /// Inbound, outbound or web.
    r#type: Option<String>,
    direction: Option<&'static str>,
    agent_key: Option<String>,
    campaign: Option<String>,
    workflow: Option<WorkflowBody>,
    started_at: String,
    answered_at: Option<String>,
    ended_at: Option<String>,
    duration_seconds: Option<f64>,
    cost_usd: Option<f64>,
    turns: i32,
    tags: Vec<String>,
    reviewed: bool,
    has_recording: bool,
    has_issues: bool,
}

#[derive(Serialize)]
struct WorkflowBody {
    id: Option<String>,
    slug: Option<String>,
    name: Option<String>,
}

impl Item {
    pub fn of(headline: Headline, recorded: &HashSet<SessionId>) -> Self {
        Self {
            id: headline.id.to_string(),
            status: headline.status.as_str(),
            direction: direction(headline.channel.as_deref()),
            r#type: headline.channel,
            agent_key: headline.agent_key,
            campaign: headline.campaign,
            workflow: WorkflowBody::of(headline.workflow),
            started_at: format::time(headline.started_at),
            answered_at: headline.answered_at.map(format::time),
            ended_at: headline.ended_at.map(format::time),
            duration_seconds: headline.duration_ms.map(|ms| ms as f64 / 1000.0),
            cost_usd: headline.cost_micro_usd.map(format::usd),
            turns: headline.turns,
            tags: headline.tags,
            reviewed: headline.reviewed,
            has_recording: recorded.contains(&headline.id),
            has_issues: headline.has_issues,
        }
    }
}

/// Who called whom, where somebody called: nobody dials on the web.
fn direction(channel: Option<&str>) -> Option<&'static str> {
    match channel? {
        "inbound" => Some("inbound"),
        "outbound" => Some("outbound"),
        _ => None,
    }
}

impl WorkflowBody {
    fn of(workflow: Workflow) -> Option<Self> {
        (workflow != Workflow::default()).then_some(Self {
            id: workflow.id,
            slug: workflow.slug,
            name: workflow.name,
        })
    }
}

/// A whole session's line in the list.
pub fn headline(record: &Record) -> Headline {
    let session = &record.session;
    Headline {
        id: record.id,
        agent_key: session.agent_key.clone(),
        status: session.status,
        channel: session.channel.clone(),
        campaign: session.campaign.clone(),
        workflow: session.workflow.clone(),
        started_at: session.started_at,
        answered_at: session.answered_at,
        ended_at: session.ended_at,
        duration_ms: session.duration_ms(),
        cost_micro_usd: session.cost_micro_usd,
        turns: record.counters.turns,
        tags: session.tags.clone(),
        reviewed: record.counters.evaluations > 0,
        has_issues: record.has_issues,
        fact_bytes: record.counters.fact_bytes,
    }
}
