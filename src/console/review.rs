//! `GET /console/review`: calls to judge one after the other, the open one beside its queue.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::call::media::{self, Audio, Line};
use super::call::overview::{Note, Review};
use super::filter::{self, Choices, status_label};
use super::format;
use super::page;
use super::page::Frame;
use crate::app::App;
use crate::app::Now;
use crate::auth::Viewer;
use crate::domain::page::Limit;
use crate::domain::record::{Headline, Record};
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::sessions;

const PATH: &str = "/console/review";
const QUEUE: u32 = 25;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reviewed {
    No,
    Yes,
    Any,
}

impl Reviewed {
    const ALL: [Self; 3] = [Self::No, Self::Yes, Self::Any];

    fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Any => "any",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::No => "Not reviewed",
            Self::Yes => "Reviewed",
            Self::Any => "All",
        }
    }

    fn is(self) -> Option<bool> {
        match self {
            Self::No => Some(false),
            Self::Yes => Some(true),
            Self::Any => None,
        }
    }
}

#[derive(Template)]
#[template(path = "console/review.html")]
struct Page {
    frame: Frame,
    choices: Choices,
    reviewed: Vec<(&'static str, &'static str, bool)>,
    may_search: bool,
    may_review: bool,
    queue: Vec<Place>,
    open: Option<Open>,
    previous: Option<String>,
    next: Option<String>,
}

/// A call in the queue.
struct Place {
    link: String,
    status: &'static str,
    agent: String,
    about: String,
    is_open: bool,
}

/// The call that is listened to.
struct Open {
    head: Said,
    link: String,
    agent: String,
    status: &'static str,
    status_label: &'static str,
    about: String,
    summary: Option<String>,
    tags: Vec<String>,
    audio: Audio,
    lines: Vec<Line>,
    evaluations: Vec<Note>,
    review: Review,
}

/// What a transcript needs to know of its call.
struct Said {
    is_withheld: bool,
}

pub async fn handle(
    State(_): State<App>,
    viewer: Viewer,
    Now(now): Now,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = page::params(query);
    let choices = Choices::read(&mut params);
    let reviewed = params.choice("reviewed", &Reviewed::ALL, Reviewed::as_str);
    let id = params.text("id");
    params.finish()?;
    if choices.words.is_some() {
        viewer.transcripts()?;
    }
    let reviewed = reviewed.unwrap_or(Reviewed::No);
    let mut filter = choices.filter(now);
    filter.reviewed = reviewed.is();
    let content = viewer.content.as_ref();
    let (start, limit) = (choices.start(), Limit::checked(QUEUE));
    let mut slice = sessions::page(&viewer.scope, content, &filter, &start, limit).await?;
    let further = slice.items.last().filter(|_| slice.more).map(filter::after);
    // What goes on cannot be judged yet. Such calls are few.
    if choices.status.is_none() {
        slice.items.retain(|item| item.status.is_final());
    }
    let asked = id.or_else(|| slice.items.first().map(|first| first.id.to_string()));
    let record = match &asked {
        Some(id) => Some(sessions::by_reference(&viewer.scope, content, id).await?),
        None => None,
    };
    let link = Links {
        choices: &choices,
        reviewed,
    };
    let open_id = record.as_ref().map(|record| record.id);
    let at = slice.items.iter().position(|item| Some(item.id) == open_id);
    let next = match at {
        Some(at) => slice.items.get(at + 1),
        // What was judged has left the queue; those after it have not.
        None => slice.items.iter().find(|item| older(item, record.as_ref())),
    };
    let next = next.map(|next| link.to(next));
    let page = Page {
        frame: Frame::of(&viewer, "review", "Review"),
        reviewed: Reviewed::ALL
            .map(|each| (each.as_str(), each.label(), each == reviewed))
            .into(),
        may_search: viewer.content.is_some(),
        may_review: viewer.may_review,
        queue: slice
            .items
            .iter()
            .map(|item| Place::of(item, link.to(item), Some(item.id) == open_id))
            .collect(),
        previous: at
            .and_then(|at| slice.items.get(at.checked_sub(1)?))
            .map(|previous| link.to(previous)),
        next: next.or(further.map(|place| link.after(&place))),
        open: match record {
            Some(record) => Some(Open::load(&viewer, record, &link).await?),
            None => None,
        },
        choices,
    };
    Ok(page::ok(&page)?)
}

/// Whether a call comes after another one in the queue.
fn older(item: &Headline, than: Option<&Record>) -> bool {
    than.is_none_or(|record| item.key() < (record.session.started_at, record.id))
}

/// Where else in the queue one can go.
struct Links<'a> {
    choices: &'a Choices,
    reviewed: Reviewed,
}

impl Links<'_> {
    fn to(&self, item: &Headline) -> String {
        self.with(&[("id", &item.id.to_string())], true)
    }

    fn after(&self, place: &str) -> String {
        self.with(&[("before", place)], false)
    }

    fn with(&self, others: &[(&'static str, &str)], stays: bool) -> String {
        let before = self.choices.before.filter(|_| stays);
        let before = before.map(filter::place_text).unwrap_or_default();
        let mut pairs = vec![("reviewed", self.reviewed.as_str())];
        if self.reviewed == Reviewed::No {
            pairs.clear();
        }
        if !before.is_empty() {
            pairs.push(("before", &before));
        }
        pairs.extend_from_slice(others);
        self.choices.link(PATH, &pairs)
    }
}

impl Place {
    fn of(item: &Headline, link: String, is_open: bool) -> Self {
        let tags = item.tags.join(", ");
        let duration = item.duration_ms.map(format::clock);
        let parts = [Some(format::when(item.started_at)), duration, Some(tags)];
        let parts: Vec<String> = parts
            .into_iter()
            .flatten()
            .filter(|p| !p.is_empty())
            .collect();
        Self {
            link,
            status: item.status.as_str(),
            agent: item
                .agent_key
                .clone()
                .unwrap_or_else(|| "Conversation".to_owned()),
            about: parts.join(" · "),
            is_open,
        }
    }
}

impl Open {
    async fn load(viewer: &Viewer, record: Record, links: &Links<'_>) -> Result<Self, Problem> {
        let audio = media::audio(viewer, &record).await?;
        let id = record.id.to_string();
        let session = &record.session;
        let duration = session.duration_ms().map(format::clock);
        let parts = [
            Some(format::when(session.started_at)),
            duration,
            session.campaign.clone(),
        ];
        Ok(Self {
            head: Said {
                is_withheld: record.content_withheld,
            },
            link: format!("/console/conversations/{id}"),
            agent: session
                .agent_key
                .clone()
                .unwrap_or_else(|| "Conversation".to_owned()),
            status: session.status.as_str(),
            status_label: status_label(session.status),
            about: parts.into_iter().flatten().collect::<Vec<_>>().join(" · "),
            summary: session.summary.clone(),
            tags: session.tags.clone(),
            lines: media::lines(&record),
            audio,
            review: Review {
                next: links.with(&[("id", &id)], true),
                id,
            },
            evaluations: record.evaluations.into_iter().map(Note::from).collect(),
        })
    }
}
