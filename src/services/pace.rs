//! How long work leaves room for short questions: it rests between two pieces, the longer the more others ask.
//! Imports nothing of the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many questions have come so far that took work to answer. Cheap to clone.
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

/// Of the time that a piece took: while nobody else asks, and while many do. Beside an export with the longer one the 95th
/// percentile of a list was 1.1 times what it is alone (`cargo bench --bench reads`), five times with the shorter.
const REST_MIN: f64 = 0.5;
const REST_MAX: f64 = 8.0;
/// So many questions a second are many, as an average that forgets in a second.
const MANY_PER_SECOND: f64 = 50.0;
/// No piece is followed by a longer rest, so that an export always gets on.
const REST_LONGEST: Duration = Duration::from_secs(1);

/// What is known of the last piece of work.
pub struct Eased {
    traffic: Traffic,
    took: Duration,
    since: Instant,
    seen: u64,
    per_second: f64,
}

impl Pace {
    pub fn eased(traffic: &Traffic) -> Self {
        Self::Eased(Eased {
            traffic: traffic.clone(),
            took: Duration::ZERO,
            since: Instant::now(),
            seen: traffic.count(),
            per_second: 0.0,
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
        let come = seen.saturating_sub(self.seen);
        self.per_second = average(self.per_second, come, since - self.since);
        (self.seen, self.since) = (seen, since);
        rest(self.took, self.per_second)
    }
}

/// What an average becomes when so many more have come in a time.
fn average(per_second: f64, come: u64, within: Duration) -> f64 {
    per_second * (-within.as_secs_f64()).exp() + come as f64
}

/// After a piece that took so long, if others ask so often.
fn rest(took: Duration, per_second: f64) -> Duration {
    let share = (per_second / MANY_PER_SECOND).min(1.0);
    took.mul_f64(REST_MIN + share * (REST_MAX - REST_MIN))
        .min(REST_LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_more_ask_the_longer_it_rests() {
        assert_eq!(rest(ms(20), 0.0), ms(10));
        assert_eq!(rest(ms(20), 25.0), ms(85));
        assert_eq!(rest(ms(20), 50.0), ms(160));
        assert_eq!(rest(ms(20), 5_000.0), ms(160), "and no longer");
    }

    #[test]
    fn one_question_is_not_many_and_a_steady_stream_is_counted_by_the_second() {
        assert_eq!(average(0.0, 1, ms(20)), 1.0);
        let steady = (0..1_000).fold(0.0, |average_so_far, _| average(average_so_far, 1, ms(20)));
        assert!((49.0..52.0).contains(&steady), "{steady}");
    }

    #[test]
    fn no_rest_is_without_bound_and_none_is_taken_before_the_first_piece() {
        assert_eq!(rest(ms(5_000), 5_000.0), REST_LONGEST);
        assert_eq!(rest(Duration::ZERO, 5_000.0), Duration::ZERO);
    }
}
