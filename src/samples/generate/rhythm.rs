//! When generated calls come: busy weekdays, quiet nights, and each month a bad day.

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};

/// Monday first; the mean of a week is 1.
const WEEKDAYS: [f64; 7] = [1.25, 1.20, 1.15, 1.15, 1.05, 0.65, 0.55];

/// By hour of the day in UTC, as calls of an office's hours look; only ratios matter.
const HOURS: [f64; 24] = [
    0.3, 0.2, 0.2, 0.2, 0.3, 0.6, 1.2, 2.5, 5.0, 7.5, 8.5, 8.0, 6.5, 7.0, 8.0, 7.5, 6.5, 5.0, 3.5,
    2.5, 1.8, 1.2, 0.8, 0.5,
];

/// How many calls are to be expected in the hour that begins here.
pub fn calls_in_hour(calls_per_day: f64, hour: DateTime<Utc>) -> f64 {
    let weekday = WEEKDAYS[hour.weekday().num_days_from_monday() as usize];
    let share = HOURS[hour.hour() as usize] / HOURS.iter().sum::<f64>();
    calls_per_day * weekday * share
}

/// Whether speech synthesis is slow on this day: one day of every month is such.
pub fn is_bad_day(seed: u64, date: NaiveDate) -> bool {
    let month = u64::from(date.month0()) + 12 * u64::from(date.year_ce().1);
    let day = seed.wrapping_add(month.wrapping_mul(11)) % 28;
    u64::from(date.day0()) == day
}

#[cfg(test)]
mod tests {
    use chrono::{Days, TimeDelta};

    use super::*;

    #[test]
    fn a_week_has_seven_days_of_calls() {
        let monday: DateTime<Utc> = "2026-01-05T00:00:00Z".parse().unwrap();
        let week: f64 = (0..7 * 24)
            .map(|n| calls_in_hour(100.0, monday + TimeDelta::hours(n)))
            .sum();
        assert!((week - 700.0).abs() < 1e-6);
    }

    #[test]
    fn every_month_has_one_bad_day() {
        for seed in [0, 1, u64::MAX] {
            let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
            let bad: Vec<u32> = (0..365)
                .map(|n| first + Days::new(n))
                .filter(|date| is_bad_day(seed, *date))
                .map(|date| date.month())
                .collect();
            assert_eq!(bad, (1..=12).collect::<Vec<_>>());
        }
    }
}
