//! The range of time that the endpoints of this dialect take.

use chrono::{DateTime, Utc};

use crate::domain::analytics::{Period, Window};
use crate::problem::Params;

/// The range as it was asked for: the same request a second later is the same question.
#[derive(Debug)]
pub struct Range {
    period: Period,
    after: Option<DateTime<Utc>>,
    before: Option<DateTime<Utc>>,
}

impl Range {
    /// The range, and what it is now. Where there is a fault in it, something to go on with until
    /// `Params::finish` tells.
    pub fn read(params: &mut Params, now: DateTime<Utc>) -> (Self, Window) {
        let range = Self {
            period: params
                .choice("period", &Period::ALL, Period::as_str)
                .unwrap_or(Period::Day),
            after: params.time("started_after"),
            before: params.time("started_before"),
        };
        let window = Window::of(range.period, range.after, range.before, now);
        let window = window.unwrap_or_else(|| {
            params.fault(
                "started_after",
                "must be before `started_before`, or before now where that is not given",
            );
            Window { from: now, to: now }
        });
        (range, window)
    }
}
