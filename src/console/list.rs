//! `GET /console`: the conversations, newest first, by what the address says.

use std::collections::HashSet;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::filter::{self, Choices, channel_label, status_label};
use super::format;
use super::page;
use super::page::Frame;
use crate::app::App;
use crate::app::Now;
use crate::auth::Viewer;
use crate::domain::ids::SessionId;
use crate::domain::page::{Limit, Start};
use crate::domain::record::{Filter, Headline};
use crate::domain::session::Status;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::recordings;
use crate::services::sessions;

const PATH: &str = "/console";
const ROWS: u32 = 50;

#[derive(Template)]
#[template(path = "console/list.html")]
struct Page {
    frame: Frame,
    choices: Choices,
    may_search: bool,
    chips: Vec<Chip>,
    rows: Vec<Row>,
    /// The first page, which new calls appear on.
    is_first: bool,
    next: Option<String>,
    /// Whether the tenant has any call at all, where none is shown.
    has_calls: bool,
}

/// A state to choose, and how many calls are in it where that is known for little.
struct Chip {
    label: &'static str,
    link: String,
    count: Option<String>,
    is_chosen: bool,
}

/// A line of the list.
pub struct Row {
    pub id: String,
    pub link: String,
    pub status: &'static str,
    pub status_label: &'static str,
    pub started_at: String,
    pub started_machine: String,
    pub channel: Option<&'static str>,
    pub agent: Option<String>,
    pub campaign: Option<String>,
    pub workflow: Option<String>,
    pub duration: Option<String>,
    pub turns: i32,
    pub cost: Option<String>,
    pub tags: Vec<String>,
    pub is_reviewed: bool,
    pub has_recording: bool,
    pub has_issues: bool,
}

pub async fn handle(
    State(_): State<App>,
    viewer: Viewer,
    Now(now): Now,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = page::params(query);
    let choices = Choices::read(&mut params);
    params.finish()?;
    if choices.words.is_some() {
        viewer.transcripts()?;
    }
    let (scope, filter) = (&viewer.scope, choices.filter(now));
    let limit = Limit::checked(ROWS);
    let content = viewer.content.as_ref();
    let slice = sessions::page(scope, content, &filter, &choices.start(), limit).await?;
    let tally = sessions::tally(scope, &filter).await?;
    let count = |status| {
        let count = tally.and_then(|tally| sessions::in_state(&tally, status));
        count.map(format::count)
    };
    let chips = std::iter::once(None).chain(Status::ALL.map(Some));
    let chips = chips.map(|status: Option<Status>| Chip {
        label: status.map_or("All", status_label),
        link: choices.link(PATH, &[("status", status.map_or("", Status::as_str))]),
        count: count(status),
        is_chosen: choices.status == status.map(Status::as_str),
    });
    let chips = chips.collect();
    let ids: Vec<SessionId> = slice.items.iter().map(|item| item.id).collect();
    let recorded = recordings::has_recordings(scope, &ids).await?;
    let last = slice.items.last().filter(|_| slice.more);
    let next = last.map(|last| choices.link(PATH, &[("before", &filter::after(last))]));
    let has_calls = !ids.is_empty() || !choices.is_all() || has_any(&viewer).await?;
    let rows = slice.items.into_iter();
    let page = Page {
        frame: Frame::of(&viewer, "conversations", "Conversations"),
        may_search: viewer.content.is_some(),
        chips,
        rows: rows.map(|item| Row::of(item, &recorded)).collect(),
        is_first: choices.before.is_none(),
        next,
        has_calls,
        choices,
    };
    Ok(page::ok(&page)?)
}

/// Whether there is any call: what to say where none is shown.
async fn has_any(viewer: &Viewer) -> Result<bool, Problem> {
    let (filter, limit) = (Filter::default(), Limit::checked(1));
    let start = Start::Beginning;
    let slice = sessions::page(&viewer.scope, None, &filter, &start, limit).await?;
    Ok(!slice.items.is_empty())
}

impl Row {
    pub fn of(headline: Headline, recorded: &HashSet<SessionId>) -> Self {
        let workflow = headline.workflow;
        Self {
            link: format!("/console/conversations/{}", headline.id),
            status: headline.status.as_str(),
            status_label: status_label(headline.status),
            started_at: format::when(headline.started_at),
            started_machine: format::machine(headline.started_at),
            channel: headline.channel.as_deref().map(channel_label),
            agent: headline.agent_key,
            campaign: headline.campaign,
            workflow: workflow.name.or(workflow.slug).or(workflow.id),
            duration: headline.duration_ms.map(format::clock),
            turns: headline.turns,
            cost: headline.cost_micro_usd.map(format::dollars_short),
            tags: headline.tags,
            is_reviewed: headline.reviewed,
            has_issues: headline.has_issues,
            has_recording: recorded.contains(&headline.id),
            id: headline.id.to_string(),
        }
    }
}
