//! `GET /console/conversations/{id}`: one call in three tabs, a file each. What was said is left out for who may not
//! see it.

mod debug;
mod issues;
pub mod media;
pub mod overview;
mod stages;

use axum::extract::State;
use axum::response::Response;

use super::filter::{channel_label, status_label};
use super::format;
use super::page;
use super::page::Frame;
use crate::app::App;
use crate::auth::Viewer;
use crate::domain::record::Record;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analysis;
use crate::services::sessions;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tab {
    Overview,
    Media,
    Debug,
}

impl Tab {
    const ALL: [Self; 3] = [Self::Overview, Self::Media, Self::Debug];

    fn as_str(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Media => "media",
            Self::Debug => "debug",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Media => "Media & Transcript",
            Self::Debug => "Debug logs",
        }
    }
}

/// What stands over each tab.
pub struct Head {
    pub id: String,
    pub status: &'static str,
    pub status_label: &'static str,
    pub agent: String,
    pub started_at: String,
    pub started_machine: String,
    pub channel: Option<&'static str>,
    pub duration: Option<String>,
    pub is_withheld: bool,
    pub content_deleted_at: Option<String>,
    tabs: Vec<TabLink>,
}

struct TabLink {
    label: &'static str,
    link: String,
    is_open: bool,
}

pub async fn handle(
    State(_): State<App>,
    viewer: Viewer,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = page::params(query);
    let tab = params.choice("tab", &Tab::ALL, Tab::as_str);
    params.finish()?;
    let tab = tab.unwrap_or(Tab::Overview);
    let content = viewer.content.as_ref();
    let (record, history) = sessions::with_history(&viewer.scope, content, &id).await?;
    let head = Head::of(&record, tab);
    let title = format!("{} {}", head.agent, head.started_at);
    let frame = Frame::of(&viewer, "conversations", title);
    let page = match tab {
        Tab::Overview => {
            let found = analysis::root_cause_of(&viewer.scope, record.id).await?;
            let short = issues::Short::of(&found, content.is_some());
            let page = overview::Page::of(frame, head, &viewer, record, history, short);
            page::ok(&page)?
        }
        Tab::Media => {
            let audio = media::audio(&viewer, &record).await?;
            page::ok(&media::Page::of(frame, head, audio, &record))?
        }
        Tab::Debug => {
            let traces = debug::traces(&viewer, &record).await?;
            let found = analysis::root_cause_of(&viewer.scope, record.id).await?;
            let with_content = content.is_some();
            page::ok(&debug::Page::of(
                frame,
                head,
                traces,
                &record,
                &found,
                with_content,
            ))?
        }
    };
    Ok(page)
}

impl Head {
    fn of(record: &Record, open: Tab) -> Self {
        let session = &record.session;
        let path = format!("/console/conversations/{}", record.id);
        let link = |tab: Tab| TabLink {
            label: tab.label(),
            link: match tab {
                Tab::Overview => path.clone(),
                tab => format!("{path}?tab={}", tab.as_str()),
            },
            is_open: tab == open,
        };
        Self {
            id: record.id.to_string(),
            status: session.status.as_str(),
            status_label: status_label(session.status),
            agent: session
                .agent_key
                .clone()
                .unwrap_or_else(|| "Conversation".to_owned()),
            started_at: format::when(session.started_at),
            started_machine: format::machine(session.started_at),
            channel: session.channel.as_deref().map(channel_label),
            duration: session.duration_ms().map(format::clock),
            is_withheld: record.content_withheld,
            content_deleted_at: record.closed_at.map(format::when),
            tabs: Tab::ALL.map(link).into(),
        }
    }
}
