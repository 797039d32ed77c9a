//! Keeping the combinations of an hour or a day few: where there are too many, a dimension after the other is told
//! apart no more, first the one with the most values. Which ones follows from the calls, not from their order.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::domain::analytics::{Dimension, Sums};
use crate::domain::ids::TenantId;
use crate::store::columns::to_text;

/// Combinations that an hour, or a day, has at most.
pub const SETS_MAX: usize = 500;

/// The dimensions that analytics filter by, of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Set {
    pub agent_key: Option<String>,
    pub agent_version: Option<String>,
    pub workflow_id: Option<String>,
    pub workflow_slug: Option<String>,
    pub workflow_name: Option<String>,
    pub channel: Option<String>,
    pub campaign: Option<String>,
}

impl Set {
    /// The same combination has the same id for ever, whoever meets it first.
    pub fn id(&self, tenant: TenantId) -> Uuid {
        let parts = [
            &self.agent_key,
            &self.agent_version,
            &self.workflow_id,
            &self.workflow_slug,
            &self.workflow_name,
            &self.channel,
            &self.campaign,
        ];
        Uuid::new_v5(&tenant.0, to_text(&parts).as_bytes())
    }

    fn without(mut self, dimension: Dimension) -> Self {
        match dimension {
            Dimension::Version => self.agent_version = None,
            Dimension::Agent => self.agent_key = None,
            Dimension::Workflow => {
                (self.workflow_id, self.workflow_slug, self.workflow_name) = (None, None, None);
            }
            Dimension::Channel => self.channel = None,
            Dimension::Campaign => self.campaign = None,
        }
        self
    }

    fn only(&self, dimension: Dimension) -> [&Option<String>; 3] {
        match dimension {
            Dimension::Version => [&self.agent_version, &None, &None],
            Dimension::Agent => [&self.agent_key, &None, &None],
            Dimension::Workflow => [&self.workflow_id, &self.workflow_slug, &self.workflow_name],
            Dimension::Channel => [&self.channel, &None, &None],
            Dimension::Campaign => [&self.campaign, &None, &None],
        }
    }
}

/// How many values each dimension has, the agent's version aside: nobody asks by that alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    pub agents: i64,
    pub workflows: i64,
    pub channels: i64,
    pub campaigns: i64,
}

impl Spread {
    fn of<'a>(sets: impl Iterator<Item = &'a Set> + Clone) -> Self {
        let count = |dimension| {
            let values: BTreeSet<_> = sets.clone().map(|set| set.only(dimension)).collect();
            i64::try_from(values.len()).unwrap_or(i64::MAX)
        };
        Self {
            agents: count(Dimension::Agent),
            workflows: count(Dimension::Workflow),
            channels: count(Dimension::Channel),
            campaigns: count(Dimension::Campaign),
        }
    }

    /// The order in which dimensions are given up.
    fn order(self) -> Vec<Dimension> {
        let mut asked = [
            (self.campaigns, Dimension::Campaign),
            (self.workflows, Dimension::Workflow),
            (self.agents, Dimension::Agent),
            (self.channels, Dimension::Channel),
        ];
        asked.sort_by_key(|(values, _)| std::cmp::Reverse(*values));
        let asked = asked.into_iter().map(|(_, dimension)| dimension);
        [Dimension::Version].into_iter().chain(asked).collect()
    }
}

/// What can be told of several combinations together.
pub trait Merge: Default {
    fn merge(&mut self, other: &Self);
}

impl Merge for Sums {
    fn merge(&mut self, other: &Self) {
        Self::merge(self, other);
    }
}

/// What is told by combination, never of more than there may be.
#[derive(Debug)]
pub struct Folded<T> {
    order: Vec<Dimension>,
    /// So many of the order are given up.
    level: usize,
    told: BTreeMap<Set, T>,
}

impl<T: Merge> Folded<T> {
    pub fn new(spread: Spread) -> Self {
        Self {
            order: spread.order(),
            level: 0,
            told: BTreeMap::new(),
        }
    }

    /// All of what is there already.
    pub fn of(told: BTreeMap<Set, T>) -> Self {
        let mut folded = Self::new(Spread::of(told.keys()));
        folded.told = told;
        folded.bound();
        folded
    }

    /// Adds to what is told of a combination.
    pub fn add(&mut self, set: Set, add: impl FnOnce(&mut T)) {
        let set = self.fold(set);
        add(self.told.entry(set).or_default());
        self.bound();
    }

    pub fn into_told(self) -> impl Iterator<Item = (Set, T)> {
        self.told.into_iter()
    }

    /// What is not told apart, a bit each; none where everything is.
    pub fn dimensions(&self) -> Option<i16> {
        let given_up = &self.order[..self.level];
        (self.level > 0).then(|| given_up.iter().fold(0, |bits, one| bits | one.bit()))
    }

    /// What a combination is told as.
    pub fn fold(&self, set: Set) -> Set {
        let given_up = self.order[..self.level].iter();
        given_up.fold(set, |set, dimension| set.without(*dimension))
    }

    fn bound(&mut self) {
        while self.told.len() > SETS_MAX && self.level < self.order.len() {
            self.level += 1;
            for (set, told) in std::mem::take(&mut self.told) {
                let set = self.fold(set);
                self.told.entry(set).or_default().merge(&told);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(agent: usize, campaign: usize, workflow: usize) -> Set {
        Set {
            agent_key: Some(format!("a{agent}")),
            agent_version: Some(format!("v{}", campaign % 2)),
            workflow_slug: Some(format!("w{workflow}")),
            campaign: Some(format!("c{campaign}")),
            ..Set::default()
        }
    }

    fn one() -> Sums {
        Sums {
            calls: 1,
            ..Sums::default()
        }
    }

    #[test]
    fn the_dimension_with_the_most_values_is_given_up() {
        let sums = (0..1_200).map(|n| (set(n % 3, n, n % 2), one()));
        let folded = Folded::of(sums.collect());
        let bits = Dimension::Version.bit() | Dimension::Campaign.bit();
        assert_eq!(folded.dimensions(), Some(bits));
        assert_eq!(folded.told.len(), 6);
        assert_eq!(
            folded.told.values().map(|sums| sums.calls).sum::<i64>(),
            1_200
        );
        let few = Folded::of((0..SETS_MAX).map(|n| (set(1, n, 1), one())).collect());
        assert_eq!((few.dimensions(), few.told.len()), (None, SETS_MAX));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn order_does_not_matter(
            mut sets in prop::collection::vec((0..40usize, 0..60usize, 0..4usize), 400..1_200),
            turn in any::<usize>(),
        ) {
            let spread = Spread { agents: 40, workflows: 4, channels: 1, campaigns: 60 };
            let fold = |sets: &[(usize, usize, usize)]| {
                let mut folded = Folded::new(spread);
                for (agent, campaign, workflow) in sets {
                    folded.add(set(*agent, *campaign, *workflow), |sums: &mut Sums| sums.calls += 1);
                }
                folded
            };
            let one = fold(&sets);
            let middle = turn % sets.len();
            sets.rotate_left(middle);
            let other = fold(&sets);
            prop_assert!(one.told.len() <= SETS_MAX);
            prop_assert_eq!(one.dimensions(), other.dimensions());
            prop_assert_eq!(one.told, other.told);
        }
    }
}
