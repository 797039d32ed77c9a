//! Measurements of one kind, so that those of many sessions can be put together: counts by value. Few
//! distinct values are kept as they are; of many, each stands for all within 1 % of it. Which of both it
//! is follows from the values alone, so that the order of merging does not matter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::digest;

/// So many distinct values are kept exactly.
const EXACT_MAX: usize = 512;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Distribution {
    /// Thousandths (of a ms, of a word) and how often.
    counts: BTreeMap<i64, u64>,
    sum_thousandths: i64,
    max_thousandths: Option<i64>,
    is_rounded: bool,
}

impl Distribution {
    /// Adds one value; what makes no sense (below zero, not finite) is left out.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() || value < 0.0 {
            return;
        }
        let thousandths = (value * 1000.0).round() as i64;
        self.sum_thousandths = self.sum_thousandths.saturating_add(thousandths);
        self.max_thousandths = self.max_thousandths.max(Some(thousandths));
        self.count_in(thousandths, 1);
        self.settle();
    }

    pub fn merge(&mut self, other: &Self) {
        self.sum_thousandths = self.sum_thousandths.saturating_add(other.sum_thousandths);
        self.max_thousandths = self.max_thousandths.max(other.max_thousandths);
        if other.is_rounded {
            self.round();
        }
        for (value, count) in &other.counts {
            self.count_in(*value, *count);
        }
        self.settle();
    }

    /// Takes away what is part of this. What was rounded stays so, however little is left.
    pub fn take(&mut self, part: &Self) {
        self.sum_thousandths = self.sum_thousandths.saturating_sub(part.sum_thousandths);
        for (value, count) in &part.counts {
            if let Some(own) = self.counts.get_mut(&self.key(*value)) {
                *own = own.saturating_sub(*count);
            }
        }
        self.counts.retain(|_, count| *count > 0);
        self.max_thousandths = self.counts.last_key_value().map(|(value, _)| *value);
    }

    /// Each value as often as it was measured, ascending.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.counts.iter().flat_map(|(value, count)| {
            let times = usize::try_from(*count).unwrap_or(usize::MAX);
            std::iter::repeat_n(*value as f64 / 1000.0, times)
        })
    }

    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    pub fn total(&self) -> f64 {
        self.sum_thousandths as f64 / 1000.0
    }

    /// The exact mean; none over nothing.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.total() / count as f64)
    }

    pub fn max(&self) -> Option<f64> {
        self.max_thousandths.map(|max| max as f64 / 1000.0)
    }

    /// The nearest-rank percentile, `rank` in (0, 1]; none over nothing.
    pub fn percentile(&self, rank: f64) -> Option<f64> {
        let all = self.count();
        let wanted = ((rank * all as f64).ceil() as u64).clamp(1, all.max(1));
        let mut seen = 0;
        self.counts.iter().find_map(|(value, count)| {
            seen += count;
            (seen >= wanted).then_some(*value as f64 / 1000.0)
        })
    }

    fn count_in(&mut self, thousandths: i64, count: u64) {
        let key = self.key(thousandths);
        *self.counts.entry(key).or_default() += count;
    }

    fn key(&self, thousandths: i64) -> i64 {
        if self.is_rounded {
            digest::rounded_micros(thousandths)
        } else {
            thousandths
        }
    }

    fn settle(&mut self) {
        if !self.is_rounded && self.counts.len() > EXACT_MAX {
            self.round();
        }
    }

    fn round(&mut self) {
        if !self.is_rounded {
            self.is_rounded = true;
            for (value, count) in std::mem::take(&mut self.counts) {
                self.count_in(value, count);
            }
        }
    }
}

impl FromIterator<f64> for Distribution {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut all = Self::default();
        values.into_iter().for_each(|value| all.add(value));
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_values_are_exact() {
        let some: Distribution = [4.0, 1.0, 0.0, 3.0].into_iter().collect();
        assert_eq!(some.mean(), Some(2.0));
        assert_eq!(some.percentile(0.5), Some(1.0));
        assert_eq!(some.percentile(0.95), Some(4.0));
        assert_eq!((some.count(), some.max()), (4, Some(4.0)));
        let none = Distribution::default();
        assert_eq!(
            (none.mean(), none.percentile(0.5), none.max()),
            (None, None, None)
        );
    }

    #[test]
    fn many_values_are_within_one_percent() {
        let many: Distribution = (1..=5000).map(f64::from).collect();
        let p95 = many.percentile(0.95).unwrap();
        assert!((p95 / 4750.0 - 1.0).abs() <= 0.0101, "{p95}");
        assert_eq!(many.mean(), Some(2500.5));
    }

    proptest! {
        #[test]
        fn merging_is_adding_in_any_order(
            a in prop::collection::vec(0.0f64..5000.0, 0..700),
            b in prop::collection::vec(0.0f64..5000.0, 0..700),
        ) {
            let all: Distribution = a.iter().chain(&b).copied().collect();
            let (a, b): (Distribution, Distribution) = (a.into_iter().collect(), b.into_iter().collect());
            let (mut ab, mut ba) = (a.clone(), b.clone());
            ab.merge(&b);
            ba.merge(&a);
            prop_assert_eq!(&ab, &all);
            prop_assert_eq!(&ba, &all);
        }

        #[test]
        fn what_was_merged_can_be_taken_again(
            rest in prop::collection::vec(0.0f64..5000.0, 0..400),
            part in prop::collection::vec(0.0f64..5000.0, 0..400),
        ) {
            let mut left: Distribution = rest.iter().chain(&part).copied().collect();
            let (rest, part): (Distribution, Distribution) = (rest.into_iter().collect(), part.into_iter().collect());
            left.take(&part);
            prop_assert_eq!((left.count(), left.sum_thousandths), (rest.count(), rest.sum_thousandths));
            let of = |all: &Distribution| all.percentile(0.95).unwrap_or_default();
            prop_assert!((of(&left) - of(&rest)).abs() <= 0.0101 * of(&rest) + 0.001);
            prop_assert!(left.is_rounded || left == rest);
        }
    }
}
