//! Providers that did better in a tenant's own calls: the only ground on which one is recommended by name.

use crate::domain::digest::{Digest, Entry, Stage};

/// With fewer measurements nothing is said of a provider.
const MEASUREMENTS_MIN: u64 = 30;
/// Slower providers differ by chance; one that is recommended takes at most this share of the time.
const BETTER_AT: f64 = 0.8;
const RANK: f64 = 0.95;

/// A provider that was quicker than the one that was used, both by their 95th percentile.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative {
    pub provider: String,
    pub p95_ms: f64,
    pub measurements: u64,
    /// Of the one that was used.
    pub own_p95_ms: f64,
}

impl Alternative {
    /// The quickest of those that may be named, if it is quicker by enough.
    pub fn to(
        digest: &Digest,
        stage: Stage,
        own: &str,
        may_be_named: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        let known = |entry: &&Entry| {
            entry.stage == stage && entry.count >= MEASUREMENTS_MIN && !entry.provider.is_empty()
        };
        let p95 = |entry: &Entry| entry.percentile_ms(RANK);
        let entries = || digest.entries().iter().filter(known);
        let own_p95_ms = p95(entries().find(|entry| entry.provider == own)?)?;
        let others =
            entries().filter(|entry| entry.provider != own && may_be_named(&entry.provider));
        let quickest = others.filter_map(|entry| Some((p95(entry)?, entry)));
        let (p95_ms, entry) = quickest.min_by(|a, b| a.0.total_cmp(&b.0))?;
        (p95_ms <= own_p95_ms * BETTER_AT).then(|| Self {
            provider: entry.provider.clone(),
            p95_ms,
            measurements: entry.count,
            own_p95_ms,
        })
    }

    /// As a recommendation says it.
    pub fn told(&self, own: &str) -> String {
        let Self {
            provider,
            p95_ms,
            measurements,
            own_p95_ms,
        } = self;
        format!(
            "Consider {provider}: in your own calls of the 7 days before its p95 was {p95_ms:.0} ms over \
             {measurements} measurements, that of {own} {own_p95_ms:.0} ms."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Measure;

    fn digest(of: &[(&str, f64, usize)]) -> Digest {
        let mut digest = Digest::default();
        for (provider, ms, count) in of {
            let measure = Measure::of(Stage::Tts, Some(provider), None, Some(*ms)).unwrap();
            (0..*count).for_each(|_| digest.add(&measure));
        }
        digest
    }

    #[test]
    fn only_what_own_calls_show_is_recommended() {
        let may_be_named = |provider: &str| provider != "failing";
        let to = |of: &[(&str, f64, usize)]| {
            Alternative::to(&digest(of), Stage::Tts, "slow", may_be_named)
        };
        let slow = ("slow", 900.0, 30);
        let found = to(&[slow, ("quick", 300.0, 30), ("quicker", 100.0, 29)]);
        assert_eq!(found.map(|one| one.provider).as_deref(), Some("quick"));
        assert_eq!(to(&[slow, ("failing", 100.0, 30)]), None);
        assert_eq!(to(&[slow, ("as-slow", 850.0, 100)]), None);
        assert_eq!(to(&[("quick", 300.0, 30)]), None);
        assert_eq!(to(&[("slow", 900.0, 29), ("quick", 300.0, 30)]), None);
    }
}
