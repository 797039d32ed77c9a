//! Calls counted by time and by workflow.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, TimeDelta, Utc};

use crate::domain::analytics::{Window, avg_duration_seconds, floor, success_rate};
use crate::domain::session::Workflow;

/// More buckets than anybody looks at are refused.
pub const BUCKETS_MAX: i64 = 10_000;

/// The width of a bucket. Buckets are UTC, weeks begin on Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    Hour,
    Day,
    Week,
}

impl Interval {
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
        }
    }

    fn width(self) -> TimeDelta {
        match self {
            Self::Hour => TimeDelta::hours(1),
            Self::Day => TimeDelta::days(1),
            Self::Week => TimeDelta::weeks(1),
        }
    }

    /// The beginning of the bucket that a moment lies in.
    pub fn bucket_of(self, time: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Hour | Self::Day => floor(time, self.width()),
            Self::Week => {
                let day = floor(time, TimeDelta::days(1));
                day - TimeDelta::days(i64::from(day.weekday().num_days_from_monday()))
            }
        }
    }

    /// How many buckets have a part in the range.
    pub fn count(self, window: Window) -> i64 {
        // The end does not belong to the range.
        let last = self.bucket_of(window.to - TimeDelta::nanoseconds(1));
        (last - self.bucket_of(window.from)).num_hours() / self.width().num_hours() + 1
    }

    /// The beginnings of these buckets, ascending.
    pub fn buckets(self, window: Window) -> impl Iterator<Item = DateTime<Utc>> {
        let first = self.bucket_of(window.from);
        let step = move |n: i64| first + self.width() * i32::try_from(n).unwrap_or(i32::MAX);
        (0..self.count(window).min(BUCKETS_MAX)).map(step)
    }
}

/// How many calls started, and how they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub calls: i64,
    pub completed: i64,
    pub failed: i64,
    pub declined: i64,
    pub missed: i64,
    /// Calls with a duration, and their durations.
    pub ended: i64,
    pub duration_ms: i64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.completed += other.completed;
        self.failed += other.failed;
        self.declined += other.declined;
        self.missed += other.missed;
        self.ended += other.ended;
        self.duration_ms = self.duration_ms.saturating_add(other.duration_ms);
    }

    pub fn success_rate(&self) -> Option<f64> {
        success_rate(self.completed, self.failed)
    }

    pub fn avg_duration_seconds(&self) -> Option<f64> {
        avg_duration_seconds(self.duration_ms, self.ended)
    }
}

/// What a workflow is told apart by: its id; without one its slug; without that its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Id(String),
    Slug(String),
    Name(String),
}

impl Identity {
    fn of(workflow: &Workflow) -> Option<Self> {
        let Workflow { id, slug, name } = workflow;
        let id = id.clone().map(Self::Id);
        id.or_else(|| slug.clone().map(Self::Slug))
            .or_else(|| name.clone().map(Self::Name))
    }
}

/// Calls by workflow. Of several slugs or names of one workflow that of the latest call counts; of two
/// calls that started together the greater text.
#[derive(Clone, Debug, Default)]
pub struct Workflows(BTreeMap<Identity, Group>);

#[derive(Clone, Debug, Default)]
struct Group {
    tally: Tally,
    slug: Option<(DateTime<Utc>, String)>,
    name: Option<(DateTime<Utc>, String)>,
}

impl Workflows {
    /// Calls of one workflow as they name it, and when the latest of them started. Calls without a
    /// workflow are left out.
    pub fn add(&mut self, workflow: Workflow, last_started_at: DateTime<Utc>, tally: Tally) {
        let Some(identity) = Identity::of(&workflow) else {
            return;
        };
        let group = self.0.entry(identity).or_default();
        group.tally.add(tally);
        let used = |text: Option<String>| text.map(|text| (last_started_at, text));
        // None is less than any.
        group.slug = group.slug.take().max(used(workflow.slug));
        group.name = group.name.take().max(used(workflow.name));
    }

    /// The workflows with the most calls, most first, then by name, nameless last.
    pub fn top(self, limit: usize) -> Vec<(Workflow, Tally)> {
        let mut all: Vec<(Workflow, Tally)> = self
            .0
            .into_iter()
            .map(|(identity, group)| {
                let id = match identity {
                    Identity::Id(id) => Some(id),
                    Identity::Slug(_) | Identity::Name(_) => None,
                };
                let workflow = Workflow {
                    id,
                    slug: group.slug.map(|(_, slug)| slug),
                    name: group.name.map(|(_, name)| name),
                };
                (workflow, group.tally)
            })
            .collect();
        // Stable: what else is equal stays in the order of its identity.
        all.sort_by(|(a, of_a), (b, of_b)| {
            let key = |workflow: &Workflow| (workflow.name.is_none(), workflow.name.clone());
            of_b.calls
                .cmp(&of_a.calls)
                .then_with(|| key(a).cmp(&key(b)))
        });
        all.truncate(limit);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-01-{text}Z").parse().unwrap()
    }

    fn buckets(interval: Interval, from: &str, to: &str) -> Vec<DateTime<Utc>> {
        let (from, to) = (at(from), at(to));
        interval.buckets(Window { from, to }).collect()
    }

    #[test]
    fn every_bucket_with_a_part_in_the_range_is_there() {
        let hour = |text: &str| at(&format!("{text}:00:00"));
        assert_eq!(
            buckets(Interval::Hour, "01T10:59:59", "01T12:00:01"),
            [hour("01T10"), hour("01T11"), hour("01T12")]
        );
        // The end does not belong to the range.
        assert_eq!(
            buckets(Interval::Hour, "01T10:00:00", "01T11:00:00"),
            [hour("01T10")]
        );
        assert_eq!(
            buckets(Interval::Day, "01T23:59:59", "02T00:00:01"),
            [hour("01T00"), hour("02T00")]
        );
        // 2026-01-05 is a Monday, and the week before begins in the old year.
        assert_eq!(
            buckets(Interval::Week, "04T10:00:00", "05T00:00:01"),
            [at("05T00:00:00") - TimeDelta::weeks(1), hour("05T00")]
        );
    }

    #[test]
    fn buckets_are_counted_without_being_made() {
        let window = |days| Window {
            from: at("01T00:30:00"),
            to: at("01T00:30:00") + TimeDelta::days(days),
        };
        assert_eq!(Interval::Hour.count(window(400)), 9_601);
        assert_eq!(Interval::Hour.count(window(500)), 12_001);
        assert_eq!(Interval::Day.count(window(500)), 501);
        assert_eq!(Interval::Week.count(window(7)), 2);
    }

    fn workflow(id: Option<&str>, slug: Option<&str>, name: Option<&str>) -> Workflow {
        Workflow {
            id: id.map(str::to_owned),
            slug: slug.map(str::to_owned),
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn the_name_that_was_used_last_is_shown() {
        let one = Tally {
            calls: 1,
            ..Tally::default()
        };
        let said = [
            (workflow(Some("1"), Some("old"), Some("Old")), "01T10:00:00"),
            (workflow(Some("1"), None, Some("New")), "01T11:00:00"),
            (workflow(None, Some("1"), Some("Another")), "01T12:00:00"),
            (workflow(None, None, Some("A name")), "01T12:00:00"),
            (workflow(None, Some("nameless"), None), "01T12:00:00"),
            (workflow(None, None, None), "01T12:00:00"),
        ];
        for turned in [false, true] {
            let mut said = said.clone();
            if turned {
                said.reverse();
            }
            let mut workflows = Workflows::default();
            for (workflow, started_at) in said {
                workflows.add(workflow, at(started_at), one);
            }
            let found = workflows.top(9);
            let expected = [
                (workflow(Some("1"), Some("old"), Some("New")), 2),
                (workflow(None, None, Some("A name")), 1),
                (workflow(None, Some("1"), Some("Another")), 1),
                (workflow(None, Some("nameless"), None), 1),
            ];
            let found: Vec<_> = found
                .into_iter()
                .map(|(w, tally)| (w, tally.calls))
                .collect();
            assert_eq!(found, expected);
        }
    }
}
