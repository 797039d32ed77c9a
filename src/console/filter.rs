//! Which calls a page shows, as its address says: shared by the list and the review queue.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime, Utc};
use uuid::Uuid;

use super::format;
use super::page;
use crate::domain::analysis::IssueType;
use crate::domain::calendar::Range;
use crate::domain::fields::{CHANNELS, STATUSES};
use crate::domain::ids::SessionId;
use crate::domain::page::Start;
use crate::domain::record::{Filter, Headline, Key};
use crate::domain::session::Status;
use crate::domain::words::Question;
use crate::problem::Params;

/// What browsers send of a date and a time.
const LOCAL: [&str; 2] = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"];

/// The choices, as they were made.
pub struct Choices {
    pub range: Option<Range>,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
    pub status: Option<&'static str>,
    pub channel: Option<&'static str>,
    pub campaign: Option<String>,
    pub agent: Option<String>,
    pub tag: Option<String>,
    pub words: Option<String>,
    pub issues: Option<Issues>,
    /// Strictly older than this call.
    pub before: Option<Key>,
}

/// Which calls, by what their analysis found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Issues {
    Any,
    None,
    Of(IssueType),
}

impl Issues {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::None => "none",
            Self::Of(kind) => kind.as_str(),
        }
    }

    fn label(self) -> String {
        match self {
            Self::Any => "With issues".to_owned(),
            Self::None => "None found".to_owned(),
            Self::Of(kind) => format::title(kind.as_str()),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        let kinds = IssueType::ALL.iter().copied().map(Self::Of);
        [Self::Any, Self::None].into_iter().chain(kinds)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let found = Self::all().find(|one| one.as_str() == text);
        found.ok_or_else(|| "must be `any`, `none` or a type of issue".to_owned())
    }
}

/// One offer of a choice.
pub struct Offer {
    pub value: &'static str,
    pub label: Cow<'static, str>,
    pub is_chosen: bool,
}

impl Choices {
    pub fn read(params: &mut Params) -> Self {
        let choices = Self {
            range: params.choice("range", &Range::ALL, Range::as_str),
            from: params.parse("from", local),
            to: params.parse("to", local),
            status: params.one_of("status", STATUSES),
            channel: params.one_of("type", CHANNELS),
            campaign: params.text("campaign"),
            agent: params.text("agent_key"),
            tag: params.text("tag"),
            words: params.text("q"),
            issues: params.parse("issues", Issues::parse),
            before: params.parse("before", place),
        };
        if let (Some(from), Some(to)) = (choices.from, choices.to)
            && from >= to
        {
            params.fault("from", "must be before `to`");
        }
        choices
    }

    /// Own bounds win over the range's name.
    pub fn filter(&self, now: DateTime<Utc>) -> Filter {
        let named = self.range.filter(|_| !self.is_custom());
        Filter {
            started_after: self.from.or(named.and_then(|range| range.start(now))),
            started_before: self.to.or(named.map(|_| now)),
            status: self.status.and_then(Status::parse),
            channel: self.channel.map(str::to_owned),
            campaign: self.campaign.clone(),
            agent_key: self.agent.clone(),
            tag: self.tag.clone(),
            words: self.words.as_deref().map(Question::asked),
            has_issues: match self.issues {
                Some(Issues::Any) => Some(true),
                Some(Issues::None) => Some(false),
                _ => None,
            },
            issue_type: match self.issues {
                Some(Issues::Of(kind)) => Some(kind),
                _ => None,
            },
            ..Filter::default()
        }
    }

    pub fn is_custom(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        self.pairs().is_empty()
    }

    pub fn start(&self) -> Start<Key> {
        self.before.map_or(Start::Beginning, Start::After)
    }

    /// The choices as parameters, without the place.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let text = |name, value: &Option<String>| Some((name, value.clone()?));
        let word = |name, value: Option<&'static str>| Some((name, value?.to_owned()));
        let time = |name, value: Option<DateTime<Utc>>| Some((name, written(value)?));
        [
            word("range", self.range.map(Range::as_str)),
            time("from", self.from),
            time("to", self.to),
            word("status", self.status),
            word("type", self.channel),
            text("campaign", &self.campaign),
            text("agent_key", &self.agent),
            text("tag", &self.tag),
            text("q", &self.words),
            word("issues", self.issues.map(Issues::as_str)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// A link with these choices, some of them others.
    pub fn link(&self, path: &str, others: &[(&'static str, &str)]) -> String {
        let pairs = self.pairs();
        let kept = pairs.iter().map(|(name, value)| (*name, value.as_str()));
        let kept = kept.filter(|(name, _)| others.iter().all(|(other, _)| other != name));
        let all: Vec<(&str, &str)> = kept.chain(others.iter().copied()).collect();
        page::link(path, &all)
    }

    pub fn since_text(&self) -> String {
        written(self.from).unwrap_or_default()
    }

    pub fn until_text(&self) -> String {
        written(self.to).unwrap_or_default()
    }

    pub fn ranges(&self) -> Vec<Offer> {
        let offer = |range: Range| Offer {
            value: range.as_str(),
            label: range.label().into(),
            is_chosen: self.range == Some(range),
        };
        Range::ALL.map(offer).into()
    }

    pub fn channels(&self) -> Vec<Offer> {
        let offer = |channel: &&'static str| Offer {
            value: channel,
            label: channel_label(channel).into(),
            is_chosen: self.channel == Some(channel),
        };
        CHANNELS.iter().map(offer).collect()
    }

    pub fn issues(&self) -> Vec<Offer> {
        let offer = |issues: Issues| Offer {
            value: issues.as_str(),
            label: issues.label().into(),
            is_chosen: self.issues == Some(issues),
        };
        Issues::all().map(offer).collect()
    }

    pub fn statuses(&self) -> Vec<Offer> {
        let offer = |status: Status| Offer {
            value: status.as_str(),
            label: status_label(status).into(),
            is_chosen: self.status == Some(status.as_str()),
        };
        Status::ALL.map(offer).into()
    }
}

/// Where the page after this call begins.
pub fn after(last: &Headline) -> String {
    place_text(last.key())
}

/// A place in the list, as it is written.
pub fn place_text((started_at, id): Key) -> String {
    format!("{}_{}", started_at.timestamp_micros(), id)
}

fn place(text: &str) -> Result<Key, String> {
    let key = text.split_once('_').and_then(|(micros, id)| {
        let started_at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
        Some((started_at, SessionId(id.parse::<Uuid>().ok()?)))
    });
    key.ok_or_else(|| "must be the `before` of a link on a page before".to_owned())
}

fn local(text: &str) -> Result<DateTime<Utc>, String> {
    let times = LOCAL.iter();
    let mut times = times.filter_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let time = times.next().map(|time| time.and_utc());
    let bound = 0..7_258_118_400;
    time.filter(|time| bound.contains(&time.timestamp()))
        .ok_or_else(|| "must be a time in UTC such as `2025-01-31T09:30`, since 1970".to_owned())
}

fn written(time: Option<DateTime<Utc>>) -> Option<String> {
    Some(time?.format("%Y-%m-%dT%H:%M").to_string())
}

pub fn status_label(status: Status) -> &'static str {
    match status {
        Status::Queued => "Queued",
        Status::Ringing => "Ringing",
        Status::Active => "Active",
        Status::Completed => "Completed",
        Status::Failed => "Failed",
        Status::Declined => "Declined",
        Status::Missed => "Missed",
    }
}

pub fn channel_label(channel: &str) -> &'static str {
    match channel {
        "inbound" => "Inbound",
        "outbound" => "Outbound",
        "web" => "Web",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<Choices, crate::domain::Error> {
        let pairs = query.iter();
        let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut params = Params::new(pairs.collect());
        let choices = Choices::read(&mut params);
        params.finish().map(|()| choices)
    }

    #[test]
    fn choices_survive_the_address() {
        let query = [
            ("range", "this_month"),
            ("from", "2025-06-01T08:30"),
            ("to", "2025-06-02T00:00"),
            ("status", "failed"),
            ("type", "web"),
            ("campaign", "a&b"),
            ("agent_key", "x"),
            ("tag", "t"),
            ("q", "two words"),
            ("issues", "high_latency"),
        ];
        let choices = read(&query).unwrap();
        let pairs: Vec<(&str, String)> = choices.pairs();
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(pairs, query);
        let link = choices.link("/console", &[("status", ""), ("before", "1_x")]);
        assert!(
            link.contains("campaign=a%26b&")
                && link.ends_with("q=two+words&issues=high_latency&before=1_x")
        );
        assert!(!link.contains("status"));
        assert!(read(&[("from", "yesterday")]).is_err());
        assert!(read(&[("from", "2025-06-02T00:00"), ("to", "2025-06-01T00:00")]).is_err());
        assert!(read(&[("before", "1")]).is_err());
        assert!(read(&[("issues", "odd")]).is_err());
        assert!(read(&[]).unwrap().is_all());
    }
}
