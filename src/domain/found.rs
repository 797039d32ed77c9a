//! What the analyses of some calls add up to: a call adds its share, an hour is the sum of its calls', a
//! day of its hours'. Sums are of whole numbers, so that neither order nor grouping matters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::analysis::InterruptionCounts;
use crate::domain::digest::Digest;
use crate::domain::many::Conduct;

/// Scores are summed in billionths.
const BILLION: f64 = 1e9;

/// How one call went on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Share {
    pub agent_turns: i64,
    pub score: Option<f64>,
    pub interruptions: Option<InterruptionCounts>,
}

/// All issues of a call that have one type, stage and provider; stage and provider are empty where none
/// is blamed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Issue {
    pub kind: String,
    pub stage: String,
    pub provider: String,
    pub is_critical: bool,
    pub occurrences: i64,
    pub impact_ms: i64,
}

/// What the analyses of some calls add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Calls that were analysed.
    pub calls: i64,
    pub causes: CauseSums,
    pub conduct: ConductSums,
    /// How long stages took, by provider and model.
    pub stages: Digest,
}

impl Found {
    pub fn merge(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.causes.merge(&other.causes);
        self.conduct.merge(&other.conduct);
        self.stages.merge(&other.stages);
    }
}

/// Under what an issue is summed up. A call counts once under each, however many such issues it has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CauseKey {
    All,
    Type(String),
    Stage(String),
    /// And the stage.
    Provider(String, String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseSum {
    /// Calls with such an issue, and those of them where it is critical.
    pub calls: i64,
    pub critical_calls: i64,
    pub occurrences: i64,
    /// What callers waited because of them; under [`CauseKey::All`] each moment of a call once.
    pub impact_ms: i64,
}

impl CauseSum {
    pub fn merge(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.critical_calls = self.critical_calls.saturating_add(other.critical_calls);
        self.occurrences = self.occurrences.saturating_add(other.occurrences);
        self.impact_ms = self.impact_ms.saturating_add(other.impact_ms);
    }

    /// Takes away what is part of this.
    pub fn take(&mut self, part: &Self) {
        self.calls = self.calls.saturating_sub(part.calls);
        self.critical_calls = self.critical_calls.saturating_sub(part.critical_calls);
        self.occurrences = self.occurrences.saturating_sub(part.occurrences);
        self.impact_ms = self.impact_ms.saturating_sub(part.impact_ms);
    }
}

impl CauseKey {
    fn borrowed(&self) -> BorrowedKey<'_> {
        match self {
            Self::All => BorrowedKey::All,
            Self::Type(kind) => BorrowedKey::Type(kind),
            Self::Stage(stage) => BorrowedKey::Stage(stage),
            Self::Provider(provider, stage) => BorrowedKey::Provider(provider, stage),
        }
    }
}

/// The same, as it is read and compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum BorrowedKey<'a> {
    All,
    Type(&'a str),
    Stage(&'a str),
    Provider(&'a str, &'a str),
}

impl BorrowedKey<'_> {
    fn owned(self) -> CauseKey {
        match self {
            Self::All => CauseKey::All,
            Self::Type(kind) => CauseKey::Type(kind.to_owned()),
            Self::Stage(stage) => CauseKey::Stage(stage.to_owned()),
            Self::Provider(provider, stage) => {
                CauseKey::Provider(provider.to_owned(), stage.to_owned())
            }
        }
    }
}

/// What went wrong, by what. Sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CauseSums(Vec<(CauseKey, CauseSum)>);

impl CauseSums {
    pub fn of(&self, key: &CauseKey) -> CauseSum {
        self.position(key.borrowed())
            .map_or_else(|_| CauseSum::default(), |at| self.0[at].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = &(CauseKey, CauseSum)> {
        self.0.iter()
    }

    fn position(&self, key: BorrowedKey<'_>) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| own.borrowed().cmp(&key))
    }

    /// Adds one sum and answers where. Those of one tenant have much the same keys in the same order: looked at
    /// first is where it would then be.
    fn add(&mut self, next: usize, key: BorrowedKey<'_>, sum: &CauseSum) -> usize {
        let is_next = self
            .0
            .get(next)
            .is_some_and(|(own, _)| own.borrowed() == key);
        let at = match is_next {
            true => next,
            false => self.position(key).unwrap_or_else(|at| {
                self.0.insert(at, (key.owned(), CauseSum::default()));
                at
            }),
        };
        self.0[at].1.merge(sum);
        at
    }

    /// Those of one call. What it lost in all is less than the sum of its issues where several are about one
    /// silence; of calls of which that was not kept, it is the sum.
    pub fn of_call(issues: &[Issue], lost_ms: Option<i64>) -> Self {
        let mut call: BTreeMap<CauseKey, CauseSum> = BTreeMap::new();
        for issue in issues {
            let mut keys = vec![
                CauseKey::All,
                CauseKey::Type(issue.kind.clone()),
                CauseKey::Stage(issue.stage.clone()),
            ];
            if !issue.provider.is_empty() {
                let (provider, stage) = (issue.provider.clone(), issue.stage.clone());
                keys.push(CauseKey::Provider(provider, stage));
            }
            for key in keys {
                let sum = call.entry(key).or_default();
                sum.calls = 1;
                sum.critical_calls = sum.critical_calls.max(i64::from(issue.is_critical));
                sum.occurrences = sum.occurrences.saturating_add(issue.occurrences);
                sum.impact_ms = sum.impact_ms.saturating_add(issue.impact_ms);
            }
        }
        if let (Some(all), Some(lost_ms)) = (call.get_mut(&CauseKey::All), lost_ms) {
            all.impact_ms = lost_ms;
        }
        Self(call.into_iter().collect())
    }

    pub fn merge(&mut self, other: &Self) {
        let mut next = 0;
        for (key, sum) in &other.0 {
            next = self.add(next, key.borrowed(), sum) + 1;
        }
    }

    /// Adds sums that are stored as these bytes, and answers what is in all of their calls. None where they are
    /// no sums; then only part of them may have been added.
    pub fn merge_bytes(&mut self, bytes: &[u8]) -> Option<CauseSum> {
        let mut all = CauseSum::default();
        if bytes.is_empty() {
            return Some(all);
        }
        let (count, mut rest): (usize, _) = postcard::take_from_bytes(bytes).ok()?;
        let mut next = 0;
        for _ in 0..count {
            let ((key, sum), behind): ((BorrowedKey<'_>, CauseSum), _) =
                postcard::take_from_bytes(rest).ok()?;
            if key == BorrowedKey::All {
                all = sum;
            }
            next = self.add(next, key, &sum) + 1;
            rest = behind;
        }
        rest.is_empty().then_some(all)
    }

    /// Takes away what is part of this.
    pub fn take(&mut self, part: &Self) {
        for (key, sum) in &part.0 {
            if let Ok(at) = self.position(key.borrowed()) {
                self.0[at].1.take(sum);
            }
        }
        self.0.retain(|(_, sum)| sum.calls > 0);
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        bytes_of(self, self.0.is_empty())
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        read(bytes)
    }
}

/// How the calls of an agent went on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConductSums {
    pub agent_turns: i64,
    /// Calls with a score, and their scores in billionths.
    pub scored: i64,
    pub score_billionths: i64,
    pub interruptions: InterruptionCounts,
}

impl ConductSums {
    /// Those of one call.
    pub fn of_call(call: &Share) -> Self {
        let mut sums = Self::default();
        sums.add(call);
        sums
    }

    /// Adds one call.
    pub fn add(&mut self, call: &Share) {
        self.agent_turns = self.agent_turns.saturating_add(call.agent_turns);
        if let Some(score) = call.score.filter(|score| score.is_finite()) {
            let billionths = (score * BILLION).round() as i64;
            self.scored = self.scored.saturating_add(1);
            self.score_billionths = self.score_billionths.saturating_add(billionths);
        }
        if let Some(counts) = &call.interruptions {
            self.interruptions.merge(counts);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.agent_turns = self.agent_turns.saturating_add(other.agent_turns);
        self.scored = self.scored.saturating_add(other.scored);
        self.score_billionths = self.score_billionths.saturating_add(other.score_billionths);
        self.interruptions.merge(&other.interruptions);
    }

    /// Takes away what is part of this.
    pub fn take(&mut self, part: &Self) {
        self.agent_turns = self.agent_turns.saturating_sub(part.agent_turns);
        self.scored = self.scored.saturating_sub(part.scored);
        self.score_billionths = self.score_billionths.saturating_sub(part.score_billionths);
        self.interruptions.take(&part.interruptions);
    }

    /// As it is told, of so many calls.
    pub fn told(self, calls: i64) -> Conduct {
        let mean = self.score_billionths as f64 / BILLION / self.scored.max(1) as f64;
        Conduct {
            counts: InterruptionCounts {
                sessions: calls.unsigned_abs(),
                agent_turns: self.agent_turns.unsigned_abs(),
                ..self.interruptions
            },
            scored: self.scored.unsigned_abs(),
            score: (self.scored > 0).then_some(mean),
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        bytes_of(self, *self == Self::default())
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        read(bytes)
    }
}

/// Nothing is no bytes.
fn bytes_of(value: &impl Serialize, is_empty: bool) -> Vec<u8> {
    if is_empty {
        return Vec::new();
    }
    // Writing to memory cannot fail for these types.
    postcard::to_stdvec(value).unwrap_or_default()
}

fn read<T: Default + for<'a> Deserialize<'a>>(bytes: &[u8]) -> Option<T> {
    if bytes.is_empty() {
        return Some(T::default());
    }
    postcard::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn issue() -> impl Strategy<Value = Issue> {
        let kind = prop::sample::select(vec!["dead_air", "high_latency", "slow_tool"]);
        let stage = prop::sample::select(vec!["", "llm", "tts"]);
        let provider = prop::sample::select(vec!["", "openai", "cartesia"]);
        (kind, stage, provider, any::<bool>(), 1i64..5, 0i64..9000).prop_map(
            |(kind, stage, provider, is_critical, occurrences, impact_ms)| Issue {
                kind: kind.to_owned(),
                stage: stage.to_owned(),
                provider: provider.to_owned(),
                is_critical,
                occurrences,
                impact_ms,
            },
        )
    }

    type Call = (Share, Vec<Issue>);

    fn call() -> impl Strategy<Value = Call> {
        let issues = prop::collection::vec(issue(), 0..6);
        let stops = prop::collection::vec(0.0f64..3000.0, 0..4);
        (0i64..30, prop::option::of(0.0f64..=1.0), stops, issues).prop_map(
            |(agent_turns, score, stops, issues)| {
                let interruptions = (!stops.is_empty()).then(|| InterruptionCounts {
                    interruptions: stops.len() as u64,
                    stop_ms: stops.into_iter().collect(),
                    ..InterruptionCounts::default()
                });
                let share = Share {
                    agent_turns,
                    score,
                    interruptions,
                };
                (share, issues)
            },
        )
    }

    fn sum<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Found {
        let mut found = Found::default();
        for (share, issues) in calls {
            found.calls += 1;
            // Of several issues about one silence, the longest.
            let lost_ms = issues.iter().map(|issue| issue.impact_ms).max();
            found.causes.merge(&CauseSums::of_call(issues, lost_ms));
            found.conduct.add(share);
        }
        found
    }

    proptest! {
        #[test]
        fn parts_in_any_order_are_the_whole(calls in prop::collection::vec(call(), 0..20), cut in 0usize..20) {
            let (early, late) = calls.split_at(cut.min(calls.len()));
            let mut parts = sum(late.iter().rev());
            parts.merge(&sum(early));
            let whole = sum(&calls);
            prop_assert_eq!(&parts, &whole);
            let with = |wanted: &dyn Fn(&Issue) -> bool| calls.iter().filter(|(_, issues)| issues.iter().any(wanted)).count() as i64;
            prop_assert_eq!(whole.causes.of(&CauseKey::All).calls, with(&|_| true));
            let key = CauseKey::Type("dead_air".to_owned());
            prop_assert_eq!(whole.causes.of(&key).calls, with(&|issue| issue.kind == "dead_air"));
            prop_assert_eq!(
                whole.causes.of(&key).critical_calls,
                with(&|issue| issue.kind == "dead_air" && issue.is_critical)
            );
        }

        #[test]
        fn what_was_merged_can_be_taken_again(calls in prop::collection::vec(call(), 0..20), cut in 0usize..20) {
            let (rest, part) = calls.split_at(cut.min(calls.len()));
            let mut whole = sum(&calls);
            let (rest, part) = (sum(rest), sum(part));
            whole.causes.take(&part.causes);
            whole.conduct.take(&part.conduct);
            prop_assert_eq!(whole.causes, rest.causes);
            prop_assert_eq!(whole.conduct, rest.conduct);
        }

        #[test]
        fn what_is_written_is_read(calls in prop::collection::vec(call(), 0..9)) {
            let found = sum(&calls);
            let mut twice = found.causes.clone();
            twice.merge(&found.causes);
            let mut merged = found.causes.clone();
            let all = merged.merge_bytes(&found.causes.to_bytes());
            prop_assert_eq!(all, Some(found.causes.of(&CauseKey::All)));
            prop_assert_eq!(merged, twice);
            prop_assert_eq!(CauseSums::from_bytes(&found.causes.to_bytes()), Some(found.causes));
            prop_assert_eq!(ConductSums::from_bytes(&found.conduct.to_bytes()), Some(found.conduct));
        }
    }
}
