//! How long work leaves room for short questions: it rests between two pieces, the longer the more others ask.
//! Imports nothing of the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many requests have come so far. Cheap to clone.
#[derive(Clone, Default)]
pub struct Traffic(Arc<AtomicU64>);

impl Traffic {
    pub fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub enum Pace {
    /// As fast as it goes.
    Full,
    /// Rests after each piece of work.
    Eased(Eased),
}

/// Of the time that a piece took: while nobody else asks, and while many do. With the longer one short questions
/// meet the work so seldom that 19 of 20 do not notice it.
const REST_MIN: f64 = 0.5;
const REST_MAX: f64 = 8.0;
/// So many requests a second are many.
const MANY_PER_SECOND: f64 = 50.0;
/// No piece is followed by a longer rest, so that an export always gets on.
const REST_LONGEST: Duration = Duration::from_secs(1);

/// What is known of the last piece of work.
pub struct Eased {
    traffic: Traffic,
    took: Duration,
    since: Instant,
    seen: u64,
}

impl Pace {
    pub fn eased(traffic: &Traffic) -> Self {
        Self::Eased(Eased {
            traffic: traffic.clone(),
            took: Duration::ZERO,
            since: Instant::now(),
            seen: traffic.count(),
        })
    }

    /// Before a piece of work.
    pub async fn rest(&mut self) {
        if let Self::Eased(eased) = self {
            let rest = eased.rest();
            tokio::time::sleep(rest).await;
        }
    }

    /// How long a piece of work took.
    pub fn note(&mut self, took: Duration) {
        if let Self::Eased(eased) = self {
            eased.took = took;
        }
    }
}

impl Eased {
    fn rest(&mut self) -> Duration {
        let (seen, since) = (self.traffic.count(), Instant::now());
        let requests = seen.saturating_sub(self.seen);
        let rest = rest(self.took, requests, since - self.since);
        (self.seen, self.since) = (seen, since);
        rest
    }
}

/// After a piece that took so long, if so many others have asked in a time.
fn rest(took: Duration, requests: u64, within: Duration) -> Duration {
    let per_second = requests as f64 / within.as_secs_f64().max(0.001);
    let share = (per_second / MANY_PER_SECOND).min(1.0);
    took.mul_f64(REST_MIN + share * (REST_MAX - REST_MIN))
        .min(REST_LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_more_ask_the_longer_it_rests() {
        assert_eq!(rest(ms(20), 0, SECOND), ms(10));
        assert_eq!(rest(ms(20), 25, SECOND), ms(85));
        assert_eq!(rest(ms(20), 50, SECOND), ms(160));
        assert_eq!(rest(ms(20), 5_000, SECOND), ms(160), "and no longer");
    }

    #[test]
    fn no_rest_is_without_bound_and_none_is_taken_before_the_first_piece() {
        assert_eq!(rest(ms(5_000), 5_000, SECOND), REST_LONGEST);
        assert_eq!(rest(Duration::ZERO, 5_000, Duration::ZERO), Duration::ZERO);
    }
}
