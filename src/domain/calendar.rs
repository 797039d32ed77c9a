//! Ranges of time that people name.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};

/// The ranges that the console offers by name, until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    Hours24,
    Days7,
    Days30,
    Today,
    Month,
}

impl Range {
    pub const ALL: [Self; 5] = [
        Self::Hours24,
        Self::Days7,
        Self::Days30,
        Self::Today,
        Self::Month,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hours24 => "last_24_hours",
            Self::Days7 => "last_7_days",
            Self::Days30 => "last_30_days",
            Self::Today => "today",
            Self::Month => "this_month",
        }
    }

    /// As it is told to people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Hours24 => "Last 24 hours",
            Self::Days7 => "Last 7 days",
            Self::Days30 => "Last 30 days",
            Self::Today => "Today",
            Self::Month => "This month",
        }
    }

    /// Days and months are those of UTC. None only where the calendar ends.
    pub fn start(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let midnight = |day: NaiveDate| Some(day.and_hms_opt(0, 0, 0)?.and_utc());
        match self {
            Self::Hours24 => now.checked_sub_signed(TimeDelta::hours(24)),
            Self::Days7 => now.checked_sub_signed(TimeDelta::days(7)),
            Self::Days30 => now.checked_sub_signed(TimeDelta::days(30)),
            Self::Today => midnight(now.date_naive()),
            Self::Month => midnight(now.date_naive().with_day(1)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_begin_where_their_names_say() {
        let now: DateTime<Utc> = "2025-06-11T12:34:56Z".parse().unwrap();
        let starts = Range::ALL.map(|range| range.start(now).unwrap().to_rfc3339());
        assert_eq!(
            starts,
            [
                "2025-06-10T12:34:56+00:00",
                "2025-06-04T12:34:56+00:00",
                "2025-05-12T12:34:56+00:00",
                "2025-06-11T00:00:00+00:00",
                "2025-06-01T00:00:00+00:00"
            ]
        );
    }
}
