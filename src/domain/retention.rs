//! For how long a tenant's calls are kept: what was said, and the numbers.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::{Error, Fault, Result};

/// What was said, where a tenant has set nothing else.
pub const CONTENT_DAYS: i32 = 90;
/// Everything else of a call.
pub const METRICS_DAYS: i32 = 400;
/// For so long a deleted call does not come back by a late word.
pub const TOMBSTONE_DAYS: i64 = 400;

/// A hundred years.
const DAYS_MAX: i32 = 36_500;
const FOREVER: &str = "forever";
const CONTENT: &str = "content_days";
const METRICS: &str = "metrics_days";

/// How long something is kept. The order is by length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    Days(i32),
    Forever,
}

impl Period {
    /// Whatever is from before this moment is to go.
    pub fn cutoff(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Days(days) => now.checked_sub_signed(TimeDelta::days(i64::from(days))),
            Self::Forever => None,
        }
    }

    /// As it is told: a number, or `forever`.
    pub fn to_json(self) -> Value {
        match self {
            Self::Days(days) => Value::from(days),
            Self::Forever => Value::from(FOREVER),
        }
    }

    /// As it is stored: 0 is for ever.
    pub fn from_stored(days: i32) -> Self {
        match days {
            0 => Self::Forever,
            days => Self::Days(days),
        }
    }

    pub fn stored(self) -> i32 {
        match self {
            Self::Days(days) => days,
            Self::Forever => 0,
        }
    }
}

/// What a tenant has set. Absent is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    pub content: Option<Period>,
    pub metrics: Option<Period>,
}

impl Retention {
    /// Nothing ever goes by itself.
    pub const FOREVER: Self = Self {
        content: Some(Period::Forever),
        metrics: Some(Period::Forever),
    };

    /// How long what was said is kept: never longer than the call.
    pub fn content(self) -> Period {
        let content = self.content.unwrap_or(Period::Days(CONTENT_DAYS));
        content.min(self.metrics())
    }

    pub fn metrics(self) -> Period {
        self.metrics.unwrap_or(Period::Days(METRICS_DAYS))
    }

    /// As a tenant writes it, checked.
    pub fn read(body: &Map<String, Value>) -> Result<Self> {
        let mut faults = Vec::new();
        let mut period = |name: &str| match body.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text == FOREVER => Some(Period::Forever),
            Some(value) => {
                let days = value.as_i64().and_then(|days| i32::try_from(days).ok());
                let days = days.filter(|days| (1..=DAYS_MAX).contains(days));
                if days.is_none() {
                    let message = format!(
                        "must be a whole number of days from 1 to {DAYS_MAX}, `{FOREVER}`, or null for the default"
                    );
                    faults.push(Fault::body(name, message));
                }
                days.map(Period::Days)
            }
        };
        let read = Self {
            content: period(CONTENT),
            metrics: period(METRICS),
        };
        let unknown = body
            .keys()
            .filter(|name| ![CONTENT, METRICS].contains(&name.as_str()));
        faults.extend(unknown.map(|name| Fault::no_field(name, &[CONTENT, METRICS])));
        if let Some(content) = read.content
            && faults.is_empty()
            && content > read.metrics()
        {
            let message = format!(
                "must not be longer than `{METRICS}`: what was said goes with its call at the latest"
            );
            faults.push(Fault::body(CONTENT, message));
        }
        match faults.is_empty() {
            true => Ok(read),
            false => Err(Error::Unprocessable(faults)),
        }
    }

    /// Which members differ.
    pub fn changed(self, before: Self) -> Vec<String> {
        let members = [
            (CONTENT, self.content != before.content),
            (METRICS, self.metrics != before.metrics),
        ];
        let changed = members.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(name, _)| name.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<Retention> {
        Retention::read(body.as_object().expect("an object"))
    }

    #[test]
    fn what_is_not_set_is_the_default() {
        let none = read(json!({"content_days": null})).expect("sound");
        assert_eq!(none, Retention::default());
        assert_eq!(
            (none.content(), none.metrics()),
            (Period::Days(90), Period::Days(400))
        );
    }

    #[test]
    fn content_never_outlives_its_call() {
        let short = read(json!({"metrics_days": 30})).expect("sound");
        assert_eq!(short.content(), Period::Days(30));
        assert!(read(json!({"content_days": "forever"})).is_err());
        assert!(read(json!({"content_days": 401})).is_err());
        let forever = json!({"content_days": "forever", "metrics_days": "forever"});
        assert_eq!(read(forever).expect("sound"), Retention::FOREVER);
    }

    #[test]
    fn every_fault_is_told_at_once() {
        for (body, count) in [
            (
                json!({"content_days": 0, "metrics_days": "always", "days": 1}),
                3,
            ),
            (json!({"content_days": 1.5}), 1),
            (json!({"metrics_days": 36_501}), 1),
        ] {
            let told = match read(body.clone()) {
                Err(Error::Unprocessable(faults)) => faults.len(),
                _ => 0,
            };
            assert_eq!(told, count, "{body}");
        }
    }

    #[test]
    fn what_is_stored_is_read_back() {
        for period in [Period::Days(1), Period::Days(36_500), Period::Forever] {
            assert_eq!(Period::from_stored(period.stored()), period);
        }
        assert_eq!(Period::Forever.cutoff(DateTime::UNIX_EPOCH), None);
    }
}
