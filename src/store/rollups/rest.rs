//! Hours that have just been summed up and are dirty again: their next calls would make that worthless too, and what
//! readers ask of them meanwhile is right all the same. So they rest while events wait to be committed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// So many times as long as summing up took.
const REST: u32 = 19;
const REST_LONGEST: Duration = Duration::from_secs(60);

/// (tenant, hour)
type Hour = (Uuid, DateTime<Utc>);

/// Until when each hour rests.
#[derive(Default)]
pub struct Resting(HashMap<Hour, Instant>);

impl Resting {
    pub fn is_at_rest(&self, hour: Hour, now: Instant) -> bool {
        self.0.get(&hour).is_some_and(|until| now < *until)
    }

    /// Has these hours rest that were summed up together, which took so long.
    pub fn add(&mut self, hours: impl Iterator<Item = Hour>, took: Duration, now: Instant) {
        let until = now + (took * REST).min(REST_LONGEST);
        self.0.retain(|_, until| now < *until);
        self.0.extend(hours.map(|hour| (hour, until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_rests_as_long_as_summing_it_up_took_many_times_over() {
        let (one, other) = (
            (Uuid::from_u128(1), DateTime::UNIX_EPOCH),
            (Uuid::from_u128(2), DateTime::UNIX_EPOCH),
        );
        let (now, mut resting) = (Instant::now(), Resting::default());
        resting.add([one].into_iter(), Duration::from_secs(1), now);
        assert!(resting.is_at_rest(one, now + Duration::from_secs(18)));
        assert!(!resting.is_at_rest(one, now + Duration::from_secs(19)));
        assert!(!resting.is_at_rest(other, now), "another tenant's hour");

        resting.add([other].into_iter(), Duration::from_secs(600), now);
        assert!(!resting.is_at_rest(other, now + REST_LONGEST));
        let later = now + REST_LONGEST;
        resting.add([].into_iter(), Duration::ZERO, later);
        assert!(resting.0.is_empty(), "what is over is forgotten");
    }
}
