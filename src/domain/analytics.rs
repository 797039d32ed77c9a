//! Ranges of time and what adds up in them. Everything is counted under its call's start, so that
//! endpoints agree and sums of parts are sums of the whole.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::digest::Digest;
use crate::domain::session::{Providers, Status};

/// The periods that a dashboard asks for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Hour,
    Day,
    Week,
    Month,
}

impl Period {
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    fn length(self) -> TimeDelta {
        match self {
            Self::Hour => TimeDelta::hours(1),
            Self::Day => TimeDelta::hours(24),
            Self::Week => TimeDelta::days(7),
            Self::Month => TimeDelta::days(30),
        }
    }
}

/// A half-open range: `from` belongs to it, `to` does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

impl Window {
    /// Given bounds win over the period; with an end alone the range is the period before it, with a
    /// start alone it runs until now. None where it would end before it starts.
    pub fn of(
        period: Period,
        after: Option<DateTime<Utc>>,
        before: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let to = before.unwrap_or(now);
        let from = match after {
            Some(after) => after,
            None => to.checked_sub_signed(period.length())?,
        };
        (from < to).then_some(Self { from, to })
    }

    /// The range as ragged edges and whole hours.
    pub fn cover_by_hour(self) -> Cover {
        let cover = self.cover();
        Cover {
            days_from: cover.hours_to,
            days_to: cover.hours_to,
            ..cover
        }
    }

    /// The range as ragged edges, whole hours and whole days.
    pub fn cover(self) -> Cover {
        let (first_hour, last_hour) = (
            ceil(self.from, TimeDelta::hours(1)),
            floor(self.to, TimeDelta::hours(1)),
        );
        if first_hour >= last_hour {
            return Cover {
                hours_from: self.to,
                days_from: self.to,
                days_to: self.to,
                hours_to: self.to,
            };
        }
        Cover::of_hours(first_hour, last_hour)
    }

    /// The same with edges of half an hour at most: of an hour of which the larger part is in the range, what is
    /// not is taken away again. For what can be taken away.
    pub fn cover_nearest(self) -> Cover {
        let nearest = |time: DateTime<Utc>| {
            let hour = hour_of(time);
            match time - hour < TimeDelta::minutes(30) {
                true => hour,
                false => hour + TimeDelta::hours(1),
            }
        };
        let (first_hour, last_hour) = (nearest(self.from), nearest(self.to));
        if first_hour >= last_hour {
            return self.cover();
        }
        Cover::of_hours(first_hour, last_hour)
    }
}

impl Cover {
    fn of_hours(first_hour: DateTime<Utc>, last_hour: DateTime<Utc>) -> Self {
        let (first_day, last_day) = (
            ceil(first_hour, TimeDelta::days(1)),
            floor(last_hour, TimeDelta::days(1)),
        );
        let (days_from, days_to) = if first_day < last_day {
            (first_day, last_day)
        } else {
            (last_hour, last_hour)
        };
        Self {
            hours_from: first_hour,
            days_from,
            days_to,
            hours_to: last_hour,
        }
    }
}

/// `from .. hours_from` and `hours_to .. to` are read call by call, `days_from .. days_to` by day, the
/// rest by hour. Without a whole hour everything is the first edge. Where hours go beyond the range, what
/// lies outside is read call by call and taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cover {
    pub hours_from: DateTime<Utc>,
    pub days_from: DateTime<Utc>,
    pub days_to: DateTime<Utc>,
    pub hours_to: DateTime<Utc>,
}

/// The hour that a call is counted in.
pub fn hour_of(time: DateTime<Utc>) -> DateTime<Utc> {
    floor(time, TimeDelta::hours(1))
}

/// The UTC day that an hour is counted in.
pub fn day_of(time: DateTime<Utc>) -> DateTime<Utc> {
    floor(time, TimeDelta::days(1))
}

pub(super) fn floor(time: DateTime<Utc>, step: TimeDelta) -> DateTime<Utc> {
    // Not `duration_trunc`, which goes by nanoseconds and so ends with the year 2262.
    let seconds = time.timestamp();
    let floor = DateTime::from_timestamp(seconds - seconds.rem_euclid(step.num_seconds()), 0);
    floor.unwrap_or(time)
}

fn ceil(time: DateTime<Utc>, step: TimeDelta) -> DateTime<Utc> {
    let floor = floor(time, step);
    if floor == time { time } else { floor + step }
}

/// What the analytics may be narrowed to. Absent means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dimensions {
    pub agent_key: Option<String>,
    /// A workflow's slug or id.
    pub workflow: Option<String>,
    pub channel: Option<String>,
    pub campaign: Option<String>,
}

impl Dimensions {
    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// The dimensions that this narrows, with the parameter that each is asked by.
    pub fn asked(&self) -> impl Iterator<Item = (Dimension, &'static str)> {
        let all = [
            (&self.campaign, Dimension::Campaign, "campaign"),
            (&self.workflow, Dimension::Workflow, "workflow"),
            (&self.agent_key, Dimension::Agent, "agent_key"),
            (&self.channel, Dimension::Channel, "channel"),
        ];
        let asked = all.into_iter().filter(|(value, ..)| value.is_some());
        asked.map(|(_, dimension, name)| (dimension, name))
    }

    /// The same, a bit each.
    pub fn bits(&self) -> i16 {
        self.asked().fold(0, |bits, (one, _)| bits | one.bit())
    }
}

/// What calls are told apart by in sums. Each is a bit where several are stored or asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    Version,
    Agent,
    Workflow,
    Channel,
    Campaign,
}

impl Dimension {
    pub fn bit(self) -> i16 {
        1 << self as i16
    }
}

/// What a range of calls adds up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    pub calls: i64,
    pub completed: i64,
    pub failed: i64,
    pub declined: i64,
    pub missed: i64,
    /// Calls with a duration, and their durations.
    pub ended: i64,
    pub duration_ms: i64,
    pub tokens: i64,
    /// Calls with a cost, and their costs.
    pub priced: i64,
    pub cost_micro_usd: i64,
    /// The start of the latest call; none over nothing.
    pub last_started_at: Option<DateTime<Utc>>,
    pub digest: Digest,
}

/// What one call adds.
#[derive(Clone, Debug)]
pub struct Share {
    pub started_at: DateTime<Utc>,
    pub status: Status,
    pub duration_ms: Option<i64>,
    pub tokens: i64,
    pub cost_micro_usd: Option<i64>,
    pub providers: Providers,
    pub digest: Digest,
}

impl Sums {
    pub fn merge(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.completed = self.completed.saturating_add(other.completed);
        self.failed = self.failed.saturating_add(other.failed);
        self.declined = self.declined.saturating_add(other.declined);
        self.missed = self.missed.saturating_add(other.missed);
        self.ended = self.ended.saturating_add(other.ended);
        self.duration_ms = self.duration_ms.saturating_add(other.duration_ms);
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.priced = self.priced.saturating_add(other.priced);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(other.cost_micro_usd);
        self.last_started_at = self.last_started_at.max(other.last_started_at);
        self.digest.merge(&other.digest);
    }

    /// Takes away what is part of this, but for when the last call started.
    pub fn take(&mut self, part: &Self) {
        self.calls = self.calls.saturating_sub(part.calls);
        self.completed = self.completed.saturating_sub(part.completed);
        self.failed = self.failed.saturating_sub(part.failed);
        self.declined = self.declined.saturating_sub(part.declined);
        self.missed = self.missed.saturating_sub(part.missed);
        self.ended = self.ended.saturating_sub(part.ended);
        self.duration_ms = self.duration_ms.saturating_sub(part.duration_ms);
        self.tokens = self.tokens.saturating_sub(part.tokens);
        self.priced = self.priced.saturating_sub(part.priced);
        self.cost_micro_usd = self.cost_micro_usd.saturating_sub(part.cost_micro_usd);
        self.digest.take(&part.digest);
    }

    pub fn add(&mut self, call: &Share) {
        self.calls += 1;
        match call.status {
            Status::Completed => self.completed += 1,
            Status::Failed => self.failed += 1,
            Status::Declined => self.declined += 1,
            Status::Missed => self.missed += 1,
            Status::Queued | Status::Ringing | Status::Active => {}
        }
        self.ended += i64::from(call.duration_ms.is_some());
        self.duration_ms = self
            .duration_ms
            .saturating_add(call.duration_ms.unwrap_or_default());
        self.tokens = self.tokens.saturating_add(call.tokens);
        self.priced += i64::from(call.cost_micro_usd.is_some());
        self.cost_micro_usd = self
            .cost_micro_usd
            .saturating_add(call.cost_micro_usd.unwrap_or_default());
        self.last_started_at = self.last_started_at.max(Some(call.started_at));
        self.digest
            .merge_session(&call.digest, |stage| call.providers.of(stage).cloned());
    }

    pub fn success_rate(&self) -> Option<f64> {
        success_rate(self.completed, self.failed)
    }

    pub fn avg_duration_seconds(&self) -> Option<f64> {
        avg_duration_seconds(self.duration_ms, self.ended)
    }

    /// What is known of the cost; none where no call is priced.
    pub fn total_cost_micro_usd(&self) -> Option<i64> {
        (self.priced > 0).then_some(self.cost_micro_usd)
    }
}

/// Completed of those that ended one way or the other, in percent; none over nothing.
pub fn success_rate(completed: i64, failed: i64) -> Option<f64> {
    let decided = completed + failed;
    (decided > 0).then(|| completed as f64 / decided as f64 * 100.0)
}

/// None over nothing.
pub fn avg_duration_seconds(duration_ms: i64, ended: i64) -> Option<f64> {
    (ended > 0).then(|| duration_ms as f64 / 1000.0 / ended as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-01-{text}Z").parse().unwrap()
    }

    fn cover(from: &str, to: &str) -> [DateTime<Utc>; 4] {
        let cover = Window {
            from: at(from),
            to: at(to),
        }
        .cover();
        [
            cover.hours_from,
            cover.days_from,
            cover.days_to,
            cover.hours_to,
        ]
    }

    #[test]
    fn a_range_is_edges_hours_and_days() {
        let hour = |text: &str| at(&format!("{text}:00:00"));
        assert_eq!(
            cover("01T10:20:00", "04T03:37:12"),
            [hour("01T11"), hour("02T00"), hour("04T00"), hour("04T03")]
        );
        assert_eq!(
            cover("01T00:00:00", "02T00:00:00"),
            [hour("01T00"), hour("01T00"), hour("02T00"), hour("02T00")]
        );
        // No whole day: hours only. No whole hour: one edge.
        assert_eq!(
            cover("01T10:20:00", "02T09:59:59"),
            [hour("01T11"), hour("02T09"), hour("02T09"), hour("02T09")]
        );
        let end = at("01T11:10:00");
        assert_eq!(cover("01T10:20:00", "01T11:10:00"), [end; 4]);
    }

    #[test]
    fn given_bounds_win_over_the_period() {
        let now = at("20T12:00:00");
        let of = |after, before| Window::of(Period::Week, after, before, now);
        assert_eq!(
            of(None, None),
            Some(Window {
                from: at("13T12:00:00"),
                to: now
            })
        );
        assert_eq!(
            of(None, Some(at("10T00:00:00"))),
            Some(Window {
                from: at("03T00:00:00"),
                to: at("10T00:00:00")
            })
        );
        assert_eq!(
            of(Some(at("19T00:00:00")), None),
            Some(Window {
                from: at("19T00:00:00"),
                to: now
            })
        );
        assert_eq!(of(Some(now), None), None);
    }
}
