//! `GET /console/dashboard`: what the analytics tell, drawn. A part of it alone with `part`, for keeping it fresh.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::causes::{Causes, Interruptions};
use super::filter::channel_label;
use super::page;
use super::page::Frame;
use super::parts::{Active, Errors, Providers, Summary, Volume, Workflows};
use crate::app::App;
use crate::app::Now;
use crate::auth::Viewer;
use crate::domain::analytics::{Dimensions, Period, Window};
use crate::domain::fields::CHANNELS;
use crate::problem::Problem;
use crate::problem::Query;

const PATH: &str = "/console/dashboard";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Summary,
    Active,
    Volume,
    Causes,
    Interruptions,
    Providers,
    Workflows,
    Errors,
}

impl Part {
    const ALL: [Self; 8] = [
        Self::Summary,
        Self::Active,
        Self::Volume,
        Self::Causes,
        Self::Interruptions,
        Self::Providers,
        Self::Workflows,
        Self::Errors,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Summary => "summary",
            Self::Active => "active",
            Self::Volume => "volume",
            Self::Causes => "causes",
            Self::Interruptions => "interruptions",
            Self::Providers => "providers",
            Self::Workflows => "workflows",
            Self::Errors => "errors",
        }
    }
}

#[derive(Template)]
#[template(path = "console/dashboard.html")]
struct Page {
    frame: Frame,
    periods: Vec<PeriodLink>,
    period: &'static str,
    channels: Vec<(&'static str, &'static str, bool)>,
    dimensions: Dimensions,
    parts: Parts,
}

/// The parts that are shown.
#[derive(Default, Template)]
#[template(path = "console/dashboard_parts.html")]
struct Parts {
    summary: Option<Summary>,
    active: Option<Active>,
    volume: Option<Volume>,
    causes: Option<Causes>,
    interruptions: Option<Interruptions>,
    providers: Option<Providers>,
    workflows: Option<Workflows>,
    errors: Option<Errors>,
}

struct PeriodLink {
    label: &'static str,
    link: String,
    is_chosen: bool,
}

pub async fn handle(
    State(_): State<App>,
    viewer: Viewer,
    Now(now): Now,
    query: Query,
) -> Result<Response, Problem> {
    let mut params = page::params(query);
    let period = params.choice("period", &Period::ALL, Period::as_str);
    let period = period.unwrap_or(Period::Day);
    let dimensions = Dimensions {
        agent_key: params.text("agent_key"),
        workflow: params.text("workflow"),
        channel: params.one_of("channel", CHANNELS).map(str::to_owned),
        campaign: params.text("campaign"),
    };
    let part = params.choice("part", &Part::ALL, Part::as_str);
    params.finish()?;
    let window = Window::of(period, None, None, now).unwrap_or(Window { from: now, to: now });
    let parts = Parts::load(&viewer, period, window, &dimensions, part).await?;
    if part.is_some() {
        return Ok(page::ok(&parts)?);
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let link = |other: Period| PeriodLink {
        label: match other {
            Period::Hour => "1 hour",
            Period::Day => "24 hours",
            Period::Week => "7 days",
            Period::Month => "30 days",
        },
        link: page::link(
            PATH,
            &[
                ("period", other.as_str()),
                ("agent_key", &text(&dimensions.agent_key)),
                ("workflow", &text(&dimensions.workflow)),
                ("channel", &text(&dimensions.channel)),
                ("campaign", &text(&dimensions.campaign)),
            ],
        ),
        is_chosen: other == period,
    };
    let chosen = dimensions.channel.as_deref();
    let channel =
        |channel: &&'static str| (*channel, channel_label(channel), chosen == Some(*channel));
    let page = Page {
        frame: Frame::of(&viewer, "dashboard", "Dashboard"),
        periods: Period::ALL.map(link).into(),
        period: period.as_str(),
        channels: CHANNELS.iter().map(channel).collect(),
        dimensions,
        parts,
    };
    Ok(page::ok(&page)?)
}

impl Parts {
    async fn load(
        viewer: &Viewer,
        period: Period,
        window: Window,
        dimensions: &Dimensions,
        part: Option<Part>,
    ) -> Result<Self, Problem> {
        let mut parts = Self::default();
        for each in Part::ALL {
            // The sums have the active calls among them.
            let is_wanted = part.map_or(each != Part::Active, |part| part == each);
            match each {
                _ if !is_wanted => {}
                Part::Summary => {
                    parts.summary = Some(Summary::load(viewer, window, dimensions).await?);
                }
                Part::Active => parts.active = Some(Active::load(viewer, dimensions).await?),
                Part::Volume => {
                    let volume = Volume::load(viewer, period, window, dimensions).await?;
                    parts.volume = Some(volume);
                }
                Part::Causes => {
                    parts.causes = Some(Causes::load(viewer, window, dimensions).await?);
                }
                Part::Interruptions => {
                    let quality = Interruptions::load(viewer, window, dimensions).await?;
                    parts.interruptions = Some(quality);
                }
                Part::Providers => {
                    parts.providers = Some(Providers::load(viewer, window, dimensions).await?);
                }
                Part::Workflows => {
                    parts.workflows = Some(Workflows::load(viewer, window, dimensions).await?);
                }
                Part::Errors => {
                    parts.errors = Some(Errors::load(viewer, window, dimensions).await?);
                }
            }
        }
        Ok(parts)
    }
}
